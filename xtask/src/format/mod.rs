//! Image formats. Each is a [`Sink`]: it receives the regions of a disk once, in ascending order,
//! and writes its format directly from them, without an intermediate raw copy.

mod batch;
mod blocks;
pub mod bmap;
pub mod digest;
pub mod gcp;
pub mod ova;
pub mod pack;
mod pool;
pub mod qcow2;
pub mod raw;
pub mod rootfs;
pub mod source;
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
use std::ops::Range;
use uuid::Uuid;

/// Receives a disk, region by region.
///
/// The contract, kept by [`crate::disk`] and checked by [`Checked`]: every byte of `0..disk size`
/// comes exactly once, in ascending order, in a call of `data` or `zeros`. Regions may start and
/// end anywhere. [`Sink::finish`] is called once, after the last one.
pub trait Sink: Send {
    /// `bytes` are the contents of the disk from offset `offset` on.
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// The disk contains `len` zero bytes from offset `offset` on.
    fn zeros(&mut self, offset: u64, len: u64) -> io::Result<()>;

    /// Called after the whole disk: writes what is still held back. Only then is the sink's file
    /// complete.
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

/// What a format needs to know in addition to the contents of the disk.
///
/// The same options and the same contents give the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The image's identity. Formats that need several ids derive the others from this one.
    pub id: Uuid,
    /// "Now", for formats that store a time, in seconds since 1970.
    pub epoch: i64,
    /// The image's name without a file name extension, for formats that store it.
    pub name: String,
    /// Size of the disk's logical sectors in bytes, for formats that store it: 512 or 4096.
    pub sector_size: u64,
    /// Compression of a qcow2.
    pub compression: Compression,
    /// Number of threads that compress, at least 1. The bytes do not depend on it.
    pub threads: usize,
    /// The machine that an OVA describes.
    pub machine: ova::Machine,
    /// Where on the disk the root file system is, in bytes, if that is known. [`Format::Rootfs`] needs
    /// it.
    pub root: Option<Range<u64>>,
}

/// A sink that writes a disk of `size` bytes in `format` into `file`, which must be empty and open
/// for reading and writing.
///
/// Fails with [`io::ErrorKind::InvalidInput`] if the format cannot store a disk of that size, or if
/// it is 0.
pub fn open(format: Format, file: File, size: u64, options: &Options) -> io::Result<Box<dyn Sink>> {
    if size == 0 {
        // In a VMDK, 0 means that the disk is in another file; QEMU cannot open other formats with
        // it.
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
        Format::Gcp => Box::new(gcp::Gcp::new(file, size, options)?),
        Format::Rootfs => {
            let range = rootfs::range(size, options)?;
            let raw = raw::Raw::new(file, range.end - range.start)?;
            Box::new(rootfs::Rootfs::new(raw, range))
        }
    })
}

/// Level of deflate. Measured on 200 MB of a Debian system in pieces of 64 KiB, on one core: level
/// 4 takes 5.5 s and gives 65.2 MB, level 6 takes 13.7 s and gives 64.1 MB; zlib's level 6, which
/// QEMU uses, takes 11.8 s and gives 64.2 MB.
const DEFLATE_LEVEL: u32 = 4;

/// Deflates all of `plain` into `out`, and resets `context` for the next call.
fn deflate(context: &mut flate2::Compress, plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    out.clear();
    // Stored blocks need at most 5 bytes per 64 KiB, zlib's frame 6.
    out.reserve(plain.len() + plain.len() / 1000 + 64);
    context.reset();
    match context.compress_vec(plain, out, flate2::FlushCompress::Finish) {
        Ok(flate2::Status::StreamEnd) => Ok(()),
        Ok(_) => Err(io::Error::other("deflate wrote more than its upper bound")),
        Err(error) => Err(io::Error::other(error)),
    }
}

/// Several sinks that receive the same disk: several formats from one build.
pub struct Several(Vec<Box<dyn Sink>>);

impl std::fmt::Debug for Several {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Several({})", self.0.len())
    }
}

impl Several {
    /// Passes everything to each of `sinks`, in this order.
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
        format!("a disk of {size} is too large for the format {format}, whose limit is {max}"),
    )
}

/// A sink that wraps another one and refuses regions that are out of order, repeated or missing: a
/// bug of this program must never become a disk that does not boot.
#[derive(Debug)]
pub struct Checked<S> {
    inner: S,
    at: u64,
    size: u64,
}

impl<S: Sink> Checked<S> {
    /// Wraps `inner`, which will receive a disk of `size` bytes.
    pub fn new(inner: S, size: u64) -> Checked<S> {
        Checked { inner, at: 0, size }
    }

    fn step(&mut self, offset: u64, len: u64) -> io::Result<()> {
        if offset != self.at || len > self.size - self.at {
            return Err(io::Error::other(format!(
                "a region of {len} bytes at {offset} came where byte {} of {} was expected",
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
                "only {} of the disk's {} bytes were written",
                self.at, self.size
            )));
        }
        self.inner.finish()
    }
}

#[cfg(test)]
mod tests;
