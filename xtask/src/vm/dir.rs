//! The files of a running machine.

use crate::cleanup::Guard;
use camino::Utf8PathBuf;
use std::io;

/// A folder for the files of one machine, removed at any end.
pub(super) struct Dir {
    /// Where it is.
    pub(super) path: Utf8PathBuf,
    _guard: Guard,
}

impl Dir {
    /// Makes it.
    pub(super) fn new() -> io::Result<Dir> {
        // The guard removes it: unlike a destructor it also runs at a signal.
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
    // The name of a Unix socket has 104 bytes on macOS, 108 on Linux.
    let dir = if in_tmp.path().as_os_str().len() > 80 {
        tempfile::Builder::new()
            .prefix("docker-to-linux-")
            .tempdir_in("/tmp")?
    } else {
        in_tmp
    };
    Utf8PathBuf::try_from(dir.keep()).map_err(io::Error::other)
}
