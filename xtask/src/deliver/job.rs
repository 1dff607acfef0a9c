//! What files are to be written of one disk.

use crate::format::{self, Sink};
use crate::model::{Format, Packing};
use crate::output::Access;
use camino::Utf8Path;
use std::io;
use std::ops::Range;

/// What is to be written.
#[derive(Debug)]
pub struct Job<'a> {
    /// The folder of the files.
    pub dir: &'a Utf8Path,
    /// Size of the disk in bytes.
    pub size: u64,
    /// Formats to write.
    pub formats: &'a [Format],
    /// What the formats need to know.
    pub options: &'a format::Options,
    /// How each file is compressed as a whole.
    pub packing: Option<Packing>,
    /// A file that would become larger than this, in bytes, is cut into parts.
    pub split: Option<u64>,
    /// Where the disk is free, for a block map of the raw image: ascending, disjoint. `None`
    /// makes no map.
    pub free: Option<Vec<Range<u64>>>,
    /// Whether checksums are wanted. (Those of parts and compressed files come by themselves.)
    pub sums: bool,
    /// Who may read the image's files on the host.
    pub access: Access,
}

/// Emits a disk into a sink, the same each time.
pub type Emit<'a> = &'a dyn Fn(&mut dyn Sink) -> io::Result<()>;
