//! The way of EXTLINUX and SYSLINUX: the boot sector of a partition, ldlinux.sys and its
//! configuration.
//!
//! Source of the offsets: syslinux 6.04, libinstaller/syslxint.h; of the folders:
//! com32/elflink/ldlinux/config.c and extlinux/main.c.

use super::entries::{self, Entry};
use super::files::Files;
use super::finding::{Code, Findings};
use super::volume::Volume;
use crate::format::source::Disk;

/// Folders in which the loader may be installed.
const FOLDERS: [&str; 6] = [
    "/boot/extlinux",
    "/extlinux",
    "/boot/syslinux",
    "/syslinux",
    "/boot",
    "",
];
/// Names of the configuration. The first that exists counts.
const CONFIGS: [&str; 2] = ["extlinux.conf", "syslinux.cfg"];
/// Marks the patch area in ldlinux.sys (`LDLINUX_MAGIC`), and where it is.
const MAGIC: u32 = 0x3eb2_02fe;
const MAGIC_AT: usize = 0x18;
/// Largest ldlinux.sys that is read, in bytes.
const MOST: u64 = 1 << 20;

const AGAIN: &str = "install the loader again with `extlinux --install`, or rebuild the image";

/// What the boot sector starts: the folder of the configuration, and the entries in it.
pub(super) fn look(
    disk: &Disk,
    volume: &Volume,
    files: &dyn Files,
    found: &mut Findings,
) -> Option<(String, Vec<Entry>)> {
    let on = volume.name();
    let folder = FOLDERS
        .into_iter()
        .find(|f| files.is_file(&format!("{f}/ldlinux.sys")));
    let Some(folder) = folder else {
        found.error(
            Code::ExtlinuxFiles,
            format!("{on} has EXTLINUX' boot sector, but no ldlinux.sys that it could start"),
            AGAIN,
        );
        return None;
    };
    let path = format!("{folder}/ldlinux.sys");
    if let Some(what) = damage(disk, volume, files, &path) {
        found.error(Code::ExtlinuxFiles, format!("{path} on {on} {what}"), AGAIN);
    }
    // Version 4 and older have it in ldlinux.sys.
    let core = format!("{folder}/ldlinux.c32");
    let old = files.names(folder).iter().all(|n| !n.ends_with(".c32"));
    if !files.is_file(&core) && !files.is_file("/ldlinux.c32") && !old_version(files, &path) {
        let cause = match old {
            true => format!("{core} on {on} is missing: EXTLINUX cannot start"),
            false => format!("{core} on {on} is missing: EXTLINUX cannot start without its core"),
        };
        found.error(Code::ExtlinuxFiles, cause, AGAIN);
    }
    let places = [folder, "/boot/syslinux", "/syslinux", "/"];
    let mut configs = places
        .iter()
        .flat_map(|f| CONFIGS.map(|c| format!("{}/{c}", f.trim_end_matches('/'))));
    let Some(config) = configs.find(|c| files.is_file(c)) else {
        found.error(
            Code::EntriesMissing,
            format!("EXTLINUX on {on} has no configuration: there is no {folder}/extlinux.conf"),
            "write one with an entry for the kernel, or rebuild the image",
        );
        return None;
    };
    let text = files.text(&config).unwrap_or_default();
    let all = entries::extlinux(&text);
    if all.is_empty() {
        let includes = text.lines().any(|l| {
            let l = l.trim().to_ascii_lowercase();
            l.starts_with("include") || l.starts_with("config") || l.contains(".c32")
        });
        match includes {
            true => found.note(
                Code::LoaderUnknown,
                format!("{config} on {on} leads to other files, which are not followed here"),
                "nothing; `cargo xtask smoke` boots the image",
            ),
            false => found.error(
                Code::EntriesMissing,
                format!("{config} on {on} has no entry with a kernel"),
                "write one (LABEL, LINUX, INITRD, APPEND), or rebuild the image",
            ),
        }
    }
    Some((folder.to_owned(), all))
}

fn number(bytes: &[u8], at: usize, len: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(len)?)?;
    Some(bytes.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)))
}

/// Whether the loader is of version 4 or older, which has no core in a file of its own.
fn old_version(files: &dyn Files, path: &str) -> bool {
    let head = files.head(path, 64).unwrap_or_default();
    let text = String::from_utf8_lossy(&head);
    let version = text.split("SYSLINUX ").nth(1).unwrap_or_default();
    version.starts_with(['1', '2', '3', '4'])
}

/// What is wrong with ldlinux.sys; nothing if it is whole, and the boot sector leads to it.
fn damage(disk: &Disk, volume: &Volume, files: &dyn Files, path: &str) -> Option<String> {
    let file = match files.head(path, MOST) {
        Ok(file) => file,
        Err(e) => return Some(format!("cannot be read: {e}")),
    };
    let magic = number(&file, MAGIC_AT, 4);
    if magic != Some(MAGIC.into()) {
        return Some("is not EXTLINUX' first stage: its mark is missing".into());
    }
    let field = |at: usize, len: usize| number(&file, MAGIC_AT + at, len);
    let words = usize::try_from(field(12, 4)?).ok()?;
    let Some(data) = words.checked_mul(4).and_then(|n| file.get(..n)) else {
        return Some("is truncated".into());
    };
    // The loader's own test: all words together give the mark.
    let words = data.chunks_exact(4).filter_map(|c| c.try_into().ok());
    let sum = words.map(u32::from_le_bytes).fold(0, u32::wrapping_add);
    if sum != MAGIC {
        return Some("does not fit its checksum".into());
    }
    // The boot sector holds the number of its first sector, in two halves.
    let extended = usize::try_from(field(22, 2)?).ok()?;
    let [low, high] = [14, 16].map(|at| {
        let place = number(&file, extended + at, 2)?;
        usize::try_from(place).ok()
    });
    let mut sector = [0; 512];
    disk.read_at(volume.offset, &mut sector).ok()?;
    let first = number(&sector, low?, 4)? | number(&sector, high?, 4)? << 32;
    let mut there = [0; 512];
    let place = first.checked_mul(512)?.checked_add(volume.offset)?;
    let read = disk.read_at(place, &mut there);
    (read.is_err() || file.get(..512) != Some(&there)).then(|| {
        format!("is not where the boot sector looks for it (sector {first} of the partition)")
    })
}
