//! The machines that `ci` boots, and the images that it makes for them.

use crate::error::Report;
use crate::tool::Tool;
use crate::vm::DiskBus::{self, Ahci, Nvme, Scsi, Virtio};
use crate::vm::Firmware::{self, Bios, Uefi};
use anyhow::Context;
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use std::io::{Read, Seek, SeekFrom};
use std::process::Command;

/// An image of a recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Image {
    /// As the recipe has it: for both kinds of firmware.
    Hybrid,
    /// For BIOS only.
    Bios,
    /// For UEFI only.
    Uefi,
    /// For both, with a unified kernel image.
    Uki,
}

impl Image {
    /// Those that are made besides the recipe's own.
    pub(super) const OTHERS: [Image; 3] = [Image::Bios, Image::Uefi, Image::Uki];

    /// What makes it of the recipe.
    pub(super) fn options(self) -> &'static [&'static str] {
        match self {
            Image::Hybrid => &[],
            Image::Bios => &["--boot", "bios"],
            Image::Uefi => &["--boot", "uefi"],
            Image::Uki => &["--boot-entry", "uki"],
        }
    }

    /// Its name, and that of its folder.
    pub(super) fn name(self) -> &'static str {
        match self {
            Image::Hybrid => "hybrid",
            Image::Bios => "bios",
            Image::Uefi => "uefi",
            Image::Uki => "uki",
        }
    }

    /// Where it lies, below `dir`.
    pub(super) fn path(self, dir: &str, recipe: &str) -> Utf8PathBuf {
        let dir = Utf8Path::new(dir);
        match self {
            Image::Hybrid => dir.to_owned(),
            other => dir.join(other.name()),
        }
        .join(format!("{recipe}.img"))
    }
}

/// One machine that an image must boot on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell {
    pub(super) recipe: &'static str,
    pub(super) image: Image,
    pub(super) firmware: Firmware,
    pub(super) disk: DiskBus,
}

/// The cells that a plain run boots: each distribution under each firmware, from each kind of
/// disk at least once, and a unified kernel image. What makes images for one firmware other than
/// hybrid ones is judged by `tests/disk.rs`; a full run boots them, too.
const TELLING: [(&str, Image, Firmware, DiskBus); 5] = [
    ("debian", Image::Hybrid, Bios, Virtio),
    ("debian", Image::Hybrid, Uefi, Nvme),
    ("alpine", Image::Hybrid, Bios, Ahci),
    ("alpine", Image::Hybrid, Uefi, Scsi),
    ("alpine", Image::Uki, Uefi, Virtio),
];

/// The cells of these recipes: the telling ones, or all.
pub(super) fn cells(recipes: &[String], full: bool) -> Vec<Cell> {
    let mut cells = Vec::new();
    for recipe in ["debian", "alpine"] {
        for (image, firmware) in [
            (Image::Hybrid, Bios),
            (Image::Hybrid, Uefi),
            (Image::Bios, Bios),
            (Image::Uefi, Uefi),
            (Image::Uki, Uefi),
        ] {
            for disk in [Virtio, Ahci, Nvme, Scsi] {
                // SeaBIOS reads NVMe disks since 1.11, but few machines' BIOSes do. What is in a
                // unified kernel image does not depend on the disk.
                let possible = match image {
                    Image::Uki => disk == Virtio,
                    _ => disk != Nvme || firmware == Uefi,
                };
                let telling = TELLING.contains(&(recipe, image, firmware, disk));
                let wanted = recipes.iter().any(|r| r == recipe);
                if possible && wanted && (full || telling) {
                    cells.push(Cell {
                        recipe,
                        image,
                        firmware,
                        disk,
                    });
                }
            }
        }
    }
    cells
}

/// Lets sfdisk, sgdisk and fsck.fat look at the disk: they must find nothing.
pub(super) fn check(image: &Utf8Path) -> anyhow::Result<()> {
    let sfdisk = Tool::Sfdisk.require()?;
    content(Command::new(&sfdisk).arg("--verify").arg(image))?;
    let json = content(Command::new(&sfdisk).arg("--json").arg(image))?;
    let table: serde_json::Value = serde_json::from_str(&json).context("reading sfdisk's JSON")?;
    let table = &table["partitiontable"];
    if table["label"] == "gpt" {
        let said = content(Command::new(Tool::Sgdisk.require()?).arg("-v").arg(image))?;
        if !said.contains("No problems found") {
            return Err(Report::failure(format!("sgdisk says of {image}: {said}")).into());
        }
        // The backup header lies in the last sector of the disk.
        let last = fs::metadata(image)?.len() / 512 - 1;
        let mut header = [0; 8];
        let mut file = fs::File::open(image)?;
        file.seek(SeekFrom::Start(last * 512))?;
        file.read_exact(&mut header)?;
        if &header != b"EFI PART" {
            return Err(Report::failure(format!(
                "{image} has no backup of its partition table at its end"
            ))
            .into());
        }
    }
    let partitions = table["partitions"].as_array().into_iter().flatten();
    for partition in partitions {
        const ESP: [&str; 2] = ["C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "ef"];
        if !ESP.iter().any(|t| partition["type"] == *t) {
            continue;
        }
        let sector = |key: &str| partition[key].as_u64().context("sfdisk gave no number");
        let (start, size) = (sector("start")?, sector("size")?);
        // fsck.fat takes no part of a file.
        let mut copy = tempfile::NamedTempFile::new()?;
        let mut disk = fs::File::open(image)?;
        disk.seek(SeekFrom::Start(start * 512))?;
        std::io::copy(&mut disk.take(size * 512), &mut copy)?;
        content(
            Command::new(Tool::FsckFat.require()?)
                .arg("-n")
                .arg(copy.path()),
        )?;
    }
    Ok(())
}

/// What a program says that must be content.
fn content(command: &mut Command) -> anyhow::Result<String> {
    let out = command.output()?;
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    if out.status.success() {
        return Ok(said);
    }
    Err(Report::failure(format!(
        "{command:?} ends with {}: {said}{}",
        out.status,
        String::from_utf8_lossy(&out.stderr)
    ))
    .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_run_boots_every_cell_and_a_plain_one_the_telling_ones() {
        let both = ["debian".to_owned(), "alpine".to_owned()];
        // Two recipes; three disks under BIOS, four under UEFI, of each of two images; the UKI.
        assert_eq!(cells(&both, true).len(), 2 * (3 + 4 + 3 + 4 + 1));
        assert_eq!(cells(&both, false).len(), TELLING.len());
        assert_eq!(cells(&both[..1], false).len(), 2);
    }
}
