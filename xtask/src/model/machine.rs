//! Words for the machine: its processor, its firmware, what it starts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Processor architecture, by Docker's and Debian's name.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BootEntryKind {
    /// Kernel, initrd and a text file that names them.
    #[default]
    Type1,
    /// One EFI program that is all of it: a unified kernel image.
    Uki,
}
