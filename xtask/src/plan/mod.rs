//! The plan: every decision about an image, made before anything is written. No I/O here.
//!
//! A plan is a pure function of a recipe, the options of the command line and the facts that
//! were read from the root file system. Executors (`disk`, `fs`, `bootloader`, `format`) do
//! what it says and look at nothing else. It is serialisable: `--plan` prints it, golden
//! tests read it, the manifest contains it.

mod container;
mod decide;
mod esp;
mod file_name;
mod ids;
mod kernel_file;
pub mod kernels;
mod outline;
mod rules;
mod signal;
#[cfg(test)]
mod tests;

use container::container;
pub use container::{Container, ContainerFacts, Restart};
pub use decide::Facts;
pub use ids::Ids;
pub use kernel_file::machine;
pub use kernels::{BootFile, Kernel, Kernels};
pub use outline::{BootUpdate, EXTLINUX_CONF, EXTLINUX_DIR, MachineFacts, Mount, Outline};
pub use rules::{boot_mode, check};
pub use signal::Signal;

use crate::error::Report;
use crate::model::{Arch, BootMode, Format, Size};
use serde::Serialize;
use uuid::Uuid;

/// Everything that an image will be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Plan {
    /// Name of the image, without an ending.
    pub name: String,
    /// Identity of the image, for formats that have one.
    pub id: Uuid,
    /// Architecture of the machine.
    pub arch: Arch,
    /// What firmware it boots on.
    pub boot: BootMode,
    /// "Now" for everything that is made, in seconds since 1970.
    pub epoch: i64,
    /// The disk.
    pub disk: Disk,
    /// The EFI system partition, if there is one.
    pub esp: Option<Esp>,
    /// The root file system.
    pub root: Root,
    /// What the boot loaders offer, the default first.
    pub entries: Vec<BootEntry>,
    /// What it keeps of its container, if it keeps anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// Formats to write.
    pub formats: Vec<Format>,
}

/// The disk and its partition table. All places and lengths are in bytes, multiples of 4096.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Disk {
    /// Size of the disk.
    pub size: u64,
    /// Size of its logical sectors: 512 or 4096.
    #[serde(skip_serializing_if = "is_usual")]
    pub sector_size: u64,
    /// The partition table.
    pub table: Table,
    /// The partitions in the order of their places; the root is the last.
    pub partitions: Vec<Partition>,
}

fn is_usual(sector_size: &u64) -> bool {
    *sector_size == 512
}

/// Partition table and its identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum Table {
    /// Master boot record.
    Mbr {
        /// Disk signature: the u32 at byte 440.
        signature: u32,
    },
    /// GUID partition table with a protective MBR.
    Gpt {
        /// GUID of the disk.
        guid: Uuid,
    },
}

impl Plan {
    /// One line about it.
    pub fn summary(&self) -> String {
        format!(
            "{}: a disk of {} for {}: {} of files, {} free",
            self.name,
            Size(self.disk.size),
            match self.boot {
                BootMode::Bios => "BIOS",
                BootMode::Uefi => "UEFI",
                BootMode::Hybrid => "BIOS and UEFI",
            },
            Size(self.root.content),
            Size(self.root.free)
        )
    }
}

impl Disk {
    /// The partition of the root file system: the last one.
    pub fn root(&self) -> &Partition {
        // `validate` makes sure that there is one.
        &self.partitions[self.partitions.len() - 1]
    }

    /// The EFI system partition, if there is one.
    pub fn esp(&self) -> Option<&Partition> {
        self.partitions.iter().find(|p| p.role == Role::Esp)
    }

    /// Whether the partitions can lie as planned: aligned, in order, inside the disk, the root
    /// last. Runs on every plan: a bug here must not reach a disk.
    pub fn validate(&self) -> Result<(), Report> {
        let wrong = |what: String| {
            Err(Report::failure(format!(
                "planning the partitions: {what} (a bug of this program)"
            )))
        };
        let mut free = 1;
        for p in &self.partitions {
            if !p.start.is_multiple_of(crate::model::size::MIB) || !p.len.is_multiple_of(4096) {
                return wrong(format!("partition {} is not aligned", p.number));
            }
            if p.start < free || p.len == 0 || p.start + p.len > self.size {
                return wrong(format!(
                    "partition {} overlaps another or ends past the disk",
                    p.number
                ));
            }
            free = p.start + p.len;
        }
        match self.partitions.last() {
            Some(p) if p.role == Role::Root => Ok(()),
            _ => wrong("the root is not the last partition".into()),
        }
    }
}

/// What a partition is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// EFI system partition.
    Esp,
    /// Root file system.
    Root,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Partition {
    /// What it is for.
    pub role: Role,
    /// Number, from 1.
    pub number: u32,
    /// First byte.
    pub start: u64,
    /// Length in bytes.
    pub len: u64,
    /// Type byte in an MBR.
    pub mbr_type: u8,
    /// Type GUID in a GPT.
    pub gpt_type: Uuid,
    /// GUID of the partition in a GPT.
    pub guid: Uuid,
    /// Name in a GPT.
    pub name: String,
    /// MBR: the active flag. GPT: attribute bit 2, "legacy BIOS bootable".
    pub bios_bootable: bool,
}

/// The EFI system partition's file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Esp {
    /// FAT volume id.
    pub volume_id: u32,
    /// FAT volume label, at most 11 bytes of upper-case ASCII.
    pub label: String,
    /// Its files, in the order in which they are made.
    pub files: Vec<EspFile>,
}

/// One file of the ESP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct EspFile {
    /// Path on the ESP, with `/` and without a leading one.
    pub path: String,
    /// What is in it.
    pub content: EspContent,
}

/// Where the content of a file of the ESP comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EspContent {
    /// A file of the root file system, by its canonical path.
    Rootfs(String),
    /// systemd-boot's EFI program for the architecture.
    SystemdBoot,
    /// A unified kernel image.
    Uki(Uki),
    /// This text.
    Text(String),
}

/// What a unified kernel image is made of, besides systemd's stub for the architecture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Uki {
    /// os-release(5) of the root file system, by its canonical path.
    pub os_release: String,
    /// Kernel arguments.
    pub arguments: String,
    /// Version of the kernel.
    pub version: String,
    /// Canonical path of the kernel in the root file system.
    pub linux: String,
    /// Canonical path of its initrd.
    pub initrd: String,
}

/// The root file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Root {
    /// UUID of the file system.
    pub uuid: Uuid,
    /// Volume label.
    pub label: String,
    /// Number of inodes that the file system must have room for.
    pub inodes: u32,
    /// Blocks that only root may use, in percent.
    pub reserved_percent: u8,
    /// Bytes of file contents.
    pub content: u64,
    /// The smallest file system that holds the content, in bytes.
    pub smallest: u64,
    /// Free bytes, those that only root may use included: a lower bound until the file system is
    /// laid out, then what it has.
    pub free: u64,
    /// Directory of EXTLINUX in it (`/boot/extlinux`), if it boots on BIOS.
    pub extlinux: Option<String>,
}

/// What a boot loader can start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct BootEntry {
    /// File name of the entry: letters, digits, `.`, `-`, `_`, `+`.
    pub id: String,
    /// What the menu shows.
    pub title: String,
    /// Version of the kernel, for the order of the entries.
    pub version: String,
    /// Kernel.
    pub linux: BootFile,
    /// Initrd.
    pub initrd: BootFile,
    /// Kernel arguments.
    pub arguments: String,
}
