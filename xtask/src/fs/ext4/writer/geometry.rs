//! Sizes of the file system's parts: its block groups, and the metadata that each of them needs.
//!
//! Sources: Linux Documentation/filesystems/ext4/blockgroup.rst; e2fsprogs lib/ext2fs/initialize.c
//! for the choices of mke2fs.

use super::areas::{Area, Places};
use super::options::{Inodes, Journal, Options};
use super::{Error, INODE_SIZE};
use std::ops::Range;

/// Number of block groups whose bitmaps and tables are stored together (`flex_bg`; mke2fs: 16).
pub(super) const FLEX: u64 = 16;

/// A last group with fewer blocks than its own metadata plus this number is left out (mke2fs).
const LEAST_TAIL: u64 = 50;

/// (file system size, journal size) in blocks: the journal size is used from that size on
/// (e2fsprogs lib/ext2fs/mkjournal.c, `ext2fs_default_journal_size`).
const JOURNALS: [(u64, u64); 8] = [
    (2048, 1024),
    (32768, 4096),
    (262_144, 8192),
    (524_288, 16384),
    (4_194_304, 32768),
    (8_388_608, 65536),
    (16_777_216, 131_072),
    (33_554_432, 262_144),
];

/// Journal blocks per block for fast commits (`EXT2_JOURNAL_TO_FC_BLKS_RATIO`).
const FAST_COMMITS: u64 = 64;

/// Sizes and locations. All are in blocks unless stated otherwise.
#[derive(Debug, Clone)]
pub struct Geometry {
    /// Block size in bytes.
    pub(super) block: u64,
    /// The first block that belongs to a group.
    pub(super) first: u64,
    pub(super) blocks: u64,
    pub(super) per_group: u64,
    pub(super) groups: u64,
    pub(super) inodes_per_group: u64,
    /// Blocks of a group's inode table.
    pub(super) table: u64,
    /// Size of a group descriptor in bytes.
    pub(super) descriptor: u64,
    pub(super) descriptors: u64,
    /// Whether the group descriptors are distributed over the file system.
    pub(super) meta_bg: bool,
    /// With `sparse_super2`, the groups that have a superblock besides the first one; 0: none
    /// (`s_backup_bgs`).
    pub(super) backups: Option<[u64; 2]>,
    pub(super) reserved: u64,
    /// Blocks of the journal, including those for fast commits.
    pub(super) journal: u64,
    pub(super) fast_commits: u64,
    pub(super) places: Vec<Places>,
    /// Metadata areas, ascending and disjoint.
    pub(super) areas: Vec<Area>,
}

/// Most groups with `meta_bg` and `64bit`: 1 PiB with blocks of 4 KiB. A group needs about 100 bytes
/// of memory.
const MOST_GROUPS: u64 = 1 << 23;

/// Whether a group has a superblock and group descriptors (`sparse_super`): 0, 1, and the powers of
/// 3, 5 and 7.
pub fn has_super(group: u64) -> bool {
    let power_of = |base: u64| {
        let mut n = group;
        while n > 1 && n.is_multiple_of(base) {
            n /= base;
        }
        n == 1
    };
    group < 2 || power_of(3) || power_of(5) || power_of(7)
}

impl Geometry {
    /// The geometry of a file system with these options.
    ///
    /// Fails if it is too small or too large, or cannot have the requested number of inodes.
    pub fn new(options: &Options) -> Result<Geometry, Error> {
        options.check()?;
        let block = u64::from(options.block_size);
        let first = u64::from(block == 1024);
        let too_small = Error::TooSmall { size: options.size };
        let blocks = options.size / block;
        let most = if options.features.bits64 && options.features.meta_bg {
            MOST_GROUPS * (8 * block).min(65528)
        } else if options.features.bits64 {
            // Group descriptors must fit into a group.
            (8 * block).min(65528) * ((8 * block).min(65528) / 2) * (block / 64)
        } else {
            u64::from(u32::MAX)
        };
        if blocks > most {
            return Err(Error::TooLarge {
                size: options.size,
                limit: most * block,
            });
        }
        let mut geometry = Geometry {
            block,
            first,
            blocks,
            // Counts in group descriptors have 16 bits (e2fsprogs, EXT2_MAX_BLOCKS_PER_GROUP).
            per_group: (8 * block).min(65528),
            groups: 0,
            inodes_per_group: 0,
            table: 0,
            descriptor: if options.features.bits64 { 64 } else { 32 },
            descriptors: 0,
            meta_bg: options.features.meta_bg,
            backups: None,
            reserved: 0,
            journal: 0,
            fast_commits: 0,
            places: Vec::new(),
            areas: Vec::new(),
        };
        loop {
            if geometry.blocks < 64 {
                return Err(too_small);
            }
            geometry.cut(options)?;
            let last = geometry.groups - 1;
            let left = geometry.group_len(last);
            if left >= geometry.base(last) + LEAST_TAIL {
                break;
            }
            geometry.blocks -= left;
        }
        geometry.journal = match options.journal {
            Journal::None => 0,
            Journal::Blocks(blocks) => blocks.into(),
            Journal::Auto => JOURNALS
                .iter()
                .rev()
                .find(|(from, _)| geometry.blocks >= *from)
                .map_or(0, |(_, journal)| *journal),
        };
        for (wanted, one) in [
            (options.features.orphan_file, "orphan_file"),
            (options.features.fast_commit, "fast_commit"),
        ] {
            if wanted && geometry.journal == 0 {
                return Err(Error::Together {
                    one,
                    other: "no journal",
                    why: "it is a part of journaling",
                });
            }
        }
        if options.features.fast_commit {
            // The rest of the log must be long enough (Linux fs/jbd2/journal.c,
            // `jbd2_journal_initialize_fast_commit`).
            geometry.fast_commits = geometry.journal / FAST_COMMITS;
            geometry.journal += geometry.fast_commits;
        }
        geometry.arrange().ok_or(too_small)?;
        Ok(geometry)
    }

    /// Sizes that follow from the number of blocks.
    fn cut(&mut self, options: &Options) -> Result<(), Error> {
        self.groups = (self.blocks - self.first).div_ceil(self.per_group);
        self.backups = options.features.sparse_super2.then(|| match self.groups {
            0 | 1 => [0, 0],
            2 => [1, 0],
            groups => [1, groups - 1],
        });
        let wanted = match options.inodes {
            Inodes::Count(n) => u64::from(n),
            Inodes::BytesEach(n) => {
                (self.blocks * self.block / u64::from(n)).min(u64::from(u32::MAX))
            }
        };
        let in_block = self.block / INODE_SIZE;
        // At most the number of bits in a bitmap block, and a number that fits into 16 bits.
        let most = (8 * self.block).min(65536 - in_block);
        let unit = in_block.max(8);
        self.inodes_per_group = wanted.max(16).div_ceil(self.groups).next_multiple_of(unit);
        if self.inodes_per_group > most {
            return Err(Error::TooManyInodes {
                wanted,
                limit: most * self.groups,
            });
        }
        if self.inodes_per_group * self.groups > u64::from(u32::MAX) {
            self.inodes_per_group -= unit;
        }
        self.table = self.inodes_per_group / in_block;
        self.descriptors = (self.groups * self.descriptor).div_ceil(self.block);
        self.reserved = self.reserved_for(options.grow_to);
        Ok(())
    }

    /// Blocks to reserve so that group descriptors can grow to `bytes` bytes.
    fn reserved_for(&self, bytes: u64) -> u64 {
        if self.blocks > u64::from(u32::MAX) || bytes == 0 {
            // The block numbers in that inode have 32 bits.
            return 0;
        }
        let blocks = (bytes / self.block)
            .min(u64::from(u32::MAX))
            .max(self.blocks);
        let groups = (blocks - self.first).div_ceil(self.per_group);
        let in_block = self.block / self.descriptor;
        // One block of the inode holds the numbers of all (EXT2_ADDR_PER_BLOCK).
        (groups.div_ceil(in_block) - self.descriptors.min(groups.div_ceil(in_block)))
            .min(self.block / 4)
    }

    /// First block of a group.
    pub(super) fn group_start(&self, group: u64) -> u64 {
        self.first + group * self.per_group
    }

    /// Number of blocks of a group.
    pub(super) fn group_len(&self, group: u64) -> u64 {
        self.per_group
            .min(self.blocks.saturating_sub(self.group_start(group)))
    }

    /// Whether a group has a superblock.
    pub(super) fn has_super(&self, group: u64) -> bool {
        match self.backups {
            Some(backups) => group == 0 || backups.contains(&group),
            None => has_super(group),
        }
    }

    /// The blocks of group descriptors that a group has: all of them after a superblock; with
    /// `meta_bg`, only the one that describes it, in the first two and the last of the groups that
    /// this block describes (Linux fs/ext4/balloc.c, `ext4_bg_num_gdb_meta`).
    pub(super) fn descriptors_in(&self, group: u64) -> Range<u64> {
        if !self.meta_bg {
            return 0..if self.has_super(group) {
                self.descriptors
            } else {
                0
            };
        }
        let described = self.block / self.descriptor;
        let (n, place) = (group / described, group % described);
        if place < 2 || place + 1 == described {
            n..n + 1
        } else {
            n..n
        }
    }

    /// Blocks at the start of a group: superblock, descriptors and the blocks reserved for them.
    pub(super) fn base(&self, group: u64) -> u64 {
        let descriptors = self.descriptors_in(group);
        let reserved = if self.has_super(group) {
            1 + self.reserved
        } else {
            0
        };
        reserved + descriptors.end - descriptors.start
    }

    /// The group of a block.
    pub(super) fn group_of(&self, block: u64) -> u64 {
        block.saturating_sub(self.first) / self.per_group
    }

    /// Number of inodes of the file system.
    pub fn inodes(&self) -> u64 {
        self.groups * self.inodes_per_group
    }

    /// Size in bytes; a little less than requested if the last group is too small.
    pub fn size(&self) -> u64 {
        self.blocks * self.block
    }

    /// Blocks after each copy of the group descriptors that are reserved for more of them.
    pub fn reserved(&self) -> u64 {
        self.reserved
    }

    /// Blocks of metadata (`s_overhead_clusters`): all except those of files and directories.
    pub fn overhead(&self) -> u64 {
        let areas: u64 = self.areas.iter().map(|a| a.len).sum();
        self.first + areas + self.journal
    }
}
