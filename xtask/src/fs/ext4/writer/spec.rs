//! The contents of a file system: nodes with names, in the order in which they are added.

use super::error::Error;
use super::node::{Entry, Kind, Meta, NONE, Node, NodeId, Type, device, name_at, time};
use super::options::Options;
use super::xattr::{Attribute, LONGEST_VALUE, Sets};
use super::{Geometry, bytes::index};

/// Longest name in bytes (`EXT4_NAME_LEN`).
const LONGEST_NAME: usize = 255;

/// Largest number of names of a file (`EXT4_LINK_MAX`, Linux fs/ext4/ext4.h).
pub const MOST_LINKS: u32 = 65000;

/// Collects the contents of a file system.
#[derive(Debug)]
pub struct Builder {
    pub(super) options: Options,
    pub(super) geometry: Geometry,
    pub(super) nodes: Vec<Node>,
    pub(super) names: Vec<u8>,
    /// Targets of links, and bytes of small files.
    pub(super) targets: Vec<u8>,
    pub(super) entries: Vec<Entry>,
    pub(super) sets: Sets,
    /// Runs of files with holes, in blocks, and the end of each file's list.
    pub(super) runs: Vec<(u32, u32)>,
    pub(super) run_ends: Vec<u32>,
    pub(super) early: Vec<u32>,
    /// Attribute values that have separate inodes.
    pub(super) values: Vec<Box<[u8]>>,
    /// The nodes of those values, in the same order.
    pub(super) value_nodes: Vec<(Box<[u8]>, u32)>,
}

impl Builder {
    /// Starts a file system that contains only its root directory.
    ///
    /// Fails if the options are not supported.
    pub fn new(options: Options) -> Result<Builder, Error> {
        let geometry = Geometry::new(&options)?;
        let mut builder = Builder {
            options,
            geometry,
            nodes: Vec::new(),
            names: Vec::new(),
            targets: Vec::new(),
            entries: Vec::new(),
            sets: Sets::default(),
            runs: Vec::new(),
            run_ends: Vec::new(),
            early: Vec::new(),
            values: Vec::new(),
            value_nodes: Vec::new(),
        };
        let meta = Meta {
            mode: 0o755,
            uid: 0,
            gid: 0,
            secs: builder.options.time,
            nanos: 0,
        };
        builder.push(&meta, Type::Dir)?;
        Ok(builder)
    }

    /// Sets owner, mode and time of the root directory.
    pub fn root(&mut self, meta: &Meta) {
        let root = &mut self.nodes[0];
        (root.mode, root.uid, root.gid) = (meta.mode & 0o7777, meta.uid, meta.gid);
        root.time = time(meta);
    }

    /// Adds a node to the directory `dir`, with a name of 1 to 255 bytes without `/` and zero
    /// bytes. File contents are stored in the order in which files are added.
    pub fn add(
        &mut self,
        dir: NodeId,
        name: &[u8],
        meta: &Meta,
        kind: Kind<'_>,
    ) -> Result<NodeId, Error> {
        self.check(dir, name)?;
        let path = |this: &Builder| this.path(dir, name);
        let sort = match kind {
            Kind::Dir => Type::Dir,
            Kind::File { .. } | Kind::Sparse { .. } => Type::File,
            Kind::Small(_) => Type::Small,
            Kind::Symlink(_) => Type::Symlink,
            Kind::Char(..) => Type::Char,
            Kind::Block(..) => Type::Block,
            Kind::Fifo => Type::Fifo,
            Kind::Socket => Type::Socket,
        };
        let (mut size, mut data, mut runs) = (0, 0, NONE);
        match kind {
            Kind::File { size: len, handle } => (size, data) = (len, handle),
            Kind::Sparse {
                size: len,
                handle,
                runs: list,
            } => {
                (size, data) = (len, handle);
                runs = self
                    .sparse(len, list)?
                    .ok_or_else(|| Error::Runs { path: path(self) })?;
            }
            Kind::Small(bytes) => {
                (size, data) = (bytes.len() as u64, self.targets.len() as u64);
                self.targets.extend_from_slice(bytes);
            }
            Kind::Symlink(target) => {
                let limit = index(self.geometry.block) - 1;
                if target.is_empty() || target.len() > limit || target.contains(&0) {
                    return Err(Error::Target {
                        path: path(self),
                        len: target.len(),
                        limit,
                    });
                }
                size = target.len() as u64;
                data = self.targets.len() as u64;
                self.targets.extend_from_slice(target);
            }
            Kind::Char(major, minor) | Kind::Block(major, minor) => {
                if major > 0xfff || minor > 0xf_ffff {
                    return Err(Error::Device {
                        path: path(self),
                        major,
                        minor,
                    });
                }
                data = device(major, minor);
            }
            Kind::Dir | Kind::Fifo | Kind::Socket => {}
        }
        // The last possible block number in a file is 2^32 - 2 (`ext4_max_size`).
        let limit = u64::from(u32::MAX) * self.geometry.block;
        if size > limit {
            return Err(Error::FileTooLarge {
                path: path(self),
                size,
                limit,
            });
        }
        let id = self.push(meta, sort)?;
        let node = &mut self.nodes[id.0 as usize];
        (node.size, node.data, node.runs) = (size, data, runs);
        if sort == Type::Dir {
            (node.data, node.runs) = (self.entries.len() as u64, dir.0);
        }
        self.name(dir, name, id)?;
        Ok(id)
    }

    /// Adds a hard link to a node that is not a directory.
    pub fn link(&mut self, dir: NodeId, name: &[u8], node: NodeId) -> Result<(), Error> {
        self.check(dir, name)?;
        let found = self.nodes.get(node.0 as usize);
        let Some(found) = found.filter(|n| n.kind != Type::Dir) else {
            let path = self.path(dir, name);
            return Err(Error::LinkToDirectory { path });
        };
        if found.links >= MOST_LINKS {
            return Err(Error::TooManyLinks {
                path: self.path(dir, name),
                links: u64::from(found.links) + 1,
                limit: MOST_LINKS.into(),
            });
        }
        self.name(dir, name, node)
    }

    /// Number of names of a node.
    pub fn links(&self, node: NodeId) -> u32 {
        self.nodes.get(node.0 as usize).map_or(0, |n| n.links)
    }

    /// Sets the extended attributes of a node, as (full name, value), in any order. `path` is for
    /// errors.
    ///
    /// Access control lists must have ext4's own form: see Linux fs/ext4/acl.h.
    pub fn attributes<'a>(
        &mut self,
        node: NodeId,
        path: &[u8],
        attributes: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<(), Error> {
        let mut list = Vec::new();
        let mut bytes = 0;
        for (name, value) in attributes {
            bytes += name.len() + value.len();
            if value.len() > LONGEST_VALUE {
                return Err(Error::Value {
                    path: path.to_vec(),
                    name: name.to_vec(),
                    len: value.len(),
                    limit: LONGEST_VALUE,
                });
            }
            let attribute = Attribute::new(name, value).ok_or_else(|| Error::AttributeName {
                path: path.to_vec(),
                name: name.to_vec(),
            })?;
            list.push((attribute, name));
        }
        list.sort();
        if let Some(twice) = list.windows(2).find(|w| w[0].0.same_name(&w[1].0)) {
            return Err(Error::DuplicateAttribute {
                path: path.to_vec(),
                name: twice[1].1.to_vec(),
            });
        }
        let list: Vec<Attribute> = list.into_iter().map(|(a, _)| a).collect();
        let Some(node) = self.nodes.get_mut(node.0 as usize) else {
            return Ok(());
        };
        self.sets.drop_one(node.attributes);
        node.attributes = NONE;
        if list.is_empty() {
            return Ok(());
        }
        let block = index(self.geometry.block);
        let outside = self.options.features.ea_inode;
        let set = self.sets.add(list, block, outside);
        node.attributes = set.ok_or_else(|| Error::Attributes {
            path: path.to_vec(),
            bytes,
            limit: block,
        })?;
        Ok(())
    }

    /// Stores the contents of a file before all others, in the order of these calls: for files that
    /// a machine reads at boot.
    pub fn early(&mut self, node: NodeId) {
        self.early.push(node.0);
    }

    /// The path of the entry `name` of a directory, for errors.
    pub fn path(&self, dir: NodeId, name: &[u8]) -> Vec<u8> {
        let mut parts = vec![name];
        let mut at = dir.0;
        while at != 0 && parts.len() < 4096 {
            let named = |entry: &&Entry| entry.node == at;
            let entry = match self.nodes.get(at as usize) {
                Some(node) if node.kind == Type::Dir => self.entries.get(index(node.data)),
                _ => self.entries.iter().find(named),
            };
            let Some(entry) = entry else { break };
            parts.push(self.name_of(*entry));
            at = entry.dir;
        }
        parts.push(b"");
        parts.reverse();
        parts.join(&b'/')
    }

    /// The name of an entry.
    pub(super) fn name_of(&self, entry: Entry) -> &[u8] {
        name_at(&self.names, entry)
    }

    fn check(&self, dir: NodeId, name: &[u8]) -> Result<(), Error> {
        let path = || self.path(dir, name);
        if name.len() > LONGEST_NAME {
            return Err(Error::NameTooLong {
                path: path(),
                len: name.len(),
                limit: LONGEST_NAME,
            });
        }
        let special = name.is_empty() || name == b"." || name == b"..";
        if special || name.contains(&b'/') || name.contains(&0) {
            return Err(Error::Name { path: path() });
        }
        match self.nodes.get(dir.0 as usize) {
            Some(node) if node.kind == Type::Dir => Ok(()),
            _ => Err(Error::NotADirectory { path: path() }),
        }
    }

    pub(super) fn push(&mut self, meta: &Meta, kind: Type) -> Result<NodeId, Error> {
        let number = u32::try_from(self.nodes.len()).ok();
        let number = number.filter(|n| *n < u32::MAX - 100);
        let id = number.ok_or(Error::TooMany("files"))?;
        self.nodes.push(Node {
            time: time(meta),
            size: 0,
            data: 0,
            first: 0,
            uid: meta.uid,
            gid: meta.gid,
            attributes: NONE,
            runs: NONE,
            links: 0,
            extra: 0,
            mode: meta.mode & 0o7777,
            kind,
            inline: false,
        });
        Ok(NodeId(id))
    }

    pub(super) fn name(&mut self, dir: NodeId, name: &[u8], node: NodeId) -> Result<(), Error> {
        let at = u32::try_from(self.names.len()).ok();
        let at = at.filter(|_| self.entries.len() < 0xffff_ff00);
        let at = at.ok_or(Error::TooMany("names, or bytes of them"))?;
        self.names.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        self.names.extend_from_slice(name);
        self.entries.push(Entry {
            name: at,
            dir: dir.0,
            node: node.0,
        });
        self.nodes[node.0 as usize].links += 1;
        Ok(())
    }

    /// Adds the runs of a file with holes; `None` if they are not valid.
    fn sparse(&mut self, size: u64, runs: &[(u64, u64)]) -> Result<Option<u32>, Error> {
        let block = self.geometry.block;
        let number = u32::try_from(self.run_ends.len()).ok();
        let number = number.ok_or(Error::TooMany("files with holes"))?;
        let start = self.runs.len();
        let mut end = 0;
        for &(offset, len) in runs.iter().filter(|(_, len)| *len > 0) {
            let past = offset.checked_add(len).filter(|past| *past <= size);
            let Some(past) = past.filter(|_| offset >= end) else {
                // They must not become those of the next file.
                self.runs.truncate(start);
                return Ok(None);
            };
            end = past;
            // A file that is too large is detected later.
            let first = u32::try_from(offset / block).unwrap_or(u32::MAX);
            let last = u32::try_from(past.div_ceil(block)).unwrap_or(u32::MAX);
            match self.runs[start..].last_mut() {
                Some((at, count)) if *at + *count >= first => *count = last - *at,
                _ => self.runs.push((first, last - first)),
            }
        }
        let end = u32::try_from(self.runs.len()).ok();
        self.run_ends
            .push(end.ok_or(Error::TooMany("holes in files"))?);
        Ok(Some(number))
    }
}
