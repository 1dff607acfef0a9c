//! Reads qcow2 (QEMU, docs/interop/qcow2.txt), versions 2 and 3.

use super::{Cache, Part, Source, SourceError, be, by_blocks, damaged, inflate};
use std::io;

const NAME: &str = "qcow2";

/// Incompatible features that change what is stored where: an external data file (bit 2) and
/// extended L2 entries (bit 4), and everything after them.
const FOREIGN: u64 = !0b1011;
/// Incompatible feature bit 1: QEMU found the image corrupt, and opens it no more.
const CORRUPT: u64 = 2;

/// Place in an entry of an L1 or L2 table (bits 9 to 55).
const PLACE: u64 = 0x00ff_ffff_ffff_fe00;
/// Bit 62 of an L2 entry: the cluster is compressed.
const COMPRESSED: u64 = 1 << 62;
/// Bit 0 of an L2 entry: the cluster reads as zeros.
const ZERO: u64 = 1;

/// A qcow2 image.
pub(super) struct Qcow2 {
    part: Part,
    size: u64,
    bits: u32,
    l1: u64,
    l1_len: u64,
    zstd: bool,
    tables: Cache,
    clusters: Cache,
}

impl Qcow2 {
    pub(super) fn open(part: Part) -> Result<Qcow2, SourceError> {
        let wrong = |why: &str| damaged(NAME, why);
        let mut head = [0; 112];
        let n = usize::try_from(part.len.min(112)).unwrap_or(112);
        part.read_exact(0, &mut head[..n])?;
        if n < 72 {
            return Err(wrong("the file ends in it"));
        }
        let version = be(&head, 4, 4);
        if !matches!(version, 2 | 3) {
            return Err(damaged(NAME, format!("there is no version {version}")));
        }
        if be(&head, 8, 8) != 0 {
            return Err(SourceError::Unsupported(
                "it is an overlay: most of its disk is in a backing file".into(),
            ));
        }
        if be(&head, 32, 4) != 0 {
            return Err(SourceError::Unsupported("it is encrypted".into()));
        }
        let bits = be(&head, 20, 4);
        if !(9..=21).contains(&bits) {
            return Err(damaged(NAME, format!("clusters of 2^{bits} bytes")));
        }
        let bits = u32::try_from(bits).unwrap_or(16);
        let (features, zstd) = match version {
            2 => (0, false),
            _ => (be(&head, 72, 8), head[104] == 1 && be(&head, 100, 4) > 104),
        };
        if features & CORRUPT != 0 {
            return Err(wrong("QEMU has marked it as corrupt"));
        }
        if features & FOREIGN != 0 {
            return Err(SourceError::Unsupported(format!(
                "it is a qcow2 with features that are not read here ({features:#x})"
            )));
        }
        let size = be(&head, 24, 8);
        let (l1, l1_len) = (be(&head, 40, 8), be(&head, 36, 4));
        let per_table = 1_u64 << (2 * bits - 3);
        if size == 0 || size.div_ceil(per_table) > l1_len {
            return Err(damaged(
                NAME,
                format!("a disk of {size} bytes with {l1_len} tables of clusters"),
            ));
        }
        if l1.checked_add(l1_len * 8).is_none_or(|end| end > part.len) {
            return Err(wrong("the table of tables is outside the file"));
        }
        Ok(Qcow2 {
            part,
            size,
            bits,
            l1,
            l1_len,
            zstd,
            tables: Cache::default(),
            clusters: Cache::default(),
        })
    }

    /// The L2 entry of a cluster.
    fn entry(&self, cluster: u64) -> io::Result<u64> {
        let per = 1_u64 << (self.bits - 3);
        let number = cluster / per;
        if number >= self.l1_len {
            return Ok(0);
        }
        let place = u64::from_be_bytes(self.part.array(self.l1 + number * 8)?) & PLACE;
        if place == 0 {
            return Ok(0);
        }
        let table = self.tables.get(place, || {
            let mut table = vec![0; 1 << self.bits];
            self.part.read_exact(place, &mut table)?;
            Ok(table)
        })?;
        let at = usize::try_from(cluster % per * 8).map_err(io::Error::other)?;
        Ok(be(&table, at, 8))
    }

    /// The contents of a compressed cluster.
    fn unpacked(&self, entry: u64) -> io::Result<std::sync::Arc<Vec<u8>>> {
        let shift = 62 - (self.bits - 8);
        let place = entry & ((1 << shift) - 1);
        let sectors = (entry >> shift) & ((1 << (self.bits - 8)) - 1);
        let len = (sectors + 1) * 512 - place % 512;
        let whole = 1_usize << self.bits;
        self.clusters.get(place, || {
            let len = len.min(self.part.len.saturating_sub(place));
            let mut packed = vec![0; usize::try_from(len).map_err(io::Error::other)?];
            self.part.read_exact(place, &mut packed)?;
            if !self.zstd {
                return inflate(&packed, whole, false);
            }
            // Behind the frame is what its last sector held before.
            let mut out = Vec::with_capacity(whole);
            let frame = zstd::stream::read::Decoder::new(&packed[..])?.single_frame();
            io::Read::read_to_end(&mut io::Read::take(frame, whole as u64), &mut out)?;
            out.resize(whole, 0);
            Ok(out)
        })
    }
}

impl Source for Qcow2 {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> io::Result<()> {
        by_blocks(self.size, 1 << self.bits, at, buf, &|cluster, skip, buf| {
            let entry = self.entry(cluster)?;
            if entry & COMPRESSED != 0 {
                let block = self.unpacked(entry & !(3 << 62))?;
                let skip = usize::try_from(skip).map_err(io::Error::other)?;
                buf.copy_from_slice(&block[skip..skip + buf.len()]);
                return Ok(());
            }
            if entry & ZERO != 0 || entry & PLACE == 0 {
                buf.fill(0);
                return Ok(());
            }
            self.part.read_exact((entry & PLACE) + skip, buf)
        })
    }
}
