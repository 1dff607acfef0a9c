//! qcow2 version 3, the format of QEMU, Proxmox and most clouds.
//!
//! Source: QEMU's `docs/interop/qcow2.txt`; section names below refer to it. Everything is
//! big-endian. Layout of the files written here: header, refcount table, L1 table; then data, with
//! each L2 table after the data that it maps; finally the refcount blocks. So the file is written
//! front to back, except for the first three, which are known only at the end.

mod compressed;

pub use compressed::Qcow2Compressed;

use super::batch::Batch;
use super::blocks::{Blocks, Layout, put, whole_sectors};
use super::{Compression, Options, Sink, too_large};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Size of a cluster in bytes: qemu-img's default.
const CLUSTER: u64 = 1 << CLUSTER_BITS;
const CLUSTER_BITS: u32 = 16;

/// Entries of an L2 table, which is one cluster of u64.
const L2_ENTRIES: u64 = CLUSTER / 8;

/// Entries of a refcount block, which is one cluster of u16.
const REFCOUNTS: u64 = CLUSTER / 2;

/// Bit 63 of L1 and L2 entries: the cluster's refcount is exactly one.
const COPIED: u64 = 1 << 63;

/// The largest disk: QEMU supports L1 tables of up to 32 MiB.
pub(super) const MAX_SIZE: u64 = (32 << 20) / 8 * L2_ENTRIES * CLUSTER;

/// Writes a qcow2 without compression.
#[derive(Debug)]
pub struct Qcow2(Blocks<Clusters>);

impl Qcow2 {
    /// Starts on an empty file, for a disk of `size` bytes.
    pub fn new(file: File, size: u64, _options: &Options) -> io::Result<Qcow2> {
        let tables = Tables::new(size, Compression::None)?;
        Ok(Qcow2(Blocks::new(Batch::new(file), Clusters(tables))))
    }
}

impl Sink for Qcow2 {
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

#[derive(Debug)]
struct Clusters(Tables);

impl Layout for Clusters {
    fn block(&self) -> u64 {
        CLUSTER
    }

    fn place(&mut self, file: &mut Batch, index: u64) -> io::Result<u64> {
        self.0.enter(file, index)?;
        let at = self.0.allocate();
        self.0.map(index, at | COPIED);
        Ok(at)
    }

    fn finish(&mut self, file: &mut Batch) -> io::Result<u64> {
        self.0.finish(file)
    }
}

/// What is known of the file so far: its tables and its end.
#[derive(Debug)]
struct Tables {
    size: u64,
    compression: Compression,
    /// Clusters of the refcount table, which begins at cluster 1.
    refcount_clusters: u64,
    /// Offset of each L2 table, with [`COPIED`]; 0 if there is none.
    l1: Vec<u64>,
    /// The L2 table that is being filled, and its number. (Earlier ones are in the file already, so
    /// that a large disk needs no more memory than a small one.)
    l2: Vec<u64>,
    l2_number: Option<u64>,
    /// Refcount of each cluster of the file; the number of entries is the file's length.
    refcounts: Vec<u16>,
}

impl Tables {
    fn new(size: u64, compression: Compression) -> io::Result<Tables> {
        let size = whole_sectors(size);
        if size > MAX_SIZE {
            return Err(too_large("qcow2", size, MAX_SIZE));
        }
        let clusters = size.div_ceil(CLUSTER);
        let l1_entries = clusters.div_ceil(L2_ENTRIES);
        let l1_clusters = (l1_entries * 8).div_ceil(CLUSTER);
        // The table must have room for the largest possible file. Refcount blocks count themselves;
        // one cluster per 32,768 is more than enough for that.
        let most = 1 + l1_clusters + l1_entries + clusters;
        let blocks = most.div_ceil(REFCOUNTS) + most.div_ceil(REFCOUNTS * REFCOUNTS) + 1;
        let refcount_clusters = (blocks * 8).div_ceil(CLUSTER);
        let usize_of = |n: u64| usize::try_from(n).map_err(io::Error::other);
        let mut tables = Tables {
            size,
            compression,
            refcount_clusters,
            l1: vec![0; usize_of(l1_entries)?],
            l2: vec![0; usize_of(L2_ENTRIES)?],
            l2_number: None,
            refcounts: Vec::new(),
        };
        for _ in 0..1 + refcount_clusters + l1_clusters {
            tables.allocate();
        }
        Ok(tables)
    }

    /// Offset of the L1 table in bytes.
    fn l1_at(&self) -> u64 {
        (1 + self.refcount_clusters) * CLUSTER
    }

    /// Offset of the end of the file in bytes.
    fn end(&self) -> u64 {
        self.refcounts.len() as u64 * CLUSTER
    }

    /// Allocates a cluster at the end of the file; returns its offset.
    fn allocate(&mut self) -> u64 {
        let at = self.end();
        self.refcounts.push(1);
        at
    }

    /// Allocates a cluster at the end of the file that is not used yet; returns its offset.
    fn reserve(&mut self) -> u64 {
        let at = self.end();
        self.refcounts.push(0);
        at
    }

    /// Adds one use to cluster `number` of the file.
    fn use_again(&mut self, number: u64) -> io::Result<()> {
        let count = usize::try_from(number)
            .ok()
            .and_then(|n| self.refcounts.get_mut(n))
            .ok_or_else(|| io::Error::other("a cluster is past the end of the file"))?;
        *count = count
            .checked_add(1)
            .ok_or_else(|| io::Error::other("a cluster is used too often"))?;
        Ok(())
    }

    /// Must be called before cluster `index` of the disk is allocated: writes the L2 table that is
    /// complete, if there is one.
    fn enter(&mut self, file: &mut Batch, index: u64) -> io::Result<()> {
        let number = index / L2_ENTRIES;
        if self.l2_number != Some(number) {
            self.write_l2(file)?;
            self.l2_number = Some(number);
        }
        Ok(())
    }

    /// Sets the L2 entry of cluster `index` of the disk.
    fn map(&mut self, index: u64, entry: u64) {
        let within = usize::try_from(index % L2_ENTRIES).unwrap_or(usize::MAX);
        self.l2[within] = entry;
    }

    fn write_l2(&mut self, file: &mut Batch) -> io::Result<()> {
        let Some(number) = self.l2_number.take() else {
            return Ok(());
        };
        let at = self.allocate();
        file.write(at, &be_bytes(&self.l2))?;
        self.l1[usize::try_from(number).map_err(io::Error::other)?] = at | COPIED;
        self.l2.fill(0);
        Ok(())
    }

    /// Writes the remaining tables. Returns the file's length.
    fn finish(&mut self, file: &mut Batch) -> io::Result<u64> {
        self.write_l2(file)?;
        let used = self.refcounts.len() as u64;
        let mut blocks = 1;
        while blocks * REFCOUNTS < used + blocks {
            blocks += 1;
        }
        let table: Vec<u64> = (0..blocks).map(|_| self.allocate()).collect();
        let window = usize::try_from(REFCOUNTS).map_err(io::Error::other)?;
        for (at, counts) in table.iter().zip(self.refcounts.chunks(window)) {
            let bytes: Vec<u8> = counts.iter().flat_map(|n| n.to_be_bytes()).collect();
            file.write(*at, &bytes)?;
        }
        let file = file.file();
        file.write_all_at(&be_bytes(&table), CLUSTER)?;
        file.write_all_at(&be_bytes(&self.l1), self.l1_at())?;
        file.write_all_at(&self.header()?, 0)?;
        Ok(self.end())
    }

    /// "Header", with the feature name table that qemu-img writes: with it, an old reader can name
    /// a feature that it does not support.
    fn header(&self) -> io::Result<Vec<u8>> {
        let u32_of = |n: u64| u32::try_from(n).map_err(io::Error::other);
        let (incompatible, compression_type) = match self.compression {
            // Readers that do not know the field expect zlib.
            Compression::None | Compression::Zlib => (0_u64, 0_u8),
            Compression::Zstd => (1 << 3, 1),
        };
        let mut h = vec![0; 112];
        put(&mut h, 0, b"QFI\xfb");
        put(&mut h, 4, &3_u32.to_be_bytes());
        put(&mut h, 20, &CLUSTER_BITS.to_be_bytes());
        put(&mut h, 24, &self.size.to_be_bytes());
        put(&mut h, 36, &u32_of(self.l1.len() as u64)?.to_be_bytes());
        put(&mut h, 40, &self.l1_at().to_be_bytes());
        put(&mut h, 48, &CLUSTER.to_be_bytes());
        put(&mut h, 56, &u32_of(self.refcount_clusters)?.to_be_bytes());
        put(&mut h, 72, &incompatible.to_be_bytes());
        // Refcounts have 2^4 bits.
        put(&mut h, 96, &4_u32.to_be_bytes());
        put(&mut h, 100, &112_u32.to_be_bytes());
        put(&mut h, 104, &[compression_type]);
        // Header extension "feature name table"; eight zeros end the area.
        h.extend(0x6803_f857_u32.to_be_bytes());
        h.extend(u32_of(FEATURES.len() as u64 * 48)?.to_be_bytes());
        for (kind, bit, name) in FEATURES {
            h.extend([kind, bit]);
            h.extend(name.as_bytes());
            h.resize(h.len() + 46 - name.len(), 0);
        }
        h.resize(h.len() + 8, 0);
        Ok(h)
    }
}

/// "Feature name table": kind (0 incompatible, 1 compatible, 2 auto-clear), bit, name.
const FEATURES: [(u8, u8, &str); 8] = [
    (0, 0, "dirty bit"),
    (0, 1, "corrupt bit"),
    (0, 2, "external data file"),
    (0, 3, "compression type"),
    (0, 4, "extended L2 entries"),
    (1, 0, "lazy refcounts"),
    (2, 0, "bitmaps"),
    (2, 1, "raw external data"),
];

fn be_bytes(entries: &[u64]) -> Vec<u8> {
    entries.iter().flat_map(|e| e.to_be_bytes()).collect()
}

#[cfg(test)]
mod tests;
