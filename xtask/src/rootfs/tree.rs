//! The tree: names and metadata of a root file system, in memory.
//!
//! Every path is looked up *inside* the tree, as in a chroot: an absolute link starts at the tree's
//! root, and `..` at the root stays there. No path can refer to a file of the host.

mod last;
#[cfg(test)]
mod tests;

use super::budget::{Budget, Exceeded, MAX_PATH};
use super::node::{Kind, Meta, Node, Time, boxed};
use super::walk::Walk;
use bstr::{BStr, BString, ByteSlice};
use last::LastParent;
use std::sync::Arc;

/// Longest chain of symbolic links that a look-up follows (Linux: 40, path_resolution(7)).
const MAX_LINKS: u32 = 40;

/// Longest name in bytes (Linux include/uapi/linux/limits.h, `NAME_MAX`).
const MAX_NAME: usize = 255;

/// The number of a node in its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(super) u32);

impl NodeId {
    /// Its number: nodes are numbered in the order in which they are made.
    pub fn number(self) -> usize {
        self.0 as usize
    }
}

/// The root directory of every tree.
pub const ROOT: NodeId = NodeId(0);

/// Why an edit of the tree is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// A path contains `..`: a member of a tar that would leave the root.
    #[error("the path {0:?} has a '..' in it and could leave the root file system")]
    DotDot(BString),
    /// A parent of the path is not a directory.
    #[error("{path:?} cannot be made: {parent:?} is a {kind}, not a directory")]
    NotADirectory {
        /// The path to make.
        path: BString,
        /// The parent that is not a directory.
        parent: BString,
        /// Type of that parent.
        kind: &'static str,
    },
    /// A parent of the path is a dangling symbolic link.
    #[error("{path:?} cannot be made: {link:?} is a symbolic link that leads nowhere")]
    DanglingParent {
        /// The path to make.
        path: BString,
        /// The link.
        link: BString,
    },
    /// A hard link to something that does not exist, or to a directory.
    #[error("the hard link {path:?} cannot be made: {why}")]
    HardLink {
        /// The name of the link.
        path: BString,
        /// The reason.
        why: String,
    },
    /// The path is the root directory, which cannot be replaced.
    #[error("the root directory cannot be replaced by a {0}")]
    Root(&'static str),
    /// A name is longer than Linux allows.
    #[error(
        "the name that begins with {0:?} is longer than 255 bytes, the limit of Linux file systems"
    )]
    NameTooLong(BString),
    /// A name, or the target of a symbolic link, contains a NUL: no system call can make one.
    #[error("{0:?} has a NUL in it, which no Linux file name can have")]
    Nul(BString),
    /// A path is longer than Linux allows. It is the only limit for the depth of a tree.
    #[error(
        "the path that begins with {start:?} has {len} bytes, more than the {MAX_PATH} that Linux takes"
    )]
    PathTooLong {
        /// Its first bytes.
        start: BString,
        /// Its length in bytes, after following links.
        len: usize,
    },
    /// The target of a symbolic link is longer than a path may be.
    #[error(
        "the target of the symbolic link {path:?} has {len} bytes, more than the {MAX_PATH} that Linux takes"
    )]
    TargetTooLong {
        /// The link.
        path: BString,
        /// Length of its target in bytes.
        len: usize,
    },
    /// The input exceeds its limits.
    #[error(transparent)]
    Budget(#[from] Exceeded),
    /// There are more nodes than a tree can number.
    #[error("the root file system has more than 4,294,967,295 entries")]
    TooMany,
}

impl TreeError {
    /// Refuses a path that is far too long, before anything else is done with it. It may contain
    /// superfluous `./` and `/`, so this is not the final check.
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
    /// Removes it with everything below.
    Remove,
    /// Continues with its entries, if it is a directory.
    Enter,
    /// Does nothing.
    Leave,
}

/// Names and metadata of a whole root file system.
///
/// Nodes are in one vector and are identified by number, so a hard link is simply a second name for
/// a number. Removed nodes stay in the vector (nothing refers to them any more).
#[derive(Debug, Clone)]
pub struct Tree {
    pub(super) nodes: Vec<Node>,
    budget: Budget,
    last: LastParent,
}

impl Tree {
    /// A tree with only a root directory.
    pub fn new(root: Meta) -> Tree {
        Tree::within(root, Budget::default())
    }

    /// The same within the limits of `budget`.
    pub fn within(root: Meta, budget: Budget) -> Tree {
        let mut node = Node::new(Kind::dir(), root);
        node.links = 1;
        Tree {
            nodes: vec![node],
            budget,
            last: LastParent::NONE,
        }
    }

    /// Fails if look-ups had to follow so many links that they no longer find anything.
    pub fn check_steps(&self) -> Result<(), Exceeded> {
        self.budget.check_steps()
    }

    /// The node with that number.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// The node with that number, for changes. To change directory entries, use [`Tree::insert`],
    /// [`Tree::link`] and [`Tree::remove`].
    pub fn node_mut(&mut self, id: NodeId) -> &mut Node {
        // A directory may become something else, or a link lead elsewhere.
        self.last.forget();
        self.edit(id)
    }

    fn edit(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0 as usize]
    }

    /// Number of nodes that were ever made, including removed ones: an upper bound for the live
    /// ones.
    pub fn capacity(&self) -> usize {
        self.nodes.len()
    }

    /// Finds `path` without following a symbolic link in its last component.
    pub fn lookup(&self, path: impl AsRef<[u8]>) -> Option<NodeId> {
        self.find(path.as_ref(), false)
    }

    /// Finds `path`, following all symbolic links inside the tree.
    pub fn resolve(&self, path: impl AsRef<[u8]>) -> Option<NodeId> {
        self.find(path.as_ref(), true)
    }

    /// Whether something exists at `path`, including a dangling link.
    pub fn exists(&self, path: impl AsRef<[u8]>) -> bool {
        self.lookup(path).is_some()
    }

    /// The real path of `path` with every link followed, e.g. `/a/b`. `None` if it does not exist,
    /// or if a name is not UTF-8: this program never looks for such names.
    pub fn canonical(&self, path: impl AsRef<[u8]>) -> Option<String> {
        self.canonical_below(ROOT, path.as_ref())
    }

    /// The same for a path that begins at the folder `root`, which no link leads out of.
    pub(super) fn canonical_below(&self, root: NodeId, path: &[u8]) -> Option<String> {
        let trail = self.trail(root, path, true)?;
        let names: Option<Vec<&str>> = trail.iter().map(|(n, _)| n.to_str().ok()).collect();
        Some(format!("/{}", names?.join("/")))
    }

    /// The entries of the directory at `path` (links followed) in name order; empty if it is not a
    /// directory. Names that are not UTF-8 are left out: use [`Tree::walk`] to see all.
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

    /// The nodes on the way to `path` (every link followed), with its own node last and without the
    /// root; empty if it does not exist.
    pub fn steps(&self, path: impl AsRef<[u8]>) -> Vec<NodeId> {
        let trail = self.trail(ROOT, path.as_ref(), true).unwrap_or_default();
        trail.into_iter().map(|(_, id)| id).collect()
    }

    fn find(&self, path: &[u8], follow: bool) -> Option<NodeId> {
        self.find_below(ROOT, path, follow)
    }

    /// Finds a path that begins at the folder `root`, which no link leads out of.
    pub(super) fn find_below(&self, root: NodeId, path: &[u8], follow: bool) -> Option<NodeId> {
        self.trail(root, path, follow)
            .map(|t| t.last().map_or(root, |(_, id)| *id))
    }

    /// The steps from the folder `root` to `path`, links followed.
    fn trail<'a>(
        &'a self,
        root: NodeId,
        path: &'a [u8],
        follow_last: bool,
    ) -> Option<Vec<(&'a BStr, NodeId)>> {
        let mut steps = 0;
        let trail = self.follow(root, path, follow_last, &mut steps);
        // A single look-up is short: at most 40 links, and their targets are at most as long as a
        // path.
        trail.filter(|_| self.budget.step(steps))
    }

    fn follow<'a>(
        &'a self,
        root: NodeId,
        path: &'a [u8],
        follow_last: bool,
        steps: &mut u64,
    ) -> Option<Vec<(&'a BStr, NodeId)>> {
        let mut trail: Vec<(&BStr, NodeId)> = Vec::new();
        // Remaining components, the next one last.
        let mut todo: Vec<&[u8]> = components(path).rev().collect();
        let mut links = 0;
        while let Some(name) = todo.pop() {
            *steps += 1;
            if name == b".." {
                trail.pop();
                continue;
            }
            let here = trail.last().map_or(root, |(_, id)| *id);
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

    /// Puts `node` at `path` and returns its number. Missing parents are made (mode 0755, owned by
    /// root, with `node`'s time). It replaces what exists there, except that a directory keeps the
    /// entries of the directory that it replaces.
    ///
    /// A parent that is a symbolic link is followed inside the tree, as an unpacking engine does;
    /// the last component is never followed.
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
            // Only the metadata of the root itself can be set.
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
            let dir = self.edit(old);
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

    /// Gives the node `target` another name, `path`: a hard link.
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

    /// Removes `path` with everything below it; a link is removed, not its target. Returns whether
    /// it existed.
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

    /// Goes through the entries of the directory `dir`. `what` gets the directory, the name and the
    /// node, and decides what happens to each entry.
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

    /// Writes a file with these bytes, owned by root, with the time `epoch` (seconds since 1970). A
    /// symbolic link at `path` is replaced, not followed.
    pub fn write(
        &mut self,
        path: &str,
        bytes: impl Into<Arc<[u8]>>,
        mode: u16,
        epoch: i64,
    ) -> Result<NodeId, TreeError> {
        self.insert(path, Node::new(Kind::bytes(bytes), Meta::root(mode, epoch)))
    }

    /// Makes the symbolic link `path` with this target, owned by root, with the time `epoch`.
    pub fn symlink(&mut self, path: &str, target: &str, epoch: i64) -> Result<NodeId, TreeError> {
        self.insert(
            path,
            Node::new(Kind::symlink(target), Meta::root(0o777, epoch)),
        )
    }

    /// Makes the directory `path` with its parents if it does not exist (links followed); an
    /// existing one keeps its owner and mode.
    pub fn mkdir(&mut self, path: &str, mode: u16, epoch: i64) -> Result<NodeId, TreeError> {
        match self.resolve(path) {
            Some(id) if matches!(self.node(id).kind, Kind::Dir(_)) => Ok(id),
            _ => self.insert(path, Node::new(Kind::dir(), Meta::root(mode, epoch))),
        }
    }

    /// Sets every time after `epoch` (seconds since 1970) to `epoch`.
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

    /// Every name in the tree without the root, a directory before its entries, entries in name
    /// order. Everything is written in this order.
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

    pub(super) fn attach(&mut self, dir: NodeId, name: &[u8], id: NodeId) {
        if let Kind::Dir(children) = &mut self.edit(dir).kind {
            children.insert(boxed(name), id);
            self.edit(id).links += 1;
        }
    }

    /// Removes `name` from `dir`, with everything below. It uses a list instead of recursion,
    /// because a malicious tar determines the depth of the tree.
    fn detach(&mut self, dir: NodeId, name: &[u8]) -> bool {
        let Kind::Dir(children) = &mut self.edit(dir).kind else {
            return false;
        };
        let Some(id) = children.remove(BStr::new(name)) else {
            return false;
        };
        if matches!(self.node(id).kind, Kind::Dir(_) | Kind::Symlink(_)) {
            self.last.forget();
        }
        let mut gone = vec![id];
        while let Some(id) = gone.pop() {
            let node = self.edit(id);
            node.links = node.links.saturating_sub(1);
            if let Kind::Dir(children) = &mut node.kind {
                gone.extend(std::mem::take(children).into_values());
            }
        }
        true
    }

    /// The parent directory of `path` (made if it is missing) and the last name; `None` for the
    /// root itself.
    pub(super) fn parent_of<'p>(
        &mut self,
        path: &'p [u8],
        mtime: Time,
    ) -> Result<Option<(NodeId, &'p [u8])>, TreeError> {
        if let Some(found) = self.last.parent_of(path) {
            return Ok(Some(found));
        }
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
        if let Some(long) = names.iter().find(|n| n.len() > MAX_NAME) {
            return Err(TreeError::NameTooLong(start(long)));
        }
        let Some((name, parents)) = names.split_last() else {
            return Ok(None);
        };
        let mut here = ROOT;
        // The length of the real path, with links followed: otherwise links into deep directories
        // would lead deeper and deeper.
        let mut len = 0;
        for (depth, part) in parents.iter().enumerate() {
            len += part.len() + 1;
            here = match self.child(here, part) {
                Some(next) => match &self.node(next).kind {
                    Kind::Dir(_) => next,
                    kind => {
                        // It is only built here: a path with n parents is looked up once, not n
                        // times.
                        let so_far = parents[..=depth].join(&b"/"[..]);
                        let is_link = matches!(kind, Kind::Symlink(_));
                        let kind = kind.name();
                        let trail = self.trail(ROOT, &so_far, true);
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
        self.last.remember(path, name, here, len);
        Ok(Some((here, name)))
    }
}

/// The first bytes of a path that is too long to print.
fn start(path: &[u8]) -> BString {
    path[..path.len().min(80)].into()
}

/// The components of a path, without empty ones and `.`.
fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
        .filter(|c| !c.is_empty() && *c != b".")
}
