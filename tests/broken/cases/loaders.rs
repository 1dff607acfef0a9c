//! What boot loaders read: their own files, entries, kernels and initrds.

use super::super::base;
use super::For::{Bios, Uefi};
use super::{Case, case, place_of};

pub const LOADERS: &[Case] = &[
    case(
        "no UEFI loader",
        "uefi-loader-missing",
        "EFI/BOOT",
        Uefi,
        |b| {
            b.on_esp(|root| root.remove("EFI/BOOT/BOOTX64.EFI").unwrap());
        },
    ),
    case(
        "half a UEFI loader",
        "uefi-loader-damaged",
        "is truncated",
        Uefi,
        |b| {
            let bytes = b.of_esp("EFI/BOOT/BOOTX64.EFI");
            b.put_on_esp("EFI/BOOT/BOOTX64.EFI", &bytes[..bytes.len() / 2]);
        },
    ),
    case(
        "a UEFI loader for another processor",
        "uefi-loader-damaged",
        "64-bit ARM",
        Uefi,
        |b| {
            let mut bytes = b.of_esp("EFI/BOOT/BOOTX64.EFI");
            let pe = u32::from_le_bytes(bytes[60..64].try_into().unwrap()) as usize;
            bytes[pe + 4..pe + 6].copy_from_slice(&0xaa64_u16.to_le_bytes());
            b.put_on_esp("EFI/BOOT/BOOTX64.EFI", &bytes);
        },
    ),
    case(
        "no entries of systemd-boot",
        "entries-missing",
        "has no entries",
        Uefi,
        |b| {
            let (path, _) = b.bls();
            b.on_esp(|root| root.remove(&path).unwrap());
        },
    ),
    case(
        "no ldlinux.sys",
        "extlinux-files",
        "no ldlinux.sys",
        Bios,
        |b| b.debugfs(&["rm /boot/extlinux/ldlinux.sys"]),
    ),
    case(
        "a moved ldlinux.sys",
        "extlinux-files",
        "not where the boot sector looks",
        Bios,
        |b| {
            let bytes = b.cat("/boot/extlinux/ldlinux.sys");
            let at = place_of(b, b"\r\nSYSLINUX ");
            let old = b.image.with_extension("old");
            std::fs::write(&old, &bytes).unwrap();
            // The new one gets other blocks while the old one still has its own.
            b.debugfs(&[
                "ln /boot/extlinux/ldlinux.sys /boot/old",
                "unlink /boot/extlinux/ldlinux.sys",
                &format!("write {old} /boot/extlinux/ldlinux.sys"),
            ]);
            b.write(at, &[0; 512]);
        },
    ),
    case(
        "a damaged ldlinux.sys",
        "extlinux-files",
        "checksum",
        Bios,
        |b| {
            let at = place_of(b, b"\r\nSYSLINUX ");
            b.flip(at + 20_000);
        },
    ),
    case(
        "no ldlinux.c32",
        "extlinux-files",
        "ldlinux.c32",
        Bios,
        |b| b.debugfs(&["rm /boot/extlinux/ldlinux.c32"]),
    ),
    case(
        "no extlinux.conf",
        "entries-missing",
        "no configuration",
        Bios,
        |b| b.debugfs(&["rm /boot/extlinux/extlinux.conf"]),
    ),
    case(
        "an extlinux.conf without entries",
        "entries-missing",
        "no entry with a kernel",
        Bios,
        |b| {
            b.put("/boot/extlinux/extlinux.conf", b"SERIAL 0 115200\n", "644");
        },
    ),
    case(
        "an entry of systemd-boot for a missing kernel",
        "kernel-missing",
        "/gone",
        Uefi,
        |b| {
            let (path, text) = b.bls();
            let kernel = b.named("linux");
            b.put_on_esp(&path, text.replace(&kernel, "gone").as_bytes());
        },
    ),
    case("no kernel", "kernel-missing", "does not exist", Bios, |b| {
        let kernel = b.parts.kernel.clone();
        b.debugfs(&[&format!("rm {kernel}")]);
    }),
    case(
        "half a kernel",
        "kernel-damaged",
        "is truncated",
        Bios,
        |b| {
            let kernel = b.parts.kernel.clone();
            let bytes = b.cat(&kernel);
            b.put(&kernel, &bytes[..bytes.len() / 2], "644");
        },
    ),
    case(
        "half a kernel on the ESP",
        "kernel-damaged",
        "is truncated",
        Uefi,
        |b| {
            let path = b.named("linux");
            let bytes = b.of_esp(&path);
            b.put_on_esp(&path, &bytes[..bytes.len() / 2]);
        },
    ),
    case(
        "a kernel for another processor",
        "kernel-damaged",
        "64-bit ARM",
        Uefi,
        |b| {
            let mut bytes = base::kernel(0xaa64);
            // An arm64 Image has no boot sector of a PC.
            bytes[0x1f0..0x240].fill(0);
            bytes[0x38..0x3c].copy_from_slice(b"ARM\x64");
            let path = b.named("linux");
            b.put_on_esp(&path, &bytes);
        },
    ),
    case(
        "a kernel that is a text",
        "kernel-damaged",
        "is no kernel",
        Bios,
        |b| {
            let kernel = b.parts.kernel.clone();
            b.put(&kernel, "not found\n".repeat(1000).as_bytes(), "644");
        },
    ),
    case(
        "an empty kernel",
        "kernel-damaged",
        "is no EFI program",
        Uefi,
        |b| {
            let path = b.named("linux");
            b.put_on_esp(&path, b"");
        },
    ),
    case("no initrd", "initrd-missing", "does not exist", Bios, |b| {
        let initrd = b.parts.initrd.clone();
        b.debugfs(&[&format!("rm {initrd}")]);
    }),
    case(
        "no initrd on the ESP",
        "initrd-missing",
        "does not exist",
        Uefi,
        |b| {
            let path = b.named("initrd");
            b.on_esp(|root| root.remove(&path).unwrap());
        },
    ),
    case(
        "half an initrd",
        "initrd-damaged",
        "cannot be unpacked",
        Bios,
        |b| {
            let initrd = b.parts.initrd.clone();
            let bytes = b.cat(&initrd);
            b.put(&initrd, &bytes[..bytes.len() / 2], "644");
        },
    ),
    case(
        "an initrd with wrong bytes",
        "initrd-damaged",
        "cannot be unpacked",
        Uefi,
        |b| {
            let path = b.named("initrd");
            let mut bytes = b.of_esp(&path);
            // Archives that are not compressed have no checksums; the one at the end is compressed.
            let place = bytes.len() / 10 * 9;
            bytes[place..place + 4000].fill(0x55);
            b.put_on_esp(&path, &bytes);
        },
    ),
    case(
        "an initrd that is a page of a web server",
        "initrd-damaged",
        "is a text file",
        Bios,
        |b| {
            let initrd = b.parts.initrd.clone();
            b.put(&initrd, "<html>404</html>\n".repeat(100).as_bytes(), "644");
        },
    ),
];
