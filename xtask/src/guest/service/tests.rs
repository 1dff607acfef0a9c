#![allow(clippy::unwrap_used, clippy::panic)]

mod hosted;
mod namespaces;
mod natures;
mod rival_services;
mod script;
mod units;
mod users;

use super::*;
use crate::plan::{Restart, Signal};
use crate::rootfs::{Kind, Meta, Stores, Tree};
use proptest::prelude::*;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

/// Fails if the file at `path` is no script that a POSIX shell can read.
#[track_caller]
fn is_script(rootfs: &Rootfs, path: &str) {
    let out = Command::new("/bin/sh")
        .args(["-n", "-c", &text(rootfs, path)])
        .output()
        .unwrap();
    assert!(out.status.success(), "{path}: {out:?}");
}

fn container(command: &[&str], env: &[(&str, &str)]) -> Container {
    let owned = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
    Container {
        root: None,
        restart: Some(Restart::OnFailure),
        command: command.iter().map(|s| (*s).to_owned()).collect(),
        env: env.iter().map(owned).collect(),
        user: None,
        working_dir: "/".into(),
        stop_signal: Signal::parse("QUIT").unwrap(),
        exposed_ports: Vec::new(),
        volumes: Vec::new(),
        healthcheck: None,
        health_schedule: None,
        stop_seconds: 30,
        privileged: false,
    }
}

/// Where the machine's init is.
const OWN: &str = "/sbin/init";

fn root() -> Account {
    Account {
        uid: 0,
        gid: 0,
        groups: Vec::new(),
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

const PASSWD: &str = "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/srv:/bin/sh\n";
const GROUP: &str = "root:x:0:\napp:x:1001:\nwww:x:33:app\n";

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
