//! SHA-256 of the bytes that are written, if possible without reading them again.

use super::{Sink, raw};
use crate::hex::hex;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

/// A writer that computes the SHA-256 of everything that is written through it.
#[derive(Debug)]
pub struct Hashed<W> {
    out: W,
    hash: Sha256,
    len: u64,
}

impl<W: Write> Hashed<W> {
    /// Hashes everything that is written to `out` from now on.
    pub fn new(out: W) -> Hashed<W> {
        Hashed {
            out,
            hash: Sha256::new(),
            len: 0,
        }
    }

    /// Number of bytes so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing has been written yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The hash so far, in lower-case hexadecimal.
    pub fn hex(&self) -> String {
        hex(&self.hash.clone().finalize())
    }

    /// The hash so far.
    pub fn digest(&self) -> crate::model::Digest {
        self.hash.clone().into()
    }

    /// The inner writer.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.out
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.hash.update(&bytes[..n]);
        self.len += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The SHA-256 of everything in `input`, in lower-case hexadecimal.
pub fn sha256(mut input: impl Read) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buf = vec![0; 1 << 20];
    loop {
        match input.read(&mut buf) {
            Ok(0) => return Ok(hex(&hash.finalize())),
            Ok(n) => hash.update(&buf[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The SHA-256 of a whole file from its start, in lower-case hexadecimal. Holes are not read.
pub fn sha256_file(file: &File) -> io::Result<String> {
    let mut hash = Here(Sha256::new());
    raw::emit(file, &mut hash)?;
    Ok(hex(&hash.0.finalize()))
}

/// A hash that is computed in the thread that supplies the bytes.
struct Here(Sha256);

impl Sink for Here {
    fn data(&mut self, _offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.update(bytes);
        Ok(())
    }
    fn zeros(&mut self, _offset: u64, len: u64) -> io::Result<()> {
        update_zeros(&mut self.0, len);
        Ok(())
    }
    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Zeros for hashing: the most that are needed at once.
pub(super) static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

fn update_zeros(hash: &mut Sha256, mut len: u64) {
    while len > 0 {
        let n = usize::try_from(len).map_or(ZEROS.len(), |n| n.min(ZEROS.len()));
        hash.update(&ZEROS[..n]);
        len -= n as u64;
    }
}

/// Bytes that are gathered before the thread of a [`Hasher`] gets them.
const BATCH: usize = 1 << 20;

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
pub struct Hasher {
    gathered: Vec<u8>,
    /// `None` after the last batch.
    work: Option<SyncSender<Work>>,
    empty: Receiver<Vec<u8>>,
    thread: Option<JoinHandle<String>>,
}

impl Hasher {
    /// Starts the thread.
    pub fn new() -> io::Result<Hasher> {
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
    pub fn update(&mut self, mut bytes: &[u8]) -> io::Result<()> {
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
    pub fn zeros(&mut self, len: u64) -> io::Result<()> {
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
    pub fn finish(mut self) -> io::Result<String> {
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

/// A sink that hashes the contents of the disk, which are the contents of a raw image.
#[derive(Debug)]
pub struct DiskHash {
    hasher: Option<Hasher>,
    result: Sender<String>,
}

impl DiskHash {
    /// The receiver gets the hash of the whole disk.
    pub fn new() -> io::Result<(DiskHash, Receiver<String>)> {
        let (result, hash) = channel();
        let hasher = Some(Hasher::new()?);
        Ok((DiskHash { hasher, result }, hash))
    }
}

impl Sink for DiskHash {
    fn data(&mut self, _offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.hasher.as_mut().map_or(Ok(()), |h| h.update(bytes))
    }
    fn zeros(&mut self, _offset: u64, len: u64) -> io::Result<()> {
        self.hasher.as_mut().map_or(Ok(()), |h| h.zeros(len))
    }
    fn finish(&mut self) -> io::Result<()> {
        if let Some(hasher) = self.hasher.take() {
            // The receiver may be gone: then the hash is not needed.
            let _ = self.result.send(hasher.finish()?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{BATCH, DiskHash, Hashed, Hasher, sha256, sha256_file};
    use crate::format::{Checked, Sink};
    use std::io::Write;
    use std::os::unix::fs::FileExt;

    #[test]
    fn both_ways_give_the_known_hash() {
        // FIPS 180-2, appendix B.1.
        let wanted = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(&b"abc"[..]).unwrap(), wanted);
        let mut hashed = Hashed::new(Vec::new());
        hashed.write_all(b"a").unwrap();
        hashed.write_all(b"bc").unwrap();
        assert_eq!(hashed.hex(), wanted);
        assert_eq!(hashed.len(), 3);
        assert_eq!(hashed.get_mut(), b"abc");
    }

    #[test]
    fn a_thread_and_a_file_with_holes_give_the_same() {
        let size = 3 * BATCH as u64 + 777;
        let (at, bytes) = (BATCH as u64 / 2 + 5, vec![7; BATCH + 99]);
        let mut plain = vec![0; usize::try_from(size).unwrap()];
        plain[BATCH / 2 + 5..][..bytes.len()].copy_from_slice(&bytes);
        let wanted = sha256(&plain[..]).unwrap();

        let (hash, result) = DiskHash::new().unwrap();
        let mut sink = Checked::new(hash, size);
        sink.zeros(0, at).unwrap();
        let end = at + bytes.len() as u64;
        sink.data(at, &bytes).unwrap();
        sink.zeros(end, 100).unwrap();
        sink.zeros(end + 100, size - end - 100).unwrap();
        sink.finish().unwrap();
        assert_eq!(result.recv().unwrap(), wanted);

        let file = tempfile::tempfile().unwrap();
        file.set_len(size).unwrap();
        file.write_all_at(&bytes, at).unwrap();
        assert_eq!(sha256_file(&file).unwrap(), wanted);
        let nothing = sha256(&[][..]).unwrap();
        assert_eq!(Hasher::new().unwrap().finish().unwrap(), nothing);
    }
}
