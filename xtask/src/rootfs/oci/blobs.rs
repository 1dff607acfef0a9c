//! Where the files of a stored image come from: a folder, or a tar that was read as a tree.

use super::OciError;
use crate::rootfs::{Content, Kind, Rootfs, Stores};
use camino::{Utf8Path, Utf8PathBuf};
use std::fs::File;
use std::io::{self, Read};

/// Largest index, manifest or configuration that is read, in bytes: what registries take.
const MAX_DOCUMENT: u64 = 4 << 20;

/// The files of a stored image.
#[derive(Debug)]
pub(super) enum Blobs {
    /// A folder.
    Dir(Utf8PathBuf),
    /// A tar whose contents lie in stores.
    Tar(Box<Rootfs>),
}

/// A file of a stored image.
pub(super) struct Blob {
    pub bytes: Box<dyn Read>,
    /// Its length in bytes.
    pub len: u64,
}

impl Blobs {
    /// Whether something is there.
    pub(super) fn has(&self, path: &str) -> bool {
        match self {
            Blobs::Dir(dir) => dir.join(path).symlink_metadata().is_ok(),
            Blobs::Tar(rootfs) => rootfs.tree.exists(path),
        }
    }

    /// Opens a file by its path inside of the image.
    pub(super) fn open(&self, path: &str) -> Result<Blob, OciError> {
        let outside = path.starts_with('/') || path.split('/').any(|part| part == "..");
        if outside || path.is_empty() {
            return Err(OciError::Outside(path.to_owned()));
        }
        match self {
            Blobs::Dir(dir) => open_in(dir, path),
            Blobs::Tar(rootfs) => open_stored(rootfs, path),
        }
    }

    /// Reads a whole document.
    pub(super) fn document(&self, path: &str) -> Result<Vec<u8>, OciError> {
        let blob = self.open(path)?;
        if blob.len > MAX_DOCUMENT {
            return Err(OciError::Large {
                path: path.to_owned(),
                len: blob.len,
                most: MAX_DOCUMENT,
            });
        }
        let mut bytes = Vec::new();
        blob.bytes
            .take(MAX_DOCUMENT)
            .read_to_end(&mut bytes)
            .map_err(|e| OciError::Read(path.to_owned(), e))?;
        Ok(bytes)
    }
}

/// Opens a file below `dir` and follows no link on the way: a link could lead anywhere on this
/// host.
fn open_in(dir: &Utf8Path, path: &str) -> Result<Blob, OciError> {
    let failed = |e: io::Error| match e.kind() {
        io::ErrorKind::NotFound => OciError::Missing(path.to_owned()),
        _ => OciError::Read(path.to_owned(), e),
    };
    let mut here = dir.to_owned();
    for part in path.split('/') {
        here.push(part);
        if here.symlink_metadata().map_err(failed)?.is_symlink() {
            return Err(OciError::Link(path.to_owned()));
        }
    }
    // A named pipe would never end.
    if !here.symlink_metadata().map_err(failed)?.is_file() {
        return Err(OciError::NoFile(path.to_owned()));
    }
    let file = File::open(&here).map_err(failed)?;
    let len = file.metadata().map_err(failed)?.len();
    Ok(Blob {
        bytes: Box::new(file),
        len,
    })
}

/// Links inside of a tar lead inside of it: `docker save` once made them for layers that occur
/// twice.
fn open_stored(rootfs: &Rootfs, path: &str) -> Result<Blob, OciError> {
    let tree = &rootfs.tree;
    let Some(id) = tree.resolve(path) else {
        return Err(if tree.exists(path) {
            OciError::Link(path.to_owned())
        } else {
            OciError::Missing(path.to_owned())
        });
    };
    match &tree.node(id).kind {
        Kind::File(content) => Ok(Blob {
            len: content.len(),
            bytes: Box::new(Stored {
                stores: rootfs.stores.clone(),
                content: content.clone(),
                at: 0,
            }),
        }),
        _ => Err(OciError::NoFile(path.to_owned())),
    }
}

/// A content of a store, read from its start to its end.
struct Stored {
    stores: Stores,
    content: Content,
    at: u64,
}

impl Read for Stored {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.content.len() - self.at;
        let n = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
        self.stores.read_at(&self.content, self.at, &mut buf[..n])?;
        self.at += n as u64;
        Ok(n)
    }
}
