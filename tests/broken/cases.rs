//! What is broken, and what must be said about it.

use super::base;
use super::edit::Broken;

/// Which machines the finding is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum For {
    Bios,
    Uefi,
    All,
}

/// One thing that is broken.
pub struct Case {
    pub name: &'static str,
    /// Code and severity of the finding that must be there.
    pub code: &'static str,
    pub severity: &'static str,
    /// A part of its cause.
    pub cause: &'static str,
    pub firmware: For,
    pub edit: fn(&mut Broken),
}

const fn case(
    name: &'static str,
    code: &'static str,
    cause: &'static str,
    firmware: For,
    edit: fn(&mut Broken),
) -> Case {
    Case {
        name,
        code,
        severity: "error",
        cause,
        firmware,
        edit,
    }
}

const fn lesser(
    name: &'static str,
    code: &'static str,
    cause: &'static str,
    firmware: For,
    edit: fn(&mut Broken),
) -> Case {
    Case {
        severity: "warning",
        ..case(name, code, cause, firmware, edit)
    }
}

use For::{All, Bios, Uefi};

pub const FILES: &[Case] = &[
    case(
        "a qcow2 of a version that does not exist",
        "format-damaged",
        "there is no version 9",
        All,
        |b| {
            b.convert("qcow2", &[], "NAME.qcow2");
            b.write(7, &[9]);
        },
    ),
    case(
        "a qcow2 whose tables are outside the file",
        "format-damaged",
        "outside the file",
        All,
        |b| {
            b.convert("qcow2", &[], "NAME.qcow2");
            b.write(40, &[0xff; 7]);
        },
    ),
    case(
        "a qcow2 that says it is corrupt",
        "format-damaged",
        "marked it as corrupt",
        All,
        |b| {
            b.convert("qcow2", &[], "NAME.qcow2");
            b.write(79, &[2]);
        },
    ),
    case(
        "a VHD without its end",
        "format-damaged",
        "truncated",
        All,
        |b| {
            b.convert("vhd", &[], "NAME.vhd");
            b.truncate(b.len() - 512);
        },
    ),
    case(
        "a VHD with a wrong header",
        "format-damaged",
        "second header",
        All,
        |b| {
            b.convert("vhd", &[], "NAME.vhd");
            b.flip(512 + 28);
        },
    ),
    case(
        "a VHDX without headers",
        "format-damaged",
        "both headers are damaged",
        All,
        |b| {
            b.convert("vhdx", &[], "NAME.vhdx");
            b.write(64 << 10, &[0; 4096]);
            b.write(128 << 10, &[0; 4096]);
        },
    ),
    case(
        "a VDI with blocks of no size",
        "format-damaged",
        "blocks of 0 bytes",
        All,
        |b| {
            b.convert("vdi", &[], "NAME.vdi");
            b.write(0x178, &[0; 4]);
        },
    ),
    case(
        "a VMDK for transport without its end",
        "format-damaged",
        "truncated",
        All,
        |b| {
            b.convert("vmdk-stream", &[], "NAME.stream.vmdk");
            b.truncate(b.len() / 2);
        },
    ),
    case(
        "a compressed image without its end",
        "format-damaged",
        "cannot be unpacked",
        All,
        |b| {
            b.convert("raw", &["--compress", "zstd"], "NAME.img.zst");
            b.truncate(b.len() / 2);
        },
    ),
    case(
        "a raw disk that is called a qcow2",
        "format-name",
        "its contents are raw",
        All,
        |b| b.rename("box.qcow2"),
    ),
    case(
        "half a disk",
        "disk-truncated",
        "it is truncated",
        All,
        |b| b.truncate(b.len() / 2),
    ),
];

pub const TABLES: &[Case] = &[
    case(
        "no boot code",
        "boot-code-missing",
        "no boot code",
        Bios,
        |b| b.write(0, &[0; 440]),
    ),
    case("no signature", "boot-signature", "55 AA", All, |b| {
        b.write(510, &[0; 2])
    }),
    case(
        "both tables with a wrong checksum",
        "table-damaged",
        "both copies",
        All,
        |b| {
            for at in b.headers() {
                b.flip(at + 56);
            }
        },
    ),
    lesser(
        "the first table with a wrong checksum",
        "table-primary",
        "the checksum of its header",
        All,
        |b| b.flip(512 + 56),
    ),
    lesser(
        "the first table with a wrong entry",
        "table-primary",
        "the checksum of its entries",
        All,
        |b| b.flip(1024 + 56),
    ),
    case(
        "a kernel that does not take the backup",
        "table-primary",
        "lacks the kernel argument `gpt`",
        All,
        |b| {
            b.configure(" gpt ", " ");
            b.flip(512 + 56);
        },
    ),
    lesser(
        "the backup of the table",
        "table-backup",
        "there is no header",
        All,
        |b| {
            let at = b.headers()[1];
            b.write(at, &[0; 512]);
        },
    ),
    case(
        "no partition for BIOS",
        "boot-partition",
        "no partition is marked",
        Bios,
        |b| b.entry(2, |e| e[48] = 0),
    ),
    case(
        "two partitions for BIOS",
        "boot-partition",
        "several partitions",
        Bios,
        |b| b.entry(1, |e| e[48] = 4),
    ),
    case(
        "no boot sector",
        "boot-sector-missing",
        "partition 2",
        Bios,
        |b| b.write(b.root, &[0; 512]),
    ),
    case(
        "an MBR that does not protect",
        "table-mbr",
        "no partition of type EE",
        Uefi,
        |b| b.write(450, &[0x0c]),
    ),
    case(
        "partitions that overlap",
        "table-overlap",
        "partition 2 begins before partition 1 ends",
        All,
        |b| {
            b.entry(1, |e| {
                let end = u64::from_le_bytes(e[40..48].try_into().unwrap()) + 8;
                e[40..48].copy_from_slice(&end.to_le_bytes());
            });
        },
    ),
    lesser(
        "an ESP of another type",
        "esp-type",
        "not that of an EFI system partition",
        All,
        |b| b.entry(1, |e| e[0] ^= 0xff),
    ),
    case(
        "nothing that could start it",
        "nothing-to-start",
        "neither boot code nor",
        All,
        |b| {
            b.write(0, &[0; 440]);
            b.entry(1, |e| e[0] ^= 0xff);
            b.entry(2, |e| e[48] = 0);
        },
    ),
    case(
        "an ESP with nothing in it",
        "esp-damaged",
        "is empty",
        Uefi,
        |b| b.write(b.esp, &vec![0; 1 << 20]),
    ),
    case(
        "an ESP without its boot sector",
        "esp-damaged",
        "no FAT",
        Uefi,
        |b| b.write(b.esp, &[0; 512]),
    ),
];

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
            let middle = bytes.len() / 2;
            bytes[middle..middle + 4000].fill(0x55);
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

/// The only place of the disk where a sector begins so.
fn place_of(b: &Broken, start: &[u8]) -> u64 {
    let bytes = std::fs::read(&b.image).unwrap();
    let mut sectors = bytes.chunks(512).enumerate();
    let found = sectors.find(|(n, s)| (*n as u64) * 512 > b.root && s.starts_with(start));
    found.unwrap().0 as u64 * 512
}

/// The block of the journal's superblock, which begins with its magic number.
fn journal(b: &Broken) -> u64 {
    place_of(b, &[0xc0, 0x3b, 0x39, 0x98, 0, 0, 0, 4])
}

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

pub const INITS: &[Case] = &[
    case(
        "no init",
        "init-missing",
        "there is no /sbin/init",
        All,
        |b| b.debugfs(&["rm /sbin/init"]),
    ),
    case(
        "an init that leads nowhere",
        "init-missing",
        "is a link to",
        All,
        |b| {
            let init = b.parts.init.clone();
            b.debugfs(&[&format!("rm {init}")]);
        },
    ),
    case(
        "an init that is not executable",
        "init-not-executable",
        "mode 0644",
        All,
        |b| {
            let init = b.parts.init.clone();
            b.debugfs(&[&format!("sif {init} mode 0100644")]);
        },
    ),
    case(
        "an empty init",
        "init-not-executable",
        "is empty",
        All,
        |b| {
            let init = b.parts.init.clone();
            b.put(&init, b"", "755");
        },
    ),
    case(
        "an init for another processor",
        "init-arch",
        "64-bit ARM",
        All,
        |b| {
            let init = b.parts.init.clone();
            let mut bytes = b.cat(&init);
            bytes[18..20].copy_from_slice(&183_u16.to_le_bytes());
            b.put(&init, &bytes, "755");
        },
    ),
    case(
        "an init that is a script for nothing",
        "init-loader-missing",
        "/bin/nothing",
        All,
        |b| {
            let init = b.parts.init.clone();
            b.put(&init, b"#!/bin/nothing\n", "755");
        },
    ),
    case(
        "no dynamic loader",
        "init-loader-missing",
        "dynamic loader",
        All,
        |b| {
            let loader = b.parts.loader.clone();
            b.debugfs(&[&format!("rm {loader}")]);
        },
    ),
    case(
        "no C library",
        "library-missing",
        "needs the library libc",
        All,
        |b| {
            let libc = b.parts.libc.clone();
            b.debugfs(&[&format!("rm {libc}")]);
        },
    ),
    case(
        "an fstab with a disk that is not there",
        "fstab-missing",
        "/srv",
        All,
        |b| {
            let mut text = b.cat("/etc/fstab");
            text.extend(b"UUID=11111111-2222-3333-4444-555555555555 /srv ext4 defaults 0 2\n");
            b.put("/etc/fstab", &text, "644");
        },
    ),
    lesser(
        "no program for consoles",
        "console-missing",
        "agetty",
        All,
        |b| {
            for path in ["/sbin/agetty", "/usr/sbin/agetty"] {
                if b.has(path) {
                    b.debugfs(&[&format!("rm {path}")]);
                    return;
                }
            }
        },
    ),
    lesser("a machine id", "identity", "/etc/machine-id", All, |b| {
        b.put(
            "/etc/machine-id",
            b"0123456789abcdef0123456789abcdef\n",
            "444",
        );
    }),
    lesser("root without a password", "login", "as root", All, |b| {
        let text = String::from_utf8(b.cat("/etc/shadow")).unwrap();
        let line = text.lines().find(|l| l.starts_with("root:")).unwrap();
        let locked = line.split(':').nth(1).unwrap();
        let open = line.replacen(&format!("root:{locked}:"), "root::", 1);
        b.put("/etc/shadow", text.replace(line, &open).as_bytes(), "640");
    }),
];
