//! Owners and modes of a build host.

use super::*;
use crate::rootfs::ROOT;

fn meta(r: &Rootfs, path: &str) -> (u32, u32, u16) {
    let meta = r.tree.node(r.tree.lookup(path).unwrap()).meta;
    (meta.uid, meta.gid, meta.mode)
}

fn own(r: &mut Rootfs, path: &str, uid: u32, gid: u32, mode: u16) {
    let id = r.tree.lookup(path).unwrap();
    let meta = &mut r.tree.node_mut(id).meta;
    (meta.uid, meta.gid, meta.mode) = (uid, gid, mode);
}

#[test]
fn the_root_folder_is_roots_and_everybody_may_enter() {
    for (old, new) in [
        ((1000, 1000, 0o700), Some(0o755)),
        ((0, 0, 0o700), Some(0o755)),
        ((0, 0, 0o750), Some(0o755)),
        ((0, 0, 0o644), Some(0o755)),
        ((0, 0, 0o000), Some(0o755)),
        ((0, 0, 0o777), Some(0o755)),
        ((0, 50, 0o775), Some(0o755)),
        ((1000, 1000, 0o755), Some(0o755)),
        ((0, 0, 0o2755), Some(0o755)),
        ((0, 0, 0o1777), Some(0o755)),
        ((0, 0, 0o755), None),
        ((0, 0, 0o711), None),
    ] {
        let mut r = rootfs(&[("/etc/motd", "")], &[]);
        let m = &mut r.tree.node_mut(ROOT).meta;
        (m.uid, m.gid, m.mode) = old;
        let notes = clean(&mut r).unwrap();
        let is = meta(&r, "/");
        match new {
            Some(mode) => assert!(
                is == (0, 0, mode) && notes.len() == 1,
                "{old:?} {is:?} {notes:?}"
            ),
            None => assert!(is == old && notes.is_empty(), "{old:?} {is:?} {notes:?}"),
        }
    }
    // Fedora's, which only root's rights can write into.
    let mut r = rootfs(&[], &[]);
    r.tree.node_mut(ROOT).meta.mode = 0o555;
    clean(&mut r).unwrap();
    assert_eq!(meta(&r, "/").2 & 0o555, 0o555);
}

#[test]
fn ways_that_every_service_takes_are_open() {
    let mut r = rootfs(
        &[
            ("/usr/bin/dash", "elf"),
            ("/usr/lib/x86_64-linux-gnu/libc.so.6", "elf"),
            ("/usr/share/zoneinfo/UTC", "tz"),
            ("/etc/passwd", "root:x:0:0::/root:/bin/sh\n"),
            ("/etc/group", "root:x:0:\n"),
            ("/var/lib/db/x", ""),
            ("/var/log/syslog", ""),
            ("/home/anna/x", ""),
            ("/srv/private/x", ""),
            ("/opt/app/x", ""),
        ],
        &[("/bin", "usr/bin"), ("/usr/bin/sh", "dash")],
    );
    for path in ["/usr", "/usr/lib/x86_64-linux-gnu", "/home", "/var/lib"] {
        own(&mut r, path, 0, 0, 0o700);
    }
    own(&mut r, "/etc", 1000, 1000, 0o777);
    own(&mut r, "/etc/passwd", 1000, 1000, 0o600);
    own(&mut r, "/etc/group", 0, 0, 0o644);
    // Meant, for all that is known.
    for (path, uid, gid, mode) in [
        ("/var/log", 0, 104, 0o775),
        ("/var/lib/db", 70, 70, 0o700),
        ("/home/anna", 1000, 1000, 0o700),
        ("/srv", 33, 33, 0o750),
        ("/opt", 0, 0, 0o700),
    ] {
        own(&mut r, path, uid, gid, mode);
    }
    let notes = clean(&mut r).unwrap();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(
        notes[0].contains("/etc, ") && notes[0].contains("/home"),
        "{notes:?}"
    );
    for path in ["/usr", "/usr/lib/x86_64-linux-gnu", "/home", "/var/lib"] {
        assert_eq!(meta(&r, path), (0, 0, 0o755), "{path}");
    }
    assert_eq!(meta(&r, "/etc"), (0, 0, 0o775));
    assert_eq!(meta(&r, "/etc/passwd"), (0, 0, 0o644));
    assert_eq!(meta(&r, "/var/log"), (0, 104, 0o775));
    assert_eq!(meta(&r, "/var/lib/db"), (70, 70, 0o700));
    assert_eq!(meta(&r, "/home/anna"), (1000, 1000, 0o700));
    assert_eq!(meta(&r, "/srv"), (33, 33, 0o750));
    assert_eq!(meta(&r, "/opt"), (0, 0, 0o700));
}

#[test]
fn every_program_may_write_into_var_tmp() {
    let mut r = rootfs(&[("/var/tmp/x", "")], &[]);
    let notes = clean(&mut r).unwrap();
    assert_eq!(meta(&r, "/var/tmp").2, 0o1777);
    assert_eq!(meta(&r, "/tmp").2, 0o1777);
    assert!(notes[0].contains("/var/tmp had the mode 0755"), "{notes:?}");
}

#[test]
fn a_tree_that_lost_its_owners_becomes_roots() {
    let mut r = rootfs(&[("/etc/motd", ""), ("/usr/bin/sudo", "elf")], &[]);
    let all: Vec<_> = r.tree.walk().map(|(_, id)| id).collect();
    for id in &all {
        let meta = &mut r.tree.node_mut(*id).meta;
        (meta.uid, meta.gid) = (1000, 100);
    }
    let mut mixed = Rootfs {
        tree: r.tree.clone(),
        stores: Stores::default(),
        epoch: 1000,
        notes: Vec::new(),
    };
    let notes = clean(&mut r).unwrap();
    assert!(notes[0].contains("the user 1000"), "{notes:?}");
    assert_eq!(meta(&r, "/usr/bin/sudo"), (0, 0, 0o640));
    // Where one file is another's, owners were kept.
    own(&mut mixed, "/etc/motd", 0, 0, 0o644);
    clean(&mut mixed).unwrap();
    assert_eq!(meta(&mixed, "/usr/bin/sudo"), (1000, 100, 0o640));
}

#[test]
fn numbers_that_nobody_can_have_become_nobodys() {
    let mut r = rootfs(&[("/srv/a", ""), ("/srv/b", ""), ("/srv/c", "")], &[]);
    own(&mut r, "/srv/a", u32::MAX, 0, 0o4755);
    own(&mut r, "/srv/b", 5, u32::MAX, 0o644);
    own(&mut r, "/srv/c", 4_294_967_294, 65_535, 0o644);
    let notes = clean(&mut r).unwrap();
    assert!(
        notes.len() == 1 && notes[0].starts_with("/srv/a, /srv/b belonged"),
        "{notes:?}"
    );
    // Setuid bits were not meant for that user.
    assert_eq!(meta(&r, "/srv/a"), (65_534, 0, 0o755));
    assert_eq!(meta(&r, "/srv/b"), (5, 65_534, 0o644));
    assert_eq!(meta(&r, "/srv/c"), (4_294_967_294, 65_535, 0o644));
}
