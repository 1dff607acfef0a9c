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

/// Where the blobs of an image come from, e.g. a registry. What it returns is checked again by the
/// reader.
pub trait Remote {
    /// Reads a whole document of `size` bytes. An error of the kind [`io::ErrorKind::NotFound`]
    /// means that it does not exist: an index may list images that were never stored.
    fn document(&self, part: Part, digest: Digest, size: u64) -> io::Result<Vec<u8>>;

    /// Opens a layer. Its bytes may arrive while they are read.
    fn layer(&self, digest: Digest) -> io::Result<Box<dyn Read>>;
}
