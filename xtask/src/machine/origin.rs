//! The files of a layout: in a folder, or in a tar that was read as a tree.

use super::Machine;
use super::document::{self, Descriptor, Index, Manifest, NoMachine};
use crate::model::Digest;
use crate::plain;
use crate::rootfs::{Kind, Rootfs};
use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest as _, Sha256};
use std::io::{self, Read, Write};

/// Largest document that is read, in bytes.
const MOST: u64 = 4 << 20;

/// Most images that are looked at in one layout.
const MOST_IMAGES: usize = 256;

/// Where the files of a layout are.
pub(super) enum Origin<'a> {
    /// In a folder.
    Dir(&'a Utf8Path),
    /// In a tar.
    Tar(&'a Rootfs),
}

/// Why a layout, or a machine in it, cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unread {
    #[error("it is not an OCI layout: {0} is missing")]
    NoLayout(&'static str),
    #[error("{0} is missing")]
    Missing(String),
    #[error("{0} cannot be read: {1}")]
    Io(String, io::Error),
    #[error("{path} has the digest {is}, but {wanted} was expected")]
    Digest {
        path: String,
        is: Digest,
        wanted: Digest,
    },
    #[error("{path} has {is} bytes, but {wanted} were expected")]
    Size { path: String, is: u64, wanted: u64 },
    #[error("{0} is malformed: {1}")]
    Json(String, serde_json::Error),
    #[error(transparent)]
    Digests(#[from] crate::model::NotDigest),
    #[error(transparent)]
    NoMachine(#[from] NoMachine),
}

/// The path of a blob in a layout.
pub(super) fn path(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// A machine with its documents.
pub(super) struct Found {
    pub(super) machine: Machine,
    pub(super) entry: Descriptor,
    pub(super) manifest: Manifest,
}

impl Origin<'_> {
    fn dir(&self) -> Utf8PathBuf {
        match self {
            Origin::Dir(dir) => (*dir).to_owned(),
            Origin::Tar(_) => Utf8PathBuf::new(),
        }
    }

    /// A document of at most 4 MiB; `None` if it is missing.
    fn document(&self, path: &str) -> Result<Option<Vec<u8>>, Unread> {
        let read = match self {
            Origin::Dir(dir) => match plain::read(&dir.join(path), MOST) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
                read => read.map(Some),
            },
            Origin::Tar(rootfs) => rootfs.read(path, MOST),
        };
        read.map_err(|e| Unread::Io(path.to_owned(), e))
    }

    /// `index.json`.
    pub(super) fn index(&self) -> Result<Index, Unread> {
        let bytes = self.document("index.json")?;
        let bytes = bytes.ok_or(Unread::NoLayout("index.json"))?;
        serde_json::from_slice(&bytes).map_err(|e| Unread::Json("index.json".into(), e))
    }

    /// A document whose digest is checked.
    fn checked(&self, digest: Digest) -> Result<Vec<u8>, Unread> {
        let path = path(digest);
        let bytes = self.document(&path)?;
        let bytes = bytes.ok_or_else(|| Unread::Missing(path.clone()))?;
        let is = Digest::of(&bytes);
        let wanted = digest;
        match is == wanted {
            true => Ok(bytes),
            false => Err(Unread::Digest { path, is, wanted }),
        }
    }

    /// The machine that an entry of the index leads to.
    pub(super) fn machine(&self, entry: &Descriptor) -> Result<Found, Unread> {
        let digest: Digest = entry.digest.parse()?;
        let json = |digest| move |e| Unread::Json(path(digest), e);
        let manifest: Manifest =
            serde_json::from_slice(&self.checked(digest)?).map_err(json(digest))?;
        let config: Digest = manifest.config.digest.parse()?;
        let config = self.checked(config)?;
        let machine = document::machine(&self.dir(), digest, &manifest, &config)?;
        Ok(Found {
            machine,
            entry: entry.clone(),
            manifest,
        })
    }

    /// What each entry of the index leads to.
    pub(super) fn machines(&self) -> Result<Vec<Result<Found, Unread>>, Unread> {
        let index = self.index()?;
        let entries = index.manifests.iter().take(MOST_IMAGES);
        Ok(entries.map(|entry| self.machine(entry)).collect())
    }

    /// Copies a blob, and checks its length and its digest.
    pub(super) fn copy(&self, blob: &Descriptor, to: &mut dyn Write) -> Result<(), Unread> {
        let wanted: Digest = blob.digest.parse()?;
        let path = path(wanted);
        let failed = |e| Unread::Io(path.clone(), e);
        let mut bytes = self.open(&path)?;
        let mut hash = Sha256::new();
        let mut buf = vec![0; 1 << 20];
        let mut len = 0;
        loop {
            let n = match bytes.read(&mut buf) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(failed(e)),
            };
            len += n as u64;
            if len > blob.size {
                break;
            }
            hash.update(&buf[..n]);
            // An error of the destination is not one of this file.
            to.write_all(&buf[..n])
                .map_err(|e| Unread::Io("its copy".to_owned(), e))?;
        }
        if len != blob.size {
            return Err(Unread::Size {
                path,
                is: len,
                wanted: blob.size,
            });
        }
        match Digest::from(hash) {
            is if is == wanted => Ok(()),
            is => Err(Unread::Digest { path, is, wanted }),
        }
    }

    /// The length of a document in bytes.
    pub(super) fn len(&self, path: &str) -> Result<u64, Unread> {
        let bytes = self.document(path)?;
        let bytes = bytes.ok_or_else(|| Unread::Missing(path.to_owned()))?;
        Ok(bytes.len() as u64)
    }

    fn open(&self, path: &str) -> Result<Box<dyn Read + '_>, Unread> {
        let missing = || Unread::Missing(path.to_owned());
        match self {
            Origin::Dir(dir) => match plain::open(&dir.join(path)) {
                Ok(file) => Ok(Box::new(file)),
                Err(e) if e.kind() == io::ErrorKind::NotFound => Err(missing()),
                Err(e) => Err(Unread::Io(path.to_owned(), e)),
            },
            Origin::Tar(rootfs) => {
                let id = rootfs.tree.resolve(path).ok_or_else(missing)?;
                match &rootfs.tree.node(id).kind {
                    Kind::File(content) => Ok(Box::new(rootfs.stores.reader(content))),
                    _ => Err(missing()),
                }
            }
        }
    }
}
