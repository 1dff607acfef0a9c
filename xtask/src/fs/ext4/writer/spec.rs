//! The contents of a file system: nodes with names, in the order in which they are added.

use super::error::Error;
use super::options::Options;
use super::xattr::{Attribute, LONGEST_VALUE, Sets};
use super::{Geometry, bytes::index};
use std::ops::Range;

/// Longest name in bytes (`EXT4_NAME_LEN`).
const LONGEST_NAME: usize = 255;

/// Largest number of names of a file (`EXT4_LINK_MAX`, Linux fs/ext4/ext4.h).
pub const MOST_LINKS: u32 = 65000;

/// Bytes of an inode that hold the target of a short link, including its final zero byte
/// (`i_block`).
pub(super) const FAST_LINK: usize = 60;

/// Earliest and latest second that an inode can store: 1901-12-13 and 2446-05-10 (Linux
/// Documentation/filesystems/ext4/inodes.rst, "Inode Timestamps").
const TIMES: (i64, i64) = (-(1 << 31), (1 << 34) - (1 << 31) - 1);

/// The number of a node in its [`Builder`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(super) u32);

/// The root directory of every file system.
pub const ROOT: NodeId = NodeId(0);

/// Owner, mode and time of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// Permissions with setuid, setgid and sticky; other bits are ignored.
    pub mode: u16,
    /// User id of the owner.
    pub uid: u32,
    /// Id of the group.
    pub gid: u32,
    /// All four times of the inode, in seconds since 1970. A time that an inode cannot store
    /// (before 1901, after 2446) becomes the nearest possible one, as in Linux.
    pub secs: i64,
    /// Nanoseconds after that second, 0 to 999,999,999.
    pub nanos: u32,
}

/// Type and contents of a node.
#[derive(Debug, Clone, Copy)]
pub enum Kind<'a> {
    /// A directory.
    Dir,
    /// A file of `size` bytes. The writer uses `handle` to ask for its bytes.
    File {
        /// Its size in bytes.
        size: u64,
        /// The caller's number for its contents.
        handle: u64,
    },
    /// A file with holes.
    Sparse {
        /// Its size in bytes, holes included.
        size: u64,
        /// The caller's number for its contents.
        handle: u64,
        /// The data between the holes, as (offset, length) in bytes, ascending and disjoint. Each
        /// block that a run touches is written.
        runs: &'a [(u64, u64)],
    },
    /// A symbolic link with this target: at least 1 byte, less than a block, no zero byte.
    Symlink(&'a [u8]),
    /// A character device, major and minor number.
    Char(u32, u32),
    /// A block device, major and minor number.
    Block(u32, u32),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// Type of a node, in compact form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Dir,
    File,
    Symlink,
    Char,
    Block,
    Fifo,
    Socket,
    /// The journal.
    Journal,
    /// The orphan file.
    Orphans,
    /// The value of an extended attribute.
    Value,
}

/// No attributes, or no runs of a sparse file.
pub(super) const NONE: u32 = u32::MAX;

/// A node. There can be millions, so it is small.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Nanoseconds since the earliest time of an inode.
    pub(super) time: u64,
    /// Size in bytes of a file or a link's target; of a directory once it is known.
    pub(super) size: u64,
    /// For a file, its handle; for a link, the offset of its target; for a device, its number as
    /// stored on disk; for a directory, the entry that names it and later, as two halves, the range
    /// of its own entries.
    pub(super) data: u64,
    /// Its first block. `extra` blocks of its extent tree come first, then those of its contents.
    pub(super) first: u64,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Number of its set of attributes.
    pub(super) attributes: u32,
    /// For a file with holes, the number of its list of runs; for a directory, its parent.
    pub(super) runs: u32,
    pub(super) links: u32,
    pub(super) extra: u32,
    pub(super) mode: u16,
    pub(super) kind: Type,
}

impl Node {
    /// The entries of a directory, once all are known.
    pub(super) fn entries(&self) -> Range<usize> {
        index(self.data >> 32)..index(self.data & 0xffff_ffff)
    }
}

/// A directory entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// Offset among the names, where its length and its bytes are.
    pub(super) name: u32,
    pub(super) dir: u32,
    pub(super) node: u32,
}

/// Collects the contents of a file system.
#[derive(Debug)]
pub struct Builder {
    pub(super) options: Options,
    pub(super) geometry: Geometry,
    pub(super) nodes: Vec<Node>,
    pub(super) names: Vec<u8>,
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

/// The name of an entry among all names.
pub(super) fn name_at(names: &[u8], entry: Entry) -> &[u8] {
    let at = entry.name as usize;
    let len = names.get(at).map_or(0, |len| usize::from(*len));
    names.get(at + 1..at + 1 + len).unwrap_or_default()
}

/// The time of a node, as nanoseconds since the earliest time that an inode can store.
fn time(meta: &Meta) -> u64 {
    let secs = meta.secs.clamp(TIMES.0, TIMES.1) - TIMES.0;
    secs.unsigned_abs() * 1_000_000_000 + u64::from(meta.nanos.min(999_999_999))
}

/// Seconds since 1970 and nanoseconds of such a time.
pub(super) fn split_time(time: u64) -> (i64, u32) {
    let secs = i64::try_from(time / 1_000_000_000).unwrap_or(i64::MAX);
    (secs + TIMES.0, (time % 1_000_000_000) as u32)
}

/// A device number as the first two words of `i_block`: in the old form if it fits, otherwise in
/// the new one (Linux include/linux/kdev_t.h, `old_encode_dev` and `new_encode_dev`).
fn device(major: u32, minor: u32) -> u64 {
    if major < 256 && minor < 256 {
        u64::from(major << 8 | minor)
    } else {
        u64::from((minor & 0xff) | major << 8 | (minor & !0xff) << 12) << 32
    }
}
