//! Writes ext4 file systems: the layout is complete before a byte is written; then everything is
//! written once, from the first block to the last.
//!
//! This module does not depend on the rest of the program. A [`Builder`] collects names, metadata
//! and sizes; [`Builder::lay_out`] assigns all locations; the [`Volume`] then says where each file
//! will be, and makes each block of metadata when it is due. File contents never pass through here:
//! the caller identifies them with a number and learns where to write them.
//!
//! The bytes of a file system depend only on its [`Options`], and on what was added to the builder
//! in which order.
//!
//! README.md in the parent directory says what is written and why.

mod areas;
mod arrange;
mod bytes;
mod contents;
mod dir;
mod emit;
mod error;
mod extents;
mod geometry;
mod groups;
mod hash;
mod inode;
mod layout;
mod node;
mod options;
mod placing;
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
pub use node::{Kind, Meta, NodeId, ROOT};
pub use options::{Features, Inodes, Journal, OnError, Options, XATTR_USER_AND_ACL};
pub use spec::{Builder, MOST_LINKS};
pub use volume::Volume;

/// Size of an inode in bytes.
pub const INODE_SIZE: u64 = 256;

/// The first inode that is not reserved (`EXT4_GOOD_OLD_FIRST_INO`): that of `lost+found`.
pub const FIRST_INODE: u32 = 11;

/// Inode of the root directory.
const ROOT_INODE: u32 = 2;

/// Inode of the blocks that are reserved for group descriptors.
const RESIZE_INODE: u32 = 7;

/// Inode of the journal.
const JOURNAL_INODE: u32 = 8;
