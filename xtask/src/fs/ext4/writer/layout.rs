//! From the contents of a file system to a volume: adds what the file system itself needs, and has
//! everything placed.

use super::Error;
use super::dir::Names;
use super::node::{Entry, Meta, NodeId, ROOT, Type};
use super::placing::Placing;
use super::spec::Builder;
use super::volume::{Placed, Volume};
use super::xattr::Home;

/// Largest orphan file in bytes.
const ORPHANS: u64 = 8 << 20;

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
            // 32 to 512 blocks, one per 4096 blocks of the file system (as in mke2fs), and at most
            // 8 MiB (Linux 6.18 fs/ext4/orphan.c, `ext4_init_orphan_info`).
            let most = (ORPHANS / self.geometry.block).min(512);
            let blocks = (self.geometry.blocks / 4096).clamp(32, most);
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
            next_area: 0,
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
        // Names are stored in the order in which they are added: entries that are added in order
        // stay so, and need not be sorted later.
        let key = |e: &Entry| u64::from(e.dir) << 32 | u64::from(e.name);
        self.entries.sort_unstable_by_key(key);
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

    pub(super) fn dir_names(&self) -> Names<'_> {
        Names::new(&self.names, &self.options)
    }

    /// The path of a node, for errors. Entries must be sorted.
    pub(super) fn path_of(&self, node: u32) -> Vec<u8> {
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
