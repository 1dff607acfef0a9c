//! Image formats. Each is a [`Sink`]: it takes the regions of a disk once, in ascending order,
//! and writes its own format straight from them, with no raw copy in between.

pub mod raw;

use std::io;

/// Takes a disk, region by region.
///
/// The contract, kept by [`crate::disk`] and checked by [`Checked`]: every byte of
/// `0..disk size` comes exactly once, in ascending order, by `data` or by `zeros`. Regions may
/// start and end anywhere. After the last one comes [`Sink::finish`], once.
pub trait Sink: Send {
    /// `bytes` are the content of the disk from byte `offset` on.
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// The disk holds `len` zero bytes from byte `offset` on.
    fn zeros(&mut self, offset: u64, len: u64) -> io::Result<()>;

    /// The whole disk has come: writes what is still held back. The sink's file is complete
    /// after it, and not before.
    fn finish(&mut self) -> io::Result<()>;
}

impl<S: Sink + ?Sized> Sink for Box<S> {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        (**self).data(offset, bytes)
    }
    fn zeros(&mut self, offset: u64, len: u64) -> io::Result<()> {
        (**self).zeros(offset, len)
    }
    fn finish(&mut self) -> io::Result<()> {
        (**self).finish()
    }
}

/// A sink around a sink that refuses a region which is out of order, twice or missing: a bug
/// of ours must never become a disk that does not boot.
#[derive(Debug)]
pub struct Checked<S> {
    inner: S,
    at: u64,
    size: u64,
}

impl<S: Sink> Checked<S> {
    /// Wraps `inner`, which is to receive a disk of `size` bytes.
    pub fn new(inner: S, size: u64) -> Checked<S> {
        Checked { inner, at: 0, size }
    }

    fn step(&mut self, offset: u64, len: u64) -> io::Result<()> {
        if offset != self.at || len > self.size - self.at {
            return Err(io::Error::other(format!(
                "a region of {len} bytes at {offset} came where byte {} of {} was due",
                self.at, self.size
            )));
        }
        self.at += len;
        Ok(())
    }
}

impl<S: Sink> Sink for Checked<S> {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.step(offset, bytes.len() as u64)?;
        self.inner.data(offset, bytes)
    }

    fn zeros(&mut self, offset: u64, len: u64) -> io::Result<()> {
        self.step(offset, len)?;
        self.inner.zeros(offset, len)
    }

    fn finish(&mut self) -> io::Result<()> {
        if self.at != self.size {
            return Err(io::Error::other(format!(
                "only {} of the disk's {} bytes came",
                self.at, self.size
            )));
        }
        self.inner.finish()
    }
}
