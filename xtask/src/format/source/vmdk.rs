//! Reads VMDK in one file: monolithicSparse and streamOptimized (VMware, "Virtual Disk Format
//! 5.0"), and finds the one in an OVA.

use super::{Cache, Part, Source, SourceError, by_blocks, damaged, inflate, le};
use std::io;

const NAME: &str = "VMDK";
/// The directory of grains is named by the footer.
const AT_END: u64 = u64::MAX;
/// Flag 16 of a header: grains are compressed.
const COMPRESSED: u64 = 1 << 16;
/// Largest grain that is read, in sectors.
const MOST: u64 = 2048;

/// A sparse VMDK.
pub(super) struct Vmdk {
    part: Part,
    size: u64,
    /// Size of a grain in bytes.
    grain: u64,
    /// Entries of a table of grains.
    per_table: u64,
    /// The directory of these tables, in bytes.
    directory: u64,
    compressed: bool,
    grains: Cache,
}

impl Vmdk {
    pub(super) fn open(part: Part) -> Result<Vmdk, SourceError> {
        let short = |_| damaged(NAME, "the file ends in it");
        let head: [u8; 512] = part.array(0).map_err(short)?;
        let mut directory = le(&head, 56, 8);
        if directory == AT_END {
            let end = part.len.checked_sub(1024);
            let end = end.ok_or_else(|| damaged(NAME, "the file ends in it"))?;
            let footer: [u8; 512] = part.array(end).map_err(short)?;
            if !footer.starts_with(b"KDMV") {
                return Err(damaged(
                    NAME,
                    "the footer at its end is missing: the file is truncated",
                ));
            }
            directory = le(&footer, 56, 8);
        }
        let sectors = le(&head, 12, 8);
        let (grain, per_table) = (le(&head, 20, 8), le(&head, 44, 4));
        if sectors == 0 {
            return Err(SourceError::Unsupported(
                "it is a VMDK whose disk is in other files".into(),
            ));
        }
        let size = sectors.checked_mul(512);
        let fits = grain.is_power_of_two() && (1..=MOST).contains(&grain);
        let (Some(size), true, 1..=65_536) = (size, fits, per_table) else {
            return Err(damaged(
                NAME,
                format!("{sectors} sectors in grains of {grain}, {per_table} in a table"),
            ));
        };
        let directory = directory.checked_mul(512);
        let tables = sectors.div_ceil(grain).div_ceil(per_table);
        let end = directory.and_then(|d| d.checked_add(tables.checked_mul(4)?));
        let (Some(directory), true) = (directory, end.is_some_and(|end| end <= part.len)) else {
            return Err(damaged(NAME, "its directory is outside the file"));
        };
        Ok(Vmdk {
            part,
            size,
            grain: grain * 512,
            per_table,
            directory,
            compressed: le(&head, 8, 4) & COMPRESSED != 0,
            grains: Cache::default(),
        })
    }

    /// The place of a grain, in bytes; 0 or 1 sector means zeros.
    fn place(&self, number: u64) -> io::Result<u64> {
        let entry = |at: u64| -> io::Result<u64> {
            Ok(u64::from(u32::from_le_bytes(self.part.array(at)?)))
        };
        let table = entry(self.directory + number / self.per_table * 4)?;
        if table == 0 {
            return Ok(0);
        }
        Ok(entry(table * 512 + number % self.per_table * 4)? * 512)
    }

    fn unpacked(&self, place: u64) -> io::Result<std::sync::Arc<Vec<u8>>> {
        self.grains.get(place, || {
            let head: [u8; 12] = self.part.array(place)?;
            let len = le(&head, 8, 4);
            if len > 2 * self.grain + 1024 {
                return Err(io::Error::other(
                    "a compressed grain is larger than its contents",
                ));
            }
            let mut packed = vec![0; usize::try_from(len).map_err(io::Error::other)?];
            self.part.read_exact(place + 12, &mut packed)?;
            let grain = usize::try_from(self.grain).map_err(io::Error::other)?;
            inflate(&packed, grain, true)
        })
    }
}

impl Source for Vmdk {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> io::Result<()> {
        by_blocks(self.size, self.grain, at, buf, &|number, skip, buf| {
            let place = self.place(number)?;
            if place <= 512 {
                buf.fill(0);
                return Ok(());
            }
            if self.compressed {
                let grain = self.unpacked(place)?;
                let skip = usize::try_from(skip).map_err(io::Error::other)?;
                buf.copy_from_slice(&grain[skip..skip + buf.len()]);
                return Ok(());
            }
            self.part.read_exact(place + skip, buf)
        })
    }
}

/// Most members of an OVA that are looked at.
const MEMBERS: u32 = 100;

/// The first VMDK in a tar, as an OVA is one.
pub(super) fn in_ova(part: &Part) -> Result<Option<Part>, SourceError> {
    let mut at = 0;
    for _ in 0..MEMBERS {
        let Ok(bytes) = part.array::<512>(at) else {
            return Ok(None);
        };
        let mut header = tar::Header::new_old();
        *header.as_mut_bytes() = bytes;
        let Ok(len) = header.entry_size() else {
            return Ok(None);
        };
        let data = at + 512;
        if header.path_bytes().ends_with(b".vmdk") {
            let inner = part.part(data, len);
            return inner.map(Some).map_err(|_| {
                damaged(
                    "OVA",
                    "its disk is longer than the file: the file is truncated",
                )
            });
        }
        let next = len
            .checked_next_multiple_of(512)
            .and_then(|l| l.checked_add(data));
        match next {
            Some(next) => at = next,
            None => return Ok(None),
        }
    }
    Ok(None)
}
