//! Services that would start the command a second time.

use super::*;

const NGINX: &str = "[Unit]\nAfter=network-online.target\n[Service]\nExecStartPre=/usr/sbin/nginx -t\nExecStart=/usr/sbin/nginx -g 'daemon on;'\n";
const RESOLVED: &str = "[Unit]\nDefaultDependencies=no\nBefore=network.target nss-lookup.target\n[Service]\nExecStart=!!/usr/lib/systemd/systemd-resolved\n[Install]\nAlias=dbus-org.freedesktop.resolve1.service\n";
const MANAGER: &str = "[Unit]\nBefore=network.target\n[Service]\nBusName=org.freedesktop.NetworkManager\nExecStart=/usr/sbin/NetworkManager --no-daemon\n";

/// What a command disables of the units `enabled`, each with its text.
fn rivals(enabled: &[(&str, &str)], files: &[(&str, &str)], command: &[&str]) -> Vec<String> {
    const DIR: &str = "/etc/systemd/system";
    let mut r = programs(&MACHINE);
    for (path, text) in files {
        r.tree.write(path, text.as_bytes(), 0o755, 5).unwrap();
    }
    for (name, text) in enabled {
        let file = format!("/usr/lib/systemd/system/{name}");
        r.tree.write(&file, text.as_bytes(), 0o644, 5).unwrap();
        let link = format!("{DIR}/multi-user.target.wants/{name}");
        r.tree.symlink(&link, &file, 5).unwrap();
    }
    let c = container(command, &[]);
    let note = disable_rivals(&mut r, Init::Systemd, &c, OWN).unwrap();
    let off = |(name, _): &&(&str, &str)| {
        !r.tree
            .exists(format!("{DIR}/multi-user.target.wants/{name}"))
    };
    let off: Vec<String> = enabled
        .iter()
        .filter(off)
        .map(|(n, _)| (*n).to_owned())
        .collect();
    for name in &off {
        assert!(note.as_ref().unwrap().contains(name.as_str()), "{note:?}");
    }
    assert_eq!(note.is_some(), !off.is_empty(), "{note:?}");
    off
}

#[test]
fn only_what_the_command_starts_itself_is_disabled() {
    let ssh = "[Service]\nExecStart=/usr/sbin/sshd -D $SSHD_OPTS\n";
    let cron = "[Service]\nExecStart=/usr/sbin/cron -f\n";
    let chrony = "[Unit]\nBefore=time-sync.target\n[Service]\nExecStart=/usr/sbin/chronyd\n";
    let apache = "[Service]\nExecStart=/usr/sbin/apachectl start\n";
    let postgres = "[Service]\nType=oneshot\nExecStart=/bin/true\n";
    let all = [
        ("nginx.service", NGINX),
        ("nginx.socket", "[Socket]\nListenStream=80\n"),
        ("systemd-resolved.service", RESOLVED),
        ("NetworkManager.service", MANAGER),
        ("ssh.service", ssh),
        ("cron.service", cron),
        ("chrony.service", chrony),
        ("apache2.service", apache),
        ("postgresql.service", postgres),
    ];
    let elf: Vec<(&str, &str)> = [
        "/usr/sbin/nginx",
        "/usr/sbin/sshd",
        "/usr/sbin/cron",
        "/usr/sbin/chronyd",
        "/usr/sbin/NetworkManager",
        "/usr/lib/systemd/systemd-resolved",
        "/usr/sbin/apachectl",
        "/usr/sbin/apache2",
        "/usr/lib/postgresql/17/bin/postgres",
        "/usr/bin/node",
        "/bin/true",
    ]
    .map(|path| (path, "elf"))
    .into();
    let supervised = [
        ("/usr/bin/supervisord", "#!/usr/bin/python3\nimport x\n"),
        (
            "/etc/supervisor/conf.d/all.conf",
            "[program:a]\ncommand=/usr/sbin/nginx -g 'daemon off;'\n; command=/usr/sbin/cron\n[program:b]\ncommand=NetworkManager\n",
        ),
        (
            "/run-all",
            "#!/bin/sh\nservice cron start\n# nginx\nNetworkManager --version\nexec node /app.js\n",
        ),
        (
            "/apache-foreground",
            "#!/bin/bash\nset -e\nexec apache2 -DFOREGROUND \"$@\"\n",
        ),
        ("/etc/ssh/x", ""),
    ];
    let with = |command: &[&str]| {
        let (no, yes) = (&elf[..], [&elf[..], &supervised].concat());
        let has_script = supervised.iter().any(|(p, _)| command[0] == *p);
        rivals(&all, if has_script { &yes } else { no }, command)
    };
    let none: [&str; 0] = [];
    assert_eq!(with(&["node", "/app.js", "nginx"]), none);
    assert_eq!(
        with(&["nginx", "-g", "daemon off;"]),
        ["nginx.service", "nginx.socket"]
    );
    assert_eq!(
        with(&["/entrypoint", "nginx"]),
        ["nginx.service", "nginx.socket"]
    );
    assert_eq!(
        with(&["tini", "--", "nginx"]),
        ["nginx.service", "nginx.socket"]
    );
    assert_eq!(
        with(&["sh", "-c", "cron && exec nginx"]),
        ["nginx.service", "nginx.socket", "cron.service"]
    );
    assert_eq!(with(&["/usr/sbin/sshd", "-D"]), ["ssh.service"]);
    // The machine's clock, but the command is the same program.
    assert_eq!(with(&["chronyd", "-d"]), ["chrony.service"]);
    assert_eq!(
        with(&["/usr/lib/postgresql/17/bin/postgres"]),
        ["postgresql.service"]
    );
    assert_eq!(
        with(&["/usr/bin/supervisord", "-n"]),
        ["nginx.service", "nginx.socket"]
    );
    assert_eq!(
        with(&["/run-all"]),
        ["nginx.service", "nginx.socket", "cron.service"]
    );
    assert_eq!(with(&["/apache-foreground"])[..1], ["nginx.service"]);
}

#[test]
fn a_package_brings_its_units() {
    let units = [
        (
            "web-main.service",
            "[Service]\nExecStart=/usr/libexec/web-helper\n",
        ),
        ("other.service", "[Service]\nExecStart=/usr/libexec/other\n"),
    ];
    let files = [
        ("/usr/bin/webd", "elf"),
        ("/var/lib/dpkg/info/web-bin.list", "/.\n/usr/bin/webd\n"),
        (
            "/var/lib/dpkg/info/web-common:all.list",
            "/lib/systemd/system/web-main.service\n",
        ),
        (
            "/var/lib/dpkg/info/other.list",
            "/lib/systemd/system/other.service\n",
        ),
        (
            "/var/lib/dpkg/status",
            "Package: web-bin\nSource: web (1.2)\n\nPackage: web-common\nSource: web\n\nPackage: other\n",
        ),
    ];
    assert_eq!(rivals(&units, &files, &["webd"]), ["web-main.service"]);
}

/// Scripts of System V have no link that could be taken away; services of OpenRC are the machine's
/// until the runlevel `default`.
#[test]
fn rivals_without_units_of_systemd() {
    let script = ("/etc/init.d/old", "#!/bin/sh\nDAEMON=/usr/sbin/oldd\n");
    let mut r = programs(&[script, ("/usr/sbin/oldd", "elf")]);
    r.tree
        .symlink("/etc/rc2.d/S01old", "../init.d/old", 5)
        .unwrap();
    let c = container(&["/usr/sbin/oldd"], &[]);
    let note = disable_rivals(&mut r, Init::Systemd, &c, OWN).unwrap();
    assert!(note.unwrap().contains("systemctl unmask"));
    assert!(r.tree.exists("/etc/systemd/system/old.service"));

    let services = [
        (
            "/etc/init.d/nginx",
            "#!/sbin/openrc-run\ncommand=\"/usr/sbin/nginx\"\n",
        ),
        (
            "/etc/init.d/crond",
            "#!/sbin/openrc-run\ncommand=\"/usr/sbin/crond\"\n",
        ),
        (
            "/etc/init.d/dhcpcd",
            "#!/sbin/openrc-run\ncommand=/sbin/dhcpcd\ndepend() {\n\tprovide net\n}\n",
        ),
        ("/usr/sbin/nginx", "elf"),
        ("/sbin/dhcpcd", "elf"),
        ("/bin/busybox", "elf"),
        ("/start", "#!/bin/sh\ndhcpcd -x\nnginx\n"),
    ];
    let off = |command: &[&str]| {
        let mut r = programs(&services);
        // One file, but other programs than httpd.
        r.tree
            .symlink("/usr/sbin/crond", "/bin/busybox", 5)
            .unwrap();
        r.tree
            .symlink("/usr/sbin/httpd", "/bin/busybox", 5)
            .unwrap();
        for name in ["nginx", "crond", "dhcpcd"] {
            let link = format!("/etc/runlevels/default/{name}");
            r.tree
                .symlink(&link, &format!("/etc/init.d/{name}"), 5)
                .unwrap();
        }
        let c = container(command, &[]);
        let note = disable_rivals(&mut r, Init::OpenRc, &c, OWN).unwrap();
        let names = ["crond", "dhcpcd", "nginx"];
        let off = names
            .into_iter()
            .filter(|n| !r.tree.exists(format!("/etc/runlevels/default/{n}")));
        let off: Vec<&str> = off.collect();
        assert_eq!(note.is_some(), !off.is_empty());
        off
    };
    assert_eq!(off(&["nginx"]), ["nginx"]);
    assert_eq!(off(&["httpd", "-f"]), [""; 0]);
    assert_eq!(off(&["crond", "-f"]), ["crond"]);
    assert_eq!(off(&["/start"]), ["nginx"]);
}
