//! Output files that appear whole or not at all.
//!
//! A [`Pending`] is a file that is being written, beside its final name and under a name that
//! nobody can guess. A [`Set`] is a folder and the name of an image in it: nobody else writes
//! that image there meanwhile. [`Folder::commit`] gives all files of a set their names, or none.

mod commit;
mod folder;
mod names;
mod set;
mod write_error;

pub use folder::{Folder, Swept, half_named};
pub use set::Set;
pub use write_error::{folder_error, write_error};

/// The checksums of a folder's files: the one file of a folder that several images share.
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
    /// Whoever the umask lets.
    #[default]
    Shared,
    /// Its owner alone (mode 0600), from its first moment on.
    Private,
}

impl Access {
    /// The mode of a new file, before the umask.
    fn mode(self) -> Mode {
        Mode::from_raw_mode(match self {
            Access::Shared => 0o666,
            Access::Private => 0o600,
        })
    }
}

/// A file that is being written. It lies beside its final name, under a name of its own, and
/// is removed unless [`Pending::commit`] or [`Folder::commit`] gives it its final name.
#[derive(Debug)]
pub struct Pending {
    path: Utf8PathBuf,
    partial: Utf8PathBuf,
    file: File,
    guard: Guard,
}

impl Pending {
    /// Starts the file that will be `path`; its folder is made if it is missing.
    ///
    /// What is at `path` stays as it is until the commit.
    pub fn create(path: &Utf8Path) -> io::Result<Pending> {
        Pending::create_as(path, Access::Shared)
    }

    /// As [`Pending::create`], for a file with that access.
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

    /// The file, to write to. (A second handle of the same open file.)
    pub fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// The name that it will have.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// The name that it has until then.
    pub fn partial(&self) -> &Utf8Path {
        &self.partial
    }

    /// Changes the name that it will have, in the same folder.
    pub fn rename(&mut self, name: &str) {
        self.path.set_file_name(name);
    }

    /// Waits until the content is on the disk.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Gives the file its final name, replacing the file or link that was there.
    pub fn commit(self) -> io::Result<()> {
        self.sync()?;
        check_replaceable(&self.path)?;
        cleanup::settle(vec![self.guard], || {
            std::fs::rename(&self.partial, &self.path)
        })?;
        sync_folder(&plain::folder(&self.path))
    }
}

/// Creates a file of ours in `dir` that nobody knew of before, and locks it: whoever finds it
/// unlocked later knows that its writer is gone.
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
            // Somebody who tidies up looked at it between the two calls, and removes it.
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

/// Whether an error of flock(2) says that this file system has no locks. Some network file
/// systems have none: there two runs at once are at their own risk.
fn no_locks(error: rustix::io::Errno) -> bool {
    use rustix::io::Errno;
    matches!(error, Errno::NOTSUP | Errno::NOLCK | Errno::NOSYS)
}

/// Refuses to replace what is no file: renaming over a pipe or a device would remove it, and
/// over a folder it fails only when everything is written.
pub fn check_replaceable(path: &Utf8Path) -> io::Result<()> {
    let what = match path.symlink_metadata() {
        // The link itself is replaced, and not what it leads to.
        Ok(meta) if meta.is_symlink() => None,
        Ok(meta) => plain::what_else(meta.file_type()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(e),
    };
    match what {
        None => Ok(()),
        Some(what) => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!("{path} is there already, and is {what}"),
        )),
    }
}

/// Waits until the names in a folder are on the disk.
fn sync_folder(dir: &Utf8Path) -> io::Result<()> {
    match File::open(dir).and_then(|dir| dir.sync_all()) {
        // File systems that cannot do it say so with this.
        Err(e) if e.kind() == io::ErrorKind::InvalidInput => Ok(()),
        done => done,
    }
}

/// Writes a file that the user named, whole or not at all. What is a device or a pipe
/// (`/dev/stdout`) is written to, and a link to a file stays one.
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
