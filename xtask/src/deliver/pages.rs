//! The pages next to an image: one for each of its targets, which says how it is imported there.

use super::artifact::{Artifact, join_name};
use super::{MetadataFile, direct};
use crate::error::Report;
use crate::model::{Format, Target};
use crate::output;
use crate::plan::Plan;
use crate::plan::targets::{self, ImageFile, Imported, Platform};
use camino::Utf8Path;

/// Writes the pages of an image into `dir`; they do not have their names yet.
pub fn write(
    plan: &Plan,
    artifacts: &[Artifact],
    dir: &Utf8Path,
) -> Result<Vec<MetadataFile>, Report> {
    let formats: Vec<Format> = artifacts.iter().map(|a| a.format).collect();
    let mut pages = Vec::new();
    for target in &plan.targets {
        let row = Platform::of(*target);
        let format = row.format_of(&formats);
        let artifact = artifacts.iter().find(|a| Some(a.format) == format);
        // A plan with a target that none of its formats suits is refused before.
        let Some(artifact) = artifact else { continue };
        let image = Imported {
            name: &plan.name,
            disk: plan.disk.size,
            boot: plan.boot,
            arch: plan.arch,
            arguments: plan.entries.first().map_or("", |e| &e.arguments),
            kernel: direct::kernel_name(&plan.name),
            initrd: direct::initrd_name(&plan.name),
            file: ImageFile {
                format: artifact.format,
                name: &artifact.file,
                size: artifact.size,
                packing: artifact.packing,
                join: artifact.is_split().then(|| join_name(&artifact.file)),
            },
        };
        let path = dir.join(target.page_name(&plan.name));
        let page = MetadataFile::new(&path, targets::page(row, &image));
        pages.push(page.map_err(|e| output::write_error(dir, e))?);
    }
    Ok(pages)
}

/// The names of all pages that an image can have.
pub fn names(image: &str) -> impl Iterator<Item = String> {
    Target::ALL
        .into_iter()
        .map(move |target| target.page_name(image))
}
