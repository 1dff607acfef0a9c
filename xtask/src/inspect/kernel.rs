//! Kernel and initrd of a boot entry, as a boot loader would load them.

use super::entries::{Entry, argument};
use super::files::{Files, Kind};
use super::finding::{Code, Findings, Severity};
use super::initrd::{self, Whole};
use crate::model::{Arch, BootMode};
use crate::plan::kernel_file;
use crate::vm::Firmware;

/// Where entries come from.
pub(super) struct Place<'a> {
    /// The file system that the loader reads.
    pub(super) files: &'a dyn Files,
    /// Its name, e.g. `partition 1`.
    pub(super) on: String,
    /// Name of the loader.
    pub(super) loader: &'static str,
    /// What starts the loader.
    pub(super) firmware: Firmware,
    /// The machine's processor.
    pub(super) arch: Arch,
    /// The folder that relative paths begin at.
    pub(super) folder: String,
}

impl Place<'_> {
    /// The absolute path of a file of an entry.
    fn path(&self, path: &str) -> String {
        match path.starts_with(['/', '\\']) {
            true => path.to_owned(),
            false => format!("{}/{path}", self.folder.trim_end_matches('/')),
        }
    }
}

const REBUILD: &str =
    "install the kernel's package again (it makes the initrd, too), or rebuild the image";

/// A problem of an entry: its code, the cause and the cure.
type Problem = (Code, String, String);

/// Checks all entries. An error is what certainly stops every start: the entry that is started by
/// itself, or all of them.
pub(super) fn look(place: &Place<'_>, entries: &[Entry], found: &mut Findings) {
    let mut checked: Vec<(String, Vec<Problem>)> = Vec::new();
    let mut of_each = Vec::new();
    for entry in entries {
        of_each.push(problems(place, entry, &mut checked));
    }
    let default = entries.iter().position(|e| e.default);
    let stuck = match default {
        Some(n) => !of_each[n].is_empty(),
        None => !of_each.is_empty() && of_each.iter().all(|p| !p.is_empty()),
    };
    for (n, problems) in of_each.into_iter().enumerate() {
        let fatal = stuck && default.is_none_or(|d| d == n);
        for (code, cause, cure) in problems {
            let severity = match code {
                // Linux goes on without it, and may find a root that it can name itself.
                Code::InitrdDamaged if !needs_initrd(&entries[n]) => Severity::Warning,
                _ if fatal => Severity::Error,
                _ => Severity::Warning,
            };
            found.add(severity, code, cause, cure);
        }
    }
}

/// Whether only programs in an initrd understand the name of the root file system.
fn needs_initrd(entry: &Entry) -> bool {
    let root = argument(&entry.arguments, "root").unwrap_or_default();
    [
        "UUID=",
        "LABEL=",
        "PARTLABEL=",
        "/dev/disk/",
        "/dev/mapper/",
    ]
    .iter()
    .any(|name| root.starts_with(name))
}

fn problems(
    place: &Place<'_>,
    entry: &Entry,
    checked: &mut Vec<(String, Vec<Problem>)>,
) -> Vec<Problem> {
    let mut all = Vec::new();
    let mut look = |path: &str, check: &dyn Fn(&str) -> Option<Problem>| {
        let path = place.path(path);
        // Entries share files.
        if let Some((_, old)) = checked.iter().find(|(p, _)| *p == path) {
            all.extend(old.iter().cloned());
            return;
        }
        let new: Vec<Problem> = check(&path).into_iter().collect();
        all.extend(new.iter().cloned());
        checked.push((path, new));
    };
    if let Some(linux) = &entry.linux {
        look(linux, &|path| kernel(place, entry, path));
    }
    for path in &entry.initrd {
        look(path, &|path| of_initrd(place, entry, path));
    }
    all
}

/// How messages call a file.
fn called(place: &Place<'_>, entry: &Entry, what: &str, path: &str) -> String {
    format!(
        "the {what} {path} of {}'s entry {:?} (on {})",
        place.loader, entry.id, place.on
    )
}

fn missing(place: &Place<'_>, entry: &Entry, what: &str, path: &str) -> Option<(Code, String)> {
    let code = match what {
        "kernel" => Code::KernelMissing,
        _ => Code::InitrdMissing,
    };
    let name = called(place, entry, what, path);
    match place.files.stat(path) {
        None => Some((code, format!("{name} does not exist"))),
        Some(stat) if stat.kind != Kind::File => Some((code, format!("{name} is no file"))),
        Some(_) => None,
    }
}

fn kernel(place: &Place<'_>, entry: &Entry, path: &str) -> Option<Problem> {
    let cure =
        "correct the path in the loader's configuration, or install the kernel's package again";
    if let Some((code, cause)) = missing(place, entry, "kernel", path) {
        return Some((code, cause, cure.into()));
    }
    let name = called(place, entry, "kernel", path);
    let wrong = |what: String, cure: &str| {
        Some((
            Code::KernelDamaged,
            format!("{name} {what}"),
            cure.to_owned(),
        ))
    };
    let head = match place.files.head(path, kernel_file::HEAD as u64) {
        Ok(head) => head,
        Err(e) => return wrong(format!("cannot be read: {e}"), REBUILD),
    };
    let len = place.files.stat(path)?.len;
    let efi = place.firmware == Firmware::Uefi;
    if efi && !head.starts_with(b"MZ") {
        return wrong(
            "is no EFI program, and UEFI starts nothing else".into(),
            REBUILD,
        );
    }
    // syslinux 6.04, com32/lib/syslinux/load_linux.c: it refuses any other file.
    if !efi && head.get(0x1fe..0x200) != Some(&[0x55, 0xaa]) {
        return wrong(
            "is no kernel: it has no boot sector of Linux".into(),
            REBUILD,
        );
    }
    let boot = match efi {
        true => BootMode::Uefi,
        false => BootMode::Bios,
    };
    let refused = match kernel_file::kernel(&head, len, place.arch, boot) {
        // As an entry of its own it is as good as any other EFI program.
        Err(refusal) if efi && refusal.what.contains("unified kernel image") => None,
        Err(refusal) => Some(refusal),
        Ok(_) => None,
    };
    if let Some(refusal) = refused {
        return wrong(refusal.what, &refusal.cure);
    }
    // The last sectors of a file may be missing although its length is right.
    match place.files.open(path).and_then(|f| to_end(f, len)) {
        Ok(()) => None,
        Err(e) => wrong(format!("cannot be read to its end: {e}"), REBUILD),
    }
}

/// Reads a file to its end.
fn to_end(mut file: impl std::io::Read, len: u64) -> std::io::Result<()> {
    // Kernels with their initrd in them can have hundreds of MiB.
    const MOST: u64 = 256 << 20;
    let mut file = std::io::Read::take(&mut file, MOST);
    let n = std::io::copy(&mut file, &mut std::io::sink())?;
    match n < len.min(MOST) {
        true => Err(std::io::ErrorKind::UnexpectedEof.into()),
        false => Ok(()),
    }
}

fn of_initrd(place: &Place<'_>, entry: &Entry, path: &str) -> Option<Problem> {
    if let Some((code, cause)) = missing(place, entry, "initrd", path) {
        return Some((code, cause, REBUILD.into()));
    }
    let name = called(place, entry, "initrd", path);
    let wrong = |what: &str| {
        Some((
            Code::InitrdDamaged,
            format!("{name} {what}"),
            REBUILD.to_owned(),
        ))
    };
    let head = place.files.head(path, kernel_file::HEAD as u64);
    if let Ok(head) = &head
        && let Err(refusal) = kernel_file::initrd(head)
    {
        return wrong(&refusal.what);
    }
    let file = match place.files.open(path) {
        Ok(file) => file,
        Err(e) => return wrong(&format!("cannot be read: {e}")),
    };
    match initrd::check(file) {
        Whole::Yes { .. } | Whole::Partly(_) => None,
        Whole::Damaged(why) => wrong(&format!("cannot be unpacked: {why}")),
        // An initrd of the old kind is the image of a file system.
        Whole::Unknown if head.is_ok_and(|h| is_file_system(&h)) => None,
        Whole::Unknown => wrong("is no archive that Linux unpacks"),
    }
}

/// Whether it is the image of a file system that Linux takes as an initrd (init/do_mounts_rd.c).
fn is_file_system(head: &[u8]) -> bool {
    let at = |at: usize, magic: &[u8]| head.get(at..at + magic.len()) == Some(magic);
    at(0, b"-rom1fs-")
        || at(0, b"hsqs")
        || at(0, &[0x45, 0x3d, 0xcd, 0x28])
        || at(1080, &[0x53, 0xef])
}

/// The version of the first kernel, if its header tells.
pub(super) fn version(place: &Place<'_>, entries: &[Entry]) -> Option<String> {
    let entry = entries.iter().find(|e| e.default).or(entries.first())?;
    let path = place.path(entry.linux.as_ref()?);
    super::guest::version(&place.files.head(&path, 64 << 10).ok()?)
}
