//! VDI, VirtualBox's own format: a header, a map of blocks of 1 MiB, the blocks.
//!
//! There is no published specification. The fields are those of `VDIHEADER1PLUS` in VirtualBox's
//! `src/VBox/Storage/VDICore.h`, filled in as in its `VDI.cpp` for a new image; QEMU's
//! `block/vdi.c` describes the same fields. Everything is little-endian, including UUIDs.

use super::batch::{Batch, EntryTable};
use super::blocks::{Blocks, Layout, SECTOR, put, whole_sectors};
use super::{Options, Sink, too_large};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use uuid::Uuid;

/// Size of a block in bytes: VirtualBox's default, and the only one that QEMU reads.
const BLOCK: u64 = 1 << 20;

/// Offset of the block map: the first sector after the header.
const MAP: u64 = 512;

/// Largest number of blocks, and so the largest disk: QEMU's limit (512 TiB), which is lower than
/// VirtualBox's.
pub(super) const MAX_SIZE: u64 = ((1 << 31) - SECTOR) / 4 * BLOCK;

/// `VDI_IMAGE_BLOCK_ZERO`: "read from this block returns zeroes". The other value for an
/// unallocated block, `VDI_IMAGE_BLOCK_FREE`, allows any bytes.
const ZERO: u32 = 0xffff_fffe;

/// Writes a dynamic ("growing") VDI.
#[derive(Debug)]
pub struct Vdi(Blocks<Map>);

#[derive(Debug)]
struct Map {
    size: u64,
    id: Uuid,
    blocks: u64,
    /// Offset of the data in bytes.
    data: u64,
    map: EntryTable<4>,
    /// Number of allocated blocks.
    placed: u32,
}

impl Vdi {
    /// Starts on an empty file, for a disk of `size` bytes.
    pub fn new(file: File, size: u64, options: &Options) -> io::Result<Vdi> {
        let size = whole_sectors(size);
        if size > MAX_SIZE {
            return Err(too_large("VDI", size, MAX_SIZE));
        }
        let blocks = size.div_ceil(BLOCK);
        Ok(Vdi(Blocks::new(
            Batch::new(file),
            Map {
                size,
                id: options.id,
                blocks,
                // VirtualBox also aligns it to 1 MiB (VDI_DATA_ALIGN).
                data: (MAP + blocks * 4).next_multiple_of(BLOCK),
                map: EntryTable::new(MAP, |_| ZERO.to_le_bytes()),
                placed: 0,
            },
        )))
    }
}

impl Layout for Map {
    fn block(&self) -> u64 {
        BLOCK
    }

    fn place(&mut self, file: &mut Batch, index: u64) -> io::Result<u64> {
        let place = self.placed;
        self.placed += 1;
        self.map.set(file.file(), index, place.to_le_bytes())?;
        Ok(self.data + u64::from(place) * BLOCK)
    }

    fn finish(&mut self, file: &mut Batch) -> io::Result<u64> {
        self.map.finish(file.file(), self.blocks)?;
        file.file().write_all_at(&self.header()?, 0)?;
        Ok(self.data + u64::from(self.placed) * BLOCK)
    }
}

impl Map {
    fn header(&self) -> io::Result<[u8; 512]> {
        let u32_of = |n: u64| u32::try_from(n).map_err(io::Error::other);
        let mut h = [0; 512];
        // Text that programs may print; they recognise the format by the signature.
        put(&mut h, 0x00, b"<<< docker-to-linux Disk Image >>>\n");
        put(&mut h, 0x40, &0xbeda_107f_u32.to_le_bytes());
        // Version 1.1.
        put(&mut h, 0x44, &0x0001_0001_u32.to_le_bytes());
        // Bytes from here to the end of the header: VDIHEADER1PLUS.
        put(&mut h, 0x48, &0x190_u32.to_le_bytes());
        // Type: 1 is dynamic. Flags and comment stay zero.
        put(&mut h, 0x4c, &1_u32.to_le_bytes());
        put(&mut h, 0x154, &u32_of(MAP)?.to_le_bytes());
        put(&mut h, 0x158, &u32_of(self.data)?.to_le_bytes());
        // Geometry: cylinders, heads and sectors stay zero ("not calculated").
        put(&mut h, 0x168, &u32_of(SECTOR)?.to_le_bytes());
        put(&mut h, 0x170, &self.size.to_le_bytes());
        put(&mut h, 0x178, &u32_of(BLOCK)?.to_le_bytes());
        put(&mut h, 0x180, &u32_of(self.blocks)?.to_le_bytes());
        put(&mut h, 0x184, &self.placed.to_le_bytes());
        put(&mut h, 0x188, &self.id.to_bytes_le());
        // UUID of the last modification. The UUIDs of a parent, which follow, stay zero.
        let modified = Uuid::new_v5(&self.id, b"vdi modification");
        put(&mut h, 0x198, &modified.to_bytes_le());
        // The geometry that the guest's BIOS sees: also not calculated.
        put(&mut h, 0x1d4, &u32_of(SECTOR)?.to_le_bytes());
        Ok(h)
    }
}

impl Sink for Vdi {
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

    use super::Vdi;
    use crate::format::tests::{options, written};

    #[test]
    fn only_blocks_with_content_are_stored() {
        let mib = 1 << 20;
        let file = written(
            5 * mib + 7,
            |f, size| Vdi::new(f, size, &options()).unwrap(),
            |sink| {
                sink.zeros(0, mib + 3).unwrap();
                sink.data(mib + 3, &[5; 9]).unwrap();
                sink.data(mib + 12, &vec![0; 3 * mib as usize]).unwrap();
                sink.zeros(4 * mib + 12, mib - 6).unwrap();
                sink.data(5 * mib + 6, &[6]).unwrap();
            },
        );
        // One MiB of tables, two blocks.
        assert_eq!(file.len() as u64, 3 * mib);
        let map: Vec<u32> = file[512..512 + 6 * 4]
            .chunks(4)
            .map(|e| u32::from_le_bytes(e.try_into().unwrap()))
            .collect();
        let zero = super::ZERO;
        assert_eq!(map, [zero, 0, zero, zero, zero, 1]);
        assert_eq!(file[0x170..0x178], (5 * mib + 512).to_le_bytes());
        assert_eq!(file[(mib + 3) as usize..][..9], [5; 9]);
        assert_eq!(file[(2 * mib + 6) as usize], 6);
    }
}
