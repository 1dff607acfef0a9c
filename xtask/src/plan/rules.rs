//! Which settings of a recipe an architecture supports.

use crate::error::Report;
use crate::model::size::Size;
use crate::model::{Arch, BootEntryKind, BootMode, DiskSize, Format, SectorSize, TableKind};
use crate::recipe::Recipe;

/// The boot mode for an architecture and a recipe, or why there is none.
pub fn boot_mode(arch: Arch, recipe: &Recipe) -> Result<BootMode, Report> {
    match (arch, recipe.boot) {
        // `hybrid` means every firmware that the architecture supports.
        (Arch::Arm64, BootMode::Hybrid) => Ok(BootMode::Uefi),
        (Arch::Arm64, BootMode::Bios) => Err(Report::mistake(
            "arm64 does not support the boot mode bios: 64-bit ARM machines have no BIOS",
        )
        .hint("use `boot: uefi`")),
        (_, mode) => Ok(mode),
    }
}

/// Checks whether a recipe can be built for an architecture at all.
pub fn check(arch: Arch, recipe: &Recipe) -> Result<(), Report> {
    let boot = boot_mode(arch, recipe)?;
    if boot == BootMode::Bios && recipe.boot_entry == BootEntryKind::Uki {
        return Err(Report::mistake(
            "the boot mode bios does not support unified kernel images: only UEFI can start one",
        )
        .hint("use `boot: hybrid` or `boot: uefi`, or remove `boot-entry: uki`"));
    }
    let table = table(boot, recipe.table)?;
    if let (TableKind::Mbr, DiskSize::Fixed(Size(size))) = (table, recipe.size)
        && size > MBR_MOST
    {
        return Err(Report::mistake(format!(
            "a disk of {} is too large: {MBR_LIMIT}",
            Size(size)
        ))
        .hint(USE_GPT));
    }
    if recipe.sector_size == SectorSize::B512 {
        return Ok(());
    }
    let bytes = recipe.sector_size.bytes();
    if boot != BootMode::Uefi {
        return Err(Report::mistake(format!(
            "a disk with sectors of {bytes} bytes boots only with UEFI, but the boot mode is {}: BIOS and EXTLINUX need sectors of 512 bytes",
            match boot {
                BootMode::Bios => "bios",
                _ => "hybrid",
            }
        ))
        .hint("use `boot: uefi` (--boot uefi), or remove `sector-size:`"));
    }
    match recipe.formats.iter().find(|f| !f.has_sectors_of(bytes)) {
        None => Ok(()),
        Some(format) => Err(format.no_sectors_of(bytes)),
    }
}

/// Refuses the root file system alone where the machine also needs another partition. `volumes`: whether
/// volumes have their own.
pub(super) fn check_rootfs(recipe: &Recipe, volumes: bool) -> Result<(), Report> {
    if !volumes || !recipe.formats.contains(&Format::Rootfs) {
        return Ok(());
    }
    Err(Report::mistake(
        "the format rootfs has the root file system only, but the volumes would be on a partition of their own",
    )
    .hint("use `volumes: root` (--volumes root), or remove rootfs from the formats"))
}

/// Largest disk that an MBR can address: 2^32 sectors of 512 bytes.
pub(super) const MBR_MOST: u64 = (1 << 32) * 512;

/// Why a larger disk is refused.
pub(super) const MBR_LIMIT: &str = "an MBR can address at most 2 TiB";

/// What to do about it.
pub(super) const USE_GPT: &str = "use `table: gpt` (--table gpt), or a smaller size";

/// The partition table for a boot mode and a recipe, or why there is none.
pub(super) fn table(mode: BootMode, wanted: Option<TableKind>) -> Result<TableKind, Report> {
    match (mode, wanted) {
        (BootMode::Uefi, Some(TableKind::Mbr)) => Err(Report::mistake(
            "the boot mode uefi does not support an MBR: some firmware finds an EFI system partition only in a GPT",
        )
        .hint("use `table: gpt`, or `boot: hybrid` with `table: mbr`")),
        (BootMode::Bios, None) => Ok(TableKind::Mbr),
        (_, None) => Ok(TableKind::Gpt),
        (_, Some(kind)) => Ok(kind),
    }
}
