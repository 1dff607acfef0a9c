//! The good image that everything is broken in: a small root file system with this host's C library,
//! and a kernel of which only the headers are real.

use crate::common::{Entry, Place, content, dir, file, link, pattern, skipped};
use camino::Utf8PathBuf;
use std::io::Write;

/// The kernel: what boot loaders read of a bzImage with an EFI stub, and noise (Linux,
/// Documentation/arch/x86/boot.rst; Microsoft, "PE Format").
pub fn kernel(machine: u16) -> Vec<u8> {
    let len = 700_001_usize;
    let mut bytes = pattern(1, len);
    bytes[..0x600].fill(0);
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, b"MZ");
    put(0x3c, &0x40_u32.to_le_bytes());
    put(0x40, b"PE\0\0");
    put(0x44, &machine.to_le_bytes());
    put(0x46, &1_u16.to_le_bytes());
    put(0x54, &0xa0_u16.to_le_bytes());
    // Its only section, behind the optional header.
    let section = 0x40 + 24 + 0xa0;
    put(section, b".text\0\0\0");
    put(
        section + 16,
        &u32::try_from(len - 512).unwrap().to_le_bytes(),
    );
    put(section + 20, &512_u32.to_le_bytes());
    // Four sectors of set-up code, and the rest in units of 16 bytes.
    put(0x1f1, &[4]);
    put(
        0x1f4,
        &u32::try_from((len - 2560) / 16).unwrap().to_le_bytes(),
    );
    put(0x1fe, &[0x55, 0xaa]);
    put(0x202, b"HdrS");
    put(0x206, &0x20f_u16.to_le_bytes());
    put(0x20e, &0x300_u16.to_le_bytes());
    put(0x236, &1_u16.to_le_bytes());
    put(0x500, b"6.1 (test) #1\0");
    bytes
}

/// An initrd: an archive with one file, compressed.
pub fn initrd() -> Vec<u8> {
    let noise = pattern(2, 1_500_000);
    let mut out = Vec::new();
    for (name, content) in [("init", &noise[..]), ("TRAILER!!!", &[])] {
        let fields = [
            1,
            0o100_755,
            0,
            0,
            1,
            0,
            content.len(),
            0,
            0,
            0,
            0,
            name.len() + 1,
            0,
        ];
        write!(out, "070701").unwrap();
        for field in fields {
            write!(out, "{field:08x}").unwrap();
        }
        write!(out, "{name}\0").unwrap();
        out.resize(out.len().next_multiple_of(4), 0);
        out.extend_from_slice(content);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    // With a checksum, as zstd(1) writes it.
    let mut zstd = zstd::Encoder::new(Vec::new(), 1).unwrap();
    zstd.include_checksum(true).unwrap();
    zstd.write_all(&out).unwrap();
    zstd.finish().unwrap()
}

/// The dynamic loader and the C library of this host, and a program that needs both.
const REAL: [(&str, &[&str]); 3] = [
    ("usr/lib/systemd/systemd", &["/bin/true", "/usr/bin/true"]),
    (
        "lib64/ld-linux-x86-64.so.2",
        &["/lib64/ld-linux-x86-64.so.2"],
    ),
    (
        "lib/x86_64-linux-gnu/libc.so.6",
        &["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/libc.so.6"],
    ),
];

/// What is in the root file system.
fn entries() -> Option<Vec<Entry>> {
    let mut all: Vec<Entry> = [
        "",
        "boot",
        "sbin",
        "etc",
        "etc/ssh",
        "usr",
        "usr/lib",
        "usr/lib/systemd",
        "lib",
        "lib64",
        "lib/x86_64-linux-gnu",
        "root",
    ]
    .map(dir)
    .into();
    for (to, from) in REAL {
        let Some(bytes) = from.iter().find_map(|f| std::fs::read(f).ok()) else {
            return skipped(&format!("this host has none of {from:?}"));
        };
        all.push(file(to, bytes).mode(0o755));
    }
    all.extend([
        file("boot/vmlinuz-6.1", kernel(0x8664)),
        file("boot/initrd.img-6.1", initrd()),
        link("vmlinuz", "boot/vmlinuz-6.1"),
        link("initrd.img", "boot/initrd.img-6.1"),
        link("sbin/init", "/usr/lib/systemd/systemd"),
        file("sbin/agetty", "#!/bin/sh\n").mode(0o755),
        file("etc/os-release", "PRETTY_NAME=\"Test 1\"\n"),
        file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
        file("etc/shadow", "root:*:19000::::::\n"),
    ]);
    Some(all)
}

/// The good image in a place of its own, or `None` (said aloud) where something is missing.
pub fn image() -> Option<(Place, Utf8PathBuf)> {
    let place = Place::new()?;
    place.recipe("box", "root: {free: 200M}\n");
    place.tar("good", &entries()?);
    content(&mut place.make("box", "good", &["--no-metadata"]));
    let image = place.out.join("box.img");
    Some((place, image))
}
