//! The directory in which something was made last.

use super::{MAX_NAME, MAX_PATH, NodeId, ROOT};
use bstr::ByteSlice;

/// The directory in which something was made last: entries of a directory usually follow each
/// other, so most of their parents need not be looked up.
#[derive(Debug, Clone)]
pub(super) struct LastParent {
    /// Its path as it was written, up to the last slash. Empty if nothing is remembered.
    path: Vec<u8>,
    id: NodeId,
    /// Length of its real path in bytes, with a slash before each name.
    len: usize,
}

impl LastParent {
    /// Nothing is remembered.
    pub(super) const NONE: LastParent = LastParent {
        path: Vec::new(),
        id: ROOT,
        len: 0,
    };

    /// The directory and the last name of `path`, if it is directly in the directory that is
    /// remembered and nothing about it needs a check.
    pub(super) fn parent_of<'p>(&self, path: &'p [u8]) -> Option<(NodeId, &'p [u8])> {
        let name = path.strip_prefix(&self.path[..])?.strip_prefix(b"/")?;
        let plain = !matches!(name, b"" | b"." | b"..") && name.find_byteset(b"/\0").is_none();
        let fits = path.len() < MAX_PATH && self.len + 1 + name.len() <= MAX_PATH;
        let found = !self.path.is_empty() && plain && fits && name.len() <= MAX_NAME;
        found.then_some((self.id, name))
    }

    /// Remembers the parent of `path`, whose last name is `name`. `len` is the length of the
    /// parent's real path.
    pub(super) fn remember(&mut self, path: &[u8], name: &[u8], id: NodeId, len: usize) {
        if let Some(written) = path.strip_suffix(name).and_then(|p| p.strip_suffix(b"/")) {
            self.path.clear();
            self.path.extend_from_slice(written);
            (self.id, self.len) = (id, len);
        }
    }

    /// Remembers nothing any more: a directory or a link on the way to it may have changed.
    pub(super) fn forget(&mut self) {
        self.path.clear();
    }
}
