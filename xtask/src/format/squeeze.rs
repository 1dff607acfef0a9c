//! Compresses the blocks of a disk on all cores, each block separately.

use super::Sink;
use super::pool::Pool;
use super::zero::is_zero;
use std::io;

/// Bytes per job: large enough that the cost of handing it out does not matter, small enough that
/// many threads need only a few MiB.
const JOB: usize = 256 << 10;

/// Compresses one block: appends to the `Vec`. If it appends nothing, the block is stored
/// uncompressed.
pub(super) type Codec = Box<dyn FnMut(&[u8], &mut Vec<u8>) -> io::Result<()> + Send>;

/// Blocks that a thread works on.
#[derive(Debug, Default)]
struct Bundle {
    /// Numbers of the blocks.
    blocks: Vec<u64>,
    /// Their contents, concatenated.
    data: Vec<u8>,
    /// The compressed blocks, concatenated,
    out: Vec<u8>,
    /// and the end of each one in `out`.
    ends: Vec<usize>,
    /// The error, if compressing failed.
    error: Option<io::Error>,
}

/// How a format stores its blocks.
pub(super) trait Store: Send {
    /// Stores block `index` with the contents `plain`, which the codec compressed to `compressed`.
    /// Blocks come in ascending order; those that are all zero do not come.
    fn store(&mut self, index: u64, plain: &[u8], compressed: &[u8]) -> io::Result<()>;

    /// Called after all blocks.
    fn finish(&mut self) -> io::Result<()>;
}

/// A sink that gathers whole blocks, compresses them and passes them to `S`.
#[derive(Debug)]
pub(super) struct Squeezed<S> {
    store: S,
    pool: Pool<Bundle, Bundle>,
    block: usize,
    /// The block that is being gathered, and how many of its bytes have come. It is empty as long
    /// as only zeros have come.
    open: Vec<u8>,
    number: u64,
    /// Blocks that wait until a job is full.
    job: Bundle,
    /// A finished job, to be filled again.
    spare: Vec<Bundle>,
}

impl<S: Store> Squeezed<S> {
    /// Blocks of `block` bytes, compressed by `threads` threads; `codec` makes the compressor of
    /// each one.
    pub(super) fn new(
        store: S,
        block: u64,
        threads: usize,
        codec: impl Fn() -> io::Result<Codec>,
    ) -> io::Result<Squeezed<S>> {
        let block = usize::try_from(block).map_err(io::Error::other)?;
        let pool = Pool::new(threads, || {
            let mut codec = codec()?;
            Ok(move |mut job: Bundle| {
                for plain in job.data.chunks(block) {
                    if let Err(error) = codec(plain, &mut job.out) {
                        job.error = Some(error);
                        break;
                    }
                    job.ends.push(job.out.len());
                }
                job
            })
        })?;
        Ok(Squeezed {
            store,
            pool,
            block,
            open: Vec::with_capacity(block),
            number: 0,
            job: Bundle::default(),
            spare: Vec::new(),
        })
    }

    /// The store that receives the blocks.
    pub(super) fn store(&mut self) -> &mut S {
        &mut self.store
    }

    /// Ends the block that is being gathered: pads it with zeros and queues it.
    fn close(&mut self) -> io::Result<()> {
        if !self.open.is_empty() {
            let mut block = std::mem::take(&mut self.open);
            block.resize(self.block, 0);
            self.send(self.number, &block)?;
            block.clear();
            self.open = block;
        }
        Ok(())
    }

    fn send(&mut self, index: u64, block: &[u8]) -> io::Result<()> {
        if is_zero(block) {
            return Ok(());
        }
        self.job.blocks.push(index);
        self.job.data.extend_from_slice(block);
        if self.job.data.len() >= JOB {
            let next = self.spare.pop().unwrap_or_default();
            let job = std::mem::replace(&mut self.job, next);
            if let Some(done) = self.pool.submit(job)? {
                self.store_job(done)?;
            }
        }
        Ok(())
    }

    fn store_job(&mut self, mut job: Bundle) -> io::Result<()> {
        if let Some(error) = job.error.take() {
            return Err(error);
        }
        let mut from = 0;
        let blocks = job.blocks.iter().zip(job.data.chunks(self.block));
        for ((index, plain), to) in blocks.zip(&job.ends) {
            self.store.store(*index, plain, &job.out[from..*to])?;
            from = *to;
        }
        job.blocks.clear();
        job.data.clear();
        job.out.clear();
        job.ends.clear();
        self.spare.push(job);
        Ok(())
    }
}

impl<S: Store> Sink for Squeezed<S> {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let block = self.block as u64;
        let mut offset = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let index = offset / block;
            if index != self.number {
                self.close()?;
                self.number = index;
            }
            let within = usize::try_from(offset % block).map_err(io::Error::other)?;
            let len = (self.block - within).min(rest.len());
            let (piece, after) = rest.split_at(len);
            if len == self.block {
                self.send(index, piece)?;
            } else if !self.open.is_empty() || !is_zero(piece) {
                // Zeros before it that were not gathered.
                self.open.resize(within, 0);
                self.open.extend_from_slice(piece);
            }
            offset += len as u64;
            rest = after;
        }
        Ok(())
    }

    fn zeros(&mut self, _offset: u64, _len: u64) -> io::Result<()> {
        // They are filled in by the next data, or at the end of the block.
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.close()?;
        let last = std::mem::take(&mut self.job);
        if let Some(job) = self.pool.submit(last)? {
            self.store_job(job)?;
        }
        while let Some(job) = self.pool.next()? {
            self.store_job(job)?;
        }
        self.store.finish()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Squeezed, Store};
    use crate::format::{Checked, Sink};
    use std::io;

    #[derive(Default)]
    struct Seen(Vec<(u64, Vec<u8>, Vec<u8>)>);

    impl Store for &mut Seen {
        fn store(&mut self, index: u64, plain: &[u8], compressed: &[u8]) -> io::Result<()> {
            self.0.push((index, plain.to_vec(), compressed.to_vec()));
            Ok(())
        }
        fn finish(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn blocks_come_whole_in_order_and_without_those_that_are_zero() {
        let mut seen = Seen::default();
        // "Compresses" a block to its sum; appends nothing for a block that starts with 9.
        let codec = || -> io::Result<super::Codec> {
            Ok(Box::new(|plain, out| {
                if plain[0] != 9 {
                    out.push(plain.iter().sum());
                }
                Ok(())
            }))
        };
        let sink = Squeezed::new(&mut seen, 8, 2, codec).unwrap();
        let mut sink = Checked::new(sink, 8 * 6 + 1);
        sink.zeros(0, 9).unwrap();
        sink.data(9, &[1, 2]).unwrap();
        sink.zeros(11, 1).unwrap();
        sink.data(12, &[3]).unwrap();
        sink.data(13, &[0; 14]).unwrap();
        sink.zeros(27, 5).unwrap();
        sink.data(32, &[9, 0, 0, 0, 0, 0, 0, 0, 5, 5]).unwrap();
        sink.zeros(42, 6).unwrap();
        sink.data(48, &[6]).unwrap();
        sink.finish().unwrap();
        drop(sink);
        let wanted: [(u64, [u8; 8], &[u8]); 4] = [
            (1, [0, 1, 2, 0, 3, 0, 0, 0], &[6]),
            (4, [9, 0, 0, 0, 0, 0, 0, 0], &[]),
            (5, [5, 5, 0, 0, 0, 0, 0, 0], &[10]),
            (6, [6, 0, 0, 0, 0, 0, 0, 0], &[6]),
        ];
        let wanted = wanted.map(|(i, plain, out)| (i, plain.to_vec(), out.to_vec()));
        assert_eq!(seen.0, wanted);
    }

    #[test]
    fn an_error_of_the_codec_is_an_error_of_the_sink() {
        let mut seen = Seen::default();
        let codec = || -> io::Result<super::Codec> {
            Ok(Box::new(|_, _| Err(io::Error::other("on purpose"))))
        };
        let mut sink = Squeezed::new(&mut seen, 8, 2, codec).unwrap();
        sink.data(0, &[1]).unwrap();
        assert_eq!(sink.finish().unwrap_err().to_string(), "on purpose");
    }
}
