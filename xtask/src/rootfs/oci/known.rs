//! Layers whose digests were right before. A file that did not change since need not be hashed
//! again.

use crate::model::Digest;
use crate::rootfs::Store;
use crate::stamp::Stamp;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::io;
use std::time::SystemTime;

/// Most files that are remembered. The oldest are forgotten first.
const MOST: usize = 512;

/// A file and its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Right {
    #[serde(flatten)]
    state: Stamp,
    /// SHA-256 in 64 digits.
    sha256: String,
}

/// Files whose digests are known, the newest last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known(VecDeque<Right>);

/// What a file was like before it was hashed.
#[derive(Debug)]
pub(super) struct Before(Option<Stamp>);

/// The state of a store that is a whole file of `len` bytes.
fn state(store: &Store, len: u64) -> io::Result<Option<Stamp>> {
    let meta = store.metadata()?;
    let whole = meta.is_file() && meta.len() == len;
    Ok(whole.then(|| Stamp::of(&meta)))
}

impl Known {
    /// Reads what [`Known::to_json`] wrote. Anything else counts as nothing known.
    pub fn from_json(bytes: &[u8]) -> Known {
        let mut known = Known(serde_json::from_slice(bytes).unwrap_or_default());
        known.limit();
        known
    }

    /// Its form in a file.
    pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(&self.0)
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds what `others` knows.
    pub fn append(&mut self, others: &Known) {
        self.0.retain(|old| {
            let same = |new: &Right| new.state.is_of_same_file(&old.state);
            !others.0.iter().any(same)
        });
        self.0.extend(others.0.iter().cloned());
        self.limit();
    }

    fn limit(&mut self) {
        self.0.drain(..self.0.len().saturating_sub(MOST));
    }

    /// Whether a file of `len` bytes has all these digests, and did not change since they were
    /// computed.
    pub(super) fn has(&self, store: &Store, len: u64, wanted: &[Digest]) -> bool {
        let Ok(Some(state)) = state(store, len) else {
            return false;
        };
        let found = self.0.iter().rev().find(|known| known.state == state);
        found.is_some_and(|known| wanted.iter().all(|digest| digest.hex() == known.sha256))
    }

    /// Looks at a file of `len` bytes before it is hashed.
    pub(super) fn before(store: &Store, len: u64) -> Before {
        Before(state(store, len).ok().flatten())
    }

    /// Remembers the digest of a file, if it did not change while it was hashed.
    pub(super) fn add(&mut self, before: Before, store: &Store, digest: Digest) {
        let Some(state) = before.0 else { return };
        let after = self::state(store, state.len).ok().flatten();
        if after.as_ref() == Some(&state) && state.is_settled(SystemTime::now()) {
            let sha256 = digest.hex();
            self.append(&Known([Right { state, sha256 }].into()));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::fs::File;
    use std::os::unix::fs::FileExt;
    use std::time::Duration;

    /// A store whose file changed a while ago, as far as `known` can tell.
    fn known(file: &File, digest: Digest) -> (Known, Store) {
        let store = Store::new(file.try_clone().unwrap());
        let len = file.metadata().unwrap().len();
        let state = state(&store, len).unwrap().unwrap();
        let sha256 = digest.hex();
        (Known([Right { state, sha256 }].into()), store)
    }

    #[test]
    fn a_file_is_known_until_it_changes() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(b"a", 0).unwrap();
        let (known, store) = known(&file, a);
        assert!(known.has(&store, 1, &[a]));
        assert!(!known.has(&store, 1, &[a, b]));
        assert!(!known.has(&store, 2, &[a]));
        let read = Known::from_json(&known.to_json().unwrap());
        assert_eq!(read, known);

        std::thread::sleep(Duration::from_millis(20));
        file.write_all_at(b"b", 0).unwrap();
        assert!(!known.has(&store, 1, &[a]), "its content changed");
    }

    #[test]
    fn a_file_that_has_just_changed_is_not_remembered() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(b"a", 0).unwrap();
        let store = Store::new(file);
        let mut known = Known::default();
        known.add(Known::before(&store, 1), &store, Digest::of(b"a"));
        assert!(known.is_empty());
    }

    #[test]
    fn few_files_are_remembered_and_each_once() {
        let right = |inode, sha256: &str| Right {
            state: serde_json::from_value(serde_json::json!({
                "device": 1, "inode": inode, "len": 5, "changed": [7, 8]
            }))
            .unwrap(),
            sha256: sha256.to_owned(),
        };
        let mut known = Known::default();
        for inode in 0..2 * MOST as u64 {
            known.append(&Known([right(inode, "old")].into()));
        }
        assert_eq!(known.0.len(), MOST);
        known.append(&Known([right(MOST as u64 + 3, "new")].into()));
        assert_eq!(known.0.len(), MOST);
        assert_eq!(known.0.back().unwrap().sha256, "new");
        assert!(Known::from_json(b"{").is_empty());
        assert!(Known::from_json(b"[{\"inode\":3}]").is_empty());
    }
}
