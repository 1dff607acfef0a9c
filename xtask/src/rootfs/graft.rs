//! Puts the tree of one root file system into a folder of another.

use super::node::boxed;
use super::tree::TreeError;
use super::{Content, Kind, NodeId, ROOT, Rootfs, Tree};
use bstr::BString;

/// Why a tree cannot be put into another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraftError {
    /// Something is already there.
    #[error("{0:?} exists already")]
    Exists(BString),
    /// The folder above cannot be made.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl Rootfs {
    /// Puts the whole tree of `other` at `path`, where nothing may be yet. Owners, modes, times,
    /// attributes, hard links and contents of its files are not changed; its root folder becomes
    /// the folder `path`. Missing folders above are made (mode 0755, owned by root).
    ///
    /// The later of the two times is "now". The two trees keep the budgets under which they were
    /// read: none of their entries is counted again.
    pub fn graft(&mut self, path: &str, other: Rootfs) -> Result<(), GraftError> {
        if self.tree.exists(path) {
            return Err(GraftError::Exists(path.into()));
        }
        let first_store = self.stores.append(other.stores);
        self.tree.graft(path, other.tree, first_store)?;
        self.epoch = self.epoch.max(other.epoch);
        self.notes.extend(other.notes);
        Ok(())
    }
}

impl Tree {
    /// Moves all nodes of `other` into this tree. `first_store` is added to the numbers of their
    /// stores.
    fn graft(&mut self, path: &str, other: Tree, first_store: u32) -> Result<(), TreeError> {
        let first = u32::try_from(self.nodes.len()).map_err(|_| TreeError::TooMany)?;
        // The folder that is made for it also takes a number, and so may those above.
        let last = self.nodes.len() + other.nodes.len() + path.len();
        u32::try_from(last).map_err(|_| TreeError::TooMany)?;
        let mtime = other.node(ROOT).meta.mtime;
        self.nodes.extend(other.nodes);
        for node in &mut self.nodes[first as usize..] {
            match &mut node.kind {
                Kind::Dir(children) => {
                    for id in children.values_mut() {
                        *id = NodeId(id.0 + first);
                    }
                }
                Kind::File(Content::Stored { store, .. } | Content::Sparse { store, .. }) => {
                    *store += first_store;
                }
                _ => {}
            }
        }
        let root = NodeId(first + ROOT.0);
        // It had no name so far.
        self.node_mut(root).links = 0;
        let Some((parent, name)) = self.parent_of(path.as_bytes(), mtime)? else {
            return Err(TreeError::Root("directory"));
        };
        self.attach(parent, &boxed(name), root);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::rootfs::{Meta, Node, Segment, Store, Stores, Time};
    use std::io::Write;

    fn rootfs(bytes: &[u8], epoch: i64) -> Rootfs {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let mut stores = Stores::default();
        stores.add(Store::new(file));
        Rootfs {
            tree: Tree::new(Meta::root(0o755, epoch)),
            stores,
            epoch,
            notes: vec![format!("of {epoch}")],
        }
    }

    fn stored(start: u64, len: u64) -> Kind {
        Kind::File(Content::Stored {
            store: 0,
            start,
            len,
        })
    }

    /// A tree with every kind of node, with owners, times and attributes that nothing else has.
    fn container() -> Rootfs {
        let mut all = rootfs(b"container", 7);
        let odd = |mode| Meta {
            mode,
            uid: 100_001,
            gid: 4_000_000_000,
            mtime: Time {
                secs: -3,
                nanos: 999,
            },
        };
        let tree = &mut all.tree;
        tree.insert("/", Node::new(Kind::dir(), odd(0o1750)))
            .unwrap();
        let mut file = Node::new(stored(0, 9), odd(0o4755));
        file.xattrs = Some(Box::new(
            [("security.capability".into(), [1, 2].into())].into(),
        ));
        let file = tree.insert("/bin/a", file).unwrap();
        tree.link("/bin/b", file).unwrap();
        tree.insert("/bin/c", Node::new(Kind::symlink("/bin/a"), odd(0o777)))
            .unwrap();
        let device = Kind::Char { major: 1, minor: 3 };
        tree.insert("/dev/null", Node::new(device, odd(0o666)))
            .unwrap();
        let segments = [Segment {
            offset: 1 << 30,
            len: 3,
            start: 3,
        }];
        let sparse = Kind::File(Content::Sparse {
            store: 0,
            size: 1 << 31,
            segments: segments.into(),
        });
        tree.insert("/sparse", Node::new(sparse, odd(0o600)))
            .unwrap();
        tree.insert(b"/\xff", Node::new(Kind::Fifo, odd(0o600)))
            .unwrap();
        tree.insert("/gone", Node::new(Kind::Fifo, odd(0o600)))
            .unwrap();
        tree.remove("/gone");
        all
    }

    #[test]
    fn nothing_changes_but_the_place() {
        let mut machine = rootfs(b"machine", 5);
        let meta = Meta::root(0o644, 5);
        machine
            .tree
            .insert("/etc/x", Node::new(stored(0, 7), meta))
            .unwrap();
        let before = container();
        machine
            .graft("/var/lib/container/root", container())
            .unwrap();
        assert_eq!((machine.epoch, machine.notes.len()), (7, 2));
        for (path, id) in before.tree.walk() {
            let (old, now) = (before.tree.node(id), {
                let path = [b"/var/lib/container/root", &path[..]].concat();
                machine.tree.node(machine.tree.lookup(path).unwrap())
            });
            assert_eq!((old.meta, &old.xattrs), (now.meta, &now.xattrs), "{path}");
            assert_eq!(old.links(), now.links(), "{path}");
            assert_eq!(old.kind.name(), now.kind.name(), "{path}");
        }
        let names = machine.tree.walk().count();
        // `etc`, `x`, and four folders to the place.
        assert_eq!(names, before.tree.walk().count() + 6);
        let root = machine.tree.lookup("/var/lib/container/root").unwrap();
        let root = machine.tree.node(root);
        assert_eq!((root.meta, root.links()), (before.tree.node(ROOT).meta, 1));
        let at = |path: &str| format!("/var/lib/container/root{path}");
        let (a, b) = (
            machine.tree.lookup(at("/bin/a")),
            machine.tree.lookup(at("/bin/b")),
        );
        assert_eq!(a, b);
        let read = |path: &str| machine.read(path, 1 << 32).unwrap();
        assert_eq!(read("/etc/x").unwrap(), b"machine");
        assert_eq!(read(&at("/bin/b")).unwrap(), b"container");
        let id = machine.tree.lookup(at("/sparse")).unwrap();
        let Kind::File(content) = &machine.tree.node(id).kind else {
            unreachable!()
        };
        let mut three = [0; 3];
        machine
            .stores
            .read_at(content, 1 << 30, &mut three)
            .unwrap();
        assert_eq!(&three, b"tai");
    }

    #[test]
    fn nothing_is_put_over_something() {
        let mut machine = rootfs(b"", 0);
        machine.tree.mkdir("/a/b", 0o700, 0).unwrap();
        let error = machine.graft("/a/b", container()).unwrap_err();
        assert_eq!(error, GraftError::Exists("/a/b".into()));
        machine.tree.write("/file", &b""[..], 0o644, 0).unwrap();
        let error = machine.graft("/file/x", container()).unwrap_err();
        assert!(error.to_string().contains("not a directory"), "{error}");
        assert!(machine.graft("/", container()).is_err());
    }
}
