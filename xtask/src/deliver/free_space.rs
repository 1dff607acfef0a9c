//! Computes how much space the files of an image need, for the error about a full disk.

use super::job::{Emit, WriteJob};
use crate::error::Report;
use crate::format::Sink;
use crate::format::zero::is_zero;
use crate::model::size::{MIB, Size};
use crate::model::{Compression, Format};
use crate::output;
use camino::Utf8Path;
use std::io;

/// Unit in which file systems allocate space, in bytes: the page size of nearly every machine.
const BLOCK: u64 = 4096;

/// Counts the blocks of a disk that use space.
#[derive(Debug, Default)]
struct Count {
    /// Number of blocks so far.
    blocks: u64,
    /// The first block that has not been examined.
    next: u64,
}

impl Sink for Count {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let within = usize::try_from(BLOCK - at % BLOCK).map_err(io::Error::other)?;
            let (piece, after) = rest.split_at(within.min(rest.len()));
            let block = at / BLOCK;
            if block >= self.next && !is_zero(piece) {
                self.blocks += 1;
                self.next = block + 1;
            }
            at += piece.len() as u64;
            rest = after;
        }
        Ok(())
    }

    fn zeros(&mut self, _offset: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The error for a full file system. It says how much space is missing, if that can be known. To be
/// called after all incomplete files have been removed.
pub(super) fn missing(
    job: &WriteJob<'_>,
    emit: Emit<'_>,
    path: &Utf8Path,
    full: io::Error,
) -> Report {
    let report = |full| output::write_error(path, full);
    let free = match rustix::fs::statvfs(job.dir.as_std_path()) {
        Ok(fs) => fs.f_bavail.saturating_mul(fs.f_frsize),
        Err(_) => return report(full),
    };
    let mut count = Count::default();
    if emit(&mut count).is_err() {
        return report(full);
    }
    let (need, most) = need(job, count.blocks * BLOCK);
    let lack = need.saturating_sub(free);
    if lack == 0 {
        // Compressed data may be larger than the original, and other programs write there too.
        return report(full);
    }
    // Rounded up, so that freeing this much is enough.
    let whole = Size(lack.next_multiple_of(MIB));
    report(full).hint(format!(
        "{} {}{}, but {} are free there: {}{whole} are missing; free some space, or choose another folder with --output",
        if job.formats.len() == 1 { "the image needs" } else { "the images need" },
        if most { "at most " } else { "" },
        Size(need),
        Size(free),
        if most { "at most " } else { "" },
    ))
}

/// Space in bytes that the job uses at its peak for a disk with `content` bytes that are not zero,
/// and whether it may need less.
fn need(job: &WriteJob<'_>, content: u64) -> (u64, bool) {
    // Tables and headers: at most 8 bytes per 64 KiB, and a few MiB.
    let each = content + content / 512 + 2 * MIB;
    let mut need = 0;
    let mut most = job.packing.is_some();
    for format in job.formats {
        most |= matches!(
            format,
            Format::VmdkStream | Format::Ova | Format::Gcp | Format::Rootfs
        ) || (*format == Format::Qcow2 && job.options.compression != Compression::None);
        let detour = (job.packing.is_some() || job.split.is_some())
            && !crate::format::stream::ascends(*format);
        need += if detour { 2 * each } else { each };
    }
    (need, most)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{BLOCK, Count};
    use crate::format::Sink;

    #[test]
    fn a_block_counts_once_and_zeros_do_not() {
        let mut count = Count::default();
        count.zeros(0, BLOCK + 5).unwrap();
        count.data(BLOCK + 5, &[1]).unwrap();
        count.data(BLOCK + 6, &[2; 10]).unwrap();
        count.data(3 * BLOCK, &[0; 8192]).unwrap();
        let mut edge = vec![0; 4097];
        edge[4096] = 1;
        count.data(6 * BLOCK, &edge).unwrap();
        assert_eq!(count.blocks, 2);
    }
}
