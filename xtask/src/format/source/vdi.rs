//! Reads VDI, VirtualBox's format (its source: src/VBox/Storage/VDICore.h).

use super::{Part, Source, SourceError, by_blocks, damaged, le};
use std::io;

const NAME: &str = "VDI";
/// Entries of the map from here on have no block: never written, or zeros.
const NO_BLOCK: u64 = 0xffff_fffe;

/// A VDI image.
pub(super) struct Vdi {
    part: Part,
    size: u64,
    block: u64,
    blocks: u64,
    map: u64,
    data: u64,
}

impl Vdi {
    pub(super) fn open(part: Part) -> Result<Vdi, SourceError> {
        let short = |_| damaged(NAME, "the file ends in it");
        let head: [u8; 512] = part.array(0).map_err(short)?;
        let version = le(&head, 0x44, 4);
        if version >> 16 != 1 {
            return Err(damaged(NAME, format!("there is no version {version:#x}")));
        }
        if le(&head, 0x4c, 4) > 2 {
            return Err(SourceError::Unsupported(
                "it is a VDI that differs from another one, which has the rest".into(),
            ));
        }
        let vdi = Vdi {
            size: le(&head, 0x170, 8),
            block: le(&head, 0x178, 4),
            blocks: le(&head, 0x180, 4),
            map: le(&head, 0x154, 4),
            data: le(&head, 0x158, 4),
            part,
        };
        if !vdi.block.is_power_of_two() || vdi.size.div_ceil(vdi.block) > vdi.blocks {
            return Err(damaged(
                NAME,
                format!(
                    "a disk of {} bytes in {} blocks of {} bytes",
                    vdi.size, vdi.blocks, vdi.block
                ),
            ));
        }
        if vdi.size == 0 || vdi.map + vdi.blocks * 4 > vdi.part.len {
            return Err(damaged(NAME, "its map is outside the file"));
        }
        Ok(vdi)
    }
}

impl Source for Vdi {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> io::Result<()> {
        by_blocks(self.size, self.block, at, buf, &|number, skip, buf| {
            let entry = u32::from_le_bytes(self.part.array(self.map + number * 4)?);
            let entry = u64::from(entry);
            if entry >= NO_BLOCK {
                buf.fill(0);
                return Ok(());
            }
            let place = self.data + entry * self.block + skip;
            self.part.read_exact(place, buf)
        })
    }
}
