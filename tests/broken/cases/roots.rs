//! What kernels look for: the root file system.

use super::super::edit::Broken;
use super::For::All;
use super::{Case, case, lesser, place_of};

pub const ROOTS: &[Case] = &[
    case(
        "another root",
        "root-missing",
        "looks for root=UUID=00000000",
        All,
        |b| {
            let text = String::from_utf8(b.cat("/boot/extlinux/extlinux.conf")).unwrap();
            let uuid = text.split("root=UUID=").nth(1).unwrap()[..36].to_owned();
            b.configure(&uuid, "00000000-0000-0000-0000-000000000000");
        },
    ),
    case(
        "a partition that does not exist",
        "root-missing",
        "root=/dev/vda7",
        All,
        |b| {
            let text = String::from_utf8(b.cat("/boot/extlinux/extlinux.conf")).unwrap();
            let uuid = text.split("root=").nth(1).unwrap()[..41].to_owned();
            b.configure(&uuid, "/dev/vda7");
        },
    ),
    case(
        "another GUID of the root partition",
        "root-missing",
        "root=PARTUUID=",
        All,
        |b| {
            let text = String::from_utf8(b.cat("/boot/extlinux/extlinux.conf")).unwrap();
            let uuid = text.split("root=").nth(1).unwrap()[..41].to_owned();
            b.configure(&uuid, "PARTUUID=11111111-2222-3333-4444-555555555555");
        },
    ),
    case(
        "no superblock",
        "superblock-damaged",
        "is gone; its backup",
        All,
        |b| b.write(b.root + 1024, &[0; 1024]),
    ),
    case(
        "a superblock with a wrong checksum",
        "superblock-damaged",
        "checksum",
        All,
        |b| b.write(b.root + 1024 + 0x78, b"damaged"),
    ),
    case(
        "no superblock of the journal",
        "journal-damaged",
        "journal",
        All,
        |b| {
            let at = journal(b);
            b.write(at, &[0; 1024]);
        },
    ),
    case(
        "a root that is larger than its partition",
        "root-too-large",
        "refuses to mount",
        All,
        |b| {
            b.entry(2, |e| {
                let end = u64::from_le_bytes(e[40..48].try_into().unwrap()) - 2048;
                e[40..48].copy_from_slice(&end.to_le_bytes());
            });
        },
    ),
    lesser(
        "a root that was not unmounted",
        "root-unclean",
        "was not unmounted",
        All,
        |b| b.debugfs(&["ssv state 0"]),
    ),
    lesser(
        "a root with errors",
        "root-unclean",
        "found errors",
        All,
        |b| b.debugfs(&["ssv state 3"]),
    ),
    lesser("a full disk", "disk-full", "is full", All, |b| {
        let big = b.image.with_extension("big");
        // More than there is room for.
        let len = 900 << 20;
        content_of(&big, len);
        let image = format!("{}?offset={}", b.image, b.root);
        let request = format!("write {big} /big");
        // debugfs fails when it is full: that is what is wanted.
        std::process::Command::new("debugfs")
            .args(["-w", "-R", &request, &image])
            .output()
            .unwrap();
        std::fs::remove_file(&big).unwrap();
    }),
];

/// A file of so many bytes that are no zeros.
fn content_of(path: &camino::Utf8Path, len: usize) {
    let file = std::fs::File::create(path).unwrap();
    let piece = vec![7; 1 << 20];
    for at in (0..len).step_by(1 << 20) {
        std::os::unix::fs::FileExt::write_all_at(&file, &piece, at as u64).unwrap();
    }
}

/// The block of the journal's superblock, which begins with its magic number.
fn journal(b: &Broken) -> u64 {
    place_of(b, &[0xc0, 0x3b, 0x39, 0x98, 0, 0, 0, 4])
}
