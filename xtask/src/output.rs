//! Output files that appear whole or not at all.

use crate::cleanup::Guard;
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use std::fs::File;
use std::io;

/// A file that is being written. It lies beside its final name, under a name of its own, and
/// is removed unless [`Pending::commit`] gives it its final name.
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
    /// What stands at `path` stays as it is until [`Pending::commit`].
    pub fn create(path: &Utf8Path) -> io::Result<Pending> {
        let dir = path.parent().filter(|p| !p.as_str().is_empty());
        if let Some(dir) = dir {
            fs::create_dir_all(dir)?;
        }
        let name = path.file_name().unwrap_or("image");
        // The process number keeps two runs at the same image apart.
        let partial = path.with_file_name(format!(".{name}.{}.partial", std::process::id()));
        let (file, guard) = Guard::after(
            || {
                fs::OpenOptions::new()
                    .read(true)
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .open(&partial)
                    .map(|file| file.into_parts().0)
            },
            |_| {
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

    /// Changes the name that it will have, in the same folder.
    pub fn rename(&mut self, name: &str) {
        self.path.set_file_name(name);
    }

    /// Gives the file its final name, replacing what stood there.
    pub fn commit(self) -> io::Result<()> {
        fs::rename(&self.partial, &self.path)?;
        self.guard.disarm();
        Ok(())
    }
}
