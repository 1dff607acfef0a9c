//! Access to the files of a stored image: in a folder, or in a tar that was read as a tree.

use super::remote::{Part, Remote};
use super::{OciError, verify};
use crate::model::Digest;
use crate::rootfs::budget::Exceeded;
use crate::rootfs::tar::TarError;
use crate::rootfs::{Budget, Content, Kind, Rootfs, Store, Stores};
use camino::{Utf8Path, Utf8PathBuf};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::rc::Rc;

/// The list of images in a layout.
pub(super) const INDEX: &str = "index.json";

/// Largest index, manifest or configuration that is read, in bytes: the limit of registries.
const MAX_DOCUMENT: u64 = 4 << 20;

/// The files of a stored image.
pub(super) enum Blobs {
    /// A folder, and a second one that may contain blobs.
    Dir(Utf8PathBuf, Option<Utf8PathBuf>),
    /// A tar whose contents are in stores.
    Tar(Box<Rootfs>),
    /// Blobs that are fetched, and the text of an `index.json` that leads to them.
    Remote(Rc<dyn Remote>, Vec<u8>),
}

impl std::fmt::Debug for Blobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, place) = match self {
            Blobs::Dir(dir, _) => ("Dir", dir.as_str()),
            Blobs::Tar(_) => ("Tar", ""),
            Blobs::Remote(..) => ("Remote", ""),
        };
        f.debug_tuple(name).field(&place).finish()
    }
}

/// A file of a stored image.
pub(super) struct Blob {
    pub bytes: Box<dyn Read>,
    /// Its length in bytes.
    pub len: u64,
    /// Number of bytes that are stored, without holes.
    pub stored: u64,
    /// Whether reading fails if it has another digest.
    pub checked: bool,
    /// The store that it is in as a whole, and its offset there in bytes, if it is in one.
    pub place: Option<(Store, u64)>,
}

impl Blobs {
    /// Whether something exists at the path.
    pub(super) fn has(&self, path: &str) -> bool {
        match self {
            Blobs::Dir(dir, more) => {
                dir.join(path).symlink_metadata().is_ok()
                    || more
                        .as_ref()
                        .is_some_and(|more| in_cache(more, path).is_some())
            }
            Blobs::Tar(rootfs) => rootfs.tree.exists(path),
            // What a registry does not store is only known when it is fetched. This is asked for
            // layers that are usually stored elsewhere.
            Blobs::Remote(..) => false,
        }
    }

    /// Opens a file by its path in the image.
    pub(super) fn open(&self, path: &str) -> Result<Blob, OciError> {
        let outside = path.starts_with('/') || path.split('/').any(|part| part == "..");
        if outside || path.is_empty() {
            return Err(OciError::Outside(path.to_owned()));
        }
        match self {
            Blobs::Dir(dir, more) => open_in(dir, more.as_deref(), path),
            Blobs::Tar(rootfs) => open_stored(rootfs, path),
            Blobs::Remote(..) => Err(OciError::Missing(path.to_owned())),
        }
    }

    /// Opens a layer, and counts its bytes as those of the input.
    /// `described` are the digest and the length that it should have, if they are known.
    pub(super) fn layer(
        &self,
        path: &str,
        described: Option<(Digest, u64)>,
        budget: &Budget,
    ) -> Result<Blob, OciError> {
        let too_large = |e: Exceeded| OciError::Layer(path.to_owned(), TarError::Io(e.into()));
        let blob = match (self, described) {
            (Blobs::Remote(remote, _), Some((digest, len))) => {
                let failed = |e| OciError::Read(path.to_owned(), e);
                // Its length is only a claim, so what has arrived counts.
                let opened = remote.layer(digest).map_err(failed)?;
                return Ok(Blob {
                    bytes: Box::new(budget.packed(opened.bytes)),
                    len,
                    stored: len,
                    checked: opened.checked,
                    place: None,
                });
            }
            _ => self.open(path)?,
        };
        if let Some((_, wanted)) = described
            && wanted != blob.len
        {
            return Err(OciError::Size {
                path: path.to_owned(),
                is: blob.len,
                wanted,
            });
        }
        // Reading a file that is nearly all holes would take hours.
        budget.check_size(blob.len).map_err(too_large)?;
        Ok(blob)
    }

    /// Reads the document that a descriptor points to.
    pub(super) fn part(&self, part: Part, digest: Digest, size: u64) -> Result<Vec<u8>, OciError> {
        let path = verify::path(digest);
        let Blobs::Remote(remote, _) = self else {
            return self.document(&path);
        };
        check_document(&path, size)?;
        remote
            .document(part, digest, size)
            .map_err(|e| match e.kind() {
                io::ErrorKind::NotFound => OciError::Missing(path),
                _ => OciError::Read(path, e),
            })
    }

    /// Reads a whole document.
    pub(super) fn document(&self, path: &str) -> Result<Vec<u8>, OciError> {
        if let Blobs::Remote(_, index) = self
            && path == INDEX
        {
            return Ok(index.clone());
        }
        let blob = self.open(path)?;
        check_document(path, blob.len)?;
        let mut bytes = Vec::new();
        blob.bytes
            .take(MAX_DOCUMENT)
            .read_to_end(&mut bytes)
            .map_err(|e| OciError::Read(path.to_owned(), e))?;
        Ok(bytes)
    }
}

/// Refuses a document that is larger than any that makes sense.
fn check_document(path: &str, len: u64) -> Result<(), OciError> {
    if len <= MAX_DOCUMENT {
        return Ok(());
    }
    Err(OciError::Large {
        path: path.to_owned(),
        len,
        most: MAX_DOCUMENT,
    })
}

/// Opens a file below `dir`. A link may point into the image or into the folder `more`; any other
/// could point to any file of this host.
fn open_in(dir: &Utf8Path, more: Option<&Utf8Path>, path: &str) -> Result<Blob, OciError> {
    let failed = |e: io::Error| match e.kind() {
        io::ErrorKind::NotFound => OciError::Missing(path.to_owned()),
        _ => OciError::Read(path.to_owned(), e),
    };
    let link = || OciError::Link(path.to_owned());
    let mut here = dir.join(path);
    match more.and_then(|more| in_cache(more, path)) {
        Some(cached) if here.symlink_metadata().is_err() => here = cached,
        _ => {
            let mut step = dir.to_owned();
            let mut linked = false;
            for part in path.split('/') {
                step.push(part);
                linked |= step.symlink_metadata().map_err(failed)?.is_symlink();
            }
            if linked {
                let real = here.canonicalize().map_err(|_| link())?;
                let inside =
                    |dir: &Utf8Path| dir.canonicalize().is_ok_and(|dir| real.starts_with(dir));
                if !inside(dir) && !more.is_some_and(inside) {
                    return Err(link());
                }
            }
        }
    }
    // Reading a named pipe would never end.
    if !here.metadata().map_err(failed)?.is_file() {
        return Err(OciError::NoFile(path.to_owned()));
    }
    let file = File::open(&here).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    let place = Store::new(file.try_clone().map_err(failed)?);
    Ok(Blob {
        place: Some((place, 0)),
        bytes: Box::new(file),
        len: meta.len(),
        // In a file with holes, only the data is read.
        stored: meta.len().min(meta.blocks().saturating_mul(512)),
        checked: false,
    })
}

/// Path of a blob in a separate folder: skopeo's `--shared-blob-dir` has no folder `blobs`.
fn in_cache(more: &Utf8Path, path: &str) -> Option<Utf8PathBuf> {
    let below = path.strip_prefix("blobs/")?;
    let places = [more.join(below), more.join(path)];
    places.into_iter().find(|place| place.is_file())
}

/// Links in a tar point into the tar: old versions of `docker save` made them for layers that occur
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
            checked: false,
            place: match content {
                Content::Stored { store, start, .. } => {
                    let store = rootfs.stores.get(*store);
                    store.ok().map(|store| (store.clone(), *start))
                }
                _ => None,
            },
            len: content.len(),
            stored: match content {
                Content::Sparse { segments, .. } => segments.iter().map(|s| s.len).sum(),
                content => content.len(),
            },
            bytes: Box::new(Stored {
                stores: rootfs.stores.clone(),
                content: content.clone(),
                at: 0,
            }),
        }),
        _ => Err(OciError::NoFile(path.to_owned())),
    }
}

/// Contents in a store, read from start to end.
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
