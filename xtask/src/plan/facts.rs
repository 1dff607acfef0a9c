//! What a plan depends on, besides the recipe and the outline.

use super::BootEntry;
use crate::fs::ext4::Need;

/// What a plan needs to know about a root file system that is complete except for the contents that
/// depend on the plan.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The time used as "now", in seconds since 1970.
    pub epoch: i64,
    /// The boot entries of the machine.
    pub entries: Vec<BootEntry>,
    /// Lengths of kernels and initrds, in bytes, in the order of `entries`.
    pub kernel_bytes: Vec<u64>,
    /// Length of systemd-boot's EFI program in bytes.
    pub systemd_boot_bytes: u64,
    /// Length of systemd's stub of unified kernel images in bytes; 0 if it is not there.
    pub stub_bytes: u64,
    /// Canonical path of os-release(5), if there is one.
    pub os_release: Option<String>,
    /// The space that it needs on the disk.
    pub need: Need,
    /// What is known about the contents of the volumes, if there are any.
    pub volumes: Option<VolumesFacts>,
}

/// What a plan needs to know about the contents of the volumes.
#[derive(Debug, Clone, Copy)]
pub struct VolumesFacts {
    /// The space that they need when they are filled from the image.
    pub need: Need,
    /// The size in bytes, a multiple of 1 MiB, of those of an earlier image that are kept.
    pub kept: Option<u64>,
}
