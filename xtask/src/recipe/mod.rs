//! Recipes: what `recipe.yaml` says, where it lies, how it is read.

mod ci;
mod family;
mod find;
mod guest;
mod parse;
mod smoke;
#[cfg(test)]
mod tests;

pub use ci::{Ci, When};
pub use family::{ids, serving};
pub use find::{BOOTSTRAP, Found, all, find, home};
pub use guest::{
    FileMode, FileOptions, HashError, Id, Owner, PasswordHash, User, is_reserved_id, is_user_name,
};
pub use parse::{closest, is_hostname, is_name, parse};
pub use smoke::{Policy, Smoke};

use crate::model::{
    Arch, BootEntryKind, BootMode, Compression, DiskSize, Format, SectorSize, Service, Size,
    TableKind,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `recipe.yaml`: what the machine is to be. Everything has a default; the software itself is
/// the Dockerfile's affair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Recipe {
    /// Name of the image file, without its ending. The recipe's folder name if it is left out.
    pub name: Option<String>,
    /// One line for `cargo xtask list`.
    pub description: Option<String>,
    /// The `ID`s of os-release(5) whose containers the Dockerfile can make machines of, for
    /// `--container`.
    pub serves: Vec<String>,
    /// Whether the container's command becomes a service of the machine. If it is left out: yes
    /// for an image that was given (`--container`), no for the recipe's own.
    pub service: Option<Service>,
    /// The container image that the Dockerfile starts from: its `ARG BASE`.
    pub base: Option<String>,
    /// Further build arguments for the Dockerfile.
    pub build_args: BTreeMap<String, String>,
    /// Architectures that the recipe can be built for.
    pub architectures: Vec<Arch>,
    /// Size of the disk: `auto` (content and some room), or a size.
    pub size: DiskSize,
    /// What firmware the image boots on.
    pub boot: BootMode,
    /// How the kernel lies on the EFI system partition.
    pub boot_entry: BootEntryKind,
    /// Partition table, where the boot mode leaves a choice.
    pub table: Option<TableKind>,
    /// Size of a sector of the disk in bytes: 512, or 4096 for drives that have no smaller ones.
    pub sector_size: SectorSize,
    /// Kernel arguments besides `root=`, `ro` and the consoles, which are added by themselves.
    pub kernel_arguments: Vec<String>,
    /// Host name of the machine; the recipe's name if it is left out.
    pub hostname: Option<String>,
    /// Serial console, or `off`.
    pub serial_console: SerialConsole,
    /// Time zone by its name in the IANA database (`Europe/Berlin`); that of the container if it
    /// is left out.
    pub timezone: Option<String>,
    /// Language of the system as in setlocale(3) (`C.UTF-8`, `de_DE.UTF-8`); that of the container
    /// if it is left out.
    pub locale: Option<String>,
    /// Size of a swap file (`512M`); none if it is left out.
    pub swap: Option<Size>,
    /// Who may log in; nobody if it is empty.
    pub users: Vec<User>,
    /// Owner and mode of what lies in the folder `files` beside the recipe, by its path there.
    pub files: BTreeMap<String, FileOptions>,
    /// The root file system.
    pub root: RootOptions,
    /// Image formats to write.
    pub formats: Vec<Format>,
    /// How the clusters of a qcow2 are compressed.
    pub compression: Compression,
    /// How `cargo xtask smoke` tests the image.
    pub smoke: Smoke,
    /// For recipes of this project: how `cargo xtask ci` builds and boots it.
    pub ci: Ci,
}

impl Default for Recipe {
    fn default() -> Recipe {
        Recipe {
            name: None,
            description: None,
            serves: Vec::new(),
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
    /// Whether there is one.
    pub enabled: bool,
    /// Linux's name of the port; the architecture's usual one (`ttyS0`, `ttyAMA0`) if left out.
    pub port: Option<String>,
    /// Speed in bits per second.
    pub baud: u32,
}

impl SerialConsole {
    /// Linux's name of the port: the one that was given, or the architecture's usual one.
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

/// The root file system (ext4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RootOptions {
    /// Volume label, at most 16 bytes.
    pub label: String,
    /// Least room that `size: auto` leaves free.
    pub free: Size,
    /// Blocks that only root may use, in percent (0 to 50).
    pub reserved_percent: u8,
    /// Mount options in fstab.
    pub mount_options: Vec<String>,
    /// Whether partition and file system grow to the size of the disk when the machine starts.
    pub grow: bool,
}

impl Default for RootOptions {
    fn default() -> RootOptions {
        RootOptions {
            label: "root".into(),
            free: Size(256 << 20),
            reserved_percent: 1,
            mount_options: vec!["errors=remount-ro".into()],
            grow: true,
        }
    }
}
