//! Reads a root file system or a container image from files.

use crate::error::{Class, Report};
use crate::progress::{Counted, Progress};
use crate::rootfs::oci::{self, Config, Input, Wanted};
use crate::rootfs::tar::{self, TarError};
use crate::rootfs::{Budget, Rootfs};
use camino::Utf8Path;
use std::fs::File;

/// Reads `path` (`-` for stdin), and the configuration if it is an image. Contents that come from a
/// pipe or from layers are stored in unnamed files in `spool_dir`.
pub(super) fn read(
    path: &Utf8Path,
    wanted: &Wanted,
    budget: Budget,
    spool_dir: &Utf8Path,
    progress: &dyn Progress,
) -> Result<(Rootfs, Option<Config>), Report> {
    let (name, rootfs) = if path == "-" {
        progress.stage("reading a root file system or a container image from stdin");
        let stream = Counted::new(std::io::stdin(), progress.bytes("reading", None));
        ("stdin", tar::from_stream_within(stream, spool_dir, &budget))
    } else {
        progress.stage(&format!("reading {path}"));
        let file = open(path)?;
        if file.metadata().is_ok_and(|m| m.is_dir()) {
            return folder(path, wanted, budget, spool_dir);
        }
        (
            path.as_str(),
            tar::from_file_within(file, spool_dir, &budget),
        )
    };
    let rootfs = rootfs.map_err(|e| bad_tar(name, e))?;
    let input = oci::from_tar(rootfs, wanted, budget, spool_dir);
    match input.map_err(|e| named(e.into(), name))? {
        Input::Rootfs(rootfs) => Ok((rootfs, None)),
        Input::Image(image) => {
            progress.detail("it is a container image: merging its layers");
            Ok((image.rootfs, Some(image.config)))
        }
    }
}

fn open(path: &Utf8Path) -> Result<File, Report> {
    File::open(path).map_err(|e| {
        Report::mistake(format!("opening the root file system {path}"))
            .because(e)
            .hint("give --from a tar of a whole root file system (e.g. from `docker export`), a tar of a container image (e.g. from `docker save`), or the folder of an OCI layout")
    })
}

/// Reads the folder of an OCI layout.
fn folder(
    path: &Utf8Path,
    wanted: &Wanted,
    budget: Budget,
    spool_dir: &Utf8Path,
) -> Result<(Rootfs, Option<Config>), Report> {
    if !oci::is_image_dir(path) {
        return Err(Report::mistake(format!(
            "{path} is a folder, but does not contain a container image (it has neither index.json with blobs, nor manifest.json or repositories)"
        ))
        .hint(format!("for a root file system: `tar -C {path} -c . | cargo xtask image RECIPE --from -`, run as a user who may read all of it")));
    }
    let image = oci::from_dir(path, wanted, budget, spool_dir);
    let image = image.map_err(|e| named(e.into(), path.as_str()))?;
    Ok((image.rootfs, Some(image.config)))
}

fn named(mut report: Report, name: &str) -> Report {
    report.message = format!("reading the container image {name}");
    report
}

/// The error for an input that is not a complete tar.
fn bad_tar(from: &str, error: TarError) -> Report {
    // A wrong file is the user's mistake; a damaged one may not be.
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
