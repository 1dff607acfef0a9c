//! Prepares GitHub's own runners to boot images.

use super::setup::apt;
use crate::error::Report;
use crate::model::{Arch, BootMode};
use crate::progress::Progress;
use crate::tool::{self, PackageManager, Tool};
use crate::vm::{accel, firmware};
use anyhow::Context;
use std::io::Write;
use xshell::{Shell, cmd};

/// Gives all users access to KVM, because the runner's user is not in its group.
const RULE: &str = "KERNEL==\"kvm\", GROUP=\"kvm\", MODE=\"0666\", OPTIONS+=\"static_node=kvm\"\n";
/// Path of the file for that rule.
const RULE_FILE: &str = "/etc/udev/rules.d/99-docker-to-linux-kvm.rules";

/// Installs QEMU and firmware and makes /dev/kvm usable, on GitHub's own runners only, which are
/// discarded after the job. Other machines are not changed: a later error says what is missing.
///
/// # Errors
/// If the packages cannot be installed.
pub fn prepare(arch: Arch, boot: BootMode, progress: &dyn Progress) -> Result<(), Report> {
    let hosted = std::env::var("RUNNER_ENVIRONMENT").is_ok_and(|v| v == "github-hosted");
    if !hosted {
        return Ok(());
    }
    let packages = missing(arch, boot);
    if !packages.is_empty() {
        progress.stage(&format!("installing {}", packages.join(" ")));
        apt(&packages, progress)?;
    }
    // Without KVM the machine is emulated, which is slow but works.
    if let Err(e) = open_kvm() {
        progress.note(&format!(
            "KVM cannot be used, so the machine is emulated: {e:#}"
        ));
    }
    Ok(())
}

/// Missing Debian or Ubuntu packages that booting such a machine needs.
fn missing(arch: Arch, boot: BootMode) -> Vec<&'static str> {
    let mut packages = Vec::new();
    let qemu = accel::qemu(arch);
    if qemu.find().is_none() {
        packages.extend(qemu.package(PackageManager::Apt));
    }
    // It converts images in other formats.
    if Tool::QemuImg.find().is_none() {
        packages.extend(Tool::QemuImg.package(PackageManager::Apt));
    }
    if boot != BootMode::Bios && firmware::installed(arch).is_none() {
        packages.push(match arch {
            Arch::Amd64 => "ovmf",
            Arch::Arm64 => "qemu-efi-aarch64",
        });
    }
    packages
}

/// Makes /dev/kvm usable with a udev rule, as GitHub's documentation does for the Android emulator.
fn open_kvm() -> anyhow::Result<()> {
    let kvm = std::path::Path::new("/dev/kvm");
    if !kvm.exists() {
        return Err(Report::failure("this runner has no /dev/kvm").into());
    }
    let access = rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK;
    if rustix::fs::access(kvm, access).is_ok() {
        return Ok(());
    }
    let mut rule = tempfile::NamedTempFile::new().context("writing a udev rule")?;
    rule.write_all(RULE.as_bytes())?;
    let file = rule.path();
    let sh = Shell::new()?;
    let run = |command| tool::cleared(command).quiet().run();
    run(cmd!(sh, "sudo -n install -m 644 {file} {RULE_FILE}"))?;
    run(cmd!(sh, "sudo -n udevadm control --reload-rules"))?;
    run(cmd!(
        sh,
        "sudo -n udevadm trigger --name-match=kvm --settle"
    ))?;
    rustix::fs::access(kvm, access).context("opening /dev/kvm after adding the udev rule")?;
    Ok(())
}
