//! Finds blocks of zeros.

/// Whether all of `bytes` are zero.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    // Groups of 64 bytes: the compiler makes vector instructions of them, and data is nearly always
    // recognised by its first group.
    let mut groups = bytes.chunks_exact(64);
    groups.all(|g| g.iter().fold(0, |sum, b| sum | b) == 0)
        && groups.remainder().iter().all(|b| *b == 0)
}

#[cfg(test)]
mod tests {
    use super::is_zero;

    #[test]
    fn zero_is_only_what_is_all_zero() {
        let mut bytes = [0; 200];
        assert!(is_zero(&bytes) && is_zero(&[]));
        for at in [0, 63, 64, 127, 128, 199] {
            bytes[at] = 1;
            assert!(!is_zero(&bytes), "byte {at}");
            bytes[at] = 0;
        }
    }
}
