//! What is taken out before anything else, and what must not be.

use super::*;

fn kind(r: &Rootfs, path: &str) -> &'static str {
    let id = r.tree.lookup(path);
    id.map_or("nothing", |id| r.tree.node(id).kind.name())
}

#[test]
fn a_link_does_not_lead_the_cleaning_to_other_folders() {
    for place in ["/dev", "/proc", "/sys", "/run", "/tmp"] {
        let mut r = rootfs(
            &[("/data/kept", "x"), ("/data/.containerenv", "x")],
            &[(place, "data")],
        );
        let notes = clean(&mut r).unwrap();
        assert_eq!(text(&r, "/data/kept"), "x", "{place}");
        assert_eq!(text(&r, "/data/.containerenv"), "x", "{place}");
        // The kernel and the initrd mount there; only /tmp may be elsewhere.
        let is = if place == "/tmp" {
            "symbolic link"
        } else {
            "directory"
        };
        assert_eq!(kind(&r, place), is);
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(
            notes[0].contains(place) && notes[0].contains("data"),
            "{notes:?}"
        );
    }
}

#[test]
fn a_tmp_that_is_elsewhere_can_be_used() {
    let mut r = rootfs(&[("/var/tmp/kept", "x")], &[("/tmp", "/var/tmp")]);
    clean(&mut r).unwrap();
    assert_eq!(target(&r, "/tmp"), "/var/tmp");
    assert_eq!(text(&r, "/var/tmp/kept"), "x");
    let id = r.tree.resolve("/tmp").unwrap();
    assert_eq!(r.tree.node(id).meta.mode, 0o1777);
    // /run is empty when the machine starts, so nothing is there.
    for nowhere in ["/run/tmp", "/nowhere"] {
        let mut r = rootfs(&[("/run/tmp/x", "x")], &[("/tmp", nowhere)]);
        let notes = clean(&mut r).unwrap();
        assert_eq!(kind(&r, "/tmp"), "directory");
        assert!(notes.iter().any(|n| n.contains(nowhere)), "{notes:?}");
    }
    let mut r = rootfs(&[("/tmp", "a file")], &[]);
    assert!(clean(&mut r).unwrap()[0].contains("was a file"));
    assert_eq!(kind(&r, "/tmp"), "directory");
}

#[test]
fn what_is_removed_is_told_unless_it_is_an_engines() {
    let leftovers = [
        ("/.dockerenv", ""),
        ("/dev/console", ""),
        ("/run/.containerenv", "engine=podman"),
        (
            "/run/systemd/resolve/stub-resolv.conf",
            "nameserver 1.2.3.4\n",
        ),
        ("/run/nginx.pid", "17\n"),
        ("/run/lock/x", "17\n"),
        ("/tmp/empty", ""),
    ];
    let mut r = rootfs(&leftovers, &[]);
    assert_eq!(clean(&mut r).unwrap(), [""; 0]);
    for (path, _) in leftovers {
        assert!(!r.tree.exists(path), "{path}");
    }
    let mut r = rootfs(
        &[
            ("/tmp/b/model.bin", "12345"),
            ("/tmp/a", "123"),
            ("/run/app/key", "k"),
        ],
        &[],
    );
    let notes = clean(&mut r).unwrap();
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(
        notes[0].contains("1 file (1 bytes) from /run, e.g. /run/app/key"),
        "{notes:?}"
    );
    assert!(
        notes[1].contains("2 files (8 bytes) from /tmp, e.g. /tmp/a:"),
        "{notes:?}"
    );
    assert!(!r.tree.exists("/tmp/b") && !r.tree.exists("/run/app"));
}

#[test]
fn what_belongs_to_one_machine_stays_behind() {
    let id = "0123456789abcdef0123456789abcdef";
    let journal = format!("/var/log/journal/{id}/system.journal");
    let silent = [
        ("/var/lib/systemd/random-seed", "x"),
        ("/var/lib/systemd/credential.secret", "x"),
        ("/var/lib/urandom/random-seed", "x"),
        ("/var/lib/seedrng/seed.credit", "x"),
        ("/var/lib/dhcp/dhclient.eth0.leases", "x"),
        ("/var/lib/dhcpcd/eth0.lease", "x"),
        ("/var/lib/dhcpcd/duid", "x"),
        ("/var/lib/NetworkManager/internal-1-eth0.lease", "x"),
        ("/var/lib/NetworkManager/secret_key", "x"),
        ("/etc/passwd.lock", "12"),
        ("/forcefsck", ""),
        ("/var/run/app.pid", "12"),
    ];
    let told = [
        ("/etc/nologin", "no\n"),
        ("/etc/udev/rules.d/70-persistent-net.rules", "x"),
        (journal.as_str(), "x"),
        ("/var/lib/cloud/instances/i-1/sem/x", "x"),
        ("/var/lib/cloud/data/previous-instance-id", "i-1\n"),
        (
            "/etc/netplan/50-cloud-init.yaml",
            "{match: {macaddress: 'aa:bb'}}\n",
        ),
    ];
    let kept = [
        ("/var/lib/cloud/seed/nocloud/user-data", "x"),
        ("/var/lib/cloud/scripts/per-boot/mine", "x"),
        ("/var/lib/NetworkManager/NetworkManager.state", "x"),
        (
            "/etc/netplan/60-mine.yaml",
            "{match: {macaddress: 'aa:bb'}}\n",
        ),
        ("/etc/udev/rules.d/99-mine.rules", "x"),
        ("/var/run/app/state", "x"),
        ("/var/log/journal/remote/x", "x"),
    ];
    let mut r = rootfs(&silent, &[]);
    assert_eq!(clean(&mut r).unwrap(), [""; 0]);
    for (path, _) in silent {
        assert!(!r.tree.exists(path), "{path}");
    }
    let mut r = rootfs(
        &[&told[..], &kept[..]].concat(),
        &[("/var/lib/cloud/instance", "instances/i-1")],
    );
    let notes = clean(&mut r).unwrap();
    assert_eq!(notes.len(), 4, "{notes:?}");
    for (path, _) in told {
        assert!(!r.tree.exists(path), "{path}");
    }
    for (path, _) in kept {
        assert!(r.tree.exists(path), "{path}");
    }
    // Who turned cloud-init's part off has taken its file over.
    let own = (
        "/etc/cloud/cloud.cfg.d/99-disable-network-config.cfg",
        "network: {config: disabled}",
    );
    let mut r = rootfs(&[own, told[5]], &[]);
    assert_eq!(clean(&mut r).unwrap(), [""; 0]);
    assert!(r.tree.exists(told[5].0));
}

#[test]
fn the_hosts_own_files_go_and_the_mounts_are_the_kernels() {
    let mut r = rootfs(
        &[("/etc/mtab", "overlay / overlay rw 0 0\n")],
        &[("/etc/resolv.conf", "/mnt/wsl/resolv.conf")],
    );
    let notes = clean(&mut r).unwrap();
    assert!(
        notes.len() == 1 && notes[0].contains("/etc/mtab"),
        "{notes:?}"
    );
    assert_eq!(target(&r, "/etc/mtab"), "../proc/self/mounts");
    assert!(!r.tree.exists("/etc/resolv.conf"));
    let link = [
        ("/etc/mtab", "/proc/mounts"),
        ("/etc/resolv.conf", "../run/x"),
    ];
    let mut r = rootfs(&[], &link);
    assert_eq!(clean(&mut r).unwrap(), [""; 0]);
    assert_eq!(target(&r, "/etc/mtab"), "/proc/mounts");
    assert_eq!(target(&r, "/etc/resolv.conf"), "../run/x");
}

#[test]
fn markers_of_a_container_are_taken_out() {
    let mut r = rootfs(
        &[
            (
                "/etc/environment",
                "LANG=C\ncontainer=docker\ncontainers=2\n",
            ),
            ("/etc/profile.d/c.sh", "export container=lxc\nexport A=1\n"),
            ("/etc/profile.d/own.sh", "container=x\n"),
            (
                "/etc/systemd/system.conf",
                "[Manager]\nDefaultEnvironment=A=1 \"container=docker\" B=2\n",
            ),
            (
                "/etc/systemd/system.conf.d/c.conf",
                "[Manager]\nManagerEnvironment=container=podman\n",
            ),
        ],
        &[],
    );
    let notes = clean(&mut r).unwrap();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert_eq!(text(&r, "/etc/environment"), "LANG=C\ncontainers=2\n");
    assert_eq!(text(&r, "/etc/profile.d/c.sh"), "export A=1\n");
    assert_eq!(text(&r, "/etc/profile.d/own.sh"), "container=x\n");
    assert_eq!(
        text(&r, "/etc/systemd/system.conf"),
        "[Manager]\nDefaultEnvironment=A=1 B=2\n"
    );
    assert_eq!(text(&r, "/etc/systemd/system.conf.d/c.conf"), "[Manager]\n");
}

#[test]
fn package_managers_are_told_what_a_machine_needs() {
    const POLICY: &str = "/usr/sbin/policy-rc.d";
    const APT: &str = "/etc/apt/apt.conf.d";
    let speedup = (
        "/etc/dpkg/dpkg.cfg.d/docker-apt-speedup",
        "# fast\nforce-unsafe-io\n",
    );
    let own = format!("{APT}/docker-proxy");
    let clean_up = format!("{APT}/docker-clean");
    let suggests = format!("{APT}/docker-autoremove-suggests");
    let mut r = rootfs(
        &[
            (POLICY, "#!/bin/sh\n\n# For most Docker users\n\nexit 101\n"),
            speedup,
            ("/etc/dpkg/dpkg.cfg", "no-debsig\n--force-unsafe-io\n"),
            (&own, "x"),
            (&clean_up, "x"),
            (&suggests, "x"),
        ],
        &[],
    );
    let notes = clean(&mut r).unwrap();
    assert_eq!(notes.len(), 3, "{notes:?}");
    for path in [POLICY, speedup.0, &clean_up, &suggests] {
        assert!(!r.tree.exists(path), "{path}");
    }
    assert_eq!(text(&r, "/etc/dpkg/dpkg.cfg"), "no-debsig\n");
    assert!(r.tree.exists(&own));
    // One that decides is somebody's own.
    let decides = "#!/bin/sh\ncase $1 in nginx) exit 101;; esac\nexit 0\n";
    for (policy, stays) in [
        (decides, true),
        ("#!/bin/sh\necho denied >&2\nexit 101\n", false),
        ("#!/bin/sh\nexit 0\n", true),
    ] {
        let mut r = rootfs(&[(POLICY, policy)], &[]);
        clean(&mut r).unwrap();
        assert_eq!(r.tree.exists(POLICY), stays, "{policy}");
    }
}
