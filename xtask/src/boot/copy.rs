//! A private copy of an image, so that the image itself is never written.

use crate::cleanup::Guard;
use crate::disk::write_error;
use crate::error::Report;
use crate::format::{Sink, raw};
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use std::io;

/// A copy that is removed at any end.
#[derive(Debug)]
pub(crate) struct Copy {
    pub(crate) path: Utf8PathBuf,
    _guard: Guard,
}

impl Copy {
    /// Copies a raw image to `path`: by reference where the file system can, else with its
    /// holes.
    pub(crate) fn of(image: &Utf8Path, path: Utf8PathBuf) -> Result<Copy, Report> {
        let doomed = path.clone();
        // First the guard: a signal must not find half a copy without one.
        let guard = Guard::new(move || {
            let _ = std::fs::remove_file(doomed);
        });
        copy(image, &path).map_err(|e| write_error(&path, e))?;
        Ok(Copy {
            path,
            _guard: guard,
        })
    }
}

fn copy(image: &Utf8Path, path: &Utf8Path) -> io::Result<()> {
    let from = fs::File::open(image)?.into_parts().0;
    let to = fs::File::create(path)?.into_parts().0;
    #[cfg(target_os = "linux")]
    if rustix::fs::ioctl_ficlone(&to, &from).is_ok() {
        return Ok(());
    }
    let size = from.metadata()?.len();
    let mut sink = raw::Raw::new(to, size)?;
    raw::emit(&from, &mut sink as &mut dyn Sink)
}
