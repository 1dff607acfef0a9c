//! Block groups: their bitmaps and descriptors.
//!
//! Sources: Linux Documentation/filesystems/ext4/bitmaps.rst and group_descr.rst.

use super::areas::{Area, What};
use super::bytes::{crc, index, put_lo, put16, put32};
use super::node::Type;
use super::volume::Volume;
use std::ops::Range;

/// `INODE_UNINIT`, `BLOCK_UNINIT` and `INODE_ZEROED` of a group descriptor.
const INODE_UNINIT: u16 = 1;
const BLOCK_UNINIT: u16 = 2;
const INODE_ZEROED: u16 = 4;

impl Volume {
    /// Used blocks of a group, as ranges relative to its start. They may overlap.
    fn used(&self, group: u64) -> Vec<Range<u64>> {
        let geometry = &self.geometry;
        let (start, len) = (geometry.group_start(group), geometry.group_len(group));
        let cut = |from: u64, to: u64| {
            from.clamp(start, start + len) - start..to.clamp(start, start + len) - start
        };
        let mut used = vec![cut(start, self.placed.end)];
        let first = geometry.areas.partition_point(|a| a.end() <= start);
        let areas = geometry.areas[first..].iter();
        used.extend(
            areas
                .take_while(|a| a.start < start + len)
                .map(|a| cut(a.start, a.end())),
        );
        used.retain(|r| !r.is_empty());
        used
    }

    /// Makes the block bitmap of a group. Bits after the group's end are set.
    pub(super) fn block_bitmap(&self, group: u64, bitmap: &mut [u8]) {
        bitmap.fill(0);
        for range in self.used(group) {
            set_bits(bitmap, range);
        }
        set_bits(
            bitmap,
            self.geometry.group_len(group)..self.geometry.block * 8,
        );
    }

    /// Number of used inodes of a group; they are its first ones.
    pub(super) fn used_inodes(&self, group: u64) -> u64 {
        let per_group = self.geometry.inodes_per_group;
        self.last_inode()
            .saturating_sub(group * per_group)
            .min(per_group)
    }

    /// Makes the inode bitmap of a group.
    pub(super) fn inode_bitmap(&self, group: u64, bitmap: &mut [u8]) {
        bitmap.fill(0);
        set_bits(bitmap, 0..self.used_inodes(group));
        set_bits(
            bitmap,
            self.geometry.inodes_per_group..self.geometry.block * 8,
        );
    }

    /// Whether a group's block bitmap need not be written: the group contains only what the kernel
    /// can derive.
    pub(super) fn block_uninit(&self, group: u64) -> bool {
        let geometry = &self.geometry;
        let (start, len) = (geometry.group_start(group), geometry.group_len(group));
        let own = |a: &&Area| {
            !matches!(
                a.what,
                What::Super(_) | What::Descriptors(_) | What::Reserved(_)
            )
        };
        let first = geometry.areas.partition_point(|a| a.end() <= start);
        let mut areas = geometry.areas[first..]
            .iter()
            .take_while(|a| a.start < start + len);
        group + 1 < geometry.groups && self.placed.end <= start && areas.find(own).is_none()
    }

    /// Makes the group descriptors.
    pub(super) fn describe(&mut self) {
        let geometry = &self.geometry;
        let size = index(geometry.descriptor);
        let mut table = vec![0; index(geometry.descriptors * geometry.block)];
        let mut dirs = vec![0_u32; index(geometry.groups)];
        for (node, inode) in self.nodes.iter().zip(&self.placed.inode_of) {
            if node.kind == Type::Dir {
                let group = u64::from(inode - 1) / geometry.inodes_per_group;
                dirs[index(group)] += 1;
            }
        }
        let mut bitmap = vec![0; index(geometry.block)];
        let mut all_free = 0;
        for group in 0..geometry.groups {
            let descriptor = &mut table[index(group) * size..][..size];
            let places = geometry.places[index(group)];
            let mut both = |value: u64, low: usize, high: usize| {
                put_lo(descriptor, low, value);
                if size == 64 {
                    put32(descriptor, high, super::bytes::high32(value));
                }
            };
            both(places.block_bitmap, 0, 0x20);
            both(places.inode_bitmap, 4, 0x24);
            both(places.table, 8, 0x28);
            let mut flags = INODE_ZEROED;
            let free = if self.block_uninit(group) {
                flags |= BLOCK_UNINIT;
                geometry.group_len(group) - geometry.base(group)
            } else {
                self.block_bitmap(group, &mut bitmap);
                let set: u64 = bitmap.iter().map(|b| u64::from(b.count_ones())).sum();
                let sum = crc(self.seed, &bitmap[..index(geometry.per_group / 8)]);
                put16(descriptor, 0x18, (sum & 0xffff) as u16);
                if size == 64 {
                    put16(descriptor, 0x38, (sum >> 16) as u16);
                }
                geometry.block * 8 - set
            };
            all_free += free;
            let used = self.used_inodes(group);
            if used == 0 {
                flags |= INODE_UNINIT;
            } else {
                self.inode_bitmap(group, &mut bitmap);
                let sum = crc(self.seed, &bitmap[..index(geometry.inodes_per_group / 8)]);
                put16(descriptor, 0x1a, (sum & 0xffff) as u16);
                if size == 64 {
                    put16(descriptor, 0x3a, (sum >> 16) as u16);
                }
            }
            let unused = geometry.inodes_per_group - used;
            // None of these counts is more than 65535, see `Geometry::new`.
            put16(descriptor, 0x0c, u16::try_from(free).unwrap_or(u16::MAX));
            put16(descriptor, 0x0e, u16::try_from(unused).unwrap_or(u16::MAX));
            let count = dirs[index(group)];
            put16(descriptor, 0x10, u16::try_from(count).unwrap_or(u16::MAX));
            put16(descriptor, 0x12, flags);
            put16(descriptor, 0x1c, u16::try_from(unused).unwrap_or(u16::MAX));
            let number = super::bytes::low32(group);
            let sum = crc(crc(self.seed, &number.to_le_bytes()), descriptor);
            put16(descriptor, 0x1e, (sum & 0xffff) as u16);
        }
        self.descriptors = table;
        self.free_blocks = all_free;
    }
}

/// Sets the bits of a bitmap in a range.
fn set_bits(bitmap: &mut [u8], range: Range<u64>) {
    let end = (bitmap.len() as u64 * 8).min(range.end);
    let mut bit = range.start;
    while bit < end {
        let byte = index(bit / 8);
        if bit.is_multiple_of(8) && bit + 8 <= end {
            let last = index(end / 8);
            bitmap[byte..last].fill(0xff);
            bit = end / 8 * 8;
        } else {
            bitmap[byte] |= 1 << (bit % 8);
            bit += 1;
        }
    }
}
