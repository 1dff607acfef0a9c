//! How long-running work reports its progress, independent of the receiver: a terminal, the log of
//! a workflow, a test.

use std::io::{self, Read};

/// A receiver of progress.
pub trait Progress: Sync {
    /// A new stage of the work begins.
    fn stage(&self, text: &str);

    /// A note about the result for the user.
    fn note(&self, text: &str);

    /// A line of another program's output.
    fn detail(&self, text: &str);

    /// Work that is measured in bytes starts; `total` is their number, if known. It ends when the
    /// returned value is dropped.
    fn bytes(&self, what: &str, total: Option<u64>) -> Box<dyn Bytes>;
}

/// Counts the bytes of one piece of work.
pub trait Bytes: Send + Sync {
    /// Adds to the number of processed bytes.
    fn add(&self, bytes: u64);
}

/// Ignores all progress.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn stage(&self, _: &str) {}
    fn note(&self, _: &str) {}
    fn detail(&self, _: &str) {}
    fn bytes(&self, _: &str, _: Option<u64>) -> Box<dyn Bytes> {
        Box::new(Silent)
    }
}

impl Bytes for Silent {
    fn add(&self, _: u64) {}
}

/// A reader that counts the bytes as they are read.
pub struct Counted<R> {
    stream: R,
    bytes: Box<dyn Bytes>,
}

impl<R: Read> Counted<R> {
    /// Counts the bytes that are read from `stream`.
    pub fn new(stream: R, bytes: Box<dyn Bytes>) -> Counted<R> {
        Counted { stream, bytes }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.stream.read(buf)?;
        self.bytes.add(n as u64);
        Ok(n)
    }
}

impl<R> std::fmt::Debug for Counted<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Counted").finish_non_exhaustive()
    }
}
