//! Root file systems of other machines and containers: everything in them that would make a machine
//! fail, combined, in real systems that are booted.
//!
//! They need container images that were already built, so they run on demand and in
//! `cargo xtask ci`: `cargo xtask image debian alpine`, then
//! `cargo test --release --test integration -- --ignored old_home::`.

use crate::common::machine::{self, Guest, PASSWORD, off};
use crate::common::temp;
use docker_to_linux::model::{Arch, BootMode};
use docker_to_linux::recipe::User;
use docker_to_linux::rootfs::{Kind, Meta, Node, ROOT, Rootfs};
use docker_to_linux::vm::{Firmware, Machine, PROMPT};

/// The hash of [`PASSWORD`] from `openssl passwd -6`.
const HASH: &str = "$6$oldhomesalt$sMupbaX5gmTJzzOK/BQRAW/WyM3YdYeAmOXvxboFG/DFKcU.vnlD4tsakjSJuXqOjtt4D7X3YrTx.pSoZBpry/";

/// Boots what is made of a recipe's container after `change`, and hands it to `look` with what
/// was said of it.
fn boot(
    recipe: &str,
    change: impl FnOnce(&mut Rootfs),
    look: impl FnOnce(&[String], &mut docker_to_linux::vm::Session),
) {
    let Some(container) = machine::container(recipe) else {
        return;
    };
    let (_keep, dir) = temp();
    let mut what = machine::recipe(recipe);
    what.boot = BootMode::Bios;
    what.users = vec![User {
        name: "anna".into(),
        password_hash: Some(HASH.parse().unwrap()),
        ..User::default()
    }];
    let login = machine::root_by_password(&dir);
    let (disk, notes) = machine::make_with_notes(&container, recipe, what, login, &dir, change);
    eprintln!("{}", notes.join("\n"));
    let machine = Machine {
        snapshot: false,
        ..Machine::new(Arch::Amd64, Firmware::Bios)
    };
    let (mut session, _) = machine::up(&machine, &disk.image, &[PROMPT]);
    look(&notes, &mut session);
    off(session);
}

fn write(r: &mut Rootfs, path: &str, text: &str, mode: u16) {
    r.tree.write(path, text.as_bytes(), mode, 0).unwrap();
}

fn mode(r: &mut Rootfs, path: &str, uid: u32, mode: u16) {
    let id = r.tree.resolve(path).unwrap_or(ROOT);
    let meta = &mut r.tree.node_mut(id).meta;
    (meta.uid, meta.gid, meta.mode) = (uid, uid, mode);
}

/// What any system may bring along.
fn lived_elsewhere(r: &mut Rootfs) {
    mode(r, "/", 1000, 0o700);
    mode(r, "/usr", 0, 0o700);
    mode(r, "/etc", 1000, 0o755);
    mode(r, "/var/tmp", 0, 0o755);
    write(r, "/.dockerenv", "", 0o755);
    // What a link of that name leads to is data, not a leftover.
    write(r, "/data/kept", "precious\n", 0o644);
    r.tree.remove("/tmp");
    r.tree.symlink("/tmp", "data", 0).unwrap();
    mode(r, "/data", 0, 0o1777);
    write(
        r,
        "/etc/fstab",
        "LABEL=rootfs / ext4 defaults 0 1\n\
         LABEL=BOOT /boot ext4 defaults 0 2\n\
         LABEL=UEFI /boot/efi vfat umask=0077 0 1\n\
         UUID=1111-2222 none swap sw 0 0\n\
         /dev/sdz1 /srv ext4 defaults 0 2\n\
         tmpfs /scratch tmpfs size=1m 0 0\n",
        0o644,
    );
    r.tree.mkdir("/scratch", 0o755, 0).unwrap();
    write(r, "/etc/hosts", "# nothing here\n", 0o644);
    write(r, "/etc/nologin", "not here\n", 0o644);
    write(r, "/etc/mtab", "overlay / overlay rw 0 0\n", 0o644);
    write(r, "/etc/environment", "container=docker\n", 0o644);
    write(r, "/forcefsck", "", 0o644);
    let rules = "SUBSYSTEM==\"net\", ATTR{address}==\"02:42:ac:11:00:02\", NAME=\"eth7\"\n";
    write(r, "/etc/udev/rules.d/70-persistent-net.rules", rules, 0o644);
    // Open for everyone, through its link.
    let shadow = r.read_text("/etc/shadow", 1 << 20).unwrap().unwrap();
    write(r, "/var/lib/accounts/shadow", &shadow, 0o666);
    r.tree
        .symlink("/etc/shadow", "../var/lib/accounts/shadow", 0)
        .unwrap();
    let id = r.tree.insert(
        "/srv/nobodys",
        Node::new(Kind::bytes(&b"x"[..]), Meta::root(0o644, 0)),
    );
    r.tree.node_mut(id.unwrap()).meta.uid = u32::MAX;
}

/// What must hold in both, for a user who is not root.
fn works_for_anna(session: &mut docker_to_linux::vm::Session) {
    let mut guest = Guest::open(session, "anna", PASSWORD);
    assert_eq!(guest.run("id -un; cat /data/kept"), "anna\nprecious");
    guest.run("touch /var/tmp/a /tmp/a");
    guest.run("ping -c 1 -W 5 localhost >/dev/null 2>&1 || getent hosts localhost");
    guest.run("! cat /etc/shadow && ! cat /var/lib/accounts/shadow");
    guest.run("test -z \"${container-}\"; mount | grep -q ' /scratch '");
    guest.run("grep -q ext4 /etc/mtab");
    // The shell of the login ends a little later, and the prompt comes again.
    guest.run("shell=$PPID; (sleep 3; kill -HUP $shell) >/dev/null 2>&1 & exit 0");
    machine::expect(session, &[PROMPT]);
}

/// systemd as images have it that run it in a container: masks, removed links, another target.
fn pretended_by_systemd(r: &mut Rootfs) {
    const LIB: &str = "/usr/lib/systemd/system";
    const ETC: &str = "/etc/systemd/system";
    for (root, target) in [
        (LIB, "sysinit"),
        (LIB, "multi-user"),
        (LIB, "local-fs"),
        (ETC, "multi-user"),
        (ETC, "getty"),
    ] {
        let dir = format!("{root}/{target}.target.wants");
        let names: Vec<String> = r.tree.entries(&dir).map(|(n, _)| n.to_owned()).collect();
        assert!(!names.is_empty(), "{dir}");
        for name in names {
            r.tree.remove(format!("{dir}/{name}"));
        }
    }
    for socket in ["systemd-udevd-control", "systemd-udevd-kernel"] {
        assert!(
            r.tree
                .remove(format!("{LIB}/sockets.target.wants/{socket}.socket"))
        );
    }
    for unit in [
        "getty.target",
        "getty@tty1.service",
        "serial-getty@ttyS0.service",
        "systemd-logind.service",
        "systemd-remount-fs.service",
        "systemd-udev-trigger.service",
        "systemd-udevd.service",
        "dev-hugepages.mount",
    ] {
        r.tree
            .symlink(&format!("{ETC}/{unit}"), "/dev/null", 0)
            .unwrap();
    }
    r.tree
        .symlink(
            &format!("{ETC}/default.target"),
            "/lib/systemd/system/rescue.target",
            0,
        )
        .unwrap();
    let unit = "[Mount]\nWhat=/dev/disk/by-uuid/1111-3333\nWhere=/opt/old\n";
    write(r, &format!("{ETC}/opt-old.mount"), unit, 0o644);
    r.tree
        .symlink(
            &format!("{ETC}/local-fs.target.requires/opt-old.mount"),
            "../opt-old.mount",
            0,
        )
        .unwrap();
    write(
        r,
        "/etc/systemd/system.conf.d/c.conf",
        "[Manager]\nDefaultEnvironment=container=docker\n",
        0o644,
    );
    write(r, "/etc/crypttab", "old UUID=1111-4444 none luks\n", 0o644);
    write(r, "/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755);
    write(
        r,
        "/etc/dpkg/dpkg.cfg.d/docker-apt-speedup",
        "force-unsafe-io\n",
        0o644,
    );
    write(
        r,
        "/etc/apt/apt.conf.d/docker-clean",
        "APT::Keep-Downloaded-Packages \"false\";\n",
        0o644,
    );
}

#[test]
#[ignore = "boots a machine, which takes a minute without KVM"]
fn a_debian_that_lived_elsewhere_is_at_home() {
    let change = |r: &mut Rootfs| {
        lived_elsewhere(r);
        pretended_by_systemd(r);
    };
    boot("debian", change, |notes, session| {
        assert!(notes.len() > 15, "{notes:#?}");
        works_for_anna(session);
        let mut guest = Guest::open(session, "root", PASSWORD);
        // The disk that may come is given up after 30 s; until then the state is "starting".
        assert_eq!(guest.run("systemctl is-system-running --wait"), "running");
        assert_eq!(guest.run("systemctl --failed --no-legend --plain"), "");
        guest.run("systemctl is-active systemd-logind systemd-udevd systemd-networkd getty@tty1 multi-user.target");
        // Nothing that the prompt needs waited for a disk.
        guest.run("systemctl show -p After --value local-fs.target swap.target cryptsetup.target | tr ' ' '\\n' | grep '\\.device' && exit 1; exit 0");
        guest
            .run("systemd-run --wait --pipe -q -p User=nobody cat /etc/passwd /usr/lib/os-release");
        guest.run("! test -e /usr/sbin/policy-rc.d && ! systemd-detect-virt --container");
        guest.run("test \"$(stat -c '%U %a' / /var/tmp /var/lib/accounts/shadow)\" = \"$(printf 'root 755\\nroot 1777\\nroot 640')\"");
        assert_eq!(guest.run("stat -c %u /srv/nobodys"), "65534");
    });
}

/// OpenRC as images have it that run it in a container.
fn pretended_by_openrc(r: &mut Rootfs) {
    for level in ["sysinit", "boot", "shutdown"] {
        let dir = format!("/etc/runlevels/{level}");
        let names: Vec<String> = r.tree.entries(&dir).map(|(n, _)| n.to_owned()).collect();
        for name in names {
            r.tree.remove(format!("{dir}/{name}"));
        }
    }
    let conf = r.read_text("/etc/rc.conf", 1 << 20).unwrap().unwrap();
    let conf = format!("{conf}\nrc_sys=\"docker\"\nrc_provide=\"loopback net\"\n");
    write(r, "/etc/rc.conf", &conf, 0o644);
    write(
        r,
        "/etc/inittab",
        "# emptied\n::ctrlaltdel:/sbin/reboot\n",
        0o644,
    );
}

#[test]
#[ignore = "boots a machine, which takes a minute without KVM"]
fn an_alpine_that_lived_elsewhere_is_at_home() {
    let change = |r: &mut Rootfs| {
        lived_elsewhere(r);
        pretended_by_openrc(r);
    };
    boot("alpine", change, |notes, session| {
        assert!(notes.len() > 10, "{notes:#?}");
        works_for_anna(session);
        let mut guest = Guest::open(session, "root", PASSWORD);
        let status = guest.run("rc-status -a");
        assert!(!status.contains("crashed"), "{status}");
        for service in [
            "devfs",
            "mdev",
            "hwdrivers",
            "modules",
            "hostname",
            "localmount",
            "networking",
        ] {
            guest.run(&format!("rc-service {service} status"));
        }
        assert_eq!(
            guest
                .run("rc-status -f ini -s | grep -c 'stopped' || true; hostname")
                .lines()
                .last(),
            Some("alpine")
        );
        guest.run("grep -q ' / ext4 rw' /proc/mounts && su -s /bin/sh nobody -c 'cat /etc/passwd >/dev/null'");
        guest.run("test \"$(stat -c '%U %a' / /var/tmp /var/lib/accounts/shadow)\" = \"$(printf 'root 755\\nroot 1777\\nroot 640')\"");
        guest.run("! test -e /srv/nobodys || test \"$(stat -c %u /srv/nobodys)\" = 65534");
        guest.run("for n in $(seq 60); do ip -4 addr | grep -q 'inet 10\\.0\\.2\\.' && exit 0; sleep 1; done; ip addr; exit 1");
    });
}
