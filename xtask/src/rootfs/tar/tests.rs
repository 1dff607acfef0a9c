#![allow(clippy::unwrap_used, clippy::panic)]

mod several_layers;

use super::*;
use crate::rootfs::{Limits, ROOT};
use ::tar::{Builder, EntryType as T, Header};
use camino::{Utf8Path, Utf8PathBuf};
use proptest::prelude::*;
use std::process::Command;

fn names(rootfs: &Rootfs) -> Vec<String> {
    rootfs.tree.walk().map(|(p, _)| p.to_string()).collect()
}

fn tmp() -> (tempfile::TempDir, Utf8PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    (dir, path)
}

/// Both ways to read must agree; returns what they gave.
fn load(bytes: &[u8]) -> Result<Rootfs, TarError> {
    let (_guard, dir) = tmp();
    let file = dir.join("a.tar");
    std::fs::write(&file, bytes).unwrap();
    let a = from_file(File::open(&file).unwrap(), &dir);
    let b = from_stream(std::io::Cursor::new(bytes.to_vec()), &dir);
    match (&a, &b) {
        (Ok(a), Ok(b)) => {
            assert_eq!(a.tree.digest(), b.tree.digest());
            for path in names(a) {
                assert_eq!(content(a, &path), content(b, &path), "{path}");
            }
        }
        (Err(a), Err(b)) => assert_eq!(a.to_string(), b.to_string()),
        _ => panic!("file: {a:?}\nstream: {b:?}"),
    }
    a
}

fn content(rootfs: &Rootfs, path: &str) -> Option<Vec<u8>> {
    rootfs.read(path, 1 << 30).unwrap()
}

fn header(kind: T, size: u64) -> Header {
    let mut h = Header::new_gnu();
    h.set_entry_type(kind);
    h.set_size(size);
    h.set_mode(0o644);
    h.set_uid(0);
    h.set_gid(0);
    h.set_mtime(1000);
    h
}

fn entry(out: &mut Builder<Vec<u8>>, kind: T, path: &str, data: &[u8]) {
    let mut h = header(kind, data.len() as u64);
    // Not set_path: it refuses what hostile tars have.
    h.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
    h.set_cksum();
    out.append(&h, data).unwrap();
}

fn link(out: &mut Builder<Vec<u8>>, kind: T, path: &str, target: &str) {
    let mut h = header(kind, 0);
    h.set_path(path).unwrap();
    h.as_mut_bytes()[157..157 + target.len()].copy_from_slice(target.as_bytes());
    h.set_cksum();
    out.append(&h, &[][..]).unwrap();
}

fn tar_of(make: impl FnOnce(&mut Builder<Vec<u8>>)) -> Vec<u8> {
    let mut out = Builder::new(Vec::new());
    make(&mut out);
    out.into_inner().unwrap()
}

fn error_of(make: impl FnOnce(&mut Builder<Vec<u8>>)) -> String {
    load(&tar_of(make)).unwrap_err().to_string()
}

#[test]
fn later_entries_replace_earlier_ones() {
    let rootfs = load(&tar_of(|t| {
        entry(t, T::Regular, "./etc/motd", b"old");
        entry(t, T::Regular, "etc/motd", b"new");
        entry(t, T::Regular, "dir", b"");
        entry(t, T::Directory, "dir/", b"");
        entry(t, T::Regular, "dir/in", b"x");
        entry(t, T::Directory, "dir", b"");
    }))
    .unwrap();
    assert_eq!(content(&rootfs, "/etc/motd").unwrap(), b"new");
    assert_eq!(content(&rootfs, "/dir/in").unwrap(), b"x");
}

#[test]
fn links_stay_inside() {
    let rootfs = load(&tar_of(|t| {
        entry(t, T::Directory, "usr/bin/", b"");
        link(t, T::Symlink, "bin", "/usr/bin");
        link(t, T::Symlink, "up", "../../../../usr");
        entry(t, T::Regular, "bin/sh", b"shell");
        entry(t, T::Regular, "/up/file", b"below");
        link(t, T::Link, "hard", "usr/bin/sh");
    }))
    .unwrap();
    assert_eq!(content(&rootfs, "/usr/bin/sh").unwrap(), b"shell");
    assert_eq!(content(&rootfs, "/usr/file").unwrap(), b"below");
    let id = rootfs.tree.lookup("/hard").unwrap();
    assert_eq!(rootfs.tree.lookup("/usr/bin/sh"), Some(id));
    assert_eq!(rootfs.tree.node(id).links(), 2);
}

#[test]
fn hostile_names_are_errors() {
    let e = error_of(|t| entry(t, T::Regular, "a/../../etc/passwd", b""));
    assert!(e.contains("a/../../etc/passwd"), "{e}");
    let e = error_of(|t| entry(t, T::Regular, "..", b""));
    assert!(e.contains(".."), "{e}");
    let e = error_of(|t| {
        entry(t, T::Regular, "file", b"");
        entry(t, T::Regular, "file/below", b"");
    });
    assert!(e.contains("file/below"), "{e}");
    let e = error_of(|t| {
        link(t, T::Symlink, "loop", "loop");
        entry(t, T::Regular, "loop/below", b"");
    });
    assert!(e.contains("loop/below"), "{e}");
    let e = error_of(|t| link(t, T::Link, "hard", "nowhere"));
    assert!(e.contains("hard") && e.contains("nowhere"), "{e}");
}

#[test]
fn names_and_targets_are_bytes() {
    let mut bytes = tar_of(|t| {
        entry(t, T::Regular, "caf_", b"x");
    });
    bytes[3] = 0xE9;
    let mut h = Header::new_gnu();
    h.as_mut_bytes().copy_from_slice(&bytes[..512]);
    h.set_cksum();
    bytes[..512].copy_from_slice(h.as_bytes());
    let rootfs = load(&bytes).unwrap();
    let id = rootfs.tree.lookup(b"/caf\xe9").unwrap();
    assert!(matches!(&rootfs.tree.node(id).kind, Kind::File(c) if c.len() == 1));
    let (path, found) = rootfs.tree.walk().next().unwrap();
    assert_eq!((path.as_slice(), found), (&b"/caf\xe9"[..], id));
    // Whoever looks for names by text does not meet it.
    assert_eq!(rootfs.tree.entries("/").count(), 0);

    let mut tree = rootfs.tree;
    let target = Kind::symlink(b"caf\xe9");
    tree.insert("link", Node::new(target, Meta::root(0o777, 0)))
        .unwrap();
    assert_eq!(tree.resolve("/link"), Some(id));
    // The real path is no text.
    assert_eq!(tree.canonical("/link"), None);
    for nul in [Kind::symlink("a\0b"), Kind::dir()] {
        let made = tree.insert("x\0y", Node::new(nul, Meta::root(0o777, 0)));
        assert!(matches!(made, Err(TreeError::Nul(_))), "{made:?}");
    }
}

#[test]
fn damage_is_found_at_every_cut() {
    let whole = tar_of(|t| {
        entry(t, T::Regular, "a", &[7; 700]);
        entry(t, T::Regular, "b", &[8; 10]);
    });
    let entries = 512 + 1024 + 512 + 512;
    assert_eq!(whole.len(), entries + 1024);
    for cut in 0..entries - 502 {
        // Between two entries there is nothing to notice; the end mark alone may be missing.
        if cut == 1536 {
            continue;
        }
        let got = load(&whole[..cut]);
        // The padding of the last file carries nothing.
        let harmless = (512 + 700..=1536).contains(&cut);
        assert_eq!(got.is_ok(), harmless, "cut at {cut}: {got:?}");
    }
    let mut bad = whole.clone();
    bad[512 + 1024] ^= 1;
    let e = load(&bad).unwrap_err().to_string();
    assert_eq!(e, "there is no tar header at byte 1536: it is damaged");
    let e = load(
        b"this is a text of more than 512 bytes, not a tar"
            .repeat(40)
            .as_slice(),
    );
    assert_eq!(
        e.unwrap_err().to_string(),
        "there is no tar header at byte 0: this is not a tar"
    );
}

#[test]
fn wide_numbers_and_odd_times() {
    let mut t = Builder::new(Vec::new());
    let mut h = header(T::Regular, 0);
    h.set_path("old").unwrap();
    h.set_uid(4_000_000_000);
    h.as_mut_bytes()[136..148].copy_from_slice(&[
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe,
    ]);
    h.set_mode(0o107_755);
    h.set_cksum();
    t.append(&h, &[][..]).unwrap();
    t.append_pax_extensions([
        ("mtime", &b"-1.25"[..]),
        ("SCHILY.xattr.security.capability", b"\x01\0\0\x02\n=\n"),
        ("uid", b"3000000"),
        ("path", "lång/".repeat(60).trim_end_matches('/').as_bytes()),
    ])
    .unwrap();
    entry(&mut t, T::Regular, "short", b"x");
    let rootfs = load(&t.into_inner().unwrap()).unwrap();
    let old = rootfs.tree.node(rootfs.tree.lookup("/old").unwrap());
    assert_eq!((old.meta.uid, old.meta.mode), (4_000_000_000, 0o7755));
    assert_eq!(old.meta.mtime, Time { secs: -2, nanos: 0 });
    let long = "/lång".repeat(60);
    let long = rootfs.tree.node(rootfs.tree.lookup(&long).unwrap());
    let nanos = 750_000_000;
    assert_eq!(long.meta.mtime, Time { secs: -2, nanos });
    assert_eq!(long.meta.uid, 3_000_000);
    let xattrs = long.xattrs.as_ref().unwrap();
    assert_eq!(&*xattrs["security.capability"], b"\x01\0\0\x02\n=\n");
}

/// What GNU tar itself writes, in each of its forms.
#[test]
fn gnu_tar_is_understood() {
    if Command::new("tar").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "CI has no tar");
        return;
    }
    let (_guard, dir) = tmp();
    let from = dir.join("from");
    std::fs::create_dir(&from).unwrap();
    sparse_file(&from.join("sparse"));
    let name = "n".repeat(200);
    std::fs::write(from.join(&name), "long").unwrap();
    std::fs::hard_link(from.join(&name), from.join("hard")).unwrap();
    std::os::unix::fs::symlink("t".repeat(180), from.join("soft")).unwrap();
    let run = |args: &[&str]| {
        let mut c = Command::new("tar");
        assert!(
            c.current_dir(&dir).args(args).status().unwrap().success(),
            "{args:?}"
        );
    };
    for form in [
        &["--format=gnu", "-S"][..],
        &["--format=posix", "-S", "--sparse-version=0.0"],
        &["--format=posix", "-S", "--sparse-version=0.1"],
        &["--format=posix", "-S", "--sparse-version=1.0"],
        &["--format=gnu"],
        &["--format=posix", "-z"],
    ] {
        run(&[form, &["-cf", "x.tar", "-C", "from", "."]].concat());
        let rootfs = load(&std::fs::read(dir.join("x.tar")).unwrap()).unwrap();
        for file in ["sparse", &name, "hard"] {
            let real = std::fs::read(from.join(file)).unwrap();
            assert!(
                content(&rootfs, file).unwrap() == real,
                "{file} by {form:?}"
            );
        }
        let soft = rootfs.tree.node(rootfs.tree.lookup("soft").unwrap());
        assert_eq!(soft.kind, Kind::symlink("t".repeat(180)));
        let sparse = rootfs.tree.node(rootfs.tree.lookup("sparse").unwrap());
        let is_sparse = matches!(sparse.kind, Kind::File(Content::Sparse { .. }));
        assert_eq!(is_sparse, form.contains(&"-S"), "{form:?}");
    }
}

/// 30 runs of data with holes between: more than fit into one block of an old map.
fn sparse_file(path: &Utf8Path) {
    let file = File::create(path).unwrap();
    for i in 0..30_u64 {
        let bytes = [u8::try_from(i + 1).unwrap(); 5000];
        std::os::unix::fs::FileExt::write_all_at(&file, &bytes, i << 17).unwrap();
    }
    file.set_len((30 << 17) + 100_000).unwrap();
}

#[test]
fn an_empty_input_says_so() {
    assert_eq!(load(b"").unwrap_err().to_string(), "it is empty");
    assert_eq!(load(&[0; 1024]).unwrap_err().to_string(), "it is empty");
}

proptest! {
    /// Whatever a tar was damaged to, reading it ends, by a tree or by an error.
    #[test]
    fn damage_never_panics(flips in prop::collection::vec((0_usize..4096, any::<u8>()), 1..8)) {
        let mut bytes = tar_of(|t| {
            t.append_pax_extensions([("GNU.sparse.map", &b"0,5,10,5"[..]), ("GNU.sparse.size", b"20")]).unwrap();
            entry(t, T::Regular, "sparse", &[1; 10]);
            link(t, T::Symlink, "l", "sparse");
            entry(t, T::Directory, "d/", b"");
        });
        for (at, value) in flips {
            let n = bytes.len();
            bytes[at % n] = value;
            // Most flips would only break a checksum: mend them all.
            for start in (0..n - 512).step_by(512) {
                let mut h = Header::new_old();
                h.as_mut_bytes().copy_from_slice(&bytes[start..start + 512]);
                if bytes[start] != 0 {
                    h.set_cksum();
                    bytes[start..start + 512].copy_from_slice(h.as_bytes());
                }
            }
        }
        if let Ok(rootfs) = load(&bytes) {
            prop_assert!(matches!(rootfs.tree.node(ROOT).kind, Kind::Dir(_)));
        }
    }
}
