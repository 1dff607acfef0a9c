//! How long work tells what it does, without knowing who listens: a terminal, the log of a
//! workflow, a test.

use std::io::{self, Read};

/// Whoever wants to know how the work goes on.
pub trait Progress: Sync {
    /// A new stage of the work begins.
    fn stage(&self, text: &str);

    /// Something that people should know about the result.
    fn note(&self, text: &str);

    /// A line of another program's output.
    fn detail(&self, text: &str);

    /// Something starts that is measured in bytes: `total` of them, if that is known. It ends
    /// when what is returned is dropped.
    fn bytes(&self, what: &str, total: Option<u64>) -> Box<dyn Bytes>;
}

/// Counts the bytes of one piece of work.
pub trait Bytes: Send + Sync {
    /// So many more are done.
    fn add(&self, bytes: u64);
}

/// Tells nobody anything.
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

/// A stream whose bytes are counted as they are read.
pub struct Counted<R> {
    stream: R,
    bytes: Box<dyn Bytes>,
}

impl<R: Read> Counted<R> {
    /// Counts what is read from `stream`.
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
