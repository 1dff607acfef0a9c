//! Looks at a folder of a root file system as its processes see it after chroot(2).

use super::{Kind, NodeId, ROOT, Rootfs, Tree};
use std::io;

/// A folder of a root file system that is the root for all paths: a link to `/x` leads to the
/// folder's own `x`, and nothing leads out of it.
#[derive(Debug, Clone, Copy)]
pub struct Inside<'a> {
    rootfs: &'a Rootfs,
    root: NodeId,
}

impl Rootfs {
    /// The whole root file system, seen as a folder.
    pub fn whole(&self) -> Inside<'_> {
        Inside {
            rootfs: self,
            root: ROOT,
        }
    }

    /// The folder at `path`; `None` if there is none.
    pub fn inside(&self, path: &str) -> Option<Inside<'_>> {
        let root = self.tree.resolve(path)?;
        matches!(self.tree.node(root).kind, Kind::Dir(_)).then_some(Inside { rootfs: self, root })
    }
}

impl<'a> Inside<'a> {
    /// The whole tree, in which [`Inside`]'s nodes are.
    pub fn tree(&self) -> &'a Tree {
        &self.rootfs.tree
    }

    /// Finds `path` without following a symbolic link in its last component.
    pub fn lookup(&self, path: impl AsRef<[u8]>) -> Option<NodeId> {
        self.rootfs.tree.find_below(self.root, path.as_ref(), false)
    }

    /// Finds `path`, following all symbolic links.
    pub fn resolve(&self, path: impl AsRef<[u8]>) -> Option<NodeId> {
        self.rootfs.tree.find_below(self.root, path.as_ref(), true)
    }

    /// The real path with every link followed, as [`Tree::canonical`]: it begins at the folder.
    /// Only with such a path is it safe to add something below the folder: [`Tree::insert`] follows
    /// links from the root of the whole tree.
    pub fn canonical(&self, path: impl AsRef<[u8]>) -> Option<String> {
        self.rootfs.tree.canonical_below(self.root, path.as_ref())
    }

    /// Reads a regular file, as [`Rootfs::read`].
    pub fn read(&self, path: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        match self.resolve(path) {
            Some(id) => self.rootfs.read_node(id, path, limit),
            None => Ok(None),
        }
    }

    /// Like [`Inside::read`], but returns text. Invalid UTF-8 becomes U+FFFD.
    pub fn read_text(&self, path: &str, limit: u64) -> io::Result<Option<String>> {
        Ok(self
            .read(path, limit)?
            .map(|b| String::from_utf8_lossy(&b).into_owned()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::rootfs::{Meta, Stores};

    #[test]
    fn nothing_leads_out() {
        let mut rootfs = Rootfs {
            tree: Tree::new(Meta::root(0o755, 0)),
            stores: Stores::default(),
            epoch: 0,
            notes: Vec::new(),
        };
        let tree = &mut rootfs.tree;
        tree.write("/etc/passwd", &b"outer"[..], 0o644, 0).unwrap();
        tree.write("/c/etc/passwd", &b"inner"[..], 0o644, 0)
            .unwrap();
        tree.symlink("/c/up", "../../../etc/passwd", 0).unwrap();
        tree.symlink("/c/etc/abs", "/etc/passwd", 0).unwrap();
        tree.symlink("/c/run", "/var/run", 0).unwrap();
        let inside = rootfs.inside("/c").unwrap();
        for path in ["/etc/passwd", "up", "etc/abs", "../etc/passwd"] {
            let read = inside.read_text(path, 100).unwrap();
            assert_eq!(read.as_deref(), Some("inner"), "{path}");
            assert_eq!(inside.canonical(path).as_deref(), Some("/etc/passwd"));
        }
        assert!(inside.lookup("/run").is_some());
        assert!(inside.resolve("/run").is_none());
        assert!(inside.canonical("/c").is_none());
        assert!(rootfs.inside("/etc/passwd").is_none());
    }
}
