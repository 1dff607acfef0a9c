use super::*;

fn systemd(files: &[(&str, &str)]) -> Rootfs {
    let mut all = vec![("/usr/lib/systemd/systemd", "elf")];
    all.extend(files);
    rootfs(&all, &[("/sbin/init", "../usr/lib/systemd/systemd")])
}

fn openrc(files: &[(&str, &str)]) -> Rootfs {
    let mut all = vec![
        ("/bin/busybox", "elf"),
        ("/sbin/openrc", "elf"),
        ("/etc/inittab", "tty1::respawn:/sbin/getty 38400 tty1\n"),
    ];
    all.extend(files);
    rootfs(&all, &[("/sbin/init", "/bin/busybox")])
}

fn prepared(mut r: Rootfs) -> (Rootfs, Vec<String>) {
    let notes = prepare(&mut r, &settings()).unwrap();
    (r, notes)
}

const NETWORKD: (&str, &str) = ("/usr/lib/systemd/system/systemd-networkd.service", "unit");
const RESOLVED: (&str, &str) = ("/usr/lib/systemd/system/systemd-resolved.service", "unit");
const WANTS: &str = "/etc/systemd/system/multi-user.target.wants";

#[test]
fn networkd_is_set_up_and_turned_on() {
    let (r, notes) = prepared(systemd(&[NETWORKD, RESOLVED]));
    assert!(notes.is_empty(), "{notes:?}");
    let network = text(&r, "/etc/systemd/network/80-dhcp.network");
    for line in ["Name=en* eth*", "DHCP=yes", "IPv6AcceptRA=yes"] {
        assert!(network.contains(line), "{network}");
    }
    for unit in ["systemd-networkd.service", "systemd-resolved.service"] {
        assert!(r.tree.exists(format!("{WANTS}/{unit}")), "{unit}");
    }
    let stub = "../run/systemd/resolve/stub-resolv.conf";
    assert_eq!(target(&r, "/etc/resolv.conf"), stub);
}

#[test]
fn what_the_author_configured_stays() {
    let own = ("/etc/systemd/network/lan.network", "[Match]\nName=lan0\n");
    let (r, _) = prepared(systemd(&[NETWORKD, RESOLVED, own]));
    assert!(!r.tree.exists("/etc/systemd/network/80-dhcp.network"));
    assert!(r.tree.exists(format!("{WANTS}/systemd-networkd.service")));

    // Both are there; the one that is turned on counts.
    let dhcpcd = ("/usr/lib/systemd/system/dhcpcd.service", "unit");
    let mut r = systemd(&[NETWORKD, RESOLVED, dhcpcd]);
    r.tree
        .symlink(&format!("{WANTS}/dhcpcd.service"), dhcpcd.0, 0)
        .unwrap();
    let (r, notes) = prepared(r);
    assert!(notes.is_empty(), "{notes:?}");
    assert!(!r.tree.exists("/etc/systemd/network"));
    assert!(text(&r, "/etc/resolv.conf").contains("DHCP client"));

    let lan = (
        "/etc/network/interfaces",
        "auto eth0\niface eth0 inet static\n",
    );
    let mut r = openrc(&[
        lan,
        ("/etc/init.d/networking", "x"),
        ("/etc/init.d/dhcpcd", "x"),
    ]);
    r.tree
        .symlink(
            "/etc/runlevels/boot/networking",
            "/etc/init.d/networking",
            0,
        )
        .unwrap();
    let (r, _) = prepared(r);
    assert_eq!(text(&r, "/etc/network/interfaces"), lan.1);
    assert!(!r.tree.exists("/etc/runlevels/default/dhcpcd"));
}

#[test]
fn openrc_has_dhcpcd_for_every_interface_or_ifup_for_the_first() {
    let services = [("/etc/init.d/networking", "x"), ("/etc/init.d/dhcpcd", "x")];
    let (r, notes) = prepared(openrc(&services));
    assert!(notes.is_empty(), "{notes:?}");
    assert_eq!(
        target(&r, "/etc/runlevels/default/dhcpcd"),
        "/etc/init.d/dhcpcd"
    );
    assert!(r.tree.exists("/etc/runlevels/boot/networking"));
    assert!(text(&r, "/etc/network/interfaces").ends_with("iface lo inet loopback\n"));
    // Docker's name servers are the build host's.
    assert_eq!(
        text(&r, "/etc/resolv.conf"),
        "# Filled by the DHCP client.\n"
    );

    let (r, _) = prepared(openrc(&services[..1]));
    assert!(text(&r, "/etc/network/interfaces").ends_with("auto eth0\niface eth0 inet dhcp\n"));
}

/// `ifup -a` waits for each card in turn; udev brings up each on its own.
#[test]
fn ifupdown_does_not_wait_for_a_card_without_a_cable() {
    let all = [
        ("/usr/lib/systemd/system/networking.service", "unit"),
        ("/usr/lib/systemd/system/ifup@.service", "unit"),
        ("/usr/lib/systemd/system/systemd-udevd.service", "unit"),
        (
            "/usr/lib/systemd/system/ifupdown-wait-online.service",
            "unit",
        ),
        ("/usr/lib/udev/ifupdown-hotplug", "x"),
    ];
    let (r, _) = prepared(systemd(&all));
    let text_of = text(&r, "/etc/network/interfaces");
    assert!(text_of.contains("allow-hotplug /en* /eth*\n"), "{text_of}");
    assert!(!text_of.contains("auto /en*"), "{text_of}");
    let script = r.tree.lookup("/usr/lib/docker-to-linux/wired").unwrap();
    assert_eq!(r.tree.node(script).meta.mode, 0o755);
    let wait = "/etc/systemd/system/network-online.target.wants/ifupdown-wait-online.service";
    assert!(r.tree.exists(wait));
    let online = r.tree.lookup("/usr/lib/docker-to-linux/online").unwrap();
    assert_eq!(r.tree.node(online).meta.mode, 0o755);
    let drop_in = "/etc/systemd/system/ifupdown-wait-online.service.d/10-address.conf";
    let start = "\nExecStart=\nExecStart=/usr/lib/docker-to-linux/online\n";
    assert!(text(&r, drop_in).contains(start));
    // Without what starts them, and where somebody wrote the file.
    let (r, _) = prepared(systemd(&all[..4]));
    assert!(text(&r, "/etc/network/interfaces").contains("auto /en*=wired"));
    let own = (
        "/etc/network/interfaces",
        "auto lan0\niface lan0 inet dhcp\n",
    );
    let mut with = all.to_vec();
    with.push(own);
    let (r, _) = prepared(systemd(&with));
    assert_eq!(text(&r, own.0), own.1);
    assert!(!r.tree.exists(wait));
}

#[test]
fn a_machine_without_a_network_says_so() {
    let (_, notes) = prepared(systemd(&[]));
    assert!(notes[0].contains("nothing in this root file system sets up the network"));
    let (_, notes) = prepared(systemd(&[NETWORKD]));
    assert!(notes[0].contains("install systemd-resolved"), "{notes:?}");
}

const WAIT: (&str, &str) = (
    "/usr/lib/systemd/system/systemd-networkd-wait-online.service",
    "[Service]\nExecStart=/usr/lib/systemd/systemd-networkd-wait-online\n",
);

#[test]
fn one_interface_is_enough_to_be_online() {
    const DROP_IN: &str = "/etc/systemd/system/systemd-networkd-wait-online.service.d";
    let (r, _) = prepared(systemd(&[NETWORKD, RESOLVED, WAIT]));
    let text = text(&r, &format!("{DROP_IN}/10-any.conf"));
    let start = "\nExecStart=\nExecStart=/usr/lib/systemd/systemd-networkd-wait-online --any --timeout=60\n";
    assert!(text.ends_with(start), "{text}");
    let own = format!("{DROP_IN}/own.conf");
    let (r, _) = prepared(systemd(&[NETWORKD, RESOLVED, WAIT, (&own, "[Service]\n")]));
    assert!(!r.tree.exists(format!("{DROP_IN}/10-any.conf")));
}

#[test]
fn what_is_masked_or_missing_is_no_means() {
    let dhcpcd = ("/usr/lib/systemd/system/dhcpcd.service", "unit");
    let mut r = systemd(&[NETWORKD, RESOLVED, dhcpcd]);
    let mask = "/etc/systemd/system/systemd-networkd.service";
    r.tree.symlink(mask, "/dev/null", 0).unwrap();
    let (r, _) = prepared(r);
    assert!(r.tree.exists(format!("{WANTS}/dhcpcd.service")));
    // Lines for a program that is not there.
    let lan = (
        "/etc/network/interfaces",
        "auto eth0\niface eth0 inet static\n",
    );
    let (r, _) = prepared(systemd(&[NETWORKD, RESOLVED, lan]));
    assert!(r.tree.exists(format!("{WANTS}/systemd-networkd.service")));
}

#[test]
fn servers_that_nothing_else_would_fill_in_stay() {
    let servers = (
        "/etc/resolv.conf",
        "search example.org\nnameserver 192.0.2.53\n",
    );
    let fixed = (
        "/etc/systemd/network/lan.network",
        "[Match]\nName=eth0\n[Network]\nAddress=192.0.2.2/24\n",
    );
    let kept = |r: Rootfs| {
        let (r, _) = prepared(r);
        r.read_text("/etc/resolv.conf", LIMIT).unwrap().as_deref() == Some(servers.1)
    };
    assert!(kept(systemd(&[NETWORKD, RESOLVED, fixed, servers])));
    assert!(kept(systemd(&[NETWORKD, fixed, servers])));
    assert!(kept(systemd(&[servers])));
    // A client fills it, or the servers are an engine's.
    assert!(!kept(systemd(&[NETWORKD, RESOLVED, servers])));
    let dhcp = (
        "/etc/systemd/network/lan.network",
        "[Network]\nAddress=192.0.2.2/24\nDHCP=ipv4\n",
    );
    assert!(!kept(systemd(&[NETWORKD, RESOLVED, dhcp, servers])));
    let interfaces = |how: &str| {
        let text = format!(
            "auto lo\niface lo inet loopback\nauto eth0\niface eth0 inet {how}\n\taddress 192.0.2.2/24\n"
        );
        kept(openrc(&[
            ("/etc/init.d/networking", "x"),
            ("/etc/network/interfaces", &text),
            servers,
        ]))
    };
    assert!(interfaces("static"));
    assert!(!interfaces("dhcp"));
    for theirs in [
        "nameserver 127.0.0.11\n",
        "nameserver 192.168.65.7\nnameserver 10.0.2.3\n",
        "# Generated by Docker Engine.\nnameserver 192.0.2.1\n",
        "nameserver 127.0.0.53\n",
        "search x\n",
    ] {
        let (r, notes) = prepared(openrc(&[
            ("/etc/init.d/networking", "x"),
            ("/etc/network/interfaces", "iface eth0 inet static\n"),
            ("/etc/resolv.conf", theirs),
        ]));
        assert!(
            !text(&r, "/etc/resolv.conf").contains("nameserver"),
            "{theirs}"
        );
        assert!(
            notes.iter().any(|n| n.contains("no name servers")),
            "{notes:?}"
        );
    }
}

#[test]
fn the_machine_knows_its_own_name() {
    let mut r = systemd(&[
        NETWORKD,
        RESOLVED,
        ("/etc/hosts", "127.0.0.1 localhost\n10.0.0.1 db\n"),
    ]);
    let s = Settings {
        hostname: "box.example.org".into(),
        ..settings()
    };
    prepare(&mut r, &s).unwrap();
    assert_eq!(text(&r, "/etc/hostname"), "box.example.org\n");
    let hosts = text(&r, "/etc/hosts");
    assert_eq!(
        hosts,
        "127.0.0.1 localhost\n10.0.0.1 db\n127.0.1.1\tbox.example.org box\n"
    );
    prepare(&mut r, &s).unwrap();
    assert_eq!(text(&r, "/etc/hosts"), hosts);
}

#[test]
fn every_machine_knows_localhost() {
    let hosts = |old: &str| {
        let mut r = systemd(&[NETWORKD, RESOLVED, ("/etc/hosts", old)]);
        let mut notes = clean(&mut r).unwrap();
        notes.extend(prepare(&mut r, &settings()).unwrap());
        (text(&r, "/etc/hosts"), notes.len())
    };
    const FOUR: &str = "127.0.0.1\tlocalhost\n";
    const SIX: &str = "::1\tlocalhost ip6-localhost ip6-loopback\n";
    for without in [
        "# nothing here\n",
        "10.0.0.1 db localhost.example\n",
        "#127.0.0.1 localhost\n",
        "10.0.0.1 db",
    ] {
        let (text, notes) = hosts(without);
        assert!(text.starts_with(without), "{text}");
        assert!(
            text.contains(FOUR) && text.contains(SIX) && text.ends_with("\tbox\n"),
            "{text}"
        );
        assert_eq!(notes, 1);
    }
    let (text, _) = hosts("::1 localhost\n127.0.1.1 box\n");
    assert_eq!(text, format!("::1 localhost\n127.0.1.1 box\n{FOUR}"));
    // The carriage return would be a letter of the name.
    let (text, notes) = hosts("127.0.0.1 localhost\r\n127.0.1.1 box\r\n");
    assert_eq!(
        (text.as_str(), notes),
        ("127.0.0.1 localhost\n127.0.1.1 box\n", 0)
    );
    let (text, notes) = hosts("127.0.0.1 a localhost # x\n");
    assert_eq!(
        (text.as_str(), notes),
        ("127.0.0.1 a localhost # x\n127.0.1.1\tbox\n", 0)
    );
}
