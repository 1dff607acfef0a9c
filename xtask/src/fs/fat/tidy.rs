//! Corrects what fsck.fat or Microsoft's document object to in the output of fatfs 0.3.6, in the
//! metadata that the device recorded.

use super::Geometry;
use super::device::Device;
use std::io;

/// Size of a directory entry in bytes.
const ENTRY: usize = 32;

/// Attribute of a directory.
const DIRECTORY: u8 = 0x10;

/// Attributes of an entry that is part of a long name.
const LONG_NAME: u8 = 0x0F;

/// Attribute of the entry that is the volume label.
const LABEL: u8 = 0x08;

/// Smallest value of the FAT that marks the last cluster of a chain.
const LAST: u32 = 0x0FFF_FFF8;

/// The significant part of a FAT entry: the upper four bits are reserved.
const MASK: u32 = 0x0FFF_FFFF;

/// The first data cluster: that of the root directory.
const ROOT: u32 = 2;

/// Earliest and latest second that FAT can store: 1980-01-01 00:00:00 and 2107-12-31 23:59:58.
const TIMES: (i64, i64) = (315_532_800, 4_354_819_198);

/// A point in time as stored in a directory entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Years since 1980, month and day, in 7, 4 and 5 bits.
    pub(super) date: u16,
    /// Hours, minutes and seconds divided by two, in 5, 6 and 5 bits.
    pub(super) time: u16,
    /// Hundredths of a second to add, 0 to 199.
    pub(super) hundredths: u8,
}

impl Stamp {
    /// Converts seconds since 1970 to a stamp in UTC. A time that FAT cannot store becomes the
    /// nearest possible one.
    pub(super) fn of(secs: i64) -> Stamp {
        let secs = secs.clamp(TIMES.0, TIMES.1);
        let (day, second) = (secs.div_euclid(86_400), secs.rem_euclid(86_400));
        // Days are counted from 0000-03-01, so that a leap day is the last day of its year. From
        // March on, each five months have 153 days.
        let day = day + 719_468;
        let (era, day) = (day.div_euclid(146_097), day.rem_euclid(146_097));
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let march = (5 * day + 2) / 153;
        let day = day - (153 * march + 2) / 5 + 1;
        let month = if march < 10 { march + 3 } else { march - 9 };
        let year = era * 400 + year + i64::from(month <= 2);
        // All of them fit: the year is within 1980 to 2107.
        Stamp {
            date: ((year - 1980) << 9 | month << 5 | day) as u16,
            time: ((second / 3600) << 11 | (second / 60 % 60) << 5 | (second % 60 / 2)) as u16,
            hundredths: (second % 2 * 100) as u8,
        }
    }

    fn put(self, entry: &mut [u8]) {
        let (date, time) = (self.date.to_le_bytes(), self.time.to_le_bytes());
        entry[13] = self.hundredths;
        entry[14..16].copy_from_slice(&time);
        entry[16..18].copy_from_slice(&date);
        entry[18..20].copy_from_slice(&date);
        entry[22..24].copy_from_slice(&time);
        entry[24..26].copy_from_slice(&date);
    }
}

/// Corrects the empty file system, before anything is allocated in it.
pub(super) fn formatted(device: &Device, geometry: &Geometry) -> io::Result<()> {
    // "FAT format code should zero the bytes after this entry" (the entry of the last cluster);
    // fatfs marks them as used.
    let used = (u64::from(geometry.clusters) + u64::from(ROOT)) * 4;
    let rest = usize::try_from(geometry.fat_len.saturating_sub(used)).map_err(io::Error::other)?;
    for fat in [geometry.fat, geometry.fat + geometry.fat_len] {
        device.store(fat + used, &vec![0; rest])?;
    }
    // The number of free clusters (all except the root directory's) and the next free one. fatfs
    // updates them from here on, but does not set them when it formats.
    let at = geometry.fs_info + 488;
    device.store(at, &(geometry.clusters - 1).to_le_bytes())?;
    device.store(at + 4, &(ROOT + 1).to_le_bytes())
}

/// Corrects the finished file system: the entries of all directories, their times, and the backup
/// of the counts.
pub(super) fn tidy(device: &Device, geometry: &Geometry, stamp: Stamp) -> io::Result<()> {
    let mut dirs = vec![ROOT];
    while let Some(first) = dirs.pop() {
        let chain = chain(device, geometry, first)?;
        let cluster = geometry.cluster as usize;
        let mut bytes = vec![0; chain.len() * cluster];
        for (number, part) in chain.iter().zip(bytes.chunks_mut(cluster)) {
            device.load(geometry.place(*number), part)?;
        }
        let bytes = entries(&bytes, stamp, &mut dirs);
        for (number, part) in chain.iter().zip(bytes.chunks(cluster)) {
            device.store(geometry.place(*number), part)?;
        }
    }
    // fatfs copies the boot sector to its backup, but not the sector of counts next to it.
    let mut counts = [0; super::device::SECTOR];
    device.load(geometry.fs_info, &mut counts)?;
    device.store(geometry.backup + geometry.fs_info, &counts)
}

/// The clusters of a directory.
fn chain(device: &Device, geometry: &Geometry, first: u32) -> io::Result<Vec<u32>> {
    let mut chain = vec![first];
    let mut at = first;
    loop {
        let next = device.load_u32(geometry.fat + u64::from(at) * 4)? & MASK;
        if next >= LAST {
            return Ok(chain);
        }
        if next < ROOT || next - ROOT >= geometry.clusters || chain.len() > 1 << 16 {
            return Err(io::Error::other("the FAT of a directory is broken"));
        }
        chain.push(next);
        at = next;
    }
}

/// The corrected entries of a directory, as bytes of the same length. Adds the first clusters of
/// its subdirectories to `dirs`.
fn entries(bytes: &[u8], stamp: Stamp, dirs: &mut Vec<u32>) -> Vec<u8> {
    let mut tidy: Vec<u8> = Vec::with_capacity(bytes.len());
    // Start of the next entry's long name in `tidy`.
    let mut long_name = 0;
    for entry in bytes.chunks_exact(ENTRY) {
        if entry[0] == 0 {
            break;
        }
        if entry[11] & 0x3F == LONG_NAME {
            tidy.extend_from_slice(entry);
            continue;
        }
        // `.` and `..` must not have long names: they must be the first two entries of a directory.
        // (No other short name begins with a dot.)
        if entry[0] == b'.' {
            tidy.truncate(long_name);
        }
        let start = tidy.len();
        tidy.extend_from_slice(entry);
        let entry = &mut tidy[start..];
        stamp.put(entry);
        let half = |at: usize| u32::from(u16::from_le_bytes([entry[at], entry[at + 1]]));
        let first = half(20) << 16 | half(26);
        if entry.starts_with(b"..") && first == ROOT {
            // If the parent is the root directory, its number is stored as 0.
            entry[20..22].fill(0);
            entry[26..28].fill(0);
        } else if entry[0] != b'.' && entry[11] & DIRECTORY != 0 && entry[11] & LABEL == 0 {
            dirs.push(first);
        }
        long_name = tidy.len();
    }
    tidy.resize(bytes.len(), 0);
    tidy
}
