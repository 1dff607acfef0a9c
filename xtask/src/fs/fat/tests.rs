#![allow(clippy::unwrap_used)]

use super::*;
use crate::model::size::MIB;

fn spec(size: u64) -> Spec {
    Spec {
        size,
        sector: 512,
        volume_id: 0xCAFE_F00D,
        label: "ESP".into(),
        epoch: 0,
    }
}

fn file(path: &str, len: u64) -> File<'_> {
    File {
        path,
        parts: vec![Content::Late { len }],
    }
}

fn refused(files: &[File<'_>], spec: &Spec) -> String {
    layout(files, spec).unwrap_err().to_string()
}

/// A file system's metadata, with zeros in place of files.
struct Image(Vec<u8>);

impl Image {
    fn of(layout: &Layout) -> Image {
        let mut bytes = vec![0; layout.size as usize];
        for piece in layout.pieces() {
            if let Source::Bytes(part) = &piece.source {
                let at = piece.offset as usize;
                bytes[at..at + part.len()].copy_from_slice(part);
            }
        }
        Image(bytes)
    }

    fn u16(&self, at: usize) -> usize {
        u16::from_le_bytes(self.0[at..at + 2].try_into().unwrap()).into()
    }

    fn u32(&self, at: usize) -> usize {
        u32::from_le_bytes(self.0[at..at + 4].try_into().unwrap()) as usize
    }

    /// Offset of the first FAT, length of a FAT, and offset of the data.
    fn places(&self) -> (usize, usize, usize) {
        let (fat, len) = (self.u16(14) * 512, self.u32(36) * 512);
        (fat, len, fat + 2 * len)
    }
}

#[test]
fn times_are_stored_in_utc_and_clamped() {
    // (seconds, year, month, day, hour, minute, second)
    let known = [
        (0, 1980, 1, 1, 0, 0, 0),
        (315_532_801, 1980, 1, 1, 0, 0, 1),
        (951_782_399, 2000, 2, 28, 23, 59, 59),
        (951_782_400, 2000, 2, 29, 0, 0, 0),
        (951_868_800, 2000, 3, 1, 0, 0, 0),
        (1_700_000_001, 2023, 11, 14, 22, 13, 21),
        (4_107_542_399, 2100, 2, 28, 23, 59, 59),
        (4_107_542_400, 2100, 3, 1, 0, 0, 0),
        (i64::MAX, 2107, 12, 31, 23, 59, 58),
        (i64::MIN, 1980, 1, 1, 0, 0, 0),
    ];
    for (secs, year, month, day, hour, minute, second) in known {
        let stamp = Stamp::of(secs);
        assert_eq!(stamp.date, (year - 1980) << 9 | month << 5 | day, "{secs}");
        assert_eq!(
            stamp.time,
            hour << 11 | minute << 5 | (second / 2),
            "{secs}"
        );
        assert_eq!(u16::from(stamp.hundredths), second % 2 * 100, "{secs}");
    }
}

#[test]
fn what_fatfs_leaves_wrong_is_right() {
    let image = Image::of(&layout(&[file("EFI/BOOT/BOOTX64.EFI", 5000)], &spec(64 * MIB)).unwrap());
    let (fat, fat_len, data) = image.places();
    // The boot sector, its backup, and those of the counts.
    assert_eq!(image.0[..1024], image.0[6 * 512..8 * 512]);
    assert_eq!(image.u32(67), 0xCAFE_F00D);
    // Both FATs are the same; media descriptor, clean shutdown; nothing behind the last entry.
    assert_eq!(
        image.0[fat..fat + fat_len],
        image.0[fat + fat_len..fat + 2 * fat_len]
    );
    assert_eq!(image.u32(fat), 0x0FFF_FFF8);
    assert_eq!(image.u32(fat + 4) & 0x0FFF_FFFF, 0x0FFF_FFFF);
    assert_eq!(image.0[65], 0, "clean");
    let cluster = image.u16(13) % 256 * 512;
    let clusters = ((64 << 20) - data) / cluster;
    let end = fat + 4 * (clusters + 2);
    assert!(image.0[end..fat + fat_len].iter().all(|b| *b == 0));
    let used = (2..clusters + 2).filter(|n| image.u32(fat + n * 4) != 0);
    assert_eq!(image.u32(512 + 488), clusters - used.count());
    // The root: the label and EFI, which has no long name before `.` and `..`.
    assert_eq!(&image.0[data..data + 12], b"ESP        \x08");
    let names = |at: usize| {
        (0..4)
            .map(|i| String::from_utf8_lossy(&image.0[at + 32 * i..at + 32 * i + 11]).into_owned())
            .collect::<Vec<_>>()
    };
    let efi = data + cluster;
    assert_eq!(names(efi)[..2], [".          ", "..         "]);
    assert_eq!(image.u16(efi + 26), 3, ". is EFI itself");
    assert_eq!(
        image.u16(efi + 32 + 26),
        0,
        ".. is the root, which is stored as 0"
    );
    assert_eq!(names(efi)[3], "BOOT       ");
    let boot = efi + cluster;
    assert_eq!(image.u16(boot + 32 + 26), 3, ".. is EFI");
    assert_eq!(names(boot)[3], "BOOTX64 EFI");
}

#[test]
fn a_file_lies_where_its_clusters_are() {
    let layout = layout(
        &[file("a", 0), file("b", 5000), file("c", 1)],
        &spec(64 * MIB),
    )
    .unwrap();
    let bodies: Vec<(u64, u64, u64)> = layout
        .pieces()
        .iter()
        .filter_map(|p| match p.source {
            Source::Content { from, .. } => Some((p.offset, p.len, from)),
            Source::Bytes(_) => None,
        })
        .collect();
    let image = Image::of(&layout);
    let cluster = (image.u16(13) % 256 * 512) as u64;
    // The root has cluster 2; the bodies follow it.
    let data = image.places().2 as u64;
    let second = (data + cluster, 5000, 0);
    let third = (data + cluster * (1 + 5000_u64.div_ceil(cluster)), 1, 0);
    assert_eq!(bodies, [second, third]);
}

#[test]
fn clusters_are_as_large_as_fat32_allows() {
    let cluster = |size| Need::of(&[], 512).cluster_in(size);
    assert_eq!(cluster(32 * MIB), None);
    assert_eq!(cluster(33 * MIB), Some(512));
    assert_eq!(cluster(100 * MIB), Some(1024));
    assert_eq!(cluster(256 * MIB), Some(2048));
    assert_eq!(cluster(300 * MIB), Some(4096));
    assert_eq!(cluster(4 << 30), Some(4096));
    assert_eq!(cluster(10 << 30), Some(8192));
    assert_eq!(cluster(64 << 30), Some(32768));
}

#[test]
fn the_smallest_size_is_enough_and_not_much_more() {
    let names: Vec<String> = (0..300)
        .map(|i| format!("dir {}/x{}", i % 7, "y".repeat(i)))
        .map(|path| path.chars().take(200).collect::<String>())
        .enumerate()
        .map(|(i, path)| format!("{path}{i}"))
        .collect();
    for len in [0, 1, 513, 100_000, 700_000, 3_000_000] {
        let files: Vec<File<'_>> = names.iter().map(|n| file(n, len)).collect();
        let size = smallest(&files, 512);
        assert_eq!(size % MIB, 0);
        let content = 300 * len;
        assert!(size >= 33 * MIB && size > content);
        assert!(
            size < 36 * MIB + content + content / 50,
            "{size} for {content}"
        );
        for more in [0, MIB, 33 * MIB, 400 * MIB] {
            layout(&files, &spec(size + more)).unwrap();
        }
        let text = refused(&files, &spec(size - MIB));
        assert!(text.contains("too small"), "{text}");
    }
}

#[test]
fn names_that_fat_cannot_hold_are_refused() {
    let long = "x".repeat(256);
    for path in [
        "",
        "/a",
        "a/",
        "a//b",
        ".",
        "a/../b",
        ".hidden",
        "dot.",
        "blank ",
        " blank",
        "a:b",
        "a\\b",
        "a?b",
        "a\nb",
        "a\"b",
        "smile\u{1F600}",
        &long,
    ] {
        let text = refused(&[file(path, 1)], &spec(64 * MIB));
        assert!(text.contains("cannot be stored in"), "{path:?}: {text}");
    }
    for path in [
        &long[1..],
        "a+b=c,[d];e",
        "~1",
        "6.1.0~bpo1",
        "x y",
        "naïve",
        "CON~1",
    ] {
        layout(&[file(path, 1)], &spec(64 * MIB)).unwrap();
    }
}

#[test]
fn names_that_fat_takes_for_the_same_are_refused() {
    for pair in [
        ["a", "a"],
        ["a", "A"],
        ["EFI/x", "efi/X"],
        ["grün", "GRÜN"],
        // The second name is the short name of the first one.
        ["loader.conf", "LOADER~1.CON"],
        ["a/b", "a"],
        ["a", "a/b"],
    ] {
        let text = refused(&pair.map(|p| file(p, 0)), &spec(64 * MIB));
        assert!(text.contains("two files with the name"), "{pair:?}: {text}");
    }
    let merged = [file("EFI/a", 1), file("efi/b", 1)];
    layout(&merged, &spec(64 * MIB)).unwrap();
}

#[test]
fn lengths_and_labels_are_checked() {
    let text = refused(&[file("a", 1 << 32)], &spec(16 << 30));
    assert!(text.contains("4 GiB"), "{text}");
    layout(&[file("a", (1 << 32) - 1)], &spec(5 << 30)).unwrap();
    for label in ["esp", "ESP ", " ESP", "A.B", "TWELVE CHARS", "É"] {
        let spec = Spec {
            label: label.into(),
            ..spec(64 * MIB)
        };
        assert!(refused(&[], &spec).contains("label"), "{label:?}");
    }
    for label in ["", "ELEVEN-CHRS", "A B_C"] {
        let spec = Spec {
            label: label.into(),
            ..spec(64 * MIB)
        };
        layout(&[], &spec).unwrap();
    }
}
