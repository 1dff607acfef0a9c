//! Shared code of formats that store a disk in blocks: it splits regions at block boundaries, and
//! leaves out blocks that contain only zeros.

use super::Sink;
use super::batch::Batch;
use super::zero::is_zero;
use std::io;

/// Size of a sector in bytes. All formats except raw count in sectors: a disk that ends inside a
/// sector is padded with zeros.
pub(super) const SECTOR: u64 = 512;

/// The disk's size in bytes, rounded up to whole sectors.
pub(super) fn whole_sectors(size: u64) -> u64 {
    size.next_multiple_of(SECTOR)
}

/// Writes `bytes` into a header, at offset `at`.
pub(super) fn put(header: &mut [u8], at: usize, bytes: &[u8]) {
    header[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Where a format stores the blocks of a disk in its file.
pub(super) trait Layout: Send {
    /// Size of a block in bytes.
    fn block(&self) -> u64;

    /// Allocates block `index`. Returns the offset of its data in the file, in bytes.
    ///
    /// Called once for each block that is not all zero, in ascending order, before any of its data
    /// is written.
    fn place(&mut self, file: &mut Batch, index: u64) -> io::Result<u64>;

    /// Called after all blocks: writes tables and headers. Returns the file's length in bytes.
    fn finish(&mut self, file: &mut Batch) -> io::Result<u64>;
}

/// A sink that writes blocks directly to the offsets that `L` allocates.
///
/// A block is allocated at its first nonzero byte. So its offset does not depend on how the regions
/// are split, and no block must be held in memory.
#[derive(Debug)]
pub(super) struct Blocks<L> {
    file: Batch,
    layout: L,
    /// The block that was allocated last, and its offset.
    last: Option<(u64, u64)>,
}

impl<L: Layout> Blocks<L> {
    /// Writes into `file`.
    pub(super) fn new(file: Batch, layout: L) -> Blocks<L> {
        Blocks {
            file,
            layout,
            last: None,
        }
    }
}

impl<L: Layout> Sink for Blocks<L> {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let block = self.layout.block();
        let mut offset = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (index, within) = (offset / block, offset % block);
            let len = usize::try_from(block - within).map_or(rest.len(), |n| n.min(rest.len()));
            let (piece, after) = rest.split_at(len);
            if !is_zero(piece) {
                let at = match self.last {
                    Some((last, at)) if last == index => at,
                    _ => {
                        let at = self.layout.place(&mut self.file, index)?;
                        self.last = Some((index, at));
                        at
                    }
                };
                self.file.write(at + within, piece)?;
            }
            offset += len as u64;
            rest = after;
        }
        Ok(())
    }

    fn zeros(&mut self, _offset: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        let len = self.layout.finish(&mut self.file)?;
        self.file.finish(len)
    }
}
