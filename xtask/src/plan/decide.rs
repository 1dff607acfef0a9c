//! From a recipe and the facts of a root file system to a plan.

use super::outline::EXTLINUX_DIR;
use super::rules::{MBR_LIMIT, MBR_MOST, USE_GPT};
use super::sizes::Sizes;
use super::{BootEntry, Disk, Facts, Outline, Partition, Plan, Role, Root, Table, esp, targets};
use crate::error::Report;
use crate::fs::ext4;
use crate::model::size::{MIB, Size};
use crate::model::{Arch, BootMode, SectorSize, TableKind, partition};
use crate::recipe::Recipe;

/// First byte of the first partition, in bytes. Partitioning tools align to this, and it leaves the
/// gap that other boot loaders use.
const FIRST: u64 = MIB;

/// Space after the last partition of a GPT disk, in bytes. The backup table needs 33 sectors; a
/// full MiB keeps the disk a multiple of 1 MiB.
const GPT_TAIL: u64 = MIB;

impl Plan {
    /// Makes all remaining decisions about a machine, once its root file system is complete.
    pub fn decide(outline: &Outline, recipe: &Recipe, facts: Facts) -> Result<Plan, Report> {
        let boot = outline.boot;
        check_lengths(&facts.entries)?;
        let esp = match boot {
            BootMode::Bios => None,
            _ => Some(esp::esp(outline, recipe.boot_entry, &facts)?),
        };
        let disk = disk(outline, recipe, &facts)?;
        let root_len = disk.root().len;
        let mut volumes = outline.volumes.clone();
        if let (Some(volumes), Some(facts), Some(partition)) =
            (&mut volumes, &facts.volumes, disk.volumes())
        {
            volumes.inodes = facts.need.inodes_for(partition.len);
        }
        Ok(Plan {
            name: outline.name.clone(),
            id: outline.ids.image,
            arch: outline.arch,
            boot,
            epoch: facts.epoch,
            esp,
            root: Root {
                uuid: outline.ids.root,
                label: recipe.root.label.clone(),
                inodes: facts.need.inodes_for(root_len),
                reserved_percent: recipe.root.reserved_percent,
                content: facts.need.content,
                smallest: facts.need.smallest(),
                free: root_len.saturating_sub(facts.need.smallest()),
                extlinux: (boot != BootMode::Uefi).then(|| EXTLINUX_DIR.to_owned()),
                order: recipe.root.order.clone(),
                split_links: recipe.root.split_links,
            },
            disk,
            volumes,
            entries: facts.entries,
            container: outline.container.clone(),
            formats: recipe.formats.clone(),
            targets: recipe.targets.clone(),
        })
    }
}

/// Largest kernel or initrd in bytes: the limit of a file on FAT (Microsoft's "FAT: General
/// Overview of On-Disk Format" 1.03, `DIR_FileSize`), and more than EXTLINUX can load.
const MOST_TO_LOAD: u64 = (1 << 32) - 1;

/// Limit for all kernels and initrds together, in bytes. They are stored without holes, so a small
/// tar could otherwise produce a disk of any size.
const MOST_OF_ALL: u64 = 16 << 30;

/// Fails if a boot loader could not load a file of an entry, or if the files are too large
/// together.
fn check_lengths(entries: &[BootEntry]) -> Result<(), Report> {
    let files = || entries.iter().flat_map(|e| [&e.linux, &e.initrd]);
    let all = files().fold(0_u64, |sum, file| sum.saturating_add(file.len));
    if all > MOST_OF_ALL && files().all(|file| file.len <= MOST_TO_LOAD) {
        return Err(Report::mistake(format!(
            "the {} kernels and their initrds take up {}, more than the limit of {}",
            entries.len(),
            Size(all),
            Size(MOST_OF_ALL)
        ))
        .hint("remove some of the kernels from the root file system"));
    }
    match files().find(|file| file.len > MOST_TO_LOAD) {
        None => Ok(()),
        Some(file) => Err(Report::mistake(format!(
            "{} is {}, more than the 4 GiB that a boot loader can load",
            file.path,
            Size(file.len)
        ))
        .hint("make a smaller one, e.g. with fewer modules in the initrd")),
    }
}

/// Lays out the disk: the ESP first if there is one, and last what can grow: the volumes, or the
/// root if there are none.
fn disk(outline: &Outline, recipe: &Recipe, facts: &Facts) -> Result<Disk, Report> {
    let &Outline {
        arch, boot, table, ..
    } = outline;
    let esp_len = if boot == BootMode::Bios {
        0
    } else {
        esp_len(facts, recipe.sector_size)
    };
    let tail = match table {
        TableKind::Mbr => 0,
        TableKind::Gpt => GPT_TAIL,
    };
    let around = FIRST + esp_len + tail;
    let Sizes {
        root: root_len,
        volumes: volumes_len,
    } = Sizes::decide(recipe, facts, around)?;
    let around = around.saturating_add(volumes_len);
    let (most, why, cure) = match table {
        TableKind::Mbr => (MBR_MOST.saturating_sub(around), MBR_LIMIT, USE_GPT),
        // systemd-boot cannot read ext4: the kernel must be able to read it by itself.
        TableKind::Gpt if boot == BootMode::Uefi => (
            ext4::LARGEST_64BIT,
            "its root file system, an ext4 with all group descriptors in one group, can have at most 128 TiB",
            "use a smaller `size:` in recipe.yaml or --size",
        ),
        TableKind::Gpt => (
            ext4::LARGEST,
            "its root file system, an ext4 without 64-bit block numbers, which EXTLINUX cannot read, can have at most 16 TiB",
            "use a smaller `size:` in recipe.yaml or --size, or use `boot: uefi`",
        ),
    };
    if root_len > most {
        return Err(Report::mistake(format!(
            "a disk of {} is too large: {why}",
            Size(around.saturating_add(root_len))
        ))
        .hint(cure));
    }
    let ids = &outline.ids;
    let mut partitions = Vec::new();
    if esp_len > 0 {
        partitions.push(Partition {
            role: Role::Esp,
            number: 1,
            start: FIRST,
            len: esp_len,
            mbr_type: partition::ESP_MBR,
            gpt_type: partition::ESP,
            guid: ids.esp_partition,
            name: "EFI system partition".into(),
            bios_bootable: false,
        });
    }
    partitions.push(Partition {
        role: Role::Root,
        number: if esp_len > 0 { 2 } else { 1 },
        start: FIRST + esp_len,
        len: root_len,
        mbr_type: partition::LINUX_MBR,
        gpt_type: match arch {
            Arch::Amd64 => partition::ROOT_AMD64,
            Arch::Arm64 => partition::ROOT_ARM64,
        },
        guid: ids.root_partition,
        name: "root".into(),
        bios_bootable: boot != BootMode::Uefi,
    });
    if volumes_len > 0 {
        partitions.push(Partition {
            role: Role::Volumes,
            number: if esp_len > 0 { 3 } else { 2 },
            start: FIRST + esp_len + root_len,
            len: volumes_len,
            mbr_type: partition::LINUX_MBR,
            gpt_type: partition::LINUX,
            guid: ids.volumes_partition,
            name: "volumes".into(),
            bios_bootable: false,
        });
    }
    let disk = Disk {
        size: around + root_len,
        sector_size: recipe.sector_size.bytes(),
        table: match table {
            TableKind::Mbr => Table::Mbr {
                signature: ids.signature,
            },
            TableKind::Gpt => Table::Gpt { guid: ids.disk },
        },
        partitions,
    };
    disk.validate()?;
    targets::check_size(recipe, disk.size)?;
    Ok(disk)
}

/// Minimum size of an ESP in bytes: FAT32 needs 65,525 clusters, and firmware only reliably reads
/// FAT32 with clusters of at least one sector.
const ESP_LEAST: u64 = 64 * MIB;

/// The same for clusters (at least one sector) of 4096 bytes.
const ESP_LEAST_4096: u64 = 260 * MIB;

/// Size of the ESP in bytes: all kernels and initrds, space for another pair of the largest size so
/// that a kernel upgrade fits next to the old one, and some reserve.
fn esp_len(facts: &Facts, sector: SectorSize) -> u64 {
    let kernels: u64 = facts.kernel_bytes.iter().sum();
    let upgrade = facts.kernel_bytes.iter().max().copied().unwrap_or(0);
    // A unified kernel image holds its kernel and initrd, the stub, and padding to whole sectors.
    let stubs = facts.entries.len() as u64 * facts.stub_bytes.next_multiple_of(64 << 10);
    let content = kernels + upgrade + 2 * facts.systemd_boot_bytes + stubs;
    // Two FATs of four bytes per cluster, directories and text files.
    let rest = content / 64 + 2 * MIB;
    (content + rest).next_multiple_of(MIB).max(match sector {
        SectorSize::B512 => ESP_LEAST,
        SectorSize::B4096 => ESP_LEAST_4096,
    })
}
