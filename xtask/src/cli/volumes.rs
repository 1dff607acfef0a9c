//! Options of `image` and `plan` about the machine's volumes.

use super::choices;
use crate::model::{DiskSize, NamedVolume, VolumesOn};
use camino::Utf8PathBuf;

/// Which folders are volumes, and where they are stored.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where the container's volumes are stored, instead of what the recipe says
    #[arg(long, value_name = "WHERE", value_parser = choices::of::<VolumesOn>())]
    pub(super) volumes: Option<VolumesOn>,
    /// Size of the partition with the volumes: `auto` or a size, e.g. 4G
    #[arg(long, value_name = "SIZE")]
    pub(super) volumes_size: Option<DiskSize>,
    /// Volume with a name, e.g. `data:/srv/data`, or `data:/srv/data:ro` for one that the machine may
    /// only read. May be given several times
    #[arg(long, value_name = "NAME:PATH")]
    pub(super) volume: Vec<NamedVolume>,
    /// Copy the volumes, with all that was written to them, from the disk of an earlier image of the
    /// same name: a raw image whose machine is turned off. It is not changed
    #[arg(long, value_name = "IMAGE")]
    pub(super) keep_volumes: Option<Utf8PathBuf>,
}
