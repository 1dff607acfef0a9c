//! VMDK, VMware's format, in the two kinds that are a single file: "monolithicSparse" for
//! Workstation, Player and Fusion, and "streamOptimized" for OVA.
//!
//! Source: VMware's technical note "Virtual Disk Format 5.0"; section names below refer to it.
//! Everything is little-endian, offsets are in sectors of 512 bytes.

mod stream;

pub use stream::VmdkStream;

use super::batch::{Batch, EntryTable};
use super::blocks::{Blocks, Layout, SECTOR, put, whole_sectors};
use super::{Options, Sink, too_large};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use uuid::Uuid;

/// Size of a grain in bytes: the default.
const GRAIN: u64 = 64 << 10;

/// Entries of a grain table, a fixed number; each is a u32.
const ENTRIES: u64 = 512;

/// Size of a grain table in sectors.
const TABLE_SECTORS: u64 = ENTRIES * 4 / SECTOR;

/// Sectors that are reserved for the descriptor, which begins at the second sector.
const DESCRIPTOR: usize = 20;

/// The largest disk: vSphere's limit is 62 TiB.
pub(super) const MAX_SIZE: u64 = 62 << 40;

/// Writes a monolithicSparse VMDK ("Hosted Sparse Extents").
#[derive(Debug)]
pub struct Vmdk(Blocks<Sparse>);

#[derive(Debug)]
struct Sparse {
    header: Header,
    descriptor: String,
    /// Number of grains, and of grain tables.
    grains: u64,
    tables: u64,
    /// The grain tables, which are contiguous, and their redundant copy.
    entries: [EntryTable<4>; 2],
    /// Offset of the next grain in bytes.
    next: u64,
}

impl Vmdk {
    /// Starts on an empty file, for a disk of `size` bytes.
    pub fn new(file: File, size: u64, options: &Options) -> io::Result<Vmdk> {
        let size = checked(size)?;
        let grains = size.div_ceil(GRAIN);
        let tables = grains.div_ceil(ENTRIES);
        let directory = (tables * 4).div_ceil(SECTOR);
        // Header, descriptor, redundant directory and tables, directory and tables, grains.
        let redundant = 1 + DESCRIPTOR as u64;
        let primary = redundant + directory + tables * TABLE_SECTORS;
        let overhead =
            (primary + directory + tables * TABLE_SECTORS).next_multiple_of(GRAIN / SECTOR);
        let name = format!("{}.vmdk", options.name);
        let table = |at: u64| EntryTable::new((at + directory) * SECTOR, |_| [0; 4]);
        Ok(Vmdk(Blocks::new(
            Batch::new(file),
            Sparse {
                header: Header {
                    version: 1,
                    // Line ends can be checked, and there is a redundant directory.
                    flags: 0b11,
                    capacity: size / SECTOR,
                    redundant,
                    primary,
                    overhead,
                    compression: 0,
                },
                descriptor: descriptor("monolithicSparse", size, &name, options.id),
                grains,
                tables,
                entries: [table(redundant), table(primary)],
                next: overhead * SECTOR,
            },
        )))
    }
}

impl Layout for Sparse {
    fn block(&self) -> u64 {
        GRAIN
    }

    fn place(&mut self, file: &mut Batch, index: u64) -> io::Result<u64> {
        let at = self.next;
        let entry = sector(at)?.to_le_bytes();
        for table in &mut self.entries {
            table.set(file.file(), index, entry)?;
        }
        self.next = at + GRAIN;
        Ok(at)
    }

    fn finish(&mut self, file: &mut Batch) -> io::Result<u64> {
        let file = file.file();
        for table in &mut self.entries {
            table.finish(file, self.grains)?;
        }
        let directory = (self.tables * 4).div_ceil(SECTOR);
        for at in [self.header.redundant, self.header.primary] {
            let first = at + directory;
            let mut entries = Vec::new();
            for table in 0..self.tables {
                let place = sector((first + table * TABLE_SECTORS) * SECTOR)?;
                entries.extend(place.to_le_bytes());
            }
            file.write_all_at(&entries, at * SECTOR)?;
        }
        file.write_all_at(&self.header.bytes(), 0)?;
        file.write_all_at(self.descriptor.as_bytes(), SECTOR)?;
        Ok(self.next)
    }
}

impl Sink for Vmdk {
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

/// The size of the disk in whole sectors, if the format can store it.
fn checked(size: u64) -> io::Result<u64> {
    let size = whole_sectors(size);
    if size > MAX_SIZE {
        return Err(too_large("VMDK", size, MAX_SIZE));
    }
    Ok(size)
}

/// Offset `at` of the file as the number of a sector, for tables of u32.
fn sector(at: u64) -> io::Result<u32> {
    u32::try_from(at / SECTOR).map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "the contents of the disk are too large for the format VMDK, whose files are at most 2 TiB",
        )
    })
}

/// `SparseExtentHeader`.
#[derive(Debug, Clone, Copy)]
struct Header {
    version: u32,
    flags: u32,
    /// Size of the disk in sectors.
    capacity: u64,
    /// Sector of the redundant grain directory.
    redundant: u64,
    /// Sector of the grain directory.
    primary: u64,
    /// First sector that grains can use.
    overhead: u64,
    /// 1 is deflate.
    compression: u16,
}

impl Header {
    fn bytes(&self) -> [u8; 512] {
        let mut h = [0; 512];
        put(&mut h, 0, b"KDMV");
        put(&mut h, 4, &self.version.to_le_bytes());
        put(&mut h, 8, &self.flags.to_le_bytes());
        put(&mut h, 12, &self.capacity.to_le_bytes());
        put(&mut h, 20, &(GRAIN / SECTOR).to_le_bytes());
        put(&mut h, 28, &1_u64.to_le_bytes());
        put(&mut h, 36, &(DESCRIPTOR as u64).to_le_bytes());
        put(&mut h, 44, &ENTRIES.to_le_bytes()[..4]);
        put(&mut h, 48, &self.redundant.to_le_bytes());
        put(&mut h, 56, &self.primary.to_le_bytes());
        put(&mut h, 64, &self.overhead.to_le_bytes());
        // Four characters that a transfer in text mode would change.
        put(&mut h, 73, b"\n \r\n");
        put(&mut h, 77, &self.compression.to_le_bytes());
        h
    }
}

/// "The Descriptor File". It contains the file's own `name`; no program insists on it. The adapter
/// is IDE, which every VMware product, VirtualBox and every Linux kernel support.
fn descriptor(kind: &str, size: u64, name: &str, id: Uuid) -> String {
    let (heads, sectors) = (16, 63);
    let cylinders = size / (heads * sectors * SECTOR);
    // The content id: 0xffffffff means "none".
    let cid = id.as_fields().0.min(0xffff_fffd);
    // The name is in quotes, and the descriptor has a fixed size.
    let name: String = name
        .chars()
        .filter(|c| !c.is_control() && *c != '"')
        .take(200)
        .collect();
    format!(
        "# Disk DescriptorFile\n\
         version=1\n\
         CID={cid:x}\n\
         parentCID=ffffffff\n\
         createType=\"{kind}\"\n\
         \n\
         # Extent description\n\
         RW {extent} SPARSE \"{name}\"\n\
         \n\
         # The Disk Data Base\n\
         #DDB\n\
         \n\
         ddb.virtualHWVersion = \"4\"\n\
         ddb.geometry.cylinders = \"{cylinders}\"\n\
         ddb.geometry.heads = \"{heads}\"\n\
         ddb.geometry.sectors = \"{sectors}\"\n\
         ddb.adapterType = \"ide\"\n\
         ddb.toolsVersion = \"2147483647\"\n",
        extent = size / SECTOR,
    )
}
