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
    // The checksum would be most of the computation while a tar is read. These sums become vector
    // instructions, because nothing has to look for an overflow: 512 bytes cannot cause one. The
    // field itself counts as eight spaces.
    let sum = |of: fn(u8) -> u8| {
        let add = |sum: u32, byte: &u8| sum.wrapping_add(u32::from(of(*byte)));
        block.iter().fold(0, add) - block[148..156].iter().fold(0, add)
    };
    let unsigned = 8 * u32::from(b' ') + sum(|byte| byte);
    let negative = sum(|byte| byte >> 7);
    let signed = i64::from(unsigned) - 256 * i64::from(negative);
    stated == i64::from(unsigned) || stated == signed
}
