//! Writes the image files, in every requested format, and their metadata files: a manifest,
//! `SHA256SUMS` and a list of packages.

pub mod artifact;
pub mod direct;
pub mod free_space;
mod job;
pub mod manifest;
pub mod pages;
pub mod sbom;
pub mod secret;
pub mod sums;
pub mod verify;

use crate::error::Report;
use crate::format::digest;
use crate::output;
use crate::output::{Folder, Pending, Set};
use crate::plain::PlainName;
use artifact::{Artifact, join_name};
use camino::{Utf8Path, Utf8PathBuf};
pub use job::{Emit, WriteJob};
use manifest::Manifest;
use sbom::Inventory;
use std::io::{self, Write};

/// What the metadata files of an image contain, apart from what is read from its files.
#[derive(Debug)]
pub struct Metadata {
    /// The manifest, without its artifacts.
    pub manifest: Manifest,
    /// The packages of the root file system; `None` keeps the existing list.
    pub inventory: Option<Inventory>,
}

/// All files that get their names in a folder together.
#[derive(Debug)]
pub struct Delivery {
    /// The image, in each of its formats.
    pub artifacts: Vec<Artifact>,
    /// Further files that belong to the image.
    pub others: Vec<MetadataFile>,
    /// Contents of the manifest and the package list, if they are written.
    pub metadata: Option<Metadata>,
    /// Whether the checksums of all files go into `SHA256SUMS`. If not, those of replaced files are
    /// removed from it.
    pub sums: bool,
    /// Names of metadata files in the folder that are out of date and are removed.
    pub stale: Vec<String>,
}

impl Delivery {
    /// Writes the metadata files, and then gives every file its name in the folder of `set`: either
    /// all of them or none. Returns the paths of the artifacts' files.
    ///
    /// `SHA256SUMS` keeps its checksums of other files.
    pub fn commit(self, set: &Set) -> Result<Vec<Utf8PathBuf>, Report> {
        let dir = set.dir();
        let failed = |e: io::Error| output::write_error(dir, e);
        // Everything is written before anything gets its name.
        let mut extra = self.others;
        for artifact in &self.artifacts {
            if let Some(command) = artifact.join_command() {
                let path = dir.join(join_name(&artifact.file));
                let text = join_script(&artifact.file, &command, &artifact.sha256);
                extra.push(MetadataFile::new(&path, text).map_err(failed)?);
            }
        }
        if let Some(metadata) = self.metadata {
            extra.extend(metadata.write(dir, &self.artifacts)?);
        }
        let mut lines = Vec::new();
        let mut images = Vec::new();
        let mut files = Vec::new();
        let mut replaced = Vec::new();
        for artifact in self.artifacts {
            if let Some(map) = artifact.map {
                lines.push((file_name(&map.pending), map.sha256));
                files.push(map.pending);
            }
            replaced.push((artifact.file, artifact.files.len() > 1));
            for file in artifact.files {
                images.push(file.pending.path().to_owned());
                lines.push((file_name(&file.pending), file.sha256));
                files.push(file.pending);
            }
        }
        for file in extra {
            lines.push((file_name(&file.pending), file.sha256));
            files.push(file.pending);
        }
        sync_all(&files).map_err(failed)?;
        // From here on no other run changes names in the folder.
        let folder = Folder::lock(dir).map_err(failed)?;
        let mut remove = Vec::new();
        for (file, split) in &replaced {
            remove.extend(artifact::stale(dir, file, *split).map_err(failed)?);
        }
        remove.extend(self.stale);
        let is_new = |name: &String| lines.iter().any(|(new, _)| new == name);
        remove.retain(|name| !is_new(name));
        let gone: Vec<String> = match self.sums {
            true => remove.clone(),
            false => remove
                .iter()
                .chain(lines.iter().map(|(n, _)| n))
                .cloned()
                .collect(),
        };
        let lines = if self.sums { &lines[..] } else { &[] };
        if let Some(sums) = sums::updated(dir, lines, &gone)? {
            files.push(sums);
        }
        folder.commit(set.name(), files, &remove).map_err(failed)?;
        Ok(images)
    }
}

/// Flushes all files to disk, in several threads, because disks are faster with many requests.
fn sync_all(files: &[Pending]) -> io::Result<()> {
    std::thread::scope(|scope| {
        let mut running = Vec::new();
        for files in files.chunks(files.len().div_ceil(SYNCS).max(1)) {
            let sync = move || files.iter().try_for_each(Pending::sync);
            running.push(std::thread::Builder::new().spawn_scoped(scope, sync)?);
        }
        for task in running {
            let died = |_| io::Error::other("a thread that flushes files has panicked");
            task.join().map_err(died)??;
        }
        Ok(())
    })
}

/// How many files are flushed at once.
const SYNCS: usize = 8;

impl Metadata {
    fn write(self, dir: &Utf8Path, artifacts: &[Artifact]) -> Result<Vec<MetadataFile>, Report> {
        let failed = |e: io::Error| output::write_error(dir, e);
        let mut manifest = self.manifest;
        manifest.record(artifacts)?;
        let mut metadata = Vec::new();
        if let Some(inventory) = &self.inventory {
            let name = manifest::spdx_name(&manifest.name);
            let text = sbom::spdx(inventory, &manifest)?;
            metadata.push(MetadataFile::new(&dir.join(&name), text).map_err(failed)?);
            let failed = |e| Report::failure("writing the list of packages").because(e);
            manifest.packages = Some(manifest::Packages {
                file: PlainName::new(name).map_err(failed)?,
                format: sbom::FORMAT.into(),
                count: inventory.packages.len() as u64,
            });
        }
        let path = dir.join(manifest::file_name(&manifest.name));
        metadata.push(MetadataFile::new(&path, manifest.text()?).map_err(failed)?);
        Ok(metadata)
    }
}

fn file_name(file: &Pending) -> String {
    file.path().file_name().unwrap_or_default().to_owned()
}

/// A small file that is complete but does not have its name yet.
#[derive(Debug)]
pub struct MetadataFile {
    pending: Pending,
    sha256: String,
}

impl MetadataFile {
    /// Writes `text` to a file that will be called `path`.
    pub fn new(path: &Utf8Path, text: impl AsRef<[u8]>) -> io::Result<MetadataFile> {
        let pending = Pending::create(path)?;
        pending.file()?.write_all(text.as_ref())?;
        Ok(MetadataFile {
            pending,
            sha256: digest::sha256(text.as_ref())?,
        })
    }
}

/// The script that is written next to the parts: it joins them and checks the result.
fn join_script(file: &str, command: &str, sha256: &str) -> String {
    format!(
        "#!/bin/sh\n# Joins the parts of {file}: run it in their folder, or copy the line.\n\
         {command} && echo '{sha256}  {file}' | sha256sum -c -\n"
    )
}
