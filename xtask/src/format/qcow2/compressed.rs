//! Compressed clusters ("Compressed Clusters Descriptor"): each one is compressed separately, and
//! they are stored without alignment to cluster boundaries.

use super::super::batch::Batch;
use super::super::squeeze::{Codec, Squeezed, Store};
use super::super::{Compression, DEFLATE_LEVEL, Options, Sink};
use super::{CLUSTER, CLUSTER_BITS, COPIED, Tables};
use crate::format::blocks::SECTOR;
use std::fs::File;
use std::io;

/// Bit 62 of an L2 entry.
const COMPRESSED: u64 = 1 << 62;

/// Bit at which the number of sectors begins in an L2 entry.
const SECTORS_SHIFT: u32 = 62 - (CLUSTER_BITS - 8);

/// zstd's level: its default, which QEMU also uses.
const ZSTD_LEVEL: i32 = 3;

/// Writes a qcow2 whose clusters are compressed, on all cores. It is meant for publishing: what a
/// guest writes to it later is stored uncompressed.
#[derive(Debug)]
pub struct Qcow2Compressed(Squeezed<Packed>);

impl Qcow2Compressed {
    /// Starts on an empty file, for a disk of `size` bytes.
    pub fn new(file: File, size: u64, options: &Options) -> io::Result<Qcow2Compressed> {
        let packed = Packed {
            file: Batch::new(file),
            tables: Tables::new(size, options.compression)?,
            fill: 0,
        };
        let compression = options.compression;
        let codec = || codec(compression);
        Squeezed::new(packed, CLUSTER, options.threads, codec).map(Qcow2Compressed)
    }
}

impl Sink for Qcow2Compressed {
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

fn codec(compression: Compression) -> io::Result<Codec> {
    Ok(match compression {
        Compression::None => Box::new(|_, _| Ok(())),
        Compression::Zstd => {
            let mut context = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
            let mut buf = Vec::new();
            Box::new(move |plain, out| {
                buf.clear();
                buf.reserve(zstd::zstd_safe::compress_bound(plain.len()));
                context.compress_to_buffer(plain, &mut buf)?;
                keep_if_smaller(plain, &buf, out);
                Ok(())
            })
        }
        Compression::Zlib => {
            // Raw deflate, without zlib's header. QEMU itself uses a window of 4 KiB; this writer
            // uses 32 KiB, which saves 5 %. It makes no difference to readers: all of them inflate
            // a whole cluster at once, so the window is their own output.
            let level = flate2::Compression::new(DEFLATE_LEVEL);
            let mut context = flate2::Compress::new(level, false);
            let mut buf = Vec::new();
            Box::new(move |plain, out| {
                super::super::deflate(&mut context, plain, &mut buf)?;
                keep_if_smaller(plain, &buf, out);
                Ok(())
            })
        }
    })
}

/// A cluster that does not become smaller is stored uncompressed.
fn keep_if_smaller(plain: &[u8], compressed: &[u8], out: &mut Vec<u8>) {
    if compressed.len() < plain.len() {
        out.extend_from_slice(compressed);
    }
}

#[derive(Debug)]
struct Packed {
    file: Batch,
    tables: Tables,
    /// End of the last compressed cluster; the rest of that cluster of the file is free.
    fill: u64,
}

impl Packed {
    /// Allocates `len` compressed bytes, fewer than a cluster: the rest of the last cluster,
    /// together with the next cluster if they are adjacent.
    fn pack(&mut self, len: u64) -> u64 {
        let end = self.fill.next_multiple_of(CLUSTER);
        if len <= end - self.fill {
            return self.fill;
        }
        let next = self.tables.reserve();
        if next == end { self.fill } else { next }
    }
}

impl Store for Packed {
    fn store(&mut self, index: u64, plain: &[u8], compressed: &[u8]) -> io::Result<()> {
        self.tables.enter(&mut self.file, index)?;
        if compressed.is_empty() {
            let at = self.tables.allocate();
            self.tables.map(index, at | COPIED);
            return self.file.write(at, plain);
        }
        let len = compressed.len() as u64;
        let at = self.pack(len);
        let last = at + len - 1;
        for cluster in at / CLUSTER..=last / CLUSTER {
            self.tables.use_again(cluster)?;
        }
        let sectors = last / SECTOR - at / SECTOR;
        let entry = COMPRESSED | sectors << SECTORS_SHIFT | at;
        self.tables.map(index, entry);
        self.fill = at + len;
        self.file.write(at, compressed)
    }

    fn finish(&mut self) -> io::Result<()> {
        let len = self.tables.finish(&mut self.file)?;
        self.file.finish(len)
    }
}
