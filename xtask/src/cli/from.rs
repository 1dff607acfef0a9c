//! `--from`: a root file system or a container image in a file, a folder or a registry.

use crate::build::Input;
use crate::error::Report;
use crate::model::Size;
use crate::rootfs::Limits;
use camino::Utf8PathBuf;

/// Options that go with `--from`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Which image to use if --from has several: its name, tag or digest
    #[arg(long, value_name = "NAME", requires = "from")]
    image_name: Option<String>,
    /// Newest variant of the architecture that the machine supports, e.g. v3; it selects an image
    /// from an index [default: v1 of amd64, v8 of arm64]
    #[arg(long, requires = "from")]
    variant: Option<String>,
    /// Folder with blobs of the layout given with --from: blobs that are missing in the layout are
    /// searched there, and links into it are followed
    #[arg(long, value_name = "DIR", requires = "from")]
    blob_dir: Option<Utf8PathBuf>,
    /// Registry to which plain HTTP is used, as in the name of the image, e.g. localhost:5000; can
    /// be given several times, e.g. for its token server
    #[arg(long, value_name = "HOST[:PORT]", requires = "from")]
    insecure_registry: Vec<String>,
    /// Largest size that the input of --from may unpack to, including its layers [default: 1 GiB
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

    /// How large the root file system may be.
    pub(super) fn limits(&self) -> Limits {
        Limits {
            unpacked: self.max_unpacked.map(|Size(bytes)| bytes),
            entries: self.max_entries,
        }
    }
}
