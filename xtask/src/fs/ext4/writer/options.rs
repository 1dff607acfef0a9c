//! Options of a file system.

use super::Error;

/// What the kernel does when it finds an error in the file system (`s_errors`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// It continues.
    Continue,
    /// It mounts the file system read-only.
    ReadOnly,
    /// It panics.
    Panic,
}

/// The journal, a file with the inode 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Journal {
    /// The same size as mke2fs uses for a file system of this size.
    Auto,
    /// No journal.
    None,
    /// This number of blocks, at least 1024.
    Blocks(u32),
}

/// Number of inodes. It is rounded up so that each group's inode table has whole blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inodes {
    /// This number.
    Count(u32),
    /// One inode per this number of bytes of the file system.
    BytesEach(u32),
}

/// Optional features of ext4. All are off by default.
///
/// EXTLINUX supports neither `bits64` nor `inline_data` nor `meta_bg` (it misreads the group
/// descriptors of the first, the inodes of the second, and looks for the group descriptors of the
/// third in one place). e2fsck before 1.47 refuses `orphan_file`, and before 1.46 `fast_commit` and
/// `casefold`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features {
    /// Block numbers of 48 bits and group descriptors of 64 bytes (`64bit`): for more than
    /// 2^32 - 1 blocks.
    pub bits64: bool,
    /// A file for the inodes that are deleted but open (`orphan_file`; Linux 5.15).
    pub orphan_file: bool,
    /// The kernel may journal small changes in a shorter form (`fast_commit`; Linux 5.10).
    pub fast_commit: bool,
    /// Directories can be made case-insensitive (`casefold`; Linux 5.2).
    pub casefold: bool,
    /// Inodes have a project number, which is 0 in all of them (`project`; Linux 4.5).
    pub project: bool,
    /// fs-verity can be enabled for files (`verity`; Linux 5.4).
    pub verity: bool,
    /// Values of extended attributes can be in separate inodes (`ea_inode`; Linux 4.13).
    pub ea_inode: bool,
    /// Directories can have a hash tree of three levels (`large_dir`; Linux 4.13).
    pub large_dir: bool,
    /// Checksums start from a number in the superblock, so that the UUID of a mounted file system
    /// can be changed (`metadata_csum_seed`; Linux 4.4).
    pub csum_seed: bool,
    /// Contents of [`Kind::Small`](super::Kind::Small) files and entries of small directories are
    /// stored in their inodes if they fit (`inline_data`; Linux 3.8).
    pub inline_data: bool,
    /// Group descriptors are distributed over the file system (`meta_bg`; Linux 2.6), so that it can
    /// grow to any size without reserved space: `grow_to` must be 0.
    pub meta_bg: bool,
    /// Only groups 1 and the last one have copies of the superblock and of the group descriptors
    /// (`sparse_super2`; Linux 3.16). The kernel does not grow such a file system while it is
    /// mounted.
    pub sparse_super2: bool,
}

/// Options of a file system. Its bytes depend only on these, and on what is added to it in which
/// order.
#[derive(Debug, Clone)]
pub struct Options {
    /// Size in bytes. The part after the last whole block is not used.
    pub size: u64,
    /// Block size in bytes: a power of two from 1024 to 65536. Linux mounts blocks that are larger
    /// than a page of memory only since 6.18.
    pub block_size: u32,
    /// Number of inodes.
    pub inodes: Inodes,
    /// UUID of the file system.
    pub uuid: [u8; 16],
    /// Seed of the directory hashes.
    pub hash_seed: [u8; 16],
    /// Volume label, at most 16 bytes.
    pub label: Vec<u8>,
    /// Times of the volume, in seconds since 1970 (0 to 2^40 - 1).
    pub time: i64,
    /// Blocks that only root may use, in percent (0 to 50).
    pub reserved_percent: u8,
    /// What the kernel does when it finds an error.
    pub on_error: OnError,
    /// Default mount options (`s_default_mount_opts`, Linux fs/ext4/ext4.h: `EXT4_DEFM_*`).
    pub mount_options: u32,
    /// Size of the journal.
    pub journal: Journal,
    /// The file system can grow to this size in bytes with its group descriptors in one place
    /// (`resize_inode`). Beyond it, the kernel switches to `meta_bg`. 0: no space is reserved.
    pub grow_to: u64,
    /// Fill of the blocks of directories with several blocks, in percent (50 to 100).
    pub leaf_fill: u8,
    /// Optional features.
    pub features: Features,
}

/// `EXT4_DEFM_XATTR_USER` and `EXT4_DEFM_ACL`, as in mke2fs.
pub const XATTR_USER_AND_ACL: u32 = 0xc;

impl Options {
    /// The defaults of mke2fs for a file system of `size` bytes: blocks of 4 KiB, an inode per 16
    /// KiB, 5 percent for root, room to grow to 1024 times its size.
    pub fn new(size: u64, uuid: [u8; 16]) -> Options {
        Options {
            size,
            block_size: 4096,
            inodes: Inodes::BytesEach(16384),
            uuid,
            hash_seed: uuid,
            label: Vec::new(),
            time: 0,
            reserved_percent: 5,
            on_error: OnError::Continue,
            mount_options: XATTR_USER_AND_ACL,
            journal: Journal::Auto,
            grow_to: size.saturating_mul(1024),
            leaf_fill: 90,
            features: Features::default(),
        }
    }

    /// Checks the values that do not depend on others.
    pub(super) fn check(&self) -> Result<(), Error> {
        let refuse = |option, value, why| Err(Error::Option { option, value, why });
        let block = u64::from(self.block_size);
        if !block.is_power_of_two() || !(1024..=65536).contains(&block) {
            return refuse(
                "block size",
                block,
                "it must be a power of two from 1024 to 65536",
            );
        }
        if self.label.len() > 16 || self.label.contains(&0) {
            let len = self.label.len() as u64;
            return refuse("length of the label", len, "at most 16 bytes are possible");
        }
        if self.reserved_percent > 50 {
            let percent = u64::from(self.reserved_percent);
            return refuse("reserved percent", percent, "it must be 0 to 50");
        }
        if !(50..=100).contains(&self.leaf_fill) {
            let percent = u64::from(self.leaf_fill);
            return refuse(
                "fill of directories",
                percent,
                "it must be 50 to 100 percent",
            );
        }
        if !(0..1 << 40).contains(&self.time) {
            let time = self.time.unsigned_abs();
            return refuse("time of the volume", time, "it must be 0 to 2^40 - 1");
        }
        match self.journal {
            Journal::Blocks(n) if n < 1024 => {
                return refuse(
                    "blocks of the journal",
                    n.into(),
                    "it must be at least 1024",
                );
            }
            _ => {}
        }
        if self.features.meta_bg && self.grow_to > 0 {
            return Err(Error::Together {
                one: "meta_bg",
                other: "reserved space for group descriptors",
                why: "set `grow_to` to 0: it can grow without",
            });
        }
        match self.inodes {
            Inodes::BytesEach(n) if u64::from(n) < 1024 => {
                refuse("bytes for each inode", n.into(), "it must be at least 1024")
            }
            _ => Ok(()),
        }
    }
}
