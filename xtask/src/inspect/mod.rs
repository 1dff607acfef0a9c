//! Looks into an image without booting it: what is there, and why it cannot boot.
//!
//! Everything is only read, and from an input that nobody vouches for: sizes, names and numbers of
//! steps are bounded. A finding of severity error is what certainly stops a start. What is not
//! known here (another boot loader, another file system) is a note, because it may well boot.

mod boot_code;
mod elf;
mod entries;
mod esp;
mod extlinux;
mod files;
mod finding;
mod fstab;
mod guest;
mod init;
mod initrd;
mod kernel;
mod picture;
mod root;
mod table;
mod volume;
mod ways;

pub use entries::Entry;
pub use finding::{Code, Finding, Part, Severity};
pub use guest::{Family, Guest};
pub use picture::picture;
pub use volume::Volume;

use crate::error::Report;
use crate::format::source::{self, SourceError};
use crate::model::Arch;
use crate::vm::{Firmware, ImageFormat};
use camino::{Utf8Path, Utf8PathBuf};
use finding::Findings;
use schemars::JsonSchema;
use serde::Serialize;

/// Version of the layout of [`Inspection`] as JSON.
const VERSION: u32 = 1;

/// What is in an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Inspection {
    /// Version of this layout: 1.
    pub inspection: u32,
    /// The image.
    #[schemars(with = "String")]
    pub image: Utf8PathBuf,
    /// Whether no finding is an error.
    pub bootable: bool,
    /// Format of the file, by its contents.
    pub format: Option<String>,
    /// Size of the disk in bytes.
    pub size: u64,
    /// Sector size of the partition table in bytes.
    pub sector_size: u64,
    /// The partition table: `gpt`, `mbr`, or nothing.
    pub table: Option<String>,
    /// GUID or signature of the disk.
    pub id: Option<String>,
    /// Kinds of firmware that the image is made for.
    pub firmware: Vec<Firmware>,
    /// Architecture of the machine, if the boot loader tells.
    pub arch: Option<Arch>,
    /// Kind of the boot code in the first sector.
    pub boot_code: String,
    /// The partitions, by their place.
    pub partitions: Vec<Volume>,
    /// Boot loaders that were found, and their entries.
    pub loaders: Vec<Loader>,
    /// The machine in the root file system, if that was found and read.
    pub guest: Option<Guest>,
    /// What is wrong, the worst first.
    pub findings: Vec<Finding>,
}

/// A boot loader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Loader {
    /// Its name.
    pub name: String,
    /// The firmware that starts it.
    pub firmware: Firmware,
    /// The partition that it is on.
    pub partition: u32,
    /// Its entries.
    pub entries: Vec<Entry>,
}

impl Inspection {
    /// What stops a machine with this firmware from booting.
    pub fn stops(&self, firmware: Firmware) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |f| f.stops(firmware))
    }
}

/// The schema of an inspection as JSON.
pub fn schema() -> String {
    let schema = schemars::schema_for!(Inspection);
    // A schema is already a JSON value, so converting it to text cannot fail.
    serde_json::to_string_pretty(&schema).unwrap_or_default()
}

/// Looks into the image at `path`. Fails only if there is no such file or it cannot be read at all;
/// what is wrong with its contents is in the findings.
pub fn inspect(path: &Utf8Path) -> Result<Inspection, Report> {
    if !path.is_file() {
        let what = match path.exists() {
            true => format!("{path} is not a file"),
            false => format!("there is no image at {path}"),
        };
        return Err(
            Report::mistake(what).hint("`cargo xtask image RECIPE` creates one in target/images")
        );
    }
    let mut seen = Inspection {
        inspection: VERSION,
        image: path.to_owned(),
        bootable: true,
        format: None,
        size: 0,
        sector_size: 512,
        table: None,
        id: None,
        firmware: Vec::new(),
        arch: None,
        boot_code: boot_code::Kind::None.name().to_owned(),
        partitions: Vec::new(),
        loaders: Vec::new(),
        guest: None,
        findings: Vec::new(),
    };
    let mut found = Findings::default();
    match source::open(path) {
        Ok(opened) => {
            check_name(path, opened.extension, &mut found);
            seen.format = Some(opened.format);
            seen.size = opened.disk.size();
            ways::look(&opened.disk, &mut seen, &mut found);
        }
        Err(SourceError::Io(e)) => {
            return Err(Report::mistake(format!("reading {path}")).because(e));
        }
        Err(e @ SourceError::Damaged { .. }) => found.error(
            Code::FormatDamaged,
            format!("the image cannot be opened: {e}"),
            "copy or download it again completely, or convert it again",
        ),
        Err(SourceError::Unsupported(what)) => found.note(
            Code::FormatUnread,
            format!("the image is not looked into: {what}"),
            "convert it to raw, e.g. with qemu-img",
        ),
    }
    seen.findings = found.all;
    seen.findings.sort_by_key(|f| f.severity);
    seen.bootable = seen.findings.iter().all(|f| f.severity != Severity::Error);
    Ok(seen)
}

/// Reports a file whose name says another format: programs that open images go by the name.
fn check_name(path: &Utf8Path, extension: &str, found: &mut Findings) {
    let Some(said) = ImageFormat::known(path) else {
        return;
    };
    let is = match extension {
        "qcow2" => ImageFormat::Qcow2,
        "vmdk" => ImageFormat::Vmdk,
        "vdi" => ImageFormat::Vdi,
        "vhd" => ImageFormat::Vpc,
        "vhdx" => ImageFormat::Vhdx,
        _ => ImageFormat::Raw,
    };
    // A fixed VHD is a raw disk with a footer.
    if said == is || (said == ImageFormat::Raw && is == ImageFormat::Vpc) {
        return;
    }
    found.error(
        Code::FormatName,
        format!(
            "the file is named like a {} image, but its contents are {}: what opens it by its name fails, or reads another disk",
            said.name(),
            is.name()
        ),
        "rename the file, or convert it",
    );
}

#[cfg(test)]
mod tests {
    use super::{Code, schema};
    use std::collections::BTreeSet;

    #[test]
    fn the_stored_schema_is_the_current_one() {
        assert_eq!(
            include_str!("inspection.schema.json").trim_end(),
            schema(),
            "run `cargo xtask schema --inspection > xtask/src/inspect/inspection.schema.json`"
        );
    }

    #[test]
    fn the_page_lists_every_code() {
        let page = include_str!("../../../.github/docs/inspect.md");
        let rows = page
            .lines()
            .filter_map(|l| l.strip_prefix("| `")?.split('`').next());
        let rows: BTreeSet<String> = rows.map(str::to_owned).collect();
        let codes: BTreeSet<String> = Code::ALL.iter().map(|c| c.name()).collect();
        assert_eq!(rows, codes);
    }
}
