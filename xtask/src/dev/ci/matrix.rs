//! The machines that `ci` boots, and the images that it makes for them. No recipe is named here:
//! everything depends on what a recipe supports and on its position among the recipes.

use anyhow::Context;
use camino::{Utf8Path, Utf8PathBuf};
use docker_to_linux::error::Report;
use docker_to_linux::model::{Arch, BootMode};
use docker_to_linux::recipe::{Found, When};
use docker_to_linux::tool::Tool;
use docker_to_linux::vm::DiskBus::{self, Ahci, Nvme, Scsi, Virtio};
use docker_to_linux::vm::Firmware::{self, Bios, Uefi};
use fs_err as fs;
use std::io::{Read, Seek, SeekFrom};
use std::process::Command;

/// A recipe to build and boot.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub(super) found: Found,
    /// Its position among the project's recipes, from 0, which decides which disks it boots from.
    pub(super) turn: usize,
}

/// The recipes in `names`, or without names all that are for every run, and the names of those that
/// are left to the nightly run.
pub(super) fn subjects(all: Vec<Found>, names: &[String]) -> (Vec<Subject>, Vec<String>) {
    let mut left = Vec::new();
    let mut subjects = Vec::new();
    for (turn, found) in all.into_iter().enumerate() {
        let named = names
            .iter()
            .any(|name| found.dir.file_name() == Some(name) || *name == found.name);
        match (names.is_empty(), found.recipe.ci.when) {
            (true, When::Nightly) => left.push(found.name),
            (true, When::Always) => subjects.push(Subject { found, turn }),
            (false, _) if named => subjects.push(Subject { found, turn }),
            (false, _) => {}
        }
    }
    (subjects, left)
}

/// An image of a recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Image {
    /// The recipe's own image.
    Own,
    /// For BIOS only.
    Bios,
    /// For UEFI only.
    Uefi,
    /// With a unified kernel image.
    Uki,
}

impl Image {
    /// The images that are made in addition to the recipe's own.
    pub(super) const OTHERS: [Image; 3] = [Image::Bios, Image::Uefi, Image::Uki];

    /// The options of `image` for this image.
    pub(super) fn options(self) -> &'static [&'static str] {
        match self {
            Image::Own => &[],
            Image::Bios => &["--boot", "bios"],
            Image::Uefi => &["--boot", "uefi"],
            Image::Uki => &["--boot-entry", "uki"],
        }
    }

    /// Name of the image and of its folder.
    pub(super) fn name(self) -> &'static str {
        match self {
            Image::Own => "own",
            Image::Bios => "bios",
            Image::Uefi => "uefi",
            Image::Uki => "uki",
        }
    }

    /// Path of the file in `dir`. `name` is the recipe's.
    pub(super) fn path(self, dir: &str, name: &str) -> Utf8PathBuf {
        let dir = Utf8Path::new(dir);
        match self {
            Image::Own => dir.to_owned(),
            other => dir.join(other.name()),
        }
        .join(format!("{name}.img"))
    }

    /// The firmware that it boots with, if the recipe is for `boot`. Empty if a recipe for `boot`
    /// has no such image, or only as its own.
    fn firmware(self, boot: BootMode) -> &'static [Firmware] {
        match (self, boot) {
            (Image::Own, BootMode::Hybrid) => &[Bios, Uefi],
            (Image::Own, BootMode::Bios) | (Image::Bios, BootMode::Hybrid) => &[Bios],
            (Image::Own, BootMode::Uefi) | (Image::Uefi, BootMode::Hybrid) => &[Uefi],
            (Image::Uki, BootMode::Uefi | BootMode::Hybrid) => &[Uefi],
            (Image::Bios | Image::Uefi, _) | (Image::Uki, BootMode::Bios) => &[],
        }
    }
}

/// One machine that an image must boot on.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    /// Name of the recipe.
    pub(super) recipe: String,
    pub(super) image: Image,
    pub(super) firmware: Firmware,
    pub(super) disk: DiskBus,
}

/// Kinds of disks that recipes boot from in turn, so that a normal run uses each kind at least
/// once. SeaBIOS reads NVMe disks since 1.11, but few machines' BIOSes do.
const DISKS: [(Firmware, &[DiskBus]); 2] = [
    (Bios, &[Ahci, Virtio, Scsi]),
    (Uefi, &[Scsi, Nvme, Virtio, Ahci]),
];

/// The machines that boot a recipe's images. A normal run boots a recipe's own image once with each
/// firmware, and a unified kernel image of the recipe with the smallest image; `tests/disk.rs`
/// checks the differences of images for one firmware. A full run boots every image from every kind
/// of disk.
pub(super) fn cells(subject: &Subject, smallest: bool, full: bool) -> Vec<Cell> {
    let recipe = &subject.found.recipe;
    let mut cells = Vec::new();
    if !recipe.architectures.contains(&Arch::Amd64) {
        return cells;
    }
    for image in [Image::Own, Image::Bios, Image::Uefi, Image::Uki] {
        for firmware in image.firmware(recipe.boot) {
            let kinds = DISKS.iter().filter(|(of, _)| of == firmware);
            for kinds in kinds.map(|(_, kinds)| kinds) {
                for (n, disk) in kinds.iter().enumerate() {
                    let wanted = match image {
                        // The contents of a unified kernel image do not depend on the disk.
                        Image::Uki => *disk == Virtio && (full || smallest),
                        Image::Own => full || n == subject.turn % kinds.len(),
                        Image::Bios | Image::Uefi => full,
                    };
                    if wanted {
                        cells.push(Cell {
                            recipe: subject.found.name.clone(),
                            image,
                            firmware: *firmware,
                            disk: *disk,
                        });
                    }
                }
            }
        }
    }
    cells
}

/// The recipes that no machine boots: none in `cells`, and none for arm64 unless `arm64` is set.
/// Each is an error, because it would be built without a test that it works.
pub(super) fn unbooted<'a>(subjects: &'a [Subject], cells: &[Cell], arm64: bool) -> Vec<&'a str> {
    subjects
        .iter()
        .filter(|s| !cells.iter().any(|c| c.recipe == s.found.name))
        .filter(|s| !(arm64 && s.found.recipe.architectures.contains(&Arch::Arm64)))
        .map(|s| s.found.name.as_str())
        .collect()
}

/// Checks the disk with sfdisk, sgdisk and fsck.fat, which must find no problems.
pub(super) fn check(image: &Utf8Path) -> anyhow::Result<()> {
    let sfdisk = Tool::Sfdisk.require()?;
    content(Command::new(&sfdisk).arg("--verify").arg(image))?;
    let json = content(Command::new(&sfdisk).arg("--json").arg(image))?;
    let table: serde_json::Value = serde_json::from_str(&json).context("reading sfdisk's JSON")?;
    let table = &table["partitiontable"];
    if table["label"] == "gpt" {
        let said = content(Command::new(Tool::Sgdisk.require()?).arg("-v").arg(image))?;
        if !said.contains("No problems found") {
            return Err(
                Report::failure(format!("sgdisk finds problems in {image}: {said}")).into(),
            );
        }
        // The backup header is in the last sector of the disk.
        let last = fs::metadata(image)?.len() / 512 - 1;
        let mut header = [0; 8];
        let mut file = fs::File::open(image)?;
        file.seek(SeekFrom::Start(last * 512))?;
        file.read_exact(&mut header)?;
        if &header != b"EFI PART" {
            return Err(Report::failure(format!(
                "{image} has no backup partition table at its end"
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
        let sector = |key: &str| partition[key].as_u64().context("sfdisk printed no number");
        let (start, size) = (sector("start")?, sector("size")?);
        // fsck.fat cannot check a part of a file.
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

/// Runs a program that must succeed, and returns its output.
fn content(command: &mut Command) -> anyhow::Result<String> {
    let out = command.output()?;
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    if out.status.success() {
        return Ok(said);
    }
    Err(Report::failure(format!(
        "{command:?} failed with {}: {said}{}",
        out.status,
        String::from_utf8_lossy(&out.stderr)
    ))
    .into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use docker_to_linux::recipe;

    fn recipes(texts: &[(&str, &str)]) -> Vec<Found> {
        let found = |(name, text): &(&str, &str)| Found {
            name: (*name).into(),
            dir: format!("recipes/{name}").into(),
            recipe: recipe::parse(text, "r.yaml").unwrap(),
        };
        texts.iter().map(found).collect()
    }

    /// E.g. `a own Bios Ahci`.
    fn shown(cells: &[Cell]) -> Vec<String> {
        let show = |c: &Cell| {
            let image = c.image.name();
            format!("{} {image} {:?} {:?}", c.recipe, c.firmware, c.disk)
        };
        cells.iter().map(show).collect()
    }

    #[test]
    fn a_plain_run_boots_each_recipe_with_each_firmware_and_disks_in_turn() {
        let (subjects, left) = subjects(recipes(&[("a", ""), ("b", "")]), &[]);
        assert!(left.is_empty());
        let all: Vec<Cell> = (subjects.iter())
            .flat_map(|s| cells(s, s.turn == 0, false))
            .collect();
        let wanted = [
            "a own Bios Ahci",
            "a own Uefi Scsi",
            "a uki Uefi Virtio",
            "b own Bios Virtio",
            "b own Uefi Nvme",
        ];
        assert_eq!(shown(&all), wanted);
        // Three disks with BIOS, four with UEFI, of each of two images; the unified kernel image.
        let full = cells(&subjects[0], false, true);
        assert_eq!(full.len(), 3 + 4 + 3 + 4 + 1);
    }

    #[test]
    fn a_recipe_boots_with_the_firmware_that_it_is_for() {
        let all = recipes(&[("a", "boot: bios\n"), ("b", "boot: uefi\n")]);
        let (subjects, _) = subjects(all, &[]);
        assert_eq!(
            shown(&cells(&subjects[0], true, false)),
            ["a own Bios Ahci"]
        );
        assert_eq!(
            shown(&cells(&subjects[1], true, false)),
            ["b own Uefi Nvme", "b uki Uefi Virtio"]
        );
    }

    #[test]
    fn recipes_say_when_they_are_built() {
        let all = recipes(&[("a", ""), ("b", "ci: {when: nightly}\n"), ("c", "")]);
        let (some, left) = subjects(all.clone(), &[]);
        assert_eq!(left, ["b"]);
        let turns: Vec<usize> = some.iter().map(|s| s.turn).collect();
        assert_eq!(turns, [0, 2]);
        // A recipe that is named is included, with the same disks as always.
        let (some, left) = subjects(all, &["b".into()]);
        assert!(left.is_empty() && some.len() == 1 && some[0].turn == 1);
    }

    #[test]
    fn a_recipe_that_nothing_boots_is_told() {
        let (subjects, _) = subjects(
            recipes(&[("a", ""), ("b", "architectures: [arm64]\n")]),
            &[],
        );
        let all: Vec<Cell> = (subjects.iter())
            .flat_map(|s| cells(s, true, false))
            .collect();
        assert_eq!(unbooted(&subjects, &all, false), ["b"]);
        assert!(unbooted(&subjects, &all, true).is_empty());
        assert_eq!(unbooted(&subjects, &[], false), ["a", "b"]);
    }

    /// A new folder in `recipes` is built and booted without changes to the code.
    #[test]
    fn every_recipe_of_the_project_is_booted_or_left_to_the_night() {
        let (subjects, left) = subjects(recipe::all().unwrap(), &[]);
        let all: Vec<Cell> = (subjects.iter())
            .flat_map(|s| cells(s, false, false))
            .collect();
        assert!(unbooted(&subjects, &all, false).is_empty());
        assert!(subjects.len() + left.len() >= 3);
    }
}
