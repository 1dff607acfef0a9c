//! `--from`: a root file system or a container image in a file, a folder or a registry.

use crate::build::{Container, Input};
use crate::error::Report;
use crate::model::Size;
use crate::rootfs::Limits;
use camino::Utf8PathBuf;

/// Options that go with `--from`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Which image to use if --from or --container has several: its name, tag or digest
    #[arg(long, value_name = "NAME", requires = "input")]
    image_name: Option<String>,
    /// Newest variant of the architecture that the machine supports, e.g. v3; it selects an image
    /// from an index [default: v1 of amd64, v8 of arm64]
    #[arg(long, requires = "input")]
    variant: Option<String>,
    /// Folder with blobs of the layout given with --from or --container: blobs that are missing in the layout are
    /// searched there, and links into it are followed
    #[arg(long, value_name = "DIR", requires = "input")]
    blob_dir: Option<Utf8PathBuf>,
    /// Registry to which plain HTTP is used, as in the name of the image, e.g. localhost:5000; can
    /// be given several times, e.g. for its token server
    #[arg(long, value_name = "HOST[:PORT]", requires = "input")]
    insecure_registry: Vec<String>,
    /// Largest size that the input of --from or --container may unpack to, including its layers [default: 1 GiB
    /// plus 256 times its size]
    #[arg(long, value_name = "SIZE")]
    max_unpacked: Option<Size>,
    /// Largest number of files, directories and links in the root file system [default: 1000000;
    /// for a compressed input 350000 plus one for each 512 bytes of it; a directory counts as 5]
    #[arg(long, value_name = "N")]
    max_entries: Option<u64>,
}

impl Args {
    /// The input that the value of `--from` means.
    pub(super) fn input(&self, from: &str) -> Result<Input, Report> {
        Ok(Input {
            image_name: self.image_name.clone(),
            variant: self.variant.clone(),
            blob_dir: self.blob_dir.clone(),
            insecure_registries: self.insecure_registry.clone(),
            ..Input::new(from.parse()?)
        })
    }

    /// The container that the value of `--container` means: a place, or the name of an image in an
    /// engine.
    pub(super) fn container(&self, text: &str) -> Result<Container, Report> {
        const PLACES: [&str; 4] = ["docker://", "oci:", "oci-archive:", "docker-archive:"];
        for store in ["docker-daemon:", "containers-storage:"] {
            if let Some(name) = text.strip_prefix(store) {
                return Err(
                    Report::mistake(format!("--container {text:?} has a prefix")).hint(format!(
                        "for an image in a container engine, give its name only: --container {name}"
                    )),
                );
            }
        }
        if PLACES.iter().any(|place| text.starts_with(place)) {
            let input = self.input(text).map_err(|mut report| {
                report.message = report.message.replacen("--from", "--container", 1);
                report
            })?;
            return Ok(Container::Stored(input));
        }
        let given = [
            ("--image-name", self.image_name.is_some()),
            ("--variant", self.variant.is_some()),
            ("--blob-dir", self.blob_dir.is_some()),
            ("--insecure-registry", !self.insecure_registry.is_empty()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            Some((option, _)) => Err(Report::mistake(format!(
                "{option} does not fit --container {text}, which names an image in a container engine"
            ))
            .hint("leave it out, or write docker://, oci:, oci-archive: or docker-archive: before the image")),
            None => Ok(Container::Image(text.to_owned())),
        }
    }

    /// How large the root file system may be.
    pub(super) fn limits(&self) -> Limits {
        Limits {
            unpacked: self.max_unpacked.map(|Size(bytes)| bytes),
            entries: self.max_entries,
        }
    }
}
