//! Every image format, checked with qemu-img: `check`, `compare` with the raw disk, `info`.
//!
//! The disks are pseudo-random, from a generator of our own with a seed.

mod disk;
mod headers;

use crate::common;
use disk::{Disk, Random, content};
use docker_to_linux::format::ova::Machine;
use docker_to_linux::format::{self, Checked, Options, Sink};
use docker_to_linux::model::{Compression, Format};
use docker_to_linux::tool::Tool;
use docker_to_linux::vm::ImageFormat;
use proptest::prelude::*;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;
use uuid::Uuid;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// Every format that qemu-img can check, with its name there.
const FORMATS: [(Format, Compression, &str); 10] = [
    (Format::Raw, Compression::None, "raw"),
    (Format::Qcow2, Compression::None, "qcow2"),
    (Format::Qcow2, Compression::Zstd, "qcow2"),
    (Format::Qcow2, Compression::Zlib, "qcow2"),
    (Format::Vmdk, Compression::None, "vmdk"),
    (Format::VmdkStream, Compression::None, "vmdk"),
    (Format::Vdi, Compression::None, "vdi"),
    (Format::Vhd, Compression::None, "vpc"),
    (Format::VhdFixed, Compression::None, "vpc"),
    (Format::Vhdx, Compression::None, "vhdx"),
];

#[test]
fn every_format_that_qemu_opens_is_compared() {
    for format in Format::ALL {
        let compared: Vec<&str> = FORMATS
            .iter()
            .filter(|f| f.0 == format)
            .map(|f| f.2)
            .collect();
        let opened = ImageFormat::written(format).map(ImageFormat::name);
        assert!(
            compared.iter().all(|name| Some(*name) == opened),
            "{format:?}"
        );
        assert_eq!(compared.is_empty(), opened.is_none(), "{format:?}");
    }
}

/// qemu-img, or `None` (said aloud) where it is not installed.
fn checker() -> Option<PathBuf> {
    let checker = common::checker(Tool::QemuImg)?;
    Some(checker.get_program().into())
}

fn options() -> Options {
    Options {
        sector_size: 512,
        id: Uuid::from_u128(0x6f1d_2d5c_0a34_4e0f_9d55_1a2b_3c4d_5e6f),
        epoch: 1_700_000_000,
        name: "test".into(),
        compression: Compression::None,
        threads: 2,
        machine: Machine::default(),
        root: None,
    }
}

fn write(disk: &Disk, format: Format, path: &Path, options: &Options, split: Option<u64>) {
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
        .unwrap();
    let sink = format::open(format, file, disk.size, options).unwrap();
    disk.emit(&mut Checked::new(sink, disk.size), split);
}

/// Runs qemu-img; fails the test unless it ends with `0`.
fn qemu_img(checker: &Path, args: &[&str], what: &str) -> String {
    let out = Command::new(checker).args(args).output().unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    assert!(out.status.success(), "{what}: qemu-img {args:?}: {text}");
    text
}

/// The formats for which qemu-img has a `check`.
fn has_check(name: &str) -> bool {
    matches!(name, "qcow2" | "vdi" | "vmdk" | "vhdx")
}

/// Writes the disk in every format, twice with regions split in other places, and lets
/// qemu-img check each.
fn check_all(name: &str, disk: &Disk) {
    let Some(checker) = checker() else { return };
    let dir = tempfile::tempdir().unwrap();
    let raw = dir.path().join("disk.raw");
    disk.write_raw(&raw);
    for (format, compression, qemu) in FORMATS {
        let what = format!("{name}, {format:?} {compression:?}");
        let some = Options {
            compression,
            ..options()
        };
        let other = Options {
            threads: 3,
            ..some.clone()
        };
        if matches!(format, Format::Vhd | Format::VhdFixed) && disk.size > 2040 * GIB {
            let file = File::create(dir.path().join("large")).unwrap();
            let error = format::open(format, file, disk.size, &options())
                .err()
                .unwrap();
            assert!(error.to_string().contains("2.0 TiB"), "{what}: {error}");
            continue;
        }
        let file = dir.path().join(format!("a.{}", format.extension()));
        let again = dir.path().join(format!("b.{}", format.extension()));
        write(disk, format, &file, &some, None);
        write(disk, format, &again, &other, Some(disk.size ^ 77));
        assert!(
            same(&file, &again),
            "{what}: the file depends on how regions are split"
        );
        fs::remove_file(&again).unwrap();

        let path = file.to_str().unwrap();
        if has_check(qemu) {
            qemu_img(&checker, &["check", "-f", qemu, path], &what);
        }
        if matches!(qemu, "vhdx" | "vmdk") && disk.size > 100 * GIB {
            compare_windows(&checker, disk, &raw, (qemu, &file), &what);
        } else {
            let raw = raw.to_str().unwrap();
            let args = ["compare", "-f", "raw", "-F", qemu, raw, path];
            let text = qemu_img(&checker, &args, &what);
            assert!(text.contains("Images are identical"), "{what}: {text}");
        }
        let info: serde_json::Value = serde_json::from_str(&qemu_img(
            &checker,
            &["info", "-f", qemu, "--output=json", path],
            &what,
        ))
        .unwrap();
        let size = info["virtual-size"].as_u64().unwrap();
        let unit = if format == Format::VhdFixed { MIB } else { 512 };
        assert_eq!(size, disk.size.next_multiple_of(unit), "{what}");
        fs::remove_file(&file).unwrap();
    }
}

/// Compares the surroundings of each extent of the disk. QEMU's drivers for some formats report no
/// holes, or only grain by grain: comparing terabytes would need minutes.
fn compare_windows(checker: &Path, disk: &Disk, raw: &Path, image: (&str, &Path), what: &str) {
    for (at, bytes) in &disk.extents {
        let start = at.saturating_sub(5 * MIB) / 512 * 512;
        let end = (at + bytes.len() as u64 + 5 * MIB).min(disk.size);
        let len = end / 512 * 512 - start;
        let window = |driver: &str, file: &Path| {
            format!(
                "driver=raw,offset={start},size={len},file.driver={driver},file.file.filename={}",
                file.display()
            )
        };
        let (a, b) = (window("raw", raw), window(image.0, image.1));
        let text = qemu_img(checker, &["compare", "--image-opts", &a, &b], what);
        assert!(
            text.contains("Images are identical"),
            "{what} at {at}: {text}"
        );
    }
}

/// Whether two files hold the same bytes, holes skipped: a sparse file of TiB must not be read.
fn same(a: &Path, b: &Path) -> bool {
    let (mut a, mut b) = (File::open(a).unwrap(), File::open(b).unwrap());
    let len = a.metadata().unwrap().len();
    if len != b.metadata().unwrap().len() {
        return false;
    }
    let (mut x, mut y) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut at = 0;
    while at < len {
        let next = data_from(&a, at).min(data_from(&b, at));
        if next >= len {
            break;
        }
        at = next;
        let n = (len - at).min(1 << 20) as usize;
        a.seek(SeekFrom::Start(at)).unwrap();
        b.seek(SeekFrom::Start(at)).unwrap();
        a.read_exact(&mut x[..n]).unwrap();
        b.read_exact(&mut y[..n]).unwrap();
        if x[..n] != y[..n] {
            return false;
        }
        at += n as u64;
    }
    true
}

/// The first byte from `at` on that is not in a hole.
fn data_from(file: &File, at: u64) -> u64 {
    rustix::fs::seek(file, rustix::fs::SeekFrom::Data(at)).unwrap_or(u64::MAX)
}

#[test]
fn an_empty_disk() {
    for size in [512, 64 * KIB, MIB, 3 * GIB] {
        check_all(
            "empty",
            &Disk {
                size,
                extents: Vec::new(),
            },
        );
    }
}

#[test]
fn a_disk_of_nothing_is_refused() {
    for (format, compression, _) in FORMATS {
        let options = Options {
            compression,
            ..options()
        };
        let file = tempfile::tempfile().unwrap();
        let error = format::open(format, file, 0, &options).err().unwrap();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{format:?}");
    }
}

/// A file that cannot be written must be an error, in every format and from every thread: not
/// a hang, not a panic, and above all not a success.
#[test]
fn a_file_that_cannot_be_written_is_an_error() {
    let disk = Disk::random(20 * MIB, 20, MIB, 8);
    let ova = (Format::Ova, Compression::None, "");
    for (format, compression, _) in FORMATS.into_iter().chain([ova]) {
        let options = Options {
            compression,
            ..options()
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        let read_only = File::open(file.path()).unwrap();
        let result = format::open(format, read_only, disk.size, &options).and_then(|mut sink| {
            let mut at = 0;
            for (start, bytes) in &disk.extents {
                sink.zeros(at, start - at)?;
                sink.data(*start, bytes)?;
                at = start + bytes.len() as u64;
            }
            sink.zeros(at, disk.size - at)?;
            sink.finish()
        });
        assert!(result.is_err(), "{format:?} {compression:?}");
    }
}

#[test]
fn one_byte_over_a_cluster() {
    for cluster in [64 * KIB, MIB, 2 * MIB] {
        let size = cluster + 1;
        check_all(
            "a byte over",
            &Disk {
                size,
                extents: vec![(cluster, vec![9])],
            },
        );
        check_all(
            "a byte over, random",
            &Disk::random(size, 3, 50 * KIB, size),
        );
    }
}

#[test]
fn small_disks() {
    for seed in 0..6 {
        check_all("1 MiB", &Disk::random(MIB, 1 + seed * 3, 100 * KIB, seed));
    }
}

#[test]
fn an_odd_size() {
    for seed in 0..3 {
        check_all(
            "64 MiB + 512",
            &Disk::random(64 * MIB + 512, 40, 3 * MIB, seed),
        );
    }
}

#[test]
fn a_sparse_disk() {
    check_all("3 GiB", &Disk::random(3 * GIB, 60, 2 * MIB, 3));
}

#[test]
fn a_disk_over_two_tebibytes() {
    check_all(
        "2 TiB and some",
        &Disk::random(2 * TIB + 65 * MIB + 512, 20, MIB, 4),
    );
}

#[test]
fn an_ova_holds_the_disk() {
    let Some(checker) = checker() else { return };
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::random(200 * MIB + 512, 30, 2 * MIB, 11);
    let raw = dir.path().join("disk.raw");
    disk.write_raw(&raw);
    let ova = dir.path().join("test.ova");
    let again = dir.path().join("again.ova");
    write(&disk, Format::Ova, &ova, &options(), None);
    write(&disk, Format::Ova, &again, &options(), Some(5));
    assert!(
        same(&ova, &again),
        "the OVA depends on how regions are split"
    );
    tar::Archive::new(File::open(&ova).unwrap())
        .unpack(dir.path())
        .unwrap();
    let vmdk = dir.path().join("test-disk1.vmdk");
    let (raw, vmdk) = (raw.to_str().unwrap(), vmdk.to_str().unwrap());
    qemu_img(&checker, &["check", "-f", "vmdk", vmdk], "OVA");
    qemu_img(
        &checker,
        &["compare", "-f", "raw", "-F", "vmdk", raw, vmdk],
        "OVA",
    );
}

/// A place at, just before or just behind the border of a cluster, a block or a grain table.
fn near_a_border() -> impl Strategy<Value = u64> {
    let unit = prop_oneof![
        Just(512),
        Just(4 * KIB),
        Just(64 * KIB),
        Just(MIB),
        Just(2 * MIB)
    ];
    (unit, 0..40_u64, -2..3_i64).prop_map(|(unit, n, off)| (n * unit).saturating_add_signed(off))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 12,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Data and zeros that begin and end at, before or behind borders.
    #[test]
    fn runs_across_borders(
        size in near_a_border().prop_map(|size| size.max(1)),
        mut cuts in prop::collection::vec(near_a_border(), 2..30),
        seed: u64,
    ) {
        cuts.iter_mut().for_each(|cut| *cut = (*cut).min(size));
        cuts.sort_unstable();
        let mut random = Random(seed);
        let extents = cuts
            .chunks_exact(2)
            .filter(|c| c[0] < c[1])
            .map(|c| (c[0], content(&mut random, c[1] - c[0])))
            .collect();
        check_all("borders", &Disk { size, extents });
    }
}
