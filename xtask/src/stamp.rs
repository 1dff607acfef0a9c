//! The state of a file, by which a change is noticed without reading it, as git does
//! (Documentation/technical/racy-git.txt).

use serde::{Deserialize, Serialize};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A file that changed less than this before it was looked at may change once more without another
/// time of change.
pub(crate) const SETTLED: Duration = Duration::from_secs(2);

/// The state of a file. Every write to it changes `changed`, which programs cannot set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    /// Length in bytes.
    pub(crate) len: u64,
    /// Last change of its content or of its inode, in seconds and nanoseconds since 1970.
    changed: (i64, i64),
}

impl Stamp {
    /// The state of a file with this metadata.
    pub(crate) fn of(meta: &Metadata) -> Stamp {
        Stamp {
            device: meta.dev(),
            inode: meta.ino(),
            len: meta.len(),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// Whether both are states of the same file.
    pub(crate) fn is_of_same_file(&self, other: &Stamp) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    /// Whether its last change is long enough ago.
    pub(crate) fn is_settled(&self, now: SystemTime) -> bool {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let changed = u64::try_from(self.changed.0).unwrap_or(0);
        Duration::from_secs(changed) + SETTLED < now
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_file_is_settled_after_a_while() {
        let file = tempfile::tempfile().unwrap();
        let stamp = Stamp::of(&file.metadata().unwrap());
        let then = UNIX_EPOCH + Duration::from_secs(stamp.changed.0 as u64);
        assert!(!stamp.is_settled(then + SETTLED));
        assert!(stamp.is_settled(then + SETTLED + Duration::from_secs(1)));
    }
}
