//! What a tree is made of: nodes, what they are, and their metadata.

use super::NodeId;
use bstr::BStr;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A point in time: seconds since 1970 (negative before it) and nanoseconds after that second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time {
    /// Seconds since 1970-01-01 00:00:00 UTC.
    pub secs: i64,
    /// Nanoseconds, 0 to 999,999,999; always forward from `secs`.
    pub nanos: u32,
}

/// Owner, mode and time of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Meta {
    /// Permission bits with setuid, setgid and sticky: `0o7777` at most.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of the last change of the content.
    pub mtime: Time,
}

impl Meta {
    /// Metadata of something that belongs to root, last changed at `secs` since 1970.
    pub fn root(mode: u16, secs: i64) -> Meta {
        Meta {
            mode,
            uid: 0,
            gid: 0,
            mtime: Time { secs, nanos: 0 },
        }
    }
}

/// One run of bytes of a sparse file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Segment {
    /// Where the run lies in the file, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u64,
    /// Where the run lies in the store, in bytes.
    pub start: u64,
}

/// The content of a regular file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Bytes in memory: what the tool itself writes, never what a tar brings.
    Bytes(Arc<[u8]>),
    /// `len` bytes of a store from byte `start` on.
    Stored {
        /// Number of the store in [`super::Stores`].
        store: u32,
        /// First byte.
        start: u64,
        /// Length in bytes.
        len: u64,
    },
    /// A file with holes: `size` bytes, of which only `segments` are not zero.
    Sparse {
        /// Number of the store in [`super::Stores`].
        store: u32,
        /// Length of the file in bytes, holes included.
        size: u64,
        /// The runs that hold data, ascending and disjoint.
        segments: Box<[Segment]>,
    },
    /// `len` bytes that depend on where they will lie on the disk (EXTLINUX's ldlinux.sys).
    /// They are supplied when the file system is laid out.
    Late {
        /// Length in bytes.
        len: u64,
    },
}

impl Content {
    /// Length of the file in bytes, holes included.
    pub fn len(&self) -> u64 {
        match self {
            Content::Bytes(b) => b.len() as u64,
            Content::Stored { len, .. } | Content::Late { len } => *len,
            Content::Sparse { size, .. } => *size,
        }
    }

    /// Whether the file has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A directory, with its entries in the order of their names' bytes. A name is any bytes
    /// but `/` and NUL, at most 255 of them.
    Dir(BTreeMap<Box<BStr>, NodeId>),
    /// A regular file.
    File(Content),
    /// A symbolic link with its target: the bytes that readlink(2) gives.
    Symlink(Box<BStr>),
    /// A character device.
    Char {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    Block {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
}

impl Kind {
    /// An empty directory.
    pub fn dir() -> Kind {
        Kind::Dir(BTreeMap::new())
    }

    /// A regular file with these bytes.
    pub fn bytes(bytes: impl Into<Arc<[u8]>>) -> Kind {
        Kind::File(Content::Bytes(bytes.into()))
    }

    /// A symbolic link that leads to `target`.
    pub fn symlink(target: impl AsRef<[u8]>) -> Kind {
        Kind::Symlink(boxed(target.as_ref()))
    }

    /// The field's word for this kind of node.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Dir(_) => "directory",
            Kind::File(_) => "file",
            Kind::Symlink(_) => "symbolic link",
            Kind::Char { .. } => "character device",
            Kind::Block { .. } => "block device",
            Kind::Fifo => "named pipe",
            Kind::Socket => "socket",
        }
    }
}

/// Extended attributes: full name (`security.capability`) to value.
pub type Xattrs = BTreeMap<Box<str>, Box<[u8]>>;

/// A node: what it is, whose it is, and its extended attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Owner, mode and time.
    pub meta: Meta,
    /// What it is.
    pub kind: Kind,
    /// Extended attributes, or `None` for none at all: nearly every node has none, and an
    /// empty map would cost memory for each.
    pub xattrs: Option<Box<Xattrs>>,
    /// How many names the node has. Kept by the tree.
    pub(super) links: u32,
}

impl Node {
    /// A node without extended attributes.
    pub fn new(kind: Kind, meta: Meta) -> Node {
        Node {
            meta,
            kind,
            xattrs: None,
            links: 0,
        }
    }

    /// How many names the node has in its tree: more than one for hard links.
    pub fn links(&self) -> u32 {
        self.links
    }
}

/// Bytes of a name or a target, in as little memory as they take.
pub(super) fn boxed(bytes: &[u8]) -> Box<BStr> {
    Box::<[u8]>::from(bytes).into()
}
