//! The GUID partition table, written with the `gptman` crate.
//!
//! Layout (UEFI Specification 2.10, chapter 5): sector 0 holds the protective MBR, sector 1 the
//! header, and the next 16 KiB the 128 entries of 128 bytes each. The backup is at the end of the
//! disk, entries first, header last.

use super::mbr::install_boot_code;
use crate::error::Report;
use crate::model::partition::LEGACY_BIOS_BOOTABLE;
use crate::model::size::Size;
use crate::plan::{Disk, Partition, Table};
use gptman::{GPT, GPTPartitionEntry};
use std::io::{self, Read, Seek, SeekFrom, Write};

/// Length of the entries in bytes: 128 entries of 128 bytes each.
const ENTRIES_LEN: u64 = 128 * 128;

/// Length of the MBR in bytes, whatever the sector size.
const MBR: usize = 512;

/// Bytes before the first usable one: protective MBR, header and entries.
fn head_len(sector: u64) -> u64 {
    2 * sector + ENTRIES_LEN
}

/// Bytes after the last usable one: entries and header.
fn tail_len(sector: u64) -> u64 {
    ENTRIES_LEN + sector
}

/// Number of entries in the table.
const ENTRIES: u32 = 128;

/// Length of a name in UTF-16 units (UEFI Specification 2.10, table 5.7).
const NAME_UNITS: usize = 36;

/// Largest number of entries that is read: every program writes 128.
const MOST_ENTRIES: u32 = 1024;
/// Last sector at which the entries may begin: far beyond every disk.
const LAST_SECTOR: u64 = 1 << 48;

/// Reads the GPT, or its backup, of a disk that any program may have written. The sector size is
/// detected and is in the field `sector_size`. If no size fits, returns the error for sectors of
/// 512 bytes.
pub(super) fn read(disk: &mut (impl Read + Seek + ?Sized)) -> io::Result<GPT> {
    read_by(disk, 512).or_else(|e| read_by(disk, 4096).map_err(|_| e))
}

/// Does the same for one sector size in bytes.
///
/// `gptman` trusts the numbers of a header whose checksum is right: it reserves memory for as many
/// entries as the header names, and assumes that they have 128 bytes. So the header (UEFI
/// Specification 2.10, table 5.5) is checked first.
fn read_by(disk: &mut (impl Read + Seek + ?Sized), sector: u64) -> io::Result<GPT> {
    let size = disk.seek(SeekFrom::End(0))?;
    for place in [sector, size.saturating_sub(sector)] {
        let mut header = [0; 92];
        disk.seek(SeekFrom::Start(place))?;
        if disk.read_exact(&mut header).is_err() || !header.starts_with(b"EFI PART") {
            continue;
        }
        let number = |at: usize| {
            u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let first = u64::from(number(72)) | u64::from(number(76)) << 32;
        if first > LAST_SECTOR || number(80) > MOST_ENTRIES || number(84) != 128 {
            return Err(io::Error::other(format!(
                "its header names {} entries of {} bytes at sector {first}",
                number(80),
                number(84)
            )));
        }
        // It also does not expect a partition at sector 0, where the MBR is.
        let mut entries = vec![0; number(80) as usize * 128];
        disk.seek(SeekFrom::Start(first * sector))?;
        let there = disk.read_exact(&mut entries).is_ok();
        let at_zero = |e: &[u8]| e[..16] != [0; 16] && e[32..40] == [0; 8];
        if there && entries.chunks_exact(128).any(at_zero) {
            return Err(io::Error::other("a partition begins at sector 0"));
        }
    }
    #[allow(clippy::disallowed_methods, reason = "this is the only place")]
    GPT::read_from(disk, sector).map_err(|e| io::Error::other(e.to_string()))
}

/// Everything on a GPT disk that is outside the partitions, as (offset in bytes, bytes): the
/// protective MBR with `boot_code` (at most 440 bytes), the table, and its backup.
///
/// Fails if the disk has another kind of table, if its size is not a multiple of the sector size,
/// if there is no room for the tables, and if partitions overlap each other or the tables or share
/// a GUID.
pub fn tables(disk: &Disk, boot_code: &[u8]) -> Result<Vec<(u64, Vec<u8>)>, Report> {
    let Table::Gpt { guid } = disk.table else {
        return Err(wrong("the plan has an MBR"));
    };
    let sector = disk.sector_size;
    if !matches!(sector, 512 | 4096) || !disk.size.is_multiple_of(sector) {
        return Err(wrong(&format!(
            "the size of the disk is not a multiple of {sector} bytes"
        )));
    }
    if disk.size <= head_len(sector) + tail_len(sector) {
        return Err(Report::mistake(format!(
            "a disk of {} has no room for a GPT and a partition",
            Size(disk.size)
        ))
        .hint("give a larger `size:` in recipe.yaml or --size, or leave it `auto`"));
    }
    let refused = |e: gptman::Error| wrong(&e.to_string());
    let mut edges = Edges::new(disk.size, sector);
    let mut gpt = GPT::new_from(&mut edges, sector, guid.to_bytes_le()).map_err(refused)?;
    for p in &disk.partitions {
        // gptman would panic at any other number, and overwrite an existing entry.
        if !(1..=ENTRIES).contains(&p.number) || gpt[p.number].is_used() {
            return Err(wrong(&format!(
                "partition number {} is used twice or is not between 1 and {ENTRIES}",
                p.number
            )));
        }
        gpt[p.number] = entry(p, sector)?;
    }
    GPT::write_protective_mbr_into(&mut edges, sector).map_err(refused)?;
    gpt.write_into(&mut edges).map_err(refused)?;
    let Edges { mut head, tail, .. } = edges;
    install_boot_code(&mut head[..MBR], boot_code)?;
    Ok(vec![(0, head), (disk.size - tail.len() as u64, tail)])
}

fn wrong(what: &str) -> Report {
    Report::failure(format!("writing the GPT: {what}"))
}

fn entry(p: &Partition, sector: u64) -> Result<GPTPartitionEntry, Report> {
    let end = p.start.checked_add(p.len).filter(|end| *end > p.start);
    let (true, Some(end)) = (p.start.is_multiple_of(sector), end) else {
        return Err(wrong(&format!(
            "partition {} is empty or does not start at a multiple of {sector} bytes",
            p.number
        )));
    };
    if !end.is_multiple_of(sector) {
        return Err(wrong(&format!(
            "the length of partition {} is not a multiple of {sector} bytes",
            p.number
        )));
    }
    if p.name.encode_utf16().count() > NAME_UNITS {
        return Err(wrong(&format!(
            "the name {:?} of partition {} is longer than {NAME_UNITS} characters",
            p.name, p.number
        )));
    }
    Ok(GPTPartitionEntry {
        // On disk, the first three fields of a GUID are little-endian.
        partition_type_guid: p.gpt_type.to_bytes_le(),
        unique_partition_guid: p.guid.to_bytes_le(),
        starting_lba: p.start / sector,
        // Both the first and the last LBA belong to the partition.
        ending_lba: end / sector - 1,
        attribute_bits: if p.bios_bootable {
            LEGACY_BIOS_BOOTABLE
        } else {
            0
        },
        partition_name: p.name.as_str().into(),
    })
}

/// The start and the end of a disk. gptman writes to it as if it were the whole disk.
struct Edges {
    /// Size of the disk in bytes.
    size: u64,
    /// Position of the next write, in bytes from the start of the disk.
    at: u64,
    /// The bytes before the first usable sector.
    head: Vec<u8>,
    /// The bytes after the last usable sector.
    tail: Vec<u8>,
}

impl Edges {
    fn new(size: u64, sector: u64) -> Edges {
        Edges {
            size,
            at: 0,
            head: vec![0; head_len(sector) as usize],
            tail: vec![0; tail_len(sector) as usize],
        }
    }

    /// The bytes from the current position to the end of the start or end part.
    fn here(&mut self) -> io::Result<&mut [u8]> {
        let tail = self.size - self.tail.len() as u64;
        let (edge, skip) = if self.at < self.head.len() as u64 {
            (&mut self.head, self.at)
        } else if self.at >= tail {
            (&mut self.tail, self.at - tail)
        } else {
            return Err(io::Error::other(format!(
                "byte {} is in a partition, not in a table",
                self.at
            )));
        };
        let skip = usize::try_from(skip).map_err(io::Error::other)?;
        Ok(edge.get_mut(skip..).unwrap_or_default())
    }
}

impl Read for Edges {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let here = self.here()?;
        let n = here.len().min(buf.len());
        buf[..n].copy_from_slice(&here[..n]);
        self.at += n as u64;
        Ok(n)
    }
}

impl Write for Edges {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let here = self.here()?;
        let n = here.len().min(buf.len());
        here[..n].copy_from_slice(&buf[..n]);
        self.at += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Edges {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::size::MIB;
    use crate::plan::Role;
    use std::io::Cursor;

    const SECTOR: u64 = 512;
    use uuid::{Uuid, uuid};

    const GUID: Uuid = uuid!("00112233-4455-6677-8899-aabbccddeeff");

    fn partition(number: u32, start: u64, len: u64) -> Partition {
        Partition {
            role: Role::Root,
            number,
            start,
            len,
            mbr_type: 0x83,
            gpt_type: uuid!("4f68bce3-e8cd-4db1-96e7-fbcaf984b709"),
            guid: Uuid::from_u128(number.into()),
            name: format!("part {number}"),
            bios_bootable: number == 2,
        }
    }

    fn disk(size: u64, partitions: Vec<Partition>) -> Disk {
        Disk {
            size,
            sector_size: 512,
            table: Table::Gpt { guid: GUID },
            partitions,
        }
    }

    /// All bytes of a small disk.
    fn whole(disk: &Disk) -> Vec<u8> {
        let mut bytes = vec![0; disk.size as usize];
        for (at, piece) in tables(disk, &[0xFA; 440]).unwrap() {
            bytes[at as usize..at as usize + piece.len()].copy_from_slice(&piece);
        }
        bytes
    }

    #[test]
    fn fields_lie_where_the_specification_puts_them() {
        let disk = disk(
            16 * MIB,
            vec![
                partition(1, MIB, 4 * MIB),
                partition(2, 5 * MIB, 10 * MIB + 512),
            ],
        );
        let bytes = whole(&disk);
        assert_eq!(bytes[..440], [0xFA; 440]);
        assert_eq!(bytes[440..446], [0; 6]);
        assert_eq!(
            bytes[446..462],
            [
                0, 0, 2, 0, 0xEE, 255, 255, 255, 1, 0, 0, 0, 0xFF, 0x7F, 0, 0
            ]
        );
        assert_eq!(bytes[510..514], [0x55, 0xAA, b'E', b'F']);
        // The disk's GUID, mixed-endian.
        assert_eq!(
            bytes[568..576],
            [0x33, 0x22, 0x11, 0, 0x55, 0x44, 0x77, 0x66]
        );
        let second = &bytes[2 * 512 + 128..2 * 512 + 256];
        assert_eq!(second[32..40], (5 * 2048_u64).to_le_bytes());
        assert_eq!(second[40..48], (15 * 2048_u64).to_le_bytes());
        assert_eq!(second[48..56], 4_u64.to_le_bytes());
        assert_eq!(second[56..60], [b'p', 0, b'a', 0]);
        let backup = bytes.len() - 512;
        assert_eq!(&bytes[backup..backup + 8], b"EFI PART");
    }

    #[test]
    fn a_header_that_lies_is_refused() {
        let disk = disk(64 * MIB, vec![partition(1, MIB, 62 * MIB)]);
        let good = whole(&disk);
        assert!(read(&mut Cursor::new(&good)).is_ok());
        for (at, value) in [
            (72, u64::MAX),
            (80, u64::from(u32::MAX) | 128 << 32),
            (80, 128 | 64 << 32),
            (80, 128),
        ] {
            let mut bytes = good.clone();
            let header = &mut bytes[512..604];
            header[at..at + 8].copy_from_slice(&value.to_le_bytes());
            header[16..20].fill(0);
            let sum = crc32fast::hash(header);
            header[16..20].copy_from_slice(&sum.to_le_bytes());
            assert!(read(&mut Cursor::new(&bytes)).is_err(), "{at}");
        }
    }

    #[test]
    fn a_partition_at_sector_0_is_refused() {
        let disk = disk(64 * MIB, vec![partition(1, MIB, 62 * MIB)]);
        let mut bytes = whole(&disk);
        bytes[1024 + 32..1024 + 40].fill(0);
        let entries = crc32fast::hash(&bytes[1024..1024 + 128 * 128]);
        let header = &mut bytes[512..604];
        header[88..92].copy_from_slice(&entries.to_le_bytes());
        header[16..20].fill(0);
        let sum = crc32fast::hash(header);
        header[16..20].copy_from_slice(&sum.to_le_bytes());
        assert!(read(&mut Cursor::new(&bytes)).is_err());
    }

    #[test]
    fn the_primary_and_the_backup_both_read_back() {
        let disk = disk(64 * MIB, vec![partition(1, MIB, 62 * MIB)]);
        let mut bytes = whole(&disk);
        let gpt = GPT::find_from(&mut Cursor::new(&bytes)).unwrap();
        assert!(gpt.is_primary());
        assert_eq!(gpt[1].partition_name.as_str(), "part 1");
        assert_eq!(gpt[1].size().unwrap(), 62 * 2048);
        bytes[512..1024].fill(0);
        let gpt = GPT::read_from(&mut Cursor::new(&bytes), SECTOR).unwrap();
        assert!(gpt.is_backup());
        assert_eq!(gpt[1].size().unwrap(), 62 * 2048);
    }

    #[test]
    fn the_smallest_and_the_largest_partition_fit_exactly() {
        let size = 64 * MIB;
        let first = head_len(SECTOR);
        let all = size - (head_len(SECTOR) + tail_len(SECTOR));
        assert!(tables(&disk(size, vec![partition(1, first, all)]), &[]).is_ok());
        assert!(tables(&disk(size, vec![partition(1, first, all + 512)]), &[]).is_err());
        assert!(tables(&disk(size, vec![partition(1, first - 512, 512)]), &[]).is_err());
        let least = head_len(SECTOR) + tail_len(SECTOR) + SECTOR;
        assert!(tables(&disk(least, vec![partition(1, first, 512)]), &[]).is_ok());
        assert!(tables(&disk(least - 512, vec![]), &[]).is_err());
    }

    #[test]
    fn what_cannot_be_right_is_an_error() {
        let refused = |partitions: Vec<Partition>| {
            tables(&disk(64 * MIB, partitions), &[])
                .unwrap_err()
                .to_string()
        };
        let ok = partition(1, MIB, MIB);
        assert!(refused(vec![partition(0, MIB, MIB)]).contains("number 0"));
        assert!(refused(vec![partition(129, MIB, MIB)]).contains("number 129"));
        assert!(refused(vec![ok.clone(), partition(1, 4 * MIB, MIB)]).contains("twice"));
        assert!(refused(vec![partition(1, MIB, 0)]).contains("empty"));
        assert!(refused(vec![partition(1, MIB + 1, MIB)]).contains("512"));
        assert!(refused(vec![partition(1, MIB, MIB + 1)]).contains("512"));
        assert!(refused(vec![partition(1, MIB, u64::MAX)]).contains("empty"));
        assert!(refused(vec![ok.clone(), partition(2, MIB, MIB)]).contains("boundaries"));
        let mut same_guid = partition(2, 4 * MIB, MIB);
        same_guid.guid = ok.guid;
        assert!(refused(vec![ok.clone(), same_guid]).contains("GUID"));
        let mut long = ok.clone();
        long.name = "x".repeat(37);
        assert!(refused(vec![long]).contains("longer than 36"));
        let plan = disk(64 * MIB, vec![ok]);
        assert!(tables(&plan, &[0; 441]).is_err());
        let odd = Disk {
            size: 64 * MIB + 1,
            ..plan.clone()
        };
        assert!(tables(&odd, &[]).is_err());
        let mbr = Disk {
            table: Table::Mbr { signature: 1 },
            ..plan
        };
        assert!(tables(&mbr, &[]).is_err());
    }
}
