//! Where the bytes of a tar come from.

use super::TarError;
use crate::rootfs::Store;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::FileExt;

/// Size of a tar block in bytes.
pub(super) const BLOCK: usize = 512;

/// Largest header data (PAX records, long names) that is believed, in bytes.
pub(super) const MAX_RECORDS: u64 = 16 << 20;

/// A tar that is read from its start to its end.
pub(super) trait Input {
    /// Bytes that were read or passed so far.
    fn at(&self) -> u64;
    /// Fills `buf` with the next bytes, or with fewer where the tar ends; returns how many.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize>;
    /// Passes `len` bytes of file content and their padding; returns (first byte in the
    /// store, `len`).
    fn content(&mut self, len: u64) -> Result<(u64, u64), TarError>;
    /// The store in which contents lie.
    fn store(&self) -> io::Result<Store>;
    /// Reads what follows the end of the tar, so that its writer does not die of a closed
    /// pipe.
    fn drain(&mut self) -> io::Result<()>;

    /// Fills a whole buffer; `inside` says of what, should the tar end before that.
    fn read_all(&mut self, buf: &mut [u8], inside: &str) -> Result<(), TarError> {
        let n = self.read(buf)?;
        if n == buf.len() {
            return Ok(());
        }
        Err(TarError::Truncated {
            at: self.at(),
            inside: inside.to_owned(),
        })
    }
}

fn padding(len: u64) -> u64 {
    len.next_multiple_of(BLOCK as u64) - len
}

fn in_content(at: u64) -> TarError {
    TarError::Truncated {
        at,
        inside: "a file's content".into(),
    }
}

/// A tar file: contents stay in it.
pub(super) struct InFile {
    file: File,
    size: u64,
    at: u64,
    /// What was read ahead: headers of small files lie close together.
    window: Vec<u8>,
    /// Where in the file `window` begins.
    start: u64,
}

/// How much is read at once while headers are collected, in bytes. Measured: less costs a
/// system call for every file, more reads contents that nobody looks at.
const WINDOW: usize = 8 << 10;

impl InFile {
    pub(super) fn new(file: File) -> io::Result<InFile> {
        let size = file.metadata()?.len();
        Ok(InFile {
            file,
            size,
            at: 0,
            window: Vec::new(),
            start: 0,
        })
    }
}

impl Input for InFile {
    fn at(&self) -> u64 {
        self.at
    }

    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            let end = self.start + self.window.len() as u64;
            if self.at < self.start || self.at >= end {
                self.window.resize(WINDOW, 0);
                let n = self.file.read_at(&mut self.window, self.at)?;
                self.window.truncate(n);
                self.start = self.at;
                if n == 0 {
                    break;
                }
            }
            let skip = usize::try_from(self.at - self.start).map_err(io::Error::other)?;
            let part = &self.window[skip..];
            let n = part.len().min(buf.len() - done);
            buf[done..done + n].copy_from_slice(&part[..n]);
            done += n;
            self.at += n as u64;
        }
        Ok(done)
    }

    fn content(&mut self, len: u64) -> Result<(u64, u64), TarError> {
        let start = self.at;
        if len > self.size.saturating_sub(start) {
            return Err(in_content(self.size));
        }
        // The padding of the last file may be cut off without loss.
        self.at = start + len + padding(len);
        Ok((start, len))
    }

    fn store(&self) -> io::Result<Store> {
        Ok(Store::new(self.file.try_clone()?))
    }

    fn drain(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A tar from a stream: contents go to a spool file.
pub(super) struct Spooled {
    stream: Box<dyn Read>,
    at: u64,
    spool: File,
    spooled: u64,
    buf: Vec<u8>,
    /// Contents that are not written yet.
    pending: Vec<u8>,
}

/// How much is read and written at once, in bytes.
const CHUNK: usize = 1 << 20;

impl Spooled {
    pub(super) fn new(stream: impl Read + 'static, dir: &camino::Utf8Path) -> io::Result<Spooled> {
        Ok(Spooled::onto(decompressed(stream)?, spool(dir)?, 0))
    }

    /// Takes the stream as it is; contents go to `spool` from byte `spooled` on, where its
    /// cursor must be.
    pub(super) fn onto(stream: Box<dyn Read>, spool: File, spooled: u64) -> Spooled {
        Spooled {
            stream,
            at: 0,
            spool,
            spooled,
            buf: vec![0; 128 << 10],
            pending: Vec::with_capacity(CHUNK),
        }
    }

    /// How long the spool is, once everything was drained.
    pub(super) fn spooled(&self) -> u64 {
        self.spooled
    }

    fn flush(&mut self) -> io::Result<()> {
        self.spool.write_all(&self.pending)?;
        self.pending.clear();
        Ok(())
    }
}

/// A nameless file for contents.
pub(super) fn spool(dir: &camino::Utf8Path) -> io::Result<File> {
    fs_err::create_dir_all(dir)?;
    tempfile::tempfile_in(dir)
}

impl Input for Spooled {
    fn at(&self) -> u64 {
        self.at
    }

    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match self.stream.read(&mut buf[done..]) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.at += done as u64;
        Ok(done)
    }

    fn content(&mut self, len: u64) -> Result<(u64, u64), TarError> {
        let start = self.spooled;
        let mut left = len;
        while left > 0 {
            if self.pending.len() >= CHUNK {
                self.flush()?;
            }
            let want = usize::try_from(left)
                .unwrap_or(CHUNK)
                .min(CHUNK - self.pending.len());
            let old = self.pending.len();
            self.pending.resize(old + want, 0);
            let n = self.stream.read(&mut self.pending[old..]);
            let n = match n {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {
                    self.pending.truncate(old);
                    continue;
                }
                n => n?,
            };
            self.pending.truncate(old + n);
            if n == 0 {
                return Err(in_content(self.at));
            }
            self.at += n as u64;
            left -= n as u64;
        }
        self.spooled += len;
        let mut rest = [0; BLOCK];
        let padding = usize::try_from(padding(len)).unwrap_or(0);
        self.read(&mut rest[..padding])?;
        Ok((start, len))
    }

    fn store(&self) -> io::Result<Store> {
        Ok(Store::new(self.spool.try_clone()?))
    }

    fn drain(&mut self) -> io::Result<()> {
        self.flush()?;
        loop {
            match self.stream.read(&mut self.buf) {
                Ok(0) => return Ok(()),
                Err(e) if e.kind() != io::ErrorKind::Interrupted => return Err(e),
                _ => {}
            }
        }
    }
}

const GZIP: &[u8] = &[0x1f, 0x8b];
const XZ: &[u8] = b"\xfd7zXZ\0";
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// Whether a file that starts so is compressed in a way known here (RFC 1952; the .xz file
/// format, 2.1.1.1; RFC 8878, 3.1.1).
pub(super) fn is_compressed(start: &[u8]) -> bool {
    [GZIP, XZ, ZSTD].iter().any(|m| start.starts_with(m))
}

/// Most memory that an .xz file may ask for, in bytes: its format allows dictionaries of 4 GiB,
/// `xz -9` makes them of 64 MiB.
const XZ_MEMORY: u64 = 512 << 20;

/// The stream without its compression, if it has one.
pub(in crate::rootfs) fn decompressed(
    mut stream: impl Read + 'static,
) -> io::Result<Box<dyn Read>> {
    let mut magic = Vec::new();
    stream.by_ref().take(6).read_to_end(&mut magic)?;
    let whole = io::Cursor::new(magic.clone()).chain(stream);
    Ok(if magic.starts_with(GZIP) {
        Box::new(flate2::bufread::MultiGzDecoder::new(
            BufReader::with_capacity(CHUNK, whole),
        ))
    } else if magic.starts_with(XZ) {
        let decoder =
            liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
        Box::new(liblzma::read::XzDecoder::new_stream(whole, decoder))
    } else if magic.starts_with(ZSTD) {
        Box::new(zstd::Decoder::new(whole)?)
    } else {
        Box::new(whole)
    })
}
