//! Writes a disk in every format in one pass, and its metadata files.

use super::Assembly;
use super::input::Unchecked;
use crate::deliver::artifact;
use crate::deliver::manifest::{self, Manifest};
use crate::deliver::sbom::Inventory;
use crate::deliver::{Delivery, Emit, Metadata, WriteJob, direct, pages};
use crate::error::Report;
use crate::format::{self, Sink};
use crate::model::{Format, MIB, Packing, Size};
use crate::output::{Access, Set};
use crate::progress::Progress;
use crate::recipe::Found;
use camino::{Utf8Path, Utf8PathBuf};
use std::cell::Cell;
use std::ops::Range;

/// Which files to write for an image, apart from its formats.
#[derive(Debug, Clone)]
pub struct Files {
    /// How to compress each file as a whole.
    pub compress: Option<Packing>,
    /// Files larger than this are split into parts; at least 1 MiB.
    pub split: Option<Size>,
    /// Whether to write a block map for the raw image.
    pub bmap: bool,
    /// Whether to write the manifest, `SHA256SUMS` and the list of packages.
    pub metadata: bool,
    /// Number of threads for compression; by default one per core. It does not affect the result.
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
    /// Refuses options that do not fit these formats.
    pub(super) fn check(&self, formats: &[Format]) -> Result<(), Report> {
        if let Some(size) = self.split.filter(|size| size.0 < MIB) {
            return Err(Report::mistake(format!("--split {size} is too small"))
                .hint("use at least 1 MiB; release assets must be smaller than 2 GiB, e.g. --split 1900M"));
        }
        if self.bmap && !formats.contains(&Format::Raw) {
            return Err(
                Report::mistake("--bmap needs a raw image, but `raw` is not in --format")
                    .hint("add `raw` to --format, or remove --bmap"),
            );
        }
        for (n, format) in formats.iter().enumerate() {
            if formats[..n].contains(format) {
                return Err(Report::mistake(format!(
                    "the format {} is given twice",
                    format.extension()
                ))
                .hint("give each format once"));
            }
        }
        Ok(())
    }

    /// What to write for a disk of `size` bytes.
    pub(super) fn job<'a>(
        &self,
        dir: &'a Utf8Path,
        size: u64,
        formats: &'a [Format],
        options: &'a format::Options,
        free: Vec<Range<u64>>,
        access: Access,
    ) -> WriteJob<'a> {
        WriteJob {
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

    /// Sets the number of compression threads in `options`, if one was given.
    pub(super) fn threads(&self, options: &mut format::Options) {
        options.threads = self.threads.unwrap_or(options.threads);
    }
}

/// An image that is ready to be written.
pub(super) struct Contents<'a> {
    pub(super) found: &'a Found,
    pub(super) assembly: &'a Assembly,
    /// Whether `found` is a recipe, and not only defaults.
    pub(super) recipe: bool,
    /// The packages, if metadata files are written.
    pub(super) inventory: Option<Inventory>,
    /// The container image that the Dockerfile is based on.
    pub(super) base: Option<manifest::Base>,
    /// The machine that the container was put into.
    pub(super) machine: Option<manifest::Machine>,
    /// What is still being checked.
    pub(super) unchecked: Vec<Unchecked>,
}

/// Progress is told in steps of this many bytes.
const TOLD: u64 = 1 << 20;

/// Writes every format in one pass, and the metadata files. The files get their names when all of
/// them are complete.
pub(super) fn image(
    contents: Contents<'_>,
    files: &Files,
    set: &Set,
    progress: &dyn Progress,
) -> Result<Vec<Utf8PathBuf>, Report> {
    let Contents {
        found,
        assembly,
        recipe,
        inventory,
        base,
        machine,
        unchecked,
    } = contents;
    let plan = &assembly.plan;
    let mut options = format::Options {
        compression: found.recipe.compression,
        ..assembly.options()
    };
    files.threads(&mut options);
    let bar = progress.bytes("writing", Some(assembly.content()));
    let free = match files.bmap {
        true => assembly
            .free()
            .map_err(|e| Report::failure("finding the free space of the disk").because(e))?,
        false => Vec::new(),
    };
    let access = match assembly.is_private() {
        true => Access::Private,
        false => Access::Shared,
    };
    let size = plan.disk.size;
    let job = files.job(set.dir(), size, &plan.formats, &options, free, access);
    // Small files are many: telling each would take longer than copying it.
    let held = Cell::new(0);
    let add = |n| {
        held.set(held.get() + n);
        if held.get() >= TOLD {
            bar.add(held.take());
        }
    };
    let emit: Emit<'_> = &|sink: &mut dyn Sink| assembly.write(sink, &add);
    let artifacts = artifact::write(&job, emit, &|text| progress.stage(text))?;
    bar.add(held.take());
    drop(bar);
    let metadata = match inventory {
        None => None,
        Some(inventory) => {
            let recipe = recipe.then(|| manifest::Recipe::of(found)).transpose()?;
            let mut manifest = Manifest::new(plan, recipe, base);
            manifest.machine = machine;
            Some(Metadata {
                manifest,
                inventory: Some(inventory),
            })
        }
    };
    // Nothing gets its name before everything that it was made of is known to be right.
    unchecked.into_iter().try_for_each(Unchecked::finish)?;
    let pages = match &metadata {
        Some(_) => pages::write(plan, &artifacts, set.dir())?,
        None => Vec::new(),
    };
    // The metadata files of an earlier image do not describe this one; nor do its pages, but for
    // those that are replaced.
    let mut stale: Vec<String> = pages::names(&plan.name).collect();
    if metadata.is_none() {
        stale.push(manifest::file_name(&plan.name));
        stale.push(manifest::spdx_name(&plan.name));
    }
    let mut others = assembly.direct(set.dir(), access)?;
    others.extend(pages);
    stale.extend(direct::names(&plan.name));
    let delivery = Delivery {
        artifacts,
        others,
        stale,
        metadata,
        sums: job.sums,
    };
    delivery.commit(set)
}
