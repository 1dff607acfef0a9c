//! Extents: where the blocks of a file are.
//!
//! Source: Linux Documentation/filesystems/ext4/ifork.rst, "Extent Tree"; fs/ext4/
//! ext4_extents.h.

use super::bytes::{crc, high32, index, low16, put_lo, put16, put32};

/// Longest extent in blocks (`EXT_INIT_MAX_LEN`).
pub(super) const LONGEST: u64 = 32768;

/// Length of a header and of an entry in bytes.
const SIZE: usize = 12;

/// Number of entries in an inode.
pub(super) const IN_INODE: u64 = 4;

/// Number of entries in a block.
fn in_block(block: usize) -> u64 {
    ((block - SIZE) / SIZE) as u64
}

/// A contiguous run of blocks of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// Number of its first block in the file.
    pub(super) logical: u64,
    /// Number of its first block in the file system.
    pub(super) start: u64,
    /// Number of blocks.
    pub(super) len: u64,
}

/// Maps the runs of a file, as (first block in it, blocks), to the runs of the file system where
/// they are stored. Both must have the same number of blocks.
pub(super) fn pair(
    logical: impl Iterator<Item = (u64, u64)>,
    mut physical: impl Iterator<Item = (u64, u64)>,
) -> impl Iterator<Item = Extent> {
    let mut logical = logical;
    let (mut here, mut there) = ((0, 0), (0, 0));
    std::iter::from_fn(move || {
        if here.1 == 0 {
            here = logical.find(|run| run.1 > 0)?;
        }
        if there.1 == 0 {
            there = physical.find(|run| run.1 > 0)?;
        }
        let len = here.1.min(there.1).min(LONGEST);
        let extent = Extent {
            logical: here.0,
            start: there.0,
            len,
        };
        here = (here.0 + len, here.1 - len);
        there = (there.0 + len, there.1 - len);
        Some(extent)
    })
}

/// Number of blocks in each level of the tree over `extents` extents, the lowest first, without the
/// level in the inode.
fn levels(extents: u64, block: usize) -> Vec<u64> {
    let mut levels = Vec::new();
    let mut count = extents;
    while count > IN_INODE {
        count = count.div_ceil(in_block(block));
        levels.push(count);
    }
    levels
}

/// Number of blocks of the tree over `extents` extents.
pub(super) fn tree_blocks(extents: u64, block: usize) -> u64 {
    levels(extents, block).iter().sum()
}

fn header(area: &mut [u8], entries: usize, most: usize, depth: usize) {
    put16(area, 0, 0xf30a);
    put16(area, 2, low16(entries as u64));
    put16(area, 4, low16(most as u64));
    put16(area, 6, low16(depth as u64));
}

fn put_extent(area: &mut [u8], at: usize, extent: &Extent) {
    put_lo(area, at, extent.logical);
    put16(area, at + 4, low16(extent.len));
    put16(area, at + 6, low16(high32(extent.start).into()));
    put_lo(area, at + 8, extent.start);
}

/// The extent tree of a file: `i_block` of its inode, and its blocks.
pub(super) struct Tree {
    /// The first block in the file that each block of the lowest level covers.
    firsts: Vec<u64>,
    levels: Vec<u64>,
    /// Location of each block of the tree, the lowest level first.
    places: Vec<u64>,
    block: usize,
}

impl Tree {
    /// The tree over these extents; its own blocks are at `places`.
    pub(super) fn new(
        extents: impl Iterator<Item = Extent>,
        places: Vec<u64>,
        block: usize,
    ) -> Tree {
        let mut count = 0;
        let mut firsts = Vec::new();
        for extent in extents {
            if count % in_block(block) == 0 {
                firsts.push(extent.logical);
            }
            count += 1;
        }
        Tree {
            firsts,
            levels: levels(count, block),
            places,
            block,
        }
    }

    /// The tree of a file whose extents are all in its inode.
    pub(super) fn flat(block: usize) -> Tree {
        Tree {
            firsts: Vec::new(),
            levels: Vec::new(),
            places: Vec::new(),
            block,
        }
    }

    /// The first block in the file that block `n` of a level covers.
    fn first(&self, level: usize, n: u64) -> u64 {
        let mut n = n;
        for _ in 0..level {
            n *= in_block(self.block);
        }
        self.firsts.get(index(n)).copied().unwrap_or(0)
    }

    /// Writes entries that point to blocks `from` to `to` of a level.
    fn indices(&self, area: &mut [u8], level: usize, from: u64, to: u64) {
        let before: u64 = self.levels[..level].iter().sum();
        for (slot, n) in (from..to).enumerate() {
            let at = SIZE + slot * SIZE;
            let place = self.places.get(index(before + n)).copied().unwrap_or(0);
            put_lo(area, at, self.first(level, n));
            put_lo(area, at + 4, place);
            put16(area, at + 8, low16(high32(place).into()));
        }
    }

    /// Makes `i_block`, the 60 bytes in the inode.
    pub(super) fn in_inode(&self, area: &mut [u8], extents: impl Iterator<Item = Extent>) {
        let depth = self.levels.len();
        match self.levels.last() {
            Some(&top) => {
                self.indices(area, depth - 1, 0, top);
                header(area, index(top), index(IN_INODE), depth);
            }
            None => {
                let mut count = 0;
                for extent in extents.take(index(IN_INODE)) {
                    put_extent(area, SIZE + count * SIZE, &extent);
                    count += 1;
                }
                header(area, count, index(IN_INODE), 0);
            }
        }
    }

    /// Makes each block of the tree with its checksum, the lowest level first: `each` gets its
    /// number in the tree and its bytes.
    pub(super) fn blocks<E>(
        &self,
        mut extents: impl Iterator<Item = Extent>,
        seed: u32,
        mut each: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let most = in_block(self.block);
        let mut number = 0;
        let mut block = vec![0; self.block];
        for (level, &blocks) in self.levels.iter().enumerate() {
            for n in 0..blocks {
                block.fill(0);
                let mut count = 0;
                if level == 0 {
                    for extent in extents.by_ref().take(index(most)) {
                        put_extent(&mut block, SIZE + count * SIZE, &extent);
                        count += 1;
                    }
                } else {
                    let to = ((n + 1) * most).min(self.levels[level - 1]);
                    self.indices(&mut block, level - 1, n * most, to);
                    count = index(to - n * most);
                }
                header(&mut block, count, index(most), level);
                let end = SIZE + index(most) * SIZE;
                let sum = crc(seed, &block[..end]);
                put32(&mut block, end, sum);
                each(number, &block)?;
                number += 1;
            }
        }
        Ok(())
    }
}
