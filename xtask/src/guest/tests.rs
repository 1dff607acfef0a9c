#![allow(clippy::unwrap_used)]

mod clean;
mod deptree;
mod disks;
mod fit;
mod init;
mod login;
mod network;
mod overlay;
mod owners;
mod secrets;
mod start;
mod volumes;

use super::*;
use crate::rootfs::{Stores, Tree};

fn rootfs(files: &[(&str, &str)], links: &[(&str, &str)]) -> Rootfs {
    let mut tree = Tree::new(Meta::root(0o755, 0));
    for (path, text) in files {
        tree.write(path, text.as_bytes(), 0o640, 5).unwrap();
    }
    for (path, target) in links {
        tree.symlink(path, target, 5).unwrap();
    }
    Rootfs {
        tree,
        stores: Stores::default(),
        epoch: 1000,
        notes: Vec::new(),
    }
}

fn settings() -> Settings {
    Settings {
        mounts: vec![Mount {
            what: "UUID=1234".into(),
            at: "/".into(),
            kind: "ext4".into(),
            options: vec!["errors=remount-ro".into()],
            pass: 1,
        }],
        ..Settings::new("box", Arch::Amd64)
    }
}

fn text(rootfs: &Rootfs, path: &str) -> String {
    rootfs.read_text(path, LIMIT).unwrap().unwrap()
}

fn target(rootfs: &Rootfs, path: &str) -> String {
    match &rootfs.tree.node(rootfs.tree.lookup(path).unwrap()).kind {
        Kind::Symlink(target) => target.to_string(),
        other => other.name().to_owned(),
    }
}

#[test]
fn a_systemd_container_becomes_a_machine() {
    let mut r = rootfs(
        &[
            ("/.dockerenv", ""),
            ("/dev/console", ""),
            ("/tmp/left", "x"),
            ("/etc/hostname", ""),
            ("/etc/hosts", ""),
            ("/etc/resolv.conf", ""),
            ("/etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
            (
                "/var/lib/dbus/machine-id",
                "0123456789abcdef0123456789abcdef\n",
            ),
            (
                "/etc/fstab",
                "# UNCONFIGURED FSTAB FOR BASE SYSTEM\n/dev/sda1 / ext3 ro 0 1\ntmpfs /scratch tmpfs defaults 0 0\n",
            ),
            ("/etc/shadow", "root:*:1:0:::::\n"),
            ("/usr/lib/systemd/systemd", "elf"),
            ("/usr/lib/systemd/system/systemd-networkd.service", "unit"),
            ("/usr/lib/systemd/system/systemd-resolved.service", "unit"),
            ("/usr/lib/systemd/system/getty@.service", "unit"),
            ("/usr/lib/systemd/system/serial-getty@.service", "unit"),
        ],
        &[("/sbin/init", "../usr/lib/systemd/systemd")],
    );
    clean(&mut r).unwrap();
    let notes = prepare(&mut r, &settings()).unwrap();
    assert!(notes.is_empty(), "{notes:?}");
    assert!(!r.tree.exists("/.dockerenv"));
    assert_eq!(
        r.tree.entries("/dev").count() + r.tree.entries("/tmp").count(),
        0
    );
    assert_eq!(
        r.tree.node(r.tree.lookup("/tmp").unwrap()).meta.mode,
        0o1777
    );
    assert_eq!(text(&r, "/etc/hostname"), "box\n");
    assert!(text(&r, "/etc/hosts").contains("127.0.1.1\tbox\n"));
    assert_eq!(
        target(
            &r,
            "/etc/systemd/system/getty.target.wants/getty@tty1.service"
        ),
        "/usr/lib/systemd/system/getty@.service"
    );
    assert_eq!(text(&r, "/etc/machine-id"), "");
    assert_eq!(target(&r, "/var/lib/dbus/machine-id"), "/etc/machine-id");
    assert_eq!(
        target(&r, "/etc/resolv.conf"),
        "../run/systemd/resolve/stub-resolv.conf"
    );
    assert_eq!(
        text(&r, "/etc/fstab"),
        "# Written by docker-to-linux; see fstab(5).\nUUID=1234 / ext4 errors=remount-ro 0 1\ntmpfs /scratch tmpfs defaults 0 0\n"
    );
    assert_eq!(
        target(
            &r,
            "/etc/systemd/system/getty.target.wants/serial-getty@ttyS0.service"
        ),
        "/usr/lib/systemd/system/serial-getty@.service"
    );
}

#[test]
fn an_openrc_container_gets_its_getty_and_its_lock() {
    let mut r = rootfs(
        &[
            ("/bin/busybox", "elf"),
            ("/sbin/openrc", "elf"),
            ("/etc/init.d/dhcpcd", "script"),
            (
                "/etc/shadow",
                "root:::0:::::\nbin:!::0:::::\nguest:::0:::::\n",
            ),
            (
                "/etc/inittab",
                "::sysinit:/sbin/openrc sysinit\n#ttyS0::respawn:/sbin/getty -L 115200 ttyS0 vt100\nttyS0::respawn:/sbin/getty -L 0 ttyS0 vt100\n",
            ),
            ("/etc/securetty", "tty1\n"),
        ],
        &[
            ("/sbin/init", "/bin/busybox"),
            ("/sbin/getty", "/bin/busybox"),
        ],
    );
    clean(&mut r).unwrap();
    let notes = prepare(&mut r, &settings()).unwrap();
    assert!(notes[0].contains("root, guest"), "{notes:?}");
    assert_eq!(
        text(&r, "/etc/shadow"),
        "root:*::0:::::\nbin:!::0:::::\nguest:*::0:::::\n"
    );
    let shadow = r.tree.node(r.tree.lookup("/etc/shadow").unwrap());
    assert_eq!(shadow.meta.mode, 0o640);
    assert_eq!(
        text(&r, "/etc/inittab"),
        "::sysinit:/sbin/openrc sysinit\n#ttyS0::respawn:/sbin/getty -L 115200 ttyS0 vt100\ntty1::respawn:/sbin/getty 38400 tty1 linux\nttyS0::respawn:/sbin/getty -L 115200 ttyS0 vt100\n"
    );
    assert_eq!(text(&r, "/etc/securetty"), "tty1\nttyS0\n");
    assert!(!r.tree.exists("/etc/machine-id"));
}

#[test]
fn no_init_is_a_mistake_with_a_hint() {
    let mut r = rootfs(&[("/etc/motd", "")], &[]);
    let e = prepare(&mut r, &settings()).unwrap_err();
    assert!(
        e.message.contains("no init") && e.message.contains("/sbin/init"),
        "{e}"
    );
    assert!(e.hint.is_some());
}
