//! Assigns inodes and blocks to all nodes.

use super::bytes::index;
use super::dir::Names;
use super::extents::{pair, tree_blocks};
use super::node::{Meta, NodeId, ROOT, Type};
use super::spec::Builder;
use super::volume::{Item, Placed, Volume, content_blocks, end_of, logical_runs};
use super::xattr::Home;
use super::{Error, FIRST_INODE};

/// Minimum size of `lost+found` in bytes, so that the file system check need not allocate blocks
/// for its entries (as in mke2fs).
const LOST_AND_FOUND: u64 = 16384;

/// Name of that directory.
const LOST_AND_FOUND_NAME: &[u8] = b"lost+found";

impl Builder {
    /// Assigns all locations. After this, nothing can be added.
    ///
    /// Fails if the contents do not fit, or if ext4 cannot store them.
    pub fn lay_out(mut self) -> Result<Volume, Error> {
        self.sets.forget();
        let lost = self.lost_and_found()?;
        let meta = Meta {
            mode: 0o600,
            uid: 0,
            gid: 0,
            secs: self.options.time,
            nanos: 0,
        };
        self.values(&meta)?;
        let special = |this: &mut Builder, kind, blocks| {
            let node = this.push(&meta, kind)?;
            this.nodes[node.0 as usize].links = 1;
            this.nodes[node.0 as usize].size = blocks * this.geometry.block;
            Ok::<_, Error>(node.0)
        };
        let journal = match self.geometry.journal {
            0 => None,
            blocks => Some(special(&mut self, Type::Journal, blocks)?),
        };
        let orphans = if self.options.features.orphan_file {
            // 32 to 512 blocks, one per 4096 blocks of the file system (as in mke2fs).
            let blocks = (self.geometry.blocks / 4096).clamp(32, 512);
            Some(special(&mut self, Type::Orphans, blocks)?)
        } else {
            None
        };
        self.ranges();
        let mut places = Placing {
            placed: Placed {
                inode_of: vec![0; self.nodes.len()],
                node_of: Vec::with_capacity(self.nodes.len()),
                order: Vec::new(),
                end: self.geometry.first,
                resize: None,
                journal,
                orphans,
            },
            builder: self,
        };
        places.number(ROOT.0, lost)?;
        places.attributes();
        places.resize();
        places.directories(lost)?;
        places.contents();
        places.finish()
    }

    /// The node of `lost+found`, which is made if it does not exist.
    fn lost_and_found(&mut self) -> Result<u32, Error> {
        let found = self
            .entries
            .iter()
            .find(|e| e.dir == ROOT.0 && self.name_of(**e) == LOST_AND_FOUND_NAME)
            .map(|e| e.node);
        match found {
            Some(node) if self.nodes[node as usize].kind == Type::Dir => Ok(node),
            Some(_) => Err(Error::LostAndFound),
            None => {
                let meta = Meta {
                    mode: 0o700,
                    uid: 0,
                    gid: 0,
                    secs: self.options.time,
                    nanos: 0,
                };
                let node = self.add(ROOT, LOST_AND_FOUND_NAME, &meta, super::Kind::Dir)?;
                Ok(node.0)
            }
        }
    }

    /// Makes inodes for attribute values that are stored outside. Until the inode is written, its
    /// `links` count the references to it.
    fn values(&mut self, meta: &Meta) -> Result<(), Error> {
        let mut nodes: std::collections::BTreeMap<Box<[u8]>, (NodeId, u32)> =
            std::collections::BTreeMap::new();
        let sets = std::mem::take(&mut self.sets.sets);
        for set in &sets {
            for placed in set.list.iter().filter(|p| p.outside && set.refs > 0) {
                let users = match placed.home {
                    Home::Inode => set.refs,
                    Home::Block => 1,
                };
                let value = &placed.attribute.value;
                if let Some((_, count)) = nodes.get_mut(value) {
                    *count += users;
                    continue;
                }
                let node = self.push(meta, Type::Value)?;
                let found = &mut self.nodes[node.0 as usize];
                found.size = value.len() as u64;
                found.data = self.values.len() as u64;
                self.values.push(value.clone());
                nodes.insert(value.clone(), (node, users));
            }
        }
        for (node, users) in nodes.values() {
            self.nodes[node.0 as usize].links = *users;
        }
        self.value_nodes = nodes.into_iter().map(|(v, (n, _))| (v, n.0)).collect();
        self.sets.sets = sets;
        Ok(())
    }

    /// Sorts entries by directory, and stores in each directory which ones are its own.
    fn ranges(&mut self) {
        self.entries.sort_unstable_by_key(|e| e.dir);
        for node in self.nodes.iter_mut().filter(|n| n.kind == Type::Dir) {
            node.data = 0;
        }
        let mut from = 0;
        while let Some(first) = self.entries.get(from) {
            let dir = first.dir;
            let count = self.entries[from..].partition_point(|e| e.dir == dir);
            // Both are less than 2^32, see `Builder::name`.
            self.nodes[dir as usize].data = (from as u64) << 32 | (from + count) as u64;
            from += count;
        }
    }

    fn dir_names(&self) -> Names<'_> {
        Names::new(&self.names, &self.options)
    }

    /// The path of a node, for errors. Entries must be sorted.
    fn path_of(&self, node: u32) -> Vec<u8> {
        let mut parts: Vec<&[u8]> = Vec::new();
        let mut at = node;
        while at != ROOT.0 && parts.len() < 4096 {
            let Some(entry) = self.entries.iter().find(|e| e.node == at) else {
                break;
            };
            parts.push(self.name_of(*entry));
            at = entry.dir;
        }
        parts.push(b"");
        parts.reverse();
        parts.join(&b'/')
    }
}

/// A layout in progress.
struct Placing {
    builder: Builder,
    /// What is assigned so far; its `end` is the first block that is not used yet.
    placed: Placed,
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
    fn number(&mut self, root: u32, lost: u32) -> Result<(), Error> {
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
    fn attributes(&mut self) {
        let mut items = Vec::new();
        let geometry = &self.builder.geometry;
        for (n, set) in self.builder.sets.sets.iter_mut().enumerate() {
            if set.has_block && set.refs > 0 {
                set.block = geometry.skip(self.placed.end);
                self.placed.end = set.block + 1;
                items.push(Item::Set(u32::try_from(n).unwrap_or(u32::MAX)));
            }
        }
        items.append(&mut self.placed.order);
        self.placed.order = items;
    }

    /// The only block of the resize inode that is not one of the blocks reserved for descriptors.
    fn resize(&mut self) {
        if self.builder.geometry.reserved > 0 {
            let at = self.builder.geometry.skip(self.placed.end);
            self.placed.end = at + 1;
            self.placed.resize = Some(at);
        }
    }

    /// Directories are stored together and near the inode tables: a machine that searches for files
    /// reads both.
    fn directories(&mut self, lost: u32) -> Result<(), Error> {
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
        self.placed.order = items;
        Ok(())
    }

    /// Everything else, files in the order in which they were added.
    fn contents(&mut self) {
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
            if found.is_some_and(|n| n.kind == Type::File && n.first == 0) {
                self.put(node);
            }
        }
        for node in all {
            let found = &self.builder.nodes[node as usize];
            if found.kind == Type::File && found.first == 0 {
                self.put(node);
            }
        }
        for node in [self.placed.orphans, self.placed.journal]
            .into_iter()
            .flatten()
        {
            self.put(node);
        }
    }

    fn put(&mut self, node: u32) {
        if self.place(node) {
            self.placed.order.push(Item::Node(node));
        }
    }

    /// Assigns blocks to a node, those of its extents first. Returns whether it needs any.
    fn place(&mut self, number: u32) -> bool {
        let builder = &mut self.builder;
        let geometry = &builder.geometry;
        let node = &builder.nodes[number as usize];
        let blocks = content_blocks(node, geometry.block, &builder.runs, &builder.run_ends);
        if blocks == 0 {
            return false;
        }
        let first = geometry.skip(self.placed.end);
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

    fn finish(self) -> Result<Volume, Error> {
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
