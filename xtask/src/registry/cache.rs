//! Blobs that were pulled, by their digests.
//!
//! The folder has the form of `skopeo --dest-shared-blob-dir`: `sha256/<64 digits>`. Blobs appear
//! in it whole. Their digests are checked whenever they are read, so a blob that was changed, or that
//! a power cut damaged, is noticed.

use super::error::RegistryError;
use crate::cleanup::Guard;
use crate::model::Digest;
use crate::output::Pending;
use crate::place;
use crate::plain;
use camino::{Utf8Path, Utf8PathBuf};
use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::{Mutex, PoisonError};

/// The usual folder.
pub fn folder() -> Utf8PathBuf {
    place::cache("registry")
}

/// A folder of blobs.
#[derive(Debug)]
pub struct Cache {
    dir: Utf8PathBuf,
    /// Removes the folder, if it is for this run only.
    guard: Mutex<Option<Guard>>,
}

impl Cache {
    /// Opens the folder `dir`. If nothing can be written there, a folder in `instead` is used,
    /// which exists until the value is closed or dropped.
    pub fn open(dir: &Utf8Path, instead: &Utf8Path) -> Result<Cache, RegistryError> {
        let blobs = dir.join("sha256");
        let usable = std::fs::create_dir_all(&blobs).and_then(|()| {
            let probe = Pending::create(&blobs.join("probe"))?;
            drop(probe);
            Ok(())
        });
        if let Err(e) = usable {
            tracing::debug!("{dir} cannot be used as a cache: {e}");
            return Cache::temporary(instead);
        }
        Ok(Cache {
            dir: dir.to_owned(),
            guard: Mutex::default(),
        })
    }

    fn temporary(parent: &Utf8Path) -> Result<Cache, RegistryError> {
        let failed = |error| RegistryError::Cache {
            dir: parent.to_owned(),
            error,
        };
        let make = || {
            let dir = tempfile::Builder::new()
                .prefix(".registry.docker-to-linux-")
                .tempdir_in(parent)?;
            Utf8PathBuf::try_from(dir.keep()).map_err(io::Error::other)
        };
        std::fs::create_dir_all(parent).map_err(failed)?;
        let (dir, guard) = Guard::after(make, |dir| {
            let doomed = dir.clone();
            move || {
                let _ = std::fs::remove_dir_all(doomed);
            }
        })
        .map_err(failed)?;
        std::fs::create_dir_all(dir.join("sha256")).map_err(failed)?;
        Ok(Cache {
            dir,
            guard: Mutex::new(Some(guard)),
        })
    }

    /// Removes the folder, if it is for this run only.
    pub(super) fn close(&self) {
        let mut guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        drop(guard.take());
    }

    /// The folder.
    pub fn dir(&self) -> &Utf8Path {
        &self.dir
    }

    fn path(&self, digest: Digest) -> Utf8PathBuf {
        self.dir.join("sha256").join(digest.hex())
    }

    /// Opens a blob of this size in bytes, if it is there. One of another size is not that blob.
    pub(super) fn open_blob(&self, digest: Digest, size: u64) -> Option<File> {
        let file = plain::open(&self.path(digest)).ok()?;
        let meta = file.metadata().ok()?;
        (meta.len() == size).then_some(file)
    }

    /// A document with this digest, if it is there and has at most `most` bytes.
    pub(super) fn document(&self, digest: Digest, most: u64) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = plain::open(&self.path(digest)).ok()?;
        file.take(most + 1).read_to_end(&mut bytes).ok()?;
        (bytes.len() as u64 <= most && Digest::of(&bytes) == digest).then_some(bytes)
    }

    /// Begins a blob, which appears when it is committed.
    pub(super) fn begin(&self, digest: Digest) -> Result<Pending, RegistryError> {
        Pending::create(&self.path(digest)).map_err(|error| self.error(error))
    }

    /// Stores a document.
    pub(super) fn store(&self, digest: Digest, bytes: &[u8]) -> Result<(), RegistryError> {
        let write = |pending: Pending| {
            pending.file()?.write_all(bytes)?;
            pending.commit_unsynced()
        };
        write(self.begin(digest)?).map_err(|error| self.error(error))
    }

    /// Removes a blob that turned out to be another one than its name says.
    pub(super) fn remove(&self, digest: Digest) {
        let _ = std::fs::remove_file(self.path(digest));
    }

    /// Fails if the file system has not enough space for so many bytes. Where that is not known,
    /// writing will tell.
    pub(super) fn check_space(&self, needed: u64) -> Result<(), RegistryError> {
        let Ok(stat) = rustix::fs::statvfs(self.dir.as_std_path()) else {
            return Ok(());
        };
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if needed <= free {
            return Ok(());
        }
        Err(RegistryError::Space {
            dir: self.dir.clone(),
            needed,
            free,
        })
    }

    pub(super) fn error(&self, error: io::Error) -> RegistryError {
        RegistryError::Cache {
            dir: self.dir.clone(),
            error,
        }
    }
}
