//! Assigns inodes and blocks to all nodes.

use super::bytes::index;
use super::extents::{IN_INODE, LONGEST, pair, tree_blocks};
use super::node::{FAST_LINK, NONE, ROOT, Type};
use super::spec::Builder;
use super::volume::{Item, Placed, Volume, content_blocks, end_of, logical_runs};
use super::xattr::inline_room;
use super::{Error, FIRST_INODE};

/// Minimum size of `lost+found` in bytes, so that the file system check need not allocate blocks
/// for its entries (as in mke2fs).
const LOST_AND_FOUND: u64 = 16384;

/// A layout in progress.
pub(super) struct Placing {
    pub(super) builder: Builder,
    /// What is assigned so far; its `end` is the first block that is not used yet.
    pub(super) placed: Placed,
    /// The first metadata area that may be after that block.
    pub(super) next_area: usize,
}

impl Placing {
    /// Assigns the next inode to a node.
    fn next_inode(&mut self, node: u32) {
        // There are at most as many as nodes.
        let number = u32::try_from(self.placed.node_of.len()).unwrap_or(u32::MAX);
        self.placed.inode_of[node as usize] = FIRST_INODE + number;
        self.placed.node_of.push(node);
    }

    /// Assigns all inodes: all entries of a directory one after the other, in the order in which
    /// the kernel lists them, then those of its first subdirectory, and so on. Counts the links of
    /// directories.
    pub(super) fn number(&mut self, root: u32, lost: u32) -> Result<(), Error> {
        self.placed.inode_of[root as usize] = super::ROOT_INODE;
        self.next_inode(lost);
        if let Some(journal) = self.placed.journal {
            self.placed.inode_of[journal as usize] = super::JOURNAL_INODE;
        }
        let mut todo = vec![root];
        let mut dirs = Vec::new();
        while let Some(dir) = todo.pop() {
            dirs.push(dir);
            let range = self.builder.nodes[dir as usize].entries();
            let mut entries = std::mem::take(&mut self.builder.entries);
            let names = self.builder.dir_names();
            names.sort(&mut entries[range.clone()]);
            let twice = names.twice(&entries[range.clone()]);
            self.builder.entries = entries;
            if let Some(entry) = twice {
                let mut path = self.builder.path_of(dir);
                if path != b"/" {
                    path.push(b'/');
                }
                path.extend_from_slice(self.builder.name_of(entry));
                return Err(Error::Duplicate { path });
            }
            let mut subdirs = 0;
            let below = todo.len();
            for n in range {
                let node = self.builder.entries[n].node;
                if self.placed.inode_of[node as usize] == 0 {
                    self.next_inode(node);
                }
                if self.builder.nodes[node as usize].kind == Type::Dir {
                    subdirs += 1;
                    todo.push(node);
                }
            }
            todo[below..].reverse();
            // Its own `.`; the root has its own `..` instead of a name.
            let own = if dir == root { 2 } else { 1 };
            self.builder.nodes[dir as usize].links += own + subdirs;
        }
        for node in 0..self.placed.inode_of.len() {
            if self.placed.inode_of[node] == 0 {
                self.next_inode(u32::try_from(node).unwrap_or(u32::MAX));
            }
        }
        self.placed.order = dirs.into_iter().map(Item::Node).collect();
        let needed = u64::from(FIRST_INODE) - 1 + self.placed.node_of.len() as u64;
        let inodes = self.builder.geometry.inodes();
        if needed > inodes {
            return Err(Error::NoInodes { needed, inodes });
        }
        Ok(())
    }

    /// Blocks of attributes come first.
    pub(super) fn attributes(&mut self) {
        let mut items = Vec::new();
        for n in 0..self.builder.sets.sets.len() {
            let set = &self.builder.sets.sets[n];
            if set.has_block && set.refs > 0 {
                let (block, _) = self.gap();
                self.builder.sets.sets[n].block = block;
                self.placed.end = block + 1;
                items.push(Item::Set(u32::try_from(n).unwrap_or(u32::MAX)));
            }
        }
        items.append(&mut self.placed.order);
        self.placed.order = items;
    }

    /// The only block of the resize inode that is not one of the blocks reserved for descriptors.
    pub(super) fn resize(&mut self) {
        if self.builder.geometry.reserved > 0 {
            let (at, _) = self.gap();
            self.placed.end = at + 1;
            self.placed.resize = Some(at);
        }
    }

    /// Directories are stored together and near the inode tables: a machine that searches for files
    /// reads both.
    pub(super) fn directories(&mut self, lost: u32) -> Result<(), Error> {
        let mut items = std::mem::take(&mut self.placed.order);
        if let Some(at) = self.placed.resize {
            let sets = items.partition_point(|i| matches!(i, Item::Set(_)));
            items.insert(sets, Item::Resize(at));
        }
        let block = self.builder.geometry.block;
        let least = (LOST_AND_FOUND / block).clamp(2, 12);
        for item in &items {
            let Item::Node(dir) = *item else { continue };
            let range = self.builder.nodes[dir as usize].entries();
            if dir != ROOT.0 && dir != lost && self.inline(dir) {
                continue;
            }
            let shape = self
                .builder
                .dir_names()
                .shape(&self.builder.entries[range])
                .map_err(|(blocks, limit)| Error::DirectoryTooLarge {
                    path: self.builder.path_of(dir),
                    blocks,
                    limit,
                })?;
            let mut blocks = shape.blocks();
            if dir == lost && !shape.indexed() {
                blocks = blocks.max(least);
            }
            self.builder.nodes[dir as usize].size = blocks * block;
            self.place(dir);
        }
        items.retain(|item| match item {
            Item::Node(dir) => !self.builder.nodes[*dir as usize].inline,
            Item::Set(_) | Item::Resize(_) => true,
        });
        self.placed.order = items;
        Ok(())
    }

    /// Everything else, files in the order in which they were added.
    pub(super) fn contents(&mut self) {
        let all = 0..u32::try_from(self.builder.nodes.len()).unwrap_or(u32::MAX);
        let early = std::mem::take(&mut self.builder.early);
        let kind = |this: &Placing, node: u32| this.builder.nodes[node as usize].kind;
        for node in all.clone() {
            if matches!(kind(self, node), Type::Symlink | Type::Value) {
                self.put(node);
            }
        }
        for node in early {
            let found = self.builder.nodes.get(node as usize);
            let file = |kind| matches!(kind, Type::File | Type::Small);
            if found.is_some_and(|n| file(n.kind) && n.first == 0) {
                self.put(node);
            }
        }
        for node in all {
            let found = &self.builder.nodes[node as usize];
            let (kind, missing) = (found.kind, found.first == 0);
            match kind {
                Type::File if missing => self.put(node),
                Type::Small if missing && !self.inline(node) => self.put(node),
                _ => {}
            }
        }
        for node in [self.placed.orphans, self.placed.journal]
            .into_iter()
            .flatten()
        {
            self.put(node);
        }
    }

    /// Stores the contents of a small file or of a directory in its inode if they fit there. Returns
    /// whether they do.
    fn inline(&mut self, number: u32) -> bool {
        let builder = &self.builder;
        let node = &builder.nodes[number as usize];
        let set = builder.sets.sets.get(node.attributes as usize);
        let room = inline_room(set).filter(|_| builder.options.features.inline_data);
        let Some(room) = room else { return false };
        let len = if node.kind == Type::Dir {
            let entries = &builder.entries[node.entries()];
            builder.dir_names().inline_len(entries, room)
        } else {
            let len = index(node.size);
            (len <= FAST_LINK + room).then_some(len)
        };
        let Some(len) = len else { return false };
        let node = &mut self.builder.nodes[number as usize];
        (node.inline, node.size) = (true, len as u64);
        true
    }

    fn put(&mut self, node: u32) {
        if self.place(node) {
            self.placed.order.push(Item::Node(node));
        }
    }

    /// The next unused block, and the start of the metadata area after it.
    fn gap(&mut self) -> (u64, u64) {
        let areas = &self.builder.geometry.areas;
        while let Some(area) = areas.get(self.next_area)
            && area.start <= self.placed.end
        {
            self.placed.end = self.placed.end.max(area.end());
            self.next_area += 1;
        }
        let until = areas.get(self.next_area).map_or(u64::MAX, |a| a.start);
        (self.placed.end, until)
    }

    /// Assigns blocks to a node, those of its extents first. Returns whether it needs any.
    fn place(&mut self, number: u32) -> bool {
        let builder = &self.builder;
        let geometry = &builder.geometry;
        let node = &builder.nodes[number as usize];
        let blocks = content_blocks(node, geometry.block, &builder.runs, &builder.run_ends);
        if blocks == 0 {
            return false;
        }
        let sparse = node.kind == Type::File && node.runs != NONE;
        let (first, until) = self.gap();
        let builder = &mut self.builder;
        let geometry = &builder.geometry;
        let node = &builder.nodes[number as usize];
        if !sparse && blocks <= IN_INODE * LONGEST && blocks <= until - first {
            // Nearly every file: the inode has room for its extents.
            builder.nodes[number as usize].first = first;
            self.placed.end = first + blocks;
            return true;
        }
        let mut extra = 0;
        let end = loop {
            let start = end_of(geometry.runs(first, extra), first);
            let logical = logical_runs(node, blocks, &builder.runs, &builder.run_ends);
            let extents = pair(logical, geometry.runs(start, blocks)).count() as u64;
            let wanted = tree_blocks(extents, index(geometry.block));
            if wanted <= extra {
                break end_of(geometry.runs(start, blocks), start);
            }
            extra = wanted;
        };
        let node = &mut builder.nodes[number as usize];
        node.first = first;
        // A file has at most 2^32 blocks, and far fewer extents.
        node.extra = u32::try_from(extra).unwrap_or(u32::MAX);
        self.placed.end = end;
        true
    }

    pub(super) fn finish(self) -> Result<Volume, Error> {
        let geometry = &self.builder.geometry;
        let end = self.placed.end;
        if end > geometry.blocks {
            // The metadata after the contents, and everything before.
            let behind = geometry.areas.iter().filter(|a| a.start >= end);
            return Err(Error::NoSpace {
                needed: end + behind.map(|a| a.len).sum::<u64>(),
                blocks: geometry.blocks,
            });
        }
        Ok(Volume::new(self.builder, self.placed))
    }
}
