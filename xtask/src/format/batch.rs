//! Gathers small writes into large ones, and streams tables of fixed-size entries.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

/// How many bytes are gathered before one write. File contents arrive in pieces of a few KiB;
/// measured on a Debian rootfs, single writes of 1 MiB need a third of the time.
///
/// Writes end at multiples of it, so that the kernel can keep each in one piece of memory.
const BATCH: usize = 1 << 20;

/// Up to this many zeros between two writes are written as well: one write of a few more bytes is
/// cheaper than two writes.
const SHORT: u64 = 4096;

/// Batches that may wait to be written. It limits the memory that is used.
const WAITING: usize = 4;

/// Asks the kernel to start writing these bytes to the disk, so that most of the work is done when
/// the file is synced at the end. It is a hint: nothing depends on it.
///
/// On Linux, POSIX_FADV_DONTNEED starts the writeback of dirty pages (mm/fadvise.c). They stay in
/// memory, because pages under writeback cannot be dropped.
fn start_writeback(file: &File, at: u64, len: usize) {
    #[cfg(target_os = "linux")]
    if let Some(len) = std::num::NonZeroU64::new(len as u64) {
        let _ = rustix::fs::fadvise(file, at, Some(len), rustix::fs::Advice::DontNeed);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (file, at, len);
}

/// A file that is written at given offsets, mostly in ascending order.
///
/// A separate thread writes, so that the next batch can be read meanwhile (measured: a raw image
/// takes 1.7 times as long as copying its tar, instead of 2.1 times).
///
/// The file is never asked for zeros: what is not written is a hole, and [`Batch::finish`] sets the
/// file's length. Up to [`SHORT`] bytes between two writes may be written as zeros, so nothing
/// within that distance after the last write may have been written before.
#[derive(Debug)]
pub(super) struct Batch {
    file: File,
    gathered: Gathered,
    writer: Option<Writer>,
}

/// Bytes that are not written yet.
#[derive(Debug, Default)]
struct Gathered {
    buf: Vec<u8>,
    /// Offset of `buf` in the file, in bytes.
    start: u64,
}

#[derive(Debug)]
struct Writer {
    full: SyncSender<Gathered>,
    empty: Receiver<Vec<u8>>,
    thread: JoinHandle<io::Result<()>>,
}

impl Gathered {
    /// Offset in the file at which the next byte goes.
    fn end(&self) -> u64 {
        self.start + self.buf.len() as u64
    }

    /// How many bytes go into this write yet, at least 1.
    fn room(&self) -> usize {
        let size = BATCH as u64;
        // At most the size of a batch.
        usize::try_from(size - self.end() % size).unwrap_or(BATCH)
    }
}

impl Writer {
    fn start(file: File) -> io::Result<Writer> {
        let (full, batches) = sync_channel::<Gathered>(WAITING);
        let (back, empty) = channel();
        for _ in 0..WAITING {
            // The other end of the channel still exists: this cannot fail.
            let _ = back.send(Vec::new());
        }
        let thread = std::thread::Builder::new()
            .name("image".into())
            .spawn(move || {
                for mut batch in batches {
                    file.write_all_at(&batch.buf, batch.start)?;
                    start_writeback(&file, batch.start, batch.buf.len());
                    batch.buf.clear();
                    // Nothing receives the buffer once the image is complete.
                    let _ = back.send(batch.buf);
                }
                Ok(())
            })?;
        Ok(Writer {
            full,
            empty,
            thread,
        })
    }

    /// Hands over a batch. Returns an empty buffer for the next one, or `None` if the thread has
    /// ended.
    fn hand_over(&self, batch: Gathered) -> Option<Vec<u8>> {
        self.full.send(batch).ok()?;
        self.empty.recv().ok()
    }

    /// Waits for the thread. Its error is the one that explains what happened.
    fn stop(self) -> io::Result<()> {
        drop((self.full, self.empty));
        self.thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread that writes an image panicked")))
    }
}

impl Batch {
    /// Starts on an empty file.
    pub(super) fn new(file: File) -> Batch {
        Batch {
            file,
            gathered: Gathered::default(),
            writer: None,
        }
    }

    /// Writes `bytes` at offset `at` of the file, now or later.
    pub(super) fn write(&mut self, at: u64, mut bytes: &[u8]) -> io::Result<()> {
        let gap = at.checked_sub(self.gathered.end());
        let gap = gap.filter(|gap| *gap <= SHORT);
        match gap.and_then(|gap| usize::try_from(gap).ok()) {
            Some(gap) if !self.gathered.buf.is_empty() && gap < self.gathered.room() => {
                let len = self.gathered.buf.len();
                self.gathered.buf.resize(len + gap, 0);
            }
            _ => self.send(at)?,
        }
        while !bytes.is_empty() {
            let room = self.gathered.room();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.gathered.buf.extend_from_slice(now);
            bytes = later;
            if now.len() == room {
                self.send(self.gathered.end())?;
            }
        }
        Ok(())
    }

    /// Hands the gathered bytes to the writer; the next ones begin at offset `next`.
    fn send(&mut self, next: u64) -> io::Result<()> {
        if self.gathered.buf.is_empty() {
            self.gathered.start = next;
            return Ok(());
        }
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => Writer::start(self.file.try_clone()?)?,
        };
        match writer.hand_over(std::mem::take(&mut self.gathered)) {
            Some(buf) => {
                self.gathered = Gathered { buf, start: next };
                self.writer = Some(writer);
                Ok(())
            }
            None => writer.stop(),
        }
    }

    /// Writes the gathered bytes, and waits until everything is written.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.send(self.gathered.end())?;
        match self.writer.take() {
            Some(writer) => writer.stop(),
            None => Ok(()),
        }
    }

    /// The file, for a write that bypasses the batch: it must not touch the gathered bytes.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Writes the gathered bytes and sets the file's length in bytes.
    pub(super) fn finish(&mut self, len: u64) -> io::Result<()> {
        self.flush()?;
        self.file.set_len(len)
    }
}

/// Bytes of a table that are held before they are written.
const WINDOW: usize = 64 << 10;

/// A table of entries of `N` bytes at a fixed offset of the file. Entries are set in ascending
/// order and written in windows, so that the tables of a disk of many TiB need little memory.
#[derive(Debug)]
pub(super) struct EntryTable<const N: usize> {
    /// Offset at which `buf` will be written.
    at: u64,
    buf: Vec<u8>,
    /// Number of the first entry that is not set yet.
    next: u64,
    /// Value of an entry that is never set.
    hole: fn(u64) -> [u8; N],
}

impl<const N: usize> EntryTable<N> {
    /// A table at offset `at` of the file. `hole` is the value of entries that are not set.
    pub(super) fn new(at: u64, hole: fn(u64) -> [u8; N]) -> EntryTable<N> {
        EntryTable {
            at,
            buf: Vec::with_capacity(WINDOW),
            next: 0,
            hole,
        }
    }

    /// Sets entry `index`, which must be greater than all indices before.
    pub(super) fn set(&mut self, file: &File, index: u64, entry: [u8; N]) -> io::Result<()> {
        self.fill(file, index)?;
        self.push(file, entry)
    }

    /// Fills the table up to `entries` entries and writes what is still held back.
    pub(super) fn finish(&mut self, file: &File, entries: u64) -> io::Result<()> {
        self.fill(file, entries)?;
        self.write(file)
    }

    fn fill(&mut self, file: &File, until: u64) -> io::Result<()> {
        if until < self.next {
            return Err(io::Error::other(format!(
                "entry {until} of a table was set after entry {}",
                self.next
            )));
        }
        while self.next < until {
            let entry = (self.hole)(self.next);
            self.push(file, entry)?;
        }
        Ok(())
    }

    fn push(&mut self, file: &File, entry: [u8; N]) -> io::Result<()> {
        self.buf.extend_from_slice(&entry);
        self.next += 1;
        if self.buf.len() >= WINDOW {
            self.write(file)?;
        }
        Ok(())
    }

    fn write(&mut self, file: &File) -> io::Result<()> {
        // The file is empty, so zeros are already there.
        if !super::zero::is_zero(&self.buf) {
            file.write_all_at(&self.buf, self.at)?;
        }
        self.at += self.buf.len() as u64;
        self.buf.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{BATCH, Batch, EntryTable, SHORT};
    use std::io::{Read, Seek};

    fn content(mut file: std::fs::File) -> Vec<u8> {
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn writes_land_where_they_belong() {
        let file = tempfile::tempfile().unwrap();
        let mut batch = Batch::new(file.try_clone().unwrap());
        let big: Vec<u8> = (0..BATCH + 3).map(|i| (i % 251) as u8 + 1).collect();
        let len = 4 * BATCH;
        let mut wanted = vec![0; len];
        for (at, bytes) in [
            (5, &big[..10]),
            (15, &big[..7]),
            (22 + SHORT as usize, &big[..9]),
            (10_000, &big[..BATCH - 1]),
            (10_000 + BATCH, &big[..]),
            (3 * BATCH, &big[..100]),
            (1, &big[..2]),
        ] {
            batch.write(at as u64, bytes).unwrap();
            wanted[at..at + bytes.len()].copy_from_slice(bytes);
        }
        batch.finish(len as u64).unwrap();
        assert!(content(file) == wanted);
    }

    #[test]
    fn a_table_fills_its_holes_and_refuses_to_go_back() {
        let file = tempfile::tempfile().unwrap();
        let mut table = EntryTable::new(8, |i| if i == 3 { [7, 7] } else { [1, 0] });
        table.set(&file, 1, [9, 9]).unwrap();
        table.set(&file, 4, [8, 8]).unwrap();
        assert!(table.set(&file, 4, [8, 8]).is_err());
        table.finish(&file, 6).unwrap();
        assert_eq!(content(file)[8..], [1, 0, 9, 9, 1, 0, 7, 7, 8, 8, 1, 0]);
    }
}
