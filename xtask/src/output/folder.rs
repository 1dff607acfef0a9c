//! A folder of images: who may change names in it, and what killed runs left there.

use super::commit::{self, Journal};
use super::names::{self, Kind};
use super::{no_locks, sync_folder};
use crate::model::size::Size;
use crate::plain::{self, PlainName};
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use rustix::fs::{FlockOperation, flock};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

/// A folder in which nobody else gives or takes names of files meanwhile. The lock is the
/// folder's own: it holds across containers and ends with the value, and with the process.
#[derive(Debug)]
pub struct Folder {
    dir: Utf8PathBuf,
    _handle: File,
    /// Whether its file system has locks at all.
    locked: bool,
}

/// What killed runs had left in a folder.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Swept {
    /// Files that were removed.
    pub files: u64,
    /// The room that they took, in bytes.
    pub bytes: u64,
    /// Sets of files whose naming was brought to its end.
    pub completed: u64,
}

impl fmt::Display for Swept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.completed > 0 {
            f.write_str("gave the files of a killed run their names; ")?;
        }
        let files = if self.files == 1 { "file" } else { "files" };
        write!(
            f,
            "removed {} temporary {files} of killed runs ({})",
            self.files,
            Size(self.bytes)
        )
    }
}

impl Folder {
    /// Waits until nobody else changes names in that folder; makes it if need be.
    pub fn lock(dir: &Utf8Path) -> io::Result<Folder> {
        let dir = match dir.as_str() {
            "" => Utf8Path::new("."),
            _ => dir,
        };
        fs::create_dir_all(dir)?;
        let handle = fs::File::open(dir)?.into_parts().0;
        let lock = || flock(&handle, FlockOperation::LockExclusive);
        let locked = match rustix::io::retry_on_intr(lock) {
            Ok(()) => true,
            Err(e) if no_locks(e) => false,
            Err(e) => return Err(e.into()),
        };
        Ok(Folder {
            dir: dir.to_owned(),
            _handle: handle,
            locked,
        })
    }

    /// The folder.
    pub fn dir(&self) -> &Utf8Path {
        &self.dir
    }

    /// Brings to its end what a run was killed in, and removes what killed runs left. Files of
    /// runs that are still at work stay; where the file system has no locks, nobody can tell
    /// them apart, and all stay.
    pub fn sweep(&self) -> io::Result<Swept> {
        let mut swept = Swept::default();
        if !self.locked {
            return Ok(swept);
        }
        // What belongs to other users is theirs to tidy up, and not to be believed.
        let me = rustix::process::geteuid().as_raw();
        let mut found = ours(&self.dir)?;
        found.retain(|(_, name)| {
            let meta = self.dir.join(name).symlink_metadata();
            meta.is_ok_and(|meta| meta.uid() == me)
        });
        // A journal is only there while its writer has the folder's lock, which is ours now.
        for name in of_kind(&found, Kind::Journal) {
            let Some(journal) = Journal::read(&self.dir, name) else {
                continue;
            };
            let failed = |e: io::Error| {
                let text = format!("completing what a killed run began (see {name}): {e}");
                io::Error::new(e.kind(), text)
            };
            if commit::complete(&self.dir, &journal).map_err(failed)? {
                sync_folder(&self.dir)?;
                swept.completed += 1;
            }
        }
        // Journals last: they tell what is left to do.
        for kind in [Kind::Partial, Kind::Lock, Kind::Old, Kind::Journal] {
            for name in of_kind(&found, kind) {
                let held = matches!(kind, Kind::Partial | Kind::Lock);
                if let Some(bytes) = remove_stale(&self.dir.join(name), held)? {
                    swept.files += 1;
                    swept.bytes += bytes;
                }
            }
        }
        Ok(swept)
    }

    /// Whether a run that is still at work has files in the folder.
    pub fn is_in_use(&self) -> io::Result<bool> {
        for (kind, name) in ours(&self.dir)? {
            if matches!(kind, Kind::Partial | Kind::Lock)
                && lock_if_free(&self.dir.join(name))?.is_none()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What killed runs left in `dir`, without changing anything: a text for people, if there is a
/// set of files that has only some of its names.
pub fn half_named(dir: &Utf8Path) -> Option<String> {
    let found = ours(dir).ok()?;
    let journal = of_kind(&found, Kind::Journal).next()?;
    // A run that is at work has one as well, for a moment.
    let handle = File::open(dir).ok()?;
    if flock(&handle, FlockOperation::NonBlockingLockExclusive)
        == Err(rustix::io::Errno::WOULDBLOCK)
        || !dir.join(journal).exists()
    {
        return None;
    }
    Some(format!(
        "a run was killed while it gave its files their names (see {journal}); the next run that writes to {dir} completes that"
    ))
}

fn of_kind(found: &[(Kind, PlainName)], kind: Kind) -> impl Iterator<Item = &PlainName> {
    let these = found.iter().filter(move |(k, _)| *k == kind);
    these.map(|(_, name)| name)
}

/// The files of ours in a folder.
fn ours(dir: &Utf8Path) -> io::Result<Vec<(Kind, PlainName)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        // Names that are not UTF-8 are not ours.
        let name = entry.file_name().into_string().unwrap_or_default();
        if let (Some(kind), Ok(name)) = (names::kind(&name), PlainName::new(name))
            && entry.file_type()?.is_file()
        {
            found.push((kind, name));
        }
    }
    found.sort_by(|a, b| a.1.cmp(&b.1));
    Ok(found)
}

/// The file, locked by us, if nobody holds it; `None` if somebody does.
fn lock_if_free(path: &Utf8Path) -> io::Result<Option<File>> {
    let file = plain::open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(e) if no_locks(e) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Removes a file that nobody is writing; `None` if somebody is, if it is gone, or if it may
/// not be looked at. `held` says whether a writer would hold a lock on it.
fn remove_stale(path: &Utf8Path, held: bool) -> io::Result<Option<u64>> {
    let lock = match held {
        true => match lock_if_free(path) {
            Ok(Some(file)) => Some(file),
            // Somebody else's, of another user, or gone meanwhile.
            Ok(None) | Err(_) => return Ok(None),
        },
        false => None,
    };
    let Ok(meta) = path.symlink_metadata() else {
        return Ok(None);
    };
    // Its first blocks are 512 bytes each, whatever the file system's are (stat(2)).
    let bytes = meta.blocks() * 512;
    let gone = fs::remove_file(path);
    drop(lock);
    Ok(gone.is_ok().then_some(bytes))
}
