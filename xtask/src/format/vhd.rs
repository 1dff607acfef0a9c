//! VHD, the format of Virtual PC, Hyper-V generation 1, XenServer and Azure.
//!
//! Source: Microsoft's "Virtual Hard Disk Image Format Specification" 1.0 of October 11, 2006;
//! section names below refer to it. Everything is big-endian.

use super::batch::{Batch, EntryTable};
use super::blocks::{Blocks, Layout, SECTOR, put, whole_sectors};
use super::{Options, Sink, too_large};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use uuid::Uuid;

/// Size of a block in bytes, the specification's default.
const BLOCK: u64 = 2 << 20;

/// Size of a block's sector bitmap in bytes: one bit per sector, in whole sectors.
const BITMAP: usize = (BLOCK / SECTOR / 8) as usize;

/// Offset of the block allocation table: after the copy of the footer and the dynamic header.
const TABLE: u64 = 512 + 1024;

/// Alignment of block data in bytes, the same as in XenServer's blktap: a guest's pages are then
/// pages of the file. The bitmap is directly before the data.
const ALIGN: u64 = 4096;

/// The largest disk: the limit of Microsoft's tools and QEMU is 2040 GiB.
pub(super) const MAX_SIZE: u64 = 0xff00_0000 * SECTOR;

/// Azure accepts only disks in whole MiB.
const MIB: u64 = 1 << 20;

/// "Hard Disk Footer Format", type of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Fixed = 2,
    Dynamic = 3,
}

/// Writes a dynamic VHD: blocks of 2 MiB, only those that are not all zero.
#[derive(Debug)]
pub struct Vhd(Blocks<Dynamic>);

#[derive(Debug)]
struct Dynamic {
    footer: [u8; 512],
    /// Number of entries in the table.
    blocks: u64,
    table: EntryTable<4>,
    /// End of the file so far, in bytes.
    end: u64,
}

impl Vhd {
    /// Starts on an empty file, for a disk of `size` bytes.
    pub fn new(file: File, size: u64, options: &Options) -> io::Result<Vhd> {
        let size = whole_sectors(size);
        if size > MAX_SIZE {
            return Err(too_large("VHD", size, MAX_SIZE));
        }
        let blocks = size.div_ceil(BLOCK);
        Ok(Vhd(Blocks::new(
            Batch::new(file),
            Dynamic {
                footer: footer(Kind::Dynamic, size, options),
                blocks,
                table: EntryTable::new(TABLE, |_| u32::MAX.to_be_bytes()),
                end: TABLE + (blocks * 4).next_multiple_of(SECTOR),
            },
        )))
    }
}

impl Layout for Dynamic {
    fn block(&self) -> u64 {
        BLOCK
    }

    fn place(&mut self, file: &mut Batch, index: u64) -> io::Result<u64> {
        let data = (self.end + BITMAP as u64).next_multiple_of(ALIGN);
        let at = data - BITMAP as u64;
        // The table counts in sectors. A disk of 2040 GiB has fewer than 2^32 of them.
        let sector = u32::try_from(at / SECTOR).map_err(io::Error::other)?;
        self.table.set(file.file(), index, sector.to_be_bytes())?;
        // All sectors are present. (A zero bit would allow a reader to skip a sector of zeros, and
        // readers differ in whether they check it.)
        file.write(at, &[0xff; BITMAP])?;
        self.end = data + BLOCK;
        Ok(data)
    }

    fn finish(&mut self, file: &mut Batch) -> io::Result<u64> {
        let entries = (self.blocks * 4).next_multiple_of(SECTOR) / 4;
        self.table.finish(file.file(), entries)?;
        file.file().write_all_at(&self.footer, 0)?;
        file.file().write_all_at(&self.dynamic_header()?, 512)?;
        file.write(self.end, &self.footer)?;
        Ok(self.end + self.footer.len() as u64)
    }
}

impl Dynamic {
    /// "Dynamic Disk Header Format".
    fn dynamic_header(&self) -> io::Result<[u8; 1024]> {
        let mut h = [0; 1024];
        put(&mut h, 0, b"cxsparse");
        // No further header. The specification says 0xFFFFFFFF; Microsoft's tools write and expect
        // all 64 bits.
        put(&mut h, 8, &u64::MAX.to_be_bytes());
        put(&mut h, 16, &TABLE.to_be_bytes());
        put(&mut h, 24, &0x0001_0000_u32.to_be_bytes());
        let entries = u32::try_from(self.blocks).map_err(io::Error::other)?;
        put(&mut h, 28, &entries.to_be_bytes());
        let block = u32::try_from(BLOCK).map_err(io::Error::other)?;
        put(&mut h, 32, &block.to_be_bytes());
        let sum = checksum(&h);
        put(&mut h, 36, &sum.to_be_bytes());
        Ok(h)
    }
}

/// The size in bytes of the disk in a fixed VHD for a disk of `size` bytes, and the footer that
/// follows it.
pub(super) fn fixed(size: u64, options: &Options) -> io::Result<(u64, [u8; 512])> {
    let size = size.next_multiple_of(MIB);
    if size > MAX_SIZE {
        return Err(too_large("VHD", size, MAX_SIZE));
    }
    Ok((size, footer(Kind::Fixed, size, options)))
}

/// Writes a fixed VHD: the disk followed by the footer. The disk has whole MiB, as Azure requires.
/// Zeros are holes of the file.
#[derive(Debug)]
pub struct VhdFixed {
    file: Batch,
    size: u64,
    footer: [u8; 512],
}

impl VhdFixed {
    /// Starts on an empty file, for a disk of `size` bytes, rounded up to whole MiB.
    pub fn new(file: File, size: u64, options: &Options) -> io::Result<VhdFixed> {
        let (size, footer) = fixed(size, options)?;
        file.set_len(size)?;
        Ok(VhdFixed {
            file: Batch::new(file),
            size,
            footer,
        })
    }
}

impl Sink for VhdFixed {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write(offset, bytes)
    }
    fn zeros(&mut self, _offset: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }
    fn finish(&mut self) -> io::Result<()> {
        self.file.write(self.size, &self.footer)?;
        self.file.finish(self.size + self.footer.len() as u64)
    }
}

impl Sink for Vhd {
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

/// "Hard Disk Footer Format".
fn footer(kind: Kind, size: u64, options: &Options) -> [u8; 512] {
    let mut f = [0; 512];
    put(&mut f, 0, b"conectix");
    // Features: bit 1 is reserved and always set.
    put(&mut f, 8, &2_u32.to_be_bytes());
    put(&mut f, 12, &0x0001_0000_u32.to_be_bytes());
    let next = match kind {
        Kind::Fixed => u64::MAX,
        Kind::Dynamic => 512,
    };
    put(&mut f, 16, &next.to_be_bytes());
    // Seconds since January 1, 2000, 12:00:00 AM UTC.
    let since = u32::try_from(options.epoch.saturating_sub(946_684_800).max(0));
    put(&mut f, 24, &since.unwrap_or(u32::MAX).to_be_bytes());
    // Virtual PC takes the disk's size from its geometry, all others from the size below. Some
    // readers (QEMU, libvhdi) use this field to decide which one to use: "qem2" is QEMU's mark for
    // "use the size". With another mark the end of the disk would be cut off.
    put(&mut f, 28, b"qem2");
    // Version and system of the creator, as Virtual PC 2007 on Windows writes them.
    put(&mut f, 32, &0x0005_0003_u32.to_be_bytes());
    put(&mut f, 36, b"Wi2k");
    // Original and current size.
    put(&mut f, 40, &size.to_be_bytes());
    put(&mut f, 48, &size.to_be_bytes());
    let (cylinders, heads, sectors) = geometry(size);
    put(&mut f, 56, &cylinders.to_be_bytes());
    put(&mut f, 58, &[heads, sectors]);
    put(&mut f, 60, &(kind as u32).to_be_bytes());
    // Readers treat it as bytes and only compare it.
    let id: Uuid = options.id;
    put(&mut f, 68, id.as_bytes());
    let sum = checksum(&f);
    put(&mut f, 64, &sum.to_be_bytes());
    f
}

/// The one's complement of the sum of all bytes, with the sum's own field as zero.
fn checksum(header: &[u8]) -> u32 {
    !header.iter().map(|b| u32::from(*b)).sum::<u32>()
}

/// "Appendix: CHS Calculation": cylinders, heads and sectors per track of a disk of `size` bytes.
/// The geometry covers the whole disk or a part of it.
fn geometry(size: u64) -> (u16, u8, u8) {
    let total = (size / SECTOR).min(65_535 * 16 * 255);
    let (mut sectors, mut heads, mut cylinder_heads);
    if total >= 65_535 * 16 * 63 {
        (sectors, heads) = (255, 16);
        cylinder_heads = total / sectors;
    } else {
        sectors = 17;
        cylinder_heads = total / sectors;
        heads = cylinder_heads.div_ceil(1024).max(4);
        if cylinder_heads >= heads * 1024 || heads > 16 {
            (sectors, heads) = (31, 16);
            cylinder_heads = total / sectors;
        }
        if cylinder_heads >= heads * 1024 {
            (sectors, heads) = (63, 16);
            cylinder_heads = total / sectors;
        }
    }
    let byte = |n: u64| u8::try_from(n).unwrap_or(u8::MAX);
    let cylinders = u16::try_from(cylinder_heads / heads).unwrap_or(u16::MAX);
    (cylinders, byte(heads), byte(sectors))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Vhd, VhdFixed, checksum, geometry};
    use crate::format::tests::{options, written};

    /// Geometries that `qemu-img create -f vpc` writes for disks that they cover exactly.
    #[test]
    fn geometry_follows_the_appendix() {
        for (sectors, want) in [
            (0x0400_4000 / 512, (964, 8, 17)),
            (1018 * 16 * 63, (1018, 16, 63)),
            (65_535 * 16 * 63, (16_191, 16, 255)),
            (65_535 * 16 * 255, (65_535, 16, 255)),
            (u64::from(u32::MAX), (65_535, 16, 255)),
        ] {
            assert_eq!(geometry(sectors * 512), want, "{sectors}");
        }
    }

    #[test]
    fn only_blocks_with_content_are_stored_and_their_data_is_aligned() {
        let mib: u64 = 1 << 20;
        let size = 7 * mib + 1;
        let file = written(
            size,
            |f, size| Vhd::new(f, size, &options()).unwrap(),
            |sink| {
                sink.zeros(0, 4 * mib + 3).unwrap();
                sink.data(4 * mib + 3, &[5; 9]).unwrap();
                sink.zeros(4 * mib + 12, size - 4 * mib - 12).unwrap();
            },
        );
        let table: Vec<u32> = file[1536..1536 + 4 * 5]
            .chunks(4)
            .map(|e| u32::from_be_bytes(e.try_into().unwrap()))
            .collect();
        assert_eq!(table, [u32::MAX, u32::MAX, 7, u32::MAX, u32::MAX]);
        assert_eq!(file[7 * 512..8 * 512], [0xff; 512]);
        assert_eq!(file[4096 + 3..4096 + 12], [5; 9]);
        assert_eq!(file.len() as u64, 4096 + 2 * mib + 512);
        assert_eq!(file[..512], file[file.len() - 512..]);
    }

    #[test]
    fn a_fixed_disk_is_in_whole_mebibytes() {
        let mib: u64 = 1 << 20;
        let file = written(
            mib + 1,
            |f, size| VhdFixed::new(f, size, &options()).unwrap(),
            |sink| {
                sink.zeros(0, mib).unwrap();
                sink.data(mib, &[5]).unwrap();
            },
        );
        assert_eq!(file.len() as u64, 2 * mib + 512);
        assert_eq!(file[mib as usize], 5);
        let footer = &file[2 * mib as usize..];
        assert_eq!(footer[48..56], (2 * mib).to_be_bytes());
        let mut blank = footer.to_vec();
        blank[64..68].fill(0);
        assert_eq!(footer[64..68], checksum(&blank).to_be_bytes());
    }
}
