//! Writes ext4 file systems: laid out whole before a byte is written, then written once, from
//! the first block to the last.
//!
//! This module knows nothing of the rest of the program. A [`Builder`] takes names, metadata
//! and sizes; [`Builder::lay_out`] gives everything its place; the [`Volume`] then says where
//! each file will lie, and makes every block of metadata when it is its turn. Contents of files
//! never pass through here: the caller names them by a number and is told where they go.
//!
//! The bytes of a file system depend on its [`Options`], on what the builder was given in which
//! order, and on nothing else.
//!
//! README.md in the directory above says what is written and why.

mod bytes;
mod contents;
mod dir;
mod emit;
mod error;
mod extents;
mod geometry;
mod hash;
mod inode;
mod layout;
mod options;
mod resize;
mod spec;
mod superblock;
#[cfg(test)]
mod tests;
mod volume;
mod xattr;

pub use emit::Out;
pub use error::Error;
pub use geometry::{Geometry, has_super};
pub use options::{Features, Inodes, Journal, OnError, Options, XATTR_USER_AND_ACL};
pub use spec::{Builder, Kind, MOST_LINKS, Meta, NodeId, ROOT};
pub use volume::Volume;

/// Bytes of an inode.
pub const INODE_SIZE: u64 = 256;

/// The first inode that is not reserved (`EXT4_GOOD_OLD_FIRST_INO`); `lost+found` has it.
pub const FIRST_INODE: u32 = 11;

/// Inode of the root directory.
const ROOT_INODE: u32 = 2;

/// Inode of the blocks that are kept for group descriptors.
const RESIZE_INODE: u32 = 7;

/// Inode of the journal.
const JOURNAL_INODE: u32 = 8;
