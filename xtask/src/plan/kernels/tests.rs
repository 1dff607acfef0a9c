#![allow(clippy::unwrap_used)]

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
fn kernels_that_boot() {
    let (hybrid, uefi, bios) = (BootMode::Hybrid, BootMode::Uefi, BootMode::Bios);
    let zboot = {
        let mut bytes = pe(0xaa64, b".text", 1024);
        bytes[4..8].copy_from_slice(b"zimg");
        bytes[8..16].copy_from_slice(&[0, 4, 0, 0, 0, 4, 0, 0]);
        bytes
    };
    let unknown = Ok(None);
    for (kernel, arch, boot, machine) in [
        (
            bz_image(GOOD, AMD64),
            Arch::Amd64,
            hybrid,
            Ok(Some(Machine::X86_64)),
        ),
        (
            bz_image(GOOD, None),
            Arch::Amd64,
            bios,
            Ok(Some(Machine::X86_64)),
        ),
        // A BIOS starts 32-bit kernels on a 64-bit PC.
        (
            bz_image(0, Some(0x14c)),
            Arch::Amd64,
            bios,
            Ok(Some(Machine::X86)),
        ),
        (
            arm64_image(true),
            Arch::Arm64,
            uefi,
            Ok(Some(Machine::Arm64)),
        ),
        (zboot, Arch::Arm64, uefi, Ok(Some(Machine::Arm64))),
        // What is not known may boot.
        (pe(0, b".text", 1024), Arch::Amd64, hybrid, unknown.clone()),
        (vec![0x80; 5000], Arch::Amd64, hybrid, unknown),
    ] {
        let got = judged(&kernel, arch, boot).map_err(|e| e.message);
        assert_eq!(got, machine);
    }
}

#[test]
fn what_is_no_kernel_for_the_machine() {
    let (hybrid, uefi) = (BootMode::Hybrid, BootMode::Uefi);
    let cut = bz_image(GOOD, AMD64)[..4000].to_vec();
    let cut_pe = pe(0xaa64, b".text", 4096);
    let x86 = [
        (&b""[..], "is empty"),
        (&elf(62), "ELF file"),
        (&elf(0), "ELF file"),
        (
            &bz_image(0, Some(0x14c)),
            "32-bit x86 (i386), but the image is for amd64",
        ),
        (
            &arm64_image(true),
            "64-bit ARM (arm64), but the image is for amd64",
        ),
        (
            &pe(0xaa64, b".text", 8),
            "64-bit ARM (arm64), but the image is for amd64",
        ),
        (&bz_image(GOOD, None), "CONFIG_EFI_STUB"),
        (
            &cut,
            "truncated: its header says 5105 bytes, but it has 4000",
        ),
        (b"MZ\0\0", "truncated"),
        (&pe(0x8664, b".linux\0", 8), "unified kernel image"),
        (&[0; 9000], "zero bytes"),
        (b"\x1f\x8b\x08\0\0\0", "compressed with gzip"),
        (b"\x28\xb5\x2f\xfd\0\0", "compressed with zstd"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "is a text file",
        ),
        (b"Not Found", "is a text file"),
        (b"!<arch>\ndebian-binary\0", "archive"),
    ];
    for (kernel, why) in x86 {
        let e = judged(kernel, Arch::Amd64, hybrid).unwrap_err();
        assert!(
            e.message.contains(why) && e.message.contains("/boot/vmlinuz-1"),
            "{e}"
        );
        assert!(e.hint.is_some(), "{e}");
    }
    let arm = [
        (
            &bz_image(GOOD, AMD64)[..],
            "64-bit x86 (amd64), but the image is for arm64",
        ),
        (&arm64_image(false), "CONFIG_EFI_STUB"),
        (&cut_pe, "truncated"),
        (b"\x1f\x8b\x08\0\0\0", "compressed with gzip"),
    ];
    for (kernel, why) in arm {
        let e = judged(kernel, Arch::Arm64, uefi).unwrap_err();
        assert!(e.message.contains(why), "{e}");
    }
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

#[test]
fn modules_for_another_processor() {
    use std::io::Write;
    let gzip = |bytes: &[u8]| {
        let mut to = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        to.write_all(bytes).unwrap();
        to.finish().unwrap()
    };
    let xz = |bytes: &[u8]| {
        let mut to = liblzma::write::XzEncoder::new(Vec::new(), 1);
        to.write_all(bytes).unwrap();
        to.finish().unwrap()
    };
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    let module = |machine: u8| [elf(machine), vec![7; 100_000]].concat();
    for (ending, pack) in [
        ("", &(|b: &[u8]| b.to_vec()) as &dyn Fn(&[u8]) -> Vec<u8>),
        (".gz", &gzip),
        (".xz", &xz),
        (".zst", &zstd),
    ] {
        for (machine, good) in [(62, true), (0, true), (183, false), (3, false)] {
            let mut r = one(&bz_image(GOOD, AMD64));
            let path = format!("/lib/modules/1/kernel/fs/x.ko{ending}");
            let bytes = pack(&module(machine));
            r.tree.write(&path, bytes, 0o644, 0).unwrap();
            match find(&r, Arch::Amd64, BootMode::Hybrid) {
                Ok(_) => assert!(good, "{ending} {machine}"),
                Err(e) => {
                    assert!(!good && e.message.contains(&path), "{e}");
                }
            }
        }
    }
}
