//! The code that a BIOS starts: in the first sector of the disk, and in that of a partition.

use super::finding::{Code, Findings};
use super::table::Table;
use super::volume::Volume;
use crate::disk::mbr::BOOT_CODE;
use crate::format::source::Disk;

/// Kind of boot code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only zeros.
    None,
    /// SYSLINUX' mbr.bin or gptmbr.bin, which start the marked partition.
    Syslinux,
    /// GRUB's boot.img.
    Grub,
    /// Another one.
    Unknown,
}

impl Kind {
    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::None => "none",
            Kind::Syslinux => "SYSLINUX (mbr.bin or gptmbr.bin)",
            Kind::Grub => "GRUB",
            Kind::Unknown => "unknown",
        }
    }

    /// The kind of the code in a first sector. Each has messages of its own (syslinux 6.04,
    /// mbr/mbr.S and mbr/gptmbr.S; GRUB, grub-core/boot/i386/pc/boot.S).
    pub(super) fn of(sector: &[u8]) -> Kind {
        let code = sector.get(..BOOT_CODE).unwrap_or_default();
        let says = |text: &[u8]| code.windows(text.len()).any(|w| w == text);
        if code.iter().all(|b| *b == 0) {
            Kind::None
        } else if says(b"Missing operating system.") || says(b"Missing OS") {
            Kind::Syslinux
        } else if says(b"GRUB ") {
            Kind::Grub
        } else {
            Kind::Unknown
        }
    }
}

/// What a BIOS would start.
#[derive(Debug)]
pub(super) enum Next {
    /// Nothing: the image does not boot with BIOS, or the reason is in the findings.
    Nothing,
    /// EXTLINUX or SYSLINUX in this partition (its number).
    Syslinux(u32),
    /// Something whose way is not known here.
    Unknown,
}

/// Follows the boot code. Only called for an image that claims to boot with BIOS.
pub(super) fn look(disk: &Disk, table: &Table, volumes: &[Volume], found: &mut Findings) -> Next {
    let kind = Kind::of(&table.sector);
    let marked: Vec<&Volume> = volumes.iter().filter(|v| v.bios_bootable).collect();
    match kind {
        Kind::None => {
            found.error(
                Code::BootCodeMissing,
                "the first sector has no boot code: a BIOS finds nothing to start",
                "write the boot code, e.g. SYSLINUX' mbr.bin (gptmbr.bin for a GPT), into the first 440 bytes; or rebuild the image",
            );
            return Next::Nothing;
        }
        Kind::Grub | Kind::Unknown => {
            found.note(
                Code::BootCodeUnknown,
                format!(
                    "the boot code is {}: what it starts is not followed here",
                    kind.name()
                ),
                "nothing; `cargo xtask smoke` boots the image",
            );
            return Next::Unknown;
        }
        Kind::Syslinux => {}
    }
    let [partition] = marked[..] else {
        let (what, cure) = match marked.len() {
            0 => (
                "no partition is marked as bootable by BIOS: the boot code finds nothing to start",
                "mark one: the active flag in an MBR, attribute bit 2 in a GPT (`sgdisk --attributes=N:set:2`)",
            ),
            _ => (
                "several partitions are marked as bootable by BIOS: the boot code refuses to choose",
                "mark only one of them",
            ),
        };
        found.error(Code::BootPartition, what, cure);
        return Next::Nothing;
    };
    let mut sector = [0; 512];
    if disk.read_at(partition.offset, &mut sector).is_err() {
        // The truncated disk has been reported.
        return Next::Nothing;
    }
    let name = partition.name();
    if sector[510..] != [0x55, 0xaa] || sector[..3] == [0; 3] {
        found.error(
            Code::BootSectorMissing,
            format!("{name}, which the boot code starts, has no boot sector"),
            "install the boot loader there again, e.g. with `extlinux --install`, or rebuild the image",
        );
        return Next::Nothing;
    }
    match &sector[3..11] == b"SYSLINUX" {
        true => Next::Syslinux(partition.number),
        false => {
            found.note(
                Code::BootCodeUnknown,
                format!("the boot sector of {name} is not SYSLINUX': what it starts is not followed here"),
                "nothing; `cargo xtask smoke` boots the image",
            );
            Next::Unknown
        }
    }
}
