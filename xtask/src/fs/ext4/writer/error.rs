//! Why a file system cannot be written.

use std::fmt;

/// A path or a name for an error message: bytes that are not printable ASCII are escaped, unless
/// they are UTF-8.
pub(super) struct Show<'a>(pub(super) &'a [u8]);

impl fmt::Display for Show<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(self.0) {
            Ok(text) => write!(f, "{text:?}"),
            Err(_) => write!(f, "\"{}\"", self.0.escape_ascii()),
        }
    }
}

/// Why a file system cannot be written. Paths are bytes, with a leading `/`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option has a value that ext4 does not support.
    #[error("{option}: {value} is not supported: {why}")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// Its value.
        value: u64,
        /// The values that are supported.
        why: &'static str,
    },
    /// Two options exclude each other.
    #[error("{one} and {other} cannot be used together: {why}")]
    Together {
        /// Name of one option.
        one: &'static str,
        /// Name of the other.
        other: &'static str,
        /// The reason, or what to do.
        why: &'static str,
    },
    /// The file system is too small for its own metadata.
    #[error("{size} bytes are too small for an ext4 file system with these options")]
    TooSmall {
        /// Its size in bytes.
        size: u64,
    },
    /// The file system has more blocks than its block numbers can address.
    #[error(
        "{size} bytes are too large: with these options an ext4 file system has at most {limit}"
    )]
    TooLarge {
        /// Its size in bytes.
        size: u64,
        /// The largest possible size in bytes.
        limit: u64,
    },
    /// The contents do not fit.
    #[error("the contents need {needed} blocks, but the file system has only {blocks}")]
    NoSpace {
        /// Blocks of contents and metadata together.
        needed: u64,
        /// Blocks of the file system.
        blocks: u64,
    },
    /// There are more files than inodes.
    #[error("the contents need {needed} inodes, but the file system has only {inodes}")]
    NoInodes {
        /// Inodes that the contents need, including the reserved ones.
        needed: u64,
        /// Inodes of the file system.
        inodes: u64,
    },
    /// More inodes are requested than a file system of this size can have.
    #[error("{wanted} inodes are too many: a file system of this size has at most {limit}")]
    TooManyInodes {
        /// Number of inodes that are requested.
        wanted: u64,
        /// Largest possible number.
        limit: u64,
    },
    /// A name is empty, is `.` or `..`, or contains `/` or a zero byte.
    #[error("{} cannot be a file name", Show(.path))]
    Name {
        /// The path with that name.
        path: Vec<u8>,
    },
    /// A name is too long.
    #[error("the name of {} has {len} bytes, but a file name has at most {limit}", Show(.path))]
    NameTooLong {
        /// The path with that name.
        path: Vec<u8>,
        /// Length of the name in bytes.
        len: usize,
        /// Longest possible name in bytes.
        limit: usize,
    },
    /// Two entries of a directory have the same name.
    #[error("{} exists twice", Show(.path))]
    Duplicate {
        /// The path.
        path: Vec<u8>,
    },
    /// A parent is not a directory.
    #[error("{} is not a directory", Show(.path))]
    NotADirectory {
        /// The path of the parent.
        path: Vec<u8>,
    },
    /// A hard link to a directory.
    #[error("{} cannot be a hard link to a directory", Show(.path))]
    LinkToDirectory {
        /// The path of the hard link.
        path: Vec<u8>,
    },
    /// `lost+found` of the root directory is not a directory.
    #[error(
        "/lost+found must be a directory: the file system check puts the files that it finds there"
    )]
    LostAndFound,
    /// A file has too many names.
    #[error("{} has {links} names, but ext4 allows at most {limit}", Show(.path))]
    TooManyLinks {
        /// One of its names.
        path: Vec<u8>,
        /// Number of its names.
        links: u64,
        /// Largest possible number of names.
        limit: u64,
    },
    /// A file is too large.
    #[error("{} has {size} bytes, but a file with this block size has at most {limit}", Show(.path))]
    FileTooLarge {
        /// The file.
        path: Vec<u8>,
        /// Its size in bytes.
        size: u64,
        /// Largest possible size in bytes.
        limit: u64,
    },
    /// The data runs of a sparse file overlap, are not in order, or reach past its end.
    #[error("the runs of data of {} overlap, are not in order, or go past its end", Show(.path))]
    Runs {
        /// The file.
        path: Vec<u8>,
    },
    /// The target of a symbolic link is empty, too long, or contains a zero byte.
    #[error("the target of the symbolic link {} has {len} bytes; it must have 1 to {limit} bytes and no zero byte", Show(.path))]
    Target {
        /// The link.
        path: Vec<u8>,
        /// Length of its target in bytes.
        len: usize,
        /// Longest possible target in bytes.
        limit: usize,
    },
    /// A device number is too large.
    #[error("the device {} has the number {major}:{minor}; ext4 stores at most 4095:1048575", Show(.path))]
    Device {
        /// The device.
        path: Vec<u8>,
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
    /// An extended attribute has a name that ext4 cannot store.
    #[error("the extended attribute {} of {} cannot be stored: ext4 requires one of the prefixes user., trusted., security. and system., followed by 1 to 255 bytes", Show(.name), Show(.path))]
    AttributeName {
        /// The file with the attribute.
        path: Vec<u8>,
        /// Name of the attribute.
        name: Vec<u8>,
    },
    /// A file has an extended attribute twice.
    #[error("the extended attribute {} of {} exists twice", Show(.name), Show(.path))]
    DuplicateAttribute {
        /// The file with the attribute.
        path: Vec<u8>,
        /// Name of the attribute.
        name: Vec<u8>,
    },
    /// The value of an extended attribute is too long.
    #[error("the extended attribute {} of {} has {len} bytes, but a value has at most {limit}", Show(.name), Show(.path))]
    Value {
        /// The file with the attribute.
        path: Vec<u8>,
        /// Name of the attribute.
        name: Vec<u8>,
        /// Length of its value in bytes.
        len: usize,
        /// Longest possible value in bytes.
        limit: usize,
    },
    /// The extended attributes of a file need too much space.
    #[error("the extended attributes of {} need {bytes} bytes, but ext4 has only a block of {limit} bytes and the rest of the inode for them", Show(.path))]
    Attributes {
        /// The file with the attributes.
        path: Vec<u8>,
        /// Bytes of their names and values.
        bytes: usize,
        /// Block size in bytes.
        limit: usize,
    },
    /// A directory has more entries than its index can reach.
    #[error("the directory {} needs {blocks} blocks, but its index reaches at most {limit}", Show(.path))]
    DirectoryTooLarge {
        /// The directory.
        path: Vec<u8>,
        /// Number of blocks of entries.
        blocks: u64,
        /// Largest possible number of blocks of entries.
        limit: u64,
    },
    /// There are more nodes, or bytes of names, than the writer can number.
    #[error("there are more than 4,294,967,000 {0}")]
    TooMany(&'static str),
}
