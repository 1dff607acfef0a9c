//! Inputs of several parts.

/// Stands between two parts. libFuzzer moves bytes about, so lengths would not stay true.
pub(crate) const MARK: &[u8] = b"\n--\xfe--\n";

/// The parts of an input; one at least.
pub(crate) fn split(mut data: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let Some(at) = data.windows(MARK.len()).position(|w| w == MARK) {
        parts.push(&data[..at]);
        data = &data[at + MARK.len()..];
    }
    parts.push(data);
    parts
}

/// The bytes of a number that are there, the others zero.
pub(crate) fn number(bytes: &[u8]) -> u64 {
    let mut number = [0; 8];
    let n = bytes.len().min(8);
    number[..n].copy_from_slice(&bytes[..n]);
    u64::from_le_bytes(number)
}
