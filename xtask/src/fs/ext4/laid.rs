//! A root file system after layout, and the contents of its files.

use super::writer::{NodeId, Out, Volume};
use crate::format::Sink;
use crate::fs::emit_content;
use crate::fs::window::Window;
use crate::rootfs::{Content, Stores};
use std::io;
use std::ops::Range;

/// Contents of files, by the handles that the writer uses for them.
///
/// Nearly every file is a range of bytes of a store, which fits into its handle: bit 63 is 0, 11
/// bits are the number of the store and 52 bits the first byte. All others are kept in a list.
#[derive(Debug, Default)]
pub(super) struct Contents {
    others: Vec<Content>,
    late: Option<Late>,
}

/// The file whose bytes depend on its location on the disk.
#[derive(Debug)]
struct Late {
    handle: u64,
    node: NodeId,
    len: u64,
}

/// Number of bits for the first byte in a store, and the bit that marks an index of the list.
const START_BITS: u32 = 52;
const LISTED: u64 = 1 << 63;

impl Contents {
    /// The handle of a content.
    pub(super) fn handle(&mut self, content: &Content) -> u64 {
        if let Content::Stored { store, start, .. } = content
            && *start < 1 << START_BITS
            && *store < 1 << 11
        {
            return u64::from(*store) << START_BITS | start;
        }
        self.others.push(content.clone());
        LISTED | (self.others.len() - 1) as u64
    }

    /// Marks the content with that handle as the late one.
    pub(super) fn late(&mut self, handle: u64, node: NodeId, len: u64) {
        self.late = Some(Late { handle, node, len });
    }

    /// Emits `len` bytes of a content, starting at its byte `from`.
    fn emit(
        &self,
        to: &mut ToSink<'_>,
        at: u64,
        handle: u64,
        from: u64,
        len: u64,
    ) -> io::Result<()> {
        let stored;
        let content = if handle & LISTED == 0 {
            stored = Content::Stored {
                store: (handle >> START_BITS) as u32,
                start: handle & ((1 << START_BITS) - 1),
                len: from + len,
            };
            &stored
        } else {
            let number = usize::try_from(handle & !LISTED).map_err(io::Error::other)?;
            let missing = || io::Error::other("a file of the file system has no content");
            self.others.get(number).ok_or_else(missing)?
        };
        let place = to.base + at;
        emit_content(
            to.stores,
            content,
            from,
            len,
            place,
            to.sink,
            &mut to.window,
        )
    }
}

/// A root file system after layout.
#[derive(Debug)]
pub struct Laid {
    volume: Volume,
    contents: Contents,
}

impl Laid {
    pub(super) fn new(volume: Volume, contents: Contents) -> Laid {
        Laid { volume, contents }
    }

    /// Location of the late file, as (offset, length) in bytes, in the order of the file.
    pub(in crate::fs) fn late(&self) -> Vec<(u64, u64)> {
        let Some(late) = &self.contents.late else {
            return Vec::new();
        };
        let mut left = late.len;
        let mut runs = self.volume.extents(late.node);
        for (_, len) in &mut runs {
            *len = left.min(*len);
            left -= *len;
        }
        runs
    }

    /// Supplies the bytes of the late file.
    pub(in crate::fs) fn supply(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(late) = &self.contents.late else {
            return Ok(());
        };
        if late.len != bytes.len() as u64 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let number = usize::try_from(late.handle & !LISTED).map_err(io::Error::other)?;
        if let Some(content) = self.contents.others.get_mut(number) {
            *content = Content::Bytes(bytes.into());
        }
        Ok(())
    }

    /// Writes a boot sector before the superblock. Returns whether there is room for it.
    pub(in crate::fs) fn set_boot(&mut self, bytes: &[u8]) -> bool {
        self.volume.set_boot(bytes)
    }

    /// Reads metadata into `buf`, which must be zeroed.
    pub(in crate::fs) fn read_metadata(&self, offset: u64, buf: &mut [u8]) {
        let range = offset..offset + buf.len() as u64;
        let Ok(()) = self
            .volume
            .write_range(range, &mut ToBuffer { offset, buf });
    }

    /// Free space, in bytes from the start of the file system: ascending and disjoint.
    pub(in crate::fs) fn free(&self) -> Vec<Range<u64>> {
        self.volume.free().collect()
    }

    /// Emits everything up to `size`, including zeros, at offset `base` of the disk.
    pub(in crate::fs) fn emit(
        &self,
        size: u64,
        stores: &Stores,
        base: u64,
        sink: &mut dyn Sink,
        progress: &dyn Fn(u64),
    ) -> io::Result<()> {
        let mut to = ToSink {
            contents: &self.contents,
            stores,
            base,
            at: 0,
            sink,
            progress,
            window: Window::default(),
        };
        self.volume.write(&mut to)?;
        to.reach(size)
    }
}

struct ToSink<'a> {
    contents: &'a Contents,
    stores: &'a Stores,
    base: u64,
    /// Everything up to this byte is emitted.
    at: u64,
    sink: &'a mut dyn Sink,
    progress: &'a dyn Fn(u64),
    window: Window,
}

impl ToSink<'_> {
    /// Emits zeros up to byte `at`.
    fn reach(&mut self, at: u64) -> io::Result<()> {
        if at > self.at {
            self.sink.zeros(self.base + self.at, at - self.at)?;
            self.at = at;
        }
        Ok(())
    }
}

impl Out for ToSink<'_> {
    type Error = io::Error;

    fn metadata(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.reach(at)?;
        self.sink.data(self.base + at, bytes)?;
        self.at = at + bytes.len() as u64;
        Ok(())
    }

    fn content(&mut self, at: u64, handle: u64, from: u64, len: u64) -> io::Result<()> {
        self.reach(at)?;
        let contents = self.contents;
        contents.emit(self, at, handle, from, len)?;
        self.at = at + len;
        (self.progress)(len);
        Ok(())
    }
}

/// A buffer that receives the bytes from offset `offset` on.
struct ToBuffer<'a> {
    offset: u64,
    buf: &'a mut [u8],
}

impl Out for ToBuffer<'_> {
    type Error = std::convert::Infallible;

    fn metadata(&mut self, at: u64, bytes: &[u8]) -> Result<(), Self::Error> {
        let end = self.offset + self.buf.len() as u64;
        let (from, to) = (at.max(self.offset), (at + bytes.len() as u64).min(end));
        if from < to {
            // All of them are inside slices in memory.
            let place = |at: u64, base: u64| usize::try_from(at - base).unwrap_or(usize::MAX);
            self.buf[place(from, self.offset)..place(to, self.offset)]
                .copy_from_slice(&bytes[place(from, at)..place(to, at)]);
        }
        Ok(())
    }

    fn content(&mut self, _: u64, _: u64, _: u64, _: u64) -> Result<(), Self::Error> {
        Ok(())
    }
}
