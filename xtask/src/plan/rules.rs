//! What a recipe may ask for on an architecture.

use crate::error::Report;
use crate::model::{Arch, BootEntryKind, BootMode, SectorSize, TableKind};
use crate::recipe::Recipe;

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
