//! Targets: what the platforms that run images accept, and how an image is imported there.
//!
//! A platform is a row of the [table](ALL). [`complete`] fills in a recipe what its targets decide,
//! and [`check`] refuses what they cannot run, before anything is built.

mod page;
mod table;
#[cfg(test)]
mod tests;

pub use page::{ImageFile, Imported, page};
pub use table::ALL;

use crate::error::Report;
use crate::model::size::{GIB, MIB, Size};
use crate::model::{Arch, BootMode, DiskSize, Format, SectorSize, Target};
use crate::recipe::Recipe;

/// One tebibyte in bytes.
const TIB: u64 = 1 << 40;

/// What a platform accepts.
#[derive(Debug)]
pub struct Platform {
    /// Its name here.
    pub target: Target,
    /// Its own name, for titles.
    pub title: &'static str,
    /// Formats that it imports. The first is written by default.
    pub formats: &'static [Format],
    /// The firmware that its machines have: [`BootMode::Hybrid`] for both.
    pub firmware: BootMode,
    /// Architectures of its machines.
    pub archs: &'static [Arch],
    /// Kernel arguments that its documentation asks for, apart from the consoles, which every image
    /// has.
    pub kernel_arguments: &'static [&'static str],
    /// Size of the smallest disk in bytes; 0 if there is no such rule.
    pub least: u64,
    /// Size of the largest disk in bytes.
    pub most: u64,
    /// Names that the import commands need, if not every name of an image fits.
    pub names: Option<Names>,
    /// How an image is imported: Markdown, with the words that [`page`] replaces.
    pub import: &'static str,
}

/// Which names a platform accepts.
#[derive(Debug)]
pub struct Names {
    /// The rule, as the end of the sentence "Its names ...".
    pub rule: &'static str,
    /// Whether a valid name of an image follows it.
    pub fits: fn(&str) -> bool,
}

impl Platform {
    /// The row of a target.
    pub fn of(target: Target) -> &'static Platform {
        // A test makes sure that every target has a row.
        let row = ALL.iter().find(|row| row.target == target);
        row.unwrap_or(&ALL[0])
    }

    /// The format of the file that is imported, of those that are written: the first one that it
    /// accepts.
    pub fn format_of(&self, written: &[Format]) -> Option<Format> {
        let accepted = self.formats.iter();
        accepted.copied().find(|f| written.contains(f))
    }
}

/// Which formats are written is decided by the recipe, the targets, or the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormatsBy {
    /// The recipe lists formats and perhaps targets: all of them are written. Raw alone, which is
    /// the default, is not added to the formats of targets.
    Recipe,
    /// The targets were given on the command line, and no formats.
    Targets,
    /// The formats were given on the command line. If targets were too, [`check`] compares them.
    Formats,
}

/// Fills in what the targets of a recipe decide: formats and kernel arguments. Doing it twice changes
/// nothing more.
pub fn complete(recipe: &mut Recipe, formats: FormatsBy) {
    let plain = recipe.formats == Recipe::default().formats && !recipe.targets.is_empty();
    let replace = match formats {
        FormatsBy::Targets => true,
        FormatsBy::Recipe => plain,
        FormatsBy::Formats => false,
    };
    if replace {
        recipe.formats.clear();
    }
    // What another target brings is not taken instead of a target's usual format: else the files
    // would depend on the order of the targets.
    let own = recipe.formats.clone();
    for target in &recipe.targets {
        let row = Platform::of(*target);
        let usual = row.formats.first();
        let usual = usual.filter(|usual| !recipe.formats.contains(usual));
        if formats != FormatsBy::Formats && row.format_of(&own).is_none() {
            recipe.formats.extend(usual);
        }
        for argument in row.kernel_arguments {
            let key = |text: &str| text.split('=').next().map(str::to_owned);
            let given = &recipe.kernel_arguments;
            if !given.iter().any(|g| key(g) == key(argument)) {
                recipe.kernel_arguments.push((*argument).to_owned());
            }
        }
    }
}

/// Fails if one of the recipe's targets cannot run the image `name`, as far as this is known before
/// it is built. `boot` is the boot mode for the architecture.
pub fn check(name: &str, arch: Arch, boot: BootMode, recipe: &Recipe) -> Result<(), Report> {
    for (n, target) in recipe.targets.iter().enumerate() {
        let row = Platform::of(*target);
        if recipe.targets[..n].contains(target) {
            return Err(
                Report::mistake(format!("the target {target} is given twice"))
                    .hint("give each target once"),
            );
        }
        check_machine(row, arch, boot)?;
        if row.format_of(&recipe.formats).is_none() {
            let accepted: Vec<&str> = row.formats.iter().map(|f| f.name()).collect();
            let written: Vec<&str> = recipe.formats.iter().map(|f| f.name()).collect();
            return Err(Report::mistake(format!(
                "the target {target} imports {}, but the image would be written as {}",
                accepted.join(", "),
                written.join(", ")
            ))
            .hint(format!(
                "add {} to --format, or leave --format out",
                accepted[0]
            )));
        }
        if recipe.sector_size != SectorSize::B512 {
            return Err(Report::mistake(format!(
                "the target {target} does not support a disk with sectors of {} bytes: its import gives disks sectors of 512 bytes",
                recipe.sector_size.bytes()
            ))
            .hint("remove `sector-size:` (--sector-size), or the target"));
        }
        if let Some(names) = row.names.as_ref().filter(|names| !(names.fits)(name)) {
            return Err(Report::mistake(format!(
                "{} refuses the name {name:?}: its names {}",
                row.title, names.rule
            ))
            .hint("choose another with `name:` in recipe.yaml or --name"));
        }
    }
    match recipe.size {
        DiskSize::Auto => Ok(()),
        DiskSize::Fixed(Size(size)) => {
            check_size(recipe, size.checked_next_multiple_of(MIB).unwrap_or(size))
        }
    }
}

/// Fails if the platform has no machine of this architecture with such firmware.
fn check_machine(row: &Platform, arch: Arch, boot: BootMode) -> Result<(), Report> {
    let target = row.target;
    if !row.archs.contains(&arch) {
        return Err(Report::mistake(format!(
            "the target {target} does not support {arch}: what it imports runs on {} only",
            match arch {
                Arch::Amd64 => Arch::Arm64,
                Arch::Arm64 => Arch::Amd64,
            }
        ))
        .hint("use another --arch, or another target"));
    }
    match (row.firmware, boot) {
        (BootMode::Uefi, BootMode::Bios) => Err(Report::mistake(format!(
            "the target {target} does not support the boot mode bios: its machines have UEFI only"
        ))
        .hint(match target {
            Target::Azure => "use `boot: hybrid` or `boot: uefi`, or the target azure-gen1",
            Target::Hyperv => "use `boot: hybrid` or `boot: uefi`, or the target hyperv-gen1",
            _ => "use `boot: hybrid` or `boot: uefi`",
        })),
        (BootMode::Bios, BootMode::Uefi) => Err(Report::mistake(format!(
            "the target {target} does not support the boot mode uefi: its machines have a BIOS only"
        ))
        .hint(match target {
            Target::AzureGen1 => "use `boot: hybrid` or `boot: bios`, or the target azure",
            Target::HypervGen1 => "use `boot: hybrid` or `boot: bios`, or the target hyperv",
            _ => "use `boot: hybrid` or `boot: bios`",
        })),
        _ => Ok(()),
    }
}

/// Fails if a disk of `size` bytes is too small or too large for one of the recipe's targets.
pub(super) fn check_size(recipe: &Recipe, size: u64) -> Result<(), Report> {
    for target in &recipe.targets {
        let row = Platform::of(*target);
        let wrong = if size < row.least {
            format!("at least {}", exact(row.least))
        } else if size > row.most {
            format!("at most {}", exact(row.most))
        } else {
            continue;
        };
        return Err(Report::mistake(format!(
            "a disk of {} does not fit the target {target}, which needs {wrong}",
            Size(size)
        ))
        .hint("change `size:` in recipe.yaml or --size, or leave it `auto`"));
    }
    Ok(())
}

/// A limit in bytes, for people to read: never rounded, e.g. `2040 GiB` instead of `2.0 TiB`.
pub fn exact(bytes: u64) -> String {
    let units = [(TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (1, "bytes")];
    let whole = units
        .into_iter()
        .find(|(one, _)| bytes.is_multiple_of(*one));
    let (one, unit) = whole.unwrap_or((1, "bytes"));
    format!("{} {unit}", bytes / one)
}

/// Size in bytes that a disk of automatic size must have at least for the recipe's targets.
pub(super) fn least(recipe: &Recipe) -> u64 {
    let rows = recipe.targets.iter().map(|t| Platform::of(*t));
    rows.map(|row| row.least).max().unwrap_or(0)
}
