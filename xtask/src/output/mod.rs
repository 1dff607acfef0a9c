//! Output files that appear whole or not at all.
//!
//! A [`Pending`] is a file that is being written, in its final folder but with a random temporary
//! name. A [`Set`] is a folder and the name of an image in it, locked so that no other run writes
//! that image there. [`Folder::commit`] gives all files of a set their names, or none.

mod commit;
mod folder;
mod names;
mod set;
mod write_error;

pub use folder::{Folder, Swept, half_named};
pub use set::Set;
pub use write_error::{folder_error, write_error};

/// The checksums of a folder's files: the only file that several images share.
pub const SHARED: &str = "SHA256SUMS";

use crate::cleanup::{self, Guard};
use crate::plain;
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock};
use std::fs::File;
use std::io::{self, Write};

/// Who may read a file on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// Everyone that the umask allows.
    #[default]
    Shared,
    /// Only its owner (mode 0600), from the moment the file is created.
    Private,
}

impl Access {
    /// The mode for a new file, before the umask is applied.
    fn mode(self) -> Mode {
        Mode::from_raw_mode(match self {
            Access::Shared => 0o666,
            Access::Private => 0o600,
        })
    }
}

/// A file that is being written. It is in its final folder under a temporary name, and is removed
/// unless [`Pending::commit`] or [`Folder::commit`] gives it its final name.
#[derive(Debug)]
pub struct Pending {
    path: Utf8PathBuf,
    partial: Utf8PathBuf,
    file: File,
    guard: Guard,
}

impl Pending {
    /// Creates the file that will be called `path`, and its folder if it is missing.
    ///
    /// An existing file at `path` is not changed before the commit.
    pub fn create(path: &Utf8Path) -> io::Result<Pending> {
        Pending::create_as(path, Access::Shared)
    }

    /// Like [`Pending::create`], with the given access.
    pub fn create_as(path: &Utf8Path, access: Access) -> io::Result<Pending> {
        let dir = plain::folder(path);
        fs::create_dir_all(&dir)?;
        let name = path.file_name().unwrap_or("image");
        let ((file, partial), guard) = Guard::after(
            || start(&dir, name, access, names::Kind::Partial),
            |(_, partial)| {
                let doomed = partial.clone();
                move || {
                    let _ = std::fs::remove_file(doomed);
                }
            },
        )?;
        Ok(Pending {
            path: path.to_owned(),
            partial,
            file,
            guard,
        })
    }

    /// A handle to write to the file. (It shares the same open file.)
    pub fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// The file's final path.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// The file's temporary path.
    pub fn partial(&self) -> &Utf8Path {
        &self.partial
    }

    /// Changes the final name, in the same folder.
    pub fn rename(&mut self, name: &str) {
        self.path.set_file_name(name);
    }

    /// Flushes the contents to disk.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Gives the file its final name, replacing the file or link that was there.
    pub fn commit(self) -> io::Result<()> {
        self.sync()?;
        let folder = plain::folder(&self.path);
        self.commit_unsynced()?;
        sync_folder(&folder)
    }

    /// The same for a file that is checked whenever it is read, and can be made again: nothing is
    /// flushed to disk, so after a power cut its contents may be missing.
    pub fn commit_unsynced(self) -> io::Result<()> {
        check_replaceable(&self.path)?;
        cleanup::settle(vec![self.guard], || {
            std::fs::rename(&self.partial, &self.path)
        })
    }
}

/// Creates a temporary file in `dir` and locks it: a process that later finds it unlocked knows
/// that its writer is gone.
fn start(
    dir: &Utf8Path,
    name: &str,
    access: Access,
    kind: names::Kind,
) -> io::Result<(File, Utf8PathBuf)> {
    loop {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let made = names::new(dir, name, kind, |path| {
            let fd = rustix::fs::openat(CWD, path, flags | OFlags::CLOEXEC, access.mode())?;
            Ok(File::from(fd))
        });
        let (file, path) = made?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(e) if no_locks(e) => return Ok((file, path)),
            // Another process that is cleaning up found it between the two calls, and removes it.
            Err(rustix::io::Errno::WOULDBLOCK) => continue,
            Err(e) => {
                let _ = std::fs::remove_file(&path);
                return Err(e.into());
            }
        }
        if rustix::fs::fstat(&file)?.st_nlink > 0 {
            return Ok((file, path));
        }
    }
}

/// Whether an error of flock(2) means that the file system does not support locks. Some network
/// file systems do not: there it is up to the user not to run two commands at once.
fn no_locks(error: rustix::io::Errno) -> bool {
    use rustix::io::Errno;
    matches!(error, Errno::NOTSUP | Errno::NOLCK | Errno::NOSYS)
}

/// Refuses to replace anything but a file: a rename would remove a pipe or a device, and with a
/// folder it would fail only after everything has been written.
pub fn check_replaceable(path: &Utf8Path) -> io::Result<()> {
    let what = match path.symlink_metadata() {
        // A link itself is replaced, not its target.
        Ok(meta) if meta.is_symlink() => None,
        Ok(meta) => plain::what_else(meta.file_type()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(e),
    };
    match what {
        None => Ok(()),
        Some(what) => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!("{path} already exists and is {what}"),
        )),
    }
}

/// Flushes the names in a folder to disk.
fn sync_folder(dir: &Utf8Path) -> io::Result<()> {
    match File::open(dir).and_then(|dir| dir.sync_all()) {
        // File systems that do not support this return this error.
        Err(e) if e.kind() == io::ErrorKind::InvalidInput => Ok(()),
        done => done,
    }
}

/// Writes a file that the user named, either completely or not at all. A device or a pipe (e.g.
/// `/dev/stdout`) is written to directly, and a link to a file stays a link.
pub fn write(path: &Utf8Path, bytes: &[u8]) -> io::Result<()> {
    match path.metadata() {
        Ok(meta) if !meta.is_file() && !meta.is_dir() => {
            let mut file = fs::OpenOptions::new().write(true).open(path)?;
            return file.write_all(bytes);
        }
        _ => {}
    }
    let target = match path.symlink_metadata() {
        Ok(meta) if meta.is_symlink() => path.canonicalize_utf8()?,
        _ => path.to_owned(),
    };
    let pending = Pending::create(&target)?;
    pending.file()?.write_all(bytes)?;
    pending.commit()
}

#[cfg(test)]
mod tests;
