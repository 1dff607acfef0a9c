//! Sizes, links and names that an ext4 cannot hold.

use super::blocks::*;
use super::{ext4_file, line, load, node, told};
use crate::common::{self, Entry, dir, entry, file, temp};
use camino::Utf8Path;
use docker_to_linux::fs::ext4::Need;
use docker_to_linux::rootfs::tar::{self, MAX_FILE};
use docker_to_linux::rootfs::{Kind, Rootfs};
use proptest::prelude::*;
use std::fs::File;

fn tree_of(entries: &[Entry], dir: &Utf8Path) -> Rootfs {
    let at = dir.join("tree.tar");
    common::tar_file(entries, &at);
    tar::from_file(File::open(&at).unwrap(), dir).unwrap()
}

#[test]
fn more_names_than_a_file_can_have() {
    let (_guard, at) = temp();
    let with = |count: usize| {
        let mut all = vec![dir("d"), file("d/first", "f")];
        for n in 1..count {
            all.push(entry(
                &format!("d/{n}"),
                common::Kind::HardLink("d/first".into()),
            ));
        }
        tree_of(&all, &at)
    };
    ext4_file(with(65_000), &at).unwrap();
    let e = ext4_file(with(65_001), &at).unwrap_err();
    for word in ["/d/", "65001", "65000"] {
        assert!(e.message.contains(word), "{word}: {e}");
    }
    assert!(e.hint.unwrap().contains("--hard-dereference"));
}

/// As long as such names cannot be written, the error names the file.
#[test]
fn a_name_that_cannot_be_written() {
    let (_guard, at) = temp();
    let mut tar = Raw512::default();
    let tar = tar.records(b'x', &[("path", b"etc/caf\xe9.conf")]);
    let rootfs = load(&tar.file("x", b"2").end()).unwrap();
    if let Err(e) = ext4_file(rootfs, &at) {
        assert!(e.message.contains(r#""/etc/caf\xe9.conf""#), "{e}");
        assert!(e.hint.unwrap().contains("rename"));
    }
}

#[test]
fn an_old_lost_and_found() {
    let (_guard, at) = temp();
    ext4_file(tree_of(&[dir("lost+found").mode(0o700)], &at), &at).unwrap();
    let full = [
        dir("lost+found"),
        file("lost+found/#12", "x"),
        dir("lost+found/#13"),
    ];
    let e = ext4_file(tree_of(&full, &at), &at).unwrap_err();
    assert!(
        e.message.contains("/lost+found is not empty (2 in it)"),
        "{e}"
    );
    assert!(e.hint.unwrap().contains("--exclude=./lost+found"));
    let e = ext4_file(tree_of(&[file("lost+found", "x")], &at), &at).unwrap_err();
    assert!(e.message.contains("is a file"), "{e}");
}

#[test]
fn the_largest_file_and_one_byte_more() {
    let (_guard, at) = temp();
    let of = |size: u64, runs: &[(u64, u64)], data: &[u8]| {
        let mut tar = Raw512::default();
        sparse(&mut tar, "giant", size, runs, data);
        load(&tar.end())
    };
    let last = MAX_FILE - 10;
    let rootfs = of(MAX_FILE, &[(0, 5), (last, 10)], &[7; 15]).unwrap();
    let Kind::File(content) = &node(&rootfs, "giant").kind else {
        panic!()
    };
    assert_eq!(content.len(), MAX_FILE);
    ext4_file(rootfs, &at).unwrap();
    for size in [MAX_FILE + 1, 1 << 44, 1 << 63, u64::MAX >> 1] {
        let e = of(size, &[(0, 5)], &[7; 5]).unwrap_err();
        if size < 1 << 63 {
            let (e, hint) = told(e);
            assert!(e.contains("giant") && e.contains(&size.to_string()), "{e}");
            assert!(hint.contains("--exclude"), "{hint}");
        }
    }
    let huge = u64::MAX >> 1;
    let impossible: [&[(u64, u64)]; 9] = [
        &[(0, huge), (0, huge)],
        &[(huge, 5)],
        &[(5, u64::MAX - 3)],
        &[(10, 5), (0, 5)],
        &[(0, 5), (4, 5)],
        &[(96, 5)],
        // More and less than what is stored.
        &[(0, 6)],
        &[(0, 4)],
        &[],
    ];
    let errors = impossible.map(|runs| line(of(100, runs, &[7; 5]).unwrap_err()));
    insta::assert_snapshot!(errors.concat(), @r#"
    the sparse map of "giant" (header at byte 1024) is malformed; hint: make the tar again with GNU tar or a container engine
    the sparse map of "giant" (header at byte 1024) is malformed; hint: make the tar again with GNU tar or a container engine
    the sparse map of "giant" (header at byte 1024) is malformed; hint: make the tar again with GNU tar or a container engine
    the sparse map of "giant" (header at byte 1024) is malformed; hint: make the tar again with GNU tar or a container engine
    the sparse map of "giant" (header at byte 1024) is malformed; hint: make the tar again with GNU tar or a container engine
    the sparse map of "giant" (header at byte 1024) is malformed; hint: make the tar again with GNU tar or a container engine
    the sparse map of "giant" (header at byte 1024) is malformed; hint: make the tar again with GNU tar or a container engine
    the sparse map of "giant" (header at byte 1024) is malformed; hint: make the tar again with GNU tar or a container engine
    the sparse map of "giant" (header at byte 1024) is malformed; hint: make the tar again with GNU tar or a container engine
    "#);
    // The header's own fields.
    let mut huge = header("huge", b'0', 0);
    put(
        &mut huge,
        SIZE,
        b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
    );
    let error = load(&Raw512::default().put(huge, b"").end()).unwrap_err();
    insta::assert_snapshot!(line(error), @r#"the file "huge" has 9223372036854775807 bytes, more than the 17592186040320 that ext4 can hold; hint: if the file is meant to be so large, it cannot be in the image; make the tar without it (`tar --exclude`)"#);
}

/// Sparse files that boot loaders must read have no holes on the disk: their whole size counts,
/// before anything is laid out.
#[test]
fn sparse_giants_where_nothing_may_be_sparse() {
    let (_guard, at) = temp();
    let mut all = common::machine();
    all.retain(|e| e.path != "boot/initrd.img-6.1");
    let build = |initrd: u64, extra: u64, boot: &str| {
        let mut tar = Vec::new();
        common::write_tar(&all, &mut tar);
        let mut more = Raw512(tar[..tar.len() - 1024].to_vec());
        sparse(
            &mut more,
            "boot/initrd.img-6.1",
            initrd,
            &[(0, 5)],
            b"12345",
        );
        if extra > 0 {
            for n in 0..3 {
                sparse(
                    &mut more,
                    &format!("boot/extlinux/{n}"),
                    extra,
                    &[(0, 1)],
                    b"1",
                );
            }
        }
        let tar = at.join("s.tar");
        fs_err::write(&tar, more.end()).unwrap();
        let bootloader = common::bootloader_dir(&at)?;
        let out = common::xtask()
            .args([
                "image",
                "--force",
                "debian",
                "--plan",
                "--boot",
                boot,
                "--from",
                tar.as_str(),
            ])
            .args([
                "--bootloader-dir",
                bootloader.as_str(),
                "--output",
                at.as_str(),
            ])
            .current_dir(Utf8Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap())
            .output()
            .unwrap();
        Some((out.status.code(), common::said(&out)))
    };
    for boot in ["bios", "uefi", "hybrid"] {
        let Some((code, said)) = build(MAX_FILE, 0, boot) else {
            return;
        };
        assert_eq!(code, Some(2), "{said}");
        assert!(
            said.contains("initrd.img-6.1") && said.contains("4 GiB"),
            "{said}"
        );
        let (code, said) = build(1 << 63, 0, boot).unwrap();
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("more than the 17592186040320"), "{said}");
    }
    let (code, said) = build(5000, MAX_FILE, "bios").unwrap();
    assert_eq!(code, Some(0), "{said}");
    // 300 MiB of holes are 300 MiB on the disk.
    let (code, said) = build(300 << 20, 0, "bios").unwrap();
    assert_eq!(code, Some(0), "{said}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever sizes a tar claims: it is read and laid out, or there is an error.
    #[test]
    fn sizes_never_panic(
        size in size(), stored in 0_usize..3000,
        runs in prop::collection::vec((size(), size()), 0..4),
        field in prop::option::of((0_usize..9, prop::array::uniform12(any::<u8>()))),
    ) {
        let mut tar = Raw512::default();
        tar.file("before", b"b");
        sparse(&mut tar, "sparse", size, &runs, &vec![7; stored]);
        let mut odd = header("odd", b'0', 3);
        if let Some((which, bytes)) = field {
            let at = [MODE, UID, GID, SIZE, MTIME, MAJOR, MINOR, MAGIC, 156..157][which].clone();
            let len = at.len();
            put(&mut odd, at, &bytes[..len.min(12)]);
        }
        tar.put(odd, b"odd");
        if let Ok(rootfs) = load(&tar.end()) {
            let need = Need::of(&rootfs.tree, &["/sparse"]);
            prop_assert!(need.smallest() >= need.content.min(1 << 43));
            let need = Need::of(&rootfs.tree, &[]);
            if need.smallest() < 1 << 30 {
                let (_guard, at) = temp();
                drop(ext4_file(rootfs, &at));
            }
        }
    }
}

/// Sizes near the places where something ends.
fn size() -> impl Strategy<Value = u64> {
    let edges = prop::sample::select(vec![
        0,
        1,
        511,
        512,
        4096,
        1 << 31,
        1 << 32,
        MAX_FILE,
        1 << 44,
        1 << 62,
        1 << 63,
        u64::MAX - 4095,
        u64::MAX,
    ]);
    (edges, -2_i64..3).prop_map(|(edge, more)| edge.saturating_add_signed(more))
}
