//! The disk: partition tables around file systems, emitted in one ascending pass.

pub mod gpt;
pub mod mbr;
pub mod table;

use crate::format::Sink;
use crate::fs::Layout;
use crate::rootfs::Stores;
use std::io;

/// What lies in one partition.
#[derive(Debug)]
pub struct Part<'a> {
    /// First byte of the partition on the disk.
    pub start: u64,
    /// Its file system.
    pub layout: &'a Layout,
}

/// A disk, ready to be emitted.
#[derive(Debug)]
pub struct Image<'a> {
    /// Size in bytes.
    pub size: u64,
    /// What lies before the first partition and behind the last one, as (offset, bytes).
    pub table: Vec<(u64, Vec<u8>)>,
    /// The partitions.
    pub parts: Vec<Part<'a>>,
}

impl Image<'_> {
    /// Emits the whole disk, every byte once and in ascending order. `progress` is told the
    /// bytes of file contents that were read since it was last told.
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
                    "the plan puts {len} bytes at {start}, over something else or past the end of the disk"
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
