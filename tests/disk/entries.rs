//! What a tar of a container may hold.

use super::*;

/// A machine with everything in it that a container may hold.
pub(super) fn odd() -> Vec<Entry> {
    let mut all = common::machine();
    let put = |e: Entry| all.push(e);
    [
        dir("srv").owner(1000, 1000),
        file("srv/a", "several names").time(NOW - 5, 123_456_789),
        dir("srv/links"),
        entry("srv/links/b", Kind::HardLink("srv/a".into())),
        entry("srv/links/c", Kind::HardLink("srv/a".into())),
        link("srv/link", "a").owner(7, 8).time(NOW - 60, 5),
        entry("srv/links/to-link", Kind::HardLink("srv/link".into())),
        entry("srv/null", Kind::Char(1, 3)).mode(0o666),
        entry("srv/sda1", Kind::Block(8, 1)).mode(0o660).owner(0, 6),
        entry("srv/wide", Kind::Block(259, 70_000)),
        entry("srv/wider", Kind::Char(4095, 1_048_575)),
        entry("srv/fifo", Kind::Fifo).mode(0o600),
        entry("srv/fifo-2", Kind::HardLink("srv/fifo".into())),
        file("srv/setuid", "s").mode(0o4755),
        file("srv/setgid", "s").mode(0o2750).owner(0, 42),
        file("srv/all-bits", "s").mode(0o7777),
        file("srv/no-bits", "s").mode(0),
        dir("srv/sticky").mode(0o1777),
        dir("srv/setgid-dir").mode(0o2775).owner(5, 50),
        file("srv/far-uid", "u").owner(4_000_000_000, 3_999_999_999),
        file("srv/uid-65536", "u").owner(65_536, 65_537),
        file("srv/empty", ""),
        file("srv/block", pattern(10, 4096)),
        file("srv/block-and-one", pattern(11, 4097)),
        file("srv/zeros", vec![0; 100_000]),
        file("srv/large", pattern(12, 3 << 20)),
    ]
    .into_iter()
    .chain(times())
    .chain(attributes())
    .chain(sparse())
    .chain(names())
    .for_each(put);
    all
}

/// Times that only a 256-byte inode holds.
pub(super) fn times() -> Vec<Entry> {
    vec![
        file("srv/t-1960", "t").time(-300_000_000, 0),
        file("srv/t-1969", "t").time(-1, 500_000_000),
        file("srv/t-1969-b", "t").time(-2, 999_999_999),
        file("srv/t-1902", "t").time(-2_140_000_000, 1),
        file("srv/t-0", "t").time(0, 0),
        file("srv/t-1970", "t").time(0, 1),
        link("srv/t-link", "nowhere").time(-1_000_000, 250_000_000),
        dir("srv/t-dir").time(-5, 5),
    ]
}

/// Extended attributes: capabilities, the user's, access control lists.
pub(super) fn attributes() -> Vec<Entry> {
    // cap_net_raw+ep, revision 2 (linux/capability.h, struct vfs_cap_data): the record has a
    // line feed in it when the capability is another one, so both are here.
    let capability = |low: u32| {
        let mut value = 0x0200_0001_u32.to_le_bytes().to_vec();
        for word in [low, 0, 0, 0] {
            value.extend_from_slice(&word.to_le_bytes());
        }
        value
    };
    // Version 2 (linux/posix_acl_xattr.h): tag, permissions, id.
    let acl = |entries: &[(u16, u16, u32)]| {
        let mut value = 2_u32.to_le_bytes().to_vec();
        for (tag, permissions, id) in entries {
            value.extend_from_slice(&tag.to_le_bytes());
            value.extend_from_slice(&permissions.to_le_bytes());
            value.extend_from_slice(&id.to_le_bytes());
        }
        value
    };
    const NONE: u32 = u32::MAX;
    let access = acl(&[
        (0x01, 6, NONE),
        (0x02, 7, 1234),
        (0x04, 4, NONE),
        (0x08, 5, 4_000_000_000),
        (0x10, 7, NONE),
        (0x20, 4, NONE),
    ]);
    let default = acl(&[
        (0x01, 7, NONE),
        (0x02, 5, 99),
        (0x04, 5, NONE),
        (0x10, 5, NONE),
        (0x20, 0, NONE),
    ]);
    vec![
        file("srv/ping", "p")
            .mode(0o755)
            .xattr("security.capability", capability(1 << 13)),
        file("srv/ping-2", "p").xattr("security.capability", capability(0x0A0A)),
        file("srv/user", "u")
            .xattr("user.text", "some text")
            .xattr("user.empty", "")
            .xattr("user.bytes", vec![0, 255, 10, 61, 10])
            .xattr("user.same", vec![7; 64]),
        file("srv/user-2", "u").xattr("user.same", vec![7; 64]),
        file("srv/user-big", "u").xattr("user.big", pattern(20, 3000)),
        file("srv/user-many", "u"),
        file("srv/trusted", "u").xattr("trusted.word", "known to root"),
        dir("srv/user-dir").xattr("user.dir", "d"),
        // The mode's group bits are the list's mask.
        file("srv/acl", "a")
            .mode(0o674)
            .xattr("system.posix_acl_access", access),
        dir("srv/acl-dir")
            .mode(0o755)
            .xattr("system.posix_acl_default", default),
    ]
    .into_iter()
    .map(|mut e| {
        if e.path == "srv/user-many" {
            for n in 0..40 {
                e.xattrs
                    .insert(format!("user.number-{n:02}"), pattern(n, n as usize));
            }
        }
        e
    })
    .collect()
}

pub(super) fn sparse() -> Vec<Entry> {
    let sparse = |path: &str, size, runs| entry(path, Kind::Sparse(size, runs));
    vec![
        sparse(
            "srv/sparse",
            50_000_000,
            vec![
                // GNU tar starts each run at a new block of 512 bytes: only the last may be odd.
                (0, pattern(30, 512)),
                (10_000_000, pattern(31, 70_144)),
                (49_999_000, pattern(32, 1000)),
            ],
        ),
        sparse("srv/sparse-end", 9_000_001, vec![(4096, pattern(33, 4096))]),
        sparse("srv/only-a-hole", 123_456, vec![]),
    ]
}

/// Long names, long links, long lists, long paths.
pub(super) fn names() -> Vec<Entry> {
    let mut all = vec![
        dir("srv/names"),
        file(&format!("srv/names/{}", "n".repeat(250)), "250"),
        file(&format!("srv/names/{}", "m".repeat(255)), "255"),
        file(&format!("srv/names/{}", "ü".repeat(127)), "254"),
        file("srv/names/ leading and trailing ", ""),
        file("srv/names/line\nfeed", ""),
        file("srv/names/back\\slash", ""),
        file("srv/names/-dash", ""),
        file("srv/names/*?[a]", ""),
        file("srv/names/\u{1F427}", "a penguin"),
        file("srv/names/.wh.not-a-whiteout", "here"),
        dir("srv/many"),
    ];
    for n in [1, 59, 60, 61, 100, 101, 200, 1000, 4095] {
        all.push(link(&format!("srv/names/link-{n}"), &"/t".repeat(n)[..n]));
    }
    for n in 0..5000 {
        let name = format!("srv/many/a file in a large directory, number {n}");
        all.push(file(&name, if n % 10 == 0 { "x" } else { "" }));
    }
    let mut deep = String::from("srv/deep");
    all.push(dir(&deep));
    for n in 0..60 {
        deep += &format!("/directory-{n}");
        all.push(dir(&deep).time(NOW - 1000 + n, 0));
    }
    all.push(file(&format!("{deep}/bottom"), "deep"));
    all
}
