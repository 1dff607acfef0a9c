//! Types for the image files: their formats and their compression.

use super::size::{GIB, MIB};
use crate::error::Report;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Format of an image file.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// The bytes of the disk, as a sparse file.
    Raw,
    /// For QEMU, Proxmox and most clouds.
    Qcow2,
    /// For VirtualBox; a dynamic image.
    Vdi,
    /// For VMware Workstation, Player and Fusion ("monolithicSparse").
    Vmdk,
    /// VMware's compressed form for transport ("streamOptimized").
    VmdkStream,
    /// A whole virtual machine for VirtualBox and VMware, with a streamOptimized VMDK.
    Ova,
    /// For Virtual PC, Hyper-V generation 1 and XenServer; a dynamic image, at most 2040 GiB.
    Vhd,
    /// For Azure: a VHD of fixed size, in whole MiB.
    VhdFixed,
    /// For Hyper-V; a dynamic image.
    Vhdx,
    /// For Google Cloud: a compressed tar with the disk, in whole GiB.
    Gcp,
    /// The root file system alone: an ext4 without a partition table, for machines whose kernel is
    /// not loaded from the disk.
    Rootfs,
}

impl Format {
    /// All formats, in the order in which they are listed.
    pub const ALL: [Format; 11] = [
        Format::Raw,
        Format::Qcow2,
        Format::Vdi,
        Format::Vmdk,
        Format::VmdkStream,
        Format::Ova,
        Format::Vhd,
        Format::VhdFixed,
        Format::Vhdx,
        Format::Gcp,
        Format::Rootfs,
    ];

    /// Its name, as recipes and `--format` write it.
    pub fn name(self) -> &'static str {
        match self {
            Format::Raw => "raw",
            Format::Qcow2 => "qcow2",
            Format::Vdi => "vdi",
            Format::Vmdk => "vmdk",
            Format::VmdkStream => "vmdk-stream",
            Format::Ova => "ova",
            Format::Vhd => "vhd",
            Format::VhdFixed => "vhd-fixed",
            Format::Vhdx => "vhdx",
            Format::Gcp => "gcp",
            Format::Rootfs => "rootfs",
        }
    }

    /// File name extension of an image, without the first dot.
    pub fn extension(self) -> &'static str {
        match self {
            Format::Raw => "img",
            Format::Qcow2 => "qcow2",
            Format::Vdi => "vdi",
            Format::Vmdk => "vmdk",
            Format::VmdkStream => "stream.vmdk",
            Format::Ova => "ova",
            Format::Vhd => "vhd",
            // Azure requires the extension `.vhd`.
            Format::VhdFixed => "fixed.vhd",
            Format::Vhdx => "vhdx",
            // Google requires the extension `.tar.gz`.
            Format::Gcp => "gcp.tar.gz",
            Format::Rootfs => "rootfs.ext4",
        }
    }

    /// Disks in this format are whole multiples of this many bytes.
    pub fn unit(self) -> u64 {
        match self {
            Format::Gcp => GIB,
            _ => MIB,
        }
    }

    /// Whether a disk in this format can have logical sectors of `bytes` bytes: the format records
    /// the size, or leaves it to the machine. VDI, VMDK and VHD always have sectors of 512 bytes.
    pub fn has_sectors_of(self, bytes: u64) -> bool {
        bytes == 512
            || matches!(
                self,
                Format::Raw | Format::Qcow2 | Format::Vhdx | Format::Rootfs
            )
    }

    /// The error for a disk with logical sectors of `bytes` bytes that the format cannot hold.
    pub fn no_sectors_of(self, bytes: u64) -> Report {
        Report::mistake(format!(
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

/// Compression of the clusters of a qcow2 image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// No compression.
    #[default]
    None,
    /// zstd. QEMU reads it since version 5.1.
    Zstd,
    /// zlib. Every program that reads qcow2 supports it.
    Zlib,
}

/// Compression of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Packing {
    /// zstd: one frame per 8 MiB and a seek table ("Zstandard Seekable Format" 0.1.0 in zstd's
    /// `contrib/seekable_format`), so that a reader can start anywhere.
    Zstd,
    /// xz: one stream with one block per 8 MiB ("The .xz File Format" 1.0.4).
    Xz,
    /// gzip: one member (RFC 1952).
    Gzip,
}

impl Packing {
    /// File name extension that is appended, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Packing::Zstd => "zst",
            Packing::Xz => "xz",
            Packing::Gzip => "gz",
        }
    }
}
