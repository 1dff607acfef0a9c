//! Reads the partition table of a disk that any program may have written.

use super::gpt;
use crate::model::partition::{ESP, ESP_MBR, LEGACY_BIOS_BOOTABLE, SECTOR};
use mbrman::{BOOT_ACTIVE, MBRHeader};
use std::io::{Cursor, Read, Seek, SeekFrom};
use uuid::Uuid;

/// Type of the only partition in a protective MBR (UEFI Specification 2.10, 5.2.3).
const PROTECTIVE: u8 = 0xee;

/// Contents of a disk's partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionTable {
    /// Its kind and its identity.
    pub kind: TableIdentity,
    /// Sector size in bytes that its numbers refer to: 512 or 4096.
    pub sector_size: u64,
    /// Offset of the end of the backup table at the end of the disk, in bytes; 0 for an MBR.
    pub end: u64,
    /// Largest possible number of partitions.
    pub capacity: u32,
    /// The partitions, ordered by number.
    pub partitions: Vec<FoundPartition>,
}

/// Identity of a partition table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableIdentity {
    /// GUID partition table: the disk's GUID.
    Gpt(Uuid),
    /// Master boot record: the disk signature.
    Mbr(u32),
}

/// One partition of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundPartition {
    /// Number, starting at 1.
    pub number: u32,
    /// Offset in bytes.
    pub start: u64,
    /// Length in bytes.
    pub len: u64,
    /// Its type.
    pub kind: PartitionType,
    /// GUID of the partition; only in a GPT.
    pub guid: Option<Uuid>,
    /// MBR: the active flag. GPT: attribute bit 2, "legacy BIOS bootable".
    pub bios_bootable: bool,
}

/// Type of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionType {
    /// Type GUID in a GPT.
    Gpt(Uuid),
    /// Type byte in an MBR.
    Mbr(u8),
}

impl FoundPartition {
    /// Offset of the first byte after the partition.
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.len)
    }

    /// Whether it is an EFI system partition.
    pub fn is_esp(&self) -> bool {
        matches!(
            self.kind,
            PartitionType::Gpt(ESP) | PartitionType::Mbr(ESP_MBR)
        )
    }
}

impl std::fmt::Display for PartitionType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PartitionType::Gpt(guid) => guid.fmt(f),
            PartitionType::Mbr(byte) => write!(f, "{byte:02x}"),
        }
    }
}

/// Why the partition table of a disk cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The disk is too short to hold an MBR.
    #[error("it is shorter than a sector")]
    Short,
    /// The first sector has contents, but they are not a partition table.
    #[error("its first sector has no boot signature, and there is no GPT")]
    Unsigned,
    /// The protective MBR exists, but the GPT cannot be read.
    #[error("its MBR says that it has a GPT, but both copies of the GPT are damaged")]
    Damaged,
}

/// Reads the partition table of a disk. `None` if it has none: its first sector is empty, or is a
/// boot sector without a table, as on a disk that is one file system.
///
/// If only the start of the disk is available, a missing backup of the GPT is not an error.
pub fn read(disk: &mut (impl Read + Seek + ?Sized)) -> Result<Option<PartitionTable>, TableError> {
    let mut sector = [0; SECTOR as usize];
    disk.seek(SeekFrom::Start(0))
        .and_then(|_| disk.read_exact(&mut sector))
        .map_err(|_| TableError::Short)?;
    if let Ok(gpt) = gpt::read(disk) {
        return Ok(Some(of_gpt(&gpt)));
    }
    if sector[510..] != [0x55, 0xaa] {
        return match sector.iter().all(|byte| *byte == 0) {
            true => Ok(None),
            false => Err(TableError::Unsigned),
        };
    }
    // `mbrman` refuses boot flags other than 0x00 and 0x80.
    let Ok(mbr) = MBRHeader::read_from(&mut Cursor::new(&sector)) else {
        return Ok(None);
    };
    if mbr.iter().any(|(_, p)| p.sys == PROTECTIVE) {
        return Err(TableError::Damaged);
    }
    Ok(Some(of_mbr(&mbr)))
}

fn of_gpt(gpt: &gptman::GPT) -> PartitionTable {
    let bytes = |sectors: u64| sectors.saturating_mul(gpt.sector_size);
    let used = gpt.iter().filter(|(_, p)| p.is_used());
    PartitionTable {
        kind: TableIdentity::Gpt(Uuid::from_bytes_le(gpt.header.disk_guid)),
        sector_size: gpt.sector_size,
        end: bytes(gpt.header.backup_lba.saturating_add(1)),
        capacity: gpt.header.number_of_partition_entries,
        partitions: used
            .map(|(number, p)| {
                let end = p.ending_lba.saturating_add(1);
                FoundPartition {
                    number,
                    start: bytes(p.starting_lba),
                    len: bytes(end.saturating_sub(p.starting_lba)),
                    kind: PartitionType::Gpt(Uuid::from_bytes_le(p.partition_type_guid)),
                    guid: Some(Uuid::from_bytes_le(p.unique_partition_guid)),
                    bios_bootable: p.attribute_bits & LEGACY_BIOS_BOOTABLE != 0,
                }
            })
            .collect(),
    }
}

fn of_mbr(mbr: &MBRHeader) -> PartitionTable {
    let used = mbr.iter().filter(|(_, p)| p.is_used() && p.sectors != 0);
    PartitionTable {
        kind: TableIdentity::Mbr(u32::from_le_bytes(mbr.disk_signature)),
        sector_size: SECTOR,
        end: 0,
        capacity: 4,
        partitions: used
            .map(|(number, p)| FoundPartition {
                number: u32::try_from(number).unwrap_or(0),
                start: u64::from(p.starting_lba) * SECTOR,
                len: u64::from(p.sectors) * SECTOR,
                kind: PartitionType::Mbr(p.sys),
                guid: None,
                bios_bootable: p.boot == BOOT_ACTIVE,
            })
            .collect(),
    }
}
