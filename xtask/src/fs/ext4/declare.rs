//! Declares a tree to the writer, name by name.

use super::laid::Contents;
use super::writer::{self, Builder, Kind as Node};
use super::{Wishes, is_dense, refused};
use crate::error::Report;
use crate::rootfs::{Content, Kind, Meta, NodeId, ROOT, Tree};
use std::collections::HashMap;

/// Owner, mode and time in the form that the writer uses.
fn meta(meta: &Meta) -> writer::Meta {
    writer::Meta {
        mode: meta.mode,
        uid: meta.uid,
        gid: meta.gid,
        secs: meta.mtime.secs,
        nanos: meta.mtime.nanos,
    }
}

/// A tree that is being declared to the writer.
pub(super) struct Declared<'a> {
    builder: Builder,
    contents: Contents,
    /// Nodes with several names that are declared already.
    linked: HashMap<NodeId, writer::NodeId>,
    wishes: &'a Wishes<'a>,
    /// The place of each path that is stored early but not by the boot loader's wish.
    order: HashMap<&'a [u8], usize>,
    /// Files that are stored early: the place of the path that names them, and the file.
    early: Vec<(usize, writer::NodeId)>,
}

/// The directory that the file system itself needs.
const LOST_AND_FOUND: &[u8] = b"/lost+found";

/// Declares a whole tree.
pub(super) fn declare(
    builder: Builder,
    tree: &Tree,
    wishes: &Wishes<'_>,
) -> Result<(Builder, Contents), Report> {
    let mut order = HashMap::new();
    for (n, path) in wishes.order.iter().enumerate() {
        // The first place counts. What the boot loader reads comes before all of them.
        order
            .entry(path.as_bytes())
            .or_insert(wishes.dense.len() + n);
    }
    let mut declared = Declared {
        builder,
        contents: Contents::default(),
        linked: HashMap::new(),
        wishes,
        order,
        early: Vec::new(),
    };
    declared.builder.root(&meta(&tree.node(ROOT).meta));
    declared.attributes(tree, ROOT, writer::ROOT, b"/")?;
    declared.tree(tree)?;
    declared.early.sort_unstable();
    for (_, node) in &declared.early {
        declared.builder.early(*node);
    }
    Ok((declared.builder, declared.contents))
}

impl Declared<'_> {
    /// Declares everything below the root, in the order of the tree.
    fn tree(&mut self, tree: &Tree) -> Result<(), Report> {
        let children = |id: NodeId| match &tree.node(id).kind {
            Kind::Dir(children) => children.iter(),
            _ => std::collections::btree_map::Iter::default(),
        };
        // One level for each open directory. It is a list, because a tar may be nested very deeply.
        let place = self.order.get(&b"/"[..]).copied();
        let mut levels = vec![(writer::ROOT, children(ROOT), 0, place)];
        let mut path = Vec::new();
        while let Some((parent, entries, len, place)) = levels.last_mut() {
            let (parent, len, place) = (*parent, *len, *place);
            let Some((name, &id)) = entries.next() else {
                levels.pop();
                continue;
            };
            path.truncate(len);
            path.push(b'/');
            path.extend_from_slice(name);
            if path == LOST_AND_FOUND {
                // The writer makes its own, empty one.
                lost_and_found(&tree.node(id).kind)?;
                continue;
            }
            // A path of its own, or that of a directory above.
            let place = self.order.get(&path[..]).copied().or(place);
            if let Some(node) = self.node(tree, parent, name, id, &path, place)? {
                levels.push((node, children(id), path.len(), place));
            }
        }
        Ok(())
    }

    /// Declares one name. Returns the writer's number of a directory, so that its entries can
    /// follow.
    fn node(
        &mut self,
        tree: &Tree,
        parent: writer::NodeId,
        name: &[u8],
        id: NodeId,
        path: &[u8],
        place: Option<usize>,
    ) -> Result<Option<writer::NodeId>, Report> {
        let node = tree.node(id);
        if node.links() > writer::MOST_LINKS && !self.wishes.split_links {
            return Err(too_many_links(path, node.links()));
        }
        // A file that has all names that it may have is stored once more.
        if let Some(&first) = self.linked.get(&id)
            && self.builder.links(first) < writer::MOST_LINKS
        {
            self.builder.link(parent, name, first).map_err(refused)?;
            return Ok(None);
        }
        let meta = meta(&node.meta);
        let mut add = |kind: Node<'_>| self.builder.add(parent, name, &meta, kind);
        let number = match &node.kind {
            Kind::Dir(_) => add(Node::Dir),
            Kind::Symlink(target) => add(Node::Symlink(target)),
            Kind::Char { major, minor } => add(Node::Char(*major, *minor)),
            Kind::Block { major, minor } => add(Node::Block(*major, *minor)),
            Kind::Fifo => add(Node::Fifo),
            Kind::Socket => add(Node::Socket),
            Kind::File(content) => {
                let size = content.len();
                let handle = self.contents.handle(content);
                let dense = self.wishes.dense;
                let dense = dense.iter().position(|d| is_dense(path, &[d]));
                let early = dense.or(place);
                let added = match content {
                    Content::Sparse { segments, .. } if dense.is_none() => {
                        let runs: Vec<_> = segments.iter().map(|s| (s.offset, s.len)).collect();
                        let runs = &runs;
                        add(Node::Sparse { size, handle, runs })
                    }
                    _ => add(Node::File { size, handle }),
                };
                if let (Ok(node), Some(place)) = (&added, early) {
                    self.early.push((place, *node));
                }
                if let (Ok(node), Content::Late { len }) = (&added, content) {
                    self.contents.late(handle, *node, *len);
                }
                added
            }
        };
        let number = number.map_err(refused)?;
        self.attributes(tree, id, number, path)?;
        let is_dir = matches!(node.kind, Kind::Dir(_));
        if node.links() > 1 && !is_dir {
            self.linked.insert(id, number);
        }
        Ok(is_dir.then_some(number))
    }

    fn attributes(
        &mut self,
        tree: &Tree,
        id: NodeId,
        node: writer::NodeId,
        path: &[u8],
    ) -> Result<(), Report> {
        let Some(xattrs) = &tree.node(id).xattrs else {
            return Ok(());
        };
        // Access control lists have a different form on disk.
        let mut lists: Vec<(&[u8], Vec<u8>)> = Vec::new();
        let mut rest: Vec<(&[u8], &[u8])> = Vec::new();
        for (name, value) in xattrs.iter() {
            if matches!(
                &**name,
                "system.posix_acl_access" | "system.posix_acl_default"
            ) {
                let list = acl_on_disk(value).ok_or_else(|| {
                    Report::failure(format!(
                        "the access control list {name} of \"{}\" is malformed",
                        path.escape_ascii()
                    ))
                })?;
                lists.push((name.as_bytes(), list));
            } else {
                rest.push((name.as_bytes(), value));
            }
        }
        rest.extend(lists.iter().map(|(name, list)| (*name, &list[..])));
        self.builder.attributes(node, path, rest).map_err(refused)
    }
}

/// The error for a file with more names than an inode can count.
fn too_many_links(path: &[u8], links: u32) -> Report {
    Report::mistake(format!(
        "the file \"{}\" has {links} names (hard links), but ext4 allows at most {}",
        path.escape_ascii(),
        writer::MOST_LINKS
    ))
    .hint("set `split-links: true` in `root:` of recipe.yaml to store it several times, or replace some of the names with copies; `tar --hard-dereference` stores a copy for each name")
}

/// Fails unless an old /lost+found can be replaced by the one of the new file system. e2fsck makes
/// that directory and puts the files that it finds into it.
fn lost_and_found(old: &Kind) -> Result<(), Report> {
    let what = match old {
        Kind::Dir(children) if children.is_empty() => return Ok(()),
        Kind::Dir(children) => format!(
            "is not empty ({} in it); a file system check of an earlier disk put that there",
            children.len()
        ),
        other => format!("is a {}, not a directory", other.name()),
    };
    Err(Report::mistake(format!(
        "the root file system's /lost+found {what}, and the new file system makes this directory itself"
    ))
    .hint("move what is needed out of it, and exclude the rest: `tar --exclude=./lost+found`, or `RUN rm -rf /lost+found` in the Dockerfile"))
}

/// Converts an access control list from the form of the system calls (version 2, Linux
/// include/uapi/linux/posix_acl_xattr.h) to the one on an ext4 disk (version 1, Linux
/// fs/ext4/acl.h), which omits the id where it has no meaning. `None` if malformed.
fn acl_on_disk(value: &[u8]) -> Option<Vec<u8>> {
    const USER: u16 = 0x02;
    const GROUP: u16 = 0x08;
    let (version, entries) = value.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != 2 || entries.len() % 8 != 0 {
        return None;
    }
    let mut out = 1_u32.to_le_bytes().to_vec();
    for entry in entries.chunks_exact(8) {
        let tag = u16::from_le_bytes([entry[0], entry[1]]);
        let len = if tag == USER || tag == GROUP { 8 } else { 4 };
        out.extend_from_slice(&entry[..len]);
    }
    Some(out)
}
