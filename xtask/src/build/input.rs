//! Reads a root file system or a container image from files.

use super::checked;
use crate::error::{Class, Report};
use crate::model::{Digest, Reference, Transport};
use crate::progress::{Counted, Progress};
use crate::rootfs::oci::{self, Checks, Config, Image, Input, Wanted};
use crate::rootfs::tar::{self, TarError};
use crate::rootfs::{Budget, Rootfs};
use camino::Utf8Path;
use std::fs::File;

/// A root file system that was read.
pub(super) struct Read {
    pub(super) rootfs: Rootfs,
    /// The configuration, if it is an image.
    pub(super) config: Option<Config>,
    /// The image's digest, if it has one.
    pub(super) digest: Option<Digest>,
    /// What is still being checked.
    pub(super) unchecked: Unchecked,
}

impl Read {
    fn plain(rootfs: Rootfs) -> Read {
        Read {
            rootfs,
            config: None,
            digest: None,
            unchecked: Unchecked::new(Checks::default(), |report| report),
        }
    }

    /// An image that errors call `name`.
    pub(super) fn image(image: Image, name: &str) -> Read {
        let name = name.to_owned();
        Read {
            rootfs: image.rootfs,
            config: Some(image.config),
            digest: image.digest,
            unchecked: Unchecked::new(image.checks, move |report| named(report, &name)),
        }
    }
}

/// Digests that are computed while the image is made.
pub(super) struct Unchecked {
    checks: Checks,
    error: Box<dyn Fn(Report) -> Report>,
}

impl Unchecked {
    /// `error` completes the error for a wrong digest.
    pub(super) fn new(checks: Checks, error: impl Fn(Report) -> Report + 'static) -> Unchecked {
        Unchecked {
            checks,
            error: Box::new(error),
        }
    }

    /// Waits for the digests. Fails if one is wrong; then nothing may be made of what was read.
    pub(super) fn finish(mut self) -> Result<(), Report> {
        let done = self.checks.wait();
        done.map_err(|e| (self.error)(e.into()))?;
        checked::remember(self.checks.found());
        Ok(())
    }
}

/// What the user says that an input is.
#[derive(Clone, Copy)]
enum Said {
    /// Nothing: its contents decide.
    Nothing,
    /// A tar of an image, which this prefix means.
    Archive(&'static str),
    /// The folder of an OCI layout.
    Folder,
}

/// Reads `place` (`-` for stdin), and the configuration if it is an image. Contents that come from a
/// pipe or from layers are stored in unnamed files in `spool_dir`.
pub(super) fn read(
    place: &Transport,
    wanted: &Wanted,
    budget: Budget,
    spool_dir: &Utf8Path,
    progress: &dyn Progress,
) -> Result<Read, Report> {
    let (path, said) = match place {
        Transport::Path(path) => (path, Said::Nothing),
        Transport::OciDir(path, _) => (path, Said::Folder),
        Transport::OciArchive(path, _) => (path, Said::Archive("oci-archive")),
        Transport::DockerArchive(path, _) => (path, Said::Archive("docker-archive")),
        Transport::Registry(_) => {
            return Err(Report::failure(format!("{place} is not a file")));
        }
    };
    let (name, rootfs) = if *place == Transport::Path("-".into()) {
        progress.stage("reading a root file system or a container image from stdin");
        let stream = Counted::new(std::io::stdin(), progress.bytes("reading", None));
        ("stdin", tar::from_stream_within(stream, spool_dir, &budget))
    } else {
        progress.stage(&format!("reading {path}"));
        let file = open(path, said)?;
        let is_dir = file.metadata().is_ok_and(|m| m.is_dir());
        match (said, is_dir) {
            (Said::Folder, false) => {
                return Err(Report::mistake(format!("{path} is a file, but oci: means a folder"))
                    .hint(format!("write oci-archive:{path} for an OCI layout in a tar, docker-archive:{path} for what `docker save` writes")));
            }
            (Said::Archive(prefix), true) => {
                return Err(Report::mistake(format!(
                    "{path} is a folder, but {prefix}: means a file"
                ))
                .hint(format!("write oci:{path} for the folder of an OCI layout")));
            }
            (_, true) => return folder(path, wanted, budget, spool_dir),
            (_, false) => {}
        }
        (
            path.as_str(),
            tar::from_file_within(file, spool_dir, &budget),
        )
    };
    let rootfs = rootfs.map_err(|e| bad_tar(name, e))?;
    let input = oci::open_tar(rootfs, wanted, budget, spool_dir);
    match (input.map_err(|e| named(e.into(), name))?, said) {
        (Input::Rootfs(_), Said::Archive(prefix)) => Err(Report::mistake(format!(
            "{path} is a tar, but not one of a container image, which {prefix}: means"
        ))
        .hint(format!(
            "if it is a tar of a root file system, write --from {path}"
        ))),
        (Input::Rootfs(rootfs), _) => Ok(Read::plain(rootfs)),
        (Input::Image(image), _) => {
            progress.detail("it is a container image: merging its layers");
            Ok(Read::image(*image, name))
        }
    }
}

/// Reads an image from the stream that `docker save` writes. Errors call it `name`.
pub(super) fn saved(
    stream: impl std::io::Read + 'static,
    name: &str,
    wanted: &Wanted,
    budget: Budget,
    spool_dir: &Utf8Path,
) -> Result<Read, Report> {
    let tar = tar::from_stream_within(stream, spool_dir, &budget).map_err(|e| bad_tar(name, e))?;
    let input = oci::open_tar(tar, wanted, budget, spool_dir);
    match input.map_err(|e| named(e.into(), name))? {
        Input::Image(image) => Ok(Read::image(*image, name)),
        Input::Rootfs(_) => Err(Report::failure(format!(
            "reading the container image {name}: the container engine did not save an image"
        ))),
    }
}

fn open(path: &Utf8Path, said: Said) -> Result<File, Report> {
    File::open(path).map_err(|e| {
        let missing = e.kind() == std::io::ErrorKind::NotFound;
        let what = match said {
            Said::Nothing => "root file system",
            Said::Archive(_) | Said::Folder => "container image",
        };
        let report = Report::mistake(format!("opening the {what} {path}")).because(e);
        if missing && is_name_of_image(path) {
            return report.hint(format!("for an image in a registry, write docker://{path}; to build on an image with an engine, use --container {path}"));
        }
        if !matches!(said, Said::Nothing) {
            return report.hint("check the path; the name of an image in it comes after a colon");
        }
        report.hint("give --from a tar of a whole root file system (e.g. from `docker export`), a tar of a container image (e.g. from `docker save`), or the folder of an OCI layout")
    })
}

/// Whether a path that does not exist looks like the name of an image with a tag or a registry.
fn is_name_of_image(path: &Utf8Path) -> bool {
    let text = path.as_str();
    let is_file = text.starts_with(['.', '/', '~']) || text.contains(".tar");
    text.contains(':') && !is_file && text.parse::<Reference>().is_ok()
}

/// Reads the folder of an OCI layout.
fn folder(
    path: &Utf8Path,
    wanted: &Wanted,
    budget: Budget,
    spool_dir: &Utf8Path,
) -> Result<Read, Report> {
    if !oci::is_image_dir(path) {
        return Err(Report::mistake(format!(
            "{path} is a folder, but does not contain a container image (it has neither index.json with blobs, nor manifest.json or repositories)"
        ))
        .hint(format!("for a root file system: `tar -C {path} -c . | cargo xtask image RECIPE --from -`, run as a user who may read all of it")));
    }
    let image = oci::open_dir(path, wanted, budget, spool_dir);
    let image = image.map_err(|e| named(e.into(), path.as_str()))?;
    Ok(Read::image(image, path.as_str()))
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
