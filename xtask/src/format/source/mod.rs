//! Reads the disk in an image file, whatever its format is: the counterpart of the sinks.
//!
//! The files may come from anybody. So every number is checked before it is used, tables are read
//! one entry or one piece at a time, and a read takes a bounded number of steps.

mod packed;
mod qcow2;
mod vdi;
mod vhd;
mod vhdx;
mod vmdk;

use super::gcp;
use crate::model::Format;
use camino::Utf8Path;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// A disk that can be read at any place.
pub trait Source: Send + Sync {
    /// Size of the disk in bytes.
    fn size(&self) -> u64;

    /// Fills `buf` with the disk's bytes from offset `at` on. Fails with
    /// [`io::ErrorKind::UnexpectedEof`] if the disk, or the file that it is in, ends before.
    fn read_at(&self, at: u64, buf: &mut [u8]) -> io::Result<()>;
}

/// A disk that several readers share.
pub type Disk = Arc<dyn Source>;

/// An opened image.
pub struct Opened {
    /// The format of the file, e.g. `qcow2` or `raw, compressed with zstd`.
    pub format: String,
    /// The format's name without a compression, as in file names: `qcow2`, `img`.
    pub extension: &'static str,
    /// The disk.
    pub disk: Disk,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opened({}, {} bytes)", self.format, self.disk.size())
    }
}

/// Why the disk in an image cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The file has the mark of a format, but the rest contradicts it.
    #[error("its {format} header is damaged: {why}")]
    Damaged {
        /// Name of the format.
        format: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The file is as its format demands, but this program does not read such ones.
    #[error("{0}")]
    Unsupported(String),
}

/// An error about a damaged header.
fn damaged(format: &'static str, why: impl Into<String>) -> SourceError {
    let why = why.into();
    SourceError::Damaged { format, why }
}

/// Opens the image at `path`. The format is recognised by the contents, not by the name.
pub fn open(path: &Utf8Path) -> Result<Opened, SourceError> {
    let file = fs_err::File::open(path)?.into_parts().0;
    of_file(file, true)
}

/// The contents of a raw image.
pub fn raw(file: File) -> io::Result<Disk> {
    Ok(Arc::new(Part::whole(file)?))
}

/// Opens the image in a file. `packed`: whether it may be compressed.
fn of_file(file: File, packed: bool) -> Result<Opened, SourceError> {
    let part = Part::whole(file)?;
    let mut head = [0; 512];
    let n = usize::try_from(part.len.min(512)).unwrap_or(512);
    part.read_exact(0, &mut head[..n])?;
    let plain = |extension: &'static str, disk: Disk| Opened {
        format: extension.replace("img", "raw"),
        extension,
        disk,
    };
    if packed && let Some(how) = packed::of(&head) {
        let file = packed::unpack(part.file, how)?;
        let inner = of_file(file, false)?;
        return Ok(Opened {
            format: format!("{}, compressed with {}", inner.format, packed::name(how)),
            ..inner
        });
    }
    if head.starts_with(b"QFI\xfb") {
        return Ok(plain("qcow2", Arc::new(qcow2::Qcow2::open(part)?)));
    }
    if head.starts_with(b"KDMV") {
        return Ok(plain("vmdk", Arc::new(vmdk::Vmdk::open(part)?)));
    }
    if head.starts_with(b"# Disk DescriptorFile") {
        return Err(SourceError::Unsupported(
            "it is the descriptor of a VMDK whose disk is in other files".into(),
        ));
    }
    if head.starts_with(b"vhdxfile") {
        return Ok(plain("vhdx", Arc::new(vhdx::Vhdx::open(part)?)));
    }
    if head[64..68] == [0x7f, 0x10, 0xda, 0xbe] {
        return Ok(plain("vdi", Arc::new(vdi::Vdi::open(part)?)));
    }
    if let Some(disk) = vhd::open(&part)? {
        return Ok(plain("vhd", disk));
    }
    if head[257..262] == *b"ustar"
        && head[510..] != [0x55, 0xaa]
        && let Some(part) = vmdk::in_ova(&part)?
    {
        return Ok(plain("ova", Arc::new(vmdk::Vmdk::open(part)?)));
    }
    // Google Cloud's tar, whose compression was undone above.
    if head.starts_with(b"disk.raw\0") && head[257..262] == *b"ustar" {
        let wrong = |e: io::Error| damaged("tar", e.to_string());
        let size = tar::Header::from_byte_slice(&head).entry_size();
        let disk = part.part(gcp::BLOCK, size.map_err(wrong)?)?;
        return Ok(plain(Format::Gcp.extension(), Arc::new(disk)));
    }
    Ok(plain("img", Arc::new(part)))
}

/// A part of a file.
#[derive(Debug)]
struct Part {
    file: File,
    /// Where it begins in the file, in bytes.
    start: u64,
    /// Its length in bytes.
    len: u64,
}

impl Part {
    /// All of a file. A device has no length in its metadata, so its end is looked for.
    fn whole(mut file: File) -> io::Result<Part> {
        let len = file.seek(SeekFrom::End(0))?;
        Ok(Part {
            file,
            start: 0,
            len,
        })
    }

    /// The `len` bytes at `at` of this part.
    fn part(&self, at: u64, len: u64) -> io::Result<Part> {
        if at.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Part {
            file: self.file.try_clone()?,
            start: self.start + at,
            len,
        })
    }

    fn read_exact(&self, at: u64, buf: &mut [u8]) -> io::Result<()> {
        if at
            .checked_add(buf.len() as u64)
            .is_none_or(|end| end > self.len)
        {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.file.read_exact_at(buf, self.start + at)
    }

    /// A piece of the file: `N` bytes at `at`.
    fn array<const N: usize>(&self, at: u64) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.read_exact(at, &mut bytes)?;
        Ok(bytes)
    }
}

impl Source for Part {
    fn size(&self) -> u64 {
        self.len
    }
    fn read_at(&self, at: u64, buf: &mut [u8]) -> io::Result<()> {
        self.read_exact(at, buf)
    }
}

/// Fills a buffer from inside one block, given its number and the offset in it.
type InBlock<'a> = &'a dyn Fn(u64, u64, &mut [u8]) -> io::Result<()>;

/// Reads a disk that is stored in blocks of `block` bytes: `one` fills its buffer from inside one
/// block, given the block's number and the offset in it.
fn by_blocks(size: u64, block: u64, at: u64, buf: &mut [u8], one: InBlock<'_>) -> io::Result<()> {
    if at
        .checked_add(buf.len() as u64)
        .is_none_or(|end| end > size)
    {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut done = 0;
    while done < buf.len() {
        let here = at + done as u64;
        let (number, skip) = (here / block, here % block);
        let left = buf.len() - done;
        let n = usize::try_from(block - skip).map_or(left, |room| room.min(left));
        one(number, skip, &mut buf[done..done + n])?;
        done += n;
    }
    Ok(())
}

/// A little-endian number of at most eight bytes; 0 where `bytes` ends before it.
fn le(bytes: &[u8], at: usize, len: usize) -> u64 {
    let bytes = bytes.get(at..at + len).unwrap_or_default();
    bytes.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b))
}

/// A big-endian number of at most eight bytes; 0 where `bytes` ends before it.
fn be(bytes: &[u8], at: usize, len: usize) -> u64 {
    let bytes = bytes.get(at..at + len).unwrap_or_default();
    bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b))
}

/// A part of a disk as a file that is read from front to back.
pub struct Window {
    disk: Disk,
    start: u64,
    len: u64,
    at: u64,
}

impl Window {
    /// The `len` bytes of `disk` from offset `start` on.
    pub fn new(disk: Disk, start: u64, len: u64) -> Window {
        Window {
            disk,
            start,
            len,
            at: 0,
        }
    }
}

impl Read for Window {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let place = self.start.saturating_add(self.at);
        let left = self.len.saturating_sub(self.at);
        let left = left.min(self.disk.size().saturating_sub(place));
        let n = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
        self.disk.read_at(place, &mut buf[..n])?;
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for Window {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// Blocks that were unpacked, by their number.
#[derive(Default)]
struct Cache(std::sync::Mutex<std::collections::HashMap<u64, Arc<Vec<u8>>>>);

/// Largest number of blocks that a cache keeps.
const CACHED: usize = 64;

impl Cache {
    /// The block `number`, which `make` makes if it is not here.
    fn get(
        &self,
        number: u64,
        make: impl FnOnce() -> io::Result<Vec<u8>>,
    ) -> io::Result<Arc<Vec<u8>>> {
        let lock = || {
            self.0
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
        };
        if let Some(block) = lock().get(&number) {
            return Ok(Arc::clone(block));
        }
        let block = Arc::new(make()?);
        let mut all = lock();
        if all.len() >= CACHED {
            all.clear();
        }
        all.insert(number, Arc::clone(&block));
        Ok(block)
    }
}

/// Inflates `packed` into `len` bytes. `zlib`: whether it has zlib's frame.
fn inflate(packed: &[u8], len: usize, zlib: bool) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(len);
    let mut inflater = flate2::Decompress::new(zlib);
    inflater
        .decompress_vec(packed, &mut out, flate2::FlushDecompress::Finish)
        .map_err(io::Error::other)?;
    // What is missing at the end reads as zeros.
    out.resize(len, 0);
    Ok(out)
}
