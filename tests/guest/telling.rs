//! What a plain run of `cargo xtask ci` tests.

use super::*;

#[test]
#[ignore = "boots two machines, which takes minutes without KVM"]
fn debian_lets_in_who_has_the_key_and_grows() {
    let (_keep, dir) = temp();
    let Some(ssh) = Ssh::new(&dir) else { return };
    std::fs::create_dir_all(dir.join("files/etc/app")).unwrap();
    std::fs::write(dir.join("files/etc/app/conf"), "laid over\n").unwrap();
    let login = RootLogin {
        ssh_keys: vec![ssh.key()],
        ..machine::root_by_password(&dir)
    };
    let Some(container) = with_ssh("debian") else {
        return;
    };
    let made = make("debian", &container, &dir, &login, |recipe| {
        recipe.timezone = Some("Europe/Berlin".into());
        recipe.locale = Some("C.UTF-8".into());
        recipe.swap = Some(Size(64 << 20));
        recipe.users = vec![User {
            name: "anna".into(),
            groups: vec!["adm".into()],
            ssh_keys: vec!["key.pub".into()],
            sudo: true,
            ..User::default()
        }];
        let options = "{etc/app/conf: {owner: anna:adm, mode: \"0640\"}}";
        recipe.files = serde_yaml::from_str(options).unwrap();
    });
    let header = made.header();
    made.extend(8);

    let mut session = made.boot(Firmware::Uefi, Some(ssh.port));
    let out = ssh.when_up(&session, "root", "cat /etc/machine-id; hostname");
    let root = said(&out);
    assert!(out.status.success(), "{root}");
    assert!(root.contains("debian"), "{root}");
    let out = ssh.run(
        "anna",
        "id; sudo -n id -u; stat -c '%U:%G %a' /etc/app/conf; cat /etc/app/conf",
    );
    let anna = said(&out);
    assert!(out.status.success(), "{anna}");
    for words in [
        "uid=1000(anna)",
        "(adm)",
        "\n0\n",
        "anna:adm 640",
        "laid over",
    ] {
        assert!(anna.contains(words), "no {words:?}: {anna}");
    }
    // Root's password is for the console.
    let methods = Command::new("ssh")
        .args(["-F", "/dev/null", "-p", &ssh.port.to_string()])
        .args([
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
        ])
        .args(["-o", "BatchMode=yes", "-o", "PubkeyAuthentication=no"])
        .args(["root@127.0.0.1", "true"])
        .output()
        .unwrap();
    assert!(
        said(&methods).contains("Permission denied"),
        "{}",
        said(&methods)
    );
    {
        let mut guest = Guest::open(&mut session, "root", PASSWORD);
        has_grown(&mut guest, 8);
        is_online(&mut guest);
        assert!(guest.run("date +%Z").starts_with("CE"));
        assert!(guest.run("cat /proc/swaps").contains("/swapfile"));
        assert_eq!(guest.run("systemctl --failed --no-legend --plain"), "");
        guest.run("sshd -T | grep -i '^permitrootlogin without-password'");
        // Its own keys, all of them, and none of the container's.
        assert_eq!(guest.run("ls /etc/ssh/ssh_host_*_key | wc -l"), "3");
        guest.run("update-initramfs -u 2>&1");
    }
    off(session);
    made.check(8);
    // As a power cut leaves it between two writes of the table: new partitions, old header.
    // The kernel uses the backup, which was written before both.
    made.put_header_back(&header);
    let session = made.boot(Firmware::Bios, None);
    off(session);
    made.check_root(8);
}

#[test]
#[ignore = "boots two machines, which takes minutes without KVM"]
fn alpine_grows_to_40_gib_under_bios() {
    alpine_grows(Firmware::Bios, BootMode::Hybrid, 40);
}

/// Without a configured login, nobody can log in on the console or over the network.
#[test]
#[ignore = "boots a machine, which takes a minute without KVM"]
fn debian_lets_nobody_in_unasked() {
    let (_keep, dir) = temp();
    let Some(ssh) = Ssh::new(&dir) else { return };
    let Some(container) = with_ssh("debian") else {
        return;
    };
    let made = make("debian", &container, &dir, &RootLogin::default(), |_| ());
    let mut session = made.boot(Firmware::Bios, Some(ssh.port));
    for password in ["", "root", PASSWORD] {
        session.send("root").unwrap();
        expect(&mut session, &["assword:"]);
        session.send(password).unwrap();
        let got = expect(&mut session, &["Login incorrect", "# "]);
        assert_eq!(got, 0, "root gets in with {password:?}");
        expect(&mut session, &["login: "]);
    }
    let out = ssh.when_up(&session, "root", "id");
    assert!(said(&out).contains("Permission denied"), "{}", said(&out));
    assert!(!out.status.success());
    off(session);
}
