//! The way of UEFI firmware: the EFI system partition, the loader on it, and the loader's entries.

use super::entries::{self, Entry};
use super::files::Files;
use super::finding::{Code, Findings};
use super::volume::Volume;
use crate::format::source::Disk;
use crate::fs::fat::read::Fat;
use crate::model::Arch;
use crate::rootfs::program::Machine;

/// Default path of a loader for each processor (UEFI Specification 2.10, 3.5.1.1).
const LOADERS: [(&str, Machine); 5] = [
    ("BOOTX64.EFI", Machine::X86_64),
    ("BOOTAA64.EFI", Machine::Arm64),
    ("BOOTIA32.EFI", Machine::X86),
    ("BOOTARM.EFI", Machine::Arm),
    ("BOOTRISCV64.EFI", Machine::Other("RISC-V")),
];

/// Largest loader that is searched for its name, in bytes.
const MOST: u64 = 8 << 20;
/// Type GUID of an extended boot loader partition (UAPI group, Discoverable Partitions).
const XBOOTLDR: &str = "bc13c2ff-59e6-4262-a352-b275fd6f7172";

/// What UEFI firmware finds.
#[derive(Default)]
pub(super) struct Esp {
    /// The file system, and its name in messages.
    pub(super) fat: Option<(Fat, String)>,
    /// Path of the loader.
    pub(super) path: Option<String>,
    /// Name of the loader.
    pub(super) loader: Option<&'static str>,
    /// The processor that it is for.
    pub(super) machine: Option<Machine>,
    pub(super) entries: Vec<Entry>,
}

impl Esp {
    /// The machine's architecture.
    pub(super) fn arch(&self) -> Option<Arch> {
        match self.machine? {
            Machine::X86_64 => Some(Arch::Amd64),
            Machine::Arm64 => Some(Arch::Arm64),
            _ => None,
        }
    }
}

/// The loader in a FAT that no partition type announces.
pub(super) fn undeclared(disk: &Disk, volumes: &[Volume], found: &mut Findings) {
    for volume in volumes.iter().filter(|v| v.content == "vfat") {
        let fat = Fat::open(disk, volume.offset);
        let has = |fat: Fat| {
            LOADERS
                .iter()
                .any(|(n, _)| fat.is_file(&format!("EFI/BOOT/{n}")))
        };
        if fat.is_some_and(has) {
            found.warning(
                Code::EspType,
                format!(
                    "{} has a UEFI boot loader, but its type {} is not that of an EFI system partition: much firmware does not look there",
                    volume.name(),
                    volume.kind
                ),
                "set the type to C12A7328-F81F-11D2-BA4B-00A0C93EC93B (EF in an MBR)",
            );
        }
    }
}

const REBUILD: &str =
    "copy the boot loader there again (`bootctl install`, `grub-install`), or rebuild the image";

/// Follows the way of the firmware from the partition `volume` on.
pub(super) fn look(disk: &Disk, volume: &Volume, all: &[Volume], found: &mut Findings) -> Esp {
    let mut esp = Esp::default();
    let on = volume.name();
    let Some(fat) = Fat::open(disk, volume.offset) else {
        let what = match &*volume.content {
            "empty" => "is empty".to_owned(),
            "vfat" | "unknown" => "has no FAT file system that can be read".to_owned(),
            other => format!("contains {other}, not FAT"),
        };
        let cause = format!("the EFI system partition ({on}) {what}");
        found.error(
            Code::EspDamaged,
            cause,
            "make a FAT file system with the boot loader, or rebuild the image",
        );
        return esp;
    };
    if let Err(e) = fat.list("/") {
        let cause = format!("the root folder of the EFI system partition ({on}) is damaged: {e}");
        found.error(
            Code::EspDamaged,
            cause,
            "repair it with `fsck.fat`, or rebuild the image",
        );
        return esp;
    }
    let path = |name: &str| format!("/EFI/BOOT/{name}");
    let Some((name, machine)) = LOADERS.into_iter().find(|(n, _)| fat.is_file(&path(n))) else {
        found.error(
            Code::UefiLoaderMissing,
            format!("the EFI system partition ({on}) has no boot loader in EFI/BOOT, where firmware looks"),
            REBUILD,
        );
        esp.fat = Some((fat, on));
        return esp;
    };
    let path = path(name);
    esp.machine = Some(machine);
    esp.loader = loader(&fat, &path, machine, &on, found);
    match esp.loader {
        Some("systemd-boot") => systemd_boot(disk, &fat, &on, all, &mut esp.entries, found),
        Some("unified kernel image") => esp.entries.push(Entry {
            id: name.to_owned(),
            default: true,
            linux: Some(path.clone()),
            unified: true,
            arguments: arguments(&fat, &path),
            ..Entry::default()
        }),
        Some(other) => found.note(
            Code::LoaderUnknown,
            format!("the UEFI boot loader {path} is {other}: what it starts is not followed here"),
            "nothing; `cargo xtask smoke` boots the image",
        ),
        None => {}
    }
    esp.path = Some(path);
    esp.fat = Some((fat, on));
    esp
}

/// Checks the loader's file and recognises it. `None` if it cannot be started.
fn loader(
    fat: &Fat,
    path: &str,
    machine: Machine,
    on: &str,
    found: &mut Findings,
) -> Option<&'static str> {
    let mut wrong = |what: String| {
        let cause = format!("the UEFI boot loader {path} on {on} {what}");
        found.error(Code::UefiLoaderDamaged, cause, REBUILD);
        None
    };
    let bytes = match fat.head(path, MOST) {
        Ok(bytes) => bytes,
        Err(e) => return wrong(format!("cannot be read: {e}")),
    };
    let len = fat.stat(path).map_or(0, |s| s.len);
    let number = |at: usize, n: usize| {
        let bytes = bytes.get(at..at.checked_add(n)?)?;
        Some(
            bytes
                .iter()
                .rev()
                .fold(0_u64, |all, b| all << 8 | u64::from(*b)),
        )
    };
    let pe = number(60, 4)
        .and_then(|at| usize::try_from(at).ok())
        .unwrap_or(0);
    if !bytes.starts_with(b"MZ") || bytes.get(pe..pe.saturating_add(4)) != Some(b"PE\0\0") {
        return wrong("is no EFI program".into());
    }
    let is = number(pe + 4, 2).and_then(|n| Machine::of_pe(n as u16));
    if is.is_some_and(|is| is != machine) {
        let is = is.map(|m| m.to_string()).unwrap_or_default();
        return wrong(format!("is for {is}, but its name is for {machine}"));
    }
    // The sections (Microsoft, "PE Format").
    let count = number(pe + 6, 2).unwrap_or(0).min(96);
    let table = pe + 24 + usize::try_from(number(pe + 20, 2).unwrap_or(0)).unwrap_or(0);
    let mut unified = false;
    for section in (0..count).map(|n| table + usize::try_from(n).unwrap_or(0) * 40) {
        let end = number(section + 16, 4).zip(number(section + 20, 4));
        let end = end.map_or(0, |(size, place)| size + place);
        if end > len {
            return wrong(format!("is truncated: it needs {end} bytes, but has {len}"));
        }
        unified |= bytes.get(section..section + 7) == Some(b".linux\0");
    }
    let says = |text: &[u8]| bytes.windows(text.len()).any(|w| w == text);
    Some(if unified {
        "unified kernel image"
    } else if says(b"#### LoaderInfo: systemd-boot") {
        "systemd-boot"
    } else if says(b"GRUB") {
        "GRUB"
    } else if says(b"rEFInd") {
        "rEFInd"
    } else if says(b"Linux version") || says(b"HdrS") {
        "a Linux kernel"
    } else {
        "unknown"
    })
}

/// The arguments in a unified kernel image (section `.cmdline`).
fn arguments(fat: &Fat, path: &str) -> String {
    // The small sections come before the kernel.
    let Ok(head) = fat.head(path, MOST) else {
        return String::new();
    };
    use object::read::pe::PeFile64;
    use object::{Object, ObjectSection};
    let section = PeFile64::parse(&*head).ok();
    let text = section.and_then(|file| {
        let section = file.section_by_name(".cmdline")?;
        section
            .data()
            .ok()
            .map(|d| String::from_utf8_lossy(d).into_owned())
    });
    text.unwrap_or_default()
        .trim_matches(['\0', '\n', ' '])
        .to_owned()
}

fn systemd_boot(
    disk: &Disk,
    fat: &Fat,
    on: &str,
    all: &[Volume],
    entries: &mut Vec<Entry>,
    found: &mut Findings,
) {
    let dir = "/loader/entries";
    for name in fat.names(dir) {
        if name.to_lowercase().ends_with(".conf") {
            let text = fat.text(&format!("{dir}/{name}")).unwrap_or_default();
            entries.extend(entries::bls(&name, &text));
        }
    }
    let unified = "/EFI/Linux";
    for name in fat.names(unified) {
        if name.to_lowercase().ends_with(".efi") {
            let path = format!("{unified}/{name}");
            entries.push(Entry {
                id: name.clone(),
                arguments: arguments(fat, &path),
                linux: Some(path),
                unified: true,
                ..Entry::default()
            });
        }
    }
    let elsewhere = all.iter().find(|v| v.kind == XBOOTLDR);
    if entries.is_empty() {
        match elsewhere {
            Some(v) if Fat::open(disk, v.offset).is_none() => found.note(
                Code::LoaderUnknown,
                format!("systemd-boot's entries are on {}, which is not read here", v.name()),
                "nothing; `cargo xtask smoke` boots the image",
            ),
            Some(v) => found.note(
                Code::LoaderUnknown,
                format!("systemd-boot's entries may be on {} only", v.name()),
                "nothing; `cargo xtask smoke` boots the image",
            ),
            None => found.error(
                Code::EntriesMissing,
                format!("systemd-boot on {on} has no entries: neither loader/entries/*.conf nor EFI/Linux/*.efi"),
                "write an entry, or rebuild the image",
            ),
        }
        return;
    }
    if elsewhere.is_none() {
        let conf = fat.text("/loader/loader.conf").unwrap_or_default();
        entries::mark_default(entries, &conf);
    }
}
