//! VHDX, the format of Hyper-V.
//!
//! Source: Microsoft's open specification [MS-VHDX], "Virtual Hard Disk v2 (VHDX) File Format";
//! section numbers below refer to it. Everything is little-endian.
//!
//! The file: a header section of 1 MiB, an empty log of 1 MiB, the block allocation table, the
//! metadata of 1 MiB, the blocks of 1 MiB. As required, sizes and offsets of all regions are
//! multiples of 1 MiB.
//!
//! [MS-VHDX]: https://learn.microsoft.com/openspecs/windows_protocols/ms-vhdx/

use super::batch::{Batch, EntryTable};
use super::blocks::{Blocks, Layout, put, whole_sectors};
use super::{Options, Sink, too_large};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use uuid::{Uuid, uuid};

const KIB: usize = 1 << 10;
const MIB: u64 = 1 << 20;

/// Size of a block in bytes: 1 MiB, the minimum. Microsoft recommends it for Linux guests, whose
/// file systems spread their data: with the default of 32 MiB nearly no block would be all zero.
const BLOCK: u64 = MIB;

/// Payload blocks per sector bitmap block (2.4): 2^23 sectors of `sector` bytes.
const fn chunk(sector: u64) -> u64 {
    (1 << 23) * sector / BLOCK
}

/// Offset of the table: after the header section and the log.
const TABLE: u64 = 2 * MIB;

/// The largest disk (2.6.2.2): 64 TiB.
pub(super) const MAX_SIZE: u64 = 64 << 40;

/// 2.5.1.1: the block is not in the file and reads as zeros. (`NOT_PRESENT` would allow any
/// bytes.)
const ZERO: u64 = 2;
/// 2.5.1.1: the block is in the file, at the MiB in the upper 44 bits.
const PRESENT: u64 = 6;

/// Value of the table for a block that is all zero. The entry of a chunk's sector bitmap follows
/// the entries of the chunk; the bitmap is never there.
fn hole<const SECTOR: u64>(entry: u64) -> [u8; 8] {
    let chunk = chunk(SECTOR);
    let bitmap = entry % (chunk + 1) == chunk;
    (if bitmap { 0 } else { ZERO }).to_le_bytes()
}

/// Writes a dynamic VHDX.
#[derive(Debug)]
pub struct Vhdx(Blocks<Dynamic>);

#[derive(Debug)]
struct Dynamic {
    size: u64,
    id: Uuid,
    /// Size of the disk's logical sectors in bytes.
    sector: u64,
    /// Payload blocks per sector bitmap block.
    chunk: u64,
    /// Number of entries in the table.
    entries: u64,
    table: EntryTable<8>,
    /// Offset of the metadata in bytes.
    metadata: u64,
    /// Offset of the next block in bytes.
    next: u64,
}

impl Vhdx {
    /// Starts on an empty file, for a disk of `size` bytes.
    pub fn new(file: File, size: u64, options: &Options) -> io::Result<Vhdx> {
        let size = whole_sectors(size);
        if size > MAX_SIZE {
            return Err(too_large("VHDX", size, MAX_SIZE));
        }
        let blocks = size.div_ceil(BLOCK);
        // 2.5: the last entry is that of the last payload block.
        let chunk = chunk(options.sector_size);
        let hole: fn(u64) -> [u8; 8] = match options.sector_size {
            4096 => hole::<4096>,
            _ => hole::<512>,
        };
        let entries = blocks + blocks.saturating_sub(1) / chunk;
        let metadata = TABLE + (entries * 8).next_multiple_of(MIB).max(MIB);
        Ok(Vhdx(Blocks::new(
            Batch::new(file),
            Dynamic {
                size,
                id: options.id,
                sector: options.sector_size,
                chunk,
                entries,
                table: EntryTable::new(TABLE, hole),
                metadata,
                next: metadata + MIB,
            },
        )))
    }
}

impl Layout for Dynamic {
    fn block(&self) -> u64 {
        BLOCK
    }

    fn place(&mut self, file: &mut Batch, index: u64) -> io::Result<u64> {
        let at = self.next;
        let entry = index + index / self.chunk;
        // The offset in MiB starts at bit 20, so it is the same as the offset in bytes.
        self.table
            .set(file.file(), entry, (at | PRESENT).to_le_bytes())?;
        self.next = at + BLOCK;
        Ok(at)
    }

    fn finish(&mut self, file: &mut Batch) -> io::Result<u64> {
        self.table.finish(file.file(), self.entries)?;
        let file = file.file();
        file.write_all_at(&file_identifier(), 0)?;
        // Two headers; the one with the higher sequence number is valid.
        for copy in [1, 2] {
            file.write_all_at(&self.header(copy)?, copy * 64 * KIB as u64)?;
        }
        let regions = self.region_table()?;
        for copy in [3, 4] {
            file.write_all_at(&regions, copy * 64 * KIB as u64)?;
        }
        file.write_all_at(&self.metadata()?, self.metadata)?;
        Ok(self.next)
    }
}

/// 2.2.1: the signature, and the creator of the file, in UTF-16.
fn file_identifier() -> Vec<u8> {
    let creator = "docker-to-linux".encode_utf16();
    let mut id = b"vhdxfile".to_vec();
    id.extend(creator.flat_map(u16::to_le_bytes));
    id
}

impl Dynamic {
    /// An id that is derived from the image's.
    fn derived(&self, what: &str) -> [u8; 16] {
        Uuid::new_v5(&self.id, what.as_bytes()).to_bytes_le()
    }

    /// 2.2.2: a header of 4 KiB.
    fn header(&self, sequence: u64) -> io::Result<Vec<u8>> {
        let mut h = vec![0; 4 * KIB];
        put(&mut h, 0, b"head");
        put(&mut h, 8, &sequence.to_le_bytes());
        put(&mut h, 16, &self.derived("vhdx file write"));
        put(&mut h, 32, &self.derived("vhdx data write"));
        // The id of the log stays zero, because the log is empty. So does its version.
        put(&mut h, 66, &1_u16.to_le_bytes());
        put(&mut h, 68, &u32_of(MIB)?.to_le_bytes());
        put(&mut h, 72, &MIB.to_le_bytes());
        checksum(&mut h);
        Ok(h)
    }

    /// 2.2.3: the offsets of the table and of the metadata.
    fn region_table(&self) -> io::Result<Vec<u8>> {
        let regions = [
            (
                uuid!("2dc27766-f623-4200-9d64-115e9bfd4a08"),
                TABLE,
                self.metadata - TABLE,
            ),
            (
                uuid!("8b7ca206-4790-4b9a-b8fe-575f050f886e"),
                self.metadata,
                MIB,
            ),
        ];
        let mut t = vec![0; 64 * KIB];
        put(&mut t, 0, b"regi");
        put(&mut t, 8, &2_u32.to_le_bytes());
        for ((guid, at, len), entry) in regions.iter().zip([16, 48]) {
            put(&mut t, entry, &guid.to_bytes_le());
            put(&mut t, entry + 16, &at.to_le_bytes());
            put(&mut t, entry + 24, &u32_of(*len)?.to_le_bytes());
            // Required: a reader that does not know it must not open the file.
            put(&mut t, entry + 28, &1_u32.to_le_bytes());
        }
        checksum(&mut t);
        Ok(t)
    }

    /// 2.6: the table of the metadata and, from 64 KiB on, its items.
    fn metadata(&self) -> io::Result<Vec<u8>> {
        // Flags of an item: it describes the disk (not the file), and it is required.
        const DISK: u32 = 2;
        const REQUIRED: u32 = 4;
        let mut parameters = u32_of(BLOCK)?.to_le_bytes().to_vec();
        parameters.extend([0; 4]);
        let items: [(Uuid, u32, Vec<u8>); 5] = [
            // File parameters: the block size; not fixed, no parent.
            (
                uuid!("caa16737-fa36-4d43-b3b6-33f0aa44e76b"),
                REQUIRED,
                parameters,
            ),
            (
                uuid!("2fa54224-cd1b-4876-b211-5dbed83bf4b8"),
                REQUIRED | DISK,
                self.size.to_le_bytes().to_vec(),
            ),
            // The id of the disk, which a guest sees on SCSI page 0x83.
            (
                uuid!("beca12ab-b2e6-4523-93ef-c309e000c746"),
                REQUIRED | DISK,
                self.id.to_bytes_le().to_vec(),
            ),
            // Logical sector size.
            (
                uuid!("8141bf1d-a96f-4709-ba47-f233a8faab5f"),
                REQUIRED | DISK,
                u32_of(self.sector)?.to_le_bytes().to_vec(),
            ),
            // Physical sector size: 4 KiB, Hyper-V's default.
            (
                uuid!("cda348c7-445d-4471-9cc9-e9885251c556"),
                REQUIRED | DISK,
                4096_u32.to_le_bytes().to_vec(),
            ),
        ];
        let mut m = vec![0; 65 * KIB];
        put(&mut m, 0, b"metadata");
        put(&mut m, 10, &5_u16.to_le_bytes());
        let mut at = 64 * KIB;
        for ((guid, bits, value), entry) in items.iter().zip((32..).step_by(32)) {
            put(&mut m, entry, &guid.to_bytes_le());
            put(&mut m, entry + 16, &u32_of(at as u64)?.to_le_bytes());
            put(
                &mut m,
                entry + 20,
                &u32_of(value.len() as u64)?.to_le_bytes(),
            );
            put(&mut m, entry + 24, &bits.to_le_bytes());
            put(&mut m, at, value);
            at += value.len();
        }
        Ok(m)
    }
}

fn u32_of(n: u64) -> io::Result<u32> {
    u32::try_from(n).map_err(io::Error::other)
}

/// CRC-32C of a structure, with its own field (at byte 4) as zero.
fn checksum(structure: &mut [u8]) {
    let sum = crc32c::crc32c(structure);
    put(structure, 4, &sum.to_le_bytes());
}

impl Sink for Vhdx {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.data(offset, bytes)
    }
    fn zeros(&mut self, offset: u64, len: u64) -> io::Result<()> {
        self.0.zeros(offset, len)
    }
    fn finish(&mut self) -> io::Result<()> {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{MIB, PRESENT, Vhdx, ZERO, chunk};

    const CHUNK: u64 = chunk(512);
    use crate::format::tests::{options, written};

    #[test]
    fn the_table_leaves_a_place_for_each_sector_bitmap() {
        // One chunk is 4 GiB; the next block comes after the chunk's bitmap.
        let size = CHUNK * MIB + 2 * MIB;
        let file = written(
            size,
            |f, size| Vhdx::new(f, size, &options()).unwrap(),
            |sink| {
                sink.data(0, &[1]).unwrap();
                sink.zeros(1, CHUNK * MIB).unwrap();
                sink.data(CHUNK * MIB + 1, &[2; 5]).unwrap();
                sink.zeros(CHUNK * MIB + 6, 2 * MIB - 6).unwrap();
            },
        );
        let entry = |i: u64| {
            let at = (2 * MIB + i * 8) as usize;
            u64::from_le_bytes(file[at..at + 8].try_into().unwrap())
        };
        assert_eq!(entry(0), (4 * MIB) | PRESENT);
        assert_eq!(entry(1), ZERO);
        assert_eq!(entry(CHUNK), 0);
        assert_eq!(entry(CHUNK + 1), (5 * MIB) | PRESENT);
        assert_eq!(entry(CHUNK + 2), ZERO);
        assert_eq!(file.len() as u64, 6 * MIB);
        assert_eq!(file[(5 * MIB + 1) as usize..][..5], [2; 5]);
    }
}
