//! Writes a disk in every format in one pass, and its metadata files.

use super::Assembly;
use crate::deliver::artifact;
use crate::deliver::manifest::{self, Manifest};
use crate::deliver::sbom::Inventory;
use crate::deliver::{Delivery, Emit, Job, Papers};
use crate::error::Report;
use crate::format::{self, Sink};
use crate::model::{Format, MIB, Packing, Size};
use crate::output::{Access, Set};
use crate::progress::Progress;
use crate::recipe::Found;
use camino::{Utf8Path, Utf8PathBuf};
use std::ops::Range;

/// Which files are written of an image, besides its formats.
#[derive(Debug, Clone)]
pub struct Files {
    /// How each file is compressed as a whole.
    pub compress: Option<Packing>,
    /// A file that would become larger than this is cut into parts; at least 1 MiB.
    pub split: Option<Size>,
    /// Whether a block map is written for the raw image.
    pub bmap: bool,
    /// Whether manifest, checksums and list of packages are written.
    pub metadata: bool,
    /// How many threads compress; one for each core if it is left out. The result does not
    /// depend on it.
    pub threads: Option<usize>,
}

impl Default for Files {
    fn default() -> Files {
        Files {
            compress: None,
            split: None,
            bmap: false,
            metadata: true,
            threads: None,
        }
    }
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

    /// What is to be written of a disk of `size` bytes.
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
            sums: self.metadata,
            access,
        }
    }

    /// The threads that compress, where `options` has one for each core.
    pub(super) fn threads(&self, options: &mut format::Options) {
        options.threads = self.threads.unwrap_or(options.threads);
    }
}

/// An image that only has to be written.
pub(super) struct Contents<'a> {
    pub(super) found: &'a Found,
    pub(super) assembly: &'a Assembly,
    /// The packages, if metadata files are wanted.
    pub(super) inventory: Option<Inventory>,
    /// The container image that the Dockerfile started from.
    pub(super) base: Option<manifest::Base>,
}

/// Writes every format in one pass, and the metadata files; nothing gets its name before all are
/// complete.
pub(super) fn image(
    contents: Contents<'_>,
    files: &Files,
    set: &Set,
    progress: &dyn Progress,
) -> Result<Vec<Utf8PathBuf>, Report> {
    let Contents {
        found,
        assembly,
        inventory,
        base,
    } = contents;
    let plan = &assembly.plan;
    let mut options = format::Options {
        compression: found.recipe.compression,
        ..assembly.options()
    };
    files.threads(&mut options);
    let bar = progress.bytes("writing", Some(plan.root.content));
    let free = match files.bmap {
        true => assembly
            .free()
            .map_err(|e| Report::failure("looking for the free space of the disk").because(e))?,
        false => Vec::new(),
    };
    let access = match assembly.has_password_hashes {
        true => Access::Private,
        false => Access::Shared,
    };
    let size = plan.disk.size;
    let job = files.job(set.dir(), size, &plan.formats, &options, free, access);
    let add = |n| bar.add(n);
    let emit: Emit<'_> = &|sink: &mut dyn Sink| assembly.write(sink, &add);
    let artifacts = artifact::write(&job, emit, &|text| progress.stage(text))?;
    drop(bar);
    let papers = match inventory {
        None => None,
        Some(inventory) => Some(Papers {
            manifest: Manifest::new(plan, Some(manifest::Recipe::of(found)?), base),
            inventory: Some(inventory),
        }),
    };
    let delivery = Delivery {
        artifacts,
        others: Vec::new(),
        // The metadata of an earlier image is not this one's.
        stale: match papers {
            Some(_) => Vec::new(),
            None => vec![
                manifest::file_name(&plan.name),
                manifest::spdx_name(&plan.name),
            ],
        },
        papers,
        sums: job.sums,
    };
    delivery.commit(set)
}
