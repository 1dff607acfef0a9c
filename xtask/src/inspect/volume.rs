//! What is in a partition, by its first bytes, and how kernel arguments and /etc/fstab can name it.
//!
//! Sources of the magic numbers: Linux' own headers of each file system; blkid(8) uses the same.

use crate::disk::table::{FoundPartition, PartitionTable, PartitionType, TableIdentity};
use crate::format::source::Disk;
use crate::fs::ext4::Superblock;
use crate::fs::fat::read::Fat;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

/// A partition and what is in it; or the whole disk, if it has no table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Volume {
    /// Number of the partition; 0 for a disk without a table.
    pub number: u32,
    /// Where it begins on the disk, in bytes.
    pub offset: u64,
    /// Length in bytes.
    pub size: u64,
    /// Type: a GUID, or the byte of an MBR in hexadecimal.
    #[serde(rename = "type")]
    pub kind: String,
    /// GUID of the partition, as `PARTUUID=` names it.
    pub id: Option<String>,
    /// Whether it is an EFI system partition.
    pub esp: bool,
    /// Whether it is marked for BIOS.
    pub bios_bootable: bool,
    /// What is in it: `ext4`, `vfat`, `swap`, ..., `empty` or `unknown`.
    pub content: String,
    /// UUID or volume id of the file system.
    pub uuid: Option<String>,
    /// Label of the file system.
    pub label: Option<String>,
    /// Free bytes of the file system, where that is known (ext4).
    pub free: Option<u64>,
    /// An ext4 that lost its superblock: offset of a backup that is still there.
    #[serde(skip)]
    pub(super) lost: Option<u64>,
}

impl Volume {
    /// How people call it.
    pub(super) fn name(&self) -> String {
        match self.number {
            0 => "the disk".into(),
            n => format!("partition {n}"),
        }
    }

    /// Whether it is an ext4 without a superblock whose UUID is in `name` (`UUID=...`).
    pub(super) fn is_lost_under(&self, name: &str) -> bool {
        let uuid = self.uuid.as_ref().filter(|_| self.lost.is_some());
        uuid.is_some_and(|uuid| name.to_ascii_lowercase().contains(&**uuid))
    }

    /// Whether every way to name its file system is known here, so that a name that does not fit
    /// certainly means another one.
    pub(super) fn is_understood(&self) -> bool {
        matches!(
            &*self.content,
            "ext4" | "vfat" | "xfs" | "swap" | "squashfs" | "erofs" | "empty" | "bios-boot"
        )
    }
}

/// Type GUID of GRUB's core image ("BIOS boot partition").
const BIOS_BOOT: Uuid = Uuid::from_u128(0x2168_6148_6449_6e6f_744e_6565_6445_4649);

/// Everything on the disk.
pub(super) fn all(disk: &Disk, table: Option<&PartitionTable>) -> Vec<Volume> {
    let mut all: Vec<Volume> = match table {
        None => vec![one(disk, 0, disk.size())],
        Some(table) => table
            .partitions
            .iter()
            .map(|p| of_partition(disk, table, p))
            .collect(),
    };
    all.sort_by_key(|v| v.offset);
    all
}

fn of_partition(disk: &Disk, table: &PartitionTable, p: &FoundPartition) -> Volume {
    let len = p.len.min(disk.size().saturating_sub(p.start));
    let mut volume = one(disk, p.start, len);
    volume.number = p.number;
    volume.size = p.len;
    volume.kind = p.kind.to_string();
    volume.esp = p.is_esp();
    volume.bios_bootable = p.bios_bootable;
    volume.id = match (p.guid, table.kind) {
        (Some(guid), _) => Some(guid.to_string()),
        // Linux makes one of the disk's signature and the number.
        (None, TableIdentity::Mbr(id)) => Some(format!("{id:08x}-{:02x}", p.number)),
        (None, _) => None,
    };
    if volume.kind == BIOS_BOOT.to_string() {
        volume.content = "bios-boot".into();
    }
    if matches!(p.kind, PartitionType::Mbr(0x05 | 0x0f | 0x85)) {
        volume.content = "extended".into();
    }
    volume
}

/// What is in these bytes of the disk.
fn one(disk: &Disk, start: u64, len: u64) -> Volume {
    let mut volume = Volume {
        number: 0,
        offset: start,
        size: len,
        kind: String::new(),
        id: None,
        esp: false,
        bios_bootable: false,
        content: "unknown".into(),
        uuid: None,
        label: None,
        free: None,
        lost: None,
    };
    // What is outside the disk reads as zeros.
    let read = |at: u64, n: usize| {
        let mut bytes = vec![0; n];
        let inside = usize::try_from(len.saturating_sub(at)).unwrap_or(n).min(n);
        let done = disk.read_at(start.saturating_add(at), &mut bytes[..inside]);
        if done.is_err() {
            bytes.fill(0);
        }
        bytes
    };
    let head = read(0, 4096);
    let uuid = |at: usize| {
        let bytes = head.get(at..at + 16).and_then(|b| b.try_into().ok());
        bytes.map(|b| Uuid::from_bytes(b).to_string())
    };
    let text = |bytes: &[u8]| {
        let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
        let text = String::from_utf8_lossy(&bytes[..end]).trim_end().to_owned();
        Some(text).filter(|t| !t.is_empty())
    };
    let mut is = |content: &str, uuid: Option<String>, label: Option<String>| {
        volume.content = content.to_owned();
        volume.uuid = uuid;
        volume.label = label;
    };
    let mut sb = [0; 1024];
    sb.copy_from_slice(&head[1024..2048]);
    let superblock = Superblock::from(sb);
    if superblock.is_ext4() {
        is(
            "ext4",
            Some(superblock.uuid().to_string()),
            text(&sb[0x78..0x88]),
        );
        volume.free = Some(superblock.free());
    } else if let Some(fat) = Fat::open(disk, start) {
        let label = Some(fat.label.clone()).filter(|l| !l.is_empty() && l != "NO NAME");
        let id = format!("{:04X}-{:04X}", fat.id >> 16, fat.id & 0xffff);
        is("vfat", Some(id), label);
    } else if head.starts_with(b"XFSB") {
        is("xfs", uuid(32), text(&head[108..120]));
    } else if head.starts_with(b"LUKS\xba\xbe") {
        is("luks", text(&head[168..208]), None);
    } else if head.starts_with(b"hsqs") {
        is("squashfs", None, None);
    } else if head[1024..1028] == [0xe2, 0xe1, 0xf5, 0xe0] {
        is("erofs", uuid(1024 + 48), text(&head[1024 + 64..1024 + 80]));
    } else if head[512..520] == *b"LABELONE" {
        is("lvm", None, None);
    } else if head[4086..4096] == *b"SWAPSPACE2" {
        is("swap", uuid(1036), text(&head[1052..1068]));
    } else if head[1024..1028] == [0x10, 0x20, 0xf5, 0xf2] {
        is("f2fs", uuid(1024 + 108), None);
    } else if read(0x1_0040, 8) == *b"_BHRfS_M" {
        let id: Option<[u8; 16]> = read(0x1_0020, 16).try_into().ok();
        is("btrfs", id.map(|id| Uuid::from_bytes(id).to_string()), None);
    } else if read(0x8001, 5) == *b"CD001" {
        is("iso9660", None, None);
    } else if let Some((at, sb)) = backup(&read) {
        let superblock = Superblock::from(sb);
        is("unknown", Some(superblock.uuid().to_string()), None);
        volume.lost = Some(at);
    } else if head.iter().all(|b| *b == 0) && read(0x1_0000, 4096).iter().all(|b| *b == 0) {
        is("empty", None, None);
    }
    volume
}

/// A backup of a superblock: at the start of group 1, whose place depends on the block size
/// (Linux, Documentation/filesystems/ext4/blockgroup.rst).
fn backup(read: &dyn Fn(u64, usize) -> Vec<u8>) -> Option<(u64, [u8; 1024])> {
    let places = [32_768 * 4096, 16_384 * 2048, 8193 * 1024];
    places.into_iter().find_map(|at| {
        let bytes: [u8; 1024] = read(at, 1024).try_into().ok()?;
        // `s_block_group_nr` must be 1.
        let whole = Superblock::from(bytes);
        (whole.is_ext4() && !whole.has_wrong_sum() && bytes[0x5a..0x5c] == [1, 0])
            .then_some((at, bytes))
    })
}
