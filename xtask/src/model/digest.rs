//! SHA-256 digests in the form that container images use.

use crate::hex::hex;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// A SHA-256 digest, written as `sha256:` and 64 digits (OCI image specification, descriptor.md,
/// "Digests").
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

/// The error for a text that is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a digest of the form sha256:<64 digits>")]
pub struct NotDigest(pub String);

impl Digest {
    /// The digest in 64 lower-case digits: each digest has only one form.
    pub fn from_hex(hex: &str) -> Option<Digest> {
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

    /// The digest of bytes.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest::from(Sha256::new_with_prefix(bytes))
    }

    /// Its 64 digits.
    pub fn hex(self) -> String {
        hex(&self.0)
    }
}

impl From<Sha256> for Digest {
    fn from(hash: Sha256) -> Digest {
        Digest(hash.finalize().into())
    }
}

impl FromStr for Digest {
    type Err = NotDigest;

    fn from_str(text: &str) -> Result<Digest, NotDigest> {
        let hex = text.strip_prefix("sha256:").unwrap_or_default();
        // An error shows the start of a long text only.
        Digest::from_hex(hex).ok_or_else(|| NotDigest(text.chars().take(100).collect()))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
