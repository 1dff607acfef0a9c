//! `--from`: a root file system or a container image that lies in files.

use crate::build::Input;
use crate::model::Size;
use crate::rootfs::Limits;
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
    /// What is to be read from `path`.
    pub(super) fn input(&self, path: &Utf8Path) -> Input {
        Input {
            path: path.to_owned(),
            image_name: self.image_name.clone(),
            variant: self.variant.clone(),
            blob_dir: self.blob_dir.clone(),
        }
    }

    /// How much the root file system may take.
    pub(super) fn limits(&self) -> Limits {
        Limits {
            unpacked: self.max_unpacked.map(|Size(bytes)| bytes),
            entries: self.max_entries,
        }
    }
}
