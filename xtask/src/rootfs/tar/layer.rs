//! Applies the layers of a container image on top of each other.
//!
//! OCI image specification, layer.md: a layer is a tar of the changes. In it `.wh.NAME` removes
//! NAME ("whiteout"), and `.wh..wh..opq` empties its directory ("opaque whiteout"). Both affect
//! only the layers below, whatever their position in the tar.

use super::input::{InFile, Spooled, TarInput, spool};
use super::notes::{Left, Notes};
use super::packed::LeftOver;
use super::{LATEST, TarError, acl, add, header};
use crate::rootfs::node::boxed;
use crate::rootfs::tree::{Prune, TreeError};
use crate::rootfs::{Budget, Rootfs, Store, Stores};
use crate::rootfs::{Kind, Meta, NodeId, Tree};
use bstr::{BStr, BString, ByteSlice};
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};

/// A root file system that is built layer by layer. All contents go to one unnamed file.
#[derive(Debug)]
pub struct Layers {
    rootfs: Rootfs,
    spool: File,
    spooled: u64,
    store: u32,
    notes: Notes,
}

impl Layers {
    /// Starts with only a root directory; contents go to a file in `spool_dir`.
    pub fn new(spool_dir: &camino::Utf8Path, budget: &Budget) -> io::Result<Layers> {
        let spool = spool(spool_dir)?;
        let mut stores = Stores::default();
        let store = stores.add(Store::new(spool.try_clone()?));
        Ok(Layers {
            rootfs: Rootfs {
                tree: Tree::within(Meta::root(0o755, 0), budget.clone()),
                stores,
                epoch: 0,
                notes: Vec::new(),
            },
            spool,
            spooled: 0,
            store,
            notes: Notes::default(),
        })
    }

    /// Applies a layer, an uncompressed tar. After an error, the root file system is in an
    /// undefined state between the old and the new one.
    pub fn apply(&mut self, stream: impl Read + 'static) -> Result<(), TarError> {
        let spool = self.spool.try_clone()?;
        let mut input = Spooled::onto(Box::new(stream), spool, self.spooled);
        self.read(&mut input, self.store)?;
        self.spooled = input.spooled();
        Ok(())
    }

    /// Does the same for a tar of `len` bytes at byte `start` of a store, where its contents stay.
    pub(in crate::rootfs) fn apply_in_place(
        &mut self,
        store: Store,
        start: u64,
        len: u64,
    ) -> Result<(), TarError> {
        let number = self.rootfs.stores.add(store.clone());
        self.read(&mut InFile::part(store, start, len), number)
    }

    fn read(&mut self, input: &mut dyn TarInput, store: u32) -> Result<(), TarError> {
        let tree = &mut self.rootfs.tree;
        let mut layer = Layer::new(tree.capacity());
        let mut state = header::Globals::default();
        loop {
            let entry = match header::next(input, &mut state, &mut self.notes) {
                // A layer without changes: engines make them.
                Ok(None) | Err(TarError::Empty) => break,
                entry => entry?,
            };
            let Some(entry) = entry else { break };
            self.rootfs.epoch = self.rootfs.epoch.max(entry.mtime.secs.min(LATEST));
            layer.entry(tree, store, entry)?;
            tree.check_steps().map_err(TreeError::from)?;
        }
        input.drain(&mut self.notes)?;
        Ok(())
    }

    /// Remembers that something followed a compressed layer.
    pub(in crate::rootfs) fn passed_over(&mut self, left_over: &LeftOver) {
        if left_over.any() {
            self.notes.add(Left::BehindPacked, b"", b"");
        }
    }

    /// Returns the result. Fails if users and groups cannot be read back from the spool.
    pub fn finish(mut self) -> io::Result<Rootfs> {
        acl::settle(&mut self.rootfs, &mut self.notes)?;
        self.rootfs.notes = self.notes.texts();
        Ok(self.rootfs)
    }
}

/// Changes of one layer so far.
struct Layer {
    /// Nodes from this number on were made by this layer.
    first: usize,
    /// Older directories that this layer has entries for or in.
    named: HashSet<NodeId>,
    /// Hard links of this layer to older files: directory and name.
    links: HashSet<(NodeId, Box<BStr>)>,
    /// Directories that contain nothing of the layers below any more.
    emptied: HashSet<NodeId>,
    /// The directory whose path was recorded last: entries of a directory usually follow each
    /// other.
    last: BString,
}

/// Meaning of a name in a layer.
enum Mark<'p> {
    Plain,
    Whiteout(&'p BStr),
    Opaque,
    /// Internal data of the file system AUFS.
    Aufs,
}

impl Layer {
    fn new(first: usize) -> Layer {
        Layer {
            first,
            named: HashSet::new(),
            links: HashSet::new(),
            emptied: HashSet::new(),
            last: BString::default(),
        }
    }

    fn entry(&mut self, tree: &mut Tree, store: u32, entry: header::Entry) -> Result<(), TarError> {
        let path = entry.path.trim_end_with(|c| c == '/').as_bstr().to_owned();
        let (dir, name) = path.rsplit_once_str("/").unwrap_or((b"", &path));
        let (dir, name) = (dir.as_bstr(), name.as_bstr());
        match mark(dir, name) {
            Mark::Plain => {
                let id = add(tree, store, entry)?;
                self.name_way(tree, dir);
                if matches!(tree.node(id).kind, Kind::Dir(_)) {
                    self.name(id);
                } else if id.number() < self.first
                    && let Some(dir) = tree.resolve(dir)
                {
                    self.links.insert((dir, boxed(name)));
                }
                return Ok(());
            }
            Mark::Opaque => {
                if let Some(dir) = tree.resolve(dir) {
                    self.empty(tree, dir);
                }
            }
            Mark::Whiteout(gone) if gone.is_empty() || gone == "." || gone == ".." => {
                // Taken literally, it would remove a whole directory, or one above it.
                return Err(TarError::Refused(format!(
                    "the whiteout {path:?} names no file"
                )));
            }
            Mark::Whiteout(gone) => self.whiteout(tree, dir, gone),
            Mark::Aufs => {}
        }
        Ok(())
    }

    fn name(&mut self, id: NodeId) {
        if id.number() < self.first {
            self.named.insert(id);
        }
    }

    /// Records that this layer has something below `dir`.
    fn name_way(&mut self, tree: &Tree, dir: &BStr) {
        if self.last != dir {
            for id in tree.steps(dir) {
                self.name(id);
            }
            self.last.clear();
            self.last.extend_from_slice(dir);
        }
    }

    /// Removes from `dir` what lower layers put there.
    fn empty(&mut self, tree: &mut Tree, dir: NodeId) {
        if !self.emptied.insert(dir) {
            return;
        }
        let Layer {
            first,
            named,
            links,
            emptied,
            ..
        } = self;
        tree.prune(dir, |dir, name, id| {
            let ours = id.number() >= *first
                || named.contains(&id)
                || !links.is_empty() && links.contains(&(dir, boxed(name)));
            if !ours {
                Prune::Remove
            } else if emptied.insert(id) {
                // Its lower entries are removed now, so that this is done only once: a layer may
                // have such a mark in every directory of a deep tree.
                Prune::Enter
            } else {
                Prune::Leave
            }
        });
    }

    fn whiteout(&mut self, tree: &mut Tree, dir: &BStr, gone: &BStr) {
        let path = [dir, gone].map(|part| -> &[u8] { part }).join(&b"/"[..]);
        let (Some(parent), Some(id)) = (tree.resolve(dir), tree.lookup(&path)) else {
            return;
        };
        if matches!(tree.node(id).kind, Kind::Dir(_))
            && (id.number() >= self.first || self.named.contains(&id))
        {
            self.empty(tree, id);
        } else if id.number() < self.first && !self.links.contains(&(parent, boxed(gone))) {
            tree.remove(&path);
        }
    }
}

fn mark<'p>(dir: &BStr, name: &'p BStr) -> Mark<'p> {
    const AUFS: &[u8] = b".wh..wh.";
    if name == ".wh..wh..opq" {
        Mark::Opaque
    } else if name.starts_with(AUFS) || dir.split_str("/").any(|part| part.starts_with(AUFS)) {
        Mark::Aufs
    } else {
        match name.strip_prefix(b".wh.") {
            Some(gone) => Mark::Whiteout(gone.as_bstr()),
            None => Mark::Plain,
        }
    }
}
