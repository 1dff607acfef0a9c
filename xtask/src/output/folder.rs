//! A folder of images: locks it for changes of names, and removes what killed runs left.

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

/// A locked folder, in which no other run changes names of files. The lock is on the folder itself,
/// so it works across containers. It ends when the value is dropped or the process ends.
#[derive(Debug)]
pub struct Folder {
    dir: Utf8PathBuf,
    _handle: File,
    /// Whether its file system supports locks.
    locked: bool,
}

/// What was cleaned up after killed runs.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Swept {
    /// Number of files that were removed.
    pub files: u64,
    /// Their size on the disk, in bytes.
    pub bytes: u64,
    /// Number of interrupted commits that were completed.
    pub completed: u64,
}

impl fmt::Display for Swept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.completed > 0 {
            f.write_str("completed the renames of a killed run; ")?;
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
    /// Locks the folder, waiting for other runs. Creates it if it does not exist.
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

    /// Path of the folder.
    pub fn dir(&self) -> &Utf8Path {
        &self.dir
    }

    /// Completes commits of killed runs and removes their temporary files. Files of running
    /// processes are kept. Without locks in the file system the two cannot be told apart, and all
    /// files are kept.
    pub fn sweep(&self) -> io::Result<Swept> {
        let mut swept = Swept::default();
        if !self.locked {
            return Ok(swept);
        }
        // Journals of other users are not trusted, and left to them.
        let me = rustix::process::geteuid().as_raw();
        let mut found = ours(&self.dir)?;
        found.retain(|(_, name)| {
            let meta = self.dir.join(name).symlink_metadata();
            meta.is_ok_and(|meta| meta.uid() == me)
        });
        // A journal exists only while its writer holds the folder's lock, which is ours now.
        for name in of_kind(&found, Kind::Journal) {
            let Some(journal) = Journal::read(&self.dir, name) else {
                continue;
            };
            let failed = |e: io::Error| {
                let text = format!("completing the renames of a killed run (see {name}): {e}");
                io::Error::new(e.kind(), text)
            };
            if commit::complete(&self.dir, &journal).map_err(failed)? {
                sync_folder(&self.dir)?;
                swept.completed += 1;
            }
        }
        // Journals go last, because they say what is left to do.
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

    /// Whether a running process has files in the folder.
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

/// Looks for an interrupted commit in `dir`, without changing anything, and returns a message for
/// the user if there is one.
pub fn half_named(dir: &Utf8Path) -> Option<String> {
    let found = ours(dir).ok()?;
    let journal = of_kind(&found, Kind::Journal).next()?;
    // A running process also has a journal for a moment.
    let handle = File::open(dir).ok()?;
    if flock(&handle, FlockOperation::NonBlockingLockExclusive)
        == Err(rustix::io::Errno::WOULDBLOCK)
        || !dir.join(journal).exists()
    {
        return None;
    }
    Some(format!(
        "a run was killed while it renamed its files (see {journal}); the next run that writes to {dir} completes this"
    ))
}

fn of_kind(found: &[(Kind, PlainName)], kind: Kind) -> impl Iterator<Item = &PlainName> {
    let these = found.iter().filter(move |(k, _)| *k == kind);
    these.map(|(_, name)| name)
}

/// The temporary files of this program in a folder.
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

/// Locks the file. `None` if another process holds the lock.
fn lock_if_free(path: &Utf8Path) -> io::Result<Option<File>> {
    let file = plain::open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(e) if no_locks(e) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Removes a file that no process is writing. `None` if one is, if the file is gone, or if it may
/// not be opened. `held` says whether a writer would hold a lock on it.
fn remove_stale(path: &Utf8Path, held: bool) -> io::Result<Option<u64>> {
    let lock = match held {
        true => match lock_if_free(path) {
            Ok(Some(file)) => Some(file),
            // It is in use, belongs to another user, or is gone.
            Ok(None) | Err(_) => return Ok(None),
        },
        false => None,
    };
    let Ok(meta) = path.symlink_metadata() else {
        return Ok(None);
    };
    // st_blocks is in units of 512 bytes on every file system (stat(2)).
    let bytes = meta.blocks() * 512;
    let gone = fs::remove_file(path);
    drop(lock);
    Ok(gone.is_ok().then_some(bytes))
}
