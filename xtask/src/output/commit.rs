//! Gives several files their names: all of them, or none.
//!
//! POSIX renames one file at a time, so the planned steps are first written to a journal. An error
//! undoes the finished steps; a signal waits until all steps are finished; and after a kill or a
//! power failure the next run that uses the folder reads the journal and completes the rest.

use super::names::{self, Kind};
use super::{Access, Folder, Pending, check_replaceable, start, sync_folder};
use crate::cleanup::{self, Guard};
use crate::plain::{self, PlainName};
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Version of the journal's layout.
const VERSION: u32 = 1;

/// Largest journal that is read, in bytes.
const MOST: u64 = 4 << 20;

/// The planned steps of a commit.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Journal {
    version: u32,
    /// Name of the image. Only its own files and the one in `shared` are changed.
    set: PlainName,
    /// The list of checksums, which all images in the folder share.
    shared: Option<PlainName>,
    /// Files to remove.
    remove: Vec<PlainName>,
    /// Files to rename, as (old name, new name).
    rename: Vec<(PlainName, PlainName)>,
}

impl Journal {
    /// Reads a journal that a killed run left. `None` if it is incomplete (then nothing was renamed
    /// yet) or is not one that this program could have written.
    pub(super) fn read(dir: &Utf8Path, name: &PlainName) -> Option<Journal> {
        let bytes = plain::read(&dir.join(name), MOST).ok()?;
        let journal: Journal = serde_json::from_slice(&bytes).ok()?;
        let right = journal.version == VERSION
            && journal.remove.iter().all(|name| journal.owns(name))
            && journal.rename.iter().all(|(now, then)| {
                names::kind(now) == Some(Kind::Partial)
                    && (journal.owns(then) || Some(then) == journal.shared.as_ref())
            })
            && journal.shared.as_deref().is_none_or(|s| s == SHARED);
        right.then_some(journal)
    }

    /// Whether a name belongs to a file of this image.
    fn owns(&self, name: &str) -> bool {
        let rest = name.strip_prefix(self.set.as_str());
        rest.is_some_and(|rest| rest.starts_with('.'))
    }
}

use super::SHARED;

/// Completes a commit. Returns whether anything was left to do.
pub(super) fn complete(dir: &Utf8Path, journal: &Journal) -> io::Result<bool> {
    let left: Vec<_> = journal
        .rename
        .iter()
        .filter(|(now, _)| {
            let meta = dir.join(now).symlink_metadata();
            meta.is_ok_and(|meta| meta.is_file())
        })
        .collect();
    if left.is_empty() {
        return Ok(false);
    }
    for name in &journal.remove {
        match std::fs::remove_file(dir.join(name)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            Ok(()) | Err(_) => {}
        }
    }
    for (now, then) in left {
        std::fs::rename(dir.join(now), dir.join(then))?;
    }
    Ok(true)
}

impl Folder {
    /// Gives `files` their names in this folder, replacing existing files, and removes the files
    /// called `remove`. If this fails, the folder is left unchanged. `set` is the image's name.
    ///
    /// All files must be in this folder and already flushed to disk ([`Pending::sync`]).
    pub fn commit(&self, set: &str, files: Vec<Pending>, remove: &[String]) -> io::Result<()> {
        let dir = self.dir();
        let mut rename = Vec::new();
        let mut guards = Vec::new();
        let mut open = Vec::new();
        for pending in files {
            check_replaceable(&pending.path)?;
            let names = (
                plain::name_of(&pending.partial)?,
                plain::name_of(&pending.path)?,
            );
            rename.push(names);
            guards.push(pending.guard);
            // They stay locked until they have their names.
            open.push(pending.file);
        }
        let plain = |name: &String| {
            PlainName::new(name.as_str())
                .map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))
        };
        let journal = Journal {
            version: VERSION,
            set: plain(&set.to_owned())?,
            shared: Some(plain(&SHARED.to_owned())?),
            remove: remove.iter().map(plain).collect::<io::Result<_>>()?,
            rename,
        };
        let old = Replaced::default();
        let (written, guard) = write(dir, &journal, &old)?;
        let done = cleanup::settle(guards, || {
            let mut steps = Steps::default();
            let done = steps.all(dir, &journal);
            match &done {
                Ok(()) => *lock(&old) = steps.old(),
                Err(_) => steps.take_back(),
            }
            done
        });
        drop(open);
        let synced = done.and_then(|()| sync_folder(dir));
        drop(guard);
        drop(written);
        synced
    }
}

/// The files that a commit has replaced, to be removed at the end.
type Replaced = Arc<Mutex<Vec<Utf8PathBuf>>>;

fn lock(old: &Replaced) -> MutexGuard<'_, Vec<Utf8PathBuf>> {
    old.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes a journal and flushes it to disk. The guard removes `old` and then the journal.
fn write(dir: &Utf8Path, journal: &Journal, old: &Replaced) -> io::Result<(std::fs::File, Guard)> {
    let text = serde_json::to_vec(journal).map_err(io::Error::other)?;
    let ((mut file, _), guard) = Guard::after(
        || start(dir, &journal.set, Access::Shared, Kind::Journal),
        |(_, path)| {
            let (dir, doomed, old) = (dir.to_owned(), path.clone(), Arc::clone(old));
            move || {
                let old = std::mem::take(&mut *lock(&old));
                if !old.is_empty() {
                    // The new names must be on the disk before the old files go.
                    let _ = sync_folder(&dir);
                }
                for path in old.iter().chain([&doomed]) {
                    let _ = std::fs::remove_file(path);
                }
            }
        },
    )?;
    file.write_all(&text)?;
    file.sync_all()?;
    sync_folder(dir)?;
    Ok((file, guard))
}

/// The steps done so far, so that they can be undone.
#[derive(Debug, Default)]
struct Steps(Vec<Step>);

#[derive(Debug)]
enum Step {
    /// The file at `path` is also, or only, at `old`.
    Kept { path: Utf8PathBuf, old: Utf8PathBuf },
    /// The file was at `from`.
    Renamed {
        from: Utf8PathBuf,
        path: Utf8PathBuf,
    },
}

impl Steps {
    fn all(&mut self, dir: &Utf8Path, journal: &Journal) -> io::Result<()> {
        for name in &journal.remove {
            self.keep(dir, name, false)?;
        }
        for (now, then) in &journal.rename {
            self.keep(dir, then, true)?;
            let (from, path) = (dir.join(now), dir.join(then));
            std::fs::rename(&from, &path)?;
            self.0.push(Step::Renamed { from, path });
        }
        Ok(())
    }

    /// Gives the file at `name` a second name if it will be replaced, or else renames it.
    fn keep(&mut self, dir: &Utf8Path, name: &PlainName, replaced: bool) -> io::Result<()> {
        let path = dir.join(name);
        if path
            .symlink_metadata()
            .is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
        {
            return Ok(());
        }
        let link = |to: &std::path::Path| std::fs::hard_link(&path, to);
        let linked = match replaced {
            true => names::new(dir, name, Kind::Old, link).ok(),
            false => None,
        };
        let old = match linked {
            Some(((), old)) => old,
            // File systems without hard links, and files of other users.
            None => {
                let create = |to: &std::path::Path| std::fs::File::create_new(to).map(drop);
                let ((), old) = names::new(dir, name, Kind::Old, create)?;
                if let Err(e) = std::fs::rename(&path, &old) {
                    let _ = std::fs::remove_file(&old);
                    return Err(e);
                }
                old
            }
        };
        self.0.push(Step::Kept { path, old });
        Ok(())
    }

    fn take_back(&mut self) {
        while let Some(step) = self.0.pop() {
            // If this fails too, nothing more can be done; the original error is reported.
            let _ = match step {
                Step::Kept { path, old } => std::fs::rename(&old, &path).and_then(|()| {
                    // For two names of the same file rename(2) does nothing.
                    match std::fs::remove_file(&old) {
                        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
                        Ok(()) | Err(_) => Ok(()),
                    }
                }),
                Step::Renamed { from, path } => std::fs::rename(path, from),
            };
        }
    }

    /// The old files that were kept.
    fn old(self) -> Vec<Utf8PathBuf> {
        let old = self.0.into_iter().filter_map(|step| match step {
            Step::Kept { old, .. } => Some(old),
            Step::Renamed { .. } => None,
        });
        old.collect()
    }
}
