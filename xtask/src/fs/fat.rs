//! The file system of the EFI system partition: FAT32, laid out with the `fatfs` crate.
//!
//! fatfs 0.3.6 formats and fills a device in memory that keeps metadata only. For the bodies of
//! files it records their location, and [`Layout`] streams them there. The module `tidy` then
//! corrects what fatfs leaves wrong in the metadata:
//! - `.` and `..` get long names, so that they are not the first two entries: fsck.fat 4.2
//!   says "Expected a valid '.' entry in this slot" and renames them;
//! - `..` of a directory in the root has the number of the root's cluster instead of 0: "share
//!   clusters";
//! - the count of free clusters is not set: "Free cluster summary uninitialized";
//! - the FAT is filled after its last entry, and the sector of counts has no backup: fsck.fat
//!   accepts both, Microsoft's document does not;
//! - times come from one clock for the whole program.
//!
//! Measured: 0.2 s for one file of 2 GB in 4 KiB clusters, 15 ms for a kernel and an initrd, 80 ms
//! for 200 files in one directory (the time grows with the square of their number).
//!
//! Source of all format facts: Microsoft's "FAT: General Overview of On-Disk Format", version 1.03.

mod device;
mod geometry;
pub mod read;
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

/// Size of the longest possible file in bytes: the length is stored as a u32.
const LONGEST: u64 = u32::MAX as u64;

/// Parameters of the file system.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Size in bytes, a multiple of the sector size; see [`smallest`].
    pub size: u64,
    /// Sector size of the disk in bytes: 512 or 4096.
    pub sector: u64,
    /// Volume ID.
    pub volume_id: u32,
    /// Volume label: at most 11 characters of `A` to `Z`, `0` to `9`, `-`, `_`, and spaces that are
    /// not at the start or end. Empty for no label.
    pub label: String,
    /// Time of all files and directories, in seconds since 1970. It is stored in UTC with a
    /// resolution of two seconds. FAT can store 1980 to 2107 only: other times become the nearest
    /// possible one.
    pub epoch: i64,
}

/// A file to store.
#[derive(Debug, Clone)]
pub struct File<'a> {
    /// Its path, with `/` and without a leading one. Missing directories are created.
    pub path: &'a str,
    /// Its contents, concatenated; less than 4 GiB.
    pub parts: Vec<Content>,
}

impl File<'_> {
    /// Its length in bytes.
    fn len(&self) -> u64 {
        self.parts.iter().map(Content::len).sum()
    }
}

/// Size in bytes of the smallest file system that is sure to hold `files` with sectors of `sector`
/// bytes; every larger one holds them, too. It is a multiple of 1 MiB and at least 33 MiB (257 MiB
/// with sectors of 4096 bytes), because FAT32 must have 65,525 clusters.
pub fn smallest(files: &[File<'_>], sector: u64) -> u64 {
    Need::of(files, sector).smallest()
}

/// Lays out a FAT32 file system that contains `files`, in their order.
///
/// Fails if they do not fit, if FAT cannot store a name or a length, and if two names are the same
/// in FAT, which ignores case.
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
        // Times are set afterwards: fatfs uses one clock for the whole program. Without its feature
        // `chrono` it has no clock, and writes zeros.
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

/// Offsets in the file system, in bytes from its start.
struct Geometry {
    /// Size of a cluster in bytes.
    cluster: u64,
    /// Number of clusters; the first one is number 2.
    clusters: u32,
    /// The sector with the counts (FSInfo).
    fs_info: u64,
    /// The backup of the boot sector; the backups of the following sectors follow it.
    backup: u64,
    /// The first FAT; the second one follows it.
    fat: u64,
    /// Length of a FAT in bytes.
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

    /// Offset of a cluster (2 or more).
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

/// Creates a file and the directories that it needs. Returns the location of its bytes.
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
            "the EFI system partition would have two files with the name {:?} (FAT ignores case)",
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
                // A file with that name exists.
                Err(_) => return Err(clash()),
            };
            continue;
        }
        // fatfs's `create_file` opens an existing file.
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

/// Writes `len` zeros: only their location matters.
fn zeros(to: &mut impl Write, mut len: u64) -> io::Result<()> {
    static ZEROS: [u8; 32 << 10] = [0; 32 << 10];
    while len > 0 {
        let n = ZEROS.len().min(usize::try_from(len).unwrap_or(ZEROS.len()));
        to.write_all(&ZEROS[..n])?;
        len -= n as u64;
    }
    Ok(())
}

/// Refuses a path or a length that FAT or fatfs cannot store unchanged.
fn check(file: &File<'_>) -> Result<(), Report> {
    let wrong = |what: &str| {
        Report::mistake(format!(
            "{:?} cannot be stored in the EFI system partition: {what}",
            file.path
        ))
    };
    for name in file.path.split('/') {
        if name.is_empty() {
            return Err(wrong("a name is empty"));
        }
        // The limit in bytes is fatfs's; that of FAT is 255 UTF-16 units.
        if name.len() > 255 {
            return Err(wrong("a name has more than 255 bytes"));
        }
        // FAT drops dots and spaces at the end. A dot or a space at the start gives a short name
        // that fsck.fat rejects.
        if name.starts_with(['.', ' ']) || name.ends_with(['.', ' ']) {
            return Err(wrong("a name starts or ends with a dot or a space"));
        }
        // The upper bound is the largest character that UTF-16 stores without surrogates.
        let fine = |c: char| !c.is_control() && !r#""*/:<>?\|"#.contains(c) && c <= '\u{FFFF}';
        if let Some(c) = name.chars().find(|c| !fine(*c)) {
            return Err(wrong(&format!("FAT does not allow {c:?} in a name")));
        }
    }
    if file.len() > LONGEST {
        return Err(wrong("a file on FAT must be smaller than 4 GiB"));
    }
    Ok(())
}

/// The label, padded with spaces to 11 bytes.
fn label(text: &str) -> Result<Option<[u8; 11]>, Report> {
    if text.is_empty() {
        return Ok(None);
    }
    let mut label = [b' '; 11];
    let fine = |c: u8| c.is_ascii_uppercase() || c.is_ascii_digit() || b"-_ ".contains(&c);
    if text.len() > label.len() || !text.bytes().all(fine) || text.trim() != text {
        return Err(Report::mistake(format!(
            "{text:?} is not a valid label for the EFI system partition: use at most 11 upper-case letters, digits, `-`, `_`, and spaces between them"
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
