//! Old headers, and types of entries that other writers use.

use super::*;

/// V7 headers have no magic, no device numbers and directories that are files by their flag;
/// some old writers summed up signed bytes.
#[test]
fn old_headers() {
    let mut tar = Raw512::default();
    for (name, flag) in [
        ("old/", 0),
        ("old/file", 0),
        ("old/\u{e9}", 0),
        ("old/dev", b'3'),
    ] {
        let mut old = header(name, flag, 0);
        old[257..].fill(0);
        put(&mut old, SUM, b"        ");
        let sum: i32 = old.iter().map(|b| i32::from(b.cast_signed())).sum();
        put(&mut old, SUM, format!("{sum:6o}\0 ").as_bytes());
        tar.data(&old);
    }
    let rootfs = load(&tar.end()).unwrap();
    assert!(matches!(node(&rootfs, "old").kind, Kind::Dir(_)));
    assert!(matches!(node(&rootfs, "old/\u{e9}").kind, Kind::File(_)));
    let null = Kind::Char { major: 0, minor: 0 };
    assert_eq!(node(&rootfs, "old/dev").kind, null);
    let mut null = header("null", b'3', 0);
    put(&mut null, MAJOR, b"0000001\0");
    put(&mut null, MINOR, b"0000003\0");
    let mut blank = header("blank", b'4', 0);
    put(&mut blank, MAJOR, b"");
    put(&mut blank, MINOR, b"        ");
    let mut far = header("far", b'3', 0);
    put(&mut far, MINOR, b"7777777\0");
    let rootfs = load(&Raw512::default().put(null, b"").put(blank, b"").end()).unwrap();
    let null = Kind::Char { major: 1, minor: 3 };
    assert_eq!(node(&rootfs, "null").kind, null);
    let none = Kind::Block { major: 0, minor: 0 };
    assert_eq!(node(&rootfs, "blank").kind, none);
    let error = load(&Raw512::default().put(far, b"").end()).unwrap_err();
    insta::assert_snapshot!(line(error), @r#"the device number of "far" (header at byte 0) is malformed; hint: make the tar again with GNU tar or a container engine"#);
    // star's shorter prefix, with times behind it.
    let mut star = header("name", b'0', 1);
    put(&mut star, 345..476, b"some/prefix");
    put(&mut star, 476..488, b"14543437000\0");
    put(&mut star, 508..512, b"tar\0");
    let rootfs = load(&Raw512::default().put(star, b"x").end()).unwrap();
    assert_eq!(text(&rootfs, "some/prefix/name"), "x");
}

#[test]
fn types_of_other_writers() {
    let mut tar = Raw512::default();
    tar.put(header("a label", b'V', 0), b"")
        .put(header("dumped/", b'D', 14), b"Yfile\0Yother\0\0")
        .put(header("dumped/file", b'7', 4), b"c=1\n")
        .records(b'X', &[("path", b"solaris")])
        .file("short", b"s")
        .put(header("quota/", b'5', 4096), b"")
        .put(header("quota/in", b'0', 2), b"in")
        .put(header("slash/", b'0', 0), b"")
        .put(header("slash/in", b'0', 2), b"in");
    let whole = tar.end();
    let rootfs = load(&whole).unwrap();
    assert!(somebody_reads(&whole, "quota/in", "in"));
    assert!(matches!(node(&rootfs, "dumped").kind, Kind::Dir(_)));
    for (path, wanted) in [
        ("dumped/file", "c=1\n"),
        ("solaris", "s"),
        ("quota/in", "in"),
        ("slash/in", "in"),
    ] {
        assert_eq!(text(&rootfs, path), wanted, "{path}");
    }
    assert_eq!(rootfs.notes, [""; 0]);

    let mut tar = Raw512::default();
    tar.put(header("odd", b'Q', 3), b"odd")
        .put(header("odd too", b'z', 0), b"")
        .file("after", b"a");
    let whole = tar.end();
    let rootfs = load(&whole).unwrap();
    assert!(somebody_reads(&whole, "odd", "odd"));
    assert_eq!(text(&rootfs, "odd"), "odd");
    insta::assert_snapshot!(note(&rootfs), @r#"entries of an unknown type (Q, z) were read as files: "odd" and 1 more"#);

    let mut tar = Raw512::default();
    tar.put(header("acl", b'A', 700), &[7; 700])
        .put(header("attr", b'E', 1), b"e")
        .file("after", b"a");
    let rootfs = load(&tar.end()).unwrap();
    assert_eq!(text(&rootfs, "after"), "a");
    assert!(!rootfs.tree.exists("acl"));
    insta::assert_snapshot!(note(&rootfs), @r#"entries that only other systems can use (type A, E) were left out: "acl" and 1 more"#);

    let tar = Raw512::default()
        .put(header("rest", b'M', 4), b"rest")
        .end();
    insta::assert_snapshot!(line(load(&tar).unwrap_err()), @r#"it is not the first volume of its archive: "rest" continues from the previous one; hint: put the volumes together first: unpack them with `tar --multi-volume -x`, and make one tar"#);
}

/// pax and cpio store the content of a file with each of its names; some writers only state it.
#[test]
fn hard_links_with_content() {
    let link = |name: &str, to: &str, size| {
        let mut link = header(name, b'1', size);
        put(&mut link, 157..257, to.as_bytes());
        link
    };
    let mut tar = Raw512::default();
    tar.file("a", b"text")
        .put(link("stated", "a", 4), b"")
        .put(link("stored", "a", 4), b"TEXT")
        .put(link("alone", "elsewhere", 5), b"alone")
        .file("after", b"x");
    let whole = tar.end();
    let rootfs = load(&whole).unwrap();
    for path in ["a", "stated", "stored"] {
        assert_eq!(text(&rootfs, path), "TEXT", "{path}");
        assert_eq!(node(&rootfs, path).links(), 3);
    }
    assert_eq!(text(&rootfs, "alone"), "alone");
    assert_eq!(text(&rootfs, "after"), "x");
    let missing = Raw512::default().put(link("l", "elsewhere", 0), b"").end();
    let e = load(&missing).unwrap_err().to_string();
    assert!(e.contains("elsewhere"), "{e}");
}
