//! Sources of a tar's bytes.

use super::TarError;
pub(super) use super::checksum::BLOCK;
use super::checksum::is_header;
use super::notes::{Left, Notes};
use super::packed::{LeftOver, Unpacked};
use crate::rootfs::{Budget, Store};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;

/// Largest header data (PAX records, long names) that is accepted, in bytes.
pub(super) const MAX_RECORDS: u64 = 16 << 20;

/// A tar that is read from start to end.
pub(super) trait TarInput {
    /// Number of bytes that were read or skipped so far.
    fn at(&self) -> u64;
    /// Fills `buf` with the next bytes, or with fewer at the end of the tar; returns their number.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize>;
    /// The next bytes, as [`TarInput::read`] would return them, without consuming them.
    fn peek(&mut self, block: &mut [u8; BLOCK]) -> io::Result<usize>;
    /// Skips `len` bytes of file content and their padding; returns (offset of the content in the
    /// store, `len`).
    fn content(&mut self, len: u64) -> Result<(u64, u64), TarError>;
    /// The store that contains the file contents.
    fn store(&self) -> io::Result<Store>;
    /// Checks what follows the end of the tar, and adds a note if it is more than zeros. A stream
    /// is read to its end, so that its writer does not fail with a closed pipe.
    fn drain(&mut self, notes: &mut Notes) -> io::Result<()>;

    /// Fills a whole buffer; `inside` says what it is part of, for the error if the tar ends early.
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

/// Most bytes that are read after the end of a tar: a sparse file can be huge, and a pipe can be
/// endless.
const MAX_BEHIND: u64 = 256 << 20;

/// Looks for data after the end of a tar.
#[derive(Default)]
struct Behind(bool);

impl Behind {
    /// Notes the first block that is more than zeros. Returns whether one was found, now or before.
    fn look(&mut self, at: u64, block: &[u8; BLOCK], notes: &mut Notes) -> bool {
        if !self.0 && *block != [0; BLOCK] {
            self.0 = true;
            let left = match is_header(block) {
                true => Left::AnotherTar,
                false => Left::BehindEnd,
            };
            notes.add(left, b"", at.to_string().as_bytes());
        }
        self.0
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

/// A tar in a file, or in a part of one: contents stay in it.
pub(super) struct InFile {
    store: Store,
    /// Offset of the tar in the file, in bytes. All other offsets are those in the tar.
    base: u64,
    size: u64,
    at: u64,
    /// Bytes that were read ahead: headers of small files are close together.
    window: Vec<u8>,
    /// Offset of `window` in the file, in bytes.
    start: u64,
}

/// Bytes per read while headers are collected. Measured: smaller reads cost a system call for every
/// file, larger ones read contents that are not needed.
const WINDOW: usize = 8 << 10;

/// Bytes per read while the contents between the headers are small.
const MANY: usize = 64 << 10;

impl InFile {
    pub(super) fn new(file: File, budget: &Budget) -> io::Result<InFile> {
        let meta = file.metadata()?;
        let size = meta.len();
        // In a file with holes, only the data counts: zeros make no entries.
        budget.add_packed(size.min(meta.blocks().saturating_mul(512)));
        Ok(InFile::part(Store::new(file), 0, size))
    }

    /// A tar of `size` bytes, at byte `base` of a store.
    pub(super) fn part(store: Store, base: u64, size: u64) -> InFile {
        InFile {
            store,
            base,
            size,
            at: 0,
            window: Vec::new(),
            start: 0,
        }
    }
}

impl TarInput for InFile {
    fn at(&self) -> u64 {
        self.at
    }

    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            let end = self.start + self.window.len() as u64;
            if self.at < self.start || self.at >= end {
                let left = self.size.saturating_sub(self.at);
                // Small files follow each other: then more is read at once.
                let size = match self.at >= end
                    && self.at - end < WINDOW as u64
                    && !self.window.is_empty()
                {
                    true => MANY,
                    false => WINDOW,
                };
                let most = usize::try_from(left).map_or(size, |left| left.min(size));
                self.window.resize(most, 0);
                let n = self.store.read_at(&mut self.window, self.base + self.at)?;
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

    fn peek(&mut self, block: &mut [u8; BLOCK]) -> io::Result<usize> {
        let n = self.read(block)?;
        self.at -= n as u64;
        Ok(n)
    }

    fn content(&mut self, len: u64) -> Result<(u64, u64), TarError> {
        let start = self.at;
        if len > self.size.saturating_sub(start) {
            return Err(in_content(self.size));
        }
        // If the padding of the last file is missing, nothing is lost.
        self.at = start + len + padding(len);
        Ok((self.base + start, len))
    }

    fn store(&self) -> io::Result<Store> {
        Ok(self.store.clone())
    }

    fn drain(&mut self, notes: &mut Notes) -> io::Result<()> {
        let last = self.at.saturating_add(MAX_BEHIND);
        let mut behind = Behind::default();
        while self.at < last {
            let at = self.at;
            let mut block = [0; BLOCK];
            let n = self.read(&mut block)?;
            if n == 0 || behind.look(at, &block, notes) {
                break;
            }
        }
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
    left_over: LeftOver,
    /// Bytes that were peeked and not consumed.
    held: Vec<u8>,
}

/// Bytes per read and write.
const CHUNK: usize = 1 << 20;

impl Spooled {
    pub(super) fn new(
        stream: impl Read + 'static,
        dir: &camino::Utf8Path,
        budget: &Budget,
    ) -> io::Result<Spooled> {
        let stream = Unpacked::new(budget.packed(stream))?;
        let left_over = stream.left_over();
        let stream = Box::new(budget.unpacked(stream));
        let input = Spooled::onto(stream, spool(dir)?, 0);
        Ok(Spooled { left_over, ..input })
    }

    /// Reads the stream as it is, without decompressing it. Contents go to `spool` from byte
    /// `spooled` on, where its cursor must be.
    pub(super) fn onto(stream: Box<dyn Read>, spool: File, spooled: u64) -> Spooled {
        Spooled {
            stream,
            at: 0,
            spool,
            spooled,
            buf: vec![0; 128 << 10],
            pending: Vec::with_capacity(CHUNK),
            left_over: LeftOver::default(),
            held: Vec::new(),
        }
    }

    /// Length of the spool in bytes after everything was read.
    pub(super) fn spooled(&self) -> u64 {
        self.spooled
    }

    fn flush(&mut self) -> io::Result<()> {
        self.spool.write_all(&self.pending)?;
        self.pending.clear();
        Ok(())
    }
}

/// An unnamed file for contents.
pub(super) fn spool(dir: &camino::Utf8Path) -> io::Result<File> {
    fs_err::create_dir_all(dir)?;
    tempfile::tempfile_in(dir)
}

impl TarInput for Spooled {
    fn at(&self) -> u64 {
        self.at
    }

    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let held = self.held.len().min(buf.len());
        buf[..held].copy_from_slice(&self.held[..held]);
        self.held.drain(..held);
        let mut done = held;
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

    fn peek(&mut self, block: &mut [u8; BLOCK]) -> io::Result<usize> {
        let n = self.read(block)?;
        self.at -= n as u64;
        // The peeked bytes were consumed first: all of them are in the block.
        self.held.splice(..0, block[..n].iter().copied());
        Ok(n)
    }

    fn content(&mut self, len: u64) -> Result<(u64, u64), TarError> {
        let start = self.spooled;
        let held = usize::try_from(len).map_or(self.held.len(), |len| len.min(self.held.len()));
        self.pending.extend(self.held.drain(..held));
        self.at += held as u64;
        let mut left = len - held as u64;
        while left > 0 {
            if self.pending.len() >= CHUNK {
                self.flush()?;
            }
            let want = usize::try_from(left)
                .unwrap_or(CHUNK)
                .min(CHUNK.saturating_sub(self.pending.len()));
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

    fn drain(&mut self, notes: &mut Notes) -> io::Result<()> {
        self.flush()?;
        let last = self.at.saturating_add(MAX_BEHIND);
        let mut behind = Behind::default();
        while self.at < last {
            let at = self.at;
            let mut buf = std::mem::take(&mut self.buf);
            let n = self.read(&mut buf)?;
            for (block, number) in buf[..n].chunks(BLOCK).zip(0_u64..) {
                let mut whole = [0; BLOCK];
                whole[..block.len()].copy_from_slice(block);
                if behind.look(at + number * BLOCK as u64, &whole, notes) {
                    break;
                }
            }
            self.buf = buf;
            if n == 0 {
                break;
            }
        }
        if self.left_over.any() {
            notes.add(Left::BehindPacked, b"", b"");
        }
        Ok(())
    }
}
