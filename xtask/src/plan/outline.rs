//! The decisions that do not depend on the machine's kernels. The guest is configured from them.

use super::file_name::file_name;
use super::kernels::Kernel;
use super::rules::{boot_mode, check_rootfs, table};
use super::volumes::{VOLUMES_DIR, Volumes, volumes};
use super::{BootEntry, Container, ContainerFacts, Ids, container};
use crate::error::Report;
use crate::model::{Arch, BootMode, TableKind};
use crate::recipe::Recipe;

/// Directory of EXTLINUX in the root file system.
pub const EXTLINUX_DIR: &str = "/boot/extlinux";

/// EXTLINUX's configuration file.
pub const EXTLINUX_CONF: &str = "/boot/extlinux/extlinux.conf";

/// Where the machine mounts its EFI system partition (UAPI group, Boot Loader Specification,
/// "The Partitions").
const ESP_MOUNT: &str = "/efi";

/// The inputs for these decisions.
#[derive(Debug, Clone, Copy)]
pub struct MachineFacts<'a> {
    /// Name of the image.
    pub name: &'a str,
    /// Architecture of the machine.
    pub arch: Arch,
    /// The recipe.
    pub recipe: &'a Recipe,
    /// Digest of the root file system ([`crate::rootfs::Tree::digest`]).
    pub digest: [u8; 32],
    /// What is known about its container.
    pub container: &'a ContainerFacts,
}

/// The decisions about a machine, apart from its kernels and the size of its disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// Name of the image.
    pub name: String,
    /// Architecture of the machine.
    pub arch: Arch,
    /// The firmware that it boots with.
    pub boot: BootMode,
    /// Its partition table.
    pub table: TableKind,
    /// The IDs of the image.
    pub ids: Ids,
    /// The file systems that it mounts, the root first.
    pub mounts: Vec<Mount>,
    /// The kernel arguments of every boot entry.
    pub arguments: String,
    /// How boot loaders learn about kernel upgrades. `None` if they read the root file system
    /// themselves.
    pub boot_update: Option<BootUpdate>,
    /// The number of the PC's serial port for EXTLINUX, and its speed in bits per second.
    pub extlinux_serial: Option<(u8, u32)>,
    /// The file system with its volumes, if there are any.
    pub volumes: Option<Volumes>,
    /// What it keeps of its container.
    pub container: Option<Container>,
    /// Notes about these decisions for the user.
    pub notes: Vec<String>,
}

/// One line of fstab(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted, e.g. `UUID=…`.
    pub what: String,
    /// The mount point.
    pub at: String,
    /// The file system type.
    pub kind: String,
    /// Options; `defaults` if empty. Those of systemd (`x-systemd.automount`) are left out where
    /// Options; empty means `defaults`. Options of systemd (`x-systemd.automount`) are left out if
    /// it is not the init, because busybox's mount passes them to the kernel, which refuses them.
    pub options: Vec<String>,
    /// fsck pass number: 1 for the root, 2 for others, 0 for no check.
    pub pass: u8,
}

/// Settings for the guest's program that copies new kernels to the EFI system partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootUpdate {
    /// Entry token (Boot Loader Specification), used to name the entries and the folder of the
    /// kernels on the ESP.
    pub token: String,
    /// Kernel arguments of every entry.
    pub arguments: String,
    /// Architecture in the terms of the Boot Loader Specification (`x64`, `aa64`).
    pub architecture: String,
    /// Mount point of the ESP (`/efi`).
    pub esp: String,
    /// EXTLINUX's configuration file, if the machine also boots with BIOS.
    pub extlinux: Option<String>,
}

impl Outline {
    /// Makes these decisions. Fails if the recipe asks for something impossible.
    pub fn decide(facts: &MachineFacts<'_>) -> Result<Outline, Report> {
        let &MachineFacts {
            name, arch, recipe, ..
        } = facts;
        let boot = boot_mode(arch, recipe)?;
        let table = table(boot, recipe.table)?;
        let ids = Ids::new(name, arch, &facts.digest);
        let (container, mut notes) = container(facts.container, recipe.service)?;
        let (volumes, about_volumes) = volumes(recipe, container.as_ref(), &ids)?;
        notes.extend(about_volumes);
        check_rootfs(recipe, volumes.is_some())?;
        let arguments = kernel_arguments(recipe, &ids, arch, table);
        Ok(Outline {
            mounts: mounts(recipe, boot, &ids, volumes.as_ref()),
            boot_update: (boot != BootMode::Bios).then(|| BootUpdate {
                token: entry_token(name),
                arguments: arguments.clone(),
                architecture: efi_architecture(arch).to_owned(),
                esp: ESP_MOUNT.to_owned(),
                extlinux: (boot == BootMode::Hybrid).then(|| EXTLINUX_CONF.to_owned()),
            }),
            extlinux_serial: extlinux_serial(recipe, arch),
            name: name.to_owned(),
            arch,
            boot,
            table,
            ids,
            arguments,
            volumes,
            container,
            notes,
        })
    }

    /// The boot loader entries, the default first. `os` is the system's name in the menu
    /// (`PRETTY_NAME` of os-release).
    pub fn entries(&self, os: &str, kernels: &[Kernel]) -> Vec<BootEntry> {
        kernels
            .iter()
            .map(|k| BootEntry {
                id: format!("{}-{}", entry_token(&self.name), file_name(&k.version)),
                // A menu title is a single line.
                title: format!("{os} ({})", k.version).replace(|c: char| c.is_ascii_control(), "?"),
                version: k.version.clone(),
                linux: k.linux.clone(),
                initrd: k.initrd.clone(),
                arguments: self.arguments.clone(),
            })
            .collect()
    }
}

fn mounts(recipe: &Recipe, boot: BootMode, ids: &Ids, volumes: Option<&Volumes>) -> Vec<Mount> {
    let mut mounts = vec![Mount {
        what: format!("UUID={}", ids.root),
        at: "/".into(),
        kind: "ext4".into(),
        options: recipe.root.mount_options.clone(),
        pass: 1,
    }];
    if boot != BootMode::Bios {
        mounts.push(Mount {
            what: format!("UUID={}", ids.esp_uuid()),
            at: ESP_MOUNT.into(),
            kind: "vfat".into(),
            // Only root needs the boot loaders, and a machine with a broken ESP still boots.
            options: ["umask=0077", "nofail", "x-systemd.automount"]
                .map(str::to_owned)
                .into(),
            pass: 0,
        });
    }
    if let Some(volumes) = volumes {
        mounts.push(Mount {
            what: format!("UUID={}", volumes.uuid),
            at: VOLUMES_DIR.into(),
            kind: "ext4".into(),
            // Without it the machine starts, and tells what is missing; the container does not.
            options: ["errors=remount-ro", "nofail"].map(str::to_owned).into(),
            pass: 2,
        });
    }
    mounts
}

/// The serial port for EXTLINUX, if EXTLINUX can drive the console's port.
fn extlinux_serial(recipe: &Recipe, arch: Arch) -> Option<(u8, u32)> {
    let serial = &recipe.serial_console;
    let number = serial.port_for(arch).strip_prefix("ttyS")?.parse().ok()?;
    serial.enabled.then_some((number, serial.baud))
}

/// The kernel arguments of every boot entry.
fn kernel_arguments(recipe: &Recipe, ids: &Ids, arch: Arch, table: TableKind) -> String {
    let mut arguments = vec![format!("root=UUID={}", ids.root), "ro".to_owned()];
    // A power cut while a GPT is written may leave only its backup intact. Linux uses the backup
    // only if asked to (block/partitions/efi.c, `force_gpt`).
    if recipe.root.grow && table == TableKind::Gpt {
        arguments.push("gpt".to_owned());
    }
    arguments.extend(recipe.kernel_arguments.iter().cloned());
    // Init writes to the last console.
    arguments.push("console=tty0".into());
    if recipe.serial_console.enabled {
        let serial = &recipe.serial_console;
        arguments.push(format!("console={},{}", serial.port_for(arch), serial.baud));
    }
    arguments.join(" ")
}

/// The name for the boot entries and their kernels on the ESP (Boot Loader Specification, "entry
/// token"), for an image of this name.
pub(super) fn entry_token(name: &str) -> String {
    file_name(name)
}

/// The architecture in the terms of the Boot Loader Specification (`architecture` of a type 1
/// entry), which EFI file names use too.
pub(super) fn efi_architecture(arch: Arch) -> &'static str {
    match arch {
        Arch::Amd64 => "x64",
        Arch::Arm64 => "aa64",
    }
}
