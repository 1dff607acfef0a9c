//! What an image's own contents say about it: the firmware that it boots with, its architecture,
//! and the location of its root file system.

use super::{Firmware, ImageFormat};
use crate::disk::mbr::BOOT_CODE;
use crate::disk::table::{self, FoundPartition};
use crate::error::Report;
use crate::format::source;
use crate::fs::fat::read::Fat;
use crate::model::Arch;
use crate::model::partition::SECTOR;
use crate::model::size::Size;
use crate::tool::Tool;
use camino::Utf8Path;
use fs_err as fs;
use std::io;
use std::os::unix::fs::FileExt;

/// What an image's contents say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Whether it has boot code for BIOS, or a partition marked as bootable by BIOS.
    pub bios: bool,
    /// Whether it has an EFI system partition.
    pub uefi: bool,
    /// The architecture of its UEFI boot loader.
    pub arch: Option<Arch>,
    /// Its last ext4 file system as (offset, length) in bytes. Only searched for in raw images.
    pub root: Option<(u64, u64)>,
    /// Logical sector size of its partition table in bytes: 512 or 4096.
    pub sector_size: u64,
}

impl Default for Claims {
    fn default() -> Claims {
        Claims {
            bios: false,
            uefi: false,
            arch: None,
            root: None,
            sector_size: SECTOR,
        }
    }
}

impl Claims {
    /// All kinds of firmware that the image supports, BIOS first.
    pub fn firmwares(&self) -> Vec<Firmware> {
        [(self.bios, Firmware::Bios), (self.uefi, Firmware::Uefi)]
            .into_iter()
            .filter_map(|(claimed, firmware)| claimed.then_some(firmware))
            .collect()
    }

    /// The architecture to boot it with: its own if known, else amd64.
    pub fn arch(&self) -> Arch {
        self.arch.unwrap_or(Arch::Amd64)
    }
}

/// Reads the image's contents. Fails with a user mistake if it is not a disk image or is truncated.
///
/// For formats other than raw, only the partition table is read with qemu-img, if that is
/// installed.
pub fn of(image: &Utf8Path, format: ImageFormat) -> Result<Claims, Report> {
    if !image.exists() {
        return Err(Report::mistake(format!("there is no image at {image}"))
            .hint("`cargo xtask image RECIPE` creates one in target/images"));
    }
    if !image.is_file() {
        return Err(Report::mistake(format!("{image} is not a file"))
            .hint("pass the path of the image file, e.g. target/images/debian.img"));
    }
    let read = |e: io::Error| Report::mistake(format!("reading {image}")).because(e);
    let file = fs::File::open(image).map_err(read)?.into_parts().0;
    let size = file.metadata().map_err(read)?.len();
    if size == 0 {
        return Err(not_a_disk(image, "it is empty"));
    }
    if format == ImageFormat::Raw {
        return of_disk(image, &file, Some(size));
    }
    match start_of(image, format)? {
        Some(start) => of_disk(image, start.as_file(), None),
        None => Ok(Claims::default()),
    }
}

fn not_a_disk(image: &Utf8Path, why: &str) -> Report {
    Report::mistake(format!("{image} is not a disk image: {why}"))
        .hint("use an image built with `cargo xtask image`, or another complete disk image")
}

/// The first MiB of a disk in another format. Empty if qemu-img is not installed.
fn start_of(
    image: &Utf8Path,
    format: ImageFormat,
) -> Result<Option<tempfile::NamedTempFile>, Report> {
    let Some(qemu_img) = Tool::QemuImg.find() else {
        return Ok(None);
    };
    let doing = || Report::failure(format!("reading the start of {image}"));
    let start = tempfile::NamedTempFile::new().map_err(|e| doing().because(e))?;
    let mut of = std::ffi::OsString::from("of=");
    of.push(start.path());
    let out = crate::tool::command(qemu_img)
        .args(["dd", "-f", format.name(), "-O", "raw", "bs=1M", "count=1"])
        .arg(format!("if={image}"))
        .arg(of)
        .output()
        .map_err(|e| doing().because(e))?;
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stderr);
        let why = said.lines().next().unwrap_or_default();
        return Err(not_a_disk(image, &format!("qemu-img says {why:?}")));
    }
    Ok(Some(start))
}

/// `size` is the size of the disk in bytes, if the file contains all of it.
fn of_disk(image: &Utf8Path, file: &std::fs::File, size: Option<u64>) -> Result<Claims, Report> {
    let mut sector = [0; SECTOR as usize];
    file.read_exact_at(&mut sector, 0)
        .map_err(|_| not_a_disk(image, "it is smaller than a sector"))?;
    let signed = sector[510..] == [0x55, 0xaa];
    let table = table::read(&mut &*file).map_err(|e| not_a_disk(image, &e.to_string()))?;
    let sector_size = table.as_ref().map_or(SECTOR, |table| table.sector_size);
    let end = table.as_ref().map_or(0, |table| table.end);
    let partitions = table.map(|table| table.partitions).unwrap_or_default();
    let mut places: Vec<(u64, u64)> = partitions.iter().map(|p| (p.start, p.len)).collect();
    if let Some(size) = size {
        let needed = partitions
            .iter()
            .map(FoundPartition::end)
            .fold(end, u64::max);
        if needed > size {
            return Err(Report::mistake(format!(
                "{image} is truncated: its partition table needs {}, but the file has {}",
                Size(needed),
                Size(size)
            ))
            .hint("copy or download it again completely"));
        }
        if partitions.is_empty() {
            // A file system without a partition table may fill the disk.
            places.push((0, size));
        }
    }
    let code = signed && sector[..BOOT_CODE].iter().any(|b| *b != 0);
    let esp = partitions.iter().find(|p| p.is_esp());
    let is_root = |(start, _): &(u64, u64)| size.is_some() && is_ext(file, *start);
    Ok(Claims {
        bios: code || partitions.iter().any(|p| p.bios_bootable),
        uefi: esp.is_some(),
        arch: esp
            .filter(|_| size.is_some())
            .and_then(|p| arch_of(file, p)),
        root: places.into_iter().rev().find(is_root),
        sector_size,
    })
}

/// Whether an ext2, ext3 or ext4 file system starts at this offset (`s_magic` of its superblock).
fn is_ext(file: &std::fs::File, start: u64) -> bool {
    let mut magic = [0; 2];
    file.read_exact_at(&mut magic, start.saturating_add(1024 + 56))
        .is_ok_and(|()| magic == [0x53, 0xef])
}

/// The architecture of the boot loader at the default path of UEFI firmware (UEFI Specification
/// 2.10, 3.5.1.1). `None` if the partition cannot be read.
fn arch_of(file: &std::fs::File, esp: &FoundPartition) -> Option<Arch> {
    let disk = source::raw(file.try_clone().ok()?).ok()?;
    let fat = Fat::open(&disk, esp.start)?;
    let has = |name: &str| matches!(fat.find(&format!("EFI/BOOT/{name}")), Ok(Some(_)));
    [(Arch::Amd64, "BOOTX64.EFI"), (Arch::Arm64, "BOOTAA64.EFI")]
        .into_iter()
        .find(|(_, name)| has(name))
        .map(|(arch, _)| arch)
}
