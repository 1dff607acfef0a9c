//! The device that fatfs writes to. It keeps metadata; for the bodies of files it records only
//! where they were written.

use std::cell::RefCell;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::rc::Rc;

/// Size of a sector in bytes.
pub(super) const SECTOR: usize = 512;

/// Size of a page in bytes: each page is kept or left out as a whole. (A list of pages is as fast
/// as a map of sectors: some 10 ms for 48 MB in clusters of 1 KiB, most of it in fatfs.)
const PAGE: usize = 32 << 10;

type Page = [u8; PAGE];

/// A sparse device in memory. Its clones are handles of the same device; each has its own cursor.
#[derive(Clone)]
pub(super) struct Device {
    state: Rc<RefCell<State>>,
    /// Offset of the next byte, in bytes from the start of the device.
    at: u64,
}

struct State {
    /// Size in bytes.
    size: u64,
    /// The pages that were written. All others are zero.
    pages: Vec<Option<Box<Page>>>,
    /// While the body of a file is written: its location so far.
    body: Option<Body>,
}

struct Body {
    /// Offset of the data area in bytes: writes from here on belong to the body.
    from: u64,
    /// Location of the body, as (offset, length) in bytes, in the order of the body.
    runs: Vec<(u64, u64)>,
}

impl Device {
    /// A device of `size` bytes, all zero.
    pub(super) fn new(size: u64) -> Device {
        let state = State {
            size,
            pages: Vec::new(),
            body: None,
        };
        Device {
            state: Rc::new(RefCell::new(state)),
            at: 0,
        }
    }

    /// Until the call of [`Device::end_body`], every write at or after byte `from` is part of the
    /// body of one file: its location is recorded, its bytes are ignored.
    pub(super) fn start_body(&self, from: u64) {
        self.state.borrow_mut().body = Some(Body {
            from,
            runs: Vec::new(),
        });
    }

    /// The runs of the body since [`Device::start_body`], as (offset, length) in bytes.
    pub(super) fn end_body(&self) -> Vec<(u64, u64)> {
        let body = self.state.borrow_mut().body.take();
        body.map(|b| b.runs).unwrap_or_default()
    }

    /// Fills `buf` with the bytes at offset `at`.
    pub(super) fn load(&self, at: u64, buf: &mut [u8]) -> io::Result<()> {
        let mut device = self.clone();
        device.seek(SeekFrom::Start(at))?;
        device.read_exact(buf)
    }

    /// The little-endian number at offset `at`.
    pub(super) fn load_u32(&self, at: u64) -> io::Result<u32> {
        let mut bytes = [0; 4];
        self.load(at, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// Writes `bytes` at offset `at`.
    pub(super) fn store(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut device = self.clone();
        device.seek(SeekFrom::Start(at))?;
        device.write_all(bytes)
    }

    /// Everything that is not zero, as (offset, bytes), ascending; adjacent pages are one run.
    pub(super) fn runs(&self) -> Vec<(u64, Vec<u8>)> {
        let state = self.state.borrow();
        let mut runs: Vec<(u64, Vec<u8>)> = Vec::new();
        for (number, page) in state.pages.iter().enumerate() {
            let sectors = page.iter().flat_map(|page| page.chunks_exact(SECTOR));
            for (n, sector) in sectors.enumerate() {
                if sector.iter().all(|b| *b == 0) {
                    continue;
                }
                let at = (number * PAGE + n * SECTOR) as u64;
                match runs.last_mut() {
                    Some((start, run)) if *start + run.len() as u64 == at => {
                        run.extend_from_slice(sector);
                    }
                    _ => runs.push((at, sector.to_vec())),
                }
            }
        }
        runs
    }
}

impl State {
    /// How many of `len` bytes fit on the device from offset `at` on.
    fn fits(&self, at: u64, len: usize) -> usize {
        usize::try_from(self.size.saturating_sub(at)).map_or(len, |left| left.min(len))
    }
}

/// The page of byte `at`, the offset in it, and how much of `len` bytes fits there.
fn here(at: u64, len: usize) -> (usize, usize, usize) {
    let skip = (at % PAGE as u64) as usize;
    ((at / PAGE as u64) as usize, skip, len.min(PAGE - skip))
}

impl Read for Device {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let state = self.state.borrow();
        let (number, skip, n) = here(self.at, state.fits(self.at, buf.len()));
        match state.pages.get(number) {
            Some(Some(page)) => buf[..n].copy_from_slice(&page[skip..skip + n]),
            _ => buf[..n].fill(0),
        }
        self.at += n as u64;
        Ok(n)
    }
}

impl Write for Device {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let mut state = self.state.borrow_mut();
        let fits = state.fits(self.at, buf.len());
        if let Some(body) = state.body.as_mut().filter(|b| self.at >= b.from) {
            match body.runs.last_mut() {
                Some((start, run)) if *start + *run == self.at => *run += fits as u64,
                _ => body.runs.push((self.at, fits as u64)),
            }
            self.at += fits as u64;
            return Ok(fits);
        }
        let (number, skip, n) = here(self.at, fits);
        if state.pages.len() <= number {
            state.pages.resize(number + 1, None);
        }
        match &mut state.pages[number] {
            Some(page) => page[skip..skip + n].copy_from_slice(&buf[..n]),
            None if buf[..n].iter().all(|b| *b == 0) => {}
            none => none.insert(Box::new([0; PAGE]))[skip..skip + n].copy_from_slice(&buf[..n]),
        }
        self.at += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Device {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.state.borrow().size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}
