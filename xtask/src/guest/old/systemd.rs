//! systemd of an image that pretends to be a machine inside a container: what such images mask or
//! remove, and a machine cannot do without.
//!
//! The links are those of systemd's own build (its units/meson.build, `symlinks`) and of dbus: every
//! package has them, so a missing one was removed.

use super::super::{Init, Report, Rootfs, edit, units};
use super::{glance, some};
use crate::rootfs::Kind;
use bstr::ByteSlice;

const ETC: &str = "/etc/systemd/system";
const DEFAULT: &str = "/etc/systemd/system/default.target";

/// What starts at every boot without being enabled: the unit, and the target that wants it.
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

/// What else may not be masked on a machine.
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

/// Targets in which a machine does not work: nobody can log in, or it turns itself off.
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

/// Without these nobody can log in: the unit, and a program that tells that its package is there.
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

/// Undoes what made it fit for a container. Returns what people should know.
pub(super) fn mend(rootfs: &mut Rootfs) -> Result<Vec<String>, Report> {
    let mut notes = Vec::new();
    notes.extend(unmask(rootfs));
    notes.extend(want(rootfs)?);
    notes.extend(default_target(rootfs)?);
    Ok(notes)
}

/// Fails if unit files are gone that a machine cannot do without. Comes when the recipe's files are
/// in place.
pub(in super::super) fn check(rootfs: &Rootfs) -> Result<(), Report> {
    // A systemd without any unit is no package's: nothing can be said of it.
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
        "the root file system has systemd without its unit files {}, as images for containers have it: nobody could log in to the machine",
        gone.join(", ")
    ))
    .hint("install their packages anew in the Dockerfile, as by `apt-get install --reinstall systemd udev` or `dnf reinstall systemd systemd-udev`"))
}

fn find(rootfs: &Rootfs, unit: &str) -> Option<String> {
    units::find(rootfs, Init::Systemd, unit)
}

/// Takes the masks away that keep everybody out.
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
            "unmasked {}: a container does without, a machine does not",
            some(&masked)
        )
    })
}

/// Puts back the links by which what every machine needs starts.
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
        // Where the package has it: its next upgrade puts the same there.
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
            "; what else its packages start may be off as well: `systemctl preset-all` in the Dockerfile turns it on"
        }
        _ => "",
    };
    Ok(Some(format!(
        "turned on again {}: a container does without, a machine does not{more}",
        some(&added)
    )))
}

/// The machine starts into a target in which it works.
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

/// Whether systemctl(1) is a program and not a script that stands in for it in containers.
pub(super) fn stand_in(rootfs: &Rootfs) -> Result<Option<String>, Report> {
    for path in ["/usr/bin/systemctl", "/bin/systemctl"] {
        if glance(rootfs, path)?.starts_with("#!") {
            return Ok(Some(format!(
                "{path} is a script that stands in for systemd in containers: install systemd anew in the Dockerfile to get its own"
            )));
        }
    }
    Ok(None)
}
