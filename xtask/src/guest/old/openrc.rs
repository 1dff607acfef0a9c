//! OpenRC in an image for containers: enables services that were disabled or never enabled.

use super::super::{Init, Report, Rootfs, rewrite, units};
use super::{glance, some};

/// What Linux on a disk needs, per runlevel, as enabled by OpenRC's own installation (its
/// runlevels/meson.build) and Alpine's setup-disk.
const WANTED: [(&str, &str); 12] = [
    ("devfs", "sysinit"),
    ("dmesg", "sysinit"),
    ("hwdrivers", "sysinit"),
    ("modules", "boot"),
    ("sysctl", "boot"),
    ("hostname", "boot"),
    ("bootmisc", "boot"),
    ("fsck", "boot"),
    ("root", "boot"),
    ("localmount", "boot"),
    ("mount-ro", "shutdown"),
    ("killprocs", "shutdown"),
];

/// Device managers: one of them is enabled, with its helper services.
const DEVICES: [&[&str]; 3] = [&["udev", "udev-trigger"], &["mdevd"], &["mdev"]];

/// Scripts of OpenRC itself. If one is missing, OpenRC was stripped.
const OWN: [&str; 6] = ["bootmisc", "devfs", "fsck", "localmount", "modules", "root"];

/// Undoes changes for containers. Returns notes for the user.
pub(super) fn mend(rootfs: &mut Rootfs) -> Result<Vec<String>, Report> {
    let mut notes = Vec::new();
    notes.extend(settings(rootfs)?);
    notes.extend(inittab(rootfs)?);
    notes.extend(want(rootfs)?);
    let has = |name: &&str| units::find(rootfs, Init::OpenRc, name).is_some();
    let gone: Vec<&str> = OWN.into_iter().filter(|name| !has(name)).collect();
    if !gone.is_empty() && gone.len() < OWN.len() {
        notes.push(format!(
            "OpenRC lacks its own services {}, as in images for containers: reinstall it in the Dockerfile, e.g. with `apk fix --reinstall openrc`",
            gone.join(", ")
        ));
    }
    Ok(notes)
}

/// Removes `rc_sys`, which names the kind of container that OpenRC is in: services that need a
/// machine then do not start (OpenRC, etc/rc.conf and `keyword` in openrc-run(8)). Without it,
/// OpenRC detects the system itself.
fn settings(rootfs: &mut Rootfs) -> Result<Option<String>, Report> {
    const FILE: &str = "/etc/rc.conf";
    let old = glance(rootfs, FILE)?;
    let value = |line: &str, key: &str| {
        let value = line.trim_start().strip_prefix(key)?.strip_prefix('=')?;
        let value = value.split('#').next().unwrap_or_default();
        Some(value.trim().trim_matches(['"', '\'']).to_owned())
    };
    // An empty value means "no container", and Xen guests are machines.
    let of_container = |line: &str| {
        value(line, "rc_sys")
            .is_some_and(|v| !["", "XEN0", "XENU"].contains(&v.to_uppercase().as_str()))
    };
    if !old.lines().any(of_container) {
        return Ok(None);
    }
    // Goes with it: the engine's network replaces the machine's.
    let provides = |line: &str| {
        value(line, "rc_provide").is_some_and(|v| {
            v.split_whitespace()
                .any(|w| ["net", "loopback"].contains(&w))
        })
    };
    let mut off = Vec::new();
    let mut text = String::new();
    for line in old.lines() {
        if of_container(line) || provides(line) {
            off.push(line.trim().to_owned());
            text.push('#');
        }
        text.push_str(line);
        text.push('\n');
    }
    rewrite(rootfs, FILE, text)?;
    Ok(Some(format!(
        "removed {} from {FILE}: services that a machine needs would not start",
        off.join(" and ")
    )))
}

/// busybox's init starts OpenRC only if /etc/inittab says so (busybox, init/init.c).
fn inittab(rootfs: &mut Rootfs) -> Result<Option<String>, Report> {
    const FILE: &str = "/etc/inittab";
    let tree = &rootfs.tree;
    let busybox = tree
        .canonical("/sbin/init")
        .is_some_and(|init| init.ends_with("/busybox"));
    let openrc = ["/sbin/openrc", "/usr/sbin/openrc"]
        .into_iter()
        .find(|path| tree.resolve(path).is_some());
    let (true, Some(openrc)) = (busybox, openrc) else {
        return Ok(None);
    };
    let old = glance(rootfs, FILE)?;
    let starts = |line: &str| !line.trim_start().starts_with('#') && line.contains("openrc");
    if old.lines().any(starts) {
        return Ok(None);
    }
    rewrite(
        rootfs,
        FILE,
        format!(
            "# Written by docker-to-linux: OpenRC and its runlevels.\n\
             ::sysinit:{openrc} sysinit\n\
             ::sysinit:{openrc} boot\n\
             ::wait:{openrc} default\n\
             ::shutdown:{openrc} shutdown\n\
             ::ctrlaltdel:/sbin/reboot\n{old}"
        ),
    )?;
    Ok(Some(format!(
        "{FILE} did not start OpenRC, so nothing would have been mounted or started: now it does"
    )))
}

/// Enables what a machine needs but a container's OpenRC has disabled.
fn want(rootfs: &mut Rootfs) -> Result<Option<String>, Report> {
    let mut wanted: Vec<(&str, &str)> = WANTED.into();
    let on = |rootfs: &Rootfs, name: &str| units::is_enabled(rootfs, Init::OpenRc, name);
    if !DEVICES.iter().any(|all| on(rootfs, all[0]))
        && let Some(all) = DEVICES
            .iter()
            .find(|all| units::find(rootfs, Init::OpenRc, all[0]).is_some())
    {
        wanted.extend(all.iter().map(|name| (*name, "sysinit")));
    }
    let mut added = Vec::new();
    for (name, level) in wanted {
        // Scripts of sysvinit use different runlevels.
        let script = glance(rootfs, &format!("/etc/init.d/{name}"))?;
        let first = script.lines().next().unwrap_or_default();
        if first.contains("openrc-run")
            && !on(rootfs, name)
            && units::enable(rootfs, Init::OpenRc, name, level)?
        {
            added.push(name.to_owned());
        }
    }
    Ok((!added.is_empty()).then(|| {
        format!(
            "enabled {}: a container works without it, but a machine needs it",
            some(&added)
        )
    }))
}
