//! Recipes: what `recipe.yaml` says, where it lies, how it is read.

mod family;
mod find;
mod guest;
mod parse;
mod smoke;
#[cfg(test)]
mod tests;

pub use family::{ids, serving};
pub use find::{Found, all, find, home};
pub use guest::{
    FileMode, FileOptions, HashError, Id, Owner, PasswordHash, User, is_reserved_id, is_user_name,
};
pub use parse::{closest, is_hostname, is_name, parse};
pub use smoke::{Policy, Smoke};

use crate::format::Compression;
use crate::size::Size;
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
        }
    }
}

/// The JSON Schema of `recipe.yaml`, as text.
pub fn schema() -> String {
    let schema = schemars::schema_for!(Recipe);
    // A schema is a JSON value already: turning it into text cannot fail.
    serde_json::to_string_pretty(&schema).unwrap_or_default()
}

/// Processor architecture, by Docker's and Debian's name.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// x86-64.
    Amd64,
    /// AArch64; boots by UEFI only.
    Arm64,
}

impl std::fmt::Display for Arch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Arch::Amd64 => "amd64",
            Arch::Arm64 => "arm64",
        })
    }
}

/// Whether the container's command becomes a service.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// Yes; it is started again if it fails.
    Auto,
    /// Yes; it is started again whenever it ends.
    Always,
    /// No.
    Off,
}

/// What firmware an image boots on.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum BootMode {
    /// PC BIOS, by EXTLINUX.
    Bios,
    /// UEFI, by systemd-boot.
    Uefi,
    /// Both, from one disk.
    Hybrid,
}

/// How a kernel lies on the EFI system partition (UAPI group, Boot Loader Specification, "Type #1"
/// and "Type #2").
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
    clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum BootEntryKind {
    /// Kernel, initrd and a text file that names them.
    #[default]
    Type1,
    /// One EFI program that is all of it: a unified kernel image.
    Uki,
}

/// Partition table.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum TableKind {
    /// Master boot record.
    Mbr,
    /// GUID partition table.
    Gpt,
}

/// Size of a disk's logical sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "u32", try_from = "u32")]
pub enum SectorSize {
    /// 512 bytes: what nearly every disk has, virtual ones above all.
    #[default]
    B512,
    /// 4096 bytes ("4K native"): such a disk boots by UEFI only.
    B4096,
}

impl SectorSize {
    /// In bytes.
    pub fn bytes(self) -> u64 {
        u32::from(self).into()
    }
}

impl From<SectorSize> for u32 {
    fn from(size: SectorSize) -> u32 {
        match size {
            SectorSize::B512 => 512,
            SectorSize::B4096 => 4096,
        }
    }
}

impl TryFrom<u32> for SectorSize {
    type Error = String;
    fn try_from(bytes: u32) -> Result<SectorSize, String> {
        match bytes {
            512 => Ok(SectorSize::B512),
            4096 => Ok(SectorSize::B4096),
            other => Err(format!("sectors have 512 or 4096 bytes, not {other}")),
        }
    }
}

impl std::str::FromStr for SectorSize {
    type Err = String;
    fn from_str(text: &str) -> Result<SectorSize, String> {
        let bytes: u32 = text
            .parse()
            .map_err(|_| "sectors have 512 or 4096 bytes".to_owned())?;
        SectorSize::try_from(bytes)
    }
}

impl JsonSchema for SectorSize {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SectorSize".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "Size of a disk's logical sectors in bytes.",
            "enum": [512, 4096]
        })
    }
}

/// Size of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum DiskSize {
    /// As much as the content takes, and some room.
    #[serde(serialize_with = "auto")]
    Auto,
    /// Exactly this, rounded up to whole MiB.
    Fixed(Size),
}

fn auto<S: serde::Serializer>(s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str("auto")
}

impl std::str::FromStr for DiskSize {
    type Err = crate::size::SizeError;
    fn from_str(text: &str) -> Result<DiskSize, Self::Err> {
        if text.trim() == "auto" {
            return Ok(DiskSize::Auto);
        }
        text.parse().map(DiskSize::Fixed)
    }
}

impl<'de> Deserialize<'de> for DiskSize {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<DiskSize, D::Error> {
        // Not an untagged enum: that forgets where in the file the text stood.
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = DiskSize;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("`auto`, or a size such as 512M, 4G or a number of bytes")
            }
            fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<DiskSize, E> {
                Ok(DiskSize::Fixed(Size(n)))
            }
            fn visit_str<E: serde::de::Error>(self, s: &str) -> Result<DiskSize, E> {
                s.parse().map_err(E::custom)
            }
        }
        d.deserialize_any(Visitor)
    }
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

/// Format of an image file.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Byte for byte the disk, sparse.
    Raw,
    /// QEMU, Proxmox, most clouds.
    Qcow2,
    /// VirtualBox, dynamic.
    Vdi,
    /// VMware Workstation, Player and Fusion ("monolithicSparse").
    Vmdk,
    /// VMware's compressed form for transport ("streamOptimized").
    VmdkStream,
    /// A whole virtual machine for VirtualBox and VMware, with a streamOptimized VMDK.
    Ova,
    /// Virtual PC, Hyper-V's first generation, XenServer; dynamic. At most 2040 GiB.
    Vhd,
    /// Azure: a VHD of fixed size, in whole MiB.
    VhdFixed,
    /// Hyper-V, dynamic.
    Vhdx,
}

impl Format {
    /// What follows the image's name in the name of its file, without the first dot.
    pub fn extension(self) -> &'static str {
        match self {
            Format::Raw => "img",
            Format::Qcow2 => "qcow2",
            Format::Vdi => "vdi",
            Format::Vmdk => "vmdk",
            Format::VmdkStream => "stream.vmdk",
            Format::Ova => "ova",
            Format::Vhd => "vhd",
            // Azure insists on the last ending.
            Format::VhdFixed => "fixed.vhd",
            Format::Vhdx => "vhdx",
        }
    }

    /// Whether the format can say, or leaves it to the machine, that the disk has logical sectors
    /// of that many bytes: VDI, VMDK and VHD have sectors of 512.
    pub fn has_sectors_of(self, bytes: u64) -> bool {
        bytes == 512 || matches!(self, Format::Raw | Format::Qcow2 | Format::Vhdx)
    }

    /// The error for a disk with logical sectors of `bytes` bytes that the format cannot hold.
    pub fn no_sectors_of(self, bytes: u64) -> crate::error::Report {
        crate::error::Report::mistake(format!(
            "a disk with sectors of {bytes} bytes cannot be written as {}: that format has sectors of 512 bytes",
            self.extension()
        ))
        .hint("use the formats raw, qcow2 or vhdx")
    }

    /// File name of an image in this format.
    pub fn file_name(self, name: &str) -> String {
        format!("{name}.{}", self.extension())
    }
}
