//! The root file system: ext4, laid out by the `mkext4` crate.
//!
//! mkext4 decides where everything lies and renders all metadata; file contents are emitted
//! by [`Layout`], so that the whole file system goes out in one ascending pass. Its features
//! are `has_journal ext_attr dir_index filetype extent flex_bg sparse_super large_file
//! huge_file dir_nlink extra_isize metadata_csum`: no `64bit`, no `inline_data` and no
//! unwritten extents, which EXTLINUX could not read.

use super::{Layout, Piece, Source};
use crate::error::Report;
use crate::rootfs::{Content, Kind, Meta, NodeId, ROOT, Segment, Tree};
use crate::size::{MIB, Size};
use mkext4::{FsBuilder, InodeCount, InodeHandle, Options, RegionSink, SparseSeg, SpecialKind};
use std::collections::HashMap;
use std::io;
use uuid::Uuid;

/// Block size in bytes. EXTLINUX boots from it and the kernel is fastest with it.
pub const BLOCK: u64 = 4096;

/// Blocks in a block group: what one block of bitmap can describe.
const GROUP_BLOCKS: u64 = 8 * BLOCK;

/// Most inodes in a block group, for the same reason.
const GROUP_INODES: u64 = 8 * BLOCK;

/// Size of an inode in bytes.
const INODE: u64 = 256;

/// First free inode number; those below belong to the file system itself
/// (`EXT4_GOOD_OLD_FIRST_INO`, Linux fs/ext4/ext4.h).
const FIRST_INODE: u64 = 11;

/// Largest file system in bytes: 2^32 - 1 blocks, for there is no `64bit`.
pub const LARGEST: u64 = ((1 << 32) - 1) * BLOCK;

/// Smallest file system in bytes: mkext4 wants four times the smallest journal.
const LEAST: u64 = 16 * MIB;

/// Sizes of journals in blocks, and from which size of the file system in blocks each holds
/// (e2fsprogs, lib/ext2fs/mkjournal.c, `ext2fs_default_journal_size`).
const JOURNALS: [(u64, u64); 8] = [
    (0, 1024),
    (32768, 4096),
    (262_144, 8192),
    (524_288, 16384),
    (4_194_304, 32768),
    (8_388_608, 65536),
    (16_777_216, 131_072),
    (33_554_432, 262_144),
];

/// Longest extent in blocks (`EXT_INIT_MAX_LEN`, Linux fs/ext4/ext4_extents.h).
const EXTENT_BLOCKS: u64 = 32768;

/// Earliest and latest second that a 256-byte inode can hold: 1901-12-13 and 2446-05-10
/// (Linux Documentation/filesystems/ext4/inodes.rst, "Inode Timestamps").
const TIMES: (i64, i64) = (-(1 << 31), (1 << 34) - (1 << 31) - 1);

/// What a tree takes in an ext4 file system, apart from what the file system itself takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Need {
    /// Blocks of file contents, directories, long links and extended attributes. An upper
    /// bound that is exact for file contents.
    pub blocks: u64,
    /// Inodes, the file system's own included.
    pub inodes: u64,
    /// Bytes of file contents, holes not counted: for people, not for the layout.
    pub content: u64,
}

impl Need {
    /// What `tree` takes.
    pub fn of(tree: &Tree) -> Need {
        // Inodes 1 to 10 and lost+found with its four blocks, and the root directory.
        let mut need = Need {
            blocks: 4,
            inodes: FIRST_INODE,
            content: 0,
        };
        need.add(tree, ROOT);
        let mut linked: std::collections::HashSet<NodeId> = std::collections::HashSet::new();
        let mut walk = tree.walk();
        while let Some((_, id)) = walk.step() {
            if tree.node(id).links() > 1 && !linked.insert(id) {
                continue;
            }
            need.inodes += 1;
            need.add(tree, id);
        }
        need
    }

    fn add(&mut self, tree: &Tree, id: NodeId) {
        let node = tree.node(id);
        if node.xattrs.is_some() {
            self.blocks += 1;
        }
        match &node.kind {
            Kind::File(content) => {
                let data: u64 = data_runs(content).iter().map(|(_, len)| *len).sum();
                let blocks = data.div_ceil(BLOCK);
                // Four extents fit into the inode; a leaf block holds 340 more.
                let extents = blocks.div_ceil(EXTENT_BLOCKS) * 2 + data_runs(content).len() as u64;
                let tree_blocks = if extents > 4 {
                    extents.div_ceil(170) + 1
                } else {
                    0
                };
                self.blocks += blocks + tree_blocks;
                self.content += data;
            }
            Kind::Dir(children) => {
                // A directory entry: 8 bytes and the name, rounded up to 4 (ext4_dir_entry_2).
                let bytes: u64 = 24
                    + children
                        .keys()
                        .map(|n| (8 + n.len() as u64).next_multiple_of(4))
                        .sum::<u64>();
                let linear = bytes.div_ceil(BLOCK - 300);
                // A hashed directory fills its blocks to three quarters at worst, and has
                // index blocks (one for about 500 leaves) besides.
                self.blocks += if linear == 1 {
                    1
                } else {
                    linear * 3 / 2 + linear / 400 + 2
                };
            }
            Kind::Symlink(target) if target.len() >= 60 => self.blocks += 1,
            _ => {}
        }
    }

    /// The smallest file system, in bytes, that surely holds this, as every larger one does: a
    /// multiple of 1 MiB.
    pub fn smallest(&self) -> u64 {
        self.smallest_with(0, 0)
    }

    /// The smallest file system, in bytes, that holds this and has `free` bytes for everybody
    /// besides, if `reserved_percent` of its blocks are root's: a multiple of 1 MiB.
    pub fn smallest_with(&self, free: u64, reserved_percent: u8) -> u64 {
        let blocks = self.blocks + free.div_ceil(BLOCK);
        let mut size = LEAST;
        // Where the journal gets larger, a larger file system may hold less.
        for (from, _) in JOURNALS {
            if self.wanted(from * BLOCK, blocks, reserved_percent) > from * BLOCK {
                size = size.max(from * BLOCK);
            }
        }
        // Each round adds what the file system of the last round's size takes for itself;
        // that grows far slower than the size, so it settles within a few rounds.
        loop {
            let wanted = self.wanted(size, blocks, reserved_percent);
            if wanted <= size {
                return size;
            }
            size = wanted;
        }
    }

    /// What this, as `blocks` blocks, takes in a file system that has `size` bytes, in bytes.
    fn wanted(&self, size: u64, blocks: u64, reserved_percent: u8) -> u64 {
        let reserved = size / BLOCK * u64::from(reserved_percent) / 100;
        let wanted = (blocks + reserved + overhead(size, self.inodes)) * BLOCK;
        let for_inodes = if self.inodes > GROUP_INODES {
            self.inodes.div_ceil(GROUP_INODES) * GROUP_BLOCKS * BLOCK
        } else {
            0
        };
        wanted.max(for_inodes).next_multiple_of(MIB)
    }

    /// How many inodes a file system of `size` bytes shall have: mke2fs's usual one for 16 KiB
    /// of space, and always a quarter more than the content needs.
    pub fn inodes_for(&self, size: u64) -> u32 {
        let wanted = (size / 16384).max(self.inodes + self.inodes / 4 + 1024);
        let groups = (size / BLOCK).div_ceil(GROUP_BLOCKS);
        u32::try_from(wanted.min(groups * GROUP_INODES)).unwrap_or(u32::MAX)
    }
}

/// Blocks that a file system of `size` bytes takes for itself: superblock and group
/// descriptors with their backups (`sparse_super`), bitmaps, inode tables and the journal.
fn overhead(size: u64, inodes: u64) -> u64 {
    let blocks = size / BLOCK;
    let groups = blocks.div_ceil(GROUP_BLOCKS).max(1);
    let inodes = (size / 16384).max(inodes + inodes / 4 + 1024);
    let table = (inodes
        .div_ceil(groups)
        .next_multiple_of(16)
        .min(GROUP_INODES))
        * INODE
        / BLOCK;
    let descriptors = (groups * 32).div_ceil(BLOCK);
    // Backups lie in group 1 and in the powers of 3, 5 and 7.
    let power_of = |mut n: u64, base: u64| {
        while n.is_multiple_of(base) {
            n /= base;
        }
        n == 1
    };
    let backups = (1..groups)
        .filter(|&g| g == 1 || power_of(g, 3) || power_of(g, 5) || power_of(g, 7))
        .count() as u64;
    let journal = JOURNALS
        .iter()
        .rev()
        .find(|(from, _)| blocks >= *from)
        .map_or(0, |(_, journal)| *journal);
    (1 + backups) * (1 + descriptors) + groups * (2 + table) + journal + 8
}

/// What the file system is to be.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Size in bytes, a multiple of 4096.
    pub size: u64,
    /// Its UUID; the seed of the directory hash comes from it.
    pub uuid: Uuid,
    /// Volume label, at most 16 bytes.
    pub label: String,
    /// Times of the superblock and of lost+found, in seconds since 1970 (0 to 2^32 - 1).
    pub epoch: i64,
    /// Number of inodes.
    pub inodes: u32,
    /// Blocks that only root may use, in percent (0 to 50).
    pub reserved_percent: u8,
    /// What the tree takes, for an error that says so.
    pub need: Need,
}

/// Lays out `tree` as an ext4 file system.
///
/// The tree is gone as soon as everything in it is declared: mkext4's own tables take most of
/// the memory that an image needs, and both at once would be a quarter more.
///
/// Files below one of the directories `dense` (paths in the tree), and files named there, get
/// no holes even if the tar declared some: EXTLINUX cannot read a sparse extent.
///
/// Fails if the tree does not fit, or holds something that ext4 cannot: the error says what.
pub fn layout(tree: Tree, spec: &Spec, dense: &[&str]) -> Result<Layout, Report> {
    let mut options = Options::new(spec.size, *spec.uuid.as_bytes(), spec.epoch);
    options.label = Some(spec.label.clone());
    options.inodes = InodeCount::Exact(spec.inodes);
    options.reserved_percent = spec.reserved_percent;
    let failed = |e: mkext4::Error| refused(spec, &e);

    let mut declared = Declared {
        builder: FsBuilder::new(options).map_err(failed)?,
        files: Vec::new(),
        linked: HashMap::new(),
        attributes: (String::new(), 0),
        dense,
    };
    let root = tree.node(ROOT);
    declared
        .builder
        .set_meta(mkext4::ROOT, meta(&root.meta))
        .map_err(failed)?;
    declared.xattrs(&tree, ROOT, mkext4::ROOT, "/")?;
    declared.tree(&tree)?;
    drop(tree);

    let Declared {
        builder,
        files,
        attributes,
        ..
    } = declared;
    let sealed = builder.seal().map_err(|e| {
        if e.to_string().contains("xattr") {
            too_many_attributes(&attributes)
        } else {
            failed(e)
        }
    })?;
    let mut recorder = Recorder(Vec::new());
    // The writer emits all metadata at once and would then take file contents; we emit those
    // ourselves, in one ascending pass with the metadata.
    drop(sealed.writer(&mut recorder).map_err(failed)?);
    let mut pieces = recorder.0;
    pieces.reserve(files.len());
    for (handle, content, holes_kept) in files {
        let runs = if holes_kept {
            data_runs(&content)
        } else {
            vec![(0, content.len())]
        };
        place(&sealed.extents(handle), &runs, &content, &mut pieces);
    }
    Layout::new(spec.size, pieces)
        .map_err(|e| Report::failure("laying out the root file system").because(e))
}

/// Pairs the places of a file on the disk with the runs of the file that hold data: both are
/// in the file's order, but are cut at different points.
fn place(extents: &[(u64, u64)], runs: &[(u64, u64)], content: &Content, pieces: &mut Vec<Piece>) {
    let mut runs = runs.iter().copied();
    let (mut from, mut left) = runs.next().unwrap_or((0, 0));
    for &(mut offset, mut room) in extents {
        while room > 0 {
            if left == 0 {
                let Some(next) = runs.next() else { return };
                (from, left) = next;
                continue;
            }
            let len = room.min(left);
            pieces.push(Piece {
                offset,
                len,
                source: Source::Content {
                    content: content.clone(),
                    from,
                },
            });
            offset += len;
            room -= len;
            from += len;
            left -= len;
        }
    }
}

/// The runs of a file that need blocks, as (offset, length): whole blocks but for the end of
/// the file.
fn data_runs(content: &Content) -> Vec<(u64, u64)> {
    let size = content.len();
    let Content::Sparse { segments, .. } = content else {
        return if size == 0 {
            Vec::new()
        } else {
            vec![(0, size)]
        };
    };
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for Segment { offset, len, .. } in segments.iter().filter(|s| s.len > 0) {
        let start = offset - offset % BLOCK;
        let end = (offset + len).next_multiple_of(BLOCK).min(size);
        match runs.last_mut() {
            Some((at, run)) if *at + *run >= start => *run = end.max(*at + *run) - *at,
            _ => runs.push((start, end - start)),
        }
    }
    runs
}

fn refused(spec: &Spec, error: &mkext4::Error) -> Report {
    let text = error.to_string();
    if text.contains("too small") || text.contains("full") || text.contains("geometry provides") {
        return too_small(&spec.need, spec.size, 0);
    }
    Report::failure(format!("laying out the root file system: {text}"))
}

/// The error for extended attributes that do not fit: mkext4 does not say whose, but those of
/// the path that has the most of them do not.
fn too_many_attributes((path, bytes): &(String, usize)) -> Report {
    Report::failure(format!(
        "the extended attributes of {path:?} take {bytes} bytes, more than the block of 4096 that an ext4 file system gives each file"
    ))
    .hint("remove some of them in the Dockerfile, by `setfattr -x`")
}

/// The error for a disk of `size` bytes, `around` of them outside of the root file system,
/// that cannot hold `need`.
pub fn too_small(need: &Need, size: u64, around: u64) -> Report {
    Report::mistake(format!(
        "a disk of {} is too small for the root file system: it takes at least {} ({} of files, {} inodes)",
        Size(size),
        Size(need.smallest() + around),
        Size(need.content),
        need.inodes
    ))
    .hint("give a larger `size:` in recipe.yaml or --size, or leave it `auto`")
}

fn meta(meta: &Meta) -> mkext4::Meta {
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
struct Declared<'a> {
    builder: FsBuilder,
    /// Every file that has content, whether its holes are kept, in the order of declaration.
    files: Vec<(InodeHandle, Content, bool)>,
    /// Nodes with several names that were declared already.
    linked: HashMap<NodeId, InodeHandle>,
    /// The path whose extended attributes take the most bytes, and how many.
    attributes: (String, usize),
    dense: &'a [&'a str],
}

impl Declared<'_> {
    /// Declares everything below the root, in the tree's own order.
    fn tree(&mut self, tree: &Tree) -> Result<(), Report> {
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
            path.push_str(name);
            if path == "/lost+found" {
                // mkext4 makes its own, empty.
                if children(id).next().is_some() || !matches!(tree.node(id).kind, Kind::Dir(_)) {
                    return Err(Report::mistake(
                        "the root file system has a /lost+found that is no empty directory; that name belongs to the file system check",
                    )
                    .hint("remove or rename it in the Dockerfile"));
                }
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
        let at = |e: mkext4::Error| Report::failure(format!("laying out {path:?}: {e}"));
        if let Some(&first) = self.linked.get(&id) {
            self.builder.hardlink(parent, name, first).map_err(at)?;
            return Ok(None);
        }
        let meta = meta(&node.meta);
        let b = &mut self.builder;
        let special = |b: &mut FsBuilder, kind| b.mknod(parent, name, meta, kind).map_err(at);
        let handle = match &node.kind {
            Kind::Dir(_) => b.mkdir(parent, name, meta).map_err(at)?,
            Kind::Symlink(target) => b.symlink(parent, name, target, meta).map_err(at)?,
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
        let dense = !matches!(content, Content::Sparse { .. })
            || self.dense.iter().any(|d| {
                path.strip_prefix(d)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
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

    fn xattrs(
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

/// Keeps what mkext4 emits, neighbours joined; zeros are what is left out.
struct Recorder(Vec<Piece>);

impl RegionSink for Recorder {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if let Some(Piece {
            offset: start,
            len,
            source: Source::Bytes(last),
        }) = self.0.last_mut()
            && *start + *len == offset
        {
            last.extend_from_slice(bytes);
            *len += bytes.len() as u64;
        } else {
            self.0.push(Piece {
                offset,
                len: bytes.len() as u64,
                source: Source::Bytes(bytes.to_vec()),
            });
        }
        Ok(())
    }

    fn zeros(&mut self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }
}
