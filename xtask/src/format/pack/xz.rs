//! One .xz stream made of blocks that were compressed separately ("The .xz File Format" 1.0.4;
//! section numbers refer to it).
//!
//! liblzma makes a separate stream of each chunk. Its block is copied unchanged, and a new index of
//! all blocks is written. Concatenated streams would be legal too, but not all programs read them.

use std::io::{self, Write};

/// 2.1.1: magic, flags (check: CRC-64), CRC-32 of the flags.
pub(super) const HEADER: [u8; 12] = [
    0xfd, b'7', b'z', b'X', b'Z', 0, 0, 4, 0xe6, 0xd6, 0xb4, 0x46,
];

/// 2.1.2: CRC-32, backward size, flags, magic.
const FOOTER: usize = 12;

/// xz's default level.
const LEVEL: u32 = 6;

/// Appends one block with `plain` as its contents. Returns its "unpadded size", which goes into the
/// index.
pub(super) fn block(plain: &[u8], out: &mut Vec<u8>) -> io::Result<u64> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), LEVEL);
    encoder.write_all(plain)?;
    let stream = encoder.finish()?;
    let (body, unpadded) =
        only_block(&stream).ok_or_else(|| io::Error::other("liblzma wrote an odd stream"))?;
    out.extend_from_slice(body);
    Ok(unpadded)
}

/// The only block of a stream, and its unpadded size.
fn only_block(stream: &[u8]) -> Option<(&[u8], u64)> {
    let footer = stream.len().checked_sub(FOOTER)?;
    if !stream.starts_with(&HEADER) || !stream.ends_with(b"YZ") {
        return None;
    }
    // 2.1.2.2: the size of the index in units of 4 bytes, less one.
    let backward = stream.get(footer + 4..footer + 8)?.try_into().ok()?;
    let index = usize::try_from(u32::from_le_bytes(backward)).ok()?;
    let index = footer.checked_sub((index + 1) * 4)?;
    let block = stream.get(HEADER.len()..index)?;
    // 4: an indicator, the number of records, the record.
    let [0, 1, record @ ..] = stream.get(index..footer)? else {
        return None;
    };
    let mut unpadded = 0;
    for (byte, shift) in record.iter().zip((0..63).step_by(7)) {
        unpadded |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    (unpadded.next_multiple_of(4) == block.len() as u64).then_some((block, unpadded))
}

/// 4: the index of all blocks, given as (size of the contents, unpadded size), and the footer.
pub(super) fn index_and_footer(sizes: &[(u64, u64)]) -> io::Result<Vec<u8>> {
    let mut index = vec![0];
    number(&mut index, sizes.len() as u64);
    for (plain, packed) in sizes {
        number(&mut index, *packed);
        number(&mut index, *plain);
    }
    index.resize(index.len().next_multiple_of(4), 0);
    let crc = crc32fast::hash(&index);
    index.extend(crc.to_le_bytes());

    let backward = u32::try_from(index.len() / 4 - 1).map_err(io::Error::other)?;
    let mut tail = backward.to_le_bytes().to_vec();
    tail.extend([0, 4]);
    index.extend(crc32fast::hash(&tail).to_le_bytes());
    index.extend(tail);
    index.extend(b"YZ");
    Ok(index)
}

/// 1.2: a number in groups of 7 bits, least significant first.
fn number(out: &mut Vec<u8>, mut n: u64) {
    loop {
        let group = n.to_le_bytes()[0] & 0x7f;
        n >>= 7;
        if n == 0 {
            return out.push(group);
        }
        out.push(group | 0x80);
    }
}
