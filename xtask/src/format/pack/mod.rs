//! Compression of a whole file for publishing, on all cores.
//!
//! The input is cut into chunks of a fixed size, each chunk is compressed separately, and the
//! results are joined in order. So the output does not depend on the number of cores, and any
//! program that supports the format can read it.

mod xz;

use super::DEFLATE_LEVEL;
use super::pool::Pool;
use super::zero::is_zero;
use crate::model::Packing;
use std::io::{self, Read, Write};

impl Packing {
    /// Size of a chunk in bytes.
    fn chunk(self) -> usize {
        match self {
            // Twice zstd's window at its level below.
            Packing::Zstd => 8 << 20,
            // As large as xz's dictionary at its default level.
            Packing::Xz => 8 << 20,
            Packing::Gzip => 1 << 20,
        }
    }
}

/// zstd's level. Measured on 914 MB of a Debian system: level 3 needs 5 s of one core and gives 294
/// MB, level 9 needs 20 s and gives 262 MB (and gzip 50 s and 326 MB). A file is packed once and
/// downloaded often.
const ZSTD_LEVEL: i32 = 9;

/// A chunk that a thread works on.
#[derive(Debug, Default)]
struct Chunk {
    plain: Vec<u8>,
    out: Vec<u8>,
    /// The compressed size for the format's table of chunks.
    size: u64,
    /// CRC-32 of `plain`, for gzip.
    crc: crc32fast::Hasher,
    /// Whether it is all zero; then `out` may be there already.
    zero: bool,
    error: Option<io::Error>,
}

/// A writer that compresses what is written to it. [`Packer::finish`] must be called last.
#[derive(Debug)]
pub struct Packer<W> {
    out: W,
    how: Packing,
    pool: Pool<Chunk, Chunk>,
    /// The chunk that is being filled.
    open: Chunk,
    /// Finished chunks, to be filled again.
    spare: Vec<Chunk>,
    /// A finished chunk of zeros, to be used again: disks are mostly empty.
    zero: Option<Chunk>,
    /// Sizes of all chunks so far, uncompressed and compressed.
    sizes: Vec<(u64, u64)>,
    crc: crc32fast::Hasher,
}

impl<W: Write> Packer<W> {
    /// Compresses into `out` with `threads` threads.
    pub fn new(mut out: W, how: Packing, threads: usize) -> io::Result<Packer<W>> {
        let pool = Pool::new(threads, || {
            let mut codec = codec(how)?;
            Ok(move |mut chunk: Chunk| {
                if chunk.out.is_empty() {
                    chunk.crc = crc32fast::Hasher::new();
                    if how == Packing::Gzip {
                        chunk.crc.update(&chunk.plain);
                    }
                    match codec(&chunk.plain, &mut chunk.out) {
                        Ok(size) => chunk.size = size,
                        Err(error) => chunk.error = Some(error),
                    }
                }
                chunk
            })
        })?;
        match how {
            Packing::Zstd => {}
            Packing::Xz => out.write_all(&xz::HEADER)?,
            // Method deflate; no name, no time; OS Unix.
            Packing::Gzip => out.write_all(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3])?,
        }
        Ok(Packer {
            out,
            how,
            pool,
            open: Chunk::default(),
            spare: Vec::new(),
            zero: None,
            sizes: Vec::new(),
            crc: crc32fast::Hasher::new(),
        })
    }

    /// Compresses what is left and ends the file.
    pub fn finish(&mut self) -> io::Result<()> {
        if !self.open.plain.is_empty() {
            self.send()?;
        }
        while let Some(done) = self.pool.next()? {
            self.take(done)?;
        }
        match self.how {
            Packing::Zstd => self.out.write_all(&seek_table(&self.sizes)?)?,
            Packing::Xz => self.out.write_all(&xz::index_and_footer(&self.sizes)?)?,
            Packing::Gzip => {
                // An empty last block, the CRC, the size modulo 2^32.
                self.out.write_all(&[3, 0])?;
                let size: u64 = self.sizes.iter().map(|(plain, _)| plain).sum();
                let crc = self.crc.clone().finalize();
                self.out.write_all(&crc.to_le_bytes())?;
                self.out.write_all(&size.to_le_bytes()[..4])?;
            }
        }
        self.out.flush()
    }

    /// The inner writer.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.out
    }

    /// Gives the open chunk to a thread.
    fn send(&mut self) -> io::Result<()> {
        let next = self.spare.pop().unwrap_or_default();
        let mut chunk = std::mem::replace(&mut self.open, next);
        chunk.zero = chunk.plain.len() == self.how.chunk() && is_zero(&chunk.plain);
        if let (true, Some(zero)) = (chunk.zero, &self.zero) {
            chunk.out.extend_from_slice(&zero.out);
            chunk.size = zero.size;
            chunk.crc = zero.crc.clone();
        }
        match self.pool.submit(chunk)? {
            Some(done) => self.take(done),
            None => Ok(()),
        }
    }

    /// Writes a finished chunk.
    fn take(&mut self, mut chunk: Chunk) -> io::Result<()> {
        if let Some(error) = chunk.error.take() {
            return Err(error);
        }
        self.out.write_all(&chunk.out)?;
        self.sizes.push((chunk.plain.len() as u64, chunk.size));
        self.crc.combine(&chunk.crc);
        if chunk.zero && self.zero.is_none() {
            self.zero = Some(chunk);
        } else {
            chunk.plain.clear();
            chunk.out.clear();
            self.spare.push(chunk);
        }
        Ok(())
    }
}

impl<W: Write> Write for Packer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.how.chunk() - self.open.plain.len();
        let n = room.min(bytes.len());
        self.open.plain.extend_from_slice(&bytes[..n]);
        if n == room {
            self.send()?;
        }
        Ok(n)
    }

    /// Does nothing: a chunk ends when it is full.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Compresses all of `input` into `out`.
pub fn pack(mut input: impl Read, out: impl Write, how: Packing, threads: usize) -> io::Result<()> {
    let mut packer = Packer::new(out, how, threads)?;
    let mut buf = vec![0; 1 << 20];
    loop {
        match input.read(&mut buf) {
            Ok(0) => return packer.finish(),
            Ok(n) => packer.write_all(&buf[..n])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Compresses a chunk: appends to the `Vec`, and returns the size for the table of chunks.
type Codec = Box<dyn FnMut(&[u8], &mut Vec<u8>) -> io::Result<u64> + Send>;

fn codec(how: Packing) -> io::Result<Codec> {
    Ok(match how {
        Packing::Zstd => {
            let mut context = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
            context.set_parameter(zstd::zstd_safe::CParameter::ChecksumFlag(true))?;
            Box::new(move |plain, out| {
                out.reserve(zstd::zstd_safe::compress_bound(plain.len()));
                context.compress_to_buffer(plain, out).map(|n| n as u64)
            })
        }
        Packing::Xz => Box::new(xz::block),
        Packing::Gzip => {
            let level = flate2::Compression::new(DEFLATE_LEVEL);
            let mut context = flate2::Compress::new(level, false);
            Box::new(move |plain, out| {
                context.reset();
                out.reserve(plain.len() + plain.len() / 1000 + 64);
                // A sync flush ends the chunk at a byte boundary, without a last block.
                let flush = flate2::FlushCompress::Sync;
                context
                    .compress_vec(plain, out, flush)
                    .map_err(io::Error::other)?;
                if context.total_in() != plain.len() as u64 || out.len() == out.capacity() {
                    return Err(io::Error::other("deflate wrote more than its upper bound"));
                }
                Ok(out.len() as u64)
            })
        }
    })
}

/// The seek table: a skippable frame, which decompressors ignore.
fn seek_table(sizes: &[(u64, u64)]) -> io::Result<Vec<u8>> {
    let u32_of = |n: u64| u32::try_from(n).map_err(io::Error::other);
    let count = u32_of(sizes.len() as u64)?;
    let mut table = 0x184d_2a5e_u32.to_le_bytes().to_vec();
    table.extend(u32_of(sizes.len() as u64 * 8 + 9)?.to_le_bytes());
    for (plain, packed) in sizes {
        table.extend(u32_of(*packed)?.to_le_bytes());
        table.extend(u32_of(*plain)?.to_le_bytes());
    }
    table.extend(count.to_le_bytes());
    // Descriptor: no checksums in the table, because the frames contain them.
    table.push(0);
    table.extend(0x8f92_eab1_u32.to_le_bytes());
    Ok(table)
}

#[cfg(test)]
mod tests;
