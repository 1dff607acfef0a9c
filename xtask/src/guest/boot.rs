//! Kernel upgrades in the machine: keeps the boot loaders up to date.
//!
//! systemd-boot can read only FAT, so the EFI system partition (ESP) holds copies of the root file
//! system's kernels and initrds. A program in the machine keeps them in sync, and hooks of the
//! machine's own tools call it:
//!
//! * `/etc/kernel/postinst.d` and `postrm.d`, which kernel packages of Debian's family run after a
//!   kernel was installed or removed (Debian Linux Kernel Handbook, "Kernel hooks"), and
//!   `/etc/initramfs/post-update.d`, which update-initramfs(8) runs after each initrd.
//! * `/etc/apk/commit_hooks.d`, which apk runs with `post-commit` after the triggers of all
//!   packages (apk-tools, `apk_solver_commit_changeset`). It exists without any package;
//!   `/etc/kernel-hooks.d` needs the package kernel-hooks, and its trigger may run before the one
//!   that builds the initrd, so it is not used.
//! * mkinitfs has no hook. With OpenRC, a service calls the program at shutdown, so that an initrd
//!   that was built by hand is on the ESP at the next boot.

use super::{Init, Report, Rootfs, edit};
use crate::plan::BootUpdate;

/// The program that copies kernels and initrds.
pub const PROGRAM: &str = "/usr/lib/docker-to-linux/update-boot";
/// Its settings.
pub const SETTINGS: &str = "/etc/docker-to-linux/boot.conf";

const PROGRAM_TEXT: &str = include_str!("files/update-boot.sh");
const HOOK_TEXT: &str = include_str!("files/boot-hook.sh");
const APK_HOOK_TEXT: &str = include_str!("files/apk-hook.sh");
const SERVICE_TEXT: &str = include_str!("files/update-boot.initd");

/// File name of a hook. run-parts(8) accepts only letters, digits, `-` and `_`, and runs hooks in
/// the order of their names: this one runs after those that build initrds.
const HOOK: &str = "zz-docker-to-linux";

/// Adds the program, its settings and the hooks. Returns a note if nothing in the machine would
/// call it.
pub(super) fn add(
    rootfs: &mut Rootfs,
    init: Init,
    update: &BootUpdate,
) -> Result<Option<String>, Report> {
    let epoch = rootfs.epoch;
    let mut hooks = hooks(rootfs);
    if init == Init::OpenRc {
        let link = "/etc/runlevels/default/update-boot";
        hooks.push(("/etc/init.d/update-boot".into(), SERVICE_TEXT));
        let tree = &mut rootfs.tree;
        tree.symlink(link, "/etc/init.d/update-boot", epoch)
            .map_err(edit)?;
    }
    let tree = &mut rootfs.tree;
    tree.mkdir(&update.esp, 0o755, epoch).map_err(edit)?;
    tree.write(PROGRAM, PROGRAM_TEXT.as_bytes(), 0o755, epoch)
        .map_err(edit)?;
    tree.write(SETTINGS, settings(update).into_bytes(), 0o644, epoch)
        .map_err(edit)?;
    for (path, text) in &hooks {
        tree.write(path, text.as_bytes(), 0o755, epoch)
            .map_err(edit)?;
    }
    Ok(hooks.is_empty().then(|| {
        format!(
            "nothing in this root file system calls {PROGRAM} when its kernel is upgraded: run it by hand then, or UEFI continues to boot the old kernel"
        )
    }))
}

/// The hooks that this root file system's tools would run, judging by its tools and folders.
fn hooks(rootfs: &Rootfs) -> Vec<(String, &'static str)> {
    let exists = |paths: &[&str]| paths.iter().any(|p| rootfs.tree.exists(p));
    let mut hooks = Vec::new();
    if exists(&["/etc/kernel/postinst.d"]) {
        hooks.push((format!("/etc/kernel/postinst.d/{HOOK}"), HOOK_TEXT));
        hooks.push((format!("/etc/kernel/postrm.d/{HOOK}"), HOOK_TEXT));
    }
    if exists(&["/usr/sbin/update-initramfs"]) {
        hooks.push((format!("/etc/initramfs/post-update.d/{HOOK}"), HOOK_TEXT));
    }
    if exists(&["/sbin/apk", "/usr/sbin/apk", "/usr/bin/apk"]) {
        hooks.push((format!("/etc/apk/commit_hooks.d/{HOOK}"), APK_HOOK_TEXT));
    }
    hooks
}

/// The settings in the form of shell assignments.
fn settings(update: &BootUpdate) -> String {
    let mut text = format!(
        "# Written by docker-to-linux: settings of {PROGRAM},\n\
         # which writes the boot loaders' entries. Run it after a change here. A line\n\
         # title='...' replaces the name that /etc/os-release gives.\n"
    );
    for (name, value) in [
        ("token", update.token.as_str()),
        ("arguments", &update.arguments),
        ("architecture", &update.architecture),
        ("esp", &update.esp),
        ("extlinux", update.extlinux.as_deref().unwrap_or_default()),
    ] {
        text.push_str(&format!("{name}='{}'\n", value.replace('\'', r"'\''")));
    }
    text
}
