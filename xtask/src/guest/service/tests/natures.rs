//! What a command is: an init, something that must be process 1, or a program.

use super::*;

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
