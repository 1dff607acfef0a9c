//! Options about the files of an image that `image` and `convert` share.

use super::choices;
use crate::build;
use crate::model::{Packing, Size};

/// Those options.
#[derive(Debug, clap::Args)]
pub(super) struct Files {
    /// Compress each file as a whole, for publishing
    #[arg(long, value_name = "HOW", value_parser = choices::of::<Packing>())]
    compress: Option<Packing>,
    /// Cut a file that becomes larger than this into parts, as 1900M
    #[arg(long, value_name = "SIZE")]
    split: Option<Size>,
    /// Write a block map beside the raw image, for bmaptool
    #[arg(long)]
    bmap: bool,
    /// Write no manifest, no checksums and no list of packages
    #[arg(long)]
    no_papers: bool,
    /// How many threads compress; the result does not depend on it [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

impl Files {
    /// What they ask for.
    pub(super) fn wanted(&self) -> build::Files {
        build::Files {
            compress: self.compress,
            split: self.split,
            bmap: self.bmap,
            metadata: !self.no_papers,
            threads: self.threads.map(usize::from),
        }
    }
}
