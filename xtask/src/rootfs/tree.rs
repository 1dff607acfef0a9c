//! The tree: names and metadata of a root file system, in memory.
//!
//! Every path is looked up *inside* the tree, as in a chroot: an absolute link starts at the
//! tree's own root, and `..` at the root stays there. Nothing here can name a host file.

use super::node::{Kind, Meta, Node, Time};
use super::walk::Walk;
use std::sync::Arc;

/// Longest chain of symbolic links that a look-up follows (Linux: 40, path_resolution(7)).
const MAX_LINKS: u32 = 40;

/// The number of a node in its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u32);

impl NodeId {
    /// Its number: nodes are numbered in the order in which they were made.
    pub fn number(self) -> usize {
        self.0 as usize
    }
}

/// The root directory of every tree.
pub const ROOT: NodeId = NodeId(0);

/// Why a tree refuses an edit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// A path with `..` in it: a member of a tar that climbs out of the root.
    #[error("the path {0:?} has a '..' in it and could leave the root file system")]
    DotDot(String),
    /// A parent of the path is there and is no directory.
    #[error("{path:?} cannot be made: {parent:?} is a {kind}, not a directory")]
    NotADirectory {
        /// The path that was to be made.
        path: String,
        /// Its parent that stands in the way.
        parent: String,
        /// What that parent is.
        kind: &'static str,
    },
    /// A parent of the path is a symbolic link that leads nowhere.
    #[error("{path:?} cannot be made: {link:?} is a symbolic link that leads nowhere")]
    DanglingParent {
        /// The path that was to be made.
        path: String,
        /// The link.
        link: String,
    },
    /// A hard link to something that is not there, or to a directory.
    #[error("the hard link {path:?} cannot be made: {why}")]
    HardLink {
        /// The name of the link.
        path: String,
        /// The reason.
        why: String,
    },
    /// The path names the root directory, which cannot be replaced by something else.
    #[error("the root directory cannot be replaced by a {0}")]
    Root(&'static str),
    /// A name is longer than a Linux file name may be.
    #[error("the name {0:?} is longer than 255 bytes, the most a Linux file system takes")]
    NameTooLong(String),
    /// More nodes than a tree can number.
    #[error("the root file system has more than 4,294,967,295 entries")]
    TooMany,
}

/// What [`Tree::prune`] does with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prune {
    /// Takes it away with everything below.
    Remove,
    /// Goes through its own entries, if it is a directory.
    Enter,
    /// Nothing.
    Leave,
}

/// Names and metadata of a whole root file system.
///
/// Nodes live in one vector and are named by number, so a hard link is simply a second name
/// for a number. Removed nodes keep their place (nothing points at them any more).
#[derive(Debug, Clone)]
pub struct Tree {
    nodes: Vec<Node>,
}

impl Tree {
    /// A tree with nothing but its root directory.
    pub fn new(root: Meta) -> Tree {
        let mut node = Node::new(Kind::dir(), root);
        node.links = 1;
        Tree { nodes: vec![node] }
    }

    /// The node of that number.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// The node of that number, to be changed. Directory entries are the tree's own affair:
    /// use [`Tree::insert`], [`Tree::link`] and [`Tree::remove`] for them.
    pub fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0 as usize]
    }

    /// How many nodes were ever made, removed ones included: an upper bound for live ones.
    pub fn capacity(&self) -> usize {
        self.nodes.len()
    }

    /// Finds `path` without following a symbolic link in its last component.
    pub fn lookup(&self, path: &str) -> Option<NodeId> {
        self.find(path, false)
    }

    /// Finds `path`, following symbolic links to the end, inside the tree.
    pub fn resolve(&self, path: &str) -> Option<NodeId> {
        self.find(path, true)
    }

    /// Whether something (a dangling link included) stands at `path`.
    pub fn exists(&self, path: &str) -> bool {
        self.lookup(path).is_some()
    }

    /// The real path of `path` with every link followed, as `/a/b`; `None` if it leads nowhere.
    pub fn canonical(&self, path: &str) -> Option<String> {
        let trail = self.trail(path, true)?;
        let names: Vec<&str> = trail.iter().map(|(n, _)| n.as_ref()).collect();
        Some(format!("/{}", names.join("/")))
    }

    /// The entries of the directory at `path` (links followed) in name order; nothing if it
    /// is no directory.
    pub fn entries(&self, path: &str) -> impl Iterator<Item = (&str, NodeId)> {
        let children = self.resolve(path).and_then(|id| match &self.node(id).kind {
            Kind::Dir(children) => Some(children),
            _ => None,
        });
        children
            .into_iter()
            .flat_map(|c| c.iter().map(|(n, id)| (n.as_ref(), *id)))
    }

    /// The nodes on the way to `path` (every link followed), `path`'s own last; nothing if it
    /// leads nowhere. The root is not among them.
    pub fn steps(&self, path: &str) -> Vec<NodeId> {
        let trail = self.trail(path, true).unwrap_or_default();
        trail.into_iter().map(|(_, id)| id).collect()
    }

    fn find(&self, path: &str, follow: bool) -> Option<NodeId> {
        self.trail(path, follow)
            .map(|t| t.last().map_or(ROOT, |(_, id)| *id))
    }

    /// The steps from the root to `path`, links followed.
    fn trail(&self, path: &str, follow_last: bool) -> Option<Vec<(Box<str>, NodeId)>> {
        let mut trail: Vec<(Box<str>, NodeId)> = Vec::new();
        // Components still to walk, the next one last.
        let mut todo: Vec<Box<str>> = components(path).rev().map(Box::from).collect();
        let mut links = 0;
        while let Some(name) = todo.pop() {
            if &*name == ".." {
                trail.pop();
                continue;
            }
            let here = trail.last().map_or(ROOT, |(_, id)| *id);
            let Kind::Dir(children) = &self.node(here).kind else {
                return None;
            };
            let next = *children.get(&name)?;
            match &self.node(next).kind {
                Kind::Symlink(target) if follow_last || !todo.is_empty() => {
                    links += 1;
                    if links > MAX_LINKS {
                        return None;
                    }
                    if target.starts_with('/') {
                        trail.clear();
                    }
                    todo.extend(components(target).rev().map(Box::from));
                }
                _ => trail.push((name, next)),
            }
        }
        Some(trail)
    }

    /// Puts `node` at `path` and returns its number. Missing parents are made (mode 0755,
    /// root's, with `node`'s time). What stood there before is replaced, except that a
    /// directory put over a directory keeps the entries of the old one.
    ///
    /// A parent that is a symbolic link is followed inside the tree, as an unpacking engine
    /// does; the last component is never followed.
    pub fn insert(&mut self, path: &str, node: Node) -> Result<NodeId, TreeError> {
        let Some((parent, name)) = self.parent_of(path, node.meta.mtime)? else {
            // The root itself: only its metadata can be set.
            if !matches!(node.kind, Kind::Dir(_)) {
                return Err(TreeError::Root(node.kind.name()));
            }
            let root = &mut self.nodes[0];
            root.meta = node.meta;
            root.xattrs = node.xattrs;
            return Ok(ROOT);
        };
        if let Some(old) = self.child(parent, name)
            && matches!(self.node(old).kind, Kind::Dir(_))
            && matches!(node.kind, Kind::Dir(_))
        {
            let dir = self.node_mut(old);
            dir.meta = node.meta;
            dir.xattrs = node.xattrs;
            return Ok(old);
        }
        self.detach(parent, name);
        let id = self.push(node)?;
        self.attach(parent, name, id);
        Ok(id)
    }

    /// Gives the node `target` a second name, `path`: a hard link.
    pub fn link(&mut self, path: &str, target: NodeId) -> Result<(), TreeError> {
        let refuse = |why: &str| TreeError::HardLink {
            path: path.to_owned(),
            why: why.to_owned(),
        };
        if matches!(self.node(target).kind, Kind::Dir(_)) {
            return Err(refuse("its target is a directory"));
        }
        let mtime = self.node(target).meta.mtime;
        let Some((parent, name)) = self.parent_of(path, mtime)? else {
            return Err(TreeError::Root("hard link"));
        };
        if self.child(parent, name) == Some(target) {
            return Ok(());
        }
        self.detach(parent, name);
        self.attach(parent, name, target);
        Ok(())
    }

    /// Removes `path` with everything below it; a link is removed, not its target. Returns
    /// whether anything was there.
    pub fn remove(&mut self, path: &str) -> bool {
        let Some(name) = components(path).next_back().filter(|n| *n != "..") else {
            return false;
        };
        let dir: Vec<&str> = components(path).collect();
        let dir = dir[..dir.len() - 1].join("/");
        let Some(parent) = self.resolve(&dir) else {
            return false;
        };
        self.detach(parent, name)
    }

    /// Goes through the entries of the directory `dir` and does with each what `what` says of
    /// it: it is told the directory, the name and the node.
    pub fn prune(&mut self, dir: NodeId, mut what: impl FnMut(NodeId, &str, NodeId) -> Prune) {
        let mut todo = vec![dir];
        while let Some(dir) = todo.pop() {
            let Kind::Dir(children) = &self.node(dir).kind else {
                continue;
            };
            let mut out: Vec<Box<str>> = Vec::new();
            for (name, id) in children {
                match what(dir, name, *id) {
                    Prune::Remove => out.push(name.clone()),
                    Prune::Enter => todo.push(*id),
                    Prune::Leave => {}
                }
            }
            for name in out {
                self.detach(dir, &name);
            }
        }
    }

    /// Removes every entry of the directory at `path` (links followed), not the directory.
    pub fn clear(&mut self, path: &str) {
        let names: Vec<String> = self.entries(path).map(|(n, _)| n.to_owned()).collect();
        if let Some(dir) = self.resolve(path) {
            for name in names {
                self.detach(dir, &name);
            }
        }
    }

    /// Writes a file of root's with these bytes; the time is `epoch` (seconds since 1970).
    /// A symbolic link at `path` is replaced, not followed.
    pub fn write(
        &mut self,
        path: &str,
        bytes: impl Into<Arc<[u8]>>,
        mode: u16,
        epoch: i64,
    ) -> Result<NodeId, TreeError> {
        self.insert(path, Node::new(Kind::bytes(bytes), Meta::root(mode, epoch)))
    }

    /// Makes the symbolic link `path` with this target, as root, at `epoch`.
    pub fn symlink(&mut self, path: &str, target: &str, epoch: i64) -> Result<NodeId, TreeError> {
        let kind = Kind::Symlink(target.into());
        self.insert(path, Node::new(kind, Meta::root(0o777, epoch)))
    }

    /// Makes the directory `path` with its parents if it is not there (links followed); one
    /// that is there keeps its owner and mode.
    pub fn mkdir(&mut self, path: &str, mode: u16, epoch: i64) -> Result<NodeId, TreeError> {
        match self.resolve(path) {
            Some(id) if matches!(self.node(id).kind, Kind::Dir(_)) => Ok(id),
            _ => self.insert(path, Node::new(Kind::dir(), Meta::root(mode, epoch))),
        }
    }

    /// Takes every time after `epoch` (seconds since 1970) back to it.
    pub fn clamp_times(&mut self, epoch: i64) {
        for node in &mut self.nodes {
            if node.meta.mtime.secs >= epoch {
                node.meta.mtime = Time {
                    secs: epoch,
                    nanos: 0,
                };
            }
        }
    }

    /// Every name in the tree, a directory before its entries, entries in name order: the
    /// one order in which everything is written. The root is not in it.
    pub fn walk(&self) -> Walk<'_> {
        Walk::new(self)
    }

    fn child(&self, dir: NodeId, name: &str) -> Option<NodeId> {
        match &self.node(dir).kind {
            Kind::Dir(children) => children.get(name).copied(),
            _ => None,
        }
    }

    fn push(&mut self, mut node: Node) -> Result<NodeId, TreeError> {
        let id = u32::try_from(self.nodes.len()).map_err(|_| TreeError::TooMany)?;
        node.links = 0;
        self.nodes.push(node);
        Ok(NodeId(id))
    }

    fn attach(&mut self, dir: NodeId, name: &str, id: NodeId) {
        if let Kind::Dir(children) = &mut self.node_mut(dir).kind {
            children.insert(name.into(), id);
            self.node_mut(id).links += 1;
        }
    }

    /// Takes `name` out of `dir`, with everything below. Works with a list, not by recursion:
    /// a hostile tar decides how deep a tree is.
    fn detach(&mut self, dir: NodeId, name: &str) -> bool {
        let Kind::Dir(children) = &mut self.node_mut(dir).kind else {
            return false;
        };
        let Some(id) = children.remove(name) else {
            return false;
        };
        let mut gone = vec![id];
        while let Some(id) = gone.pop() {
            let node = self.node_mut(id);
            node.links = node.links.saturating_sub(1);
            if let Kind::Dir(children) = &mut node.kind {
                gone.extend(std::mem::take(children).into_values());
            }
        }
        true
    }

    /// The directory that `path` belongs into (made if it is missing) and its last name;
    /// `None` for the root itself.
    fn parent_of<'p>(
        &mut self,
        path: &'p str,
        mtime: Time,
    ) -> Result<Option<(NodeId, &'p str)>, TreeError> {
        let names: Vec<&str> = components(path).collect();
        if names.contains(&"..") {
            return Err(TreeError::DotDot(path.to_owned()));
        }
        if let Some(long) = names.iter().find(|n| n.len() > 255) {
            return Err(TreeError::NameTooLong((*long).to_owned()));
        }
        let Some((name, parents)) = names.split_last() else {
            return Ok(None);
        };
        let mut here = ROOT;
        for (depth, part) in parents.iter().enumerate() {
            here = match self.child(here, part) {
                Some(next) => match &self.node(next).kind {
                    Kind::Dir(_) => next,
                    kind => {
                        // Built only here: a path of n parents is looked up once, not n times.
                        let so_far = parents[..=depth].join("/");
                        let is_link = matches!(kind, Kind::Symlink(_));
                        let kind = kind.name();
                        match self.resolve(&so_far) {
                            Some(id) if matches!(self.node(id).kind, Kind::Dir(_)) => id,
                            None if is_link => {
                                return Err(TreeError::DanglingParent {
                                    path: path.to_owned(),
                                    link: so_far,
                                });
                            }
                            _ => {
                                return Err(TreeError::NotADirectory {
                                    path: path.to_owned(),
                                    parent: so_far,
                                    kind,
                                });
                            }
                        }
                    }
                },
                None => {
                    let meta = Meta {
                        mode: 0o755,
                        uid: 0,
                        gid: 0,
                        mtime,
                    };
                    let id = self.push(Node::new(Kind::dir(), meta))?;
                    self.attach(here, part, id);
                    id
                }
            };
        }
        Ok(Some((here, name)))
    }
}

/// The components of a path, without empty ones and `.`.
fn components(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/').filter(|c| !c.is_empty() && *c != ".")
}
