//! The plan: every decision about an image, made before anything is written. Does no I/O.
//!
//! A plan is a pure function of a recipe, the command-line options and facts read from the root
//! file system. Executors (`disk`, `fs`, `bootloader`, `format`) follow it and use nothing else. It
//! can be serialised: `--plan` prints it, golden tests read it, and the manifest contains it.

mod container;
mod decide;
mod esp;
mod facts;
mod file_name;
mod ids;
pub(crate) mod kernel_file;
pub mod kernels;
mod outline;
mod rules;
mod signal;
mod sizes;
pub mod targets;
#[cfg(test)]
mod tests;
mod volumes;

use container::container;
pub use container::{Container, ContainerFacts, HOSTED_ROOT, Restart};
pub use facts::{Facts, VolumesFacts};
pub use ids::Ids;
pub use kernel_file::machine;
pub use kernels::{BootFile, Kernel, Kernels};
pub use outline::{BootUpdate, EXTLINUX_CONF, EXTLINUX_DIR, MachineFacts, Mount, Outline};
pub use rules::{boot_mode, check};
pub use signal::Signal;
pub use volumes::{VOLUMES_DIR, Volume, Volumes, occupied};

use crate::error::Report;
use crate::model::{Arch, BootMode, Format, Size, Target};
use serde::Serialize;
use uuid::Uuid;

/// All decisions about an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Plan {
    /// Name of the image, without an extension.
    pub name: String,
    /// ID of the image, for formats that have one.
    pub id: Uuid,
    /// Architecture of the machine.
    pub arch: Arch,
    /// The firmware that the image boots with.
    pub boot: BootMode,
    /// The timestamp for everything that is created, in seconds since 1970.
    pub epoch: i64,
    /// The disk.
    pub disk: Disk,
    /// The EFI system partition, if there is one.
    pub esp: Option<Esp>,
    /// The root file system.
    pub root: Root,
    /// The file system with the volumes, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volumes: Option<Volumes>,
    /// The entries of the boot loader menu, the default first.
    pub entries: Vec<BootEntry>,
    /// What the machine keeps of its container, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// Formats to write.
    pub formats: Vec<Format>,
    /// The platforms that it is made for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
}

/// The disk and its partition table. All offsets and lengths are in bytes, multiples of 4096.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Disk {
    /// Size of the disk, in bytes.
    pub size: u64,
    /// Logical sector size in bytes: 512 or 4096.
    #[serde(skip_serializing_if = "is_usual")]
    pub sector_size: u64,
    /// The partition table.
    pub table: Table,
    /// The partitions in ascending order. The last one grows to the end of a larger disk: the
    /// volumes, or else the root.
    pub partitions: Vec<Partition>,
}

fn is_usual(sector_size: &u64) -> bool {
    *sector_size == 512
}

/// The partition table and its ID.
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
    /// A one-line summary of the plan.
    pub fn summary(&self) -> String {
        let volumes = match self.disk.volumes() {
            Some(partition) => format!(", volumes of {}", Size(partition.len)),
            None => String::new(),
        };
        format!(
            "{}: a disk of {} for {}: {} of files, {} free{volumes}",
            self.name,
            Size(self.disk.size),
            self.boot.firmware(),
            Size(self.root.content),
            Size(self.root.free)
        )
    }
}

impl Disk {
    /// The partition of the root file system.
    pub fn root(&self) -> &Partition {
        // `validate` makes sure that there is one.
        let root = self.partitions.iter().position(|p| p.role == Role::Root);
        &self.partitions[root.unwrap_or(0)]
    }

    /// The partition with the volumes, if there is one.
    pub fn volumes(&self) -> Option<&Partition> {
        self.partitions.iter().find(|p| p.role == Role::Volumes)
    }

    /// The EFI system partition, if there is one.
    pub fn esp(&self) -> Option<&Partition> {
        self.partitions.iter().find(|p| p.role == Role::Esp)
    }

    /// Checks that the partitions are aligned, in order and inside the disk, with the root last, or
    /// only the volumes after it.
    /// Runs on every plan so that a bug here cannot reach a disk.
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
        let roles: Vec<Role> = self.partitions.iter().map(|p| p.role).collect();
        match roles[..] {
            [.., Role::Root] | [.., Role::Root, Role::Volumes] => Ok(()),
            _ => wrong("the last partition is neither the root nor the volumes after it".into()),
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
    /// The file system with the volumes.
    Volumes,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Partition {
    /// What it is for.
    pub role: Role,
    /// Number, from 1.
    pub number: u32,
    /// First byte of the partition on the disk.
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
    /// FAT volume ID.
    pub volume_id: u32,
    /// FAT volume label, at most 11 bytes of upper-case ASCII.
    pub label: String,
    /// Its files, in the order in which they are created.
    pub files: Vec<EspFile>,
}

/// One file of the ESP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct EspFile {
    /// Path on the ESP, with `/` as separator and no leading `/`.
    pub path: String,
    /// Where its content comes from.
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

/// The parts of a unified kernel image, apart from systemd's stub for the architecture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Uki {
    /// Canonical path of os-release(5) in the root file system.
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
    /// Bytes of file content.
    pub content: u64,
    /// Size in bytes of the smallest file system that holds the content.
    pub smallest: u64,
    /// Free bytes, including those reserved for root: a lower bound until the file system is laid
    /// out, and exact afterwards.
    pub free: u64,
    /// EXTLINUX's directory in it (`/boot/extlinux`), if the image boots with BIOS.
    pub extlinux: Option<String>,
    /// Files and directories that are stored before others, in this order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub order: Vec<String>,
    /// Whether a file with more names than ext4 allows is stored several times.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub split_links: bool,
}

/// An entry of the boot loader menu.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct BootEntry {
    /// File name of the entry: letters, digits, `.`, `-`, `_`, `+`.
    pub id: String,
    /// The title shown in the menu.
    pub title: String,
    /// Version of the kernel, used to sort the entries.
    pub version: String,
    /// Kernel.
    pub linux: BootFile,
    /// Initrd.
    pub initrd: BootFile,
    /// Kernel arguments.
    pub arguments: String,
}
