//! The unit of systemd and the script of OpenRC.

use super::*;

#[test]
fn a_unit_of_systemd() {
    let mut r = rootfs(&[
        ("/etc/passwd", PASSWD),
        ("/etc/group", GROUP),
        ("/etc/pam.d/login", ""),
        ("/etc/environment", "X=1"),
    ]);
    r.tree
        .write("/run.sh", b"elf".as_slice(), 0o755, 5)
        .unwrap();
    let wants = "/etc/systemd/system/multi-user.target.wants";
    let mut c = container(
        &["/run.sh", "100%"],
        &[
            ("A", "it's"),
            ("HOME", "/h"),
            ("B", "plain text"),
            ("c.d", "x"),
        ],
    );
    c.user = Some("app".into());
    c.exposed_ports = vec!["80/tcp".into()];
    c.volumes = vec!["/data".into()];
    c.working_dir = "/srv/www".into();
    c.healthcheck = Some(vec!["/check".into()]);
    assert!(add(&mut r, Init::Systemd, &c, OWN).unwrap().is_empty());
    assert!(
        r.tree
            .resolve(format!("{wants}/container.service"))
            .is_some()
    );
    let unit = text(&r, "/etc/systemd/system/container.service");
    for line in [
        "ExecStart=/usr/lib/docker-to-linux/console /usr/lib/docker-to-linux/service",
        "User=1000",
        "Group=1001",
        "KillSignal=SIGQUIT",
        "Restart=on-failure",
    ] {
        assert!(unit.lines().any(|l| l == line), "{line}\n{unit}");
    }
    // What the image says is in the launcher alone.
    assert!(!unit.contains('%') && !unit.contains("it's"), "{unit}");
    assert!(text(&r, LAUNCHER).contains(r"'A=it'\''s'"));
    assert!(text(&r, HEALTHCHECK).contains("'/check'"));
    let sysctl = text(&r, "/etc/sysctl.d/80-container.conf");
    assert!(sysctl.contains("ip_unprivileged_port_start = 0"));
    let profile = text(&r, "/etc/profile.d/container.sh");
    assert!(
        profile.contains("export A='it'\\''s'\nexport B='plain text'\n"),
        "{profile}"
    );
    assert!(
        !profile.contains("HOME") && !profile.contains("c.d"),
        "{profile}"
    );
    assert!(text(&r, "/etc/environment").starts_with("X=1\n#"));
    assert!(text(&r, "/etc/environment").ends_with("\nB=plain text\n"));
    for dir in ["/data", "/srv/www"] {
        let id = r.tree.resolve(dir).unwrap();
        assert!(matches!(r.tree.node(id).kind, Kind::Dir(_)), "{dir}");
    }
}

#[test]
fn a_script_of_openrc() {
    let mut r = rootfs(&[("/etc/passwd", PASSWD), ("/etc/group", GROUP)]);
    r.tree
        .write("/run.sh", b"elf".as_slice(), 0o755, 5)
        .unwrap();
    let mut c = container(&["/run.sh"], &[]);
    c.user = Some("77:88".into());
    assert!(add(&mut r, Init::OpenRc, &c, OWN).unwrap().is_empty());
    let script = text(&r, "/etc/init.d/container");
    assert!(script.contains("\ncommand_user=77:88\n"), "{script}");
    assert!(
        script.contains("retry=\"SIGQUIT/30/SIGKILL/5\""),
        "{script}"
    );
    assert!(text(&r, "/etc/passwd").ends_with("\ncontainer77:x:77:88::/:/sbin/nologin\n"));
    assert!(text(&r, "/etc/group").ends_with("\ncontainer88:x:88:\n"));
    assert!(r.tree.resolve("/etc/runlevels/default/container").is_some());
    // No port of root's, no change of who may listen.
    assert!(!r.tree.exists("/etc/sysctl.d/80-container.conf"));
    for script in ["/etc/init.d/container", CONSOLE, LAUNCHER] {
        is_script(&r, script);
    }
}

/// supervise-daemon(8) of OpenRC 0.63 was asked which it takes.
#[test]
fn every_stop_signal_is_one_for_both_inits() {
    for (signal, systemd, openrc) in [
        ("TERM", "SIGTERM", "SIGTERM"),
        ("28", "SIGWINCH", "SIGWINCH"),
        ("SIGRTMIN+3", "SIGRTMIN+3", "-37"),
        ("rtmax-2", "SIGRTMIN+28", "-62"),
        ("STKFLT", "SIGSTKFLT", "-16"),
    ] {
        let mut c = container(&["/run.sh"], &[]);
        c.stop_signal = Signal::parse(signal).unwrap();
        let mut r = rootfs(&[]);
        add(&mut r, Init::Systemd, &c, OWN).unwrap();
        let unit = text(&r, "/etc/systemd/system/container.service");
        assert!(
            unit.contains(&format!("\nKillSignal={systemd}\n")),
            "{unit}"
        );
        let mut r = rootfs(&[]);
        add(&mut r, Init::OpenRc, &c, OWN).unwrap();
        let script = text(&r, "/etc/init.d/container");
        let retry = format!("\nretry=\"{openrc}/30/SIGKILL/5\"\n");
        assert!(script.contains(&retry), "{script}");
    }
}
