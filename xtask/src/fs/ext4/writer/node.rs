//! Nodes: what a file system consists of, as a caller describes it and as the writer keeps it.

use super::bytes::index;
use std::ops::Range;

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
    /// A small file whose bytes are given now, so that it can be stored in its inode if the file
    /// system has `inline_data` and it fits. Otherwise it is stored like any other file. The writer
    /// keeps the bytes in memory.
    Small(&'a [u8]),
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
    /// A file whose bytes the writer has.
    Small,
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
    /// For a file, its handle; for a link or a small file, the offset of its bytes; for a device, its number as
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
    /// Whether its contents are in its inode (`inline_data`).
    pub(super) inline: bool,
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

/// The name of an entry among all names.
pub(super) fn name_at(names: &[u8], entry: Entry) -> &[u8] {
    let at = entry.name as usize;
    let len = names.get(at).map_or(0, |len| usize::from(*len));
    names.get(at + 1..at + 1 + len).unwrap_or_default()
}

/// The time of a node, as nanoseconds since the earliest time that an inode can store.
pub(super) fn time(meta: &Meta) -> u64 {
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
pub(super) fn device(major: u32, minor: u32) -> u64 {
    if major < 256 && minor < 256 {
        u64::from(major << 8 | minor)
    } else {
        u64::from((minor & 0xff) | major << 8 | (minor & !0xff) << 12) << 32
    }
}
