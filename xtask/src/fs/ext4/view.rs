//! Reads an ext4 that begins somewhere on a disk.

use ext4_view::Ext4Read;
use std::io;

/// A file system on a disk, for [`ext4_view::Ext4::load`].
pub struct Placed<F> {
    start: u64,
    read: F,
}

impl<F: FnMut(u64, &mut [u8]) -> io::Result<()>> Placed<F> {
    /// The file system that begins at byte `start` of a disk. `read` fills a buffer with the bytes of
    /// the disk from an offset on.
    pub fn new(start: u64, read: F) -> Placed<F> {
        Placed { start, read }
    }
}

impl<F: FnMut(u64, &mut [u8]) -> io::Result<()>> Ext4Read for Placed<F> {
    fn read(
        &mut self,
        start_byte: u64,
        dst: &mut [u8],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync + 'static>> {
        let at = self.start.checked_add(start_byte);
        let at = at.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        Ok((self.read)(at, dst)?)
    }
}
