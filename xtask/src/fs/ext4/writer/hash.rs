//! The hash of a name in a directory: `half_md4` (Linux fs/ext4/hash.c; Documentation/
//! filesystems/ext4/directory.rst, "Hash Tree Directories").

/// The hash of a name. It orders the index of a directory; the second part orders names with the
/// same hash when a directory is read.
pub(super) type Hash = (u32, u32);

/// The first state without a seed: that of MD4 (RFC 1320, 3.3).
const START: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// Additive constants of rounds two and three: the square roots of 2 and 3 (RFC 1320, 3.4).
const ROOTS: [u32; 3] = [0, 0x5a82_7999, 0x6ed9_eba1];

/// Order of the words and the rotations of each round.
const ROUNDS: [([usize; 8], [u32; 4]); 3] = [
    ([0, 1, 2, 3, 4, 5, 6, 7], [3, 7, 11, 19]),
    ([1, 3, 5, 7, 0, 2, 4, 6], [3, 5, 9, 13]),
    ([3, 7, 2, 6, 1, 5, 0, 4], [3, 9, 11, 15]),
];

/// MD4 with eight steps in each round instead of sixteen.
fn transform(state: &mut [u32; 4], words: &[u32; 8]) {
    let [mut a, mut b, mut c, mut d] = *state;
    for (round, (order, turns)) in ROUNDS.iter().enumerate() {
        for (step, word) in order.iter().enumerate() {
            let mixed = match round {
                0 => d ^ (b & (c ^ d)),
                1 => (b & c).wrapping_add((b ^ c) & d),
                _ => b ^ c ^ d,
            };
            let sum = a
                .wrapping_add(mixed)
                .wrapping_add(words[*word])
                .wrapping_add(ROOTS[round]);
            (a, d, c, b) = (d, c, b, sum.rotate_left(turns[step % 4]));
        }
    }
    for (old, new) in state.iter_mut().zip([a, b, c, d]) {
        *old = old.wrapping_add(new);
    }
}

/// 32 bytes of a name as eight words, padded with the length of the rest.
fn words(rest: &[u8]) -> [u32; 8] {
    let len = (rest.len() & 0xff) as u32;
    let pad = len * 0x0101_0101;
    let mut out = [pad; 8];
    for (word, bytes) in out.iter_mut().zip(rest[..rest.len().min(32)].chunks(4)) {
        *word = bytes.iter().fold(pad, |word, byte| {
            // As `signed char`, which matches the superblock's flags (`SIGNED_HASH`).
            let signed = i32::from(i8::from_ne_bytes([*byte])).cast_unsigned();
            signed.wrapping_add(word << 8)
        });
    }
    out
}

/// The seed of the superblock as the first state; without a seed, MD4's.
pub(super) fn seed(bytes: &[u8; 16]) -> [u32; 4] {
    let mut seed = START;
    if bytes.iter().any(|b| *b != 0) {
        for (word, four) in seed.iter_mut().zip(bytes.chunks_exact(4)) {
            *word = u32::from_le_bytes([four[0], four[1], four[2], four[3]]);
        }
    }
    seed
}

/// The hash of a name.
pub(super) fn hash(seed: &[u32; 4], name: &[u8]) -> Hash {
    let mut state = *seed;
    let mut rest = name;
    while !rest.is_empty() {
        transform(&mut state, &words(rest));
        rest = rest.get(32..).unwrap_or_default();
    }
    // In an index, the lowest bit means that names with this hash continue in the next block, and
    // the largest value marks the end of a directory.
    let major = match state[1] & !1 {
        0xffff_fffe => 0xffff_fffc,
        hash => hash,
    };
    (major, state[2])
}

#[cfg(test)]
mod tests {
    use super::{hash, seed};

    /// The output of `debugfs -R 'dx_hash -h half_md4 -s SEED NAME'` of e2fsprogs 1.47.0.
    #[test]
    fn hashes_are_those_of_e2fsprogs() {
        let zero = [0; 16];
        let mut some = [0; 16];
        for (n, byte) in some.iter_mut().enumerate() {
            *byte = n as u8 * 17;
        }
        for (bytes, name, wanted) in HASHES {
            let seed = seed(if *bytes { &some } else { &zero });
            assert_eq!(hash(&seed, name.as_bytes()), *wanted, "{name:?}");
        }
    }

    const HASHES: &[(bool, &str, super::Hash)] = &[
        (false, "a", (0xd5fa_7d7a, 0xacb4_8187)),
        (false, "etc", (0x0cf6_5492, 0xdc56_fef2)),
        (
            false,
            "linux-image-6.1.0-9-amd64_6.1",
            (0x8943_9062, 0x5d07_e9f5),
        ),
        (
            false,
            "abcdefghijklmnopqrstuvwxyz0123456",
            (0x16ed_9a9c, 0x2fb8_454f),
        ),
        (false, "größe", (0xa759_a98e, 0x352b_69b2)),
        (true, "a", (0x9375_2ee6, 0x578c_30ba)),
        (true, "etc", (0xdc15_cde2, 0x9616_39ce)),
        (
            true,
            "linux-image-6.1.0-9-amd64_6.1",
            (0x7552_4ba4, 0x9522_771a),
        ),
        (
            true,
            "abcdefghijklmnopqrstuvwxyz0123456",
            (0x01d3_7544, 0xdadd_7638),
        ),
        (true, "größe", (0x7aac_d0e8, 0xdad2_a60c)),
    ];
}
