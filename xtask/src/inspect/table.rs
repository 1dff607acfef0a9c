//! The partition table and its checks.
//!
//! The rules are those of who reads the table at a start: EDK2 (PartitionDxe/Gpt.c) takes the backup
//! where the table is damaged; Linux (block/partitions/efi.c) does so with the argument `gpt` only.

use super::finding::{Code, Findings};
use crate::disk::table::{self, PartitionTable, TableError, TableIdentity};
use crate::format::source::{Disk, Window};
use crate::model::Size;
use crate::vm::Firmware;

/// Most entries of a GPT whose checksum is computed.
const MOST_ENTRIES: u64 = 1024;

/// What was found out about the table.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// The table, from the backup if need be.
    pub(super) table: Option<PartitionTable>,
    /// The first sector.
    pub(super) sector: Vec<u8>,
    /// Whether only the backup of the GPT can be used.
    pub(super) only_backup: bool,
}

const AGAIN: &str = "copy or download the image again completely, or rebuild it";

/// Reads the table and says what is wrong with it.
pub(super) fn look(disk: &Disk, found: &mut Findings) -> Table {
    let size = disk.size();
    let mut sector = vec![0; 512];
    let mut all = Table::default();
    if disk.read_at(0, &mut sector).is_err() {
        found.error(
            Code::TableDamaged,
            "the disk is shorter than a sector",
            AGAIN,
        );
        return all;
    }
    let signed = sector[510..] == [0x55, 0xaa];
    match table::read(&mut Window::new(disk.clone(), 0, size)) {
        Ok(table) => all.table = table,
        Err(e @ (TableError::Damaged | TableError::Short)) => {
            let table = rebuild("the partition table");
            found.error(Code::TableDamaged, format!("the disk: {e}"), table);
        }
        Err(TableError::Unsigned) => {}
    }
    let empty = sector.iter().all(|b| *b == 0);
    if !signed && (!empty || all.table.is_some()) {
        // UEFI looks at the table only, and Linux, too, if its arguments have `gpt`.
        if all.table.is_some() {
            found.firmware = vec![Firmware::Bios];
        }
        found.error(
            Code::BootSignature,
            "the first sector does not end with 55 AA: no BIOS takes it for a boot sector, and only a GPT can be read behind it",
            "write the bytes 55 AA at offset 510, or rebuild the image",
        );
        found.firmware.clear();
    }
    all.sector = sector;
    let Some(table) = all.table.clone() else {
        return all;
    };
    if let TableIdentity::Gpt(_) = table.kind {
        all.only_backup = gpt(disk, &table, &all.sector, found);
    }
    places(&table, size, found);
    all
}

fn rebuild(what: &str) -> String {
    format!("restore {what}, e.g. with gdisk's recovery menu, or rebuild the image")
}

/// What is wrong with one copy of a GPT whose header is at byte `at`; nothing if it is whole.
fn copy(disk: &Disk, at: u64, sector: u64) -> Option<String> {
    let mut header = [0; 512];
    if disk.read_at(at, &mut header).is_err() || !header.starts_with(b"EFI PART") {
        return Some(format!("there is no header at byte {at}"));
    }
    let le = |at: usize, len: usize| {
        let bytes = &header[at..at + len];
        bytes
            .iter()
            .rev()
            .fold(0_u64, |n, b| n << 8 | u64::from(*b))
    };
    let len = usize::try_from(le(12, 4)).unwrap_or(usize::MAX);
    if !(92..=512).contains(&len) {
        return Some(format!("its header claims to have {len} bytes"));
    }
    let mut blank = header;
    blank[16..20].fill(0);
    if u64::from(crc32fast::hash(&blank[..len])) != le(16, 4) {
        return Some("the checksum of its header is wrong".into());
    }
    if le(24, 8).checked_mul(sector) != Some(at) {
        return Some("its header belongs to another place".into());
    }
    let (first, count, each) = (le(72, 8), le(80, 4), le(84, 4));
    if count > MOST_ENTRIES || each != 128 {
        return Some(format!("it has {count} entries of {each} bytes"));
    }
    let mut entries = vec![0; usize::try_from(count * each).unwrap_or(0)];
    let there = first.checked_mul(sector);
    if there.is_none_or(|at| disk.read_at(at, &mut entries).is_err()) {
        return Some("its entries are outside the disk".into());
    }
    (u64::from(crc32fast::hash(&entries)) != le(88, 4))
        .then(|| "the checksum of its entries is wrong".into())
}

/// Checks both copies and the MBR before them. Returns whether only the backup is whole.
fn gpt(disk: &Disk, table: &PartitionTable, mbr: &[u8], found: &mut Findings) -> bool {
    let sector = table.sector_size;
    let first = copy(disk, sector, sector);
    // `end` is behind the backup.
    let last = match table.end.checked_sub(sector) {
        Some(at) if table.end <= disk.size() => copy(disk, at, sector),
        _ => Some("it is outside the disk".into()),
    };
    if let Some(why) = &last {
        found.warning(
            Code::TableBackup,
            format!("the backup of the GPT is damaged: {why}"),
            "write it again, e.g. with `sgdisk --move-second-header`, or rebuild the image",
        );
    } else if table.end < disk.size() && first.is_none() {
        found.note(
            Code::TableBackup,
            format!(
                "the backup of the GPT is not at the end of the disk, which has {} more",
                Size(disk.size() - table.end)
            ),
            "nothing, if the machine grows its disk itself; else use `sgdisk --move-second-header`",
        );
    }
    let kinds = [446, 462, 478, 494].map(|at| mbr[at + 4]);
    if mbr[510..] == [0x55, 0xaa] && !kinds.contains(&0xee) {
        found.firmware = vec![Firmware::Uefi];
        found.error(
            Code::TableMbr,
            "the MBR before the GPT has no partition of type EE: UEFI and Linux do not look for a GPT behind it",
            "write a protective MBR, e.g. with `sgdisk --zap` and a new table, or rebuild the image",
        );
        found.firmware.clear();
    }
    if let Some(why) = &first {
        found.warning(
            Code::TablePrimary,
            format!("the GPT at the start of the disk is damaged ({why}); its backup is used"),
            rebuild("it from the backup"),
        );
    }
    first.is_some()
}

/// Partitions that overlap, or that are outside the disk.
fn places(table: &PartitionTable, size: u64, found: &mut Findings) {
    let end = table.partitions.iter().map(|p| p.end()).max();
    let end = end.unwrap_or(0).max(table.end);
    if end > size {
        found.error(
            Code::DiskTruncated,
            format!(
                "the partition table needs a disk of {}, but this one has {}: it is truncated",
                Size(end),
                Size(size)
            ),
            AGAIN,
        );
    }
    let head = match table.kind {
        TableIdentity::Gpt(_) => 2 * table.sector_size + 128 * u64::from(table.capacity),
        TableIdentity::Mbr(_) => 512,
    };
    let mut by_start: Vec<_> = table.partitions.iter().collect();
    by_start.sort_by_key(|p| p.start);
    let extended =
        |kind: &table::PartitionType| matches!(kind, table::PartitionType::Mbr(0x05 | 0x0f | 0x85));
    let gpt = matches!(table.kind, TableIdentity::Gpt(_));
    for pair in by_start.windows(2) {
        if pair[0].end() <= pair[1].start || pair.iter().any(|p| extended(&p.kind)) {
            continue;
        }
        let cause = format!(
            "partition {} begins before partition {} ends",
            pair[1].number, pair[0].number
        );
        let cure = "rebuild the image: one of them may have overwritten the other";
        // Linux and BIOS do not mind, and disks that are also a CD are made so. EDK2 passes over
        // such entries of a GPT.
        if gpt && pair.iter().any(|p| p.is_esp()) {
            found.firmware = vec![Firmware::Uefi];
            let cause = format!("{cause}: UEFI passes over both, one of which has its boot loader");
            found.error(Code::TableOverlap, cause, cure);
            found.firmware.clear();
        } else {
            found.warning(Code::TableOverlap, cause, cure);
        }
    }
    if let Some(p) = by_start.first().filter(|p| p.start < head) {
        found.warning(
            Code::TableOverlap,
            format!("partition {} begins inside the partition table", p.number),
            "rebuild the image",
        );
    }
}
