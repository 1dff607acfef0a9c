//! Directories: their entries, and the hash tree of large ones.
//!
//! Source: Linux Documentation/filesystems/ext4/directory.rst; fs/ext4/namei.c for the meaning of
//! the index's levels and hashes.

use super::bytes::{crc, index, put16, put32};
use super::hash::{Hash, hash, seed};
use super::node::{Entry, FAST_LINK, Type, name_at};
use super::options::Options;

/// Length in bytes of the checksum's entry at the end of a block (`ext4_dir_entry_tail`).
const TAIL: usize = 12;

/// Length in bytes of `.` and `..`, the latter without the rest of its block.
const DOTS: usize = 24;

/// Bytes before the entries of the index: in its root, and in its other blocks.
const ROOT_HEAD: usize = 32;
const NODE_HEAD: usize = 8;

/// Length of an index entry in bytes.
const INDEX: usize = 8;

/// Length in bytes of an entry with a name of `name` bytes.
fn entry_len(name: usize) -> usize {
    (8 + name).next_multiple_of(4)
}

/// The type of a node in directory entries (`EXT4_FT_*`).
fn type_number(kind: Type) -> u8 {
    match kind {
        Type::File | Type::Small | Type::Journal | Type::Orphans | Type::Value => 1,
        Type::Dir => 2,
        Type::Char => 3,
        Type::Block => 4,
        Type::Fifo => 5,
        Type::Socket => 6,
        Type::Symlink => 7,
    }
}

/// Parameters for laying out a directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names<'a> {
    pub(super) names: &'a [u8],
    /// Block size in bytes.
    pub(super) block: usize,
    /// Target fill of blocks, in percent.
    pub(super) fill: usize,
    /// Seed of the hash.
    pub(super) seed: [u32; 4],
    /// Largest number of index levels, not counting the root.
    pub(super) levels: usize,
}

/// The block structure of a directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shape {
    /// Number of blocks in each level of the index below its root, the upper level first. If empty,
    /// the root points directly to the entries.
    levels: Vec<usize>,
    /// For each block of entries, its first entry and its lowest hash. Empty if the directory is
    /// one block without an index.
    leaves: Vec<(u32, u32)>,
}

impl Shape {
    /// Whether it has an index.
    pub(super) fn indexed(&self) -> bool {
        !self.leaves.is_empty()
    }

    /// Number of blocks of the directory.
    pub(super) fn blocks(&self) -> u64 {
        let index: usize = self.levels.iter().sum();
        (1 + index + self.leaves.len()) as u64
    }
}

impl<'a> Names<'a> {
    pub(super) fn new(names: &'a [u8], options: &Options) -> Names<'a> {
        Names {
            names,
            block: options.block_size as usize,
            fill: usize::from(options.leaf_fill),
            seed: seed(&options.hash_seed),
            levels: if options.features.large_dir { 2 } else { 1 },
        }
    }

    fn name(&self, entry: Entry) -> &'a [u8] {
        name_at(self.names, entry)
    }

    fn hash(&self, entry: Entry) -> Hash {
        hash(&self.seed, self.name(entry))
    }

    /// Whether all entries, `.` and `..` fit into one block.
    fn one_block(&self, entries: &[Entry]) -> bool {
        let bytes = entries.iter().try_fold(DOTS + TAIL, |sum, e| {
            let sum = sum + entry_len(self.name(*e).len());
            (sum <= self.block).then_some(sum)
        });
        bytes.is_some()
    }

    /// Whether a directory with these entries has an index.
    pub(super) fn indexed(&self, entries: &[Entry]) -> bool {
        !self.one_block(entries)
    }

    /// Length in bytes of the directory if it is stored in an inode that has room for `room` bytes
    /// after the first 60; `None` if it does not fit.
    pub(super) fn inline_len(&self, entries: &[Entry], room: usize) -> Option<usize> {
        let (mut left, mut more) = (FAST_LINK - 4, 0);
        for entry in entries {
            let len = entry_len(self.name(*entry).len());
            match left.checked_sub(len) {
                Some(rest) if more == 0 => left = rest,
                _ => more += len,
            }
            if more > room {
                return None;
            }
        }
        Some(FAST_LINK + more)
    }

    /// Sorts entries in the order in which they are stored: by name in a single block, otherwise by
    /// hash, which is also the order in which the kernel lists them.
    pub(super) fn sort(&self, entries: &mut [Entry]) {
        if self.one_block(entries) {
            entries.sort_unstable_by(|a, b| self.name(*a).cmp(self.name(*b)));
        } else {
            entries.sort_by_cached_key(|e| (self.hash(*e), self.name(*e)));
        }
    }

    /// Finds two neighbours with the same name in sorted entries.
    pub(super) fn twice(&self, entries: &[Entry]) -> Option<Entry> {
        let pair = entries
            .windows(2)
            .find(|w| self.name(w[0]) == self.name(w[1]));
        pair.map(|w| w[1])
    }

    /// The block structure for these entries, which must be sorted. If the index is too small, the
    /// error is the number of entry blocks and the number that the index can reach.
    pub(super) fn shape(&self, entries: &[Entry]) -> Result<Shape, (u64, u64)> {
        let mut shape = Shape {
            levels: Vec::new(),
            leaves: Vec::new(),
        };
        if self.one_block(entries) {
            return Ok(shape);
        }
        let room = self.block - TAIL;
        let wanted = room * self.fill / 100;
        let mut used = usize::MAX;
        for (n, entry) in entries.iter().enumerate() {
            let len = entry_len(self.name(*entry).len());
            let full = used.saturating_add(len) > room || used >= wanted;
            if full {
                let (mut major, _) = self.hash(*entry);
                if n > 0 && self.hash(entries[n - 1]).0 == major {
                    // Names with this hash begin in the previous block (namei.c, `do_split`).
                    major |= 1;
                }
                // The number fits into `u32`, see `Builder::name`.
                shape
                    .leaves
                    .push((u32::try_from(n).unwrap_or(u32::MAX), major));
                used = 0;
            }
            used += len;
        }
        let leaves = shape.leaves.len();
        let (root, node) = self.limits();
        let mut most = root;
        for _ in 0..=self.levels {
            if leaves <= most {
                // Number of blocks in each level, from the lowest one up.
                let mut below = leaves;
                while below > root {
                    below = below.div_ceil(node);
                    shape.levels.insert(0, below);
                }
                return Ok(shape);
            }
            most *= node;
        }
        Err((leaves as u64, (most / node) as u64))
    }

    /// Number of index entries in the root and in the other blocks: the checksum uses the room of
    /// one.
    fn limits(&self) -> (usize, usize) {
        (
            (self.block - ROOT_HEAD) / INDEX - 1,
            (self.block - NODE_HEAD) / INDEX - 1,
        )
    }
}

/// A directory that is being written.
pub(super) struct Dir<'a, F> {
    pub(super) names: Names<'a>,
    pub(super) entries: &'a [Entry],
    pub(super) shape: Shape,
    /// Its inode, and that of its parent.
    pub(super) inode: u32,
    pub(super) parent: u32,
    /// Seed of the checksums of everything that belongs to its inode.
    pub(super) seed: u32,
    /// Returns inode and type of a node.
    pub(super) target: F,
}

impl<F: Fn(u32) -> (u32, Type)> Dir<'_, F> {
    /// Fills block number `n` of the directory; `block` must be zero.
    pub(super) fn block(&self, n: u64, block: &mut [u8]) {
        let n = index(n);
        let index_blocks: usize = self.shape.levels.iter().sum();
        if !self.shape.indexed() {
            if n == 0 {
                let at = self.dots(block, DOTS - 12);
                self.list(block, at, self.entries);
            } else {
                self.list(block, 0, &[]);
            }
        } else if n == 0 {
            self.root(block);
        } else if n <= index_blocks {
            self.node(n, block);
        } else {
            let leaves = &self.shape.leaves;
            let leaf = n - 1 - index_blocks;
            let start = leaves.get(leaf).map_or(0, |l| l.0 as usize);
            let end = leaves
                .get(leaf + 1)
                .map_or(self.entries.len(), |l| l.0 as usize);
            let entries = self.entries.get(start..end).unwrap_or_default();
            self.list(block, 0, entries);
        }
    }

    /// Writes `.` and `..`, whose entry is `rest` bytes long. Returns the offset of the next entry.
    fn dots(&self, block: &mut [u8], rest: usize) -> usize {
        put32(block, 0, self.inode);
        put16(block, 4, 12);
        (block[6], block[7]) = (1, 2);
        block[8] = b'.';
        put32(block, 12, self.parent);
        put16(block, 16, rec_len(rest));
        (block[18], block[19]) = (2, 2);
        block[20..22].copy_from_slice(b"..");
        DOTS
    }

    /// Writes entries from offset `at` on, and the checksum.
    fn list(&self, block: &mut [u8], at: usize, entries: &[Entry]) {
        let room = block.len() - TAIL;
        self.fill(&mut block[..room], at, entries);
        put16(block, room + 4, rec_len(TAIL));
        block[room + 7] = 0xde;
        let sum = crc(self.seed, &block[..room]);
        put32(block, room + 8, sum);
    }

    /// Writes the contents of a directory in its inode: its parent, the entries that fit into the
    /// first 60 bytes, and the others (Linux fs/ext4/inline.c).
    pub(super) fn inline(&self, bytes: &mut [u8]) {
        let (in_block, more) = bytes.split_at_mut(FAST_LINK);
        put32(in_block, 0, self.parent);
        let mut left = FAST_LINK - 4;
        let fits = |e: &Entry| {
            let len = entry_len(self.names.name(*e).len());
            left = left.checked_sub(len)?;
            Some(())
        };
        let first = self.entries.iter().map_while(fits).count();
        self.fill(&mut in_block[4..], 0, &self.entries[..first]);
        if !more.is_empty() {
            self.fill(more, 0, &self.entries[first..]);
        }
    }

    /// Writes entries from offset `at` on; the last one extends to the end.
    fn fill(&self, block: &mut [u8], mut at: usize, entries: &[Entry]) {
        // Offset of the last entry's length, which is extended to the end of the block.
        let mut last = at.checked_sub(12);
        for entry in entries {
            let name = self.names.name(*entry);
            let (inode, kind) = (self.target)(entry.node);
            let len = entry_len(name.len());
            put32(block, at, inode);
            put16(block, at + 4, rec_len(len));
            block[at + 6] = u8::try_from(name.len()).unwrap_or(u8::MAX);
            block[at + 7] = type_number(kind);
            block[at + 8..at + 8 + name.len()].copy_from_slice(name);
            last = Some(at);
            at += len;
        }
        let last = last.unwrap_or(0);
        put16(block, last + 4, rec_len(block.len() - last));
    }

    /// Writes the root of the index.
    fn root(&self, block: &mut [u8]) {
        self.dots(block, block.len() - 12);
        // half_md4; the superblock says whether letters are signed.
        block[28] = 1;
        block[29] = 8;
        block[30] = u8::try_from(self.shape.levels.len()).unwrap_or(u8::MAX);
        self.pointers(block, ROOT_HEAD, self.names.limits().0, 0, 0);
    }

    /// Writes another block of the index.
    fn node(&self, n: usize, block: &mut [u8]) {
        put16(block, 4, rec_len(block.len()));
        let (mut first, mut level) = (1, 0);
        while n >= first + self.shape.levels[level] {
            first += self.shape.levels[level];
            level += 1;
        }
        let limit = self.names.limits().1;
        self.pointers(block, NODE_HEAD, limit, level + 1, n - first);
    }

    /// Number of blocks at a level of the index; after the last level come the blocks of entries.
    fn at_level(&self, level: usize) -> usize {
        let levels = &self.shape.levels;
        levels
            .get(level)
            .copied()
            .unwrap_or(self.shape.leaves.len())
    }

    /// The first block of `level` that belongs to block `n` of the level above: blocks are
    /// distributed evenly.
    fn child(&self, level: usize, n: usize) -> usize {
        let above = if level == 0 {
            1
        } else {
            self.at_level(level - 1)
        };
        (self.at_level(level) * n).div_ceil(above)
    }

    /// The lowest hash of the names below a block.
    fn hash_at(&self, mut level: usize, mut n: usize) -> u32 {
        while level < self.shape.levels.len() {
            n = self.child(level + 1, n);
            level += 1;
        }
        self.shape.leaves.get(n).map_or(0, |l| l.1)
    }

    /// Writes the index entries of a block that points to `level`, and their checksum.
    fn pointers(&self, block: &mut [u8], at: usize, limit: usize, level: usize, n: usize) {
        let before: usize = 1 + self.shape.levels.iter().take(level).sum::<usize>();
        let children = self.child(level, n)..self.child(level, n + 1);
        let count = children.len();
        for (slot, child) in children.enumerate() {
            let here = at + slot * INDEX;
            if slot > 0 {
                put32(block, here, self.hash_at(level, child));
            }
            let number = u32::try_from(before + child).unwrap_or(u32::MAX);
            put32(block, here + 4, number);
        }
        // This is in the place of the first hash, which is not used.
        put16(block, at, u16::try_from(limit).unwrap_or(u16::MAX));
        put16(block, at + 2, u16::try_from(count).unwrap_or(u16::MAX));
        // Over the used bytes, and a tail whose checksum is 0 (`ext4_dx_csum`).
        let sum = crc(self.seed, &block[..at + count * INDEX]);
        put32(block, at + limit * INDEX + 4, crc(sum, &[0; 8]));
    }
}

/// The length of an entry as stored on disk: that of a whole block of 64 KiB does not fit
/// (`ext4_rec_len_to_disk`).
fn rec_len(len: usize) -> u16 {
    u16::try_from(len).unwrap_or(u16::MAX)
}
