//! What is installed on this host and what is missing.

use super::checkers;
use crate::bootloader::files::From;
use crate::engine::Engine;
use crate::model::{Arch, BootMode};
use crate::tool::{self, PackageManager, Tool};
use crate::vm::firmware;

/// What an item is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// To make images.
    Images,
    /// To boot images on this host.
    Boots,
    /// To make the recipes' base images if no registry can be reached.
    Bases,
    /// To work on this project: its tests need it.
    Dev,
    /// The same, but it is installed from PyPI.
    Pypi,
}

/// Something that may be installed on this host.
#[derive(Debug, Clone)]
pub struct Item {
    /// Its name, for people.
    pub name: String,
    /// What it is needed for, as the end of a sentence "needed to ...".
    pub why: &'static str,
    /// What it is needed for.
    pub matters: Use,
    /// Where it was found, or why it cannot be used.
    pub found: Result<String, String>,
    /// Packages of this host's distribution that provide it. Empty if it is installed in another
    /// way.
    pub packages: Vec<&'static str>,
}

/// Checks this host for all items.
pub fn items() -> Vec<Item> {
    let manager = PackageManager::of_host();
    let mut items = vec![engine(manager)];
    for tool in Tool::ALL {
        let matters = match tool {
            // The engine is one item, because either of them is enough.
            Tool::Docker | Tool::Podman => continue,
            Tool::QemuAarch64 => continue,
            // It also needs its module venv.
            Tool::Python => {
                items.push(python(manager));
                continue;
            }
            Tool::QemuX86 | Tool::QemuImg => Use::Boots,
            Tool::Mmdebstrap | Tool::Pip => Use::Bases,
            _ => Use::Dev,
        };
        items.push(Item {
            name: tool.name().to_owned(),
            why: tool.why(),
            matters,
            found: tool
                .find()
                .map(String::from)
                .ok_or_else(|| "not installed".to_owned()),
            packages: manager.and_then(|m| tool.package(m)).into_iter().collect(),
        });
    }
    items.push(uefi(manager));
    items.push(loaders(manager));
    items.push(archivers(manager));
    let from_pypi = |name: &str, why, found| Item {
        name: name.to_owned(),
        why,
        matters: Use::Pypi,
        found,
        packages: Vec::new(),
    };
    items.push(from_pypi(
        "spdx-tools",
        "check lists of packages in tests",
        checkers::spdx(),
    ));
    items.push(from_pypi(
        "act, actionlint, zizmor",
        "check the GitHub Action and the workflows",
        checkers::workflows(),
    ));
    items
}

fn engine(manager: Option<PackageManager>) -> Item {
    let installed = Tool::Docker.find().is_some() || Tool::Podman.find().is_some();
    Item {
        name: "container engine".into(),
        why: "build and export containers",
        matters: Use::Images,
        found: match Engine::find(None) {
            Ok(engine) => Ok(engine.name()),
            Err(e) => Err(crate::error::describe(&e.into()).0),
        },
        // If an engine is installed but does not answer, a package does not help.
        packages: if installed {
            Vec::new()
        } else {
            manager
                .and_then(|m| Tool::Docker.package(m))
                .into_iter()
                .collect()
        },
    }
}

fn python(manager: Option<PackageManager>) -> Item {
    let tool = Tool::Python;
    // `python3 -m venv` needs them, and Debian has them in separate packages.
    let whole = |path: &camino::Utf8PathBuf| {
        let mut command = tool::command(path);
        let command = command.args(["-c", "import ensurepip, venv"]);
        command.output().is_ok_and(|out| out.status.success())
    };
    Item {
        name: "python3 with venv".into(),
        why: tool.why(),
        matters: Use::Dev,
        found: tool
            .find()
            .filter(whole)
            .map(String::from)
            .ok_or_else(|| "not installed".to_owned()),
        packages: manager.and_then(|m| tool.package(m)).into_iter().collect(),
    }
}

fn uefi(manager: Option<PackageManager>) -> Item {
    Item {
        name: "UEFI firmware".into(),
        why: "boot images with UEFI",
        matters: Use::Boots,
        found: firmware::installed(Arch::Amd64)
            .map(|f| f.code.into_string())
            .ok_or_else(|| "not installed".to_owned()),
        packages: match manager {
            Some(PackageManager::Apt | PackageManager::Apk) => vec!["ovmf"],
            Some(PackageManager::Dnf | PackageManager::Pacman) => vec!["edk2-ovmf"],
            // QEMU's own package contains it.
            Some(PackageManager::Brew) | None => Vec::new(),
        },
    }
}

/// Programs that write archives and show what was unpacked.
fn archivers(manager: Option<PackageManager>) -> Item {
    const PROGRAMS: [(&str, &str); 9] = [
        ("bsdtar", "libarchive-tools"),
        ("bzip2", "bzip2"),
        ("compress", "ncompress"),
        ("getfacl", "acl"),
        ("getfattr", "attr"),
        ("lz4", "lz4"),
        ("lzip", "lzip"),
        ("lzop", "lzop"),
        ("pigz", "pigz"),
    ];
    let missing: Vec<(&str, &'static str)> = PROGRAMS
        .into_iter()
        .filter(|(program, _)| tool::on_path(program).is_none())
        .collect();
    let names: Vec<&str> = missing.iter().map(|(program, _)| *program).collect();
    Item {
        name: "archive programs".into(),
        why: "write tars in tests and check how they are read",
        matters: Use::Dev,
        found: match names.is_empty() {
            true => Ok("installed".into()),
            false => Err(format!("{} not installed", names.join(", "))),
        },
        packages: match manager {
            Some(PackageManager::Apt) => missing.iter().map(|(_, package)| *package).collect(),
            // The package names differ, and setup installs on Debian and Ubuntu only.
            _ => Vec::new(),
        },
    }
}

/// The boot loaders as packages of this host. Images get them from a container, tests from here.
fn loaders(manager: Option<PackageManager>) -> Item {
    let missing = From::Host.missing(BootMode::Hybrid, Arch::Amd64);
    Item {
        name: "boot loader packages".into(),
        why: "make images in tests and without a container engine",
        matters: Use::Dev,
        found: if missing.is_empty() {
            Ok("installed".into())
        } else {
            Err(format!("{} not installed", missing.join(", ")))
        },
        packages: match manager {
            Some(PackageManager::Apt) => vec!["extlinux", "syslinux-common", "systemd-boot-efi"],
            Some(PackageManager::Dnf) => vec!["syslinux-extlinux", "systemd-boot-unsigned"],
            Some(PackageManager::Pacman) => vec!["syslinux", "systemd"],
            Some(PackageManager::Apk) => vec!["syslinux", "systemd-boot"],
            Some(PackageManager::Brew) | None => Vec::new(),
        },
    }
}
