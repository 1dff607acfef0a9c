//! What leaves the house: the files of an image in every format that was asked for, and their
//! papers: a manifest, checksums, a list of packages.

pub mod artifact;
pub mod github;
pub mod manifest;
pub mod room;
pub mod sbom;
pub mod sums;
pub mod verify;

use crate::disk;
use crate::error::Report;
use crate::format::digest;
use crate::output::Pending;
use artifact::{Artifact, join_name};
use camino::{Utf8Path, Utf8PathBuf};
use manifest::Manifest;
use sbom::Inventory;
use std::io::{self, Write};

/// What the papers of an image say besides what is known of its files.
#[derive(Debug)]
pub struct Papers {
    /// The manifest, without its artifacts.
    pub manifest: Manifest,
    /// The packages of the root file system; `None` leaves the list as it is.
    pub inventory: Option<Inventory>,
}

/// Everything that goes into a folder together.
#[derive(Debug)]
pub struct Delivery {
    /// The image in its formats.
    pub artifacts: Vec<Artifact>,
    /// Further files that belong to it.
    pub others: Vec<Paper>,
    /// What manifest and package list say, if they are wanted.
    pub papers: Option<Papers>,
    /// Whether the checksums of all of it go into `SHA256SUMS`. If not, those of files that
    /// are replaced are taken out of it.
    pub sums: bool,
    /// Papers that lie in the folder and are not true any more.
    pub stale: Vec<String>,
}

impl Delivery {
    /// Writes the papers, and then gives every file its name in `dir`. Returns the files of
    /// the artifacts.
    ///
    /// Checksums that `SHA256SUMS` has for other files stay in it.
    pub fn commit(self, dir: &Utf8Path) -> Result<Vec<Utf8PathBuf>, Report> {
        let failed = |e: io::Error| disk::write_error(dir, e);
        // Everything is written before anything gets its name.
        let mut extra = self.others;
        for artifact in &self.artifacts {
            if let Some(command) = artifact.join_command() {
                let path = dir.join(join_name(&artifact.file));
                let text = join_script(&artifact.file, &command, &artifact.sha256);
                extra.push(Paper::new(&path, text).map_err(failed)?);
            }
        }
        if let Some(papers) = self.papers {
            extra.extend(papers.write(dir, &self.artifacts)?);
        }
        let lock = sums::Lock::of(dir).map_err(failed)?;
        let mut lines = Vec::new();
        let mut images = Vec::new();
        for artifact in self.artifacts {
            artifact.remove_stale(dir).map_err(failed)?;
            if let Some(map) = artifact.map {
                lines.push((file_name(&map.pending), map.sha256));
                named(map.pending)?;
            }
            for file in artifact.files {
                images.push(file.pending.path().to_owned());
                lines.push((file_name(&file.pending), file.sha256));
                named(file.pending)?;
            }
        }
        for paper in extra {
            lines.push((file_name(&paper.pending), paper.sha256));
            named(paper.pending)?;
        }
        for name in &self.stale {
            match fs_err::remove_file(dir.join(name)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
                Ok(()) | Err(_) => {}
            }
        }
        if !self.sums {
            let replaced: Vec<String> = lines.drain(..).map(|(name, _)| name).collect();
            lock.forget(&replaced).map_err(failed)?;
        } else {
            named(lock.merge(&lines).map_err(failed)?)?;
        }
        Ok(images)
    }
}

impl Papers {
    fn write(self, dir: &Utf8Path, artifacts: &[Artifact]) -> Result<Vec<Paper>, Report> {
        let failed = |e: io::Error| disk::write_error(dir, e);
        let mut manifest = self.manifest;
        manifest.record(artifacts);
        let mut papers = Vec::new();
        if let Some(inventory) = &self.inventory {
            let name = manifest::spdx_name(&manifest.name);
            let text = sbom::spdx(inventory, &manifest)?;
            papers.push(Paper::new(&dir.join(&name), text).map_err(failed)?);
            manifest.packages = Some(manifest::Packages {
                file: name,
                format: sbom::FORMAT.into(),
                count: inventory.packages.len() as u64,
            });
        }
        let path = dir.join(manifest::file_name(&manifest.name));
        papers.push(Paper::new(&path, manifest.text()?).map_err(failed)?);
        Ok(papers)
    }
}

fn named(file: Pending) -> Result<(), Report> {
    let path = file.path().to_owned();
    file.commit().map_err(|e| disk::write_error(&path, e))
}

fn file_name(file: &Pending) -> String {
    file.path().file_name().unwrap_or_default().to_owned()
}

/// A small file that is complete and has no name yet.
#[derive(Debug)]
pub struct Paper {
    pending: Pending,
    sha256: String,
}

impl Paper {
    /// A file with this text.
    pub fn new(path: &Utf8Path, text: impl AsRef<[u8]>) -> io::Result<Paper> {
        let pending = Pending::create(path)?;
        pending.file()?.write_all(text.as_ref())?;
        Ok(Paper {
            pending,
            sha256: digest::sha256(text.as_ref())?,
        })
    }
}

/// The script that stands beside parts: it joins them, and checks what came out.
fn join_script(file: &str, command: &str, sha256: &str) -> String {
    format!(
        "#!/bin/sh\n# Joins the parts of {file}: run it in their folder, or copy the line.\n\
         {command} && echo '{sha256}  {file}' | sha256sum -c -\n"
    )
}
