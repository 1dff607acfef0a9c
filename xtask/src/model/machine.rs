//! Types for the machine: its processor, its firmware, and what it starts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Processor architecture, with the name that Docker and Debian use.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// x86-64.
    Amd64,
    /// AArch64; boots with UEFI only.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// Yes, and it is restarted if it fails.
    Auto,
    /// Yes, and it is restarted whenever it ends.
    Always,
    /// No.
    Off,
}

/// How a container becomes part of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Join {
    /// Kernel and init are installed into the container's own system, by its package manager.
    Native,
    /// The container's files stay as they are in a folder of a ready machine.
    Hosted,
}

impl std::fmt::Display for Join {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Join::Native => "native",
            Join::Hosted => "hosted",
        })
    }
}

/// Firmware that an image boots with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BootMode {
    /// PC BIOS, with EXTLINUX.
    Bios,
    /// UEFI, with systemd-boot.
    Uefi,
    /// Both, from the same disk.
    Hybrid,
}

impl BootMode {
    /// The firmware that an image with this boot mode boots on, for people to read.
    pub fn firmware(self) -> &'static str {
        match self {
            BootMode::Bios => "BIOS",
            BootMode::Uefi => "UEFI",
            BootMode::Hybrid => "BIOS and UEFI",
        }
    }
}

/// How kernels are stored on the EFI system partition (UAPI group, Boot Loader Specification, "Type
/// #1" and "Type #2").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BootEntryKind {
    /// Kernel, initrd and a text file that names them.
    #[default]
    Type1,
    /// One EFI program that contains everything: a unified kernel image.
    Uki,
}
