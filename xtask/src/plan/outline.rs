//! What a machine will be, as far as that is decided before anybody looks for its kernels: the
//! guest is made by it.

use super::file_name::file_name;
use super::kernels::Kernel;
use super::rules::{boot_mode, table};
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

/// What is known of a machine before it is made.
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
    /// What is known of its container.
    pub container: &'a ContainerFacts,
}

/// What a machine will be, apart from its kernels and the size of its disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// Name of the image.
    pub name: String,
    /// Architecture of the machine.
    pub arch: Arch,
    /// What firmware it boots on.
    pub boot: BootMode,
    /// Its partition table.
    pub table: TableKind,
    /// Its ids.
    pub ids: Ids,
    /// What it mounts, the root first.
    pub mounts: Vec<Mount>,
    /// The kernel arguments of every boot entry.
    pub arguments: String,
    /// How its boot loaders follow upgrades of its kernel; nothing where they read the root
    /// file system themselves.
    pub boot_update: Option<BootUpdate>,
    /// The PC's serial port for EXTLINUX, by its number, and its speed in bits per second.
    pub extlinux_serial: Option<(u8, u32)>,
    /// What it keeps of its container.
    pub container: Option<Container>,
    /// What people should know of these decisions.
    pub notes: Vec<String>,
}

/// One line of fstab(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted (`UUID=…`).
    pub what: String,
    /// Where.
    pub at: String,
    /// Its file system.
    pub kind: String,
    /// Options; `defaults` if empty. Those of systemd (`x-systemd.automount`) are left out where
    /// it is not the init: busybox's mount hands them to the kernel, which refuses them.
    pub options: Vec<String>,
    /// In which pass it is checked at boot: 1 the root, 2 others, 0 never.
    pub pass: u8,
}

/// What the program in the machine has to know that copies new kernels to the EFI system
/// partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootUpdate {
    /// Entry token (Boot Loader Specification): what the entries and the folder of the kernels
    /// on the ESP are named by.
    pub token: String,
    /// Kernel arguments of every entry.
    pub arguments: String,
    /// Architecture as the Boot Loader Specification names it (`x64`, `aa64`).
    pub architecture: String,
    /// Where the ESP is mounted (`/efi`).
    pub esp: String,
    /// EXTLINUX's configuration file, if the machine boots on BIOS as well.
    pub extlinux: Option<String>,
}

impl Outline {
    /// Decides what the machine will be. Fails where the recipe asks for what cannot be.
    pub fn decide(facts: &MachineFacts<'_>) -> Result<Outline, Report> {
        let &MachineFacts {
            name, arch, recipe, ..
        } = facts;
        let boot = boot_mode(arch, recipe)?;
        let table = table(boot, recipe.table)?;
        let ids = Ids::new(name, arch, &facts.digest);
        let (container, notes) = container(facts.container, recipe.service)?;
        let arguments = kernel_arguments(recipe, &ids, arch, table);
        Ok(Outline {
            mounts: mounts(recipe, boot, &ids),
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
            container,
            notes,
        })
    }

    /// The entries of the boot loaders, the default first. `os` is the name of the system in the
    /// menu (`PRETTY_NAME` of os-release).
    pub fn entries(&self, os: &str, kernels: &[Kernel]) -> Vec<BootEntry> {
        kernels
            .iter()
            .map(|k| BootEntry {
                id: format!("{}-{}", entry_token(&self.name), file_name(&k.version)),
                // One line of a menu.
                title: format!("{os} ({})", k.version).replace(|c: char| c.is_ascii_control(), "?"),
                version: k.version.clone(),
                linux: k.linux.clone(),
                initrd: k.initrd.clone(),
                arguments: self.arguments.clone(),
            })
            .collect()
    }
}

fn mounts(recipe: &Recipe, boot: BootMode, ids: &Ids) -> Vec<Mount> {
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
            // Boot loaders are root's affair; a machine whose ESP is broken still boots.
            options: ["umask=0077", "nofail", "x-systemd.automount"]
                .map(str::to_owned)
                .into(),
            pass: 0,
        });
    }
    mounts
}

/// The serial port for EXTLINUX, if it can drive the console's.
fn extlinux_serial(recipe: &Recipe, arch: Arch) -> Option<(u8, u32)> {
    let serial = &recipe.serial_console;
    let number = serial.port_for(arch).strip_prefix("ttyS")?.parse().ok()?;
    serial.enabled.then_some((number, serial.baud))
}

/// The kernel arguments of every boot entry.
fn kernel_arguments(recipe: &Recipe, ids: &Ids, arch: Arch, table: TableKind) -> String {
    let mut arguments = vec![format!("root=UUID={}", ids.root), "ro".to_owned()];
    // A power cut while a GPT is written may leave only its backup whole. Linux takes that one
    // only when it is told to (block/partitions/efi.c, `force_gpt`).
    if recipe.root.grow && table == TableKind::Gpt {
        arguments.push("gpt".to_owned());
    }
    arguments.extend(recipe.kernel_arguments.iter().cloned());
    // The last console is the one that init writes to.
    arguments.push("console=tty0".into());
    if recipe.serial_console.enabled {
        let serial = &recipe.serial_console;
        arguments.push(format!("console={},{}", serial.port_for(arch), serial.baud));
    }
    arguments.join(" ")
}

/// What the boot entries and their kernels on the ESP are named by (Boot Loader Specification,
/// "entry token"), for an image of this name.
pub(super) fn entry_token(name: &str) -> String {
    file_name(name)
}

/// The architecture in the words of the Boot Loader Specification (`architecture` of a type 1
/// entry), which are those of EFI programs' file names.
pub(super) fn efi_architecture(arch: Arch) -> &'static str {
    match arch {
        Arch::Amd64 => "x64",
        Arch::Arm64 => "aa64",
    }
}
