//! A file system after layout.

use super::bytes::{crc, index, put_lo, put16, put32};
use super::extents::{Extent, pair};
use super::geometry::{Geometry, What};
use super::options::Options;
use super::spec::{Builder, Entry, FAST_LINK, NONE, Node, NodeId, Type};
use super::xattr::Set;
use super::{FIRST_INODE, JOURNAL_INODE, ROOT_INODE};
use std::ops::Range;

/// Something that has its own blocks.
#[derive(Debug, Clone, Copy)]
pub(super) enum Item {
    /// A node.
    Node(u32),
    /// A set of attributes: one block.
    Set(u32),
    /// The resize inode: one block, this one.
    Resize(u64),
}

/// Location of everything in the file system.
pub(super) struct Placed {
    pub(super) inode_of: Vec<u32>,
    pub(super) node_of: Vec<u32>,
    pub(super) order: Vec<Item>,
    pub(super) end: u64,
    pub(super) resize: Option<u64>,
    pub(super) journal: Option<u32>,
    pub(super) orphans: Option<u32>,
}

/// A file system after layout: all locations are known, nothing is written.
#[derive(Debug)]
pub struct Volume {
    pub(super) options: Options,
    pub(super) geometry: Geometry,
    pub(super) nodes: Vec<Node>,
    pub(super) entries: Vec<Entry>,
    pub(super) names: Vec<u8>,
    pub(super) targets: Vec<u8>,
    pub(super) sets: Vec<Set>,
    pub(super) runs: Vec<(u32, u32)>,
    pub(super) run_ends: Vec<u32>,
    pub(super) values: Vec<Box<[u8]>>,
    pub(super) value_nodes: Vec<(Box<[u8]>, u32)>,
    pub(super) inode_of: Vec<u32>,
    pub(super) node_of: Vec<u32>,
    /// Everything that has blocks, ordered by them.
    pub(super) order: Vec<Item>,
    /// The block after the last one that is used for contents.
    pub(super) end: u64,
    pub(super) resize: Option<u64>,
    pub(super) journal: Option<u32>,
    pub(super) orphans: Option<u32>,
    /// Seed of all checksums.
    pub(super) seed: u32,
    /// The group descriptors as stored on disk.
    pub(super) descriptors: Vec<u8>,
    pub(super) free_blocks: u64,
    /// The 1024 bytes before the superblock.
    pub(super) boot: Vec<u8>,
}

/// Number of blocks of a node's contents.
pub(super) fn content_blocks(node: &Node, block: u64, runs: &[(u32, u32)], ends: &[u32]) -> u64 {
    match node.kind {
        Type::File if node.runs != NONE => sparse_runs(node, runs, ends)
            .map(|(_, count)| u64::from(*count))
            .sum(),
        Type::Symlink if node.size < FAST_LINK as u64 => 0,
        Type::Char | Type::Block | Type::Fifo | Type::Socket => 0,
        _ => node.size.div_ceil(block),
    }
}

fn sparse_runs<'a>(
    node: &Node,
    runs: &'a [(u32, u32)],
    ends: &[u32],
) -> std::slice::Iter<'a, (u32, u32)> {
    let number = node.runs as usize;
    let end = ends.get(number).map_or(0, |e| *e as usize);
    let start = number
        .checked_sub(1)
        .and_then(|n| ends.get(n))
        .map_or(0, |e| *e as usize);
    runs.get(start..end).unwrap_or_default().iter()
}

/// The runs of a node's contents without holes, as (first block in it, blocks).
pub(super) fn logical_runs<'a>(
    node: &Node,
    blocks: u64,
    runs: &'a [(u32, u32)],
    ends: &[u32],
) -> impl Iterator<Item = (u64, u64)> + use<'a> {
    let sparse = node.kind == Type::File && node.runs != NONE;
    let list = if sparse {
        sparse_runs(node, runs, ends)
    } else {
        [].iter()
    };
    let dense = (!sparse).then_some((0, blocks));
    list.map(|(first, count)| (u64::from(*first), u64::from(*count)))
        .chain(dense)
}

/// The end of the last one of some runs of blocks; `at` if there are none.
pub(super) fn end_of(runs: impl Iterator<Item = (u64, u64)>, at: u64) -> u64 {
    runs.last().map_or(at, |(start, len)| start + len)
}

/// `INODE_UNINIT`, `BLOCK_UNINIT` and `INODE_ZEROED` of a group descriptor.
const INODE_UNINIT: u16 = 1;
const BLOCK_UNINIT: u16 = 2;
const INODE_ZEROED: u16 = 4;

impl Volume {
    pub(super) fn new(builder: Builder, placed: Placed) -> Volume {
        let Builder {
            options, geometry, ..
        } = builder;
        let mut volume = Volume {
            // This also holds if the seed is in the superblock: initially it is the same.
            seed: crc(!0, &options.uuid),
            options,
            geometry,
            nodes: builder.nodes,
            entries: builder.entries,
            names: builder.names,
            targets: builder.targets,
            sets: builder.sets.sets,
            runs: builder.runs,
            run_ends: builder.run_ends,
            values: builder.values,
            value_nodes: builder.value_nodes,
            inode_of: placed.inode_of,
            node_of: placed.node_of,
            order: placed.order,
            end: placed.end,
            resize: placed.resize,
            journal: placed.journal,
            orphans: placed.orphans,
            descriptors: Vec::new(),
            free_blocks: 0,
            boot: vec![0; 1024],
        };
        volume.describe();
        volume
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.geometry.size()
    }

    /// Writes up to 1024 bytes before the superblock (a boot sector), padded with zeros. Returns
    /// whether they fit.
    pub fn set_boot(&mut self, bytes: &[u8]) -> bool {
        let fits = bytes.len() <= self.boot.len();
        if fits {
            self.boot.fill(0);
            self.boot[..bytes.len()].copy_from_slice(bytes);
        }
        fits
    }

    /// Location of a node's contents, as (offset, length) in bytes, in the order of the file. These
    /// are whole blocks: the last one may go past the end of the file.
    pub fn extents(&self, node: NodeId) -> Vec<(u64, u64)> {
        let Some(node) = self.nodes.get(node.0 as usize) else {
            return Vec::new();
        };
        let block = self.geometry.block;
        let mut list: Vec<(u64, u64)> = Vec::new();
        for extent in self.extents_of(node) {
            let (at, len) = (extent.start * block, extent.len * block);
            match list.last_mut() {
                Some((start, run)) if *start + *run == at => *run += len,
                _ => list.push((at, len)),
            }
        }
        list
    }

    /// The unused ranges of bytes, ascending.
    pub fn free(&self) -> impl Iterator<Item = Range<u64>> {
        let geometry = &self.geometry;
        let block = geometry.block;
        let from = geometry.areas.partition_point(|a| a.end() <= self.end);
        let rest = &geometry.areas[from..];
        let starts = std::iter::once(self.end).chain(rest.iter().map(|a| a.end()));
        let ends = rest
            .iter()
            .map(|a| a.start)
            .chain(std::iter::once(geometry.blocks));
        starts
            .zip(ends)
            .filter(|(start, end)| start < end)
            .map(move |(start, end)| start * block..end * block)
    }

    /// The inode of a node.
    pub(super) fn inode_number(&self, node: u32) -> u32 {
        self.inode_of.get(node as usize).copied().unwrap_or(0)
    }

    /// The node of an inode.
    pub(super) fn node_number(&self, inode: u32) -> Option<u32> {
        match inode {
            ROOT_INODE => Some(0),
            JOURNAL_INODE => self.journal,
            _ => {
                let n = inode.checked_sub(FIRST_INODE)?;
                self.node_of.get(n as usize).copied()
            }
        }
    }

    /// The last inode that is used.
    pub(super) fn last_inode(&self) -> u64 {
        u64::from(FIRST_INODE) - 1 + self.node_of.len() as u64
    }

    /// Seed of the checksums of everything that belongs to an inode. Its generation is 0.
    pub(super) fn inode_seed(&self, inode: u32) -> u32 {
        crc(crc(self.seed, &inode.to_le_bytes()), &[0; 4])
    }

    /// Number of blocks of a node's contents.
    pub(super) fn blocks_of(&self, node: &Node) -> u64 {
        content_blocks(node, self.geometry.block, &self.runs, &self.run_ends)
    }

    /// First block of a node's contents.
    pub(super) fn content_start(&self, node: &Node) -> u64 {
        let extra = self.geometry.runs(node.first, node.extra.into());
        end_of(extra, node.first)
    }

    /// The extents of a node's contents.
    pub(super) fn extents_of(&self, node: &Node) -> impl Iterator<Item = Extent> {
        let blocks = self.blocks_of(node);
        let start = self.content_start(node);
        pair(
            logical_runs(node, blocks, &self.runs, &self.run_ends),
            self.geometry.runs(start, blocks),
        )
    }

    /// The entries of a directory.
    pub(super) fn entries_of(&self, node: &Node) -> &[Entry] {
        self.entries.get(node.entries()).unwrap_or_default()
    }

    pub(super) fn dir_names(&self) -> super::dir::Names<'_> {
        super::dir::Names::new(&self.names, &self.options)
    }

    /// Used blocks of a group, as ranges relative to its start. They may overlap.
    fn used(&self, group: u64) -> Vec<Range<u64>> {
        let geometry = &self.geometry;
        let (start, len) = (geometry.group_start(group), geometry.group_len(group));
        let cut = |from: u64, to: u64| {
            from.clamp(start, start + len) - start..to.clamp(start, start + len) - start
        };
        let mut used = vec![cut(start, self.end)];
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
        let own = |a: &&super::geometry::Area| {
            !matches!(
                a.what,
                What::Super(_) | What::Descriptors | What::Reserved(_)
            )
        };
        let first = geometry.areas.partition_point(|a| a.end() <= start);
        let mut areas = geometry.areas[first..]
            .iter()
            .take_while(|a| a.start < start + len);
        group + 1 < geometry.groups && self.end <= start && areas.find(own).is_none()
    }

    /// Makes the group descriptors.
    fn describe(&mut self) {
        let geometry = &self.geometry;
        let size = index(geometry.descriptor);
        let mut table = vec![0; index(geometry.descriptors * geometry.block)];
        let mut dirs = vec![0_u32; index(geometry.groups)];
        for (node, inode) in self.nodes.iter().zip(&self.inode_of) {
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
