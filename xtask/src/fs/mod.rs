//! File systems: each is laid out in memory first, so that the location of everything is known
//! before a byte is written, and then emitted in ascending order.

pub mod ext4;
pub mod fat;
pub mod free;
mod window;

use crate::format::Sink;
use crate::rootfs::{Content, Stores};
use std::io;
use std::ops::Range;
use window::Window;

/// Largest read of a sparse content, in bytes.
const CHUNK: usize = 1 << 20;

/// Contents at one location of a file system.
#[derive(Debug, Clone)]
pub enum Source {
    /// These bytes: metadata, or a file that this program generates.
    Bytes(Vec<u8>),
    /// Part of a file: the bytes of `content` from byte `from` on.
    Content {
        /// The contents of the file.
        content: Content,
        /// First byte of the file that is stored here.
        from: u64,
    },
}

/// One run of bytes of a file system.
#[derive(Debug, Clone)]
pub struct Piece {
    /// Start, in bytes from the start of the file system.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
    /// Its contents.
    pub source: Source,
}

/// Adds the pieces of a file that is stored at `places`, as (offset, length) on the disk. `runs`
/// are the data, as (content, from, length). Both are in the file's order, but are cut at different
/// points.
fn place<'a>(
    places: &[(u64, u64)],
    runs: impl IntoIterator<Item = (&'a Content, u64, u64)>,
    pieces: &mut Vec<Piece>,
) {
    let mut places = places.iter().copied();
    let (mut offset, mut room) = (0, 0);
    for (content, mut from, mut left) in runs {
        while left > 0 {
            if room == 0 {
                let Some(next) = places.next() else { return };
                (offset, room) = next;
                continue;
            }
            let len = room.min(left);
            pieces.push(Piece {
                offset,
                len,
                source: Source::Content {
                    content: content.clone(),
                    from,
                },
            });
            offset += len;
            room -= len;
            from += len;
            left -= len;
        }
    }
}

/// A file system after layout: what is stored where. Everything without a piece is zero.
#[derive(Debug)]
pub struct Layout {
    /// Size of the file system in bytes.
    pub size: u64,
    body: Body,
}

/// Contents of a layout.
#[derive(Debug)]
enum Body {
    /// The pieces: ascending and disjoint.
    Pieces(Vec<Piece>),
    /// An ext4, whose metadata is made when it is needed.
    Ext4(Box<ext4::Laid>),
}

impl Layout {
    /// Makes a layout of these pieces, and sorts them. Overlapping pieces are an error.
    pub fn new(size: u64, mut pieces: Vec<Piece>) -> io::Result<Layout> {
        pieces.sort_unstable_by_key(|p| p.offset);
        let mut at = 0;
        for p in &pieces {
            if p.offset < at || p.len > size.saturating_sub(p.offset) {
                return Err(io::Error::other(format!(
                    "the file system's piece of {} bytes at {} overlaps another one or the end",
                    p.len, p.offset
                )));
            }
            at = p.offset + p.len;
        }
        let body = Body::Pieces(pieces);
        Ok(Layout { size, body })
    }

    /// Makes a layout of an ext4.
    fn ext4(size: u64, laid: ext4::Laid) -> Layout {
        let body = Body::Ext4(Box::new(laid));
        Layout { size, body }
    }

    /// The pieces of a file system that is stored as pieces (FAT): ascending and disjoint.
    pub fn pieces(&self) -> &[Piece] {
        match &self.body {
            Body::Pieces(pieces) => pieces,
            Body::Ext4(_) => &[],
        }
    }

    /// Location of the only file of the tree whose content is [`Content::Late`]: its runs as
    /// (offset, length) in bytes, in the order of the file.
    pub fn late(&self) -> Vec<(u64, u64)> {
        match &self.body {
            Body::Pieces(_) => Vec::new(),
            Body::Ext4(laid) => laid.late(),
        }
    }

    /// Supplies the bytes of the late file.
    pub fn supply(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.body {
            Body::Pieces(_) => Ok(()),
            Body::Ext4(laid) => laid.supply(bytes),
        }
    }

    /// Writes `bytes` (a boot sector) over the file system's own data at its start.
    pub fn overwrite_start(&mut self, bytes: &[u8]) -> io::Result<()> {
        let fits = match &mut self.body {
            Body::Pieces(_) => false,
            Body::Ext4(laid) => laid.set_boot(bytes),
        };
        if fits {
            Ok(())
        } else {
            Err(io::Error::other(
                "the file system has no room for a boot sector",
            ))
        }
    }

    /// Reads metadata. Contents of files read as zeros; they are not needed here.
    pub fn read_metadata(&self, offset: u64, buf: &mut [u8]) {
        buf.fill(0);
        let pieces = match &self.body {
            Body::Pieces(pieces) => pieces,
            Body::Ext4(laid) => return laid.read_metadata(offset, buf),
        };
        let end = offset + buf.len() as u64;
        let first = pieces.partition_point(|p| p.offset + p.len <= offset);
        for p in pieces[first..].iter().take_while(|p| p.offset < end) {
            if let Source::Bytes(bytes) = &p.source {
                let (from, to) = (p.offset.max(offset), (p.offset + p.len).min(end));
                // All of them are inside slices in memory.
                let at =
                    |place: u64, base: u64| usize::try_from(place - base).unwrap_or(usize::MAX);
                buf[at(from, offset)..at(to, offset)]
                    .copy_from_slice(&bytes[at(from, p.offset)..at(to, p.offset)]);
            }
        }
    }

    /// Free space, in bytes from the start of the file system: ascending and disjoint.
    pub fn free(&self) -> io::Result<Vec<Range<u64>>> {
        match &self.body {
            Body::Ext4(laid) => Ok(laid.free()),
            Body::Pieces(_) => {
                let read = |at: u64, buf: &mut [u8]| {
                    self.read_metadata(at, buf);
                    Ok(())
                };
                free::free(&read, self.size, &[0])
            }
        }
    }

    /// Emits the whole file system at offset `base` of the disk. `progress` gets the number of
    /// bytes of file contents that were read since its last call.
    pub fn emit(
        &self,
        stores: &Stores,
        base: u64,
        sink: &mut dyn Sink,
        progress: &dyn Fn(u64),
    ) -> io::Result<()> {
        let pieces = match &self.body {
            Body::Pieces(pieces) => pieces,
            Body::Ext4(laid) => return laid.emit(self.size, stores, base, sink, progress),
        };
        let mut window = Window::default();
        let mut at = 0;
        for p in pieces {
            if p.offset > at {
                sink.zeros(base + at, p.offset - at)?;
            }
            match &p.source {
                Source::Bytes(bytes) => sink.data(base + p.offset, bytes)?,
                Source::Content { content, from } => {
                    emit_content(
                        stores,
                        content,
                        *from,
                        p.len,
                        base + p.offset,
                        sink,
                        &mut window,
                    )?;
                    progress(p.len);
                }
            }
            at = p.offset + p.len;
        }
        if self.size > at {
            sink.zeros(base + at, self.size - at)?;
        }
        Ok(())
    }
}

fn emit_content(
    stores: &Stores,
    content: &Content,
    from: u64,
    len: u64,
    at: u64,
    sink: &mut dyn Sink,
    window: &mut Window,
) -> io::Result<()> {
    match content {
        Content::Bytes(bytes) => {
            let start = usize::try_from(from).map_err(io::Error::other)?;
            let len = usize::try_from(len).map_err(io::Error::other)?;
            let part = bytes
                .get(start..start + len)
                .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
            sink.data(at, part)
        }
        Content::Stored { store, start, .. } => {
            let mut done = 0;
            while done < len {
                let part = window.get(stores, *store, start + from + done, len - done)?;
                sink.data(at + done, part)?;
                done += part.len() as u64;
            }
            Ok(())
        }
        Content::Sparse { .. } | Content::Late { .. } => {
            let mut buf = vec![0; CHUNK.min(usize::try_from(len).unwrap_or(CHUNK))];
            let mut done = 0;
            while done < len {
                let n = buf.len().min(usize::try_from(len - done).unwrap_or(CHUNK));
                stores.read_at(content, from + done, &mut buf[..n])?;
                sink.data(at + done, &buf[..n])?;
                done += n as u64;
            }
            Ok(())
        }
    }
}
