#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::plan::{Restart, Signal};
use crate::rootfs::{Kind, Meta, Stores, Tree};
use proptest::prelude::*;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

fn container(command: &[&str], env: &[(&str, &str)]) -> Container {
    let owned = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
    Container {
        restart: Some(Restart::OnFailure),
        command: command.iter().map(|s| (*s).to_owned()).collect(),
        env: env.iter().map(owned).collect(),
        user: None,
        working_dir: "/".into(),
        stop_signal: Signal::parse("QUIT").unwrap(),
        exposed_ports: Vec::new(),
        volumes: Vec::new(),
        healthcheck: None,
    }
}

/// Where the machine's init is.
const OWN: &str = "/sbin/init";

fn root() -> Account {
    Account {
        uid: 0,
        gid: 0,
        home: "/root".into(),
        known: (true, true),
    }
}

fn rootfs(files: &[(&str, &str)]) -> Rootfs {
    let mut tree = Tree::new(Meta::root(0o755, 0));
    for (path, text) in files {
        tree.write(path, text.as_bytes(), 0o644, 5).unwrap();
    }
    Rootfs {
        tree,
        stores: Stores::default(),
        epoch: 1000,
        notes: Vec::new(),
    }
}

fn text(rootfs: &Rootfs, path: &str) -> String {
    let text = rootfs.read_text(path, 1 << 20).unwrap();
    text.unwrap_or_else(|| panic!("there is no {path}"))
}

/// The shells of this host that a machine's /bin/sh could be. One is always there.
fn shells() -> Vec<Vec<&'static str>> {
    let all = [
        vec!["/bin/sh"],
        vec!["dash"],
        vec!["bash", "--posix"],
        vec!["busybox", "sh"],
    ];
    let works = |shell: &Vec<&str>| {
        let mut command = Command::new(shell[0]);
        let status = command.args(&shell[1..]).args(["-c", "exit 0"]).status();
        status.is_ok_and(|s| s.success())
    };
    all.into_iter().filter(works).collect()
}

/// What a launcher's command writes.
fn run(shell: &[&str], container: &Container, command: &[String]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("service");
    let text = launcher::script("x", container, command, &root());
    std::fs::write(&path, text).unwrap();
    let out = Command::new(shell[0])
        .args(&shell[1..])
        .arg(&path)
        .env("LEAKED", "1")
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(out.status.success(), "{shell:?}: {out:?}");
    out.stdout
}

/// Any text that a process can be given.
fn words() -> impl Strategy<Value = Vec<String>> {
    let special = prop::sample::select(vec![
        "",
        " ",
        "'",
        "\"",
        "$HOME",
        "$(id)",
        "`id`",
        "%n",
        "%%",
        "\\",
        "\\n",
        "\n",
        "\r\n",
        "\t",
        "*",
        "~",
        "-n",
        "--",
        "#",
        "!",
        "&;|<>()",
        "a=b",
        "Łódź",
        "日本",
        "\u{1}\u{7f}\u{81}\u{88}",
    ]);
    let char = any::<char>().prop_filter("no NUL", |c| *c != '\0');
    let any = prop::collection::vec(char, 0..12).prop_map(String::from_iter);
    prop::collection::vec(prop_oneof![special.prop_map(str::to_owned), any], 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn arguments_arrive_byte_for_byte(words in words()) {
        // printf(1) of the host: it writes its arguments as they are, a NUL behind each.
        let mut command = vec!["/usr/bin/printf".to_owned(), "%s\\0".to_owned(), "first".to_owned()];
        command.extend(words.iter().cloned());
        let wanted: Vec<u8> = command[2..].iter().flat_map(|w| [w.as_bytes(), b"\0"].concat()).collect();
        for shell in shells() {
            let is = run(&shell, &container(&[], &[]), &command);
            prop_assert_eq!(&is, &wanted, "{:?}", shell);
        }
    }

    #[test]
    fn environment_arrives_byte_for_byte(words in words()) {
        let named: Vec<(String, &str)> = words.iter().enumerate().map(|(n, w)| (format!("v.{n}-x"), w.as_str())).collect();
        let env: Vec<(&str, &str)> = named.iter().map(|(n, w)| (n.as_str(), *w)).collect();
        let command = ["/usr/bin/env", "-0"].map(str::to_owned);
        for shell in shells() {
            let is = run(&shell, &container(&[], &env), &command);
            let mut is: Vec<&[u8]> = is.split(|b| *b == 0).filter(|e| !e.is_empty() && !e.starts_with(b"HOSTNAME=")).collect();
            let mut wanted: Vec<Vec<u8>> = env.iter().map(|(n, w)| format!("{n}={w}").into_bytes()).collect();
            wanted.push(b"HOME=/root".to_vec());
            wanted.push(b"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_vec());
            is.sort_unstable();
            wanted.sort_unstable();
            prop_assert_eq!(is, wanted, "{:?}", shell);
        }
    }
}

#[test]
fn the_image_has_the_last_word_and_the_folder_is_right() {
    let dir = tempfile::tempdir().unwrap();
    let odd = dir.path().join("it's a dir=x");
    std::fs::create_dir(&odd).unwrap();
    let program = odd.join("p=q");
    std::fs::write(&program, "#!/bin/sh\npwd; echo \"$HOME $PATH $1\"\n").unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let mut c = container(
        &[],
        &[("HOME", "/h"), ("PATH", "/usr/bin:/bin"), ("HOME", "/h2")],
    );
    c.working_dir = odd.to_str().unwrap().into();
    // By a relative path, and with a `=` that env(1) must not see.
    let command = ["./p=q", "one"].map(str::to_owned);
    for shell in shells() {
        let is = String::from_utf8(run(&shell, &c, &command)).unwrap();
        let wanted = format!("{}\n/h2 /usr/bin:/bin one\n", odd.to_str().unwrap());
        assert_eq!(is, wanted, "{shell:?}");
    }
}

const PASSWD: &str = "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/srv:/bin/sh\n";
const GROUP: &str = "root:x:0:\napp:x:1001:\nwww:x:33:app\n";

#[test]
fn users_are_whom_an_engine_takes() {
    let r = rootfs(&[("/etc/passwd", PASSWD), ("/etc/group", GROUP)]);
    let of = |user: Option<&str>| {
        let a = account::of(&r, user).unwrap();
        (a.uid, a.gid, a.home, a.known)
    };
    let known = (true, true);
    assert_eq!(of(None), (0, 0, "/root".into(), known));
    assert_eq!(of(Some("app")), (1000, 1001, "/srv".into(), known));
    assert_eq!(of(Some("1000")), (1000, 1001, "/srv".into(), known));
    assert_eq!(of(Some("app:www")), (1000, 33, "/srv".into(), known));
    assert_eq!(of(Some("app:33")), (1000, 33, "/srv".into(), known));
    assert_eq!(of(Some("77")), (77, 0, "/".into(), (false, true)));
    assert_eq!(of(Some("77:88")), (77, 88, "/".into(), (false, false)));
    assert_eq!(of(Some(":www")), (0, 33, "/root".into(), known));
    for unknown in ["nobody", "app:nobody", "-1", "99999999999"] {
        let e = account::of(&r, Some(unknown)).unwrap_err();
        assert!(e.message.contains(unknown), "{e}");
    }
}

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
        let out = Command::new("/bin/sh")
            .args(["-n", "-c", &text(&r, script)])
            .output()
            .unwrap();
        assert!(out.status.success(), "{script}: {out:?}");
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

/// A root file system with programs (and scripts) in it.
fn programs(all: &[(&str, &str)]) -> Rootfs {
    let mut r = rootfs(&[("/etc/passwd", PASSWD), ("/etc/group", GROUP)]);
    for (path, text) in all {
        r.tree.write(path, text.as_bytes(), 0o755, 5).unwrap();
    }
    r
}

const MACHINE: [(&str, &str); 6] = [
    ("/usr/lib/systemd/systemd", "elf"),
    (
        "/entrypoint",
        "#!/bin/sh\nset -e\nmkdir -p /x\nexec \"$@\"\n",
    ),
    ("/usr/bin/tini", "elf"),
    ("/usr/bin/unshare", "elf"),
    ("/usr/bin/setpriv", "elf"),
    ("/bin/binary", "elf"),
];

fn nature(command: &[&str]) -> Nature {
    let mut r = programs(&MACHINE);
    for (path, text) in [
        (
            "/always",
            "#!/bin/bash\nexport container=docker\nexec /sbin/init --log-level=info\n",
        ),
        (
            "/either",
            "#!/bin/sh\nif [ -n \"$A\" ]; then\n exec /sbin/init\nelse\n exec /lib/systemd/systemd\nfi\n",
        ),
        ("/app", "#!/bin/sh\nexec >/log 2>&1\nexec gosu app \"$@\"\n"),
        ("/init", "#!/bin/execlineb -S0\n/etc/s6/init/init-stage1\n"),
        ("/sbin/my_init", "#!/usr/bin/python3 -u\n"),
        ("/usr/bin/supervisord", "#!/usr/bin/python3\n"),
        (
            "/picky",
            "#!/bin/sh\nif [ \"$$\" -ne 1 ]; then\n  echo no >&2; exit 1\nfi\nwait\n",
        ),
        ("/usr/bin/s6-svscan", "elf"),
    ] {
        r.tree.write(path, text.as_bytes(), 0o755, 5).unwrap();
    }
    r.tree.symlink("/lib", "usr/lib", 5).unwrap();
    r.tree
        .symlink("/sbin/init", "/lib/systemd/systemd", 5)
        .unwrap();
    r.tree.symlink("/boot-it", "/sbin/init", 5).unwrap();
    let c = container(command, &[]);
    let finder = Finder::new(&r, &c);
    nature::of(finder, &c.command, OWN)
}

#[test]
fn inits_are_known_behind_what_starts_them() {
    let commands: &[&[&str]] = &[
        &["/sbin/init"],
        &["init"],
        &["/boot-it"],
        &["/usr/sbin/init"],
        &["/lib/systemd/systemd"],
        &[
            "/usr/lib/systemd/systemd",
            "--system",
            "--unit=multi-user.target",
        ],
        &["/bin/systemd"],
        &["openrc-init", "x"],
        &["/sbin/openrc-init"],
        &["busybox", "init"],
        &["/bin/busybox", "linuxrc"],
        &["/entrypoint", "/sbin/init"],
        &["/bin/binary", "--verbose", "/sbin/init"],
        &[
            "/entrypoint",
            "env",
            "container=docker",
            "-u",
            "HOME",
            "/sbin/init",
        ],
        &["tini", "--", "/sbin/init"],
        &[
            "/usr/bin/tini",
            "-g",
            "-p",
            "SIGTERM",
            "/entrypoint",
            "/sbin/init",
        ],
        &["dumb-init", "-c", "--", "/usr/sbin/init"],
        &["catatonit", "--", "/sbin/init"],
        &["docker-init", "--", "/sbin/init"],
        &["sh", "-c", "exec /lib/systemd/systemd"],
        &[
            "/bin/sh",
            "-c",
            "mkdir -p /run/x && exec env A=1 /sbin/init 3",
        ],
        &["/bin/bash", "-lc", "A=b exec /sbin/init"],
        &["sh", "-c", "exec \"$@\"", "--", "/sbin/init"],
        &["sh", "-c", "exec \"$0\" \"$@\"", "/sbin/init", "--x"],
        &["sh", "/always"],
        &["/always"],
        &["/either"],
        &["nice", "-n", "5", "setpriv", "--nnp", "/sbin/init"],
        &["exec", "/sbin/init"],
    ];
    for command in commands {
        let is = nature(command);
        if command[0] == "openrc-init" {
            // Not there, and not by its path.
            assert_eq!(is, Nature::Application, "{command:?}");
            continue;
        }
        assert!(matches!(is, Nature::Init(_)), "{command:?}: {is:?}");
    }
}

#[test]
fn some_must_be_process_one_and_most_need_not() {
    let commands: &[&[&str]] = &[
        &["/init"],
        &["/init", "nginx"],
        &["/entrypoint", "/init"],
        &["/sbin/my_init"],
        &["/sbin/my_init", "--", "nginx"],
        &["sh", "-c", "exec /init"],
        &["/picky"],
        &["env", "A=1", "/picky"],
        &["runit"],
        &["dinit", "--container"],
        &["docker-init", "--", "nginx"],
        &["catatonit", "--", "nginx"],
        &["/package/admin/s6-overlay/command/init"],
    ];
    for command in commands {
        let is = nature(command);
        assert!(matches!(is, Nature::ProcessOne(_)), "{command:?}: {is:?}");
    }
    let commands: &[&[&str]] = &[
        &["nginx", "-g", "daemon off;"],
        &["/entrypoint", "nginx"],
        &["/app", "node", "app.js"],
        &["tini", "--", "nginx"],
        // In the container tini is process 1 as well.
        &["tini", "--", "/init"],
        &["supervisord", "-n"],
        &["runsvdir", "-P", "/etc/service"],
        &["s6-svscan", "/etc/services"],
        &["/bin/binary", "--init", "/sbin/init"],
        &["/usr/lib/systemd/systemd", "--user"],
        &["sh", "-c", "echo /sbin/init; sleep infinity"],
        &["timeout"],
        &["timeout", "--"],
        &["gosu", "--"],
        &[],
    ];
    for command in commands {
        assert_eq!(nature(command), Nature::Application, "{command:?}");
    }
}

#[test]
fn an_init_is_no_service() {
    for command in [&["/sbin/init"][..], &["/entrypoint", "/sbin/init"]] {
        let mut r = programs(&MACHINE);
        r.tree
            .symlink("/sbin/init", "/usr/lib/systemd/systemd", 5)
            .unwrap();
        let notes = add(&mut r, Init::Systemd, &container(command, &[]), OWN).unwrap();
        assert!(notes[0].contains("its own init"), "{notes:?}");
        assert!(!r.tree.exists(LAUNCHER));
    }
    // The machine's own may have another name.
    let mut r = programs(&[("/opt/boot", "elf")]);
    let c = container(&["/opt/boot"], &[]);
    let notes = add(&mut r, Init::Other, &c, "/opt/boot").unwrap();
    assert!(notes[0].contains("its own init"), "{notes:?}");
}

#[test]
fn a_command_that_is_not_there_is_told() {
    let path = [("PATH", "/usr/bin:/bin")];
    for (command, told) in [
        ("binary", false),
        ("/bin/binary", false),
        ("./bin/binary", false),
        ("nowhere", true),
        ("/usr/bin/nowhere", true),
        ("/bin", true),
        ("", true),
        // It has no executable bit.
        ("/etc/passwd", true),
    ] {
        let mut r = programs(&MACHINE);
        let c = container(&[command, "x"], &path);
        let notes = add(&mut r, Init::Systemd, &c, OWN).unwrap();
        let found = notes.iter().any(|n| n.contains(&format!("{command:?}")));
        assert_eq!(found, told, "{command}: {notes:?}");
    }
}

#[test]
fn process_one_gets_a_namespace() {
    let tools = [("/init", "#!/x\n"), ("/bin/busybox", "elf")];
    let mut c = container(&["/init"], &[]);
    c.stop_signal = Signal::parse("SIGRTMIN+3").unwrap();
    let mut r = programs(&[&MACHINE[..], &tools].concat());
    let notes = add(&mut r, Init::Systemd, &c, OWN).unwrap();
    assert!(notes[0].contains("/init of the container's command must be process 1"));
    let unit = text(&r, "/etc/systemd/system/container.service");
    for line in [
        "ExecStart=/usr/lib/docker-to-linux/console /usr/bin/unshare --mount-proc --mount --pid -f /usr/lib/docker-to-linux/service",
        "ExecStop=-/usr/lib/docker-to-linux/process-1 ${MAINPID} 37 30",
        "KillSignal=SIGKILL",
    ] {
        assert!(unit.lines().any(|l| l == line), "{line}\n{unit}");
    }
    assert!(r.tree.exists(PROCESS_ONE));

    // As a user who is not root; OpenRC.
    c.user = Some("app".into());
    let mut r = programs(&[&MACHINE[..], &tools].concat());
    add(&mut r, Init::OpenRc, &c, OWN).unwrap();
    let script = text(&r, "/etc/init.d/container");
    for line in [
        "command=/usr/lib/docker-to-linux/process-1",
        "    rm -f /run/container/stopping",
        "    touch /run/container/stopping",
        "command_args=\"run /usr/bin/unshare --mount-proc --mount --pid -f /usr/bin/setpriv --reuid=1000 --regid=1001 --init-groups /usr/lib/docker-to-linux/service\"",
        "    /usr/lib/docker-to-linux/process-1 \"$(cat /run/container.pid 2>/dev/null)\" 37 30",
    ] {
        assert!(script.lines().any(|l| l == line), "{line}\n{script}");
    }
    assert!(!script.contains("command_user"), "{script}");

    // busybox's unshare will do, its setpriv will not.
    let mut r = programs(&tools);
    for name in ["/usr/bin/unshare", "/bin/setpriv"] {
        r.tree.symlink(name, "/bin/busybox", 5).unwrap();
    }
    let e = add(&mut r, Init::OpenRc, &c, OWN).unwrap_err();
    assert!(e.message.contains("no suitable setpriv") && e.hint.unwrap().contains("util-linux"));
    c.user = None;
    add(&mut r, Init::OpenRc, &c, OWN).unwrap();
    let mut r = programs(&tools);
    let e = add(&mut r, Init::OpenRc, &c, OWN).unwrap_err();
    assert!(e.message.contains("no suitable unshare"), "{e}");
}

/// The journal's end of an output is a socket, which cannot be opened by name.
#[test]
fn a_command_may_open_its_output_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("console");
    std::fs::write(&script, include_str!("../files/console-systemd.sh")).unwrap();
    let (mut journal, end) = std::os::unix::net::UnixStream::pair().unwrap();
    let command = "echo one >/dev/stdout; echo two >/dev/stderr; echo three";
    let console = |arguments: &[&str], out: Stdio| {
        let mut console = Command::new("/bin/sh");
        console
            .arg(&script)
            .args(arguments)
            .env("RUNTIME_DIRECTORY", dir.path());
        console.stdin(Stdio::null()).stdout(out).status().unwrap()
    };
    let out = Stdio::from(std::os::fd::OwnedFd::from(end));
    assert!(console(&["/bin/sh", "-c", command], out).success());
    assert!(console(&["--drain"], Stdio::null()).success());
    let mut said = String::new();
    journal.read_to_string(&mut said).unwrap();
    assert_eq!(said, "one\ntwo\nthree\n");
}

#[test]
fn a_script_whose_interpreter_is_missing_gets_a_note() {
    let note = |script: &str| {
        let mut r = rootfs(&[("/bin/bash", "elf"), ("/run.sh", script)]);
        for path in ["/bin/bash", "/run.sh"] {
            let id = r.tree.lookup(path).unwrap();
            r.tree.node_mut(id).meta.mode = 0o755;
        }
        let c = container(&["/run.sh"], &[]);
        let notes = add(&mut r, Init::Systemd, &c, OWN).unwrap();
        notes.join(" ")
    };
    for good in ["#!/bin/bash\n", "#! /bin/bash -e\necho\n", "elf", "#!"] {
        assert_eq!(note(good), "", "{good:?}");
    }
    let missing = note("#!/usr/bin/python3 -u\n");
    assert!(missing.contains("\"/usr/bin/python3\""), "{missing}");
    let windows = note("#!/bin/bash\r\necho\r\n");
    assert!(windows.contains("Windows"), "{windows}");
}
