//! Free space of the file systems on a disk: it need not be written to a device.
//!
//! Only space that is certainly free counts. A file system of a type or form that is not supported
//! here has no free space. Sources: Linux Documentation/filesystems/ext4, and Microsoft's "FAT:
//! General Overview of On-Disk Format" 1.03.

use super::ext4::writer::has_super;
use std::io;
use std::ops::Range;

/// Reads bytes of the disk at an offset.
pub type Read<'a> = &'a dyn Fn(u64, &mut [u8]) -> io::Result<()>;

/// The free ranges of the file systems that begin at `starts`, in bytes of the disk: ascending and
/// disjoint if `starts` is ascending. `size` is the size of the disk in bytes. A file system that
/// claims to be larger, or that no program would lay out that way, is treated as having no free
/// space. So a few bytes of an untrusted image cannot cause hours of work.
pub fn free(read: Read<'_>, size: u64, starts: &[u64]) -> io::Result<Vec<Range<u64>>> {
    let mut ranges = Ranges(Vec::new());
    for start in starts {
        let Some(most) = size.checked_sub(*start).filter(|most| *most >= 2048) else {
            continue;
        };
        let mut head = [0; 2048];
        read(*start, &mut head)?;
        if head[1024 + 56..1024 + 58] == [0x53, 0xef] {
            ext4(read, *start, most, &head[1024..], &mut ranges)?;
        } else if head[82..90] == *b"FAT32   " && head[510..512] == [0x55, 0xaa] {
            fat32(read, *start, most, &head, &mut ranges)?;
        }
    }
    Ok(ranges.0)
}

/// Collects ranges and joins adjacent ones.
struct Ranges(Vec<Range<u64>>);

impl Ranges {
    fn add(&mut self, start: u64, len: u64) {
        match self.0.last_mut() {
            Some(last) if last.end == start => last.end += len,
            _ => self.0.push(start..start + len),
        }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(bytes[at]) | u64::from(bytes[at + 1]) << 8
}

fn u32_at(bytes: &[u8], at: usize) -> u64 {
    u16_at(bytes, at) | u16_at(bytes, at + 2) << 16
}

/// `INCOMPAT_META_BG` and `INCOMPAT_64BIT`: group descriptors are elsewhere, or are larger.
const UNREAD: u64 = 0x10 | 0x80;

/// `RO_COMPAT_BIGALLOC`: the bits of bitmaps are clusters.
const CLUSTERS: u64 = 0x200;

/// `RO_COMPAT_SPARSE_SUPER` and `COMPAT_SPARSE_SUPER2`: which groups have superblocks.
const SPARSE_SUPER: u64 = 1;
const SPARSE_SUPER2: u64 = 0x200;

/// `EXT4_BG_BLOCK_UNINIT`: the group's bitmap was never written.
const BLOCK_UNINIT: u64 = 2;

/// ext2, 3 and 4, from the block bitmaps. `sb` is the superblock, `most` the number of bytes up to
/// the disk's end.
fn ext4(read: Read<'_>, start: u64, most: u64, sb: &[u8], ranges: &mut Ranges) -> io::Result<()> {
    let shift = 10 + u32_at(sb, 24);
    let (blocks, first, per_group) = (u32_at(sb, 4), u32_at(sb, 20), u32_at(sb, 32));
    let (compatible, read_only) = (u32_at(sb, 92), u32_at(sb, 100));
    let odd = u32_at(sb, 96) & UNREAD != 0 || read_only & CLUSTERS != 0;
    let sparse = read_only & SPARSE_SUPER != 0 && compatible & SPARSE_SUPER2 == 0;
    // A group has as many blocks as a block has bits, unless mke2fs was told otherwise.
    if odd || shift > 16 || per_group != 8 << shift || blocks > most >> shift || first > 1 {
        return Ok(());
    }
    let block = 1_u64 << shift;
    let groups = blocks.saturating_sub(first).div_ceil(per_group);
    // The superblock, the group descriptors, and the blocks that are reserved for more of them.
    let head = 1 + (groups * 32).div_ceil(block) + u16_at(sb, 0xce);
    let table = (u32_at(sb, 40) * u16_at(sb, 88)).div_ceil(block);
    let mut bitmap = vec![0; usize::try_from(block).map_err(io::Error::other)?];
    for group in 0..groups {
        let mut descriptor = [0; 32];
        read(start + (first + 1) * block + group * 32, &mut descriptor)?;
        let from = first + group * per_group;
        let len = per_group.min(blocks - from);
        if u16_at(&descriptor, 18) & BLOCK_UNINIT != 0 {
            if !sparse {
                continue;
            }
            // The group contains nothing else (Linux fs/ext4/balloc.c, `ext4_init_block_bitmap`).
            let mut used = vec![
                (u32_at(&descriptor, 0), 1),
                (u32_at(&descriptor, 4), 1),
                (u32_at(&descriptor, 8), table),
            ];
            if has_super(group) {
                used.push((from, head));
            }
            used.sort_unstable();
            let mut at = from;
            for (used, count) in used {
                let used_from = used.clamp(at, from + len);
                if used_from > at {
                    ranges.add(start + at * block, (used_from - at) * block);
                }
                at = at.max((used + count).clamp(from, from + len));
            }
            if from + len > at {
                ranges.add(start + at * block, (from + len - at) * block);
            }
            continue;
        }
        let place = u32_at(&descriptor, 0);
        if place >= blocks {
            continue;
        }
        read(start + place * block, &mut bitmap)?;
        for bit in 0..len {
            let byte = bitmap[usize::try_from(bit / 8).map_err(io::Error::other)?];
            if byte >> (bit % 8) & 1 == 0 {
                ranges.add(start + (from + bit) * block, block);
            }
        }
    }
    Ok(())
}

/// FAT32, from the first table. `boot` is the boot sector, `most` the number of bytes up to the
/// disk's end.
fn fat32(
    read: Read<'_>,
    start: u64,
    most: u64,
    boot: &[u8],
    ranges: &mut Ranges,
) -> io::Result<()> {
    let sector = u16_at(boot, 11);
    let cluster = u64::from(boot[13]) * sector;
    let table = u16_at(boot, 14) * sector;
    let data = table + u64::from(boot[16]) * u32_at(boot, 36) * sector;
    let size = u32_at(boot, 32) * sector;
    if !matches!(sector, 512 | 1024 | 2048 | 4096) || cluster == 0 || data > size || size > most {
        return Ok(());
    }
    let clusters = (size - data) / cluster;
    let mut window = vec![0; 64 << 10];
    let mut number = 2;
    while number < clusters + 2 {
        let here = (clusters + 2 - number).min(window.len() as u64 / 4);
        let bytes = &mut window[..usize::try_from(here * 4).map_err(io::Error::other)?];
        read(start + table + number * 4, bytes)?;
        for (entry, n) in bytes.chunks_exact(4).zip(number..) {
            // The upper four bits are reserved.
            if u32_at(entry, 0) & 0x0fff_ffff == 0 {
                ranges.add(start + data + (n - 2) * cluster, cluster);
            }
        }
        number += here;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::free;

    #[test]
    fn a_few_bytes_cannot_ask_for_hours() {
        // 4 billion blocks in groups of one, and 4 billion clusters of a byte.
        let mut ext = vec![0; 1 << 20];
        ext[1024 + 4..1024 + 8].fill(0xff);
        ext[1024 + 32] = 1;
        ext[1024 + 56..1024 + 58].copy_from_slice(&[0x53, 0xef]);
        let mut fat = vec![0; 1 << 20];
        (fat[11], fat[13]) = (1, 1);
        fat[32..36].fill(0xff);
        fat[82..90].copy_from_slice(b"FAT32   ");
        fat[510..512].copy_from_slice(&[0x55, 0xaa]);
        for disk in [ext, fat] {
            let reads = std::cell::Cell::new(0);
            let read = |at: u64, buf: &mut [u8]| {
                reads.set(reads.get() + 1);
                assert!(reads.get() < 1000);
                buf.fill(0);
                let at = usize::try_from(at).unwrap().min(disk.len());
                let n = buf.len().min(disk.len() - at);
                buf[..n].copy_from_slice(&disk[at..at + n]);
                Ok(())
            };
            let size = disk.len() as u64;
            assert!(free(&read, size, &[0, u64::MAX]).unwrap().is_empty());
        }
    }

    #[test]
    fn what_is_not_known_has_no_free_space() {
        let noise: Vec<u8> = (0..9000_u32).map(|n| (n * 7 % 251) as u8).collect();
        for disk in [vec![0; 9000], noise] {
            let read = |at: u64, buf: &mut [u8]| {
                let at = usize::try_from(at).unwrap();
                buf.copy_from_slice(&disk[at..at + buf.len()]);
                Ok(())
            };
            assert!(free(&read, 9000, &[0, 4096]).unwrap().is_empty());
        }
    }
}
