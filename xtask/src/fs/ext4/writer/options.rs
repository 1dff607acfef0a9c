//! What a file system is to be.

use super::Error;

/// What the kernel does when it finds an error in the file system (`s_errors`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// It goes on.
    Continue,
    /// It mounts the file system read-only.
    ReadOnly,
    /// It panics.
    Panic,
}

/// The journal, a file with the inode 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Journal {
    /// As large as mke2fs makes it for a file system of this size.
    Auto,
    /// None.
    None,
    /// So many blocks, 1024 at least.
    Blocks(u32),
}

/// How many inodes the file system has. It is rounded up to whole blocks of them in each group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inodes {
    /// So many.
    Count(u32),
    /// One for so many bytes of the file system.
    BytesEach(u32),
}

/// What is not in every ext4 file system: each is off unless it is asked for.
///
/// EXTLINUX reads none of `bits64`, `inline_data` (it misreads the group descriptors of the
/// first and the inodes of the second); e2fsck before 1.47 refuses `orphan_file`, that before
/// 1.46 `fast_commit` and `casefold`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features {
    /// Block numbers of 48 bits and group descriptors of 64 bytes (`64bit`): for more than
    /// 2^32 - 1 blocks.
    pub bits64: bool,
    /// A file for the inodes that are deleted but open (`orphan_file`; Linux 5.15).
    pub orphan_file: bool,
    /// The kernel may journal small changes in a short form (`fast_commit`; Linux 5.10).
    pub fast_commit: bool,
    /// Directories may be made that ignore case (`casefold`; Linux 5.2).
    pub casefold: bool,
    /// Inodes have a project number, which is 0 in all of them (`project`; Linux 4.5).
    pub project: bool,
    /// Files may be given fs-verity (`verity`; Linux 5.4).
    pub verity: bool,
    /// Values of extended attributes may lie in inodes of their own (`ea_inode`; Linux 4.13).
    pub ea_inode: bool,
    /// Directories may have a hash tree of three levels (`large_dir`; Linux 4.13).
    pub large_dir: bool,
    /// Checksums start from a number in the superblock, so that the UUID of a mounted file
    /// system can be changed (`metadata_csum_seed`; Linux 4.4).
    pub csum_seed: bool,
}

/// What a file system is to be. The bytes of a file system depend on these, on what is put
/// into it and in which order, and on nothing else.
#[derive(Debug, Clone)]
pub struct Options {
    /// Size in bytes. What is behind the last whole block is not used.
    pub size: u64,
    /// Size of a block in bytes: a power of two from 1024 to 65536. Linux mounts those that are
    /// larger than a page of memory since 6.18 only.
    pub block_size: u32,
    /// How many inodes it has.
    pub inodes: Inodes,
    /// Its UUID.
    pub uuid: [u8; 16],
    /// Seed of the hashes of directories.
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
    /// The journal.
    pub journal: Journal,
    /// To this size in bytes the file system grows with its group descriptors in one place
    /// (`resize_inode`). Beyond it the kernel changes to `meta_bg`. 0: no room is kept.
    pub grow_to: u64,
    /// How full blocks of directories are that have several, in percent (50 to 100).
    pub leaf_fill: u8,
    /// What is not in every ext4 file system.
    pub features: Features,
}

/// `EXT4_DEFM_XATTR_USER` and `EXT4_DEFM_ACL`: what mke2fs sets.
pub const XATTR_USER_AND_ACL: u32 = 0xc;

impl Options {
    /// Options of a file system of `size` bytes as mke2fs has them: blocks of 4 KiB, an inode
    /// for 16 KiB, 5 percent for root, room to grow to 1024 times its size.
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

    /// Checks what does not depend on anything else.
    pub(super) fn check(&self) -> Result<(), Error> {
        let refuse = |option, value, why| Err(Error::Option { option, value, why });
        let block = u64::from(self.block_size);
        if !block.is_power_of_two() || !(1024..=65536).contains(&block) {
            return refuse("block size", block, "it is a power of two, 1024 to 65536");
        }
        if self.label.len() > 16 || self.label.contains(&0) {
            let len = self.label.len() as u64;
            return refuse("length of the label", len, "it has 16 bytes at most");
        }
        if self.reserved_percent > 50 {
            let percent = u64::from(self.reserved_percent);
            return refuse("reserved percent", percent, "they are 0 to 50");
        }
        if !(50..=100).contains(&self.leaf_fill) {
            let percent = u64::from(self.leaf_fill);
            return refuse("fill of directories", percent, "it is 50 to 100 percent");
        }
        if !(0..1 << 40).contains(&self.time) {
            let time = self.time.unsigned_abs();
            return refuse("time of the volume", time, "it is 0 to 2^40 - 1");
        }
        match self.journal {
            Journal::Blocks(n) if n < 1024 => {
                return refuse("blocks of the journal", n.into(), "they are 1024 at least");
            }
            _ => {}
        }
        match self.inodes {
            Inodes::BytesEach(n) if u64::from(n) < 1024 => {
                refuse("bytes for each inode", n.into(), "they are 1024 at least")
            }
            _ => Ok(()),
        }
    }
}
