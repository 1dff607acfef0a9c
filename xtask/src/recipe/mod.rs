//! Recipes: the contents of `recipe.yaml`, how it is found and how it is parsed.

mod ci;
pub mod embedded;
mod family;
mod find;
mod guest;
mod labels;
mod machines;
mod parse;
mod smoke;
#[cfg(test)]
mod tests;

pub use ci::{Ci, When};
pub use family::{ids, serving};
pub use find::{BOOTSTRAP, Found, all, find, home, own};
pub use guest::{
    FileMode, FileOptions, HashError, Id, Owner, PasswordHash, User, is_reserved_id, is_user_name,
};
pub use labels::Labels;
pub use machines::{Buildable, MachineOptions, default_machine, machine};
pub use parse::{closest, is_hostname, is_name, parse};
pub use smoke::{Policy, Smoke};

use crate::model::{
    Arch, BootEntryKind, BootMode, Compression, DiskSize, Format, NamedVolume, SectorSize, Service,
    Size, TableKind, Target, VolumesOn,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `recipe.yaml`: describes the machine to build. Every key has a default. The Dockerfile defines
/// the software.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Recipe {
    /// Name of the image file, without an extension. Default: the name of the recipe's folder.
    pub name: Option<String>,
    /// One-line description, shown by `cargo xtask list`.
    pub description: Option<String>,
    /// For `--container`: the `ID`s of os-release(5) whose containers the Dockerfile can turn into
    /// machines.
    pub serves: Vec<String>,
    /// Machines that `cargo xtask machine build` can build from the recipe, by their names.
    pub machines: BTreeMap<String, MachineOptions>,
    /// Whether the container's command becomes a service of the machine. Default: yes for an image
    /// given with `--container`, no for the recipe's own image.
    pub service: Option<Service>,
    /// The container image that the Dockerfile starts from, passed as its `ARG BASE`.
    pub base: Option<String>,
    /// Additional build arguments for the Dockerfile.
    pub build_args: BTreeMap<String, String>,
    /// Architectures that the recipe supports.
    pub architectures: Vec<Arch>,
    /// Size of the disk: `auto` (the content plus some free space), or a size, e.g. `8G`.
    pub size: DiskSize,
    /// The firmware that the image boots with.
    pub boot: BootMode,
    /// How kernels are stored on the EFI system partition.
    pub boot_entry: BootEntryKind,
    /// Partition table, if the boot mode allows more than one.
    pub table: Option<TableKind>,
    /// Sector size of the disk in bytes: 512, or 4096 for drives with native 4K sectors.
    pub sector_size: SectorSize,
    /// Extra kernel arguments. `root=`, `ro` and the consoles are added automatically.
    pub kernel_arguments: Vec<String>,
    /// Host name of the machine. Default: the recipe's name.
    pub hostname: Option<String>,
    /// Serial console, or `off`.
    pub serial_console: SerialConsole,
    /// Time zone, as a name from the IANA database, e.g. `Europe/Berlin`. Default: that of the
    /// container.
    pub timezone: Option<String>,
    /// Locale of the system as in setlocale(3), e.g. `C.UTF-8` or `de_DE.UTF-8`. Default: that of
    /// the container.
    pub locale: Option<String>,
    /// Size of a swap file, e.g. `512M`. Default: no swap file.
    pub swap: Option<Size>,
    /// Users who can log in. Default: none.
    pub users: Vec<User>,
    /// Owners and modes of the contents of the recipe's `files` folder. The keys are paths in that
    /// folder.
    pub files: BTreeMap<String, FileOptions>,
    /// Options of the root file system.
    pub root: RootOptions,
    /// Where the container's `VOLUME`s are stored. The ones that `named-volumes` lists need a
    /// partition.
    pub volumes: VolumesOn,
    /// Size of the partition with the volumes: `auto` (what they contain plus some free space), or a
    /// size, e.g. `4G`.
    pub volumes_size: DiskSize,
    /// More volumes, as `NAME:/path`, or `NAME:/path:ro` if the machine may only read it. A path that
    /// is a `VOLUME` of the container gets this name.
    pub named_volumes: Vec<NamedVolume>,
    /// Platforms that the image is made for. They decide the formats, and a page next to the image
    /// says how it is imported there. `cargo xtask targets` lists them.
    pub targets: Vec<Target>,
    /// Image formats to write. Default: those of `targets`, or else raw.
    pub formats: Vec<Format>,
    /// How the clusters of a qcow2 image are compressed.
    pub compression: Compression,
    /// How `cargo xtask smoke` tests the image.
    pub smoke: Smoke,
    /// For this project's own recipes: how `cargo xtask ci` builds and boots them.
    pub ci: Ci,
}

impl Default for Recipe {
    fn default() -> Recipe {
        Recipe {
            name: None,
            description: None,
            serves: Vec::new(),
            machines: BTreeMap::new(),
            service: None,
            base: None,
            build_args: BTreeMap::new(),
            architectures: vec![Arch::Amd64],
            size: DiskSize::Auto,
            boot: BootMode::Hybrid,
            boot_entry: BootEntryKind::default(),
            table: None,
            sector_size: SectorSize::default(),
            kernel_arguments: Vec::new(),
            hostname: None,
            serial_console: SerialConsole::default(),
            timezone: None,
            locale: None,
            swap: None,
            users: Vec::new(),
            files: BTreeMap::new(),
            root: RootOptions::default(),
            volumes: VolumesOn::default(),
            volumes_size: DiskSize::Auto,
            named_volumes: Vec::new(),
            targets: Vec::new(),
            formats: vec![Format::Raw],
            compression: Compression::None,
            smoke: Smoke::default(),
            ci: Ci::default(),
        }
    }
}

/// The JSON Schema of `recipe.yaml`, as text.
pub fn schema() -> String {
    let schema = schemars::schema_for!(Recipe);
    // A schema is a JSON value already: turning it into text cannot fail.
    serde_json::to_string_pretty(&schema).unwrap_or_default()
}

/// The serial console of the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct SerialConsole {
    /// Whether the machine has a serial console.
    pub enabled: bool,
    /// Linux's name of the port. Default: `ttyS0` on amd64, `ttyAMA0` on arm64.
    pub port: Option<String>,
    /// Speed in bits per second, e.g. 115200.
    pub baud: u32,
}

impl SerialConsole {
    /// Linux's name of the port: the configured one, or the architecture's default.
    pub fn port_for(&self, arch: Arch) -> &str {
        self.port.as_deref().unwrap_or(match arch {
            Arch::Amd64 => "ttyS0",
            Arch::Arm64 => "ttyAMA0",
        })
    }
}

impl Default for SerialConsole {
    fn default() -> SerialConsole {
        SerialConsole {
            enabled: true,
            port: None,
            baud: 115_200,
        }
    }
}

/// Options of the root file system, which is ext4.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RootOptions {
    /// Volume label, at most 16 bytes.
    pub label: String,
    /// Minimum free space with `size: auto`, e.g. `256M`.
    pub free: Size,
    /// Blocks reserved for root, in percent (0 to 50).
    pub reserved_percent: u8,
    /// Mount options in fstab, e.g. `[noatime]`.
    pub mount_options: Vec<String>,
    /// Whether the last partition and its file system grow to the size of the disk when the machine
    /// starts: the root, or the volumes if they have a partition.
    pub grow: bool,
    /// Absolute paths of files that the machine reads when it starts, in that order: they are stored
    /// together, after the kernels and before all other files. A directory stands for everything in
    /// it. Links are followed.
    pub order: Vec<String>,
    /// Whether a file with more than 65,000 names (hard links), the limit of ext4, is stored several
    /// times. Otherwise it is an error.
    pub split_links: bool,
}

impl Default for RootOptions {
    fn default() -> RootOptions {
        RootOptions {
            label: "root".into(),
            free: Size(256 << 20),
            reserved_percent: 1,
            mount_options: vec!["errors=remount-ro".into()],
            grow: true,
            order: Vec::new(),
            split_links: false,
        }
    }
}
