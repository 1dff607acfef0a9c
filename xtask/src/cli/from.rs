//! `--from`: a root file system or a container image that lies in files.

use super::console::Console;
use crate::error::{Class, Report};
use crate::model::Arch;
use crate::model::size::Size;
use crate::rootfs::oci::{self, Config, Input, Wanted};
use crate::rootfs::tar::{self, TarError};
use crate::rootfs::{Budget, Limits, Rootfs};
use camino::{Utf8Path, Utf8PathBuf};

/// Options for what `--from` is given.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Which image, if --from has several: its name, tag or digest
    #[arg(long, value_name = "NAME", requires = "from")]
    image_name: Option<String>,
    /// Newest variant of the architecture that the machine has, e.g. v3: which image of an index
    /// is taken [default: v1 of amd64, v8 of arm64]
    #[arg(long, requires = "from")]
    variant: Option<String>,
    /// Folder with blobs of the layout given by --from: links into it are followed, and blobs
    /// that are not in the layout are looked for there
    #[arg(long, value_name = "DIR", requires = "from")]
    blob_dir: Option<Utf8PathBuf>,
    /// Most that the input of --from may unpack to: its own compression and its layers together
    /// [default: 1 GiB, and 256 times its size]
    #[arg(long, value_name = "SIZE")]
    max_unpacked: Option<Size>,
    /// Most files, directories and links of the root file system [default: 1000000, but of a
    /// compressed input 350000 and one for each 512 bytes of it; a directory counts as 5]
    #[arg(long, value_name = "N")]
    max_entries: Option<u64>,
}

impl Args {
    /// Which image is wanted for a machine of `arch`.
    pub(super) fn wanted(&self, arch: Arch) -> Wanted {
        Wanted {
            arch,
            variant: self.variant.clone(),
            name: self.image_name.clone(),
            blob_dir: self.blob_dir.clone(),
        }
    }

    /// How much the root file system may take.
    pub(super) fn budget(&self) -> Budget {
        Budget::new(Limits {
            unpacked: self.max_unpacked.map(|Size(bytes)| bytes),
            entries: self.max_entries,
        })
    }
}

/// What is to be read.
#[derive(Debug, Clone)]
pub(super) struct From<'a> {
    /// A file, a folder, or `-` for stdin.
    pub path: &'a Utf8Path,
    /// Which image, if it holds some.
    pub wanted: Wanted,
    /// What it may take.
    pub budget: Budget,
    /// Folder for contents that come through a pipe or out of layers.
    pub spool_dir: &'a Utf8Path,
}

/// Reads it; also the configuration, if it is an image.
pub(super) fn read(from: From<'_>, console: Console) -> Result<(Rootfs, Option<Config>), Report> {
    let path = from.path;
    let named = |mut report: Report, name: &str| {
        report.message = format!("reading the container image {name}");
        report
    };
    let (name, rootfs) = if path == "-" {
        console.stage("reading a root file system or a container image from stdin");
        let bar = console.bytes("reading", None);
        let stream = bar.count(std::io::stdin());
        let rootfs = tar::from_stream_within(stream, from.spool_dir, &from.budget);
        ("stdin", rootfs.map_err(|e| bad_tar("stdin", e))?)
    } else {
        console.stage(&format!("reading {path}"));
        let file = std::fs::File::open(path).map_err(|e| {
            Report::mistake(format!("opening the root file system {path}"))
                .because(e)
                .hint("--from takes a tar of a whole root file system, as `docker export` writes it, or a container image: a tar, as `docker save` writes it, or the folder of an OCI layout")
        })?;
        if file.metadata().is_ok_and(|m| m.is_dir()) {
            if !oci::is_image_dir(path) {
                return Err(Report::mistake(format!(
                    "{path} is a folder, but not of a container image (it has neither index.json with blobs, nor manifest.json or repositories)"
                ))
                .hint(format!("for a root file system: `tar -C {path} -c . | cargo xtask image RECIPE --from -`, as a user who may read all of it")));
            }
            let image = oci::from_dir(path, &from.wanted, from.budget, from.spool_dir);
            let image = image.map_err(|e| named(e.into(), path.as_str()))?;
            return Ok((image.rootfs, Some(image.config)));
        }
        let rootfs = tar::from_file_within(file, from.spool_dir, &from.budget);
        (
            path.as_str(),
            rootfs.map_err(|e| bad_tar(path.as_str(), e))?,
        )
    };
    match oci::from_tar(rootfs, &from.wanted, from.budget, from.spool_dir)
        .map_err(|e| named(e.into(), name))?
    {
        Input::Rootfs(rootfs) => Ok((rootfs, None)),
        Input::Image(image) => {
            console.detail("it is a container image: its layers are put together");
            Ok((image.rootfs, Some(image.config)))
        }
    }
}

/// The error for what `--from` names and what is no whole tar.
fn bad_tar(from: &str, error: TarError) -> Report {
    // Somebody named the wrong file; what is merely damaged may be nobody's fault.
    let mistaken = matches!(
        error,
        TarError::Empty | TarError::Header { at: 0 } | TarError::Foreign { .. }
    );
    let mut report = Report::from(error);
    report.message = format!("reading the root file system from {from}");
    if mistaken {
        report.class = Class::Mistake;
    }
    report
}
