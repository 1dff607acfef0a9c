//! Reads the superblock of any ext4 (Linux, Documentation/filesystems/ext4/super.rst).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use uuid::Uuid;

/// Offset of the superblock from the start of the file system, in bytes.
const OFFSET: u64 = 1024;

/// A superblock. Every value is only what it says: none of them is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Superblock([u8; 1024]);

impl From<[u8; 1024]> for Superblock {
    fn from(bytes: [u8; 1024]) -> Superblock {
        Superblock(bytes)
    }
}

impl Superblock {
    /// Reads that of the file system that begins at byte `start`, whatever is there.
    pub fn read(file: &File, start: u64) -> io::Result<Superblock> {
        let mut bytes = [0; 1024];
        file.read_exact_at(&mut bytes, start.saturating_add(OFFSET))?;
        Ok(bytes.into())
    }

    fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.0[at], self.0[at + 1]])
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from(self.u16(at)) | u32::from(self.u16(at + 2)) << 16
    }

    /// Whether it is one: it has the magic number.
    pub fn is_ext4(&self) -> bool {
        self.u16(0x38) == 0xef53
    }

    /// Whether it has a checksum, and it is wrong.
    pub fn has_wrong_sum(&self) -> bool {
        // RO_COMPAT_METADATA_CSUM: a checksum of everything before it.
        let summed = self.u32(0x64) & 0x400 != 0;
        summed && self.u32(0x3fc) != !crc32c::crc32c(&self.0[..0x3fc])
    }

    /// UUID of the file system.
    pub fn uuid(&self) -> Uuid {
        Uuid::from_slice(&self.0[0x68..0x78]).unwrap_or_default()
    }

    /// Size of the file system in bytes.
    pub fn size(&self) -> u64 {
        self.bytes(0x4, 0x150)
    }

    /// Its free space in bytes.
    pub fn free(&self) -> u64 {
        self.bytes(0xc, 0x158)
    }

    /// A number of blocks, whose halves are at these places, in bytes.
    fn bytes(&self, low: usize, high: usize) -> u64 {
        // `INCOMPAT_64BIT`: numbers of blocks have an upper half.
        let high = match self.u32(0x60) & 0x80 {
            0 => 0,
            _ => u64::from(self.u32(high)),
        };
        // The largest block has 64 KiB.
        let block = 1024_u64 << self.u32(0x18).min(6);
        (high << 32 | u64::from(self.u32(low))).saturating_mul(block)
    }

    /// How often it was mounted read-write (`s_mnt_count`).
    pub fn mounts(&self) -> u16 {
        self.u16(0x34)
    }

    /// Whether the kernel found errors in it: `EXT4_ERROR_FS`, or a number of errors.
    pub fn has_errors(&self) -> bool {
        self.u16(0x3a) & 2 != 0 || self.u32(0x194) != 0
    }

    /// Whether its journal has to be written back (`INCOMPAT_RECOVER`).
    pub fn needs_recovery(&self) -> bool {
        self.u32(0x60) & 4 != 0
    }

    /// Whether it was unmounted (`EXT4_VALID_FS`).
    pub fn was_unmounted(&self) -> bool {
        self.u16(0x3a) & 1 != 0
    }
}
