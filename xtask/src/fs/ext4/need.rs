//! How much of an ext4 file system a tree takes.

use super::{BLOCK, LARGEST, data_runs, is_dense};
use crate::rootfs::{Kind, NodeId, ROOT, Tree};
use crate::size::MIB;
use std::collections::HashSet;

/// Blocks in a block group: what one block of bitmap can describe.
const GROUP_BLOCKS: u64 = 8 * BLOCK;

/// Most inodes in a block group, for the same reason.
const GROUP_INODES: u64 = 8 * BLOCK;

/// Size of an inode in bytes.
const INODE: u64 = 256;

/// First free inode number; those below belong to the file system itself
/// (`EXT4_GOOD_OLD_FIRST_INO`, Linux fs/ext4/ext4.h).
const FIRST_INODE: u64 = 11;

/// Smallest file system in bytes: mkext4 wants four times the smallest journal.
const LEAST: u64 = 16 * MIB;

/// Sizes of journals in blocks, and from which size of the file system in blocks each holds
/// (e2fsprogs, lib/ext2fs/mkjournal.c, `ext2fs_default_journal_size`).
const JOURNALS: [(u64, u64); 8] = [
    (0, 1024),
    (32768, 4096),
    (262_144, 8192),
    (524_288, 16384),
    (4_194_304, 32768),
    (8_388_608, 65536),
    (16_777_216, 131_072),
    (33_554_432, 262_144),
];

/// Longest extent in blocks (`EXT_INIT_MAX_LEN`, Linux fs/ext4/ext4_extents.h).
const EXTENT_BLOCKS: u64 = 32768;

/// What a tree takes in an ext4 file system, apart from what the file system itself takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Need {
    /// Blocks of file contents, directories, long links and extended attributes. An upper
    /// bound that is exact for file contents.
    pub blocks: u64,
    /// Inodes, the file system's own included.
    pub inodes: u64,
    /// Bytes of file contents, holes not counted: for people, not for the layout.
    pub content: u64,
}

impl Need {
    /// What `tree` takes, if the files that `dense` tells of have no holes: see
    /// [`super::layout`]. Sums that are larger than any disk end at 2^64 - 1.
    pub fn of(tree: &Tree, dense: &[&str]) -> Need {
        // Inodes 1 to 10 and lost+found with its four blocks, and the root directory.
        let mut need = Need {
            blocks: 4,
            inodes: FIRST_INODE,
            content: 0,
        };
        need.add(tree, ROOT, false);
        let mut linked: HashSet<NodeId> = HashSet::new();
        let mut walk = tree.walk();
        while let Some((path, id)) = walk.step() {
            if tree.node(id).links() > 1 && !linked.insert(id) {
                continue;
            }
            need.inodes += 1;
            let dense = std::str::from_utf8(path).is_ok_and(|path| is_dense(path, dense));
            need.add(tree, id, dense);
        }
        need
    }

    fn add(&mut self, tree: &Tree, id: NodeId, dense: bool) {
        let node = tree.node(id);
        if node.xattrs.is_some() {
            self.blocks += 1;
        }
        match &node.kind {
            Kind::File(content) => {
                let (data, runs) = if dense {
                    (content.len(), 1)
                } else {
                    let runs = data_runs(content);
                    (runs.iter().map(|(_, len)| *len).sum(), runs.len() as u64)
                };
                let blocks = data.div_ceil(BLOCK);
                // Four extents fit into the inode; a leaf block holds 340 more.
                let extents = blocks.div_ceil(EXTENT_BLOCKS) * 2 + runs;
                let tree_blocks = if extents > 4 {
                    extents.div_ceil(170) + 1
                } else {
                    0
                };
                self.blocks = self.blocks.saturating_add(blocks + tree_blocks);
                self.content = self.content.saturating_add(data);
            }
            Kind::Dir(children) => {
                // A directory entry: 8 bytes and the name, rounded up to 4 (ext4_dir_entry_2).
                let bytes: u64 = 24
                    + children
                        .keys()
                        .map(|n| (8 + n.len() as u64).next_multiple_of(4))
                        .sum::<u64>();
                let linear = bytes.div_ceil(BLOCK - 300);
                // A hashed directory fills its blocks to three quarters at worst, and has
                // index blocks (one for about 500 leaves) besides.
                self.blocks += if linear == 1 {
                    1
                } else {
                    linear * 3 / 2 + linear / 400 + 2
                };
            }
            Kind::Symlink(target) if target.len() >= 60 => self.blocks += 1,
            _ => {}
        }
    }

    /// The smallest file system, in bytes, that surely holds this, as every larger one does: a
    /// multiple of 1 MiB.
    pub fn smallest(&self) -> u64 {
        self.smallest_with(0, 0)
    }

    /// The smallest file system, in bytes, that holds this and has `free` bytes for everybody
    /// besides, if `reserved_percent` of its blocks are root's: a multiple of 1 MiB.
    pub fn smallest_with(&self, free: u64, reserved_percent: u8) -> u64 {
        let blocks = self.blocks.saturating_add(free.div_ceil(BLOCK));
        if blocks > LARGEST / BLOCK {
            // More than any file system has: what it takes for itself does not matter.
            return blocks.saturating_mul(BLOCK) / MIB * MIB;
        }
        let mut size = LEAST;
        // Where the journal gets larger, a larger file system may hold less.
        for (from, _) in JOURNALS {
            if self.wanted(from * BLOCK, blocks, reserved_percent) > from * BLOCK {
                size = size.max(from * BLOCK);
            }
        }
        // Each round adds what the file system of the last round's size takes for itself;
        // that grows far slower than the size, so it settles within a few rounds.
        loop {
            let wanted = self.wanted(size, blocks, reserved_percent);
            if wanted <= size {
                return size;
            }
            size = wanted;
        }
    }

    /// What this, as `blocks` blocks, takes in a file system that has `size` bytes, in bytes.
    fn wanted(&self, size: u64, blocks: u64, reserved_percent: u8) -> u64 {
        let reserved = size / BLOCK * u64::from(reserved_percent) / 100;
        let wanted = (blocks + reserved + overhead(size, self.inodes)) * BLOCK;
        let for_inodes = if self.inodes > GROUP_INODES {
            self.inodes.div_ceil(GROUP_INODES) * GROUP_BLOCKS * BLOCK
        } else {
            0
        };
        wanted.max(for_inodes).next_multiple_of(MIB)
    }

    /// How many inodes a file system of `size` bytes shall have: mke2fs's usual one for 16 KiB
    /// of space, and always a quarter more than the content needs.
    pub fn inodes_for(&self, size: u64) -> u32 {
        let wanted = (size / 16384).max(self.inodes + self.inodes / 4 + 1024);
        let groups = (size / BLOCK).div_ceil(GROUP_BLOCKS);
        u32::try_from(wanted.min(groups * GROUP_INODES)).unwrap_or(u32::MAX)
    }
}

/// Blocks that a file system of `size` bytes takes for itself: superblock and group
/// descriptors with their backups (`sparse_super`), bitmaps, inode tables and the journal.
fn overhead(size: u64, inodes: u64) -> u64 {
    let blocks = size / BLOCK;
    let groups = blocks.div_ceil(GROUP_BLOCKS).max(1);
    let inodes = (size / 16384).max(inodes + inodes / 4 + 1024);
    let table = (inodes
        .div_ceil(groups)
        .next_multiple_of(16)
        .min(GROUP_INODES))
        * INODE
        / BLOCK;
    let descriptors = (groups * 32).div_ceil(BLOCK);
    // Backups lie in group 1 and in the powers of 3, 5 and 7.
    let power_of = |mut n: u64, base: u64| {
        while n.is_multiple_of(base) {
            n /= base;
        }
        n == 1
    };
    let backups = (1..groups)
        .filter(|&g| g == 1 || power_of(g, 3) || power_of(g, 5) || power_of(g, 7))
        .count() as u64;
    let journal = JOURNALS
        .iter()
        .rev()
        .find(|(from, _)| blocks >= *from)
        .map_or(0, |(_, journal)| *journal);
    (1 + backups) * (1 + descriptors) + groups * (2 + table) + journal + 8
}
