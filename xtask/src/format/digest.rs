//! SHA-256 of the bytes that are written, if possible without reading them again.

use super::{Sink, raw};
use crate::hasher::{Hasher, update_zeros};
use crate::hex::hex;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, Sender, channel};

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

    use super::{DiskHash, Hashed, sha256, sha256_file};
    use crate::format::{Checked, Sink};
    use crate::hasher::{BATCH, Hasher};
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
