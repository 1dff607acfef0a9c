//! The root file system alone, without a partition table: for machines whose kernel is not loaded
//! from the disk.

use super::{Options, Sink};
use std::io;
use std::ops::Range;

/// Passes on only the bytes of a disk that are its root file system, from offset 0 on.
///
/// So it is written in the same pass as the whole disk, and is the same file system, byte for byte.
#[derive(Debug)]
pub struct Rootfs<S> {
    inner: S,
    range: Range<u64>,
}

impl<S: Sink> Rootfs<S> {
    /// Passes the bytes in `range` to `inner`, which receives a "disk" of that length.
    pub fn new(inner: S, range: Range<u64>) -> Rootfs<S> {
        Rootfs { inner, range }
    }

    /// The part of `len` bytes at `offset` that is passed on, as offsets of the disk; `None` if there
    /// is none.
    fn within(&self, offset: u64, len: u64) -> Option<Range<u64>> {
        let start = offset.max(self.range.start);
        let end = offset.saturating_add(len).min(self.range.end);
        (start < end).then_some(start..end)
    }
}

/// Where on a disk of `size` bytes the root file system is.
///
/// Fails with [`io::ErrorKind::InvalidInput`] if that is not known, or not on the disk.
pub(super) fn range(size: u64, options: &Options) -> io::Result<Range<u64>> {
    let wrong = |text| io::Error::new(io::ErrorKind::InvalidInput, text);
    let root = options.root.clone();
    let root = root.ok_or_else(|| wrong("it is not known where the root file system is"))?;
    if root.is_empty() || root.end > size {
        return Err(wrong("the root file system is not on the disk"));
    }
    Ok(root)
}

impl<S: Sink> Sink for Rootfs<S> {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let Some(part) = self.within(offset, bytes.len() as u64) else {
            return Ok(());
        };
        let index = |at: u64| usize::try_from(at - offset).map_err(io::Error::other);
        let bytes = &bytes[index(part.start)?..index(part.end)?];
        self.inner.data(part.start - self.range.start, bytes)
    }

    fn zeros(&mut self, offset: u64, len: u64) -> io::Result<()> {
        match self.within(offset, len) {
            Some(part) => {
                let at = part.start - self.range.start;
                self.inner.zeros(at, part.end - part.start)
            }
            None => Ok(()),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.inner.finish()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Rootfs, range};
    use crate::format::raw::Raw;
    use crate::format::tests::{options, written};
    use crate::format::{Checked, Options};

    /// Wherever regions start and end, what comes out are the bytes of the range, each once.
    #[test]
    fn only_the_range_is_written() {
        let disk: Vec<u8> = (0..100_u8).map(|n| n * u8::from(n % 7 < 4)).collect();
        for piece in [1, 3, 10, 33, 100] {
            let range = 10..73_u64;
            let bytes = written(
                100,
                |file, _| {
                    let len = range.end - range.start;
                    let raw = Raw::new(file, len).unwrap();
                    Rootfs::new(Checked::new(raw, len), range.clone())
                },
                |sink| {
                    let mut at = 0;
                    for bytes in disk.chunks(piece) {
                        match bytes.iter().all(|b| *b == 0) {
                            true => sink.zeros(at, bytes.len() as u64).unwrap(),
                            false => sink.data(at, bytes).unwrap(),
                        }
                        at += bytes.len() as u64;
                    }
                },
            );
            assert_eq!(bytes, disk[10..73], "{piece}");
        }
    }

    #[test]
    fn a_root_that_is_not_on_the_disk_is_refused() {
        let with = |root| Options { root, ..options() };
        assert_eq!(range(100, &with(Some(10..100))).unwrap(), 10..100);
        for root in [None, Some(10..101), Some(10..10)] {
            assert!(range(100, &with(root.clone())).is_err(), "{root:?}");
        }
    }
}
