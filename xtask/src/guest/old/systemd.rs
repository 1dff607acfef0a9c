//! systemd in an image for containers that run an init: restores what such images mask or remove,
//! and a machine needs.
//!
//! The links are those of systemd's own build (its units/meson.build, `symlinks`) and of dbus:
//! every package has them, so a missing one was removed.

use super::super::{Init, Report, Rootfs, edit, units};
use super::{glance, some};
use crate::rootfs::Kind;
use bstr::ByteSlice;

const ETC: &str = "/etc/systemd/system";
const DEFAULT: &str = "/etc/systemd/system/default.target";

/// Units that start at every boot without being enabled, and the targets that want them.
const WANTED: [(&str, &str); 21] = [
    ("systemd-journald.service", "sysinit.target"),
    ("systemd-journal-flush.service", "sysinit.target"),
    ("systemd-udevd.service", "sysinit.target"),
    ("systemd-udev-trigger.service", "sysinit.target"),
    ("systemd-tmpfiles-setup-dev-early.service", "sysinit.target"),
    ("systemd-tmpfiles-setup-dev.service", "sysinit.target"),
    ("systemd-tmpfiles-setup.service", "sysinit.target"),
    ("systemd-modules-load.service", "sysinit.target"),
    ("systemd-sysctl.service", "sysinit.target"),
    ("systemd-random-seed.service", "sysinit.target"),
    ("systemd-machine-id-commit.service", "sysinit.target"),
    ("kmod-static-nodes.service", "sysinit.target"),
    ("systemd-journald.socket", "sockets.target"),
    ("systemd-journald-dev-log.socket", "sockets.target"),
    ("systemd-udevd-control.socket", "sockets.target"),
    ("systemd-udevd-kernel.socket", "sockets.target"),
    ("dbus.socket", "sockets.target"),
    ("systemd-tmpfiles-clean.timer", "timers.target"),
    ("getty.target", "multi-user.target"),
    ("systemd-logind.service", "multi-user.target"),
    ("systemd-user-sessions.service", "multi-user.target"),
];

/// Other units that must not be masked on a machine.
const UNMASKED: [&str; 30] = [
    "basic.target",
    "dbus-org.freedesktop.login1.service",
    "dbus.service",
    "final.target",
    "getty@.service",
    "getty@tty1.service",
    "graphical.target",
    "local-fs-pre.target",
    "local-fs.target",
    "multi-user.target",
    "network-pre.target",
    "network.target",
    "paths.target",
    "poweroff.target",
    "reboot.target",
    "serial-getty@.service",
    "shutdown.target",
    "slices.target",
    "sockets.target",
    "swap.target",
    "sysinit.target",
    "systemd-fsck-root.service",
    "systemd-fsck@.service",
    "systemd-poweroff.service",
    "systemd-reboot.service",
    "systemd-remount-fs.service",
    "timers.target",
    "udev.service",
    "umount.target",
    "user@.service",
];

/// Targets in which a machine is not usable: no login, or it powers off.
const NO_DEFAULT: [&str; 19] = [
    "basic.target",
    "container.target",
    "emergency.target",
    "exit.target",
    "final.target",
    "halt.target",
    "hibernate.target",
    "initrd.target",
    "kexec.target",
    "local-fs.target",
    "poweroff.target",
    "reboot.target",
    "rescue.target",
    "shutdown.target",
    "sleep.target",
    "sockets.target",
    "soft-reboot.target",
    "suspend.target",
    "sysinit.target",
];

/// Units without which nobody can log in, each with a program that shows that its package is
/// installed.
const NEEDED: [(&str, &[&str]); 8] = [
    ("basic.target", &[]),
    ("getty.target", &[]),
    ("local-fs.target", &[]),
    ("sysinit.target", &[]),
    (
        "systemd-remount-fs.service",
        &[
            "/usr/lib/systemd/systemd-remount-fs",
            "/lib/systemd/systemd-remount-fs",
        ],
    ),
    (
        "systemd-udev-trigger.service",
        &[
            "/usr/lib/systemd/systemd-udevd",
            "/lib/systemd/systemd-udevd",
        ],
    ),
    (
        "systemd-udevd.service",
        &[
            "/usr/lib/systemd/systemd-udevd",
            "/lib/systemd/systemd-udevd",
        ],
    ),
    (
        "systemd-user-sessions.service",
        &[
            "/usr/lib/systemd/systemd-user-sessions",
            "/lib/systemd/systemd-user-sessions",
        ],
    ),
];

/// Undoes changes for containers. Returns notes for the user.
pub(super) fn mend(rootfs: &mut Rootfs) -> Result<Vec<String>, Report> {
    let mut notes = Vec::new();
    notes.extend(unmask(rootfs));
    notes.extend(want(rootfs)?);
    notes.extend(default_target(rootfs)?);
    Ok(notes)
}

/// Fails if unit files are missing that a machine needs. Runs once the recipe's files are in place.
pub(in super::super) fn check(rootfs: &Rootfs) -> Result<(), Report> {
    // A systemd without any unit is not from a package, so this check does not apply.
    if find(rootfs, "multi-user.target").is_none() {
        return Ok(());
    }
    let is_there =
        |paths: &[&str]| paths.is_empty() || paths.iter().any(|p| rootfs.tree.lookup(p).is_some());
    let gone: Vec<&str> = NEEDED
        .into_iter()
        .filter(|(unit, programs)| is_there(programs) && find(rootfs, unit).is_none())
        .map(|(unit, _)| unit)
        .collect();
    if gone.is_empty() {
        return Ok(());
    }
    Err(Report::mistake(format!(
        "the root file system has systemd without its unit files {}, as in images for containers: nobody could log in to the machine",
        gone.join(", ")
    ))
    .hint("reinstall their packages in the Dockerfile, e.g. with `apt-get install --reinstall systemd udev` or `dnf reinstall systemd systemd-udev`"))
}

fn find(rootfs: &Rootfs, unit: &str) -> Option<String> {
    units::find(rootfs, Init::Systemd, unit)
}

/// Unmasks the units that a login needs.
fn unmask(rootfs: &mut Rootfs) -> Option<String> {
    // Its own login screen is on the first terminal.
    let has_screen = find(rootfs, "display-manager.service").is_some();
    let needed = |name: &str| {
        let listed = UNMASKED.contains(&name) || WANTED.iter().any(|(unit, _)| *unit == name);
        (listed || name.starts_with("serial-getty@"))
            && !(has_screen && name == "getty@tty1.service")
    };
    let masked: Vec<String> = rootfs
        .tree
        .entries(ETC)
        .map(|(name, _)| name)
        .filter(|name| needed(name) && units::is_masked(rootfs, name))
        .map(str::to_owned)
        .collect();
    for name in &masked {
        rootfs.tree.remove(format!("{ETC}/{name}"));
    }
    (!masked.is_empty()).then(|| {
        format!(
            "unmasked {}: a container works without it, but a machine needs it",
            some(&masked)
        )
    })
}

/// Restores the links that start what every machine needs.
fn want(rootfs: &mut Rootfs) -> Result<Option<String>, Report> {
    let epoch = rootfs.epoch;
    let mut added = Vec::new();
    for (unit, target) in WANTED {
        let Some(file) = find(rootfs, unit) else {
            continue;
        };
        if units::is_enabled(rootfs, Init::Systemd, unit) {
            continue;
        }
        // In the place of the package's own link, which its next upgrade restores.
        let dir = file.strip_suffix(unit).unwrap_or_default();
        let link = format!("{dir}{target}.wants/{unit}");
        rootfs
            .tree
            .symlink(&link, &format!("../{unit}"), epoch)
            .map_err(edit)?;
        added.push(unit.to_owned());
    }
    if added.is_empty() {
        return Ok(None);
    }
    let own = rootfs
        .tree
        .entries(format!("{ETC}/multi-user.target.wants"));
    let more = match own.count() {
        0 => {
            "; other services of its packages may be disabled as well: `systemctl preset-all` in the Dockerfile enables them"
        }
        _ => "",
    };
    Ok(Some(format!(
        "enabled {} again: a container works without it, but a machine needs it{more}",
        some(&added)
    )))
}

/// Makes the machine start into a usable target.
fn default_target(rootfs: &mut Rootfs) -> Result<Option<String>, Report> {
    let leads_to = |rootfs: &Rootfs, path: &str| {
        let real = rootfs.tree.canonical(path)?;
        Some(real.rsplit('/').next().unwrap_or_default().to_owned())
    };
    let works = |name: &str| !NO_DEFAULT.contains(&name);
    let mut was = None;
    if let Some(id) = rootfs.tree.lookup(DEFAULT) {
        if leads_to(rootfs, DEFAULT).is_some_and(|name| works(&name))
            && !units::is_masked(rootfs, "default.target")
        {
            return Ok(None);
        }
        was = Some(match &rootfs.tree.node(id).kind {
            Kind::Symlink(target) => {
                let target = target.to_str_lossy();
                target.rsplit('/').next().unwrap_or_default().to_owned()
            }
            other => format!("a {}", other.name()),
        });
        rootfs.tree.remove(DEFAULT);
    }
    let own = find(rootfs, "default.target");
    let own = own.and_then(|file| leads_to(rootfs, &file));
    let now = match own.filter(|name| works(name)) {
        Some(name) => name,
        None => {
            let Some(file) = find(rootfs, "multi-user.target") else {
                return Ok(None);
            };
            let epoch = rootfs.epoch;
            rootfs.tree.symlink(DEFAULT, &file, epoch).map_err(edit)?;
            was.get_or_insert_with(|| "nothing".into());
            "multi-user.target".into()
        }
    };
    Ok(was.map(|was| {
        format!(
            "the machine starts into {now}: its default was {was}, in which nobody could log in"
        )
    }))
}

/// Whether systemctl(1) is a real program, and not a script that replaces it in containers.
pub(super) fn stand_in(rootfs: &Rootfs) -> Result<Option<String>, Report> {
    for path in ["/usr/bin/systemctl", "/bin/systemctl"] {
        if glance(rootfs, path)?.starts_with("#!") {
            return Ok(Some(format!(
                "{path} is a script that replaces systemd in containers: reinstall systemd in the Dockerfile to restore the original"
            )));
        }
    }
    Ok(None)
}
