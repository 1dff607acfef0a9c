//! Options for an image's files, shared by `image` and `convert`.

use super::choices;
use crate::build;
use crate::model::{Packing, Size};

/// Options for an image's files.
#[derive(Debug, clap::Args)]
pub(super) struct Files {
    /// Compress each image file as a whole, for publishing
    #[arg(long, value_name = "HOW", value_parser = choices::of::<Packing>())]
    compress: Option<Packing>,
    /// Split files that are larger than this into parts, e.g. 1900M
    #[arg(long, value_name = "SIZE")]
    split: Option<Size>,
    /// Write a block map for bmaptool next to the raw image
    #[arg(long)]
    bmap: bool,
    /// Do not write metadata files: the manifest, SHA256SUMS and the list of packages
    #[arg(long, alias = "no-papers")]
    no_metadata: bool,
    /// Number of threads for compression; it does not affect the result [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

impl Files {
    /// What the options ask for.
    pub(super) fn wanted(&self) -> build::Files {
        build::Files {
            compress: self.compress,
            split: self.split,
            bmap: self.bmap,
            metadata: !self.no_metadata,
            threads: self.threads.map(usize::from),
        }
    }
}
