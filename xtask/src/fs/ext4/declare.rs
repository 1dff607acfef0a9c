//! A tree, told to mkext4 name by name.

use super::{data_runs, is_dense};
use crate::error::Report;
use crate::rootfs::{Content, Kind, Meta, NodeId, ROOT, Tree};
use mkext4::{FsBuilder, InodeHandle, SparseSeg, SpecialKind};
use std::collections::HashMap;

/// Earliest and latest second that a 256-byte inode can hold: 1901-12-13 and 2446-05-10
/// (Linux Documentation/filesystems/ext4/inodes.rst, "Inode Timestamps").
const TIMES: (i64, i64) = (-(1 << 31), (1 << 34) - (1 << 31) - 1);

/// Owner, mode and time as mkext4 takes them.
pub(super) fn meta(meta: &Meta) -> mkext4::Meta {
    // A time that no inode can hold becomes the nearest that it can: what Linux does as well.
    let secs = meta.mtime.secs.clamp(TIMES.0, TIMES.1);
    mkext4::Meta::new(
        meta.mode & 0o7777,
        meta.uid,
        meta.gid,
        (secs, meta.mtime.nanos),
    )
}

/// A tree on its way into mkext4's builder.
pub(super) struct Declared<'a> {
    pub(super) builder: FsBuilder,
    /// Every file that has content, whether its holes are kept, in the order of declaration.
    pub(super) files: Vec<(InodeHandle, Content, bool)>,
    /// Nodes with several names that were declared already.
    pub(super) linked: HashMap<NodeId, InodeHandle>,
    /// The path whose extended attributes take the most bytes, and how many.
    pub(super) attributes: (String, usize),
    pub(super) dense: &'a [&'a str],
}

impl Declared<'_> {
    /// Declares everything below the root, in the tree's own order.
    pub(super) fn tree(&mut self, tree: &Tree) -> Result<(), Report> {
        let children = |id: NodeId| match &tree.node(id).kind {
            Kind::Dir(children) => children.iter(),
            _ => std::collections::btree_map::Iter::default(),
        };
        // One level for each directory on the way: a list, for a tar may nest very deep.
        let mut levels = vec![(mkext4::ROOT, children(ROOT), 0)];
        let mut path = String::new();
        while let Some((parent, entries, len)) = levels.last_mut() {
            let (parent, len) = (*parent, *len);
            let Some((name, &id)) = entries.next() else {
                levels.pop();
                continue;
            };
            path.truncate(len);
            path.push('/');
            let name = utf8(name).ok_or_else(|| not_utf8(path.as_bytes(), name))?;
            path.push_str(name);
            if path == "/lost+found" {
                // mkext4 makes its own, empty.
                lost_and_found(&tree.node(id).kind)?;
                continue;
            }
            if let Some(handle) = self.node(tree, parent, name, id, &path)? {
                levels.push((handle, children(id), path.len()));
            }
        }
        Ok(())
    }

    /// Declares one name; the handle of a directory, so that its entries can follow.
    fn node(
        &mut self,
        tree: &Tree,
        parent: InodeHandle,
        name: &str,
        id: NodeId,
        path: &str,
    ) -> Result<Option<InodeHandle>, Report> {
        let node = tree.node(id);
        let at = |e: mkext4::Error| {
            Report::failure(format!("laying out {path:?}: {e}"))
                .hint("ext4 cannot hold it as it is: change or remove it before the tar or the container image is made")
        };
        if node.links() > MOST_LINKS {
            return Err(too_many_links(path, node.links()));
        }
        if let Some(&first) = self.linked.get(&id) {
            self.builder.hardlink(parent, name, first).map_err(at)?;
            return Ok(None);
        }
        let meta = meta(&node.meta);
        let b = &mut self.builder;
        let special = |b: &mut FsBuilder, kind| b.mknod(parent, name, meta, kind).map_err(at);
        let handle = match &node.kind {
            Kind::Dir(_) => b.mkdir(parent, name, meta).map_err(at)?,
            Kind::Symlink(target) => {
                let target = utf8(target).ok_or_else(|| not_utf8(path.as_bytes(), b""))?;
                b.symlink(parent, name, target, meta).map_err(at)?
            }
            Kind::Char { major, minor } => special(
                b,
                SpecialKind::Char {
                    major: *major,
                    minor: *minor,
                },
            )?,
            Kind::Block { major, minor } => special(
                b,
                SpecialKind::Block {
                    major: *major,
                    minor: *minor,
                },
            )?,
            Kind::Fifo => special(b, SpecialKind::Fifo)?,
            Kind::Socket => special(b, SpecialKind::Socket)?,
            Kind::File(content) => self.file(parent, name, meta, content, path).map_err(at)?,
        };
        self.xattrs(tree, id, handle, path)?;
        if node.links() > 1 && !matches!(node.kind, Kind::Dir(_)) {
            self.linked.insert(id, handle);
        }
        Ok(matches!(node.kind, Kind::Dir(_)).then_some(handle))
    }

    fn file(
        &mut self,
        parent: InodeHandle,
        name: &str,
        meta: mkext4::Meta,
        content: &Content,
        path: &str,
    ) -> mkext4::Result<InodeHandle> {
        let dense = !matches!(content, Content::Sparse { .. }) || is_dense(path, self.dense);
        let handle = if dense {
            self.builder.file(parent, name, meta, content.len())?
        } else {
            let mut segments = Vec::new();
            let mut at = 0;
            for (offset, len) in data_runs(content) {
                if offset > at {
                    segments.push(SparseSeg::Hole(offset - at));
                }
                segments.push(SparseSeg::Data(len));
                at = offset + len;
            }
            if content.len() > at {
                segments.push(SparseSeg::Hole(content.len() - at));
            }
            self.builder.file_sparse(parent, name, meta, &segments)?
        };
        if !content.is_empty() {
            self.files.push((handle, content.clone(), !dense));
        }
        Ok(handle)
    }

    pub(super) fn xattrs(
        &mut self,
        tree: &Tree,
        id: NodeId,
        handle: InodeHandle,
        path: &str,
    ) -> Result<(), Report> {
        let mut bytes = 0;
        for (name, value) in tree.node(id).xattrs.iter().flat_map(|x| x.iter()) {
            bytes += name.len() + value.len();
            let acl = match &**name {
                "system.posix_acl_access" | "system.posix_acl_default" => {
                    Some(acl_on_disk(value).ok_or_else(|| {
                        Report::failure(format!(
                            "the access control list {name} of {path:?} is malformed"
                        ))
                    })?)
                }
                _ => None,
            };
            self.builder
                .set_xattr(handle, name, acl.as_deref().unwrap_or(value))
                .map_err(|e| {
                    Report::failure(format!(
                        "the extended attribute {name:?} of {path:?} cannot be stored: {e}"
                    ))
                })?;
        }
        if bytes > self.attributes.1 {
            self.attributes = (path.to_owned(), bytes);
        }
        Ok(())
    }
}

/// Most names of one file (`EXT4_LINK_MAX`, Linux fs/ext4/ext4.h).
const MOST_LINKS: u32 = 65_000;

/// The error for a file with more names than an inode can count.
fn too_many_links(path: &str, links: u32) -> Report {
    Report::mistake(format!(
        "the file {path:?} has {links} names (hard links); a file of an ext4 file system has at most {MOST_LINKS}"
    ))
    .hint("make copies of some of them; `tar --hard-dereference` stores a copy for each name")
}

/// Fails unless an old /lost+found can be replaced by the new file system's own: e2fsck makes
/// that one and puts into it what it finds.
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
        "the root file system's /lost+found {what}, and the new file system has one of its own"
    ))
    .hint("move what is needed out of it, and leave the rest out: `tar --exclude=./lost+found`, or `RUN rm -rf /lost+found` in the Dockerfile"))
}

fn utf8(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// The error for a name, or for the target of a link, that mkext4 cannot write.
fn not_utf8(dir: &[u8], name: &[u8]) -> Report {
    let (what, path) = if name.is_empty() {
        ("the target of the symbolic link", dir.to_vec())
    } else {
        ("the name", [dir, name].concat())
    };
    Report::failure(format!(
        "{what} \"{}\" is not UTF-8, and the ext4 file systems written here hold only UTF-8 names",
        path.escape_ascii()
    ))
    .hint("rename or remove that file before the tar or the container image is made")
}

/// Turns an access control list from the form of the system calls (version 2, Linux
/// include/uapi/linux/posix_acl_xattr.h) into the one on an ext4 disk (version 1, Linux
/// fs/ext4/acl.h), which leaves out the id where it means nothing. `None` if malformed.
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
