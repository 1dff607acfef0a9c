//! Machines for arm64 on other hosts: what emulates them.

use super::command::{self, sudo};
use super::items::{Item, Use};
use crate::engine;
use crate::model::Arch;
use crate::progress::Progress;
use crate::tool::{PackageManager, Tool};
use crate::vm::firmware;

/// Where the kernel lists the foreign binary formats that it can run.
const BINFMT: &str = "/proc/sys/fs/binfmt_misc";

/// Whether this host's kernel can run programs for arm64, which a build for arm64 needs.
pub(super) fn runs_here() -> bool {
    engine::host_arch() == Arch::Arm64 || std::path::Path::new(BINFMT).join("qemu-aarch64").exists()
}

/// What building and booting images for arm64 needs in addition.
pub(super) fn items() -> Vec<Item> {
    let apt = PackageManager::of_host() == Some(PackageManager::Apt);
    let packages = |names: &[&'static str]| if apt { names.to_vec() } else { Vec::new() };
    let missing = || "not installed".to_owned();
    let qemu = Tool::QemuAarch64;
    vec![
        Item {
            name: "programs for arm64".into(),
            why: "build images for arm64",
            matters: Use::Boots,
            found: if runs_here() {
                Ok(BINFMT.into())
            } else {
                Err("the kernel cannot run them".into())
            },
            packages: packages(&["arch-test", "binfmt-support", "qemu-user-static"]),
        },
        Item {
            name: qemu.name().into(),
            why: qemu.why(),
            matters: Use::Boots,
            found: qemu.find().map(String::from).ok_or_else(missing),
            packages: PackageManager::of_host()
                .and_then(|m| qemu.package(m))
                .into_iter()
                .collect(),
        },
        Item {
            name: "UEFI firmware for arm64".into(),
            why: "boot images for arm64",
            matters: Use::Boots,
            found: firmware::installed(Arch::Arm64)
                .map(|f| f.code.into_string())
                .ok_or_else(missing),
            packages: packages(&["qemu-efi-aarch64"]),
        },
    ]
}

/// Registers the emulator that runs programs for arm64 with the kernel. With an init system, the
/// packages' own scripts do this; in a container or a minimal machine, binfmt_misc is not mounted
/// yet. A failure here is found by the check that follows.
pub(super) fn register(progress: &dyn Progress) {
    const MOUNT: [&str; 5] = [
        "mount",
        "-t",
        "binfmt_misc",
        "binfmt_misc",
        "/proc/sys/fs/binfmt_misc",
    ];
    const ENABLE: [&str; 3] = ["update-binfmts", "--enable", "qemu-aarch64"];
    for words in [&MOUNT[..], &ENABLE] {
        let words: Vec<&str> = sudo().into_iter().chain(words.iter().copied()).collect();
        if let Err(e) = command::run(&words) {
            progress.note(&e.to_string());
        }
    }
}
