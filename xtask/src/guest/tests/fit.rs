//! Images of containers that pretend to be machines.

use super::*;

const LIB: &str = "/usr/lib/systemd/system";
const ETC: &str = "/etc/systemd/system";

/// systemd with these units, those of each machine among them.
fn systemd(units: &[&str], links: &[(&str, &str)]) -> Rootfs {
    let mut r = rootfs(
        &[
            ("/usr/lib/systemd/systemd", "elf"),
            ("/usr/lib/systemd/systemd-udevd", "elf"),
            ("/usr/lib/systemd/systemd-remount-fs", "elf"),
            ("/usr/lib/systemd/systemd-user-sessions", "elf"),
        ],
        &[&[("/sbin/init", "../usr/lib/systemd/systemd")], links].concat(),
    );
    for unit in [NEEDED, units].concat() {
        r.tree
            .write(&format!("{LIB}/{unit}"), &b"[Unit]\n"[..], 0o644, 0)
            .unwrap();
    }
    r
}

const NEEDED: &[&str] = &[
    "basic.target",
    "getty.target",
    "graphical.target",
    "local-fs.target",
    "multi-user.target",
    "rescue.target",
    "sysinit.target",
    "systemd-logind.service",
    "systemd-remount-fs.service",
    "systemd-udev-trigger.service",
    "systemd-udevd.service",
    "systemd-user-sessions.service",
];

/// The links of a systemd that nobody changed.
const WHOLE: &[(&str, &str)] = &[
    ("/usr/lib/systemd/system/default.target", "graphical.target"),
    (
        "/usr/lib/systemd/system/multi-user.target.wants/getty.target",
        "../getty.target",
    ),
    (
        "/usr/lib/systemd/system/multi-user.target.wants/systemd-logind.service",
        "../systemd-logind.service",
    ),
    (
        "/usr/lib/systemd/system/multi-user.target.wants/systemd-user-sessions.service",
        "../x",
    ),
    (
        "/usr/lib/systemd/system/sysinit.target.wants/systemd-udev-trigger.service",
        "../x",
    ),
    (
        "/usr/lib/systemd/system/sysinit.target.wants/systemd-udevd.service",
        "../x",
    ),
];

fn cleaned(mut r: Rootfs) -> (Rootfs, Vec<String>) {
    let notes = clean(&mut r).unwrap();
    (r, notes)
}

#[test]
fn a_whole_systemd_is_left_as_it_is() {
    let (r, notes) = cleaned(systemd(&[], WHOLE));
    assert_eq!(notes, [""; 0]);
    assert!(!r.tree.exists(ETC));
}

#[test]
fn what_keeps_everybody_out_is_unmasked() {
    let masks = [
        "getty.target",
        "getty@tty1.service",
        "serial-getty@ttyS0.service",
        "systemd-logind.service",
        "systemd-remount-fs.service",
        "systemd-udevd.service",
    ];
    let kept = [
        "dev-hugepages.mount",
        "nginx.service",
        "tmp.mount",
        "console-getty.service",
    ];
    let paths: Vec<String> = masks
        .iter()
        .chain(&kept)
        .map(|m| format!("{ETC}/{m}"))
        .collect();
    let mut links = WHOLE.to_vec();
    links.extend(paths.iter().map(|p| (p.as_str(), "/dev/null")));
    let mut r = systemd(&[], &links);
    let empty = format!("{ETC}/systemd-user-sessions.service");
    r.tree.write(&empty, &b""[..], 0o644, 0).unwrap();
    let (r, notes) = cleaned(r);
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(
        notes[0].starts_with("unmasked getty.target, getty@tty1.service"),
        "{notes:?}"
    );
    for name in masks {
        assert!(!r.tree.exists(format!("{ETC}/{name}")), "{name}");
    }
    assert!(!r.tree.exists(empty));
    for name in kept {
        assert!(r.tree.exists(format!("{ETC}/{name}")), "{name}");
    }
    // Its login screen is there instead.
    let getty = format!("{ETC}/getty@tty1.service");
    let mut links = WHOLE.to_vec();
    links.push((&getty, "/dev/null"));
    let (r, notes) = cleaned(systemd(&["display-manager.service"], &links));
    assert!(r.tree.exists(&getty) && notes.is_empty(), "{notes:?}");
}

#[test]
fn links_that_were_removed_come_back_where_their_packages_have_them() {
    let (r, notes) = cleaned(systemd(
        &["systemd-udevd-kernel.socket", "dbus.socket"],
        &WHOLE[..1],
    ));
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(
        notes[0].contains("systemd-udevd.service") && notes[0].contains("preset-all"),
        "{notes:?}"
    );
    for (link, to) in [
        (
            "sysinit.target.wants/systemd-udevd.service",
            "../systemd-udevd.service",
        ),
        (
            "sockets.target.wants/systemd-udevd-kernel.socket",
            "../systemd-udevd-kernel.socket",
        ),
        ("sockets.target.wants/dbus.socket", "../dbus.socket"),
        ("multi-user.target.wants/getty.target", "../getty.target"),
        (
            "multi-user.target.wants/systemd-user-sessions.service",
            "../systemd-user-sessions.service",
        ),
    ] {
        assert_eq!(target(&r, &format!("{LIB}/{link}")), to);
    }
    // What this systemd does not have is not wanted.
    assert!(!r.tree.exists(format!("{LIB}/timers.target.wants")));
}

#[test]
fn the_machine_starts_into_a_target_in_which_it_works() {
    let default = format!("{ETC}/default.target");
    for (to, stays) in [
        ("/lib/systemd/system/multi-user.target", true),
        ("/usr/lib/systemd/system/multi-user.target", true),
        ("kiosk.target", true),
        ("/usr/lib/systemd/system/rescue.target", false),
        ("/usr/lib/systemd/system/basic.target", false),
        ("/usr/lib/systemd/system/container.target", false),
        ("/dev/null", false),
    ] {
        let mut links = WHOLE.to_vec();
        links.push((&default, to));
        links.push(("/lib", "usr/lib"));
        let mut r = systemd(&[], &links);
        r.tree
            .write(&format!("{ETC}/kiosk.target"), &b"[Unit]\n"[..], 0o644, 0)
            .unwrap();
        let (r, notes) = cleaned(r);
        assert_eq!(r.tree.exists(&default), stays, "{to}");
        assert_eq!(notes.len(), usize::from(!stays), "{notes:?}");
        if !stays {
            assert!(
                notes[0].contains("starts into graphical.target"),
                "{notes:?}"
            );
        }
    }
    // Neither has one.
    let (r, notes) = cleaned(systemd(&[], &WHOLE[1..]));
    assert_eq!(target(&r, &default), format!("{LIB}/multi-user.target"));
    assert!(
        notes.len() == 1 && notes[0].contains("multi-user.target"),
        "{notes:?}"
    );
}

#[test]
fn unit_files_that_are_gone_are_a_mistake_with_a_cure() {
    for gone in [
        "systemd-udevd.service",
        "getty.target",
        "systemd-user-sessions.service",
    ] {
        for by_mask in [false, true] {
            let mut r = systemd(&[], WHOLE);
            r.tree.remove(format!("{LIB}/{gone}"));
            if by_mask {
                r.tree
                    .symlink(&format!("{LIB}/{gone}"), "/dev/null", 0)
                    .unwrap();
            }
            clean(&mut r).unwrap();
            let e = prepare(&mut r, &settings()).unwrap_err();
            assert!(e.message.contains(gone), "{e}");
            assert!(e.hint.unwrap().contains("--reinstall"));
        }
    }
    // A system without udev is its author's.
    let mut r = systemd(&[], WHOLE);
    for file in ["udevd", "udevd.service", "udev-trigger.service"] {
        r.tree.remove(format!("{LIB}/systemd-{file}"));
        r.tree.remove(format!("/usr/lib/systemd/systemd-{file}"));
    }
    clean(&mut r).unwrap();
    prepare(&mut r, &settings()).unwrap();
    // What stands in for systemctl is told.
    let mut r = systemd(&[], WHOLE);
    r.tree
        .write("/usr/bin/systemctl", &b"#!/usr/bin/python3\n"[..], 0o755, 0)
        .unwrap();
    let (_, notes) = cleaned(r);
    assert!(
        notes.len() == 1 && notes[0].contains("/usr/bin/systemctl"),
        "{notes:?}"
    );
}

fn openrc(files: &[(&str, &str)], links: &[(&str, &str)]) -> Rootfs {
    let mut all = vec![("/bin/busybox", "elf"), ("/sbin/openrc", "elf")];
    all.extend(files);
    rootfs(&all, &[&[("/sbin/init", "/bin/busybox")], links].concat())
}

const INITTAB: (&str, &str) = (
    "/etc/inittab",
    "::sysinit:/sbin/openrc sysinit\n::wait:/sbin/openrc default\n",
);

#[test]
fn openrc_is_told_that_it_runs_on_a_machine() {
    let conf = "#rc_sys=\"\"\nrc_sys=\"docker\"\nrc_provide=\"loopback net\"\nrc_parallel=NO\n";
    let (r, notes) = cleaned(openrc(&[INITTAB, ("/etc/rc.conf", conf)], &[]));
    assert_eq!(
        text(&r, "/etc/rc.conf"),
        "#rc_sys=\"\"\n#rc_sys=\"docker\"\n#rc_provide=\"loopback net\"\nrc_parallel=NO\n"
    );
    assert_eq!(notes.len(), 1, "{notes:?}");
    for stays in ["rc_sys=\"\"\n", "rc_sys=xenU\n", "rc_provide=\"net\"\n"] {
        let (r, notes) = cleaned(openrc(&[INITTAB, ("/etc/rc.conf", stays)], &[]));
        assert_eq!(text(&r, "/etc/rc.conf"), stays);
        assert_eq!(notes, [""; 0]);
    }
    for taken in [
        "rc_sys=lxc\n",
        " rc_sys='podman' # x\n",
        "rc_sys=systemd-nspawn\n",
    ] {
        let (r, _) = cleaned(openrc(&[INITTAB, ("/etc/rc.conf", taken)], &[]));
        assert_eq!(text(&r, "/etc/rc.conf"), format!("#{taken}"));
    }
}

#[test]
fn openrc_starts_and_brings_up_what_a_machine_needs() {
    let script = "#!/sbin/openrc-run\n";
    let names = [
        "devfs",
        "mdev",
        "hwdrivers",
        "modules",
        "root",
        "fsck",
        "localmount",
        "bootmisc",
        "mount-ro",
        "nginx",
    ];
    let paths = names.map(|name| format!("/etc/init.d/{name}"));
    let mut files: Vec<(&str, &str)> = paths.iter().map(|p| (p.as_str(), script)).collect();
    files.push(("/etc/init.d/hostname", "#!/bin/sh\n# sysvinit's\n"));
    let (r, notes) = cleaned(openrc(
        &files,
        &[("/etc/runlevels/default/modules", "/etc/init.d/modules")],
    ));
    for on in [
        "sysinit/devfs",
        "sysinit/mdev",
        "sysinit/hwdrivers",
        "boot/root",
        "boot/fsck",
        "boot/localmount",
        "shutdown/mount-ro",
    ] {
        assert!(r.tree.exists(format!("/etc/runlevels/{on}")), "{on}");
    }
    for off in ["boot/modules", "boot/hostname", "default/nginx"] {
        assert!(!r.tree.exists(format!("/etc/runlevels/{off}")), "{off}");
    }
    let inittab = text(&r, "/etc/inittab");
    assert!(
        inittab.contains("::sysinit:/sbin/openrc boot\n"),
        "{inittab}"
    );
    assert_eq!(notes.len(), 2, "{notes:?}");

    // With one for devices another is not needed; a comment starts nothing.
    files.push(("/etc/init.d/udev", script));
    files.push((
        "/etc/inittab",
        "#::sysinit:/sbin/openrc sysinit\ntty1::respawn:/sbin/getty 38400 tty1\n",
    ));
    let (r, _) = cleaned(openrc(
        &files,
        &[("/etc/runlevels/sysinit/mdev", "/etc/init.d/mdev")],
    ));
    assert!(!r.tree.exists("/etc/runlevels/sysinit/udev"));
    assert!(text(&r, "/etc/inittab").ends_with("tty1::respawn:/sbin/getty 38400 tty1\n"));
    assert!(text(&r, "/etc/inittab").contains("\n::wait:/sbin/openrc default\n"));

    // OpenRC's own scripts are gone.
    files.retain(|(path, _)| !path.ends_with("/root"));
    let (_, notes) = cleaned(openrc(&files, &[]));
    assert!(
        notes
            .iter()
            .any(|n| n.contains("lacks its own services root,")),
        "{notes:?}"
    );
}
