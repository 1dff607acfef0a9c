//! The tree: names and metadata of a root file system, in memory.
//!
//! Every path is looked up *inside* the tree, as in a chroot: an absolute link starts at the
//! tree's own root, and `..` at the root stays there. Nothing here can name a host file.

use super::budget::{Budget, Exceeded, MAX_PATH};
use super::node::{Kind, Meta, Node, Time, boxed};
use super::walk::Walk;
use bstr::{BStr, BString, ByteSlice};
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
    DotDot(BString),
    /// A parent of the path is there and is no directory.
    #[error("{path:?} cannot be made: {parent:?} is a {kind}, not a directory")]
    NotADirectory {
        /// The path that was to be made.
        path: BString,
        /// Its parent that stands in the way.
        parent: BString,
        /// What that parent is.
        kind: &'static str,
    },
    /// A parent of the path is a symbolic link that leads nowhere.
    #[error("{path:?} cannot be made: {link:?} is a symbolic link that leads nowhere")]
    DanglingParent {
        /// The path that was to be made.
        path: BString,
        /// The link.
        link: BString,
    },
    /// A hard link to something that is not there, or to a directory.
    #[error("the hard link {path:?} cannot be made: {why}")]
    HardLink {
        /// The name of the link.
        path: BString,
        /// The reason.
        why: String,
    },
    /// The path names the root directory, which cannot be replaced by something else.
    #[error("the root directory cannot be replaced by a {0}")]
    Root(&'static str),
    /// A name is longer than a Linux file name may be.
    #[error(
        "the name that begins with {0:?} is longer than 255 bytes, the most a Linux file system takes"
    )]
    NameTooLong(BString),
    /// A name, or the target of a symbolic link, with a NUL in it: no system call can make one.
    #[error("{0:?} has a NUL in it, which no Linux file name can have")]
    Nul(BString),
    /// A path that is longer than Linux takes: there is no other bound of how deep a tree is.
    #[error(
        "the path that begins with {start:?} has {len} bytes, more than the {MAX_PATH} that Linux takes"
    )]
    PathTooLong {
        /// Its first bytes.
        start: BString,
        /// Its length in bytes, with links on the way followed.
        len: usize,
    },
    /// A symbolic link whose target is longer than a path may be.
    #[error(
        "the target of the symbolic link {path:?} has {len} bytes, more than the {MAX_PATH} that Linux takes"
    )]
    TargetTooLong {
        /// The link.
        path: BString,
        /// Length of its target in bytes.
        len: usize,
    },
    /// More than the input may take.
    #[error(transparent)]
    Budget(#[from] Exceeded),
    /// More nodes than a tree can number.
    #[error("the root file system has more than 4,294,967,295 entries")]
    TooMany,
}

impl TreeError {
    /// Refuses a path that is far too long, before anything is done with it. It may be written
    /// with a `./` and a `/` too many, so this is not the last word.
    pub(super) fn check_length(path: &[u8]) -> Result<(), TreeError> {
        match path.len() > 2 * MAX_PATH {
            true => Err(TreeError::PathTooLong {
                start: start(path),
                len: path.len(),
            }),
            false => Ok(()),
        }
    }
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
    budget: Budget,
}

impl Tree {
    /// A tree with nothing but its root directory.
    pub fn new(root: Meta) -> Tree {
        Tree::within(root, Budget::default())
    }

    /// The same for an input that may take no more than `budget`.
    pub fn within(root: Meta, budget: Budget) -> Tree {
        let mut node = Node::new(Kind::dir(), root);
        node.links = 1;
        Tree {
            nodes: vec![node],
            budget,
        }
    }

    /// Fails once look-ups had to follow so many links that they no longer find anything.
    pub fn check_steps(&self) -> Result<(), Exceeded> {
        self.budget.check_steps()
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
    pub fn lookup(&self, path: impl AsRef<[u8]>) -> Option<NodeId> {
        self.find(path.as_ref(), false)
    }

    /// Finds `path`, following symbolic links to the end, inside the tree.
    pub fn resolve(&self, path: impl AsRef<[u8]>) -> Option<NodeId> {
        self.find(path.as_ref(), true)
    }

    /// Whether something (a dangling link included) stands at `path`.
    pub fn exists(&self, path: impl AsRef<[u8]>) -> bool {
        self.lookup(path).is_some()
    }

    /// The real path of `path` with every link followed, as `/a/b`; `None` if it leads nowhere,
    /// or to a name that is not UTF-8: nothing that this program looks for has one.
    pub fn canonical(&self, path: impl AsRef<[u8]>) -> Option<String> {
        let trail = self.trail(path.as_ref(), true)?;
        let names: Option<Vec<&str>> = trail.iter().map(|(n, _)| n.to_str().ok()).collect();
        Some(format!("/{}", names?.join("/")))
    }

    /// The entries of the directory at `path` (links followed) in name order; nothing if it
    /// is no directory. Names that are not UTF-8 are left out: use [`Tree::walk`] to see all.
    pub fn entries(&self, path: impl AsRef<[u8]>) -> impl Iterator<Item = (&str, NodeId)> {
        let children = self.resolve(path).and_then(|id| match &self.node(id).kind {
            Kind::Dir(children) => Some(children),
            _ => None,
        });
        children
            .into_iter()
            .flatten()
            .filter_map(|(name, id)| Some((name.to_str().ok()?, *id)))
    }

    /// The nodes on the way to `path` (every link followed), `path`'s own last; nothing if it
    /// leads nowhere. The root is not among them.
    pub fn steps(&self, path: impl AsRef<[u8]>) -> Vec<NodeId> {
        let trail = self.trail(path.as_ref(), true).unwrap_or_default();
        trail.into_iter().map(|(_, id)| id).collect()
    }

    fn find(&self, path: &[u8], follow: bool) -> Option<NodeId> {
        self.trail(path, follow)
            .map(|t| t.last().map_or(ROOT, |(_, id)| *id))
    }

    /// The steps from the root to `path`, links followed.
    fn trail<'a>(&'a self, path: &'a [u8], follow_last: bool) -> Option<Vec<(&'a BStr, NodeId)>> {
        let mut steps = 0;
        let trail = self.follow(path, follow_last, &mut steps);
        // No single look-up is long: links are at most 40, and their targets as long as a path.
        trail.filter(|_| self.budget.step(steps))
    }

    fn follow<'a>(
        &'a self,
        path: &'a [u8],
        follow_last: bool,
        steps: &mut u64,
    ) -> Option<Vec<(&'a BStr, NodeId)>> {
        let mut trail: Vec<(&BStr, NodeId)> = Vec::new();
        // Components still to walk, the next one last.
        let mut todo: Vec<&[u8]> = components(path).rev().collect();
        let mut links = 0;
        while let Some(name) = todo.pop() {
            *steps += 1;
            if name == b".." {
                trail.pop();
                continue;
            }
            let here = trail.last().map_or(ROOT, |(_, id)| *id);
            let Kind::Dir(children) = &self.node(here).kind else {
                return None;
            };
            let (name, next) = children.get_key_value(BStr::new(name))?;
            match &self.node(*next).kind {
                Kind::Symlink(target) if follow_last || !todo.is_empty() => {
                    links += 1;
                    if links > MAX_LINKS {
                        return None;
                    }
                    if target.starts_with(b"/") {
                        trail.clear();
                    }
                    todo.extend(components(target).rev());
                }
                _ => trail.push((name, *next)),
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
    pub fn insert(&mut self, path: impl AsRef<[u8]>, node: Node) -> Result<NodeId, TreeError> {
        let path = path.as_ref();
        if let Kind::Symlink(target) = &node.kind
            && target.contains(&0)
        {
            return Err(TreeError::Nul(target[..].into()));
        }
        if let Kind::Symlink(target) = &node.kind
            && target.len() > MAX_PATH
        {
            let (path, len) = (start(path), target.len());
            return Err(TreeError::TargetTooLong { path, len });
        }
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
        self.budget.name(name, false)?;
        self.detach(parent, name);
        let id = self.push(node)?;
        self.attach(parent, name, id);
        Ok(id)
    }

    /// Gives the node `target` a second name, `path`: a hard link.
    pub fn link(&mut self, path: impl AsRef<[u8]>, target: NodeId) -> Result<(), TreeError> {
        let path = path.as_ref();
        let refuse = |why: &str| TreeError::HardLink {
            path: path.into(),
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
        self.budget.name(name, true)?;
        self.detach(parent, name);
        self.attach(parent, name, target);
        Ok(())
    }

    /// Removes `path` with everything below it; a link is removed, not its target. Returns
    /// whether anything was there.
    pub fn remove(&mut self, path: impl AsRef<[u8]>) -> bool {
        let mut dir: Vec<&[u8]> = components(path.as_ref()).collect();
        let Some(name) = dir.pop().filter(|n| *n != b"..") else {
            return false;
        };
        let dir = dir.join(&b"/"[..]);
        let Some(parent) = self.resolve(&dir) else {
            return false;
        };
        self.detach(parent, name)
    }

    /// Goes through the entries of the directory `dir` and does with each what `what` says of
    /// it: it is told the directory, the name and the node.
    pub fn prune(&mut self, dir: NodeId, mut what: impl FnMut(NodeId, &BStr, NodeId) -> Prune) {
        let mut todo = vec![dir];
        while let Some(dir) = todo.pop() {
            let Kind::Dir(children) = &self.node(dir).kind else {
                continue;
            };
            let mut out: Vec<Box<BStr>> = Vec::new();
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
        self.insert(
            path,
            Node::new(Kind::symlink(target), Meta::root(0o777, epoch)),
        )
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

    fn child(&self, dir: NodeId, name: &[u8]) -> Option<NodeId> {
        match &self.node(dir).kind {
            Kind::Dir(children) => children.get(BStr::new(name)).copied(),
            _ => None,
        }
    }

    fn push(&mut self, mut node: Node) -> Result<NodeId, TreeError> {
        let id = u32::try_from(self.nodes.len()).map_err(|_| TreeError::TooMany)?;
        self.budget.node(&node)?;
        node.links = 0;
        self.nodes.push(node);
        Ok(NodeId(id))
    }

    fn attach(&mut self, dir: NodeId, name: &[u8], id: NodeId) {
        if let Kind::Dir(children) = &mut self.node_mut(dir).kind {
            children.insert(boxed(name), id);
            self.node_mut(id).links += 1;
        }
    }

    /// Takes `name` out of `dir`, with everything below. Works with a list, not by recursion:
    /// a hostile tar decides how deep a tree is.
    fn detach(&mut self, dir: NodeId, name: &[u8]) -> bool {
        let Kind::Dir(children) = &mut self.node_mut(dir).kind else {
            return false;
        };
        let Some(id) = children.remove(BStr::new(name)) else {
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
        path: &'p [u8],
        mtime: Time,
    ) -> Result<Option<(NodeId, &'p [u8])>, TreeError> {
        let names: Vec<&[u8]> = components(path).collect();
        let too_long = |len: usize| match len > MAX_PATH {
            true => Err(TreeError::PathTooLong {
                start: start(path),
                len,
            }),
            false => Ok(()),
        };
        too_long(names.iter().map(|n| n.len() + 1).sum())?;
        if names.contains(&&b".."[..]) {
            return Err(TreeError::DotDot(path.into()));
        }
        if path.contains(&0) {
            return Err(TreeError::Nul(path.into()));
        }
        if let Some(long) = names.iter().find(|n| n.len() > 255) {
            return Err(TreeError::NameTooLong(start(long)));
        }
        let Some((name, parents)) = names.split_last() else {
            return Ok(None);
        };
        let mut here = ROOT;
        // Of the real path, links followed: a link to deep down would lead deeper and deeper.
        let mut len = 0;
        for (depth, part) in parents.iter().enumerate() {
            len += part.len() + 1;
            here = match self.child(here, part) {
                Some(next) => match &self.node(next).kind {
                    Kind::Dir(_) => next,
                    kind => {
                        // Built only here: a path of n parents is looked up once, not n times.
                        let so_far = parents[..=depth].join(&b"/"[..]);
                        let is_link = matches!(kind, Kind::Symlink(_));
                        let kind = kind.name();
                        let trail = self.trail(&so_far, true);
                        let end = trail.as_ref().map(|t| t.last().map_or(ROOT, |(_, id)| *id));
                        match end {
                            Some(id) if matches!(self.node(id).kind, Kind::Dir(_)) => {
                                let names = trail.iter().flatten();
                                len = names.map(|(name, _)| name.len() + 1).sum();
                                id
                            }
                            None if is_link => {
                                self.check_steps()?;
                                return Err(TreeError::DanglingParent {
                                    path: path.into(),
                                    link: so_far.into(),
                                });
                            }
                            _ => {
                                return Err(TreeError::NotADirectory {
                                    path: path.into(),
                                    parent: so_far.into(),
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
                    too_long(len)?;
                    self.budget.name(part, false)?;
                    let id = self.push(Node::new(Kind::dir(), meta))?;
                    self.attach(here, part, id);
                    id
                }
            };
        }
        too_long(len + name.len() + 1)?;
        Ok(Some((here, name)))
    }
}

/// The first bytes of a path that is too long to be told.
fn start(path: &[u8]) -> BString {
    path[..path.len().min(80)].into()
}

/// The components of a path, without empty ones and `.`.
fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
        .filter(|c| !c.is_empty() && *c != b".")
}
