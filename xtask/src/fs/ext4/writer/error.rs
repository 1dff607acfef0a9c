//! Why a file system cannot be written.

use std::fmt;

/// A path or a name for an error message: bytes that are no printable ASCII are escaped, unless
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
    /// An option has a value that ext4 does not have.
    #[error("{option}: {value} is not possible: {why}")]
    Option {
        /// Which option.
        option: &'static str,
        /// Its value.
        value: u64,
        /// What is possible.
        why: &'static str,
    },
    /// The file system is too small for its own metadata.
    #[error("{size} bytes are too small for an ext4 file system with these options")]
    TooSmall {
        /// Its size in bytes.
        size: u64,
    },
    /// The file system is larger than its block numbers reach.
    #[error("{size} bytes are too large: with these options an ext4 file system reaches {limit}")]
    TooLarge {
        /// Its size in bytes.
        size: u64,
        /// The largest possible size in bytes.
        limit: u64,
    },
    /// What is to be in it does not fit.
    #[error("the contents take {needed} blocks, and the file system has {blocks}")]
    NoSpace {
        /// Blocks of contents and metadata together.
        needed: u64,
        /// Blocks of the file system.
        blocks: u64,
    },
    /// There are more files than inodes.
    #[error("the contents take {needed} inodes, and the file system has {inodes}")]
    NoInodes {
        /// Inodes that the contents take, the reserved ones included.
        needed: u64,
        /// Inodes of the file system.
        inodes: u64,
    },
    /// More inodes are wanted than a file system of this size can have.
    #[error("{wanted} inodes are too many: a file system of this size has {limit} at most")]
    TooManyInodes {
        /// How many are wanted.
        wanted: u64,
        /// How many it can have.
        limit: u64,
    },
    /// A name is empty, `.` or `..`, or has `/` or a zero byte in it.
    #[error("{} cannot be a file name", Show(.path))]
    Name {
        /// The path with that name.
        path: Vec<u8>,
    },
    /// A name is too long.
    #[error("the name of {} has {len} bytes, more than the {limit} of a file name", Show(.path))]
    NameTooLong {
        /// The path with that name.
        path: Vec<u8>,
        /// Length of the name in bytes.
        len: usize,
        /// Most bytes of a name.
        limit: usize,
    },
    /// Two entries of a directory have one name.
    #[error("{} is there twice", Show(.path))]
    Duplicate {
        /// The path.
        path: Vec<u8>,
    },
    /// Something is put into what is no directory.
    #[error("{} is not a directory", Show(.path))]
    NotADirectory {
        /// The path of what is no directory.
        path: Vec<u8>,
    },
    /// A directory cannot have a second name.
    #[error("{} cannot be a second name of a directory", Show(.path))]
    LinkToDirectory {
        /// The path of the second name.
        path: Vec<u8>,
    },
    /// `lost+found` of the root directory is no directory.
    #[error("/lost+found must be a directory: the file system check puts there what it finds")]
    LostAndFound,
    /// A file has too many names.
    #[error("{} has {links} names, more than the {limit} that ext4 can count", Show(.path))]
    TooManyLinks {
        /// One of its names.
        path: Vec<u8>,
        /// How many names it has.
        links: u64,
        /// Most names of a file.
        limit: u64,
    },
    /// A file is too large.
    #[error("{} has {size} bytes, more than the {limit} of a file with these blocks", Show(.path))]
    FileTooLarge {
        /// The file.
        path: Vec<u8>,
        /// Its size in bytes.
        size: u64,
        /// Most bytes of a file.
        limit: u64,
    },
    /// The data runs of a sparse file overlap, are not in order, or reach past its end.
    #[error("the runs of data of {} overlap or reach past its end", Show(.path))]
    Runs {
        /// The file.
        path: Vec<u8>,
    },
    /// The target of a symbolic link is empty, too long, or has a zero byte in it.
    #[error("the target of the symbolic link {} has {len} bytes; 1 to {limit} without a zero byte are possible", Show(.path))]
    Target {
        /// The link.
        path: Vec<u8>,
        /// Length of its target in bytes.
        len: usize,
        /// Most bytes of a target.
        limit: usize,
    },
    /// A device number is too large.
    #[error("the device {} has the number {major}:{minor}; ext4 holds 4095:1048575 at most", Show(.path))]
    Device {
        /// The device.
        path: Vec<u8>,
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
    /// An extended attribute has a name that ext4 cannot hold.
    #[error("the extended attribute {} of {} cannot be stored: ext4 has the prefixes user., trusted., security. and system., and 1 to 255 bytes behind them", Show(.name), Show(.path))]
    AttributeName {
        /// Whose attribute it is.
        path: Vec<u8>,
        /// Its name.
        name: Vec<u8>,
    },
    /// An extended attribute is there twice.
    #[error("the extended attribute {} of {} is there twice", Show(.name), Show(.path))]
    DuplicateAttribute {
        /// Whose attribute it is.
        path: Vec<u8>,
        /// Its name.
        name: Vec<u8>,
    },
    /// The value of an extended attribute is too long.
    #[error("the extended attribute {} of {} has {len} bytes, more than the {limit} of a value", Show(.name), Show(.path))]
    Value {
        /// Whose attribute it is.
        path: Vec<u8>,
        /// Its name.
        name: Vec<u8>,
        /// Length of its value in bytes.
        len: usize,
        /// Most bytes of a value.
        limit: usize,
    },
    /// The extended attributes of a file take too much.
    #[error("the extended attributes of {} take {bytes} bytes, more than a block of {limit} and the rest of an inode, which ext4 gives each file", Show(.path))]
    Attributes {
        /// Whose attributes they are.
        path: Vec<u8>,
        /// Bytes of their names and values.
        bytes: usize,
        /// Bytes of a block.
        limit: usize,
    },
    /// A directory has more entries than its index reaches.
    #[error("the directory {} takes {blocks} blocks, more than the {limit} that its index reaches", Show(.path))]
    DirectoryTooLarge {
        /// The directory.
        path: Vec<u8>,
        /// Blocks of entries.
        blocks: u64,
        /// Most blocks of entries.
        limit: u64,
    },
    /// There are more nodes, or bytes of names, than can be numbered.
    #[error("there are more than 4,294,967,000 {0}")]
    TooMany(&'static str),
}
