//! Image formats. Each is a [`Sink`]: it takes the regions of a disk once, in ascending order,
//! and writes its own format straight from them, with no raw copy in between.

mod batch;
mod blocks;
pub mod bmap;
pub mod digest;
pub mod ova;
pub mod pack;
mod pool;
pub mod qcow2;
pub mod raw;
mod squeeze;
pub mod stream;
pub mod target;
pub mod vdi;
pub mod vhd;
pub mod vhdx;
pub mod vmdk;
pub(crate) mod zero;

use crate::model::{Compression, Format};
use std::fs::File;
use std::io;
use uuid::Uuid;

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

impl<S: Sink + ?Sized> Sink for &mut S {
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

/// What a format needs to know besides the content of the disk.
///
/// The same options and the same content give the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The image's identity. Formats that need several ids derive the others from it.
    pub id: Uuid,
    /// "Now", for formats that hold a time, in seconds since 1970.
    pub epoch: i64,
    /// The image's name, without an ending, for formats that hold it.
    pub name: String,
    /// Size of the disk's logical sectors in bytes, for formats that hold it: 512 or 4096.
    pub sector_size: u64,
    /// How a qcow2 is compressed.
    pub compression: Compression,
    /// How many threads compress, at least 1. The bytes do not depend on it.
    pub threads: usize,
    /// The machine that an OVA describes.
    pub machine: ova::Machine,
}

/// A sink that writes a disk of `size` bytes in `format` into `file`, which is empty and open
/// for reading and writing.
///
/// Fails with [`io::ErrorKind::InvalidInput`] if the format cannot hold a disk of that size, or
/// if it is 0.
pub fn open(format: Format, file: File, size: u64, options: &Options) -> io::Result<Box<dyn Sink>> {
    if size == 0 {
        // VMDK says by it that the disk lies in another file, QEMU cannot open others.
        let text = "a disk of 0 bytes cannot be stored";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(match format {
        Format::Raw => Box::new(raw::Raw::new(file, size)?),
        Format::Qcow2 if options.compression == Compression::None => {
            Box::new(qcow2::Qcow2::new(file, size, options)?)
        }
        Format::Qcow2 => Box::new(qcow2::Qcow2Compressed::new(file, size, options)?),
        Format::Vdi => Box::new(vdi::Vdi::new(file, size, options)?),
        Format::Vmdk => Box::new(vmdk::Vmdk::new(file, size, options)?),
        Format::VmdkStream => {
            let out = io::BufWriter::with_capacity(1 << 20, file);
            Box::new(vmdk::VmdkStream::new(out, size, options)?)
        }
        Format::Ova => Box::new(ova::Ova::new(file, size, options)?),
        Format::Vhd => Box::new(vhd::Vhd::new(file, size, options)?),
        Format::VhdFixed => Box::new(vhd::VhdFixed::new(file, size, options)?),
        Format::Vhdx => Box::new(vhdx::Vhdx::new(file, size, options)?),
    })
}

/// Level of deflate. Measured on 200 MB of a Debian system in pieces of 64 KiB, on one core:
/// level 4 takes 5.5 s for 65.2 MB, level 6 takes 13.7 s for 64.1 MB; zlib's level 6, which
/// QEMU uses, 11.8 s for 64.2 MB.
const DEFLATE_LEVEL: u32 = 4;

/// Deflates all of `plain` into `out`, and makes `context` ready for the next.
fn deflate(context: &mut flate2::Compress, plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    out.clear();
    // Stored blocks take 5 bytes for each 64 KiB at most, zlib's frame 6.
    out.reserve(plain.len() + plain.len() / 1000 + 64);
    context.reset();
    match context.compress_vec(plain, out, flate2::FlushCompress::Finish) {
        Ok(flate2::Status::StreamEnd) => Ok(()),
        Ok(_) => Err(io::Error::other("deflate needed more room than it may")),
        Err(error) => Err(io::Error::other(error)),
    }
}

/// Several sinks that are given the same disk: several formats from one build.
pub struct Several(Vec<Box<dyn Sink>>);

impl std::fmt::Debug for Several {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Several({})", self.0.len())
    }
}

impl Several {
    /// Gives what comes to each of `sinks`, in this order.
    pub fn new(sinks: Vec<Box<dyn Sink>>) -> Several {
        Several(sinks)
    }
}

impl Sink for Several {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.iter_mut().try_for_each(|s| s.data(offset, bytes))
    }
    fn zeros(&mut self, offset: u64, len: u64) -> io::Result<()> {
        self.0.iter_mut().try_for_each(|s| s.zeros(offset, len))
    }
    fn finish(&mut self) -> io::Result<()> {
        self.0.iter_mut().try_for_each(|s| s.finish())
    }
}

/// The error for a disk that is larger than `format` allows.
fn too_large(format: &str, size: u64, max: u64) -> io::Error {
    let (size, max) = (
        crate::model::size::Size(size),
        crate::model::size::Size(max),
    );
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("a disk of {size} is too large for the format {format}, which ends at {max}"),
    )
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

#[cfg(test)]
mod tests;
