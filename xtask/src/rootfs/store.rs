//! Stores: where file contents are until they are written to the disk image.

use super::Content;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// A file that contains file contents: a tar, or a spool. It is only read at explicit offsets.
#[derive(Debug, Clone)]
pub struct Store {
    file: Arc<File>,
}

impl Store {
    /// Uses `file` as a store. Its cursor is neither used nor moved.
    pub fn new(file: File) -> Store {
        Store {
            file: Arc::new(file),
        }
    }

    /// Fills `buf` from byte `offset` of the store; it is an error if the file ends earlier.
    pub fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    /// What the system knows about the file.
    pub(super) fn metadata(&self) -> io::Result<std::fs::Metadata> {
        self.file.metadata()
    }

    /// Reads at most `buf.len()` bytes at `offset`, as many as one call returns.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }
}

/// All stores of a root file system, numbered from 0.
#[derive(Debug, Clone, Default)]
pub struct Stores(Vec<Store>);

impl Stores {
    /// Adds a store and returns its number, for [`Content::Stored`].
    pub fn add(&mut self, store: Store) -> u32 {
        self.0.push(store);
        u32::try_from(self.0.len() - 1).unwrap_or(u32::MAX)
    }

    /// Adds all stores of `others` and returns the number of the first.
    pub(super) fn append(&mut self, others: Stores) -> u32 {
        let first = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0.extend(others.0);
        first
    }

    /// The store with that number.
    pub fn get(&self, number: u32) -> io::Result<&Store> {
        self.0
            .get(number as usize)
            .ok_or_else(|| io::Error::other(format!("no content store has the number {number}")))
    }

    /// Reads a file's content from start to end.
    pub fn reader<'a>(&'a self, content: &'a Content) -> impl io::Read + use<'a> {
        Reader {
            stores: self,
            content,
            at: 0,
        }
    }

    /// Fills `buf` with the bytes of `content`, starting at byte `from`.
    ///
    /// Holes of sparse contents read as zeros, and so do contents whose bytes are known only after
    /// the disk is laid out ([`Content::Late`]).
    pub fn read_at(&self, content: &Content, from: u64, buf: &mut [u8]) -> io::Result<()> {
        let end = from + buf.len() as u64;
        if end > content.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match content {
            Content::Bytes(bytes) => {
                let start = usize::try_from(from).map_err(io::Error::other)?;
                buf.copy_from_slice(&bytes[start..start + buf.len()]);
                Ok(())
            }
            Content::Stored { store, start, .. } => {
                self.get(*store)?.read_exact_at(buf, start + from)
            }
            Content::Late { .. } => {
                buf.fill(0);
                Ok(())
            }
            Content::Sparse {
                store, segments, ..
            } => {
                buf.fill(0);
                let store = self.get(*store)?;
                for s in segments.iter() {
                    let lo = s.offset.max(from);
                    let hi = (s.offset + s.len).min(end);
                    if lo < hi {
                        let a = usize::try_from(lo - from).map_err(io::Error::other)?;
                        let b = usize::try_from(hi - from).map_err(io::Error::other)?;
                        store.read_exact_at(&mut buf[a..b], s.start + (lo - s.offset))?;
                    }
                }
                Ok(())
            }
        }
    }
}

/// A content that is read from start to end.
struct Reader<'a> {
    stores: &'a Stores,
    content: &'a Content,
    at: u64,
}

impl io::Read for Reader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.content.len() - self.at;
        let n = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
        self.stores.read_at(self.content, self.at, &mut buf[..n])?;
        self.at += n as u64;
        Ok(n)
    }
}
