//! Images in which one thing is broken: `inspect` must name it, and `smoke` must not boot what cannot
//! boot. Each is a copy of one good image that a function in `cases` has changed.

mod base;
mod cases;
mod edit;
mod judge;
mod real;

use crate::common::{Place, checker, program, xtask};
use camino::Utf8Path;
use cases::Case;
use docker_to_linux::tool::Tool;
use edit::{Broken, Parts};
use judge::{Good, judge_all};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Longest time of a look at an image, also on a busy host and compressed.
const LONGEST: Duration = Duration::from_secs(20);

/// What `inspect --json` says, and its exit code.
fn inspect(image: &Utf8Path) -> (Value, i32) {
    let begun = Instant::now();
    let out = xtask()
        .args(["inspect", "--json", image.as_str()])
        .output()
        .unwrap();
    assert!(
        begun.elapsed() < LONGEST,
        "{image} took {:?}",
        begun.elapsed()
    );
    let stderr = String::from_utf8_lossy(&out.stderr);
    let json = serde_json::from_slice(&out.stdout);
    (
        json.unwrap_or_else(|e| panic!("{e}: {stderr}")),
        out.status.code().unwrap(),
    )
}

fn errors(json: &Value) -> Vec<&Value> {
    let all = json["findings"].as_array().unwrap().iter();
    all.filter(|f| f["severity"] == "error").collect()
}

/// The good image of these tests, without an error in any finding.
fn good() -> Option<(Place, Parts)> {
    program("debugfs", "e2fsprogs")?;
    let (place, image) = base::image()?;
    let (json, code) = inspect(&image);
    assert_eq!((errors(&json).len(), code), (0, 0), "{json:#}");
    let parts = Parts {
        kernel: "/boot/vmlinuz-6.1".into(),
        initrd: "/boot/initrd.img-6.1".into(),
        init: "/usr/lib/systemd/systemd".into(),
        start: "/sbin/init".into(),
        loader: "/lib64/ld-linux-x86-64.so.2".into(),
        libc: "/lib/x86_64-linux-gnu/libc.so.6".into(),
    };
    Some((place, parts))
}

/// Breaks the small image in all these ways.
fn small(cases: &[Case]) {
    let Some((place, parts)) = good() else { return };
    // Without QEMU smoke says that it is missing, and nothing else.
    let smoke = checker(Tool::QemuX86).is_some();
    let good = Good {
        image: &place.out.join("box.img"),
        dir: &place.tmp,
        parts,
    };
    judge_all(&good, &[cases], smoke);
}

#[test]
fn files_of_images() {
    small(cases::FILES);
}

#[test]
fn what_firmware_reads() {
    small(cases::TABLES);
}

#[test]
fn what_loaders_read() {
    small(cases::LOADERS);
}

#[test]
fn what_kernels_look_for() {
    small(cases::ROOTS);
}

#[test]
fn what_the_init_needs() {
    small(cases::INITS);
}

#[test]
fn there_are_enough_and_no_two_have_the_same_name() {
    let all = [
        cases::FILES,
        cases::TABLES,
        cases::LOADERS,
        cases::ROOTS,
        cases::INITS,
    ]
    .concat_names();
    let mut names = all.clone();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all.len());
    assert!(names.len() >= 60, "{}", names.len());
}

trait ConcatNames {
    fn concat_names(&self) -> Vec<&'static str>;
}

impl ConcatNames for [&'static [Case]; 5] {
    fn concat_names(&self) -> Vec<&'static str> {
        self.iter().flat_map(|c| c.iter().map(|c| c.name)).collect()
    }
}

/// A good image is good in every format.
#[test]
fn every_format_of_a_good_image_is_good() {
    let Some((place, _)) = good() else { return };
    let formats = "raw,qcow2,vdi,vmdk,vmdk-stream,vhd,vhd-fixed,vhdx,ova";
    let image = place.out.join("box.img");
    let out = place.dir.join("all");
    let mut files = Vec::new();
    for more in [
        &[][..],
        &["--name", "zstd", "--compression", "zstd"],
        &["--name", "zlib", "--compression", "zlib"],
        &["--name", "a", "--compress", "zstd"],
        &["--name", "b", "--compress", "xz"],
        &["--name", "c", "--compress", "gzip"],
    ] {
        let formats = match more
            .iter()
            .any(|m| m.starts_with("--compress") && *m != "--compress")
        {
            true => "qcow2",
            false if more.is_empty() => formats,
            false => "raw,vmdk",
        };
        let mut convert = xtask();
        convert.args([
            "convert",
            image.as_str(),
            "--format",
            formats,
            "--output",
            out.as_str(),
        ]);
        let made = convert.args(more).output().unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        files.extend(
            String::from_utf8(made.stdout)
                .unwrap()
                .lines()
                .map(str::to_owned),
        );
    }
    files.retain(|f| {
        [
            "img", "qcow2", "vdi", "vmdk", "vhd", "vhdx", "ova", "zst", "xz", "gz",
        ]
        .iter()
        .any(|e| f.ends_with(e))
    });
    assert!(files.len() >= 17, "{files:?}");
    let (raw, _) = inspect(&image);
    for file in files {
        let (json, code) = inspect(Utf8Path::new(&file));
        assert_eq!(code, 0, "{file}: {:#}", json["findings"]);
        // The same disk, whatever it is in.
        for key in [
            "id",
            "partitions",
            "loaders",
            "guest",
            "findings",
            "firmware",
            "arch",
        ] {
            assert_eq!(json[key], raw[key], "{file}: {key}");
        }
    }
}

/// A folder whose clusters are a circle ends, too.
#[test]
fn a_folder_without_an_end() {
    let Some((place, parts)) = good() else { return };
    let image = place.out.join("box.img");
    let broken = Broken {
        esp: 1 << 20,
        root: 0,
        image,
        parts,
    };
    let boot = broken.read(broken.esp, 512);
    let number = |at: usize, len: usize| {
        boot[at..at + len]
            .iter()
            .rev()
            .fold(0_u64, |n, b| n << 8 | u64::from(*b))
    };
    // FAT32: the root folder has a cluster, whose next one is itself, and it is full of names.
    let (root, table) = (number(44, 4), number(14, 2) * 512);
    let entry = u32::try_from(root).unwrap().to_le_bytes();
    broken.write(broken.esp + table + root * 4, &entry);
    let data = table + number(16, 1) * number(36, 4) * 512 + (root - 2) * number(13, 1) * 512;
    let name: Vec<u8> = [&b"X          \x20"[..], &[0; 20]].concat();
    let len = usize::try_from(number(13, 1) * 16).unwrap();
    broken.write(broken.esp + data, &name.repeat(len));
    let (json, code) = inspect(&broken.image);
    assert_eq!(code, 1);
    assert_eq!(errors(&json)[0]["code"], "uefi-loader-missing", "{json:#}");
}

/// Wrong bytes in every format: an error or none, but neither a bug nor an endless loop.
#[test]
fn noise_ends_in_no_bug() {
    let Some((place, _)) = good() else { return };
    let image = place.out.join("box.img");
    let formats = "raw,qcow2,vdi,vmdk,vmdk-stream,vhd,vhd-fixed,vhdx,ova";
    let mut convert = xtask();
    convert.args(["convert", image.as_str(), "--format", formats, "--output"]);
    let made = convert.arg(place.dir.join("all")).output().unwrap();
    assert!(made.status.success());
    let files = String::from_utf8(made.stdout).unwrap();
    let mut state = 0x1234_5678_9abc_def1_u64;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    for file in files.lines().map(Utf8Path::new) {
        let handle = std::fs::File::options()
            .read(true)
            .write(true)
            .open(file)
            .unwrap();
        let len = handle.metadata().unwrap().len();
        for round in 0..12 {
            let mut undo = Vec::new();
            for _ in 0..=random(12) {
                // Mostly where headers and tables are.
                let at = match random(4) {
                    0 => random(512),
                    1 => random(2 << 20),
                    2 => len - 1 - random(2048),
                    _ => random(len),
                };
                let bytes = random(u64::MAX).to_le_bytes();
                let n = usize::try_from((1 + random(8)).min(len - at)).unwrap();
                let mut old = vec![0; n];
                std::os::unix::fs::FileExt::read_exact_at(&handle, &mut old, at).unwrap();
                std::os::unix::fs::FileExt::write_all_at(&handle, &bytes[..n], at).unwrap();
                undo.push((at, old));
            }
            let begun = Instant::now();
            let out = xtask().args(["inspect", file.as_str()]).output().unwrap();
            let said = String::from_utf8_lossy(&out.stderr);
            assert!(
                matches!(out.status.code(), Some(0..=2)),
                "{file} {round}: {undo:?} {said}"
            );
            assert!(
                !said.contains("this is a bug"),
                "{file} {round}: {undo:?} {said}"
            );
            assert!(begun.elapsed() < LONGEST, "{file} {round}: {undo:?}");
            for (at, old) in undo.into_iter().rev() {
                std::os::unix::fs::FileExt::write_all_at(&handle, &old, at).unwrap();
            }
        }
    }
}
