//! The superblock, and that of the journal.
//!
//! Sources: Linux Documentation/filesystems/ext4/super.rst and journal.rst; e2fsprogs
//! lib/ext2fs/mkjournal.c for the journal that mke2fs writes.

use super::bytes::{crc, high32, index, low16, low32, put_lo, put16, put32};
use super::geometry::FLEX;
use super::options::OnError;
use super::volume::Volume;
use super::{FIRST_INODE, INODE_SIZE, JOURNAL_INODE};

/// Compatible features: `has_journal`, `resize_inode`, `sparse_super2`, `fast_commit`,
/// `orphan_file`, and `ext_attr` with `dir_index`.
const HAS_JOURNAL: u32 = 0x4;
const RESIZE_INODE: u32 = 0x10;
const SPARSE_SUPER2: u32 = 0x200;
const FAST_COMMIT: u32 = 0x400;
const ORPHAN_FILE: u32 = 0x1000;
const COMPATIBLE: u32 = 0x8 | 0x20;

/// Incompatible features: `meta_bg`, `64bit`, `ea_inode`, `metadata_csum_seed`, `large_dir`,
/// `inline_data`, `casefold`, and `filetype` with `extent` and `flex_bg`.
const META_BG: u32 = 0x10;
const BITS64: u32 = 0x80;
const EA_INODE: u32 = 0x400;
const CSUM_SEED: u32 = 0x2000;
const LARGE_DIR: u32 = 0x4000;
const INLINE_DATA: u32 = 0x8000;
const CASEFOLD: u32 = 0x2_0000;
const INCOMPATIBLE: u32 = 0x2 | 0x40 | 0x200;

/// Features for which a kernel that lacks them mounts read-only: `project`, `verity`, and
/// `sparse_super`, `large_file`, `huge_file`, `dir_nlink`, `extra_isize`, `metadata_csum`.
const PROJECT: u32 = 0x2000;
const VERITY: u32 = 0x8000;
const READ_ONLY: u32 = 0x1 | 0x2 | 0x8 | 0x20 | 0x40 | 0x400;

/// `SIGNED_HASH` in `s_flags`: letters count as `signed char` in directory hashes.
const SIGNED_HASH: u32 = 1;

/// Magic number of a journal's blocks, and the type of a superblock of version 2.
const JBD2: u32 = 0xc03b_3998;
const JBD2_SUPER: u32 = 4;

impl Volume {
    /// Makes the superblock of a group, 1024 bytes.
    pub(super) fn superblock(&self, group: u64) -> Vec<u8> {
        let (options, geometry) = (&self.options, &self.geometry);
        let features = &options.features;
        let mut sb = vec![0; 1024];
        let inodes = geometry.inodes();
        put_lo(&mut sb, 0x00, inodes);
        let reserved = geometry.blocks * u64::from(options.reserved_percent) / 100;
        for (value, low, high) in [
            (geometry.blocks, 0x04, 0x150),
            (reserved, 0x08, 0x154),
            (self.free_blocks, 0x0c, 0x158),
        ] {
            put_lo(&mut sb, low, value);
            put32(&mut sb, high, high32(value));
        }
        put_lo(&mut sb, 0x10, inodes - self.last_inode());
        put_lo(&mut sb, 0x14, geometry.first);
        let shift = options.block_size.trailing_zeros() - 10;
        put32(&mut sb, 0x18, shift);
        put32(&mut sb, 0x1c, shift);
        put_lo(&mut sb, 0x20, geometry.per_group);
        put_lo(&mut sb, 0x24, geometry.per_group);
        put_lo(&mut sb, 0x28, geometry.inodes_per_group);
        let time = options.time.unsigned_abs();
        // Last write, last check, creation: times in seconds, with eight more bits elsewhere.
        for (low, high) in [(0x30, 0x274), (0x40, 0x277), (0x108, 0x276)] {
            put_lo(&mut sb, low, time);
            sb[high] = (high32(time) & 0xff) as u8;
        }
        // No check after a number of mounts.
        put16(&mut sb, 0x36, u16::MAX);
        put16(&mut sb, 0x38, 0xef53);
        // Cleanly unmounted.
        put16(&mut sb, 0x3a, 1);
        let on_error = match options.on_error {
            OnError::Continue => 1,
            OnError::ReadOnly => 2,
            OnError::Panic => 3,
        };
        put16(&mut sb, 0x3c, on_error);
        put32(&mut sb, 0x4c, 1);
        put32(&mut sb, 0x54, FIRST_INODE);
        put16(&mut sb, 0x58, low16(INODE_SIZE));
        put16(&mut sb, 0x5a, low16(group));
        self.features(&mut sb);
        sb[0x68..0x78].copy_from_slice(&options.uuid);
        sb[0x78..0x78 + options.label.len()].copy_from_slice(&options.label);
        put16(&mut sb, 0xce, low16(geometry.reserved));
        sb[0xec..0xfc].copy_from_slice(&options.hash_seed);
        // half_md4.
        sb[0xfc] = 1;
        if features.bits64 {
            put16(&mut sb, 0xfe, low16(geometry.descriptor));
        }
        put32(&mut sb, 0x100, options.mount_options);
        self.journal_backup(&mut sb);
        put16(&mut sb, 0x15c, 32);
        put16(&mut sb, 0x15e, 32);
        put32(&mut sb, 0x160, SIGNED_HASH);
        sb[0x174] = (FLEX.trailing_zeros() & 0xff) as u8;
        // crc32c.
        sb[0x175] = 1;
        put_lo(&mut sb, 0x248, geometry.overhead());
        for (at, group) in [0x24c, 0x250]
            .into_iter()
            .zip(geometry.backups.unwrap_or_default())
        {
            put_lo(&mut sb, at, group);
        }
        if features.csum_seed {
            put32(&mut sb, 0x270, self.seed);
        }
        if features.casefold {
            // UTF-8 of Unicode 12.1 (`EXT4_ENC_UTF8_12_1`).
            put16(&mut sb, 0x27c, 1);
        }
        if let Some(orphans) = self.placed.orphans {
            put32(&mut sb, 0x280, self.inode_number(orphans));
        }
        let sum = crc(!0, &sb[..0x3fc]);
        put32(&mut sb, 0x3fc, sum);
        sb
    }

    fn features(&self, sb: &mut [u8]) {
        let f = &self.options.features;
        let sum = |base: u32, list: &[(bool, u32)]| {
            let on = list.iter().filter(|(on, _)| *on);
            on.fold(base, |all, (_, bit)| all | bit)
        };
        let compatible = [
            (self.placed.journal.is_some(), HAS_JOURNAL),
            (self.placed.resize.is_some(), RESIZE_INODE),
            (f.sparse_super2, SPARSE_SUPER2),
            (f.fast_commit && self.placed.journal.is_some(), FAST_COMMIT),
            (self.placed.orphans.is_some(), ORPHAN_FILE),
        ];
        put32(sb, 0x5c, sum(COMPATIBLE, &compatible));
        let incompatible = [
            (f.meta_bg, META_BG),
            (f.bits64, BITS64),
            (f.ea_inode, EA_INODE),
            (f.csum_seed, CSUM_SEED),
            (f.large_dir, LARGE_DIR),
            (f.inline_data, INLINE_DATA),
            (f.casefold, CASEFOLD),
        ];
        put32(sb, 0x60, sum(INCOMPATIBLE, &incompatible));
        let read_only = [(f.project, PROJECT), (f.verity, VERITY)];
        put32(sb, 0x64, sum(READ_ONLY, &read_only));
    }

    /// The inode of the journal, and a copy of its extents and its size.
    fn journal_backup(&self, sb: &mut [u8]) {
        let Some(journal) = self.placed.journal else {
            return;
        };
        put32(sb, 0xe0, JOURNAL_INODE);
        sb[0xfd] = 1;
        let mut inode = [0; 256];
        self.inode(JOURNAL_INODE, &mut inode);
        sb[0x10c..0x10c + 60].copy_from_slice(&inode[0x28..0x28 + 60]);
        let size = self.nodes[journal as usize].size;
        put32(sb, 0x148, high32(size));
        put_lo(sb, 0x14c, size);
    }

    /// Makes the superblock of the journal, one block. The kernel turns on its features at the
    /// first mount.
    pub(super) fn journal_superblock(&self) -> Vec<u8> {
        let mut block = vec![0; index(self.geometry.block)];
        let mut put = |at: usize, value: u32| {
            block[at..at + 4].copy_from_slice(&value.to_be_bytes());
        };
        let blocks = low32(self.geometry.journal);
        put(0x00, JBD2);
        put(0x04, JBD2_SUPER);
        put(0x0c, low32(self.geometry.block));
        put(0x10, blocks);
        // The first block of the log, and the number of the first transaction.
        put(0x14, 1);
        put(0x18, 1);
        put(0x40, 1);
        put(0x54, low32(self.geometry.fast_commits));
        block[0x30..0x40].copy_from_slice(&self.options.uuid);
        block
    }

    /// Makes a block of the orphan file: no inodes, a magic number and a checksum (Linux
    /// fs/ext4/orphan.c).
    pub(super) fn orphan_block(&self, number: u64, seed: u32) -> Vec<u8> {
        let mut block = vec![0; index(self.geometry.block)];
        let end = block.len() - 8;
        put32(&mut block, end, 0x0b10_ca04);
        let sum = crc(crc(seed, &number.to_le_bytes()), &block[..end]);
        put32(&mut block, end + 4, sum);
        block
    }
}
