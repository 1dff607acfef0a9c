//! A file system after layout.

use super::bytes::crc;
use super::extents::{Extent, pair};
use super::geometry::Geometry;
use super::node::{Entry, FAST_LINK, NONE, Node, NodeId, Type};
use super::options::Options;
use super::spec::Builder;
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
#[derive(Debug)]
pub(super) struct Placed {
    /// Inode of each node.
    pub(super) inode_of: Vec<u32>,
    /// Node of each inode from [`FIRST_INODE`] on.
    pub(super) node_of: Vec<u32>,
    /// Everything that has blocks, ordered by them.
    pub(super) order: Vec<Item>,
    /// The block after the last one that is used for contents.
    pub(super) end: u64,
    /// The block of the resize inode.
    pub(super) resize: Option<u64>,
    /// The node of the journal, and that of the orphan file.
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
    pub(super) placed: Placed,
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
        _ if node.inline => 0,
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
            placed,
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
        let from = geometry
            .areas
            .partition_point(|a| a.end() <= self.placed.end);
        let rest = &geometry.areas[from..];
        let starts = std::iter::once(self.placed.end).chain(rest.iter().map(|a| a.end()));
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
        self.placed
            .inode_of
            .get(node as usize)
            .copied()
            .unwrap_or(0)
    }

    /// The node of an inode.
    pub(super) fn node_number(&self, inode: u32) -> Option<u32> {
        match inode {
            ROOT_INODE => Some(0),
            JOURNAL_INODE => self.placed.journal,
            _ => {
                let n = inode.checked_sub(FIRST_INODE)?;
                self.placed.node_of.get(n as usize).copied()
            }
        }
    }

    /// The last inode that is used.
    pub(super) fn last_inode(&self) -> u64 {
        u64::from(FIRST_INODE) - 1 + self.placed.node_of.len() as u64
    }

    /// Seed of the checksums of everything that belongs to an inode. Its generation is 0.
    pub(super) fn inode_seed(&self, inode: u32) -> u32 {
        crc(self.seed, &u64::from(inode).to_le_bytes())
    }

    /// Number of blocks of a node's contents.
    pub(super) fn blocks_of(&self, node: &Node) -> u64 {
        content_blocks(node, self.geometry.block, &self.runs, &self.run_ends)
    }

    /// First block of a node's contents.
    pub(super) fn content_start(&self, node: &Node) -> u64 {
        if node.extra == 0 {
            return node.first;
        }
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
}
