//! Which file system the kernel's arguments name as the root, and whether it can be mounted.

use super::entries::{Entry, argument};
use super::files::{Root, Unread};
use super::finding::{Code, Findings};
use super::volume::Volume;
use crate::format::source::Disk;
use crate::fs::ext4::Superblock;
use crate::model::Size;
use crate::model::partition::{ROOT_AMD64, ROOT_ARM64};

/// What a name of a file system leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    /// The volume with this index.
    Volume(usize),
    /// Certainly nothing on this disk.
    Nothing,
    /// It is not known here: another disk, a mapper, a file system that is not understood.
    Unknown,
}

/// Looks up a name as in `root=` and in /etc/fstab: `UUID=...`, `/dev/vda2`, ...
pub(super) fn named(name: &str, volumes: &[Volume]) -> Named {
    let find = |is: &dyn Fn(&Volume) -> bool| match volumes.iter().position(is) {
        Some(n) => Named::Volume(n),
        None if volumes.iter().all(Volume::is_understood) => Named::Nothing,
        None => Named::Unknown,
    };
    // Partitions inside another one are not read.
    let nothing = match volumes.iter().any(|v| v.content == "extended") {
        true => Named::Unknown,
        false => Named::Nothing,
    };
    let same = |a: &Option<String>, b: &str| a.as_ref().is_some_and(|a| a.eq_ignore_ascii_case(b));
    let by = |kind: &str| {
        let path = format!("/dev/disk/by-{}/", kind.to_ascii_lowercase());
        let plain = name.strip_prefix(kind).and_then(|n| n.strip_prefix('='));
        plain
            .or_else(|| name.strip_prefix(&path))
            .map(|n| n.trim_matches('"'))
    };
    if let Some(uuid) = by("UUID") {
        return match find(&|v| same(&v.uuid, uuid) && v.content != "unknown") {
            Named::Unknown
                if volumes
                    .iter()
                    .any(|v| v.lost.is_some() && same(&v.uuid, uuid)) =>
            {
                Named::Nothing
            }
            other => other,
        };
    }
    if let Some(label) = by("LABEL") {
        return find(&|v| v.label.as_deref() == Some(label));
    }
    if let Some(id) = by("PARTUUID") {
        // `PARTUUID=.../PARTNROFF=1` counts on from there.
        if id.contains('/') {
            return Named::Unknown;
        }
        return match volumes.iter().position(|v| same(&v.id, id)) {
            Some(n) => Named::Volume(n),
            None => nothing,
        };
    }
    let Some(device) = name.strip_prefix("/dev/") else {
        return Named::Unknown;
    };
    // The first disk of each bus: smoke and most machines have only this one.
    let disks = ["sda", "vda", "hda", "xvda", "nvme0n1", "mmcblk0"];
    let number = disks.iter().find_map(|disk| {
        let rest = device.strip_prefix(disk)?;
        let digits = rest.strip_prefix('p').unwrap_or(rest);
        match digits.is_empty() {
            true => Some(0),
            false => digits.parse().ok(),
        }
    });
    match number {
        Some(number) => match volumes.iter().position(|v: &Volume| v.number == number) {
            Some(n) => Named::Volume(n),
            None => nothing,
        },
        None => Named::Unknown,
    }
}

/// Finds the root file system of an entry. Reports one that is not there; `fatal` if that entry is
/// certainly started.
pub(super) fn of_entry(
    entry: &Entry,
    volumes: &[Volume],
    fatal: bool,
    found: &mut Findings,
) -> Option<usize> {
    let Some(name) = argument(&entry.arguments, "root") else {
        // systemd in an initrd looks for the type (systemd-gpt-auto-generator).
        let types = [ROOT_AMD64.to_string(), ROOT_ARM64.to_string()];
        let by_type = volumes.iter().position(|v| types.contains(&v.kind));
        found.note(
            Code::RootUnknown,
            format!(
                "the kernel's arguments of entry {:?} name no root file system",
                entry.id
            ),
            "add `root=UUID=...`, unless the initrd finds it by itself",
        );
        return by_type;
    };
    match named(name, volumes) {
        Named::Volume(n) => Some(n),
        Named::Unknown => {
            found.note(
                Code::RootUnknown,
                format!(
                    "where root={name} of entry {:?} is cannot be told from this disk",
                    entry.id
                ),
                "nothing; `cargo xtask smoke` boots the image",
            );
            None
        }
        Named::Nothing => {
            let there = volumes.iter().filter_map(|v| {
                let uuid = v.uuid.as_ref().filter(|_| v.content != "unknown")?;
                Some(format!("{} has {} {uuid}", v.name(), v.content))
            });
            let there: Vec<String> = there.collect();
            // The lost superblock is the cause, and it is reported.
            if volumes.iter().any(|v| v.is_lost_under(name)) {
                return None;
            }
            let cause = format!(
                "the kernel of entry {:?} looks for root={name}, which is not on this disk ({})",
                entry.id,
                match there.is_empty() {
                    true => "no file system is".to_owned(),
                    false => there.join(", "),
                }
            );
            let cure = "correct root= in the boot loader's configuration, e.g. to the UUID that `blkid` shows";
            match fatal {
                true => found.error(Code::RootMissing, cause, cure),
                false => found.warning(Code::RootMissing, cause, cure),
            }
            None
        }
    }
}

/// Reports ext4 file systems without a superblock. `roots` are the values of `root=`.
pub(super) fn lost(volumes: &[Volume], roots: &[&str], found: &mut Findings) {
    for volume in volumes {
        let Some(at) = volume.lost else { continue };
        let cause = format!(
            "the superblock of the ext4 on {} (UUID {}) is gone; its backup at byte {at} is still there",
            volume.name(),
            volume.uuid.as_deref().unwrap_or_default()
        );
        let cure = format!(
            "`e2fsck -b {}` on the partition restores it; or rebuild the image",
            at / block(at)
        );
        let index = volumes.iter().position(|v| v == volume);
        let is_root = |name: &&str| {
            volume.is_lost_under(name) || Some(named(name, volumes)) == index.map(Named::Volume)
        };
        match roots.iter().any(is_root) {
            true => found.error(Code::SuperblockDamaged, cause, cure),
            false => found.warning(Code::SuperblockDamaged, cause, cure),
        }
    }
}

/// The block size of a file system with its first backup there.
fn block(at: u64) -> u64 {
    match at {
        134_217_728 => 4096,
        33_554_432 => 2048,
        _ => 1024,
    }
}

/// Opens the root file system and checks what a mount depends on.
pub(super) fn open(disk: &Disk, volume: &Volume, found: &mut Findings) -> Option<Root> {
    let name = volume.name();
    if volume.lost.is_some() {
        return None;
    }
    if volume.content != "ext4" {
        found.note(
            Code::RootUnread,
            format!(
                "the root file system on {name} is {}: it is not looked into",
                volume.content
            ),
            "nothing; `cargo xtask smoke` boots the image",
        );
        return None;
    }
    let mut bytes = [0; 1024];
    if disk.read_at(volume.offset + 1024, &mut bytes).is_err() {
        return None;
    }
    let sb = Superblock::from(bytes);
    let check = "repair it with `e2fsck -f`, or rebuild the image";
    if sb.has_wrong_sum() {
        found.error(
            Code::SuperblockDamaged,
            format!("the superblock of the root file system on {name} does not fit its checksum: Linux refuses to mount it"),
            check,
        );
        return None;
    }
    if sb.size() > volume.size {
        found.error(
            Code::RootTooLarge,
            format!(
                "the root file system has {}, but {name} only {}: Linux refuses to mount it",
                Size(sb.size()),
                Size(volume.size)
            ),
            "make the partition larger, or rebuild the image",
        );
    }
    if sb.has_errors() {
        let cause = format!("the kernel found errors in the root file system on {name}");
        found.warning(Code::RootUnclean, cause, check);
    } else if sb.needs_recovery() || !sb.was_unmounted() {
        found.warning(
            Code::RootUnclean,
            format!("the root file system on {name} was not unmounted: its journal has to be written back"),
            "shut the machine down before its disk is copied",
        );
    }
    if !journal(disk, volume, &bytes, found) {
        return None;
    }
    let root = match Root::open(disk, volume.offset) {
        Ok(root) => root,
        Err(Unread::Feature(why)) => {
            found.note(
                Code::RootUnread,
                format!("the root file system on {name} is not looked into: {why}"),
                "nothing; `cargo xtask smoke` boots the image",
            );
            return None;
        }
        Err(Unread::Damaged(why)) => {
            let (code, what) = match why.contains("journal") {
                true => (Code::JournalDamaged, "the journal"),
                false => (Code::SuperblockDamaged, "the structure"),
            };
            let cause = format!("{what} of the root file system on {name} is damaged: {why}");
            // Linux leaves out what was not written to the end.
            match code == Code::JournalDamaged && sb.needs_recovery() {
                true => found.warning(code, cause, check),
                false => found.error(code, cause, check),
            }
            return None;
        }
    };
    if let Err(why) = root.root_folder() {
        found.error(
            Code::SuperblockDamaged,
            format!("the root folder of the file system on {name} is damaged: {why}"),
            check,
        );
        return None;
    }
    full(&sb, &name, found);
    Some(root)
}

/// Checks the superblock of an internal journal without anything to recover: Linux loads it at
/// every mount. Returns whether it is one, or cannot be found. `s_jnl_blocks` (0x10c) is a copy of the journal's inode: its first extent.
fn journal(disk: &Disk, volume: &Volume, sb: &[u8; 1024], found: &mut Findings) -> bool {
    let le = |at: usize, len: usize| {
        let bytes = sb.get(at..at + len).unwrap_or_default();
        bytes
            .iter()
            .rev()
            .fold(0_u64, |n, b| n << 8 | u64::from(*b))
    };
    // COMPAT_HAS_JOURNAL, and a copy of the inode with an extent in it (`s_jnl_backup_type`).
    let has = le(0x5c, 4) & 4 != 0 && le(0xfd, 1) == 1 && le(0xe0, 4) != 0;
    // An extent header: magic, depth 0; then the first extent: block, length, start.
    if !has || le(0x10c, 2) != 0xf30a || le(0x10c + 6, 2) != 0 || le(0x10c + 12, 4) != 0 {
        return true;
    }
    let block = 1024_u64 << le(0x18, 4).min(6);
    let start = le(0x10c + 18, 2) << 32 | le(0x10c + 20, 4);
    let mut head = [0; 12];
    let place = start
        .checked_mul(block)
        .and_then(|at| at.checked_add(volume.offset));
    let read = place.map(|at| disk.read_at(at, &mut head));
    // JBD2_MAGIC_NUMBER, and a superblock of version 1 or 2, all big-endian.
    let kind = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
    let good = head[..4] == [0xc0, 0x3b, 0x39, 0x98] && matches!(kind, 3 | 4);
    if !matches!(read, Some(Ok(()))) || !good {
        found.error(
            Code::JournalDamaged,
            format!("the journal of the root file system on {} has no superblock: Linux refuses to mount it", volume.name()),
            "make a new one: `tune2fs -O ^has_journal` and `tune2fs -j`, or rebuild the image",
        );
        return false;
    }
    true
}

/// Reports a file system without room.
fn full(sb: &Superblock, name: &str, found: &mut Findings) {
    let (free, size) = (sb.free(), sb.size());
    // A machine writes some logs and identities at its first start.
    if free < (1 << 20).min(size / 50) {
        found.warning(
            Code::DiskFull,
            format!(
                "the root file system on {name} is full: {} of {} are free",
                Size(free),
                Size(size)
            ),
            "give it more room, e.g. `root: {free: 1G}` in recipe.yaml, or delete files",
        );
    }
}
