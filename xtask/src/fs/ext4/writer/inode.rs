//! Inodes.
//!
//! Source: Linux Documentation/filesystems/ext4/inodes.rst, fs/ext4/ext4.h (`ext4_inode`).

use super::bytes::{crc, high32, index, low16, low32, put_lo, put16, put32};
use super::dir::Shape;
use super::extents::Tree;
use super::node::{FAST_LINK, Node, Type, split_time};
use super::volume::Volume;
use super::xattr::{Set, to_inode};
use super::{FIRST_INODE, INODE_SIZE, RESIZE_INODE};

/// `EXT4_INDEX_FL`, `EXT4_EXTENTS_FL`, `EXT4_EA_INODE_FL` and `EXT4_INLINE_DATA_FL`.
const INDEX: u32 = 0x1000;
const EXTENTS: u32 = 0x8_0000;
const EA_INODE: u32 = 0x20_0000;
const INLINE_DATA: u32 = 0x1000_0000;

/// Length in bytes of the fields after the first 128 bytes.
const EXTRA: u16 = 32;

/// Offsets of the two halves of the checksum.
const SUM_LOW: usize = 0x7c;
const SUM_HIGH: usize = 0x82;

/// The type of a node in `i_mode`.
fn type_bits(kind: Type) -> u16 {
    match kind {
        Type::Fifo => 0x1000,
        Type::Char => 0x2000,
        Type::Dir => 0x4000,
        Type::Block => 0x6000,
        Type::File | Type::Small | Type::Journal | Type::Orphans | Type::Value => 0x8000,
        Type::Symlink => 0xa000,
        Type::Socket => 0xc000,
    }
}

impl Volume {
    /// Writes inode number `number` into `area`: 256 bytes, which must be zero.
    pub(super) fn inode(&self, number: u32, area: &mut [u8]) {
        match self.node_number(number) {
            Some(node) => {
                let node = &self.nodes[node as usize];
                self.fill(number, node, area);
            }
            None if number == RESIZE_INODE && self.placed.resize.is_some() => {
                self.resize_inode(area)
            }
            // mke2fs also sets the times of the inode for bad blocks.
            None if number == 1 => self.volume_times(area, false),
            None => return,
        }
        self.sum(number, area);
    }

    /// Writes the checksum. Reserved inodes have no extra fields, and store only its lower half.
    fn sum(&self, number: u32, area: &mut [u8]) {
        let sum = crc(self.inode_seed(number), area);
        put16(area, SUM_LOW, low16(sum.into()));
        if area[0x80] > 0 {
            put16(area, SUM_HIGH, low16((sum >> 16).into()));
        }
    }

    /// Writes the times of the volume.
    pub(super) fn volume_times(&self, area: &mut [u8], creation: bool) {
        let time = low32(self.options.time.unsigned_abs());
        for at in [0x08, 0x0c, 0x10] {
            put32(area, at, time);
        }
        if creation {
            put16(area, 0x80, EXTRA);
            put32(area, 0x90, time);
        }
    }

    fn fill(&self, number: u32, node: &Node, area: &mut [u8]) {
        put16(area, 0, type_bits(node.kind) | node.mode);
        put16(area, 0x02, low16(node.uid.into()));
        put16(area, 0x18, low16(node.gid.into()));
        put16(area, 0x78, low16((node.uid >> 16).into()));
        put16(area, 0x7a, low16((node.gid >> 16).into()));
        let size = match node.kind {
            Type::Char | Type::Block | Type::Fifo | Type::Socket => 0,
            _ => node.size,
        };
        put_lo(area, 0x04, size);
        put32(area, 0x6c, high32(size));
        self.times(node, area);
        put16(area, 0x80, EXTRA);
        let links = match node.kind {
            // `dir_nlink`: 1 means that the links are not counted.
            Type::Dir if node.links > super::MOST_LINKS => 1,
            Type::Value => 1,
            _ => node.links,
        };
        put16(area, 0x1a, low16(links.into()));
        if number >= FIRST_INODE && node.kind == Type::Value {
            self.value(node, area);
        }
        let mut blocks = self.blocks_of(node) + u64::from(node.extra);
        let set = self.sets.get(node.attributes as usize);
        let inline = node.inline.then(|| self.inline(number, node));
        let more = inline
            .as_ref()
            .map(|i| i.get(FAST_LINK..).unwrap_or_default());
        if more.is_some() || set.is_some_and(Set::in_inode) {
            let outside = |value: &[u8]| self.value_inode(value);
            let start = 128 + usize::from(EXTRA);
            to_inode(set, more, &mut area[start..], self.seed, &outside);
        }
        if let Some(set) = set {
            blocks += set.outside_blocks(self.geometry.block);
            if set.has_block {
                blocks += 1;
                put_lo(area, 0x68, set.block);
                put16(area, 0x76, low16(high32(set.block).into()));
            }
        }
        // In sectors; less than 2^48 of them for a file of 16 TiB.
        let sectors = blocks * (self.geometry.block / 512);
        put_lo(area, 0x1c, sectors);
        put16(area, 0x74, low16(high32(sectors).into()));
        let flags = match inline {
            Some(bytes) => {
                let first = &bytes[..bytes.len().min(FAST_LINK)];
                area[0x28..0x28 + first.len()].copy_from_slice(first);
                INLINE_DATA
            }
            None => self.content(node, &mut area[0x28..0x28 + FAST_LINK]),
        };
        put32(area, 0x20, flags);
    }

    /// The contents of a node that are in its inode: a small file, or a directory.
    fn inline(&self, number: u32, node: &Node) -> Vec<u8> {
        if node.kind != Type::Dir {
            return self.target(node).to_vec();
        }
        let mut bytes = vec![0; index(node.size)];
        self.dir_of(node, number, Shape::default())
            .inline(&mut bytes);
        bytes
    }

    /// Writes `i_block`, and the flags that describe its contents.
    fn content(&self, node: &Node, area: &mut [u8]) -> u32 {
        match node.kind {
            Type::Char | Type::Block => {
                put32(area, 0, low32(node.data));
                put32(area, 4, high32(node.data));
                0
            }
            Type::Fifo | Type::Socket => 0,
            Type::Symlink if node.size < FAST_LINK as u64 => {
                let target = self.target(node);
                area[..target.len()].copy_from_slice(target);
                0
            }
            _ => {
                self.tree(node).in_inode(area, self.extents_of(node));
                let indexed = node.kind == Type::Dir
                    && node.size > self.geometry.block
                    && self.dir_names().indexed(self.entries_of(node));
                match node.kind {
                    Type::Value => EXTENTS | EA_INODE,
                    _ if indexed => EXTENTS | INDEX,
                    _ => EXTENTS,
                }
            }
        }
    }

    /// The extent tree of a node.
    pub(super) fn tree(&self, node: &Node) -> Tree {
        let block = index(self.geometry.block);
        let places = self.geometry.runs(node.first, node.extra.into());
        let places = places.flat_map(|(start, len)| start..start + len);
        if node.extra == 0 {
            // The case of nearly every file: its extents need not be counted.
            return Tree::flat(block);
        }
        Tree::new(self.extents_of(node), places.collect(), block)
    }

    /// The target of a symbolic link.
    pub(super) fn target(&self, node: &Node) -> &[u8] {
        let start = index(node.data);
        let end = start.saturating_add(index(node.size));
        self.targets.get(start..end).unwrap_or_default()
    }

    /// The inode that holds the value of an attribute.
    pub(super) fn value_inode(&self, value: &[u8]) -> u32 {
        let found = self.value_nodes.binary_search_by(|(v, _)| (**v).cmp(value));
        found.map_or(0, |n| self.inode_number(self.value_nodes[n].1))
    }

    /// The special fields of an inode with the value of an attribute: its reference count
    /// (`i_ctime` and `i_version`), and its hash (`i_atime`; Linux fs/ext4/xattr.c,
    /// `ext4_xattr_inode_set_ref` and `ext4_xattr_inode_set_hash`).
    fn value(&self, node: &Node, area: &mut [u8]) {
        let value = self.values.get(index(node.data)).map_or(&[][..], |v| v);
        put32(area, 0x08, crc(self.seed, value));
        put32(area, 0x0c, 0);
        put32(area, 0x24, node.links);
        for at in [0x84, 0x8c] {
            put32(area, at, 0);
        }
    }

    /// Sets access, change, modification and creation time to the same value.
    fn times(&self, node: &Node, area: &mut [u8]) {
        let (secs, nanos) = split_time(node.time);
        // 32 signed bits, and two more that say how often 2^32 seconds are added.
        let low = low32((secs & 0xffff_ffff).unsigned_abs());
        let epochs = (secs - i64::from(low.cast_signed())) >> 32;
        let more = nanos << 2 | low32(epochs.unsigned_abs()) & 3;
        for (at, extra) in [(0x08, 0x8c), (0x0c, 0x84), (0x10, 0x88), (0x90, 0x94)] {
            put32(area, at, low);
            put32(area, extra, more);
        }
    }

    /// Makes the used part of a group's inode table, in whole blocks: blocks `from` to `to`.
    pub(super) fn table(&self, group: u64, from: u64, to: u64, out: &mut Vec<u8>) {
        let in_block = self.geometry.block / INODE_SIZE;
        let used = self.used_inodes(group);
        let first = group * self.geometry.inodes_per_group + 1;
        out.clear();
        out.resize(index((to - from) * self.geometry.block), 0);
        let range = from * in_block..(to * in_block).min(used);
        for (n, area) in range.zip(out.chunks_exact_mut(index(INODE_SIZE))) {
            self.inode(low32(first + n), area);
        }
    }
}
