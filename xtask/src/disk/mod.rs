//! The disk: partition tables around file systems, written in one ascending pass.

pub mod gpt;
pub mod mbr;
pub mod table;

use crate::format::Sink;
use crate::fs::Layout;
use crate::rootfs::Stores;
use std::io;

/// The contents of one partition.
#[derive(Debug)]
pub struct Part<'a> {
    /// Offset of the partition on the disk, in bytes.
    pub start: u64,
    /// The file system in it.
    pub layout: &'a Layout,
}

/// A disk that is ready to be written.
#[derive(Debug)]
pub struct WholeDisk<'a> {
    /// Size of the disk in bytes.
    pub size: u64,
    /// The bytes before the first partition and after the last one, as (offset, bytes).
    pub table: Vec<(u64, Vec<u8>)>,
    /// The partitions.
    pub parts: Vec<Part<'a>>,
}

impl WholeDisk<'_> {
    /// Emits the whole disk, every byte once and in ascending order. `progress` gets the number of
    /// bytes of file contents that were read since its last call.
    pub fn emit(
        &self,
        stores: &Stores,
        sink: &mut dyn Sink,
        progress: &dyn Fn(u64),
    ) -> io::Result<()> {
        enum What<'a> {
            Bytes(&'a [u8]),
            Fs(&'a Layout),
        }
        let mut pieces: Vec<(u64, u64, What<'_>)> = Vec::new();
        for (at, bytes) in &self.table {
            pieces.push((*at, bytes.len() as u64, What::Bytes(bytes)));
        }
        for p in &self.parts {
            pieces.push((p.start, p.layout.size, What::Fs(p.layout)));
        }
        pieces.sort_by_key(|(at, ..)| *at);
        let mut at = 0;
        for (start, len, what) in pieces {
            if start < at || start + len > self.size {
                return Err(io::Error::other(format!(
                    "the plan puts {len} bytes at {start}, which overlaps something else or the end of the disk"
                )));
            }
            if start > at {
                sink.zeros(at, start - at)?;
            }
            match what {
                What::Bytes(bytes) => sink.data(start, bytes)?,
                What::Fs(layout) => layout.emit(stores, start, sink, progress)?,
            }
            at = start + len;
        }
        if self.size > at {
            sink.zeros(at, self.size - at)?;
        }
        sink.finish()
    }
}
