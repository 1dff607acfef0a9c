//! Little-endian fields in a block, and the checksum of ext4.

/// Writes a u16 at offset `at`.
pub(super) fn put16(block: &mut [u8], at: usize, value: u16) {
    block[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

/// Writes a u32 at offset `at`.
pub(super) fn put32(block: &mut [u8], at: usize, value: u32) {
    block[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// Writes the low 32 bits of `value` at offset `lo`.
pub(super) fn put_lo(block: &mut [u8], lo: usize, value: u64) {
    put32(block, lo, low32(value));
}

/// The low 32 bits of a number.
pub(super) fn low32(value: u64) -> u32 {
    (value & 0xffff_ffff) as u32
}

/// Bits 32 to 63 of a number.
pub(super) fn high32(value: u64) -> u32 {
    (value >> 32) as u32
}

/// The low 16 bits of a number.
pub(super) fn low16(value: u64) -> u16 {
    (value & 0xffff) as u16
}

/// Converts a number that is known to fit into memory to an index.
pub(super) fn index(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// CRC32C as ext4 uses it (`ext4_chksum`, Linux fs/ext4/ext4.h): it continues from `seed`, without
/// inverting the value before or after.
pub(super) fn crc(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

#[cfg(test)]
mod tests {
    use super::crc;

    #[test]
    fn the_checksum_is_crc32c_without_its_inversions() {
        // RFC 3720, B.4: CRC32C of 32 zero bytes is 8a9136aa.
        assert_eq!(!crc(!0, &[0; 32]), 0x8a91_36aa);
        assert_eq!(crc(crc(!0, b"ab"), b"c"), crc(!0, b"abc"));
    }
}
