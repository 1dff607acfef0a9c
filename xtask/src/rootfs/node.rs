//! Nodes of a tree: their types and their metadata.

use super::NodeId;
use bstr::BStr;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A point in time: seconds since 1970 (may be negative) and the nanoseconds after that second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time {
    /// Seconds since 1970-01-01 00:00:00 UTC.
    pub secs: i64,
    /// Nanoseconds, 0 to 999,999,999; always added to `secs`.
    pub nanos: u32,
}

/// Owner, mode and time of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Meta {
    /// Permission bits with setuid, setgid and sticky: at most `0o7777`.
    pub mode: u16,
    /// User id of the owner.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Time of the last change of the contents.
    pub mtime: Time,
}

impl Meta {
    /// Metadata of a node of root's that was last changed at `secs` since 1970.
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
    /// Offset in the file, in bytes.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
    /// Offset in the store, in bytes.
    pub start: u64,
}

/// The contents of a regular file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Bytes in memory: only for files that this program generates, never from a tar.
    Bytes(Arc<[u8]>),
    /// `len` bytes of a store, starting at byte `start`.
    Stored {
        /// Number of the store in [`super::Stores`].
        store: u32,
        /// Offset in the store, in bytes.
        start: u64,
        /// Length in bytes.
        len: u64,
    },
    /// A file with holes: `size` bytes, which are zero except in `segments`.
    Sparse {
        /// Number of the store in [`super::Stores`].
        store: u32,
        /// Length of the file in bytes, including holes.
        size: u64,
        /// The data, ascending and disjoint.
        segments: Box<[Segment]>,
    },
    /// `len` bytes that depend on their location on the disk (EXTLINUX's ldlinux.sys). They are
    /// supplied when the file system is laid out.
    Late {
        /// Length in bytes.
        len: u64,
    },
}

impl Content {
    /// Length of the file in bytes, including holes.
    pub fn len(&self) -> u64 {
        match self {
            Content::Bytes(b) => b.len() as u64,
            Content::Stored { len, .. } | Content::Late { len } => *len,
            Content::Sparse { size, .. } => *size,
        }
    }

    /// Whether the file is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Type and contents of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A directory, with its entries ordered by the bytes of their names. A name is 1 to 255 bytes
    /// of any value except `/` and NUL.
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

    /// The usual word for this type of node.
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

/// A node: its type, its owner, and its extended attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Owner, mode and time.
    pub meta: Meta,
    /// Type and contents.
    pub kind: Kind,
    /// Extended attributes, or `None` if there are none: nearly every node has none, and an empty
    /// map would use memory for each.
    pub xattrs: Option<Box<Xattrs>>,
    /// Number of names of the node. The tree keeps it up to date.
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

    /// Number of names of the node in its tree: more than one for hard links.
    pub fn links(&self) -> u32 {
        self.links
    }
}

/// The bytes of a name or a target, in compact form.
pub(super) fn boxed(bytes: &[u8]) -> Box<BStr> {
    Box::<[u8]>::from(bytes).into()
}
