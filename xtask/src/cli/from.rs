//! `--from`: a root file system or a container image that lies in files.

use super::console::Console;
use crate::error::{Class, Report};
use crate::recipe::Arch;
use crate::rootfs::Rootfs;
use crate::rootfs::oci::{self, Config, Input, Limits};
use crate::rootfs::tar::{self, TarError};
use camino::Utf8Path;

/// What is to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct From<'a> {
    /// A file, a folder, or `-` for stdin.
    pub path: &'a Utf8Path,
    pub arch: Arch,
    pub limits: Limits,
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
        let rootfs = tar::from_stream(stream, from.spool_dir);
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
                    "{path} is a folder, but not of a container image (it has no oci-layout)"
                ))
                .hint(format!("for a root file system: `tar -C {path} -c . | cargo xtask image RECIPE --from -`, as a user who may read all of it")));
            }
            let image = oci::from_dir(path, from.arch, from.limits, from.spool_dir);
            let image = image.map_err(|e| named(e.into(), path.as_str()))?;
            return Ok((image.rootfs, Some(image.config)));
        }
        let rootfs = tar::from_file(file, from.spool_dir);
        (
            path.as_str(),
            rootfs.map_err(|e| bad_tar(path.as_str(), e))?,
        )
    };
    match oci::from_tar(rootfs, from.arch, from.limits, from.spool_dir)
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
    let mistaken = matches!(error, TarError::Empty | TarError::Header { at: 0 });
    let mut report = Report::from(error);
    report.message = format!("reading the root file system from {from}");
    if mistaken {
        report.class = Class::Mistake;
    }
    report
}
