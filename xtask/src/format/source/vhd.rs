//! Reads VHD (Microsoft, "Virtual Hard Disk Image Format Specification"), dynamic and fixed.

use super::{Disk, Part, Source, SourceError, be, by_blocks, damaged};
use std::io;
use std::sync::Arc;

const NAME: &str = "VHD";
const FOOTER: u64 = 512;
const COOKIE: &[u8] = b"conectix";
/// An entry of the table without a block.
const NO_BLOCK: u64 = 0xffff_ffff;

/// Opens a VHD; nothing if it is none. The footer decides, which is also the header of a dynamic
/// one.
pub(super) fn open(part: &Part) -> Result<Option<Disk>, SourceError> {
    let Some(end) = part.len.checked_sub(FOOTER) else {
        return Ok(None);
    };
    let mut footer: [u8; 512] = part.array(end)?;
    let head: [u8; 512] = part.array(0)?;
    let at_start = head.starts_with(COOKIE);
    if !footer.starts_with(COOKIE) {
        if !at_start {
            return Ok(None);
        }
        // Its last bytes are missing. The copy at the start says as much.
        return Err(damaged(
            NAME,
            "the footer at its end is missing: the file is truncated",
        ));
    }
    if !sum_is_right(&footer, 64) {
        if !at_start || !sum_is_right(&head, 64) {
            return Err(damaged(NAME, "the checksum of its footer is wrong"));
        }
        footer = head;
    }
    let size = be(&footer, 48, 8);
    match be(&footer, 60, 4) {
        2 if size <= end => Ok(Some(Arc::new(part.part(0, size)?))),
        2 => Err(damaged(
            NAME,
            format!("a disk of {size} bytes in a file of {end}"),
        )),
        3 => Ok(Some(Arc::new(Vhd::open(part, size, be(&footer, 16, 8))?))),
        4 => Err(SourceError::Unsupported(
            "it is a VHD that differs from another one, which has the rest".into(),
        )),
        other => Err(damaged(NAME, format!("there is no type {other}"))),
    }
}

/// The one's complement of the sum of all bytes but the field itself, which is at `at`.
fn sum_is_right(bytes: &[u8], at: usize) -> bool {
    let all: u64 = bytes.iter().map(|b| u64::from(*b)).sum();
    let field: u64 = bytes[at..at + 4].iter().map(|b| u64::from(*b)).sum();
    u64::from(!u32::try_from(all - field).unwrap_or(0)) == be(bytes, at, 4)
}

/// A dynamic VHD.
struct Vhd {
    part: Part,
    size: u64,
    table: u64,
    block: u64,
    /// Length of the bitmap before the data of a block, in bytes.
    bitmap: u64,
}

impl Vhd {
    fn open(part: &Part, size: u64, header: u64) -> Result<Vhd, SourceError> {
        let head: [u8; 1024] = part
            .array(header)
            .map_err(|_| damaged(NAME, "its second header is outside the file"))?;
        if !head.starts_with(b"cxsparse") || !sum_is_right(&head, 36) {
            return Err(damaged(
                NAME,
                "its second header is none, or its checksum is wrong",
            ));
        }
        let (table, entries, block) = (be(&head, 16, 8), be(&head, 28, 4), be(&head, 32, 4));
        if !block.is_power_of_two() || block < 512 || size == 0 || size.div_ceil(block) > entries {
            return Err(damaged(
                NAME,
                format!("a disk of {size} bytes in {entries} blocks of {block} bytes"),
            ));
        }
        if table
            .checked_add(entries * 4)
            .is_none_or(|end| end > part.len)
        {
            return Err(damaged(NAME, "its table is outside the file"));
        }
        Ok(Vhd {
            part: part.part(0, part.len)?,
            size,
            table,
            block,
            bitmap: (block / 512).div_ceil(8).next_multiple_of(512),
        })
    }
}

impl Source for Vhd {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> io::Result<()> {
        by_blocks(self.size, self.block, at, buf, &|number, skip, buf| {
            let entry = u32::from_be_bytes(self.part.array(self.table + number * 4)?);
            let entry = u64::from(entry);
            if entry == NO_BLOCK {
                buf.fill(0);
                return Ok(());
            }
            self.part.read_exact(entry * 512 + self.bitmap + skip, buf)
        })
    }
}
