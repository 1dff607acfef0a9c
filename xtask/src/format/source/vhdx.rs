//! Reads VHDX ([MS-VHDX], "Virtual Hard Disk v2 (VHDX) File Format").

use super::{Part, Source, SourceError, by_blocks, damaged, le};
use std::io;
use uuid::Uuid;

const NAME: &str = "VHDX";
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// The regions of the block table and of the metadata (2.2.3.2), and the items file parameters,
/// virtual disk size and logical sector size (2.6.2).
const BAT: Uuid = Uuid::from_u128(0x2dc2_7766_f623_4200_9d64_115e_9bfd_4a08);
const METADATA: Uuid = Uuid::from_u128(0x8b7c_a206_4790_4b9a_b8fe_575f_050f_886e);
const PARAMETERS: Uuid = Uuid::from_u128(0xcaa1_6737_fa36_4d43_b3b6_33f0_aa44_e76b);
const DISK_SIZE: Uuid = Uuid::from_u128(0x2fa5_4224_cd1b_4876_b211_5dbe_d83b_f4b8);
const SECTOR_SIZE: Uuid = Uuid::from_u128(0x8141_bf1d_a96f_4709_ba47_f233_a8fa_ab5f);

/// A VHDX image.
pub(super) struct Vhdx {
    part: Part,
    size: u64,
    block: u64,
    /// Number of payload blocks before each entry for a bitmap.
    chunk: u64,
    bat: (u64, u64),
}

fn guid(bytes: &[u8], at: usize) -> Uuid {
    let bytes = bytes.get(at..at + 16).and_then(|b| b.try_into().ok());
    Uuid::from_bytes_le(bytes.unwrap_or_default())
}

/// Whether the CRC-32C at bytes 4 to 7 is that of the rest.
fn sum_is_right(bytes: &[u8]) -> bool {
    let sum = crc32c::crc32c_append(crc32c::crc32c(&bytes[..4]), &[0; 4]);
    u64::from(crc32c::crc32c_append(sum, &bytes[8..])) == le(bytes, 4, 4)
}

impl Vhdx {
    pub(super) fn open(part: Part) -> Result<Vhdx, SourceError> {
        let wrong = |why: &str| damaged(NAME, why);
        let block = |at: u64, len: usize| {
            let mut bytes = vec![0; len];
            part.read_exact(at, &mut bytes).ok().map(|()| bytes)
        };
        let headers = [64 * KIB, 128 * KIB].into_iter();
        let header = headers
            .filter_map(|at| block(at, 4096))
            .filter(|h| h.starts_with(b"head") && sum_is_right(h))
            .max_by_key(|h| le(h, 8, 8));
        let header = header.ok_or_else(|| wrong("both headers are damaged"))?;
        if guid(&header, 48) != Uuid::nil() {
            return Err(SourceError::Unsupported(
                "it is a VHDX whose log was not written back: its last user did not close it"
                    .into(),
            ));
        }
        let tables = [192 * KIB, 256 * KIB].into_iter();
        let regions = tables
            .filter_map(|at| block(at, 64 << 10))
            .find(|t| t.starts_with(b"regi") && sum_is_right(t));
        let regions = regions.ok_or_else(|| wrong("both tables of regions are damaged"))?;
        let region = |which: Uuid| {
            let count = usize::try_from(le(&regions, 8, 4).min(2047)).unwrap_or(0);
            let mut entries = (0..count).map(|n| 16 + n * 32);
            let at = entries.find(|at| guid(&regions, *at) == which)?;
            let (at, len) = (le(&regions, at + 16, 8), le(&regions, at + 24, 4));
            (at.checked_add(len)? <= part.len).then_some((at, len))
        };
        let (Some(bat), Some((metadata, _))) = (region(BAT), region(METADATA)) else {
            return Err(wrong(
                "its table of blocks or its metadata is outside the file",
            ));
        };
        let table = block(metadata, 64 << 10)
            .filter(|t| t.starts_with(b"metadata"))
            .ok_or_else(|| wrong("its metadata is none"))?;
        let item = |which: Uuid| {
            let count = usize::try_from(le(&table, 10, 2).min(2047)).unwrap_or(0);
            let mut entries = (0..count).map(|n| 32 + n * 32);
            let at = entries.find(|at| guid(&table, *at) == which)?;
            let bytes = block(metadata.checked_add(le(&table, at + 16, 4))?, 8)?;
            Some(le(&bytes, 0, 8))
        };
        let (Some(parameters), Some(size), Some(sector)) =
            (item(PARAMETERS), item(DISK_SIZE), item(SECTOR_SIZE))
        else {
            return Err(wrong(
                "its metadata lacks the size of the disk or of its blocks",
            ));
        };
        if parameters >> 32 & 2 != 0 {
            return Err(SourceError::Unsupported(
                "it is a VHDX that differs from another one, which has the rest".into(),
            ));
        }
        let (size_of_block, sector) = (parameters & 0xffff_ffff, sector & 0xffff_ffff);
        if !size_of_block.is_power_of_two()
            || !(MIB..=256 * MIB).contains(&size_of_block)
            || !matches!(sector, 512 | 4096)
            || size == 0
        {
            return Err(damaged(
                NAME,
                format!("blocks of {size_of_block} bytes, sectors of {sector}, a disk of {size}"),
            ));
        }
        let vhdx = Vhdx {
            size,
            block: size_of_block,
            chunk: (sector << 23) / size_of_block,
            bat,
            part,
        };
        let last = vhdx.entry((size - 1) / size_of_block);
        if (last + 1) * 8 > bat.1 {
            return Err(wrong("its table of blocks is too short for the disk"));
        }
        Ok(vhdx)
    }

    /// The number of a block's entry in the table.
    fn entry(&self, block: u64) -> u64 {
        block + block / self.chunk
    }
}

impl Source for Vhdx {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> io::Result<()> {
        by_blocks(self.size, self.block, at, buf, &|number, skip, buf| {
            let place = self.bat.0 + self.entry(number) * 8;
            let entry = u64::from_le_bytes(self.part.array(place)?);
            // 6: fully present; 7: partially, only in differencing disks.
            if entry & 7 != 6 {
                buf.fill(0);
                return Ok(());
            }
            self.part
                .read_exact(((entry >> 20) * MIB).saturating_add(skip), buf)
        })
    }
}
