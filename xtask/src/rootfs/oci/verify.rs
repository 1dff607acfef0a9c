//! Checks digests and sizes while bytes are read.

use crate::hasher::Hasher;
use crate::model::Digest;
use std::cell::RefCell;
use std::io::{self, Read};
use std::rc::Rc;

/// The path of a blob in an OCI layout.
pub(super) fn path(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// A stream whose bytes are hashed in another thread while they are used. Clones read the same
/// stream: one can be passed on, and another one asked for the digest.
#[derive(Clone)]
pub(super) struct Hashed(Rc<RefCell<Inner>>);

struct Inner {
    stream: Box<dyn Read>,
    /// `None` for a stream whose digest nobody compares, or that checks it itself.
    hash: Option<Hasher>,
}

impl Hashed {
    /// `wanted`: whether anybody compares the digest. Otherwise nothing is hashed.
    pub(super) fn new(stream: Box<dyn Read>, wanted: bool) -> io::Result<Hashed> {
        let hash = wanted.then(Hasher::new).transpose()?;
        Ok(Hashed(Rc::new(RefCell::new(Inner { stream, hash }))))
    }

    /// Reads to the end; returns the digest of everything, if it was computed. The second call
    /// returns none.
    pub(super) fn finish(&mut self) -> io::Result<Option<Digest>> {
        io::copy(self, &mut io::sink())?;
        let Some(hash) = self.0.borrow_mut().hash.take() else {
            return Ok(None);
        };
        Ok(Digest::from_hex(&hash.finish()?))
    }
}

impl Read for Hashed {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut inner = self.0.borrow_mut();
        let n = inner.stream.read(buf)?;
        if let Some(hash) = &mut inner.hash {
            hash.update(&buf[..n])?;
        }
        Ok(n)
    }
}
