//! Images whose blobs are fetched when they are needed.

use crate::model::Digest;
use std::io::{self, Read};

/// Whether a document is one that lists others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// An index or a manifest.
    Manifest,
    /// A configuration.
    Config,
}

/// Where the blobs of an image come from, e.g. a registry. Documents that it
/// returns are checked by the reader.
pub trait Remote {
    /// Reads a whole document of `size` bytes. An error of the kind [`io::ErrorKind::NotFound`]
    /// means that it does not exist: an index may list images that were never stored.
    fn document(&self, part: Part, digest: Digest, size: u64) -> io::Result<Vec<u8>>;

    /// Opens a layer. Its bytes may arrive while they are read.
    fn layer(&self, digest: Digest) -> io::Result<Opened>;
}

/// A layer that is read.
pub struct Opened {
    /// Its bytes.
    pub bytes: Box<dyn Read>,
    /// Whether reading it to its end fails if it has another digest. Then the reader need not
    /// compute it a second time.
    pub checked: bool,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("Opened");
        out.field("checked", &self.checked).finish_non_exhaustive()
    }
}
