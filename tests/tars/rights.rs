//! Extended attributes, access control lists and labels.

use super::blocks::{Raw512, header};
use super::{ext4_file, load, node};
use crate::common::{self, Mounted, content, dir, file, program, skipped, temp, with_input};
use docker_to_linux::rootfs::tar;
use std::fs::File;
use std::path::Path;
use std::process::Command;

#[test]
fn attributes_of_other_systems_are_left_out_with_one_note() {
    let mut tar = Raw512::default();
    for n in 0..3 {
        tar.records(
            b'x',
            &[
                ("SCHILY.xattr.com.apple.provenance", b"z"),
                ("LIBARCHIVE.xattr.com.apple.provenance", b"AQIA"),
                ("LIBARCHIVE.xattr.com.apple.FinderInfo", b"AAAA"),
                ("SCHILY.xattr.user.ours", b"o\0=\n"),
                ("LIBARCHIVE.xattr.user.ours", b"b3RoZXI"),
                ("LIBARCHIVE.xattr.user.only%20here%25", b"AP8KPQ"),
                ("SCHILY.xattr.system.nfs4_acl", b"x"),
            ],
        )
        .file(&format!("f{n}"), b"");
    }
    let rootfs = load(&tar.end()).unwrap();
    insta::assert_snapshot!(rootfs.notes.join("\n"), @r#"extended attributes that Linux has no place for were left out (com.apple.FinderInfo, com.apple.provenance, system.nfs4_acl): of "f0" and 8 more"#);
    let xattrs = node(&rootfs, "f2").xattrs.as_ref().unwrap();
    let names: Vec<&str> = xattrs.keys().map(|k| &**k).collect();
    assert_eq!(names, ["user.only here%", "user.ours"]);
    assert_eq!(&*xattrs["user.ours"], b"o\0=\n");
    assert_eq!(&*xattrs["user.only here%"], b"\0\xff\n=");

    let mut tar = Raw512::default();
    tar.records(
        b'x',
        &[
            ("SCHILY.acl.ace", b"owner@:rwx::allow"),
            ("SCHILY.fflags", b"uappnd"),
        ],
    );
    let rootfs = load(&tar.file("mac", b"").end()).unwrap();
    insta::assert_snapshot!(rootfs.notes.join("\n"), @r#"
    access control lists of other systems (NFSv4) were left out, ext4 holds only POSIX ACLs: of "mac"
    file flags (uappnd) were left out: of "mac"
    "#);
}

/// What getfacl and getfattr say of a folder.
fn rights(at: &Path) -> Option<String> {
    let mut getfacl = program("getfacl", "acl")?;
    let mut said = content(getfacl.args(["-R", "-n", "-E", "."]).current_dir(at));
    let mut getfattr = program("getfattr", "attr")?;
    said += &content(
        getfattr
            .args(["-R", "-h", "-d", "-m", "-", "-e", "hex", "."])
            .current_dir(at),
    );
    // In the order of names, without the file system's own folder.
    let mut blocks: Vec<&str> = said
        .split("\n\n")
        .filter(|b| !b.contains("lost+found"))
        .collect();
    blocks.sort_unstable();
    let mut lines: Vec<&str> = blocks.iter().flat_map(|b| b.lines()).collect();
    lines.retain(|l| !l.contains("lost+found"));
    let modes = content(
        Command::new("find")
            .args([".", "-printf", "%p %m\n"])
            .current_dir(at),
    );
    let mut modes: Vec<&str> = modes.lines().collect();
    modes.retain(|l| !l.contains("lost+found"));
    modes.sort_unstable();
    lines.extend(modes);
    Some(lines.join("\n"))
}

/// Access control lists, labels and attributes from tars that GNU tar and bsdtar write of a real
/// folder are the ones that the kernel had there.
#[test]
fn rights_survive_a_round_trip() {
    if common::passed_as_root(module_path!(), "rights_survive_a_round_trip") {
        return;
    }
    if !common::is_root() {
        return skipped("labels and mounts take root").unwrap_or_default();
    }
    let (_guard, at) = temp();
    let from = at.join("from");
    // A file system that certainly has attributes, because we create it.
    let names = [
        dir("etc"),
        file(
            "etc/passwd",
            "root:x:0:0::/:/bin/sh\nlisa:x:1234:1234::/:/bin/sh\n",
        ),
        file("etc/group", "root:x:0:\nstaff-x:x:4321:\n"),
        dir("srv"),
        dir("srv/d"),
        file("srv/d/f", "text").mode(0o640),
        file("srv/plain", "text").mode(0o600),
        common::link("srv/link", "d"),
    ];
    fs_err::create_dir(&from).unwrap();
    let mut base = Vec::new();
    common::write_tar(&names, &mut base);
    with_input(
        Command::new("tar").args(["-xpf", "-", "-C", from.as_str()]),
        &base,
    );
    let run = |line: &str| -> Option<()> {
        let mut words = line.split(' ');
        let name = words.next()?;
        content(program(name, name)?.args(words).current_dir(&from));
        Some(())
    };
    let done = [
        "setfacl -m u:33:r-x,u:1234:rwx,g:4321:rw- srv/d",
        "setfacl -d -m u:33:r-x,o::--- srv/d",
        "setfacl -m u:99:---,m::r-- srv/d/f",
        "setfattr -n user.text -v text srv/plain",
        "setfattr -n user.bytes -v 0x000aff3d srv/d",
        "setfattr -n trusted.root -v t srv/plain",
        "setfattr -n security.selinux -v 0x73797374656d5f753a6f626a6563745f723a687474700300 srv/d/f",
    ]
    .into_iter()
    .try_for_each(run);
    let (Some(()), Some(wanted)) = (done, rights(from.as_std_path())) else {
        return;
    };
    let writers = [
        "tar --acls --xattrs --xattrs-include=*",
        "tar --acls --xattrs --xattrs-include=* --numeric-owner",
        "tar --xattrs --xattrs-include=*",
        "bsdtar --format=pax --acls --xattrs",
        "bsdtar --format=pax --acls --xattrs --numeric-owner",
    ];
    for writer in writers {
        if run(&format!("{writer} -cf ../t.tar .")).is_none() {
            continue;
        }
        let tar = File::open(at.join("t.tar")).unwrap();
        let rootfs = tar::from_file(tar, &at).unwrap();
        assert_eq!(rootfs.notes, [""; 0], "{writer}");
        let (image, size) = ext4_file(rootfs, &at).unwrap();
        let mounted = Mounted::new(image.as_std_path(), 0, size, "ro,noload").unwrap();
        let found = rights(mounted.path()).unwrap();
        assert_eq!(found, wanted, "{writer}");
    }
}

/// Names come from the root file system's own /etc/passwd, wherever in the tar that is; the
/// number behind a line is for names that are not there.
#[test]
fn names_in_access_control_lists() {
    let mut tar = Raw512::default();
    tar.records(
        b'x',
        &[
            ("SCHILY.acl.access", b"user::rwx,user:lisa:r-x:501,user:gone:r--:502,user:33:rw-,group::r-x,group:staff-x:rwx,mask::r-x,other::---"),
            ("SCHILY.acl.default", b"user::rwx\nuser:nobody-here:rwx\ngroup::r-x\nother::r-x\n"),
            ("RHT.security.selinux", b"system_u:object_r:etc_t:s0"),
        ],
    )
    .put(header("srv/", b'5', 0), b"");
    tar.records(b'x', &[("SCHILY.acl.access", b"u::rw-,g::r--,o::---")]);
    tar.put(header("minimal", b'0', 0), b"");
    tar.records(b'x', &[("SCHILY.acl.access", b"user:lisa:rwx")]);
    tar.put(header("no mask", b'0', 0), b"");
    tar.records(b'x', &[("SCHILY.acl.access", b"user::nonsense")]);
    tar.put(header("bad", b'0', 0), b"");
    tar.file(
        "etc/passwd",
        b"root:x:0:0::/:/bin/sh\nlisa:x:1234:1234::/:/bin/sh\n",
    );
    tar.file("etc/group", b"staff-x:x:4321:\n");
    let rootfs = load(&tar.end()).unwrap();
    let list = |path: &str, name: &str| -> Vec<(u16, u16, u32)> {
        let value = &node(&rootfs, path).xattrs.as_ref().unwrap()[name];
        assert_eq!(value[..4], 2_u32.to_le_bytes());
        let field = |e: &[u8], at: usize| u16::from_le_bytes([e[at], e[at + 1]]);
        let entry = |e: &[u8]| {
            let id = u32::from_le_bytes(e[4..].try_into().unwrap());
            (field(e, 0), field(e, 2), id)
        };
        value[4..].chunks(8).map(entry).collect()
    };
    const NO: u32 = u32::MAX;
    // Tag, permissions, and whose they are: acl(5) and linux/posix_acl.h.
    type List = &'static [(u16, u16, u32)];
    let lists: [(&str, &str, List); 3] = [
        (
            "srv",
            "access",
            &[
                (1, 7, NO),
                (2, 6, 33),
                (2, 4, 502),
                (2, 5, 1234),
                (4, 5, NO),
                (8, 7, 4321),
                (16, 5, NO),
                (32, 0, NO),
            ],
        ),
        ("srv", "default", &[(1, 7, NO), (4, 5, NO), (32, 5, NO)]),
        (
            "no mask",
            "access",
            &[
                (1, 6, NO),
                (2, 7, 1234),
                (4, 4, NO),
                (16, 7, NO),
                (32, 4, NO),
            ],
        ),
    ];
    for (path, which, wanted) in lists {
        let name = format!("system.posix_acl_{which}");
        assert_eq!(list(path, &name), wanted, "{path} {which}");
    }
    let srv = node(&rootfs, "srv");
    assert_eq!(srv.meta.mode, 0o750);
    assert_eq!(
        &*srv.xattrs.as_ref().unwrap()["security.selinux"],
        b"system_u:object_r:etc_t:s0\0"
    );
    let minimal = node(&rootfs, "minimal");
    assert_eq!((minimal.meta.mode, &minimal.xattrs), (0o640, &None));
    assert_eq!(node(&rootfs, "no mask").meta.mode, 0o674);
    assert_eq!(node(&rootfs, "bad").xattrs, None);
    insta::assert_snapshot!(rootfs.notes.join("\n"), @r#"
    access control lists that cannot be understood were left out (user::nonsense): of "/bad"
    access control lists name users or groups that are not in /etc/passwd and /etc/group (user:nobody-here); what they may do was left out: of "/srv"
    "#);
}
