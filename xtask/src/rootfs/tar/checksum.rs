//! The checksum of a header.

use super::number;

/// Bytes of a block.
pub(super) const BLOCK: usize = 512;

/// Whether a block is a header: whether its checksum is right, with bytes taken as unsigned
/// (POSIX) or signed (some old writers).
pub(super) fn is_header(block: &[u8; BLOCK]) -> bool {
    let Some(stated) = number::field(&block[148..156]) else {
        return false;
    };
    // The field itself counts as eight spaces. Plain loops: this is the most that is computed
    // while a tar is read.
    let (mut unsigned, mut negative) = (8 * u32::from(b' '), 0_u32);
    for part in [&block[..148], &block[156..]] {
        unsigned += part.iter().map(|b| u32::from(*b)).sum::<u32>();
        negative += part.iter().map(|b| u32::from(*b >> 7)).sum::<u32>();
    }
    let signed = i64::from(unsigned) - 256 * i64::from(negative);
    stated == i64::from(unsigned) || stated == signed
}
