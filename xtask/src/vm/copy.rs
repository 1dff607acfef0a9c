//! A private copy of an image, so that the image itself is never modified.

use crate::error::Report;
use crate::format::{Sink, raw};
use crate::output::write_error;
use crate::output::{Access, Folder, Pending};
use camino::Utf8Path;
use fs_err as fs;
use std::fs::File;
use std::io;

/// A copy that only its owner can read. It is removed in every case, including signals.
#[derive(Debug)]
pub(crate) struct Copy(Pending);

impl Copy {
    /// Copies a raw image into the folder `dir`: as a reflink if the file system supports it, else
    /// as a sparse file. Removes the copies of killed runs first.
    pub(crate) fn of(image: &Utf8Path, dir: &Utf8Path) -> Result<Copy, Report> {
        let failed = |e| write_error(dir, e);
        Folder::lock(dir)
            .and_then(|folder| folder.sweep())
            .map_err(failed)?;
        let name = image.file_name().unwrap_or("image");
        let copy = Pending::create_as(&dir.join(name), Access::Private).map_err(failed)?;
        let to = copy.file().map_err(failed)?;
        fill(image, to).map_err(|e| write_error(copy.partial(), e))?;
        Ok(Copy(copy))
    }

    /// Path of the copy.
    pub(crate) fn path(&self) -> &Utf8Path {
        self.0.partial()
    }
}

fn fill(image: &Utf8Path, to: File) -> io::Result<()> {
    let from = fs::File::open(image)?.into_parts().0;
    #[cfg(target_os = "linux")]
    if rustix::fs::ioctl_ficlone(&to, &from).is_ok() {
        return Ok(());
    }
    let size = from.metadata()?.len();
    let mut sink = raw::Raw::new(to, size)?;
    raw::emit(&from, &mut sink as &mut dyn Sink)
}
