//! From a recipe and the facts of a root file system to a plan.

use super::kernels::Kernel;
use super::{
    BootEntry, Container, Disk, Esp, EspContent, EspFile, Ids, Partition, Plan, Role, Root, Table,
    Uki,
};
use crate::error::Report;
use crate::fs::ext4::{self, Need};
use crate::model::size::{MIB, Size};
use crate::model::{Arch, BootEntryKind, BootMode, DiskSize, SectorSize, TableKind};
use crate::recipe::Recipe;
use uuid::Uuid;

/// Directory of EXTLINUX in the root file system.
pub const EXTLINUX_DIR: &str = "/boot/extlinux";

/// First byte of the first partition: what every partitioner aligns to, and room for the gap
/// in which other boot loaders live.
const FIRST: u64 = MIB;

/// Room behind the last partition of a disk with a GPT, in bytes. The backup table takes 33
/// sectors; a whole MiB keeps the disk's size one of whole MiB.
const GPT_TAIL: u64 = MIB;

/// What an MBR reaches: 2^32 sectors of 512 bytes.
const MBR_MOST: u64 = (1 << 32) * 512;

/// EFI system partition (UEFI specification 2.10, 5.3.3, table 5.7).
const ESP_TYPE: Uuid = Uuid::from_u128(0xc12a_7328_f81f_11d2_ba4b_00a0_c93e_c93b);
/// Root partition for x86-64 (UAPI group, Discoverable Partitions Specification).
const ROOT_AMD64: Uuid = Uuid::from_u128(0x4f68_bce3_e8cd_4db1_96e7_fbca_f984_b709);
/// Root partition for 64-bit ARM (the same).
const ROOT_ARM64: Uuid = Uuid::from_u128(0xb921_b045_1df0_41c3_af44_4c6f_280d_3fae);

/// What a plan needs to know of a root file system that has everything in it but the contents
/// that depend on the plan.
#[derive(Debug, Clone)]
pub struct Facts {
    /// "Now", in seconds since 1970.
    pub epoch: i64,
    /// Its ids.
    pub ids: Ids,
    /// What the machine offers to boot.
    pub entries: Vec<BootEntry>,
    /// Lengths of kernels and initrds, in bytes, in the order of `entries`.
    pub kernel_bytes: Vec<u64>,
    /// Length of systemd-boot's EFI program in bytes.
    pub systemd_boot_bytes: u64,
    /// Length of systemd's stub of unified kernel images in bytes; 0 if it is not there.
    pub stub_bytes: u64,
    /// Canonical path of os-release(5), if there is one.
    pub os_release: Option<String>,
    /// What it takes on the disk.
    pub need: Need,
    /// What it keeps of its container.
    pub container: Option<Container>,
}

/// The boot mode that an architecture and a recipe give, or why there is none.
pub fn boot_mode(arch: Arch, recipe: &Recipe) -> Result<BootMode, Report> {
    match (arch, recipe.boot) {
        // `hybrid` means "wherever this architecture boots".
        (Arch::Arm64, BootMode::Hybrid) => Ok(BootMode::Uefi),
        (Arch::Arm64, BootMode::Bios) => Err(Report::mistake(
            "arm64 cannot boot in the mode bios: there is no BIOS on 64-bit ARM machines",
        )
        .hint("use `boot: uefi`")),
        (_, mode) => Ok(mode),
    }
}

/// Whether a recipe can be planned for an architecture at all.
pub fn check(arch: Arch, recipe: &Recipe) -> Result<(), Report> {
    let boot = boot_mode(arch, recipe)?;
    if boot == BootMode::Bios && recipe.boot_entry == BootEntryKind::Uki {
        return Err(Report::mistake(
            "the boot mode bios takes no unified kernel image: only UEFI can start one",
        )
        .hint("use `boot: hybrid` or `boot: uefi`, or leave `boot-entry: uki` out"));
    }
    table(boot, recipe.table)?;
    if recipe.sector_size == SectorSize::B512 {
        return Ok(());
    }
    let bytes = recipe.sector_size.bytes();
    if boot != BootMode::Uefi {
        return Err(Report::mistake(format!(
            "a disk with sectors of {bytes} bytes boots by UEFI only, and the boot mode is {}: BIOS and EXTLINUX read sectors of 512 bytes",
            match boot {
                BootMode::Bios => "bios",
                _ => "hybrid",
            }
        ))
        .hint("use `boot: uefi` (--boot uefi), or leave `sector-size:` out"));
    }
    match recipe.formats.iter().find(|f| !f.has_sectors_of(bytes)) {
        None => Ok(()),
        Some(format) => Err(format.no_sectors_of(bytes)),
    }
}

/// The partition table that a boot mode and a recipe give, or why there is none.
pub(super) fn table(mode: BootMode, wanted: Option<TableKind>) -> Result<TableKind, Report> {
    match (mode, wanted) {
        (BootMode::Uefi, Some(TableKind::Mbr)) => Err(Report::mistake(
            "the boot mode uefi takes no MBR: some firmware looks for an EFI system partition in a GPT only",
        )
        .hint("use `table: gpt`, or `boot: hybrid` with `table: mbr`")),
        (BootMode::Bios, None) => Ok(TableKind::Mbr),
        (_, None) => Ok(TableKind::Gpt),
        (_, Some(kind)) => Ok(kind),
    }
}

/// The entries of the boot loaders, the default first.
///
/// `os` is the name of the system in the menu (`PRETTY_NAME` of os-release); `base` names the
/// recipe in the files of the entries.
pub fn boot_entries(
    recipe: &Recipe,
    name: &str,
    os: &str,
    ids: &Ids,
    kernels: &[Kernel],
    arch: Arch,
) -> Vec<BootEntry> {
    let arguments = kernel_arguments(recipe, ids, arch);
    kernels
        .iter()
        .map(|k| BootEntry {
            id: format!("{}-{}", entry_token(name), file_name(&k.version)),
            // One line of a menu.
            title: format!("{os} ({})", k.version).replace(|c: char| c.is_ascii_control(), "?"),
            version: k.version.clone(),
            linux: k.linux.clone(),
            initrd: k.initrd.clone(),
            arguments: arguments.clone(),
        })
        .collect()
}

/// The kernel arguments of every boot entry.
pub fn kernel_arguments(recipe: &Recipe, ids: &Ids, arch: Arch) -> String {
    let mut arguments = vec![format!("root=UUID={}", ids.root), "ro".to_owned()];
    // A power cut while a GPT is written may leave only its backup whole. Linux takes that one
    // only when it is told to (block/partitions/efi.c, `force_gpt`).
    let table = boot_mode(arch, recipe).and_then(|mode| table(mode, recipe.table));
    if recipe.root.grow && matches!(table, Ok(TableKind::Gpt)) {
        arguments.push("gpt".to_owned());
    }
    arguments.extend(recipe.kernel_arguments.iter().cloned());
    // The last console is the one that init writes to.
    arguments.push("console=tty0".into());
    if recipe.serial_console.enabled {
        let serial = &recipe.serial_console;
        arguments.push(format!("console={},{}", serial.port_for(arch), serial.baud));
    }
    arguments.join(" ")
}

/// What the boot entries and their kernels on the ESP are named by (Boot Loader Specification,
/// "entry token"), for an image of this name.
pub fn entry_token(name: &str) -> String {
    file_name(name)
}

/// The architecture in the words of the Boot Loader Specification (`architecture` of a type 1
/// entry), which are those of EFI programs' file names.
pub fn efi_architecture(arch: Arch) -> &'static str {
    match arch {
        Arch::Amd64 => "x64",
        Arch::Arm64 => "aa64",
    }
}

/// A text as a file name that every file system and boot loader takes: each byte that they may
/// not take is a `-`, as in the guest's update-boot.
pub(super) fn file_name(text: &str) -> String {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b".-_+".contains(&b);
    text.bytes()
        .map(|b| if fits(b) { b.into() } else { '-' })
        .collect()
}

impl Plan {
    /// Decides everything that is left to decide.
    pub fn new(name: &str, arch: Arch, recipe: &Recipe, facts: Facts) -> Result<Plan, Report> {
        let boot = boot_mode(arch, recipe)?;
        let table = table(boot, recipe.table)?;
        check_lengths(&facts.entries)?;
        let esp = match boot {
            BootMode::Bios => None,
            _ => Some(esp(name, arch, recipe.boot_entry, &facts)?),
        };
        let disk = disk(arch, recipe, boot, table, &facts)?;
        let root_len = disk.root().len;
        Ok(Plan {
            name: name.to_owned(),
            id: facts.ids.image,
            arch,
            boot,
            epoch: facts.epoch,
            esp,
            root: Root {
                uuid: facts.ids.root,
                label: recipe.root.label.clone(),
                inodes: facts.need.inodes_for(root_len),
                reserved_percent: recipe.root.reserved_percent,
                content: facts.need.content,
                smallest: facts.need.smallest(),
                free: root_len.saturating_sub(facts.need.smallest()),
                extlinux: (boot != BootMode::Uefi).then(|| EXTLINUX_DIR.to_owned()),
            },
            disk,
            entries: facts.entries,
            container: facts.container,
            formats: recipe.formats.clone(),
        })
    }
}

/// Largest kernel or initrd in bytes: a file on a FAT (Microsoft's "FAT: General Overview of
/// On-Disk Format" 1.03, `DIR_FileSize`), and more than EXTLINUX can load.
const MOST_TO_LOAD: u64 = (1 << 32) - 1;

/// Most bytes of all kernels and initrds: they have no holes on the disk, so a small tar could
/// make a disk of any size.
const MOST_OF_ALL: u64 = 16 << 30;

/// Fails if a boot loader could not load one of the files of an entry, or if there are too many.
fn check_lengths(entries: &[BootEntry]) -> Result<(), Report> {
    let files = || entries.iter().flat_map(|e| [&e.linux, &e.initrd]);
    let all = files().fold(0_u64, |sum, file| sum.saturating_add(file.len));
    if all > MOST_OF_ALL && files().all(|file| file.len <= MOST_TO_LOAD) {
        return Err(Report::mistake(format!(
            "the {} kernels and their initrds have {} together; more than {} make no sense",
            entries.len(),
            Size(all),
            Size(MOST_OF_ALL)
        ))
        .hint("leave some of the kernels out of the root file system"));
    }
    match files().find(|file| file.len > MOST_TO_LOAD) {
        None => Ok(()),
        Some(file) => Err(Report::mistake(format!(
            "{} has {}, more than the 4 GiB that a boot loader can load",
            file.path,
            Size(file.len)
        ))
        .hint("make a smaller one, e.g. with fewer modules in the initrd")),
    }
}

/// Cuts the disk: the ESP first if there is one, the root last, so that it can grow.
fn disk(
    arch: Arch,
    recipe: &Recipe,
    boot: BootMode,
    table: TableKind,
    facts: &Facts,
) -> Result<Disk, Report> {
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
    let smallest = facts.need.smallest();
    let root_len = match recipe.size {
        DiskSize::Auto => {
            let reserved = recipe.root.reserved_percent;
            facts.need.smallest_with(recipe.root.free.0, reserved)
        }
        DiskSize::Fixed(Size(size)) => {
            let size = size.checked_next_multiple_of(MIB).unwrap_or(u64::MAX);
            if size < smallest.saturating_add(around) {
                return Err(ext4::too_small(&facts.need, size, around));
            }
            size - around
        }
    };
    let (most, why, cure) = match table {
        TableKind::Mbr => (
            MBR_MOST.saturating_sub(around),
            "an MBR reaches 2 TiB",
            "use `table: gpt` (--table gpt), or a smaller size",
        ),
        // systemd-boot reads no ext4: the kernel alone must be able to.
        TableKind::Gpt if boot == BootMode::Uefi => (
            ext4::LARGEST_64BIT,
            "its root file system, an ext4 whose group descriptors lie in one group, reaches 128 TiB",
            "give a smaller `size:` in recipe.yaml or --size",
        ),
        TableKind::Gpt => (
            ext4::LARGEST,
            "its root file system, an ext4 without 64-bit block numbers, which EXTLINUX cannot read, reaches 16 TiB",
            "give a smaller `size:` in recipe.yaml or --size, or use `boot: uefi`",
        ),
    };
    if root_len > most {
        return Err(Report::mistake(format!(
            "a disk of {} is too large: {why}",
            Size(around.saturating_add(root_len))
        ))
        .hint(cure));
    }
    let ids = &facts.ids;
    let mut partitions = Vec::new();
    if esp_len > 0 {
        partitions.push(Partition {
            role: Role::Esp,
            number: 1,
            start: FIRST,
            len: esp_len,
            mbr_type: 0xEF,
            gpt_type: ESP_TYPE,
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
        mbr_type: 0x83,
        gpt_type: match arch {
            Arch::Amd64 => ROOT_AMD64,
            Arch::Arm64 => ROOT_ARM64,
        },
        guid: ids.root_partition,
        name: "root".into(),
        bios_bootable: boot != BootMode::Uefi,
    });
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
    Ok(disk)
}

/// Least length of an ESP in bytes: FAT32 needs 65,525 clusters, and firmware is only sure to
/// read FAT32 with clusters of at least one sector.
const ESP_LEAST: u64 = 64 * MIB;

/// The same where a cluster, a sector at least, has 4096 bytes.
const ESP_LEAST_4096: u64 = 260 * MIB;

/// Length of the ESP in bytes: all kernels and initrds, room for one more pair of the largest
/// size, so that an upgrade of the kernel fits beside the old one, and a little for the rest.
fn esp_len(facts: &Facts, sector: SectorSize) -> u64 {
    let kernels: u64 = facts.kernel_bytes.iter().sum();
    let upgrade = facts.kernel_bytes.iter().max().copied().unwrap_or(0);
    // A unified kernel image is its kernel and initrd, the stub, and sections of whole sectors.
    let stubs = facts.entries.len() as u64 * facts.stub_bytes.next_multiple_of(64 << 10);
    let content = kernels + upgrade + 2 * facts.systemd_boot_bytes + stubs;
    // Two tables of four bytes for each cluster, directories and text files.
    let rest = content / 64 + 2 * MIB;
    (content + rest).next_multiple_of(MIB).max(match sector {
        SectorSize::B512 => ESP_LEAST,
        SectorSize::B4096 => ESP_LEAST_4096,
    })
}

/// The files of the ESP, by the Boot Loader Specification (type 1 entries) and
/// systemd-boot(7).
fn esp(name: &str, arch: Arch, kind: BootEntryKind, facts: &Facts) -> Result<Esp, Report> {
    let loader = match arch {
        Arch::Amd64 => ["EFI/BOOT/BOOTX64.EFI", "EFI/systemd/systemd-bootx64.efi"],
        Arch::Arm64 => ["EFI/BOOT/BOOTAA64.EFI", "EFI/systemd/systemd-bootaa64.efi"],
    };
    let mut files: Vec<EspFile> = loader
        .into_iter()
        .map(|path| EspFile {
            path: path.into(),
            content: EspContent::SystemdBoot,
        })
        .collect();
    let token = entry_token(name);
    let default = facts.entries.first().map_or("", |e| e.id.as_str());
    let ending = match kind {
        BootEntryKind::Type1 => "conf",
        BootEntryKind::Uki => "efi",
    };
    let text = |path: String, text: String| EspFile {
        path,
        content: EspContent::Text(text),
    };
    files.push(text(
        "loader/loader.conf".into(),
        format!("# Written by docker-to-linux; see loader.conf(5).\ntimeout 2\ndefault {default}.{ending}\nconsole-mode keep\n"),
    ));
    for e in &facts.entries {
        if kind == BootEntryKind::Uki {
            files.push(uki(e, facts)?);
            continue;
        }
        let dir = format!("{token}/{}", file_name(&e.version));
        for (file, from) in [("linux", &e.linux), ("initrd", &e.initrd)] {
            files.push(EspFile {
                path: format!("{dir}/{file}"),
                content: EspContent::Rootfs(from.path.clone()),
            });
        }
        let efi = efi_architecture(arch);
        files.push(text(
            format!("loader/entries/{}.conf", e.id),
            format!(
                "title {}\nversion {}\nsort-key {token}\nlinux /{dir}/linux\ninitrd /{dir}/initrd\noptions {}\narchitecture {efi}\n",
                e.title, e.version, e.arguments
            ),
        ));
    }
    Ok(Esp {
        volume_id: facts.ids.esp_volume,
        label: "ESP".into(),
        files,
    })
}

/// The unified kernel image of an entry, where systemd-boot looks for such (Boot Loader
/// Specification, "Type #2").
fn uki(entry: &BootEntry, facts: &Facts) -> Result<EspFile, Report> {
    let os_release = facts.os_release.clone().ok_or_else(|| {
        Report::mistake("a unified kernel image takes the system's name from /etc/os-release, and the root file system has none")
            .hint("write one in the Dockerfile, see os-release(5); or use `boot-entry: type1`")
    })?;
    Ok(EspFile {
        path: format!("EFI/Linux/{}.efi", entry.id),
        content: EspContent::Uki(Uki {
            os_release,
            arguments: entry.arguments.clone(),
            version: entry.version.clone(),
            linux: entry.linux.path.clone(),
            initrd: entry.initrd.path.clone(),
        }),
    })
}
