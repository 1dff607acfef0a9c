//! The files of a running machine.

use crate::cleanup::Guard;
use camino::Utf8PathBuf;
use std::io;

/// A folder for the files of one machine. It is removed in every case, including signals.
pub(super) struct Dir {
    /// Path of the folder.
    pub(super) path: Utf8PathBuf,
    _guard: Guard,
}

impl Dir {
    /// Creates the folder.
    pub(super) fn new() -> io::Result<Dir> {
        // The guard removes it. Unlike a destructor it also runs at a signal.
        let (path, guard) = Guard::after(make, |path| {
            let doomed = path.clone();
            move || {
                let _ = std::fs::remove_dir_all(doomed);
            }
        })?;
        Ok(Dir {
            path,
            _guard: guard,
        })
    }
}

fn make() -> io::Result<Utf8PathBuf> {
    let in_tmp = tempfile::Builder::new()
        .prefix("docker-to-linux-")
        .tempdir()?;
    // The path of a Unix socket is limited to 104 bytes on macOS and 108 on Linux.
    let dir = if in_tmp.path().as_os_str().len() > 80 {
        tempfile::Builder::new()
            .prefix("docker-to-linux-")
            .tempdir_in("/tmp")?
    } else {
        in_tmp
    };
    Utf8PathBuf::try_from(dir.keep()).map_err(io::Error::other)
}
