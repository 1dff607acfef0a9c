//! Words for the image files: their formats and how they are compressed.

use crate::error::Report;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Format of an image file.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
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
    /// Every format, in the order in which they are listed.
    pub const ALL: [Format; 9] = [
        Format::Raw,
        Format::Qcow2,
        Format::Vdi,
        Format::Vmdk,
        Format::VmdkStream,
        Format::Ova,
        Format::Vhd,
        Format::VhdFixed,
        Format::Vhdx,
    ];

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

/// How the clusters of a qcow2 are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// By zstd. QEMU reads it since 5.1.
    Zstd,
    /// By zlib. Every program reads it.
    Zlib,
}

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Packing {
    /// zstd: a frame for each 8 MiB and a seek table ("Zstandard Seekable Format" 0.1.0 in
    /// zstd's `contrib/seekable_format`), so that a reader can jump.
    Zstd,
    /// xz: one stream with a block for each 8 MiB ("The .xz File Format" 1.0.4).
    Xz,
    /// gzip: one member (RFC 1952).
    Gzip,
}

impl Packing {
    /// What is added to the name of the file, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Packing::Zstd => "zst",
            Packing::Xz => "xz",
            Packing::Gzip => "gz",
        }
    }
}
