//! Which files to write for a disk.

use crate::format::{self, Sink};
use crate::model::{Format, Packing};
use crate::output::Access;
use camino::Utf8Path;
use std::io;
use std::ops::Range;

/// Which files to write.
#[derive(Debug)]
pub struct WriteJob<'a> {
    /// Folder for the files.
    pub dir: &'a Utf8Path,
    /// Size of the disk in bytes.
    pub size: u64,
    /// Formats to write.
    pub formats: &'a [Format],
    /// Options for the formats.
    pub options: &'a format::Options,
    /// How to compress each file as a whole.
    pub packing: Option<Packing>,
    /// Files larger than this, in bytes, are split into parts.
    pub split: Option<u64>,
    /// Free ranges of the disk in bytes, ascending and disjoint, for a block map of the raw image.
    /// With `None` no map is written.
    pub free: Option<Vec<Range<u64>>>,
    /// Whether to compute checksums. (Those of parts and compressed files are always computed.)
    pub sums: bool,
    /// Who may read the image's files on the host.
    pub access: Access,
}

/// Writes a disk into a sink, the same bytes each time it is called.
pub type Emit<'a> = &'a dyn Fn(&mut dyn Sink) -> io::Result<()>;
