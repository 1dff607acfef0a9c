//! Files that are not a tar: what they are, judging from their first bytes, and what to do with
//! them.

use super::packed::Form;

/// What to do with a file that is not a tar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cure {
    /// A command that writes a tar of `FILE`.
    Unpack(&'static str),
    /// Something else.
    Do(&'static str),
}

const ARCHIVE: Cure = Cure::Unpack("bsdtar -cf - @FILE");
const PACKAGE: Cure = Cure::Do(
    "a package is not a root file system: install it in a Dockerfile (`COPY` it and `RUN` the package manager)",
);
const DISK: Cure = Cure::Do(
    "it is already a disk: `cargo xtask convert` writes a raw one in other formats, qemu-img converts the rest",
);
const EXT4: Cure = Cure::Unpack("cargo xtask ext4-to-tar FILE");
const ISO: Cure = Cure::Do(
    "an ISO image usually holds an installer: give a tar of a whole root file system, as `docker export` writes it",
);
const ROOTFS: Cure =
    Cure::Do("give a tar of a whole root file system, as `docker export` writes it");

/// Number of bytes at the start of a file that are used to recognise it.
pub(super) const LOOKED_AT: usize = 0x8001 + 5;

/// Type of a file that starts with `head`, if it is known. At most [`LOOKED_AT`] bytes are used;
/// most types need only a few.
pub(super) fn what(head: &[u8]) -> Option<(&'static str, Cure)> {
    let at = |offset: usize, magic: &[u8]| head.get(offset..).is_some_and(|h| h.starts_with(magic));
    Some(match head {
        [0x1f, 0x9d, ..] => (
            "compressed with compress",
            Cure::Unpack("uncompress -c FILE"),
        ),
        [0x1f, 0x1e, ..] => ("compressed with pack", Cure::Unpack("gzip -dc FILE")),
        [0x1f, 0xa0, ..] => ("compressed with compress -H", Cure::Unpack("gzip -dc FILE")),
        [0x89, b'L', b'Z', b'O', 0, ..] => ("compressed with lzop", Cure::Unpack("lzop -dc FILE")),
        [0x04, 0x22, 0x4d, 0x18, ..] | [0x02, 0x21, 0x4c, 0x18, ..] => {
            ("compressed with lz4", Cure::Unpack("lz4 -dc FILE"))
        }
        [b'L', b'R', b'Z', b'I', ..] => {
            ("compressed with lrzip", Cure::Unpack("lrzip -d -o - FILE"))
        }
        [0xff, 0x06, 0, 0, b's', b'N', b'a', b'P', b'p', b'Y', ..] => {
            ("compressed with snappy", Cure::Unpack("snzip -dc FILE"))
        }
        [0xff, b'L', b'Z', b'M', b'A', ..] => {
            ("compressed with lzmadec", Cure::Unpack("lzmadec < FILE"))
        }
        [b'B', b'Z', b'0', ..] => ("compressed with bzip 1", Cure::Unpack("bzip -dc FILE")),
        [b'0', b'7', b'0', b'7', b'0', b'1' | b'2' | b'7', ..] | [0xc7, 0x71, ..] => {
            ("a cpio archive", ARCHIVE)
        }
        [b'P', b'K', 3, 4, ..] => ("a zip archive", ARCHIVE),
        [b'7', b'z', 0xbc, 0xaf, ..] => ("a 7-Zip archive", ARCHIVE),
        [b'x', b'a', b'r', b'!', ..] => ("a xar archive", ARCHIVE),
        [b'R', b'a', b'r', b'!', ..] => ("a rar archive", ARCHIVE),
        _ if head.starts_with(b"!<arch>\ndebian") => ("a Debian package", PACKAGE),
        _ if head.starts_with(b"!<arch>") => ("an ar archive", ROOTFS),
        [0xed, 0xab, 0xee, 0xdb, ..] => ("an RPM package", PACKAGE),
        [b'h', b's', b'q', b's', ..] => ("a squashfs", Cure::Unpack("sqfs2tar FILE")),
        [b'Q', b'F', b'I', 0xfb, ..] => ("a qcow2 image", DISK),
        [b'K', b'D', b'M', b'V', ..] => ("a VMDK image", DISK),
        _ if head.starts_with(b"# Disk DescriptorFile") => ("a VMDK image", DISK),
        _ if head.starts_with(b"vhdxfile") => ("a VHDX image", DISK),
        _ if head.starts_with(b"conectix") => ("a VHD image", DISK),
        _ if at(0x40, &[0x7f, 0x10, 0xda, 0xbe]) => ("a VDI image", DISK),
        [0x7f, b'E', b'L', b'F', ..] => ("a program or a library", ROOTFS),
        [b'#', b'!', ..] => ("a script", ROOTFS),
        _ if is_html(head) => ("a page of the web, perhaps the error of a download", ROOTFS),
        // A volume descriptor (ECMA-119, 8.1); the file system may start with a boot sector.
        _ if at(0x8001, b"CD001") => ("an ISO 9660 image", ISO),
        // The superblock's magic (Linux fs/ext4/ext4.h, `s_magic`).
        _ if at(1024 + 56, &[0x53, 0xef]) => ("an ext4 file system", EXT4),
        // The end of a boot sector; a disk with partitions also has it (UEFI 2.10, 5.2.1).
        _ if at(510, &[0x55, 0xaa]) => ("a disk or a file system", DISK),
        _ if Form::of(head).is_some() => (
            "compressed twice",
            Cure::Do(
                "unpack it once on the way, e.g. `gzip -dc FILE | cargo xtask image RECIPE --from -`",
            ),
        ),
        _ => return None,
    })
}

fn is_html(head: &[u8]) -> bool {
    let start: Vec<u8> = head.iter().take(64).map(u8::to_ascii_lowercase).collect();
    let start = start.trim_ascii_start();
    start.starts_with(b"<!doctype") || start.starts_with(b"<html")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{TarError, TooMuchMemory, from_stream};
    use std::io::{Cursor, Write};

    fn error(bytes: Vec<u8>) -> TarError {
        let temp = tempfile::tempdir().unwrap();
        let dir = camino::Utf8Path::from_path(temp.path()).unwrap();
        from_stream(Cursor::new(bytes), dir).unwrap_err()
    }

    #[test]
    fn what_is_no_tar_is_called_by_its_name() {
        let far = |offset: usize, magic: &[u8]| {
            let mut bytes = vec![0; 40_000];
            bytes[offset..offset + magic.len()].copy_from_slice(magic);
            bytes
        };
        let near = |magic: &[u8]| far(0, magic);
        let gzip = |bytes: &[u8]| {
            let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gz.write_all(bytes).unwrap();
            gz.finish().unwrap()
        };
        for (bytes, wanted) in [
            (near(&[0xed, 0xab, 0xee, 0xdb]), "an RPM package"),
            (near(b"!<arch>\ndebian-binary"), "a Debian package"),
            (near(b"hsqs"), "a squashfs"),
            (
                near(b"<!DOCTYPE html>"),
                "a page of the web, perhaps the error of a download",
            ),
            (far(0x8001, b"CD001"), "an ISO 9660 image"),
            (far(1080, &[0x53, 0xef]), "an ext4 file system"),
            (far(510, &[0x55, 0xaa]), "a disk or a file system"),
            (b"#!/bin/sh".to_vec(), "a script"),
            (gzip(&gzip(&near(b"x"))), "compressed twice"),
        ] {
            match error(bytes) {
                TarError::Foreign { what, .. } => assert_eq!(what, wanted),
                other => assert_eq!(other.to_string(), wanted),
            }
        }
        assert!(matches!(
            error(b"hello".to_vec()),
            TarError::Header { at: 0 }
        ));
        assert!(matches!(error(vec![0; 40_000]), TarError::Empty));
    }

    /// The error says what to do, not only that there is a limit.
    #[test]
    fn what_needs_too_much_memory_names_a_cure() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.long_distance_matching(true).unwrap();
        encoder.window_log(28).unwrap();
        encoder.write_all(&vec![0; 1 << 20]).unwrap();
        let zstd = encoder.finish().unwrap();
        // A small dictionary, whose size in the header is then changed to 1 GiB.
        let mut small = liblzma::stream::Filters::new();
        small.lzma2(&liblzma::stream::LzmaOptions::new_preset(0).unwrap());
        let check = liblzma::stream::Check::None;
        let stream = liblzma::stream::Stream::new_stream_encoder(&small, check).unwrap();
        let mut xz = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
        xz.write_all(&[0; 1024]).unwrap();
        let mut xz = xz.finish().unwrap();
        // A block header: its size, flags, LZMA2's number, length and dictionary, padding, CRC32.
        assert_eq!(xz[12..16], [2, 0, 0x21, 1]);
        xz[16] = 36;
        let crc = crc32fast::hash(&xz[12..20]).to_le_bytes();
        xz[20..24].copy_from_slice(&crc);
        for (bytes, cure) in [(zstd, "zstd -dc --long=31"), (xz, "xz -dc FILE")] {
            let TarError::Io(error) = error(bytes) else {
                unreachable!("no error of the stream");
            };
            let memory = TooMuchMemory::of(&error).unwrap();
            assert!(memory.hint().contains(cure), "{}", memory.hint());
        }
    }
}
