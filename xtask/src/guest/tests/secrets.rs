//! /etc/shadow is nobody's to read, whatever it was.

use super::*;
use crate::recipe::{Recipe, User};

const HASH: &str = "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/";

fn with_password(mut r: Rootfs) -> (Rootfs, Vec<String>) {
    let recipe = Recipe {
        users: vec![User {
            name: "anna".into(),
            password_hash: Some(HASH.parse().unwrap()),
            ..User::default()
        }],
        ..Recipe::default()
    };
    let given = Given::read(
        &recipe,
        Utf8Path::new("/nonexistent"),
        &RootLogin::default(),
    );
    let settings = Settings {
        given: given.unwrap(),
        ..settings()
    };
    let mut notes = clean(&mut r).unwrap();
    notes.extend(prepare(&mut r, &settings).unwrap());
    (r, notes)
}

fn machine(files: &[(&str, &str)], links: &[(&str, &str)]) -> Rootfs {
    let mut all = vec![
        ("/bin/busybox", "elf"),
        ("/bin/sh", "elf"),
        ("/sbin/openrc", "elf"),
        ("/etc/group", "root:x:0:\nshadow:x:42:\n"),
        ("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
    ];
    all.extend(files);
    rootfs(&all, &[&[("/sbin/init", "/bin/busybox")], links].concat())
}

fn node(r: &Rootfs, path: &str) -> (u32, u32, u16) {
    let node = r.tree.node(r.tree.resolve(path).unwrap());
    assert!(matches!(node.kind, Kind::File(_)), "{path}");
    (node.meta.uid, node.meta.gid, node.meta.mode)
}

#[track_caller]
fn is_hidden(r: &Rootfs) {
    assert!(text(r, "/etc/shadow").contains(HASH));
    let (uid, gid, mode) = node(r, "/etc/shadow");
    assert_eq!((uid, mode & !0o640), (0, 0), "{gid} {mode:o}");
    assert!(gid == 0 || gid == 42, "{gid}");
}

#[test]
fn a_shadow_that_was_no_plain_file_hides_what_it_gets() {
    // A link that leads nowhere, to a device, out of what was cleaned, to a file for all.
    for link in [
        "/dev/null",
        "/tmp/shadow",
        "/nowhere/shadow",
        "../data/open",
    ] {
        let r = machine(
            &[
                ("/tmp/shadow", "root:*:1::::::\n"),
                ("/data/open", "root:*:1::::::\n"),
            ],
            &[("/etc/shadow", link)],
        );
        let mut r = r;
        let open = r.tree.lookup("/data/open").unwrap();
        r.tree.node_mut(open).meta.mode = 0o666;
        let (r, _) = with_password(r);
        is_hidden(&r);
    }
    for kind in [Kind::Fifo, Kind::Socket, Kind::Char { major: 1, minor: 3 }] {
        let mut r = machine(&[], &[]);
        let node = Node::new(kind, Meta::root(0o666, 0));
        r.tree.insert("/etc/shadow", node).unwrap();
        is_hidden(&with_password(r).0);
    }
    // A second name of a file that everybody reads keeps what it had.
    let mut r = machine(&[("/srv/public", "root:*:1::::::\n")], &[]);
    let id = r.tree.lookup("/srv/public").unwrap();
    r.tree.node_mut(id).meta.mode = 0o644;
    r.tree.link("/etc/shadow", id).unwrap();
    let (r, _) = with_password(r);
    is_hidden(&r);
    assert!(!text(&r, "/srv/public").contains(HASH));
    assert!(text(&r, "/etc/shadow").contains("root:*:"));
    // None at all.
    is_hidden(&with_password(machine(&[], &[])).0);
}

#[test]
fn a_shadow_that_others_could_read_is_hidden_even_if_nobody_changes_it() {
    for (uid, gid, mode, is) in [
        (0, 0, 0o644, (0, 42, 0o640)),
        (0, 0, 0o755, (0, 42, 0o640)),
        (1000, 1000, 0o600, (0, 42, 0o600)),
        (0, 1000, 0o640, (0, 42, 0o640)),
        (0, 0, 0o400, (0, 0, 0o400)),
        (0, 42, 0o640, (0, 42, 0o640)),
        (0, 0, 0o000, (0, 0, 0o000)),
    ] {
        for file in ["/etc/shadow", "/etc/gshadow", "/etc/shadow-"] {
            let mut r = machine(&[(file, "root:*:1::::::\n")], &[]);
            let id = r.tree.lookup(file).unwrap();
            let meta = &mut r.tree.node_mut(id).meta;
            (meta.uid, meta.gid, meta.mode) = (uid, gid, mode);
            prepare(&mut r, &settings()).unwrap();
            assert_eq!(node(&r, file), is, "{file} {uid} {gid} {mode:o}");
        }
    }
}

#[test]
fn a_folder_in_the_place_of_a_file_is_not_thrown_away() {
    let r = machine(&[("/etc/shadow/kept", "x")], &[]);
    let recipe: Recipe = serde_yaml::from_str(&format!(
        "users: [{{name: anna, password-hash: \"{HASH}\"}}]"
    ))
    .unwrap();
    let given = Given::read(
        &recipe,
        Utf8Path::new("/nonexistent"),
        &RootLogin::default(),
    );
    let settings = Settings {
        given: given.unwrap(),
        ..settings()
    };
    let mut r = r;
    let e = prepare(&mut r, &settings).unwrap_err();
    assert!(
        e.message.contains("/etc/shadow") && e.message.contains("folder"),
        "{e}"
    );
    assert!(r.tree.exists("/etc/shadow/kept"));
}

#[test]
fn a_number_that_nobody_can_have_is_no_user() {
    let mut r = machine(&[], &[]);
    let passwd = "anna:x:4294967295:100::/home/anna:/bin/sh\n";
    r.tree
        .write("/etc/passwd", passwd.as_bytes(), 0o644, 0)
        .unwrap();
    let recipe: Recipe = serde_yaml::from_str("users: [{name: anna}]").unwrap();
    let given = Given::read(
        &recipe,
        Utf8Path::new("/nonexistent"),
        &RootLogin::default(),
    );
    let settings = Settings {
        given: given.unwrap(),
        ..settings()
    };
    let e = prepare(&mut r, &settings).unwrap_err();
    assert!(
        e.message.contains("anna") && e.message.contains("number"),
        "{e}"
    );
}
