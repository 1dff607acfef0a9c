//! SHA-256 in a thread of its own.

use crate::hex::hex;
use sha2::{Digest as _, Sha256};
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

/// Zeros for hashing: the most that are needed at once.
pub(crate) static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Adds `len` zeros to a hash.
pub(crate) fn update_zeros(hash: &mut Sha256, mut len: u64) {
    while len > 0 {
        let n = usize::try_from(len).map_or(ZEROS.len(), |n| n.min(ZEROS.len()));
        hash.update(&ZEROS[..n]);
        len -= n as u64;
    }
}

/// Bytes that are gathered before the thread of a [`Hasher`] gets them.
pub(crate) const BATCH: usize = 1 << 20;

/// Batches that may wait to be hashed. It limits the memory that is used.
const WAITING: usize = 4;

enum Work {
    Bytes(Vec<u8>),
    Zeros(u64),
}

/// A SHA-256 that a separate thread computes while the bytes are written elsewhere.
///
/// Measured on a Debian image of 700 MB: reading it again afterwards takes as long as writing it
/// did; hashing it during the writing uses a core that is idle anyway.
#[derive(Debug)]
pub(crate) struct Hasher {
    gathered: Vec<u8>,
    /// `None` after the last batch.
    work: Option<SyncSender<Work>>,
    empty: Receiver<Vec<u8>>,
    thread: Option<JoinHandle<String>>,
}

impl Hasher {
    /// Starts the thread.
    pub(crate) fn new() -> io::Result<Hasher> {
        let (work, todo) = sync_channel::<Work>(WAITING);
        let (back, empty) = channel();
        for _ in 0..WAITING {
            // The other end of the channel still exists: this cannot fail.
            let _ = back.send(Vec::new());
        }
        let run = move || {
            let mut hash = Sha256::new();
            for work in todo {
                match work {
                    Work::Zeros(len) => update_zeros(&mut hash, len),
                    Work::Bytes(mut bytes) => {
                        hash.update(&bytes);
                        bytes.clear();
                        // Nothing receives the buffer after the last batch.
                        let _ = back.send(bytes);
                    }
                }
            }
            hex(&hash.finalize())
        };
        let thread = std::thread::Builder::new()
            .name("sha256".into())
            .spawn(run)?;
        Ok(Hasher {
            gathered: Vec::new(),
            work: Some(work),
            empty,
            thread: Some(thread),
        })
    }

    /// Adds bytes.
    pub(crate) fn update(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = BATCH - self.gathered.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.gathered.extend_from_slice(now);
            bytes = later;
            if self.gathered.len() == BATCH {
                self.send()?;
            }
        }
        Ok(())
    }

    /// Adds `len` zeros.
    pub(crate) fn zeros(&mut self, len: u64) -> io::Result<()> {
        if len <= 4096 {
            return self.update(&ZEROS[..usize::try_from(len).unwrap_or(0)]);
        }
        self.send()?;
        self.give(Work::Zeros(len))
    }

    fn send(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let next = self.empty.recv().map_err(|_| died())?;
        let bytes = std::mem::replace(&mut self.gathered, next);
        self.give(Work::Bytes(bytes))
    }

    fn give(&self, work: Work) -> io::Result<()> {
        let sender = self.work.as_ref().ok_or_else(died)?;
        sender.send(work).map_err(|_| died())
    }

    /// The hash of all bytes, in lower-case hexadecimal.
    pub(crate) fn finish(mut self) -> io::Result<String> {
        self.send()?;
        self.work = None;
        let thread = self.thread.take().ok_or_else(died)?;
        thread.join().map_err(|_| died())
    }
}

fn died() -> io::Error {
    io::Error::other("the thread that computes checksums has died")
}

impl Drop for Hasher {
    fn drop(&mut self) {
        self.work = None;
        if let Some(thread) = self.thread.take() {
            // The image failed: nothing receives the hash any more.
            let _ = thread.join();
        }
    }
}
