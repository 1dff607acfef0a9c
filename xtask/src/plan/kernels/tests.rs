#![allow(clippy::unwrap_used)]

mod contents;

use super::*;
use crate::rootfs::{Meta, Stores};

fn rootfs(files: &[&str], links: &[(&str, &str)]) -> Rootfs {
    let mut tree = Tree::new(Meta::root(0o755, 0));
    for (link, target) in links {
        tree.symlink(link, target, 0).unwrap();
    }
    for f in files {
        tree.write(f, &b"\x01\x02"[..], 0o644, 0).unwrap();
    }
    Rootfs {
        tree,
        stores: Stores::default(),
        epoch: 0,
        notes: Vec::new(),
    }
}

fn look(rootfs: &Rootfs) -> Kernels {
    find(rootfs, Arch::Amd64, BootMode::Hybrid).unwrap()
}

fn refused(rootfs: &Rootfs) -> Report {
    find(rootfs, Arch::Amd64, BootMode::Hybrid).unwrap_err()
}

fn found(rootfs: &Rootfs) -> Vec<(String, String, String)> {
    let Kernels { kernels, notes } = look(rootfs);
    assert_eq!(notes, [""; 0]);
    let all = kernels.into_iter();
    all.map(|k| (k.version, k.linux.path, k.initrd.path))
        .collect()
}

fn row(a: &str, b: &str, c: &str) -> (String, String, String) {
    (a.to_owned(), b.to_owned(), c.to_owned())
}

#[test]
fn debian_newest_first_by_version_not_by_text() {
    let r = rootfs(
        &[
            "/boot/vmlinuz-6.9.1-amd64",
            "/boot/initrd.img-6.9.1-amd64",
            "/boot/vmlinuz-6.12.10-amd64",
            "/boot/initrd.img-6.12.10-amd64",
            "/boot/config-6.12.10-amd64",
        ],
        &[
            ("/vmlinuz", "boot/vmlinuz-6.12.10-amd64"),
            ("/initrd.img", "boot/initrd.img-6.12.10-amd64"),
        ],
    );
    let Kernels { kernels, .. } = look(&r);
    assert_eq!(kernels[0].version, "6.12.10-amd64");
    assert_eq!(kernels[1].version, "6.9.1-amd64");
    assert_eq!(kernels[0].linux.link.as_deref(), Some("/vmlinuz"));
    assert_eq!(kernels[0].initrd.link.as_deref(), Some("/initrd.img"));
    assert_eq!(kernels[1].linux.link, None);
}

#[test]
fn alpine_and_arch_name_flavours() {
    let r = rootfs(
        &[
            "/boot/vmlinuz-virt",
            "/boot/initramfs-virt",
            "/lib/modules/6.18.2-0-virt/modules.dep",
        ],
        &[],
    );
    let want = row(
        "6.18.2-0-virt",
        "/boot/vmlinuz-virt",
        "/boot/initramfs-virt",
    );
    assert_eq!(found(&r), [want]);
    let r = rootfs(&["/boot/vmlinuz-linux", "/boot/initramfs-linux.img"], &[]);
    let want = row("linux", "/boot/vmlinuz-linux", "/boot/initramfs-linux.img");
    assert_eq!(found(&r), [want]);
}

#[test]
fn kernels_beside_their_modules_and_a_linked_boot() {
    let r = rootfs(
        &[
            "/usr/lib/modules/6.11.4-301.fc41.x86_64/vmlinuz",
            "/usr/lib/modules/6.11.4-301.fc41.x86_64/initramfs.img",
        ],
        &[("/lib", "usr/lib")],
    );
    let dir = "/usr/lib/modules/6.11.4-301.fc41.x86_64";
    let want = row(
        "6.11.4-301.fc41.x86_64",
        &format!("{dir}/vmlinuz"),
        &format!("{dir}/initramfs.img"),
    );
    assert_eq!(found(&r), [want]);
    let r = rootfs(
        &["/srv/boot/vmlinuz-1", "/srv/boot/initrd.img-1"],
        &[("/boot", "srv/boot")],
    );
    let want = row("1", "/srv/boot/vmlinuz-1", "/srv/boot/initrd.img-1");
    assert_eq!(found(&r), [want]);
}

#[test]
fn what_is_missing_is_named() {
    let e = refused(&rootfs(&["/etc/motd"], &[]));
    assert!(e.message.contains("no kernel"), "{e}");
    let e = refused(&rootfs(&["/boot/vmlinuz-6.1"], &[]));
    assert!(e.message.contains("/boot/initrd.img-6.1"), "{e}");
    // A second kernel that is complete is enough, and the first one gets a word.
    let r = rootfs(
        &[
            "/boot/vmlinuz-6.1",
            "/boot/vmlinuz-5.1",
            "/boot/initrd.img-5.1",
        ],
        &[],
    );
    let Kernels { kernels, notes } = look(&r);
    assert_eq!(kernels.len(), 1);
    assert_eq!(notes.len(), 1);
    assert!(
        notes[0].starts_with("the kernel /boot/vmlinuz-6.1 has no initrd")
            && notes[0].contains("/boot/initrd.img-6.1"),
        "{notes:?}"
    );
}

/// The start of an x86 kernel, with as many bytes as it says that it has. `flags`: xloadflags.
fn bz_image(flags: u16, pe_machine: Option<u16>) -> Vec<u8> {
    let mut bytes = vec![0; 1024 + 4096];
    let mut put = |at: usize, what: &[u8]| bytes[at..at + what.len()].copy_from_slice(what);
    put(0x1f1, &[1]);
    put(0x1f4, &(4096_u32 / 16).to_le_bytes());
    put(0x1fe, &[0x55, 0xaa]);
    put(0x202, b"HdrS\x0f\x02");
    put(0x236, &flags.to_le_bytes());
    if let Some(machine) = pe_machine {
        put(0, b"MZ");
        put(60, &64_u32.to_le_bytes());
        put(64, b"PE\0\0");
        put(68, &machine.to_le_bytes());
    }
    bytes
}

fn arm64_image(efi: bool) -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    bytes[0x38..0x3c].copy_from_slice(b"ARM\x64");
    if efi {
        bytes[..2].copy_from_slice(b"MZ");
        bytes[60] = 64;
        bytes[64..70].copy_from_slice(b"PE\0\0\x64\xaa");
    } else {
        bytes[..2].copy_from_slice(&[0x14, 0x20]);
    }
    bytes
}

/// A PE file with one section of that name, for that machine.
fn pe(machine: u16, section: &[u8], size: u32) -> Vec<u8> {
    let mut bytes = vec![0; 2048];
    let mut put = |at: usize, what: &[u8]| bytes[at..at + what.len()].copy_from_slice(what);
    put(0, b"MZ");
    put(60, &64_u32.to_le_bytes());
    put(64, b"PE\0\0");
    put(68, &machine.to_le_bytes());
    put(70, &[1]);
    put(88, section);
    put(88 + 16, &size.to_le_bytes());
    put(88 + 20, &1024_u32.to_le_bytes());
    bytes
}

fn elf(machine: u8) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
    bytes[18] = machine;
    bytes
}

const GOOD: u16 = 0x7f;
const AMD64: Option<u16> = Some(0x8664);

/// A root file system with one kernel of these bytes, and its initrd.
fn one(kernel: &[u8]) -> Rootfs {
    let mut r = rootfs(&["/boot/initrd.img-1"], &[]);
    r.tree.write("/boot/vmlinuz-1", kernel, 0o644, 0).unwrap();
    r
}

fn judged(kernel: &[u8], arch: Arch, boot: BootMode) -> Result<Option<Machine>, Report> {
    find(&one(kernel), arch, boot).map(|found| found.kernels[0].machine)
}

#[test]
fn what_is_passed_over_beside_a_kernel() {
    let mut r = one(&bz_image(GOOD, AMD64));
    let mut put = |path: &str, bytes: &[u8]| {
        r.tree.write(path, bytes, 0o644, 0).unwrap();
    };
    // An ELF file of the same version, and a newer kernel of another architecture.
    put("/boot/vmlinux-1", &elf(62));
    put("/boot/vmlinuz-2", &arm64_image(true));
    put("/boot/initrd.img-2", b"\x01");
    // Copies and what accompanies kernels are no candidates at all.
    for name in ["1.old", "1.bak", "1.dpkg-new", "1~", "1.hmac"] {
        put(&format!("/boot/vmlinuz-{name}"), &bz_image(GOOD, AMD64));
        put(&format!("/boot/initrd.img-{name}"), b"\x01");
    }
    r.tree.mkdir("/boot/vmlinuz-3", 0o755, 0).unwrap();
    r.tree.symlink("/boot/vmlinuz", "vmlinuz-9", 0).unwrap();
    let Kernels { kernels, notes } = look(&r);
    let paths: Vec<&str> = kernels.iter().map(|k| k.linux.path.as_str()).collect();
    assert_eq!(paths, ["/boot/vmlinuz-1"]);
    for (path, why) in [
        ("/boot/vmlinux-1 is an ELF", "no boot entry"),
        ("/boot/vmlinuz-2 is a kernel for", "arm64"),
        ("/boot/vmlinuz-3 is a directory", "not a file"),
        (
            "/boot/vmlinuz is a symbolic link to vmlinuz-9",
            "does not exist",
        ),
    ] {
        let found = |n: &&String| n.starts_with(path) && n.contains(why);
        assert_eq!(notes.iter().filter(found).count(), 1, "{path}: {notes:?}");
    }
    assert_eq!(notes.len(), 4, "{notes:?}");
}

#[test]
fn a_rescue_kernel_is_never_the_first() {
    let names = ["6.1.fc41.x86_64", "0-rescue-0123456789abcdef", "6.1.10"];
    let files: Vec<String> = names
        .iter()
        .flat_map(|n| {
            [
                format!("/boot/vmlinuz-{n}"),
                format!("/boot/initramfs-{n}.img"),
            ]
        })
        .collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let found = look(&rootfs(&files, &[])).kernels;
    assert_eq!(found[2].version, "0-rescue-0123456789abcdef");
}

#[test]
fn initrds_that_are_none() {
    for (initrd, why) in [
        (&b""[..], "/boot/initrd.img-1 is empty"),
        (&[0; 100], "zero bytes"),
        (&elf(62), "is a program"),
        (b"#!/bin/sh\n", "is a text file"),
    ] {
        let mut r = one(&bz_image(GOOD, AMD64));
        r.tree
            .write("/boot/initrd.img-1", initrd, 0o644, 0)
            .unwrap();
        let e = refused(&r);
        assert!(
            e.message.contains("no initrd") && e.message.contains(why),
            "{e}"
        );
    }
    let mut r = one(&bz_image(GOOD, AMD64));
    r.tree.remove("/boot/initrd.img-1");
    r.tree
        .write("/boot/initrd.img-2", &b"\x01"[..], 0o644, 0)
        .unwrap();
    let e = refused(&r);
    assert!(e.message.contains("initrd.img-2 for other versions"), "{e}");
}

#[test]
fn names_that_no_configuration_file_holds() {
    for name in ["6.1\nLABEL x", "6.1|x", "6.1\x1b[31m"] {
        let mut r = rootfs(&[], &[]);
        let mut put = |path: String| {
            r.tree.write(&path, &b"\x01"[..], 0o644, 0).unwrap();
        };
        put(format!("/boot/vmlinuz-{name}"));
        put(format!("/boot/initrd.img-{name}"));
        let e = refused(&r);
        assert!(e.message.contains("control character"), "{e}");
    }
    // Two that would be one on the ESP.
    let r = rootfs(
        &[
            "/boot/vmlinuz-6.1 a",
            "/boot/initrd.img-6.1 a",
            "/boot/vmlinuz-6.1-a",
            "/boot/initrd.img-6.1-a",
        ],
        &[],
    );
    assert_eq!(look(&r).kernels.len(), 1);
}
