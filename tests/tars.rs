//! Tars as other programs write them: what GNU tar, bsdtar, Go and Python can read is read, and what
//! is left out is reported.

mod blocks;
mod limits;
mod packed;
mod rights;
mod types;

use crate::common::{self, content, program, temp, with_input};
use blocks::*;
use camino::{Utf8Path, Utf8PathBuf};
use docker_to_linux::error::Report;
use docker_to_linux::rootfs::tar::TarError;
use docker_to_linux::rootfs::{Kind, Node, Rootfs, Time, tar};
use docker_to_linux::tool::Tool;
use std::fs::File;

/// Reads a tar from a file and from a stream, which must agree.
fn load(bytes: &[u8]) -> Result<Rootfs, TarError> {
    let (_guard, dir) = temp();
    let at = dir.join("a.tar");
    fs_err::write(&at, bytes).unwrap();
    let a = tar::from_file(File::open(&at).unwrap(), &dir);
    let b = tar::from_stream(std::io::Cursor::new(bytes.to_vec()), &dir);
    match (&a, &b) {
        (Ok(a), Ok(b)) => {
            assert_eq!(a.tree.digest(), b.tree.digest());
            assert_eq!(a.notes, b.notes);
        }
        (Err(a), Err(b)) => assert_eq!(a.to_string(), b.to_string()),
        _ => panic!("file: {a:?}\nstream: {b:?}"),
    }
    a
}

fn node<'a>(rootfs: &'a Rootfs, path: &str) -> &'a Node {
    let id = rootfs.tree.lookup(path);
    rootfs.tree.node(id.unwrap_or_else(|| panic!("no {path}")))
}

fn text(rootfs: &Rootfs, path: &str) -> String {
    rootfs.read_text(path, 1 << 20).unwrap().unwrap()
}

/// The message and the hint of an error.
fn told(error: TarError) -> (String, String) {
    let text = error.to_string();
    (text, Report::from(error).hint.unwrap())
}

/// An error and its hint, as a line of a snapshot.
fn line(error: TarError) -> String {
    let (text, hint) = told(error);
    format!("{text}; hint: {hint}\n")
}

/// The one note that there must be.
#[track_caller]
fn note(rootfs: &Rootfs) -> &str {
    let [note] = &*rootfs.notes else {
        panic!("{:?}", rootfs.notes)
    };
    note
}

/// Whether GNU tar, bsdtar or Python reads `path` in that tar, and finds this content.
fn somebody_reads(bytes: &[u8], path: &str, wanted: &str) -> bool {
    let python = "import sys,tarfile,io\nt=tarfile.open(fileobj=io.BytesIO(sys.stdin.buffer.read()))\nsys.stdout.write(t.extractfile(sys.argv[1]).read().decode())";
    let checkers: [(&str, &[&str]); 3] = [
        ("tar", &["-xOf", "-", path]),
        ("bsdtar", &["-xOf", "-", path]),
        ("python3", &["-c", python, path]),
    ];
    checkers.iter().any(|(name, arguments)| {
        let Some(mut checker) = program(name, name) else {
            return true;
        };
        let out = with_input(checker.args(*arguments), bytes);
        out.stdout == wanted.as_bytes()
    })
}

#[test]
fn numbers_as_other_writers_store_them() {
    type Check = fn(&Node) -> bool;
    let cases: [(&str, std::ops::Range<usize>, &[u8], Check); 22] = [
        ("blank uid", UID, b"", |n| n.meta.uid == 0),
        ("spaces for a uid", UID, b"        ", |n| n.meta.uid == 0),
        ("blank gid", GID, b"", |n| n.meta.gid == 0),
        ("spaces for a time", MTIME, b"            ", |n| {
            n.meta.mtime == Time::default()
        }),
        ("blank time", MTIME, b"", |n| {
            n.meta.mtime == Time::default()
        }),
        ("leading spaces", UID, b"   1750 ", |n| n.meta.uid == 1000),
        ("a space at the end", UID, b"1750    ", |n| {
            n.meta.uid == 1000
        }),
        ("no end", UID, b"00001750", |n| n.meta.uid == 1000),
        ("a NUL first", UID, b"\x00001750\0", |n| n.meta.uid == 1000),
        ("something behind", UID, b"1750\0xyz", |n| {
            n.meta.uid == 1000
        }),
        ("a letter behind", UID, b"0001750x", |n| n.meta.uid == 1000),
        ("base-256", UID, b"\x80\0\0\0\xee\x6b\x28\0", |n| {
            n.meta.uid == 4_000_000_000
        }),
        (
            "nobody of macOS",
            UID,
            b"\xff\xff\xff\xff\xff\xff\xff\xfe",
            |n| n.meta.uid == u32::MAX - 1,
        ),
        ("-2 in digits", UID, b"-0000002", |n| {
            n.meta.uid == u32::MAX - 1
        }),
        (
            "base-256 size",
            SIZE,
            b"\x80\0\0\0\0\0\0\0\0\0\0\x04",
            |_| true,
        ),
        ("spaces before a size", SIZE, b"          4 ", |_| true),
        ("a size without end", SIZE, b"000000000004", |_| true),
        (
            "before 1970",
            MTIME,
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe",
            |n| n.meta.mtime.secs == -2,
        ),
        ("with the file type", MODE, b"0100755\0", |n| {
            n.meta.mode == 0o755
        }),
        ("base-256 mode", MODE, b"\x80\0\0\0\0\0\x01\xed", |n| {
            n.meta.mode == 0o755
        }),
        ("no version", MAGIC, b"ustar\0\0\0", |_| true),
        ("old GNU", MAGIC, b"ustar  \0", |_| true),
    ];
    for (what, at, bytes, check) in cases {
        let mut odd = header("etc/odd", b'0', 4);
        put(&mut odd, at, bytes);
        let mut tar = Raw512::default();
        tar.put(odd, b"a=1\n").file("etc/after", b"after");
        let whole = tar.end();
        let rootfs = load(&whole).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(text(&rootfs, "etc/odd"), "a=1\n", "{what}");
        assert_eq!(text(&rootfs, "etc/after"), "after", "{what}");
        let node = node(&rootfs, "etc/odd");
        assert!(check(node), "{what}: {:?}", node.meta);
        assert!(somebody_reads(&whole, "etc/odd", "a=1\n"), "{what}");
        assert_eq!(rootfs.notes, [""; 0], "{what}");
    }
}

#[test]
fn a_blank_mode_or_size_and_an_owner_that_cannot_be() {
    let mut odd = header("odd", b'0', 0);
    put(&mut odd, MODE, b"");
    put(&mut odd, SIZE, b"            ");
    let mut tar = Raw512::default();
    let rootfs = load(&tar.put(odd, b"").file("after", b"x").end()).unwrap();
    assert_eq!(node(&rootfs, "odd").meta.mode, 0);
    insta::assert_snapshot!(note(&rootfs), @r#"entries without a mode got the mode 0000, so only root may use them: "odd""#);
    let mut tar = Raw512::default();
    tar.records(b'x', &[("uid", b"4294967295"), ("gid", b"-1")]);
    let rootfs = load(&tar.file("nobody's", b"").end()).unwrap();
    let meta = node(&rootfs, "nobody's").meta;
    assert_eq!((meta.uid, meta.gid), (0, 0));
    insta::assert_snapshot!(note(&rootfs), @r#"owners with the number 4294967295, which no file can have, became root: of "nobody\'s" and 1 more"#);
}

/// What means nothing is an error that names the entry, the field and what to do.
#[test]
fn numbers_that_mean_nothing() {
    let cases: [(std::ops::Range<usize>, &[u8]); 7] = [
        (UID, b"garbage\0"),
        (UID, b"0000999\0"),
        (GID, b"\x80\0\0\x01\0\0\0\0"),
        (SIZE, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
        (SIZE, b"-0000000001\0"),
        (MTIME, b"\x80\0\0\x01\0\0\0\0\0\0\0\0"),
        (MODE, b"rw-r--r-"),
    ];
    let mut errors = String::new();
    for (at, bytes) in cases {
        let mut odd = header("etc/odd", b'0', 0);
        put(&mut odd, at, bytes);
        errors += &line(load(&Raw512::default().put(odd, b"").end()).unwrap_err());
    }
    let cases: [(&str, &[u8]); 6] = [
        ("size", b"-1"),
        ("size", b"9223372036854775808"),
        ("size", b"1e3"),
        ("uid", b"4294967296"),
        ("uid", b"-2147483649"),
        ("mtime", b"now"),
    ];
    for (key, value) in cases {
        let mut tar = Raw512::default();
        let tar = tar.records(b'x', &[(key, value)]).file("etc/odd", b"");
        errors += &line(load(&tar.end()).unwrap_err());
    }
    insta::assert_snapshot!(errors, @r#"
    the uid of "etc/odd" (header at byte 0) is malformed; hint: make the tar again with GNU tar or a container engine
    the uid of "etc/odd" (header at byte 0) is malformed; hint: make the tar again with GNU tar or a container engine
    the gid of "etc/odd" (header at byte 0) is malformed; hint: make the tar again with GNU tar or a container engine
    the size of "etc/odd" (header at byte 0) is malformed; hint: make the tar again with GNU tar or a container engine
    the size of "etc/odd" (header at byte 0) is malformed; hint: make the tar again with GNU tar or a container engine
    the time of "etc/odd" (header at byte 0) is malformed; hint: make the tar again with GNU tar or a container engine
    the mode of "etc/odd" (header at byte 0) is malformed; hint: make the tar again with GNU tar or a container engine
    the size of "etc/odd" (header at byte 1024) is malformed; hint: make the tar again with GNU tar or a container engine
    the size of "etc/odd" (header at byte 1024) is malformed; hint: make the tar again with GNU tar or a container engine
    the size of "etc/odd" (header at byte 1024) is malformed; hint: make the tar again with GNU tar or a container engine
    the uid of "etc/odd" (header at byte 1024) is malformed; hint: make the tar again with GNU tar or a container engine
    the uid of "etc/odd" (header at byte 1024) is malformed; hint: make the tar again with GNU tar or a container engine
    the time of "etc/odd" (header at byte 1024) is malformed; hint: make the tar again with GNU tar or a container engine
    "#);
}

#[test]
fn records_with_all_that_they_may_hold() {
    let mut tar = Raw512::default();
    // Global values apply to all later entries; empty ones reset them.
    tar.records(
        b'g',
        &[("uid", b"7"), ("mtime", b"1.5"), ("comment", b"\0\xff\n=")],
    );
    tar.records(b'x', &[("path", b"first"), ("mtime", b"-0.25")])
        .file("x", b"1");
    tar.records(
        b'x',
        &[("uid", b""), ("size", b"3"), ("hdrcharset", b"BINARY")],
    );
    let mut second = header("second", b'0', 0);
    put(&mut second, UID, b"0000011\0");
    tar.put(second, b"abc");
    // NULs behind the last record.
    let mut data = b"15 path=padded\n".to_vec();
    data.extend_from_slice(&[0; 20]);
    tar.put(header("pax", b'x', data.len() as u64), &data)
        .file("x", b"3");
    let rootfs = load(&tar.end()).unwrap();
    let first = node(&rootfs, "first").meta;
    let mtime = Time {
        secs: -1,
        nanos: 750_000_000,
    };
    assert_eq!((first.uid, first.mtime), (7, mtime));
    assert_eq!(node(&rootfs, "second").meta.uid, 9);
    assert_eq!(text(&rootfs, "second"), "abc");
    assert_eq!(text(&rootfs, "padded"), "3");
}

/// Names are bytes: what is not UTF-8 comes into the tree as it is.
#[test]
fn names_that_are_not_utf8() {
    let mut tar = Raw512::default();
    let mut latin = header("", b'0', 1);
    put(&mut latin, 0..100, b"caf\xe9");
    tar.put(latin, b"1");
    tar.records(b'x', &[("path", b"d/\xff\xfe"), ("hdrcharset", b"BINARY")])
        .file("x", b"2");
    let rootfs = load(&tar.end()).unwrap();
    for name in [&b"caf\xe9"[..], b"d/\xff\xfe"] {
        assert!(
            rootfs.tree.lookup(name).is_some(),
            "{}",
            name.escape_ascii()
        );
    }
    assert_eq!(rootfs.notes, [""; 0]);
}

#[test]
fn what_is_behind_the_end_is_told() {
    let one = Raw512::default().file("a", b"1").end();
    let two = Raw512::default().file("b", b"2").end();
    let quiet: [Vec<u8>; 3] = [
        one.clone(),
        [&one[..], &[0; 10_000]].concat(),
        // One block of zeros.
        one[..one.len() - 512].to_vec(),
    ];
    for tar in quiet {
        let rootfs = load(&tar).unwrap();
        assert_eq!(text(&rootfs, "a"), "1");
        assert_eq!(rootfs.notes, [""; 0]);
    }
    let rootfs = load(&[&one[..], &two].concat()).unwrap();
    assert!(!rootfs.tree.exists("b"));
    insta::assert_snapshot!(note(&rootfs), @"another tar follows the first one's end, at byte 2048; it was left out: to have both, unpack them with `tar --ignore-zeros -x` and make one tar");
    let rootfs = load(&[&one[..one.len() - 512], &two].concat()).unwrap();
    insta::assert_snapshot!(note(&rootfs), @"another tar follows the first one's end, at byte 1536; it was left out: to have both, unpack them with `tar --ignore-zeros -x` and make one tar");
    let rootfs = load(&[&one[..], &[0; 3000], b"a signature"].concat()).unwrap();
    insta::assert_snapshot!(note(&rootfs), @"there is something behind the end of the tar, from byte 4608 on; it was left out");
    for cut in [1024, 1024 + 100] {
        let rootfs = load(&one[..cut]).unwrap();
        assert_eq!(text(&rootfs, "a"), "1");
        assert!(note(&rootfs).contains("no end mark"));
    }
    insta::assert_snapshot!(line(load(&one[..512]).unwrap_err()), @"it is cut off at byte 512, inside a file's content; hint: make the tar again; it must be the output of `docker export`, or a tar of a whole root file system");
}

/// An ext4 of a tree, written to a file.
fn ext4_file(rootfs: Rootfs, dir: &Utf8Path) -> Result<(Utf8PathBuf, u64), Report> {
    let at = dir.join("root.ext4");
    let Rootfs { tree, stores, .. } = rootfs;
    let size = common::ext4::smallest(tree, &stores, &[], &at)?;
    if let Some(mut e2fsck) = common::checker(Tool::E2fsck) {
        let said = content(e2fsck.args(["-fn", at.as_str()]));
        for bad in ["Fix?", "rror", "WARNING"] {
            assert!(!said.contains(bad), "{said}");
        }
    }
    Ok((at, size))
}
