//! The root file system: ext4, with this project's own writer.
//!
//! [`writer`] does not depend on the rest of the program. The code here declares the tree to it,
//! and supplies the bytes of the files. README.md in this directory says what is written and why:
//! no `inline_data` and no unwritten extents, which EXTLINUX could not read, and no `64bit` below
//! 16 TiB.

mod declare;
mod laid;
mod need;
mod superblock;
mod view;
pub mod writer;

pub use laid::Laid;
pub use need::{Need, split_links};
pub use superblock::Superblock;
pub use view::Placed;

use super::Layout;
use crate::error::Report;
use crate::model::size::Size;
use crate::rootfs::Tree;
use uuid::Uuid;
use writer::{Builder, Error, Inodes, Options};

/// Block size in bytes. EXTLINUX boots from it, and it is the fastest for the kernel.
pub const BLOCK: u64 = 4096;

/// Size in bytes of the largest file system that EXTLINUX reads: 2^32 - 1 blocks. A larger one has
/// the feature `64bit`.
pub const LARGEST: u64 = ((1 << 32) - 1) * BLOCK;

/// Size in bytes of the largest file system with `64bit`: its group descriptors use half a group.
pub const LARGEST_64BIT: u64 = (8 * BLOCK) * (8 * BLOCK / 2) * (BLOCK / 64) * BLOCK;

/// A machine's disk can grow at least to this size in bytes, and to 1024 times its size, with the
/// group descriptors in one place, which EXTLINUX needs. This costs 256 KiB, and as much for each
/// of their backups.
const GROW: u64 = 1 << 40;

/// Parameters of the file system.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Size in bytes, a multiple of 4096.
    pub size: u64,
    /// UUID; the seed of the directory hash is derived from it.
    pub uuid: Uuid,
    /// Volume label, at most 16 bytes.
    pub label: String,
    /// Times of the superblock and of lost+found, in seconds since 1970 (0 to 2^32 - 1).
    pub epoch: i64,
    /// Number of inodes.
    pub inodes: u32,
    /// Blocks that only root may use, in percent (0 to 50).
    pub reserved_percent: u8,
    /// What the tree needs, for the error message.
    pub need: Need,
}

/// The writer's options for a file system of this size with this number of inodes.
fn options(size: u64, inodes: u32) -> Options {
    let mut options = Options::new(size, [0; 16]);
    options.inodes = Inodes::Count(inodes);
    options.grow_to = size.saturating_mul(1024).max(GROW);
    options.features.bits64 = size > LARGEST;
    options
}

/// Wishes about how a tree is stored. An array of paths is a wish for `dense` only.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wishes<'a> {
    /// Canonical paths of files, and of directories with everything in them, that have no holes even
    /// if the tar declared some: EXTLINUX cannot read a sparse extent. They are stored before all
    /// other files, in the order of these paths.
    pub dense: &'a [&'a str],
    /// Canonical paths of files, and of directories with everything in them, that are stored next,
    /// in this order. A path that does not exist has no effect.
    pub order: &'a [String],
    /// Whether a file with more names than ext4 allows is stored several times. Otherwise it is an
    /// error.
    pub split_links: bool,
}

impl<'a, const N: usize> From<&'a [&'a str; N]> for Wishes<'a> {
    fn from(dense: &'a [&'a str; N]) -> Wishes<'a> {
        Wishes {
            dense,
            ..Wishes::default()
        }
    }
}

/// Lays out `tree` as an ext4 file system.
///
/// The tree is dropped as soon as everything in it is declared.
///
/// Fails if the tree does not fit, or contains something that ext4 cannot store.
pub fn layout<'a>(
    tree: Tree,
    spec: &Spec,
    wishes: impl Into<Wishes<'a>>,
) -> Result<Layout, Report> {
    let wishes = wishes.into();
    let mut options = options(spec.size, spec.inodes);
    options.uuid = *spec.uuid.as_bytes();
    options.hash_seed = options.uuid;
    options.label = spec.label.clone().into_bytes();
    options.time = spec.epoch.max(0);
    options.reserved_percent = spec.reserved_percent;
    let no_room = |e| match e {
        Error::TooSmall { .. }
        | Error::NoSpace { .. }
        | Error::NoInodes { .. }
        | Error::TooManyInodes { .. } => too_small(&spec.need, spec.size, 0),
        e => refused(e),
    };
    let builder = Builder::new(options).map_err(no_room)?;
    let (builder, contents) = declare::declare(builder, &tree, &wishes)?;
    drop(tree);
    let volume = builder.lay_out().map_err(no_room)?;
    Ok(Layout::ext4(spec.size, Laid::new(volume, contents)))
}

/// Free bytes of a file system after layout, including those for root only, as its superblock says
/// (Linux Documentation/filesystems/ext4/super.rst).
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
    // `INCOMPAT_64BIT`: block numbers have an upper half.
    let high = match number(0x60) & 0x80 {
        0 => 0,
        _ => number(0x158),
    };
    (high << 32 | number(0xc)) << (10 + number(0x18).min(6))
}

/// Whether a file is named in `dense` or is below a directory named there, so that it has no holes.
fn is_dense(path: &[u8], dense: &[&str]) -> bool {
    dense.iter().any(|d| {
        let rest = path.strip_prefix(d.as_bytes());
        rest.is_some_and(|rest| rest.first().is_none_or(|b| *b == b'/'))
    })
}

/// The report for an error of the writer.
fn refused(error: Error) -> Report {
    let hint = match &error {
        Error::Attributes { .. } | Error::AttributeName { .. } | Error::Value { .. } => {
            Some("remove some of them in the Dockerfile with `setfattr -x`")
        }
        Error::Name { .. }
        | Error::NameTooLong { .. }
        | Error::FileTooLarge { .. }
        | Error::Target { .. }
        | Error::Device { .. }
        | Error::DirectoryTooLarge { .. } => Some(
            "ext4 cannot store it as it is: change or remove it before the tar or the container image is made",
        ),
        _ => None,
    };
    let report = Report::failure(format!("laying out the root file system: {error}"));
    match hint {
        Some(hint) => report.hint(hint),
        None => report,
    }
}

/// The error for a disk of `size` bytes, with `around` of them outside the root file system, that
/// cannot hold `need`.
pub fn too_small(need: &Need, size: u64, around: u64) -> Report {
    Report::mistake(format!(
        "a disk of {} is too small for the root file system: it needs at least {} ({} of files, {} inodes)",
        Size(size),
        Size(need.smallest().saturating_add(around)),
        Size(need.content),
        need.inodes
    ))
    .hint("give a larger `size:` in recipe.yaml or --size, or leave it `auto`")
}
