//! The root file system: ext4, laid out by the `mkext4` crate.
//!
//! mkext4 decides where everything lies and renders all metadata; file contents are emitted
//! by [`Layout`], so that the whole file system goes out in one ascending pass. Its features
//! are `has_journal ext_attr dir_index filetype extent flex_bg sparse_super large_file
//! huge_file dir_nlink extra_isize metadata_csum`: no `64bit`, no `inline_data` and no
//! unwritten extents, which EXTLINUX could not read.

mod declare;
mod need;

pub use need::Need;

use super::{Layout, Piece, Source, place};
use crate::error::Report;
use crate::rootfs::{Content, ROOT, Segment, Tree};
use crate::size::Size;
use declare::{Declared, meta};
use mkext4::{FsBuilder, InodeCount, Options, RegionSink};
use std::collections::HashMap;
use std::io;
use uuid::Uuid;

/// Block size in bytes. EXTLINUX boots from it and the kernel is fastest with it.
pub const BLOCK: u64 = 4096;

/// Largest file system in bytes: 2^32 - 1 blocks, for there is no `64bit`.
pub const LARGEST: u64 = ((1 << 32) - 1) * BLOCK;

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
        let runs = runs.iter().map(|&(from, len)| (&content, from, len));
        place(&sealed.extents(handle), runs, &mut pieces);
    }
    Layout::new(spec.size, pieces)
        .map_err(|e| Report::failure("laying out the root file system").because(e))
}

/// Free bytes of a file system that was laid out, those for root only included: what its
/// superblock says (Linux Documentation/filesystems/ext4/super.rst).
pub fn free_bytes(layout: &Layout) -> u64 {
    let mut sb = [0; 1024];
    layout.read_metadata(1024, &mut sb);
    let number = |at: usize| {
        u64::from(u32::from_le_bytes([
            sb[at],
            sb[at + 1],
            sb[at + 2],
            sb[at + 3],
        ]))
    };
    // `INCOMPAT_64BIT`: numbers of blocks have an upper half.
    let high = match number(0x60) & 0x80 {
        0 => 0,
        _ => number(0x158),
    };
    (high << 32 | number(0xc)) << (10 + number(0x18).min(6))
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

/// Whether a file lies below one of the directories `dense`, or is named there: it gets no
/// holes.
fn is_dense(path: &str, dense: &[&str]) -> bool {
    dense.iter().any(|d| {
        let rest = path.strip_prefix(d);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
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
        Size(need.smallest().saturating_add(around)),
        Size(need.content),
        need.inodes
    ))
    .hint("give a larger `size:` in recipe.yaml or --size, or leave it `auto`")
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
