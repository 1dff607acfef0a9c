//! The files of the EFI system partition.

use super::file_name::file_name;
use super::outline::{efi_architecture, entry_token};
use super::{BootEntry, Esp, EspContent, EspFile, Facts, Outline, Uki};
use crate::error::Report;
use crate::model::{Arch, BootEntryKind};

/// The files of the ESP, according to the Boot Loader Specification (type 1 entries) and
/// systemd-boot(7).
pub(super) fn esp(outline: &Outline, kind: BootEntryKind, facts: &Facts) -> Result<Esp, Report> {
    let arch = outline.arch;
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
    let token = entry_token(&outline.name);
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
        volume_id: outline.ids.esp_volume,
        label: "ESP".into(),
        files,
    })
}

/// The unified kernel image of an entry, where systemd-boot looks for such (Boot Loader
/// Specification, "Type #2").
fn uki(entry: &BootEntry, facts: &Facts) -> Result<EspFile, Report> {
    let os_release = facts.os_release.clone().ok_or_else(|| {
        Report::mistake("a unified kernel image needs /etc/os-release for the system's name, and the root file system has none")
            .hint("create it in the Dockerfile (see os-release(5)), or use `boot-entry: type1`")
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
