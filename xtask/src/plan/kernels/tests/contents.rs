//! What the bytes of a kernel and of modules tell.

use super::*;

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
