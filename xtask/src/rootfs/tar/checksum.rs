//! The checksum of a header.

use super::number;

/// Size of a block in bytes.
pub(super) const BLOCK: usize = 512;

/// Whether a block is a header, i.e. has a correct checksum, with bytes counted as unsigned (POSIX)
/// or signed (some old writers).
pub(super) fn is_header(block: &[u8; BLOCK]) -> bool {
    let Some(stated) = number::field(&block[148..156]) else {
        return false;
    };
    // The field itself counts as eight spaces. These are plain loops for speed: the checksum is
    // most of the computation while a tar is read.
    let (mut unsigned, mut negative) = (8 * u32::from(b' '), 0_u32);
    for part in [&block[..148], &block[156..]] {
        unsigned += part.iter().map(|b| u32::from(*b)).sum::<u32>();
        negative += part.iter().map(|b| u32::from(*b >> 7)).sum::<u32>();
    }
    let signed = i64::from(unsigned) - 256 * i64::from(negative);
    stated == i64::from(unsigned) || stated == signed
}
