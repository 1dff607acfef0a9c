//! The raw format: byte n of the file is byte n of the disk. Zeros are holes.

use super::Sink;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// How much is gathered before one write. File contents come in pieces of a few KiB each;
/// measured on a Debian rootfs, single writes of 1 MiB take a third of the time.
const BATCH: usize = 1 << 20;

/// Zeros no longer than this between two pieces of data are written with them: one write of a
/// few more bytes is cheaper than two.
const SHORT: u64 = 4096;

/// Writes a raw image into a file.
#[derive(Debug)]
pub struct Raw {
    file: File,
    size: u64,
    /// Data that was gathered and not written yet.
    batch: Vec<u8>,
    /// Where on the disk `batch` begins, in bytes.
    start: u64,
}

impl Raw {
    /// Takes an empty file, which will hold a disk of `size` bytes.
    pub fn new(file: File, size: u64) -> io::Result<Raw> {
        file.set_len(size)?;
        Ok(Raw {
            file,
            size,
            batch: Vec::with_capacity(BATCH),
            start: 0,
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.batch.is_empty() {
            self.file.write_all_at(&self.batch, self.start)?;
            self.start += self.batch.len() as u64;
            self.batch.clear();
        }
        Ok(())
    }
}

impl Sink for Raw {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if offset != self.start + self.batch.len() as u64 || self.batch.len() + bytes.len() > BATCH
        {
            self.flush()?;
            self.start = offset;
        }
        if bytes.len() >= BATCH {
            self.file.write_all_at(bytes, offset)?;
            self.start = offset + bytes.len() as u64;
        } else {
            self.batch.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn zeros(&mut self, offset: u64, len: u64) -> io::Result<()> {
        let follows = offset == self.start + self.batch.len() as u64;
        if len <= SHORT && follows && !self.batch.is_empty() {
            let zeros = [0; SHORT as usize];
            return self.data(offset, &zeros[..usize::try_from(len).unwrap_or(0)]);
        }
        // The file has its full length already: what is not written reads as zeros.
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.flush()?;
        if self.file.metadata()?.len() != self.size {
            return Err(io::Error::other("the image file changed its length"));
        }
        Ok(())
    }
}
