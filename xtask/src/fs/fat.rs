//! The EFI system partition's file system: FAT32, laid out by the `fatfs` crate.
//!
//! fatfs 0.3.6 formats and fills a device in memory that keeps metadata only. Of the bodies of
//! files it records where they went, and [`Layout`] streams them there. What fatfs leaves
//! wrong is then put right in the metadata, by the module `tidy`:
//! - `.` and `..` get long names, so that they are not the first two entries: fsck.fat 4.2
//!   says "Expected a valid '.' entry in this slot" and renames them;
//! - `..` of a directory in the root names the root's cluster, where 0 must stand: "share
//!   clusters";
//! - the count of free clusters is not set: "Free cluster summary uninitialized";
//! - the FAT is filled behind its last entry, and the sector of counts has no backup: fsck.fat
//!   minds neither, Microsoft's document does;
//! - times come from one clock for the whole program.
//!
//! Measured: 0.2 s for one file of 2 GB in 4 KiB clusters, 15 ms for a kernel and an initrd,
//! 80 ms for 200 files in one directory (that grows with the square of their number).
//!
//! Format facts are from Microsoft's "FAT: General Overview of On-Disk Format", version 1.03.

mod device;
mod geometry;
#[cfg(test)]
mod tests;
mod tidy;

use super::{Layout, Piece, Source, place};
use crate::error::Report;
use crate::model::size::Size;
use crate::rootfs::Content;
use device::{Device, SECTOR};
use fatfs::{Dir, FatType, FileSystem, FormatVolumeOptions, FsOptions};
use geometry::Need;
use std::io::{self, Write};
use tidy::Stamp;

/// Longest file in bytes: its length is a u32.
const LONGEST: u64 = u32::MAX as u64;

/// What the file system is to be.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Size in bytes, a multiple of the size of a sector; see [`smallest`].
    pub size: u64,
    /// Size of a sector of the disk in bytes: 512 or 4096.
    pub sector: u64,
    /// Volume id.
    pub volume_id: u32,
    /// Volume label: at most 11 upper-case letters, digits, `-`, `_` and spaces inside; empty
    /// for none.
    pub label: String,
    /// Time of everything in it, in seconds since 1970. It is stored in UTC, to two seconds,
    /// and FAT holds 1980 to 2107 only: other times become the nearest that it can hold.
    pub epoch: i64,
}

/// One file.
#[derive(Debug, Clone)]
pub struct File<'a> {
    /// Its path, with `/` and without a leading one. Directories on the way are made.
    pub path: &'a str,
    /// What is in it, one after the other; less than 4 GiB.
    pub parts: Vec<Content>,
}

impl File<'_> {
    /// Its length in bytes.
    fn len(&self) -> u64 {
        self.parts.iter().map(Content::len).sum()
    }
}

/// The smallest size in bytes of a file system that surely holds `files` in sectors of `sector`
/// bytes: a multiple of 1 MiB, and 33 MiB at least (257 MiB with sectors of 4096 bytes), as FAT32
/// must have 65,525 clusters. Every larger one holds them, too.
pub fn smallest(files: &[File<'_>], sector: u64) -> u64 {
    Need::of(files, sector).smallest()
}

/// Lays out a FAT32 file system that holds `files`, in their order.
///
/// Fails if they do not fit, or for a name or a length that FAT cannot hold, or names that FAT
/// takes for the same: it ignores case.
pub fn layout(files: &[File<'_>], spec: &Spec) -> Result<Layout, Report> {
    for file in files {
        check(file)?;
    }
    let label = label(&spec.label)?;
    let cluster = Need::of(files, spec.sector)
        .cluster_in(spec.size)
        .ok_or_else(|| too_small(files, spec))?;
    let failed = |e: io::Error| Report::failure("laying out the EFI system partition").because(e);

    let device = Device::new(spec.size);
    let geometry = format(&device, spec, cluster, label).map_err(failed)?;
    let mut pieces = Vec::new();
    {
        // Times are put in afterwards: fatfs takes a clock for the whole program only. Without
        // its feature `chrono` it has none of its own, and writes zeros.
        let fs = FileSystem::new(device.clone(), FsOptions::new()).map_err(failed)?;
        for file in files {
            let runs = put(&fs, file, &device, &geometry)?;
            let parts = file.parts.iter().map(|part| (part, 0, part.len()));
            place(&runs, parts, &mut pieces);
        }
        fs.unmount().map_err(failed)?;
    }
    tidy::tidy(&device, &geometry, Stamp::of(spec.epoch)).map_err(failed)?;
    pieces.extend(device.runs().into_iter().map(|(offset, bytes)| Piece {
        offset,
        len: bytes.len() as u64,
        source: Source::Bytes(bytes),
    }));
    Layout::new(spec.size, pieces).map_err(failed)
}

/// Where things lie in the file system, in bytes from its start.
struct Geometry {
    /// Size of a cluster.
    cluster: u64,
    /// Number of clusters; the first one has the number 2.
    clusters: u32,
    /// The sector of counts (FSInfo).
    fs_info: u64,
    /// The backup of the boot sector; those that follow the one follow the other.
    backup: u64,
    /// The first FAT; the second one follows it.
    fat: u64,
    /// Length of a FAT.
    fat_len: u64,
    /// The first cluster.
    data: u64,
}

impl Geometry {
    /// Reads the boot sector.
    fn read(device: &Device, size: u64) -> io::Result<Geometry> {
        let mut boot = [0; SECTOR];
        device.load(0, &mut boot)?;
        let short = |at: usize| u64::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
        let sector = short(11);
        let cluster = u64::from(boot[13]) * sector;
        let fat = short(14) * sector;
        let fat_len = (short(36) | short(38) << 16) * sector;
        let data = fat + 2 * fat_len;
        let clusters = size.checked_sub(data).map(|len| len / cluster);
        let clusters = clusters.and_then(|n| u32::try_from(n).ok());
        Ok(Geometry {
            cluster,
            clusters: clusters.ok_or_else(|| io::Error::other("the boot sector is wrong"))?,
            fs_info: short(48) * sector,
            backup: short(50) * sector,
            fat,
            fat_len,
            data,
        })
    }

    /// Where a cluster (2 or more) lies.
    fn place(&self, cluster: u32) -> u64 {
        self.data + u64::from(cluster - 2) * self.cluster
    }
}

fn format(
    device: &Device,
    spec: &Spec,
    cluster: u64,
    label: Option<[u8; 11]>,
) -> io::Result<Geometry> {
    let options = FormatVolumeOptions::new()
        .fat_type(FatType::Fat32)
        .bytes_per_sector(u16::try_from(spec.sector).map_err(io::Error::other)?)
        .bytes_per_cluster(u32::try_from(cluster).map_err(io::Error::other)?)
        .fats(2)
        .volume_id(spec.volume_id);
    let options = match label {
        Some(label) => options.volume_label(label),
        None => options,
    };
    fatfs::format_volume(device.clone(), options)?;
    let geometry = Geometry::read(device, spec.size)?;
    tidy::formatted(device, &geometry)?;
    Ok(geometry)
}

/// Makes one file and the directories that it needs; returns where its bytes lie.
fn put(
    fs: &FileSystem<Device>,
    file: &File<'_>,
    device: &Device,
    geometry: &Geometry,
) -> Result<Vec<(u64, u64)>, Report> {
    let failed = |e: io::Error| {
        Report::failure(format!(
            "laying out {:?} in the EFI system partition",
            file.path
        ))
        .because(e)
    };
    let clash = || {
        Report::mistake(format!(
            "the EFI system partition would have two files of the name {:?} (FAT ignores case)",
            file.path
        ))
        .hint("rename one of them")
    };
    let missing = |e: &io::Error| e.kind() == io::ErrorKind::NotFound;
    let mut dir: Dir<'_, Device> = fs.root_dir();
    let mut parts = file.path.split('/').peekable();
    while let Some(name) = parts.next() {
        if parts.peek().is_some() {
            dir = match dir.open_dir(name) {
                Ok(dir) => dir,
                Err(e) if missing(&e) => dir.create_dir(name).map_err(failed)?,
                // There is a file of that name.
                Err(_) => return Err(clash()),
            };
            continue;
        }
        // fatfs's `create_file` opens a file that is there.
        if !dir.open_file(name).is_err_and(|e| missing(&e)) {
            return Err(clash());
        }
        let mut made = dir.create_file(name).map_err(failed)?;
        device.start_body(geometry.data);
        let written = zeros(&mut made, file.len());
        let runs = device.end_body();
        written.and_then(|()| made.flush()).map_err(failed)?;
        return Ok(runs);
    }
    Ok(Vec::new())
}

/// Writes `len` zeros: only their places matter.
fn zeros(to: &mut impl Write, mut len: u64) -> io::Result<()> {
    static ZEROS: [u8; 32 << 10] = [0; 32 << 10];
    while len > 0 {
        let n = ZEROS.len().min(usize::try_from(len).unwrap_or(ZEROS.len()));
        to.write_all(&ZEROS[..n])?;
        len -= n as u64;
    }
    Ok(())
}

/// Refuses a path or a length that FAT, or fatfs, cannot hold as it is.
fn check(file: &File<'_>) -> Result<(), Report> {
    let wrong = |what: &str| {
        Report::mistake(format!(
            "{:?} cannot lie in the EFI system partition: {what}",
            file.path
        ))
    };
    for name in file.path.split('/') {
        if name.is_empty() {
            return Err(wrong("an empty name"));
        }
        // The length in bytes is fatfs's limit; FAT's own is 255 UTF-16 units.
        if name.len() > 255 {
            return Err(wrong("a name of more than 255 bytes"));
        }
        // FAT drops dots and spaces at the end; a dot or a space at the start gives a short
        // name that fsck.fat refuses.
        if name.starts_with(['.', ' ']) || name.ends_with(['.', ' ']) {
            return Err(wrong("a name that starts or ends with a dot or a space"));
        }
        // The upper bound is that of UTF-16 without surrogates.
        let fine = |c: char| !c.is_control() && !r#""*/:<>?\|"#.contains(c) && c <= '\u{FFFF}';
        if let Some(c) = name.chars().find(|c| !fine(*c)) {
            return Err(wrong(&format!("FAT allows no {c:?} in a name")));
        }
    }
    if file.len() > LONGEST {
        return Err(wrong("a file on FAT is shorter than 4 GiB"));
    }
    Ok(())
}

/// The label, padded with spaces.
fn label(text: &str) -> Result<Option<[u8; 11]>, Report> {
    if text.is_empty() {
        return Ok(None);
    }
    let mut label = [b' '; 11];
    let fine = |c: u8| c.is_ascii_uppercase() || c.is_ascii_digit() || b"-_ ".contains(&c);
    if text.len() > label.len() || !text.bytes().all(fine) || text.trim() != text {
        return Err(Report::mistake(format!(
            "{text:?} is no label for the EFI system partition: it takes at most 11 upper-case letters, digits, `-`, `_` and spaces inside"
        )));
    }
    label[..text.len()].copy_from_slice(text.as_bytes());
    Ok(Some(label))
}

fn too_small(files: &[File<'_>], spec: &Spec) -> Report {
    Report::mistake(format!(
        "an EFI system partition of {} is too small for its files: it needs at least {}",
        Size(spec.size),
        Size(smallest(files, spec.sector))
    ))
    .hint("give a larger `size:` in recipe.yaml or --size, or leave it `auto`")
}
