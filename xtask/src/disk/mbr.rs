//! The master boot record, written with the `mbrman` crate.

use crate::error::Report;
use crate::model::partition::SECTOR;
use crate::plan::{Disk, Table};
use mbrman::{BOOT_ACTIVE, BOOT_INACTIVE, CHS, MBRHeader, MBRPartitionEntry};
use std::io::Cursor;

/// Number of boot code bytes that fit before the disk signature.
pub const BOOT_CODE: usize = 440;

/// The first sector of a disk with an MBR: `boot_code` (at most 440 bytes), the disk signature
/// and the partition entries.
///
/// Fails if the disk has another kind of table or more than four partitions, or if a partition ends
/// after 2 TiB.
pub fn sector(disk: &Disk, boot_code: &[u8]) -> Result<Vec<u8>, Report> {
    let Table::Mbr { signature } = disk.table else {
        return Err(Report::failure("writing the MBR: the plan asks for a GPT"));
    };
    let wrong = |what: &str| Report::failure(format!("writing the MBR: {what}"));
    let mut header = MBRHeader::new(signature.to_le_bytes());
    for p in &disk.partitions {
        let index = usize::try_from(p.number).unwrap_or(0);
        if !(1..=4).contains(&index) {
            return Err(wrong("it has room for partitions 1 to 4 only"));
        }
        let too_far = |_| wrong("a partition ends after 2 TiB; use a GPT");
        let first = u32::try_from(p.start / SECTOR).map_err(too_far)?;
        let count = u32::try_from(p.len / SECTOR).map_err(too_far)?;
        let last = first
            .checked_add(count - 1)
            .ok_or_else(|| wrong("a partition ends after 2 TiB; use a GPT"))?;
        header[index] = MBRPartitionEntry {
            boot: if p.bios_bootable {
                BOOT_ACTIVE
            } else {
                BOOT_INACTIVE
            },
            first_chs: chs(first),
            sys: p.mbr_type,
            last_chs: chs(last),
            starting_lba: first,
            sectors: count,
        };
    }
    let mut sector = Cursor::new(vec![0; SECTOR as usize]);
    header
        .write_into(&mut sector)
        .map_err(|e| wrong(&e.to_string()))?;
    let mut sector = sector.into_inner();
    install_boot_code(&mut sector, boot_code)?;
    Ok(sector)
}

/// Writes boot code into the first 440 bytes of a disk's first sector (MBR or protective MBR).
pub fn install_boot_code(sector: &mut [u8], boot_code: &[u8]) -> Result<(), Report> {
    if boot_code.len() > BOOT_CODE || sector.len() != SECTOR as usize {
        return Err(Report::failure(format!(
            "writing the boot code: it has {} bytes, but only {BOOT_CODE} fit",
            boot_code.len()
        )));
    }
    sector[..boot_code.len()].copy_from_slice(boot_code);
    Ok(())
}

/// Cylinder, head and sector of an LBA with the geometry that every tool assumes (255 heads, 63
/// sectors). Addresses after cylinder 1023 become the largest one, as in sfdisk.
fn chs(lba: u32) -> CHS {
    const HEADS: u32 = 255;
    const SECTORS: u32 = 63;
    let cylinder = lba / (HEADS * SECTORS);
    if cylinder > 1023 {
        return CHS {
            cylinder: 1023,
            head: 254,
            sector: 63,
        };
    }
    CHS {
        cylinder: cylinder as u16,
        head: (lba / SECTORS % HEADS) as u8,
        sector: (lba % SECTORS + 1) as u8,
    }
}
