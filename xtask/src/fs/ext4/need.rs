//! How much space a tree needs in an ext4 file system.

use super::writer::{FIRST_INODE, Geometry, MOST_LINKS};
use super::{BLOCK, LARGEST, LARGEST_64BIT, Wishes, is_dense, options};
use crate::model::size::MIB;
use crate::rootfs::{Content, Kind, Node, NodeId, ROOT, Tree};
use std::collections::HashSet;

/// Blocks in a block group: one bitmap block has this number of bits.
const GROUP_BLOCKS: u64 = 8 * BLOCK;

/// Most inodes in a block group: one bitmap block has this number of bits.
const GROUP_INODES: u64 = 8 * BLOCK;

/// Size of the smallest file system in bytes.
const LEAST: u64 = 16 * MIB;

/// File system sizes in blocks from which the journal is larger (e2fsprogs lib/ext2fs/mkjournal.c,
/// `ext2fs_default_journal_size`).
const JOURNALS: [u64; 7] = [
    32768, 262_144, 524_288, 4_194_304, 8_388_608, 16_777_216, 33_554_432,
];

/// Longest extent in blocks (`EXT_INIT_MAX_LEN`, Linux fs/ext4/ext4_extents.h).
const EXTENT_BLOCKS: u64 = 32768;

/// Bytes of extended attributes that fit into an inode.
const IN_INODE: usize = 88;

/// Bytes of entries in each block of a large directory, except for the last one: the writer fills
/// at least nine tenths.
const LEAF: u64 = (BLOCK - 12) * 9 / 10;

/// What a tree needs in an ext4 file system, without the file system's own metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Need {
    /// Blocks of file contents, directories, long links and extended attributes. It is an upper
    /// bound, and exact for file contents.
    pub blocks: u64,
    /// Inodes, including those of the file system itself.
    pub inodes: u64,
    /// Bytes of file contents without holes: for messages, not for the layout.
    pub content: u64,
}

impl Need {
    /// What `tree` needs if it is stored with these wishes. Sums that are larger than any disk are
    /// capped at 2^64 - 1.
    pub fn of<'a>(tree: &Tree, wishes: impl Into<Wishes<'a>>) -> Need {
        Need::of_some(tree, &wishes.into(), |_| 1)
    }

    /// What copies of the directories at these canonical paths need, with everything in them. One
    /// may be inside of another: then it is copied twice.
    pub fn of_copies(tree: &Tree, paths: &[&str]) -> Need {
        Need::of_some(tree, &Wishes::default(), |path| {
            paths.iter().filter(|dir| is_dense(path, &[dir])).count()
        })
    }

    fn of_some(tree: &Tree, wishes: &Wishes<'_>, copies: impl Fn(&[u8]) -> usize) -> Need {
        // Inodes 1 to 10 and lost+found with its four blocks, and the root directory.
        let mut need = Need {
            blocks: 4,
            inodes: FIRST_INODE.into(),
            content: 0,
        };
        need.add(tree, ROOT, false);
        let mut linked: HashSet<NodeId> = HashSet::new();
        let mut walk = tree.walk();
        while let Some((path, id)) = walk.step() {
            let copies = copies(path);
            if copies == 0 || tree.node(id).links() > 1 && !linked.insert(id) {
                continue;
            }
            let times = match wishes.split_links {
                true => times(tree.node(id)) as usize,
                false => 1,
            };
            for _ in 0..times * copies {
                need.inodes += 1;
                need.add(tree, id, is_dense(path, wishes.dense));
            }
        }
        need
    }

    fn add(&mut self, tree: &Tree, id: NodeId, dense: bool) {
        let node = tree.node(id);
        self.blocks += attribute_blocks(node);
        match &node.kind {
            Kind::File(content) => {
                let (data, runs) = data(content, dense);
                let blocks = data.div_ceil(BLOCK);
                // A file is split where metadata of the file system is, which is at the start of
                // groups.
                let extents = (blocks.div_ceil(EXTENT_BLOCKS) + blocks / GROUP_BLOCKS + 1) + runs;
                // Four extents fit into the inode; a leaf block holds 340.
                let tree_blocks = if extents > 4 {
                    extents.div_ceil(340) + extents.div_ceil(340 * 340) + 1
                } else {
                    0
                };
                self.blocks = self.blocks.saturating_add(blocks + tree_blocks);
                self.content = self.content.saturating_add(data);
            }
            Kind::Dir(children) => {
                // A directory entry: 8 bytes and the name, rounded up to a multiple of 4
                // (ext4_dir_entry_2).
                let bytes: u64 = children
                    .keys()
                    .map(|n| (8 + n.len() as u64).next_multiple_of(4))
                    .sum();
                // `.`, `..` and the checksum.
                self.blocks += if bytes + 24 + 12 <= BLOCK {
                    1
                } else {
                    let leaves = bytes / LEAF + 1;
                    // The index: each of its blocks points to at least 255 others.
                    leaves + 1 + leaves.div_ceil(255)
                };
            }
            Kind::Symlink(target) if target.len() >= 60 => self.blocks += 1,
            _ => {}
        }
    }

    /// Size in bytes of the smallest file system that is sure to hold this, as every larger one is:
    /// a multiple of 1 MiB.
    pub fn smallest(&self) -> u64 {
        self.smallest_with(0, 0)
    }

    /// Size in bytes of the smallest file system that holds this and has `free` bytes left for all
    /// users, with `reserved_percent` of its blocks reserved for root: a multiple of 1 MiB.
    pub fn smallest_with(&self, free: u64, reserved_percent: u8) -> u64 {
        let blocks = self.blocks.saturating_add(free.div_ceil(BLOCK));
        if blocks > LARGEST_64BIT / BLOCK {
            // More than any file system can hold: its own metadata does not matter.
            return blocks.saturating_mul(BLOCK) / MIB * MIB;
        }
        let mut size = LEAST;
        // At sizes where the journal gets larger, a larger file system may hold less.
        for from in JOURNALS {
            if self.wanted(from * BLOCK, blocks, reserved_percent) > from * BLOCK {
                size = size.max(from * BLOCK);
            }
        }
        // Each round adds the metadata of a file system with the size of the last round. It grows
        // far slower than the size, so this converges within a few rounds.
        loop {
            let wanted = self.wanted(size, blocks, reserved_percent);
            if wanted <= size {
                return size;
            }
            size = wanted;
        }
    }

    /// Bytes that this, as `blocks` blocks, needs in a file system of `size` bytes.
    fn wanted(&self, size: u64, blocks: u64, reserved_percent: u8) -> u64 {
        let reserved = size / BLOCK * u64::from(reserved_percent) / 100;
        let wanted = (blocks + reserved + self.overhead(size)) * BLOCK;
        let for_inodes = if self.inodes > GROUP_INODES {
            self.inodes.div_ceil(GROUP_INODES) * GROUP_BLOCKS * BLOCK
        } else {
            0
        };
        wanted.max(for_inodes).next_multiple_of(MIB)
    }

    /// Blocks that a file system of `size` bytes needs for itself, and a few more that a larger one
    /// may need without having more room for files: its inode tables are rounded up in each group,
    /// and the last group may be too short to be used.
    fn overhead(&self, size: u64) -> u64 {
        let groups = (size / BLOCK).div_ceil(GROUP_BLOCKS);
        let geometry = Geometry::new(&options(size, self.inodes_for(size)));
        // A size that is impossible counts as larger than any.
        geometry.map_or(size.div_ceil(BLOCK), |g| {
            g.overhead() + groups + 2 * g.reserved() + 128
        })
    }

    /// Number of inodes for a file system of `size` bytes: mke2fs's default of one per 16 KiB of
    /// space, or per 64 KiB above 16 TiB, and always at least a quarter more than the content
    /// needs.
    pub fn inodes_for(&self, size: u64) -> u32 {
        let each = if size > LARGEST { 65536 } else { 16384 };
        let wanted = (size / each).max(self.inodes + self.inodes / 4 + 1024);
        let groups = (size / BLOCK).div_ceil(GROUP_BLOCKS);
        u32::try_from(wanted.min(groups * GROUP_INODES)).unwrap_or(u32::MAX)
    }
}

/// How often a file must be stored because of its number of names.
fn times(node: &Node) -> u32 {
    node.links().div_ceil(MOST_LINKS).max(1)
}

/// A note for each file that is stored several times because it has more names than ext4 allows.
pub fn split_links(tree: &Tree) -> Vec<String> {
    let mut seen: HashSet<NodeId> = HashSet::new();
    let mut notes = Vec::new();
    let mut walk = tree.walk();
    while let Some((path, id)) = walk.step() {
        let node = tree.node(id);
        let times = times(node);
        if times > 1 && seen.insert(id) {
            notes.push(format!(
                "the file \"{}\" has {} names (hard links), and ext4 allows at most {MOST_LINKS}: it is stored {times} times, and a change to one of them does not change the others",
                path.escape_ascii(),
                node.links(),
            ));
        }
    }
    notes
}

/// Bytes of a file that need blocks, rounded up to blocks except at the end of the file, and the
/// largest possible number of runs; without holes if the file is `dense`.
fn data(content: &Content, dense: bool) -> (u64, u64) {
    let size = content.len();
    let segments = match content {
        Content::Sparse { segments, .. } if !dense => segments,
        _ => return (size, u64::from(size > 0)),
    };
    let (mut bytes, mut runs, mut end) = (0, 0, 0);
    for s in segments.iter().filter(|s| s.len > 0) {
        let from = (s.offset - s.offset % BLOCK).max(end);
        let to = (s.offset + s.len).next_multiple_of(BLOCK).min(size);
        bytes += to.saturating_sub(from);
        runs += 1;
        end = end.max(to);
    }
    (bytes, runs)
}

/// Blocks of extended attributes: none if they fit into the inode.
fn attribute_blocks(node: &Node) -> u64 {
    let Some(xattrs) = &node.xattrs else { return 0 };
    // An entry: 16 bytes, the name without its prefix, and the value, rounded up to a multiple of
    // 4.
    let bytes: usize = xattrs
        .iter()
        .map(|(name, value)| {
            (16 + name.len()).next_multiple_of(4) + value.len().next_multiple_of(4)
        })
        .sum();
    u64::from(bytes > IN_INODE)
}
