//! Options about the files of an image that `image` and `convert` share.

use super::choices;
use super::console::Console;
use crate::deliver::artifact::Job;
use crate::disk::write_error;
use crate::error::Report;
use crate::format;
use crate::model::size::{MIB, Size};
use crate::model::{Format, Packing};
use crate::output::{Access, Set};
use camino::Utf8Path;
use std::ops::Range;

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
    pub(super) bmap: bool,
    /// Write no manifest, no checksums and no list of packages
    #[arg(long)]
    pub(super) no_papers: bool,
    /// How many threads compress; the result does not depend on it [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

impl Files {
    /// Refuses what makes no sense for these formats.
    pub(super) fn check(&self, formats: &[Format]) -> Result<(), Report> {
        if let Some(size) = self.split.filter(|size| size.0 < MIB) {
            return Err(Report::mistake(format!("--split {size} is too small"))
                .hint("parts are 1 MiB or larger; a release asset may have up to 2 GiB: --split 1900M"));
        }
        if self.bmap && !formats.contains(&Format::Raw) {
            return Err(Report::mistake("--bmap without a raw image")
                .hint("a block map describes one: add raw to --format"));
        }
        for (n, format) in formats.iter().enumerate() {
            if formats[..n].contains(format) {
                return Err(Report::mistake(format!(
                    "the format {} is named twice",
                    format.extension()
                ))
                .hint("name each format once"));
            }
        }
        Ok(())
    }

    /// What is to be written.
    pub(super) fn job<'a>(
        &self,
        dir: &'a Utf8Path,
        size: u64,
        formats: &'a [Format],
        options: &'a format::Options,
        free: Vec<Range<u64>>,
        access: Access,
    ) -> Job<'a> {
        Job {
            dir,
            size,
            formats,
            options,
            packing: self.compress,
            split: self.split.map(|size| size.0),
            free: self.bmap.then_some(free),
            sums: !self.no_papers,
            access,
        }
    }

    /// Takes the folder for the files of the image `name`; waits for another run that has it.
    pub(super) fn set(dir: &Utf8Path, name: &str, console: Console) -> Result<Set, Report> {
        Set::open(dir, name, &|text| console.note(text)).map_err(|e| write_error(dir, e))
    }

    /// The threads that were asked for.
    pub(super) fn threads(&self, options: &mut format::Options) {
        if let Some(threads) = self.threads {
            options.threads = usize::from(threads);
        }
    }
}
