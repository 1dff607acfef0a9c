//! Checks digests and sizes while bytes are read.

use super::OciError;
use crate::hex::hex;
use sha2::{Digest as _, Sha256};
use std::cell::RefCell;
use std::io::{self, Read};
use std::rc::Rc;

/// A SHA-256 digest, written as `sha256:` and 64 digits (OCI image specification, descriptor.md,
/// "Digests").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Digest([u8; 32]);

impl Digest {
    pub(super) fn parse(text: &str) -> Result<Digest, OciError> {
        let wrong = || OciError::NoDigest(text.to_owned());
        let hex = text.strip_prefix("sha256:").ok_or_else(wrong)?;
        Digest::from_hex(hex).ok_or_else(wrong)
    }

    /// It has 64 lower-case digits: each digest has only one form.
    pub(super) fn from_hex(hex: &str) -> Option<Digest> {
        let digit = |b: u8| match b {
            b'0'..=b'9' => Some(b - b'0'),
            b'a'..=b'f' => Some(b - b'a' + 10),
            _ => None,
        };
        let hex = hex.as_bytes();
        let mut out = [0; 32];
        if hex.len() != 64 {
            return None;
        }
        for (byte, pair) in out.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Digest(out))
    }

    pub(super) fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }

    /// Its path in an OCI layout.
    pub(super) fn path(self) -> String {
        format!("blobs/sha256/{}", self.hex())
    }

    fn hex(self) -> String {
        hex(&self.0)
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

/// A stream that hashes what is read from it. Clones read the same stream: one can be passed on,
/// and another one asked for the digest.
#[derive(Clone)]
pub(super) struct Hashed(Rc<RefCell<Inner>>);

struct Inner {
    stream: Box<dyn Read>,
    hash: Sha256,
}

impl Hashed {
    pub(super) fn new(stream: Box<dyn Read>) -> Hashed {
        Hashed(Rc::new(RefCell::new(Inner {
            stream,
            hash: Sha256::new(),
        })))
    }

    /// Reads to the end; returns the digest of everything.
    pub(super) fn finish(&mut self) -> io::Result<Digest> {
        io::copy(self, &mut io::sink())?;
        Ok(Digest(self.0.borrow().hash.clone().finalize().into()))
    }
}

impl Read for Hashed {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut inner = self.0.borrow_mut();
        let n = inner.stream.read(buf)?;
        inner.hash.update(&buf[..n]);
        Ok(n)
    }
}
