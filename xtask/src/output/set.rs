//! One image in one folder, for one run at a time.

use super::{Folder, Swept, names, no_locks};
use crate::cleanup::Guard;
use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

/// All files of an image in a folder. While this value exists, no other run can write that image
/// there, even from another container that shares the folder.
#[derive(Debug)]
pub struct Set {
    dir: Utf8PathBuf,
    name: String,
    // The lock's name is removed first, then the lock is released.
    _guard: Guard,
    _lock: File,
}

/// The result of an attempt to get the lock.
enum Failed {
    /// Another run holds it.
    Busy(File),
    /// Its file was removed in the meantime.
    Gone,
    Io(io::Error),
}

impl Set {
    /// Locks the image `name` in `dir`, waiting for other runs. Creates `dir` if it is missing, and
    /// first removes what killed runs left in it. `say` gets a message about both.
    pub fn open(dir: &Utf8Path, name: &str, say: &dyn Fn(&str)) -> io::Result<Set> {
        let folder = Folder::lock(dir)?;
        let swept = folder.sweep()?;
        if swept != Swept::default() {
            say(&format!("{dir}: {swept}"));
        }
        let dir = folder.dir().to_owned();
        drop(folder);
        let path = dir.join(names::lock(name));
        let mut told = false;
        loop {
            let locked = Guard::after(
                || try_lock(&path),
                |_| {
                    let doomed = path.clone();
                    move || {
                        let _ = std::fs::remove_file(doomed);
                    }
                },
            );
            match locked {
                Ok((lock, guard)) => {
                    return Ok(Set {
                        dir,
                        name: name.to_owned(),
                        _guard: guard,
                        _lock: lock,
                    });
                }
                Err(Failed::Gone) => {}
                Err(Failed::Io(e)) => return Err(e),
                Err(Failed::Busy(file)) => {
                    if !told {
                        say(&format!(
                            "another run is writing {name} in {dir}: waiting for it to finish"
                        ));
                        told = true;
                    }
                    rustix::io::retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))?;
                }
            }
        }
    }

    /// The folder.
    pub fn dir(&self) -> &Utf8Path {
        &self.dir
    }

    /// Name of the image.
    pub fn name(&self) -> &str {
        &self.name
    }
}

fn try_lock(path: &Utf8Path) -> Result<File, Failed> {
    let io = |e: rustix::io::Errno| Failed::Io(e.into());
    // Another user's lock file can only be opened for reading, which is enough for flock(2).
    let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mode = Mode::from_raw_mode(0o644);
    let fd = rustix::fs::openat(CWD, path.as_std_path(), flags | OFlags::CLOEXEC, mode);
    let file = File::from(fd.map_err(io)?);
    let meta = file.metadata().map_err(Failed::Io)?;
    if let Some(what) = crate::plain::what_else(meta.file_type()) {
        let text = format!("{path} already exists and is {what}");
        return Err(Failed::Io(io::Error::new(
            io::ErrorKind::AlreadyExists,
            text,
        )));
    }
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(e) if no_locks(e) => return Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => return Err(Failed::Busy(file)),
        Err(e) => return Err(io(e)),
    }
    // Its last owner may have removed the file between the two calls.
    match path.symlink_metadata() {
        Ok(now) if (now.dev(), now.ino()) == (meta.dev(), meta.ino()) => Ok(file),
        Ok(_) => Err(Failed::Gone),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(Failed::Gone),
        Err(e) => Err(Failed::Io(e)),
    }
}
