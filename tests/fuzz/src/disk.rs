//! Disks: partition tables and file systems. An input is a list of runs of sectors, so that a
//! large disk is a small input: `u32` first sector, `u8` number of sectors, their bytes.

use crate::{checked, parts, scratch};
use docker_to_linux::vm::{ImageFormat, claims};
use docker_to_linux::{fs, inspect, smoke};
use std::os::unix::fs::FileExt;

/// Size of a sector in bytes.
pub(crate) const SECTOR: usize = 512;
/// Largest disk, in bytes. Runs beyond it are left out.
const MOST: u64 = 64 << 20;
/// Bytes of a run before its sectors.
const HEAD: usize = 5;

/// The runs of a disk, as (byte, contents).
fn runs(mut data: &[u8]) -> Vec<(u64, &[u8])> {
    let mut all = Vec::new();
    while data.len() > HEAD {
        let at = parts::number(&data[..4]) * SECTOR as u64;
        let len = (usize::from(data[4]) * SECTOR).min(data.len() - HEAD);
        if at + len as u64 <= MOST {
            all.push((at, &data[HEAD..HEAD + len]));
        }
        data = &data[HEAD + len..];
    }
    all
}

/// One run of a disk, to be read by [`runs`].
pub(crate) fn run(sector: u32, bytes: &[u8]) -> Vec<u8> {
    let mut out = sector.to_le_bytes().to_vec();
    out.push(u8::try_from(bytes.len() / SECTOR).unwrap_or(u8::MAX));
    out.extend_from_slice(bytes);
    out
}

/// A disk of a few MiB at most, whole.
pub(crate) fn small(data: &[u8]) -> Vec<u8> {
    let mut disk = vec![0; 1 << 20];
    for (at, bytes) in runs(data) {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        if let Some(place) = at
            .checked_add(bytes.len())
            .and_then(|end| disk.get_mut(at..end))
        {
            place.copy_from_slice(bytes);
        }
    }
    disk
}

/// Everything that looks into a disk.
pub(crate) fn readers(_: u8, data: &[u8]) {
    let Ok(file) = tempfile::NamedTempFile::new_in(scratch()) else {
        return;
    };
    let Some(path) = camino::Utf8Path::from_path(file.path()) else {
        return;
    };
    let disk = file.as_file();
    let runs = runs(data);
    let end = runs
        .iter()
        .map(|(at, b)| at + b.len() as u64)
        .max()
        .unwrap_or(0);
    // Sectors that are zero at its end are no runs.
    let size = (end + (1 << 20)).min(MOST);
    if disk.set_len(size).is_err() {
        return;
    }
    for (at, bytes) in &runs {
        let _ = disk.write_all_at(bytes, *at);
    }
    let _ = mend_gpt(disk, size);
    let found = checked(claims::of(path, ImageFormat::Raw));
    let root = found.and_then(|c| c.root);
    let mut starts = vec![0];
    starts.extend(root.map(|(start, _)| start));
    for start in &starts {
        let _ = mend_ext4(disk, *start);
        let _ = checked(smoke::root::state(path, *start));
    }
    starts.dedup();
    if let Some(seen) = checked(inspect::inspect(path)) {
        assert!(inspect::picture(&seen, Some(80)).lines().count() < 10_000);
    }
    let read = |at: u64, buf: &mut [u8]| {
        buf.fill(0);
        let left = usize::try_from(size.saturating_sub(at)).unwrap_or(usize::MAX);
        let n = buf.len().min(left);
        disk.read_exact_at(&mut buf[..n], at)
    };
    if let Ok(free) = fs::free::free(&read, size, &starts) {
        let mut last = 0;
        for range in free {
            assert!(
                last <= range.start && range.start < range.end,
                "free ranges"
            );
            last = range.end;
        }
    }
}

/// Sums of the header and of the entries (UEFI Specification 2.10, table 5.5).
fn mend_gpt(disk: &std::fs::File, size: u64) -> std::io::Result<()> {
    let mut header = [0; SECTOR];
    disk.read_exact_at(&mut header, SECTOR as u64)?;
    if !header.starts_with(b"EFI PART") {
        return Ok(());
    }
    let field = |at: usize, len: usize| parts::number(&header[at..at + len]);
    let at = field(72, 8).saturating_mul(SECTOR as u64);
    let len = field(80, 4).saturating_mul(field(84, 4));
    let head = usize::try_from(field(12, 4)).unwrap_or(SECTOR).min(SECTOR);
    if at.saturating_add(len) <= size && len <= 1 << 20 {
        let mut entries = vec![0; usize::try_from(len).unwrap_or(0)];
        disk.read_exact_at(&mut entries, at)?;
        header[88..92].copy_from_slice(&crc32fast::hash(&entries).to_le_bytes());
    }
    header[16..20].fill(0);
    let sum = crc32fast::hash(&header[..head]);
    header[16..20].copy_from_slice(&sum.to_le_bytes());
    disk.write_all_at(&header, SECTOR as u64)
}

/// The sum of an ext4 superblock (Linux, Documentation/filesystems/ext4/super.rst).
fn mend_ext4(disk: &std::fs::File, start: u64) -> std::io::Result<()> {
    let mut sb = [0; 1024];
    let at = start.saturating_add(1024);
    disk.read_exact_at(&mut sb, at)?;
    if sb[56..58] == [0x53, 0xef] {
        let sum = !crc32c::crc32c(&sb[..0x3fc]);
        sb[0x3fc..].copy_from_slice(&sum.to_le_bytes());
        disk.write_all_at(&sb, at)?;
    }
    Ok(())
}
