use super::*;
use crate::recipe::{PasswordHash, User};

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMYHRKkc2uJG0Et/N/LGI0/I8mbBbM3Rs8pgfuFFfVPk test";

fn hash() -> PasswordHash {
    format!("$6$salt${}", "a".repeat(86)).parse().unwrap()
}

fn container() -> Rootfs {
    rootfs(
        &[
            (
                "/etc/passwd",
                "root:x:0:0:root:/root:/bin/bash\nsync:x:4:65534:sync:/bin:/bin/sync\nwww-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\nubuntu:x:1000:1000::/home/ubuntu:/bin/bash\n",
            ),
            (
                "/etc/shadow",
                "root:*:20000:0:99999:7:::\nwww-data:!:20000:0:99999:7:::\n",
            ),
            (
                "/etc/group",
                "root:x:0:\nadm:x:4:\nwww-data:x:33:\nshadow:x:42:\nsudo:x:27:ubuntu\nubuntu:x:1000:\nvideo:x:44:www-data\n",
            ),
            ("/etc/gshadow", "root:*::\nadm:*::\nsudo:*::ubuntu\n"),
            ("/bin/bash", "elf"),
            ("/bin/sh", "elf"),
            ("/usr/bin/sudo", "elf"),
            ("/etc/skel/.profile", "profile"),
            ("/root/.bashrc", "rc"),
            ("/var/www/index.html", "x"),
        ],
        &[],
    )
}

/// The machine after these users came in.
fn with(mut r: Rootfs, users: Vec<User>, root: &RootLogin) -> Result<Rootfs, Report> {
    let recipe = Recipe {
        users,
        ..Recipe::default()
    };
    r.epoch = 1_700_000_000;
    Logins::read(&recipe, Utf8Path::new("/nonexistent"), root)?
        .apply(&mut r, Uuid::from_u128(7))?;
    Ok(r)
}

fn user(name: &str) -> User {
    User {
        name: name.into(),
        ..User::default()
    }
}

fn owner(r: &Rootfs, path: &str) -> (u32, u32, u16) {
    let meta = &r.tree.node(r.tree.lookup(path).unwrap()).meta;
    (meta.uid, meta.gid, meta.mode)
}

#[test]
fn a_new_user_has_everything_that_a_user_has() {
    let anna = User {
        groups: vec!["adm".into(), "sudo".into()],
        password_hash: Some(hash()),
        ssh_keys: vec![KEY.into()],
        ..user("anna")
    };
    let r = with(container(), vec![anna], &RootLogin::default()).unwrap();
    assert!(text(&r, "/etc/passwd").ends_with("anna:x:1001:1001:anna:/home/anna:/bin/bash\n"));
    let shadow = text(&r, "/etc/shadow");
    let line = format!("anna:{}:19675:0:99999:7:::\n", hash().reveal());
    assert!(shadow.ends_with(&line), "{shadow}");
    let group = text(&r, "/etc/group");
    assert!(group.contains("adm:x:4:anna\n"), "{group}");
    assert!(group.contains("sudo:x:27:ubuntu,anna\n"), "{group}");
    assert!(group.ends_with("anna:x:1001:\n"), "{group}");
    let gshadow = text(&r, "/etc/gshadow");
    assert!(gshadow.contains("sudo:*::ubuntu,anna\n"), "{gshadow}");
    assert!(gshadow.ends_with("anna:!::\n"), "{gshadow}");
    assert_eq!(owner(&r, "/home/anna"), (1001, 1001, 0o700));
    assert_eq!(owner(&r, "/home/anna/.profile"), (1001, 1001, 0o640));
    assert_eq!(owner(&r, "/home/anna/.ssh"), (1001, 1001, 0o700));
    let keys = "/home/anna/.ssh/authorized_keys";
    assert_eq!(owner(&r, keys), (1001, 1001, 0o600));
    assert_eq!(text(&r, keys), format!("{KEY}\n"));
    // Owner and mode of what was there stay.
    assert_eq!(owner(&r, "/etc/shadow"), (0, 0, 0o640));
    assert!(!r.tree.exists("/etc/sudoers.d"));
}

#[test]
fn a_user_who_is_there_is_adapted() {
    let www = User {
        groups: vec!["video".into()],
        ssh_keys: vec![KEY.into()],
        sudo: true,
        ..user("www-data")
    };
    let r = with(container(), vec![www], &RootLogin::default()).unwrap();
    let passwd = text(&r, "/etc/passwd");
    assert!(
        passwd.contains("www-data:x:33:33:www-data:/var/www:/bin/bash\n"),
        "{passwd}"
    );
    // `!` would lock out the key as well.
    assert!(text(&r, "/etc/shadow").contains("www-data:*:20000:"));
    assert!(text(&r, "/etc/group").contains("video:x:44:www-data\n"));
    assert_eq!(owner(&r, "/var/www/.ssh/authorized_keys"), (33, 33, 0o600));
    // Whoever has no password cannot be asked for it.
    let sudoers = "/etc/sudoers.d/docker-to-linux-www-data";
    assert_eq!(text(&r, sudoers), "www-data ALL=(ALL:ALL) NOPASSWD: ALL\n");
    assert_eq!(owner(&r, sudoers).2, 0o440);
}

#[test]
fn root_gets_a_password_and_keys_from_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let dir = Utf8Path::from_path(dir.path()).unwrap();
    let (password, key) = (dir.join("password"), dir.join("k.pub"));
    std::fs::write(&password, "hunter2 with spaces\n").unwrap();
    std::fs::write(&key, format!("{KEY}\n")).unwrap();
    let root = RootLogin {
        password_file: Some(password.clone()),
        password_hash: None,
        ssh_keys: vec![key.clone(), key],
    };
    let r = with(container(), Vec::new(), &root).unwrap();
    let shadow = text(&r, "/etc/shadow");
    assert!(shadow.starts_with("root:$6$rounds=100000$"), "{shadow}");
    assert!(!shadow.contains("hunter2"));
    assert_eq!(text(&r, "/root/.ssh/authorized_keys"), format!("{KEY}\n"));
    // Twice the same, and never in what people print.
    let again = with(container(), Vec::new(), &root).unwrap();
    assert_eq!(shadow, text(&again, "/etc/shadow"));
    let logins = Logins::read(&Recipe::default(), dir, &root).unwrap();
    assert!(!format!("{logins:?}").contains("hunter2"));

    let refusal = |text: &str| {
        std::fs::write(&password, text).unwrap();
        let e = with(container(), Vec::new(), &root).unwrap_err();
        assert!(e.hint.is_some());
        e.message
    };
    assert!(refusal("").contains("empty"));
    assert!(refusal("\n").contains("empty"));
    assert!(refusal("secret\nmore\n").contains("more than one line"));
    assert!(!refusal("secret\nmore\n").contains("secret"));
    assert!(refusal("a\tb").contains("control"));
    assert!(refusal(&"x".repeat(256)).contains("255"));
}

#[test]
fn a_root_file_system_without_any_accounts_gets_root() {
    let root = RootLogin {
        password_hash: Some(hash()),
        ..RootLogin::default()
    };
    let r = with(rootfs(&[("/bin/sh", "elf")], &[]), Vec::new(), &root).unwrap();
    assert_eq!(text(&r, "/etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n");
    assert_eq!(
        text(&r, "/etc/shadow"),
        format!("root:{}:19675:0:99999:7:::\n", hash().reveal())
    );
    assert_eq!(owner(&r, "/etc/shadow"), (0, 0, 0o600));
    assert_eq!(owner(&r, "/root"), (0, 0, 0o700));
}

#[test]
fn what_cannot_be_is_refused_with_a_cure() {
    let refusal = |user: User| {
        let e = with(container(), vec![user], &RootLogin::default()).unwrap_err();
        assert_eq!(e.class, crate::error::Class::Mistake);
        format!("{e}; {}", e.hint.clone().unwrap())
    };
    let e = refusal(User {
        groups: vec!["vide".into()],
        ..user("anna")
    });
    assert!(
        e.contains("no group vide") && e.contains("did you mean video?"),
        "{e}"
    );
    let e = refusal(User {
        uid: Some(1000),
        ..user("anna")
    });
    assert!(e.contains("1000"), "{e}");
    let e = refusal(User {
        uid: Some(5),
        ..user("www-data")
    });
    assert!(e.contains("www-data has the ID 33"), "{e}");
    let e = refusal(User {
        shell: Some("/bin/zsh".into()),
        ..user("anna")
    });
    assert!(e.contains("/bin/zsh"), "{e}");
    let e = refusal(User {
        ssh_keys: vec!["keys/anna.pub".into()],
        ..user("anna")
    });
    assert!(e.contains("/nonexistent/keys/anna.pub"), "{e}");

    let mut r = container();
    r.tree.remove("/usr/bin/sudo");
    let anna = User {
        sudo: true,
        ..user("anna")
    };
    let e = with(r, vec![anna], &RootLogin::default()).unwrap_err();
    assert!(e.message.contains("neither sudo nor doas"), "{e}");

    // musl knows no yescrypt.
    let mut r = container();
    r.tree
        .write("/lib/ld-musl-x86_64.so.1", &b""[..], 0o755, 0)
        .unwrap();
    let yescrypt = format!("$y$j9T$F5Jx5fExrKuPp53xLKQ..1${}", "b".repeat(43));
    let root = RootLogin {
        password_hash: Some(yescrypt.parse().unwrap()),
        ..RootLogin::default()
    };
    let e = with(r, Vec::new(), &root).unwrap_err();
    assert!(e.message.contains("musl"), "{e}");
}

fn ssh_machine(files: &[(&str, &str)], root: &RootLogin) -> (Rootfs, Vec<String>) {
    let mut all = vec![
        ("/usr/lib/systemd/systemd", "elf"),
        ("/usr/lib/systemd/system/systemd-networkd.service", "unit"),
        ("/usr/lib/systemd/system/systemd-resolved.service", "unit"),
        ("/bin/sh", "elf"),
    ];
    all.extend(files);
    let mut r = rootfs(&all, &[("/sbin/init", "../usr/lib/systemd/systemd")]);
    let mut s = settings();
    s.given.logins = Logins::read(&Recipe::default(), Utf8Path::new("."), root).unwrap();
    let notes = prepare(&mut r, &s).unwrap();
    (r, notes)
}

#[test]
fn host_keys_are_each_machines_own_and_root_comes_by_key_only() {
    let dir = tempfile::tempdir().unwrap();
    let key = Utf8Path::from_path(dir.path()).unwrap().join("k.pub");
    std::fs::write(&key, KEY).unwrap();
    let root = RootLogin {
        ssh_keys: vec![key],
        ..RootLogin::default()
    };
    let sshd = [
        ("/usr/sbin/sshd", "elf"),
        ("/etc/ssh/ssh_host_rsa_key", "secret"),
        ("/etc/ssh/ssh_host_rsa_key.pub", "public"),
        ("/etc/ssh/moduli", "x"),
        ("/usr/lib/systemd/system/ssh.service", "unit"),
        (
            "/etc/ssh/sshd_config",
            "# c\nInclude /etc/ssh/sshd_config.d/*.conf\nPermitRootLogin no\n",
        ),
    ];
    let (r, notes) = ssh_machine(&sshd, &root);
    assert!(notes.is_empty(), "{notes:?}");
    assert!(!r.tree.exists("/etc/ssh/ssh_host_rsa_key"));
    assert!(!r.tree.exists("/etc/ssh/ssh_host_rsa_key.pub"));
    assert!(r.tree.exists("/etc/ssh/moduli"));
    let wants = "/etc/systemd/system/multi-user.target.wants";
    assert!(
        r.tree
            .exists(format!("{wants}/docker-to-linux-ssh-keys.service"))
    );
    assert_eq!(
        target(&r, &format!("{wants}/ssh.service")),
        "/usr/lib/systemd/system/ssh.service"
    );
    let drop_in = text(&r, "/etc/ssh/sshd_config.d/00-docker-to-linux.conf");
    assert!(drop_in.ends_with("PermitRootLogin prohibit-password\n"));

    // Nobody asked: nobody's settings are touched, but the keys still go.
    let (r, notes) = ssh_machine(&sshd, &RootLogin::default());
    assert!(notes.is_empty(), "{notes:?}");
    assert!(!r.tree.exists("/etc/ssh/ssh_host_rsa_key"));
    assert!(!r.tree.exists("/etc/ssh/sshd_config.d"));
    assert!(!r.tree.exists(format!("{wants}/ssh.service")));

    // Without a server the key is of no use, and that is said.
    let (_, notes) = ssh_machine(&[], &root);
    assert!(notes[0].contains("openssh-server"), "{notes:?}");
    // So it is where the server would not read the drop-in.
    let other = [
        sshd[0],
        ("/etc/ssh/sshd_config", "PermitRootLogin no\n"),
        sshd[4],
    ];
    let (_, notes) = ssh_machine(&other, &root);
    assert!(notes[0].contains("PermitRootLogin no"), "{notes:?}");
}
