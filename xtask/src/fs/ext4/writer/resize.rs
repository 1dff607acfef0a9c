//! The resize inode: it owns the blocks that are reserved for group descriptors, those of the first
//! group and their backups, so that the kernel can add descriptors.
//!
//! Source: e2fsprogs lib/ext2fs/res_gdt.c (`ext2fs_create_resize_inode`), Linux fs/ext4/
//! resize.c (`reserve_backup_gdb`).

use super::bytes::{high32, index, low32, put_lo, put16, put32};
use super::volume::Volume;

/// Number of direct blocks of an inode without extents, and the index of the double indirect one.
const DIRECT: u64 = 12;
const DOUBLE: usize = 13;

impl Volume {
    /// Groups with backups of the descriptors: usually 1, 3, 5, 7, 9 and so on.
    fn backups(&self) -> impl Iterator<Item = u64> {
        (1..self.geometry.groups).filter(|g| self.geometry.has_super(*g))
    }

    /// Makes the inode, without its checksum.
    pub(super) fn resize_inode(&self, area: &mut [u8]) {
        let geometry = &self.geometry;
        put16(area, 0, 0x8180);
        // The size that direct, indirect and double indirect blocks can cover.
        let in_block = geometry.block / 4;
        let size = (in_block * in_block + in_block + DIRECT) * geometry.block;
        put_lo(area, 0x04, size);
        put32(area, 0x6c, high32(size));
        self.volume_times(area, true);
        put16(area, 0x1a, 1);
        let blocks = 1 + geometry.reserved * (1 + self.backups().count() as u64);
        put_lo(area, 0x1c, blocks * (geometry.block / 512));
        let double = low32(self.placed.resize.unwrap_or(0));
        put32(area, 0x28 + DOUBLE * 4, double);
    }

    /// Its double indirect block: it points to the first group's blocks, each at the position that
    /// it would have among all descriptors.
    pub(super) fn resize_block(&self, block: &mut [u8]) {
        let geometry = &self.geometry;
        let start = geometry.first + 1 + geometry.descriptors;
        for n in 0..geometry.reserved {
            let place = (geometry.descriptors + n) % (geometry.block / 4);
            put32(block, index(place) * 4, low32(start + n));
        }
    }

    /// Block `n` of those reserved in the first group: it points to its own backups.
    pub(super) fn reserved_block(&self, n: u64, block: &mut [u8]) {
        let geometry = &self.geometry;
        let start = geometry.first + 1 + geometry.descriptors + n;
        for (slot, group) in self.backups().enumerate() {
            put32(block, slot * 4, low32(start + group * geometry.per_group));
        }
    }
}
