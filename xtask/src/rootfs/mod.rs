//! The root file system of the machine: a tree of metadata in memory, and the stores that still
//! contain its file contents.

pub mod budget;
mod created;
mod digest;
mod graft;
mod inside;
mod node;
pub mod oci;
pub mod program;
pub mod store;
pub mod tar;
pub mod tree;
mod walk;

pub use budget::{Budget, Limits};
pub use graft::GraftError;
pub use inside::Inside;
pub use node::{Content, Kind, Meta, Node, Segment, Time, Xattrs};
pub use store::{Store, Stores};
pub use tree::{NodeId, ROOT, Tree, TreeError};
pub use walk::Walk;

use std::io;

/// A root file system: a [`Tree`] and the [`Stores`] with its file contents.
#[derive(Debug)]
pub struct Rootfs {
    /// Names, owners, modes, times, links: everything except file contents.
    pub tree: Tree,
    /// The stores of file contents (the tar file itself, or a spool of what came through a pipe).
    pub stores: Stores,
    /// The time that is used as "now" in everything that is made for this root file system, in
    /// seconds since 1970: `SOURCE_DATE_EPOCH`, otherwise the image's creation time, otherwise the
    /// newest time in the tar. The system clock is never read.
    pub epoch: i64,
    /// Notes for the user: what was left out while reading, and why.
    pub notes: Vec<String>,
}

impl Rootfs {
    /// Uses `epoch` as "now", and sets every later time to it: files written while a container was
    /// made or exported must not make images differ.
    pub fn set_epoch(&mut self, epoch: i64) {
        self.epoch = epoch;
        self.tree.clamp_times(epoch);
    }

    /// Reads a whole regular file (following links inside the tree) of at most `limit` bytes.
    ///
    /// Returns `Ok(None)` if there is no regular file at `path`. Fails if the file is larger than
    /// `limit`, or if its store cannot be read.
    pub fn read(&self, path: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(id) = self.tree.resolve(path) else {
            return Ok(None);
        };
        self.read_node(id, path, limit)
    }

    /// Reads the file with this number; `path` is for errors.
    fn read_node(&self, id: NodeId, path: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let Kind::File(content) = &self.tree.node(id).kind else {
            return Ok(None);
        };
        let len = content.len();
        if len > limit {
            return Err(io::Error::other(format!(
                "{path} has {len} bytes, more than the {limit} that make sense there"
            )));
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        self.stores.read_at(content, 0, &mut bytes)?;
        Ok(Some(bytes))
    }

    /// The first bytes of a file, at most `most`.
    pub fn head(&self, content: &Content, most: usize) -> io::Result<Vec<u8>> {
        let len = usize::try_from(content.len()).unwrap_or(most).min(most);
        let mut bytes = vec![0; len];
        self.stores.read_at(content, 0, &mut bytes)?;
        Ok(bytes)
    }

    /// Like [`Rootfs::read`], but returns text. Invalid UTF-8 becomes U+FFFD.
    pub fn read_text(&self, path: &str, limit: u64) -> io::Result<Option<String>> {
        Ok(self
            .read(path, limit)?
            .map(|b| String::from_utf8_lossy(&b).into_owned()))
    }
}
