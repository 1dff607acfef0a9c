//! The ways on which firmware comes from the disk to an init, and what is found on each.

use super::entries::{self, Entry};
use super::files::{Files, Root};
use super::finding::{Code, Finding, Findings, Part, Severity};
use super::{Inspection, Loader};
use super::{boot_code, esp, extlinux, fstab, guest, init, kernel, root, table, volume};
use crate::disk::table::TableIdentity;
use crate::format::source::Disk;
use crate::fs::fat::read::Fat;
use crate::model::Arch;
use crate::plan;
use crate::vm::Firmware;
use volume::Volume;

/// What one way of starting leads to: its entries, and from where.
struct Way {
    firmware: Firmware,
    entries: Vec<Entry>,
    /// Version of the kernel that is started.
    version: Option<String>,
}

/// Follows all ways.
pub(super) fn look(disk: &Disk, seen: &mut Inspection, found: &mut Findings) {
    let table = table::look(disk, found);
    seen.boot_code = boot_code::Kind::of(&table.sector).name().to_owned();
    if let Some(table) = &table.table {
        seen.sector_size = table.sector_size;
        let (kind, id) = match table.kind {
            TableIdentity::Gpt(id) => ("gpt", id.to_string()),
            TableIdentity::Mbr(id) => ("mbr", format!("{id:08x}")),
        };
        (seen.table, seen.id) = (Some(kind.to_owned()), Some(id));
    }
    let volumes = volume::all(disk, table.table.as_ref());
    // As `smoke` decides which firmware to boot with.
    let code = boot_code::Kind::of(&table.sector) != boot_code::Kind::None;
    let signed = table.sector.get(510..) == Some(&[0x55, 0xaa]);
    let bios = code || volumes.iter().any(|v| v.bios_bootable);
    let esp = volumes.iter().find(|v| v.esp);
    let mut ways = Vec::new();
    if bios {
        seen.firmware.push(Firmware::Bios);
    }
    if esp.is_some() {
        seen.firmware.push(Firmware::Uefi);
    }
    if !bios && esp.is_none() && found.all.is_empty() {
        found.error(
            Code::NothingToStart,
            "nothing on the disk can be started: it has neither boot code nor an EFI system partition",
            "build an image with a boot loader; see `boot:` in recipe.yaml",
        );
    }
    if esp.is_none() {
        esp::undeclared(disk, &volumes, found);
    }
    let roots = Roots::new(disk, &volumes);
    if bios && signed {
        found.firmware = vec![Firmware::Bios];
        ways.extend(by_bios(&roots, &table, seen, found));
    }
    if let Some(volume) = esp {
        found.firmware = vec![Firmware::Uefi];
        ways.extend(by_uefi(disk, volume, &volumes, seen, found));
    }
    found.firmware.clear();
    of_roots(&roots, &mut ways, table.only_backup, seen, found);
    for way in ways {
        let of_way = |l: &&mut Loader| l.firmware == way.firmware;
        if let Some(loader) = seen.loaders.iter_mut().find(of_way) {
            loader.entries = way.entries;
        }
    }
    seen.partitions = volumes;
}

/// The volumes, and the ext4 file systems in them, which are opened once.
struct Roots<'a> {
    disk: &'a Disk,
    volumes: &'a [Volume],
    opened: Vec<std::cell::OnceCell<Option<Root>>>,
}

impl<'a> Roots<'a> {
    fn new(disk: &'a Disk, volumes: &'a [Volume]) -> Roots<'a> {
        let opened = volumes.iter().map(|_| std::cell::OnceCell::new()).collect();
        Roots {
            disk,
            volumes,
            opened,
        }
    }

    /// The ext4 in a volume. What is wrong with it is reported the first time.
    fn get(&self, n: usize, found: &mut Findings) -> Option<&Root> {
        let (cell, volume) = self.opened.get(n).zip(self.volumes.get(n))?;
        let open = || {
            let firmware = std::mem::take(&mut found.firmware);
            let root = root::open(self.disk, volume, found);
            found.firmware = firmware;
            root
        };
        cell.get_or_init(open).as_ref()
    }
}

fn by_bios(
    roots: &Roots<'_>,
    table: &table::Table,
    seen: &mut Inspection,
    found: &mut Findings,
) -> Option<Way> {
    let number = match boot_code::look(roots.disk, table, roots.volumes, found) {
        boot_code::Next::Syslinux(number) => number,
        boot_code::Next::Nothing | boot_code::Next::Unknown => return None,
    };
    let n = roots.volumes.iter().position(|v| v.number == number)?;
    let volume = &roots.volumes[n];
    let fat = Fat::open(roots.disk, volume.offset);
    let files: &dyn Files = match &fat {
        Some(fat) => fat,
        None => roots.get(n, found)?,
    };
    let (folder, entries) = extlinux::look(roots.disk, volume, files, found)?;
    let place = kernel::Place {
        files,
        on: volume.name(),
        loader: "EXTLINUX",
        firmware: Firmware::Bios,
        arch: Arch::Amd64,
        folder,
    };
    kernel::look(&place, &entries, found);
    seen.arch = seen.arch.or(Some(Arch::Amd64));
    seen.loaders.push(Loader {
        name: "EXTLINUX".into(),
        firmware: Firmware::Bios,
        partition: number,
        entries: Vec::new(),
    });
    Some(Way {
        firmware: Firmware::Bios,
        version: kernel::version(&place, &entries),
        entries,
    })
}

fn by_uefi(
    disk: &Disk,
    volume: &Volume,
    volumes: &[Volume],
    seen: &mut Inspection,
    found: &mut Findings,
) -> Option<Way> {
    let esp = esp::look(disk, volume, volumes, found);
    seen.arch = esp.arch().or(seen.arch);
    let (fat, on) = esp.fat.as_ref()?;
    let name = esp.loader?;
    seen.loaders.push(Loader {
        name: name.to_owned(),
        firmware: Firmware::Uefi,
        partition: volume.number,
        entries: Vec::new(),
    });
    let place = kernel::Place {
        files: fat,
        on: on.clone(),
        loader: name,
        firmware: Firmware::Uefi,
        arch: esp.arch().unwrap_or(Arch::Amd64),
        folder: "/".into(),
    };
    if esp.arch().is_some() {
        kernel::look(&place, &esp.entries, found);
    }
    Some(Way {
        firmware: Firmware::Uefi,
        version: kernel::version(&place, &esp.entries),
        entries: esp.entries,
    })
}

/// Follows the entries of all ways to their root file systems, and looks into those.
fn of_roots(
    roots: &Roots<'_>,
    ways: &mut [Way],
    only_backup: bool,
    seen: &mut Inspection,
    found: &mut Findings,
) {
    let names = ways.iter().flat_map(|w| &w.entries);
    let names = names.filter_map(|e| entries::argument(&e.arguments, "root"));
    let names: Vec<String> = names.map(str::to_owned).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    root::lost(roots.volumes, &names, found);
    let mut looked: Vec<usize> = Vec::new();
    for way in &mut *ways {
        found.firmware = vec![way.firmware];
        let one = way.entries.len() == 1;
        for entry in &mut way.entries {
            let fatal = one || entry.default;
            if only_backup && !entry.arguments.split_whitespace().any(|w| w == "gpt") && fatal {
                found.error(
                    Code::TablePrimary,
                    format!("Linux does not take the backup of the GPT: entry {:?} lacks the kernel argument `gpt`", entry.id),
                    "restore the table at the start of the disk, e.g. with gdisk's recovery menu",
                );
            }
            let Some(n) = root::of_entry(entry, roots.volumes, fatal, found) else {
                continue;
            };
            entry.root = roots.volumes.get(n).map(|v| v.number);
            if looked.contains(&n) || !fatal {
                continue;
            }
            looked.push(n);
            found.firmware.clear();
            let arguments = entry.arguments.clone();
            let version = way.version.clone();
            of_root(roots, n, &arguments, version.as_deref(), seen, found);
            found.firmware = vec![way.firmware];
        }
    }
    found.firmware.clear();
    // Without a known way, the only ext4 with an init is looked into, for what is not about booting.
    if looked.is_empty() && ways.is_empty() {
        let ext4 = (0..roots.volumes.len()).filter(|n| roots.volumes[*n].content == "ext4");
        for n in ext4.collect::<Vec<_>>() {
            let mut unsure = Findings::default();
            let root = roots.get(n, &mut unsure);
            if seen.guest.is_none() && root.is_some_and(|r| r.has("/sbin/init")) {
                of_root(roots, n, "", None, seen, &mut unsure);
            }
            // It may not be the root, and its loader may do what is not known here.
            let less = unsure
                .all
                .into_iter()
                .filter(|f| f.code.part() != Part::Init);
            found.all.extend(less.map(|f| Finding {
                severity: f.severity.max(Severity::Warning),
                ..f
            }));
        }
    }
}

fn of_root(
    roots: &Roots<'_>,
    n: usize,
    arguments: &str,
    version: Option<&str>,
    seen: &mut Inspection,
    found: &mut Findings,
) {
    let Some(root) = roots.get(n, found) else {
        return;
    };
    if guest::is_elsewhere(arguments) {
        return;
    }
    let machine = seen.arch.map(plan::machine);
    let init = match fstab::has_other_usr(root) {
        true => None,
        false => init::look(root, arguments, machine, found),
    };
    if let Some(version) = version {
        guest::modules(root, version, found);
    }
    let known = init.is_some();
    let serial = seen.arch != Some(Arch::Arm64);
    let guest = guest::look(root, init, arguments, serial, found);
    if known {
        fstab::look(root, roots.volumes, guest.family, found);
    }
    seen.guest = seen.guest.take().or(Some(guest));
}
