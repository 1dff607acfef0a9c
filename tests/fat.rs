//! What fsck.fat and mtools say about our EFI system partitions.

use crate::common::{checker, pattern, skipped};
use docker_to_linux::format::raw::Raw;
use docker_to_linux::format::{Checked, Sink};
use docker_to_linux::fs::fat::{File, Spec, layout, smallest};
use docker_to_linux::fs::{Layout, Source};
use docker_to_linux::model::size::MIB;
use docker_to_linux::rootfs::{Content, Store, Stores};
use docker_to_linux::tool::Tool;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// One of the mtools, in the same way.
fn mtool(name: &str) -> Option<Command> {
    let mut command = Command::new(name);
    command.env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
    match Command::new(name).arg("--version").output() {
        Ok(_) => Some(command),
        Err(_) => skipped(&format!("{name} (package mtools) is not installed")),
    }
}

/// A file system with the stores of its files.
struct Made {
    layout: Layout,
    stores: Stores,
}

impl Made {
    fn write(&self, image: &Path) {
        let file = std::fs::File::create(image).unwrap();
        let size = self.layout.size;
        let mut sink = Checked::new(Raw::new(file, size).unwrap(), size);
        self.layout
            .emit(&self.stores, 0, &mut sink, &|_| ())
            .unwrap();
        sink.finish().unwrap();
    }
}

fn spec(size: u64) -> Spec {
    Spec {
        size,
        sector: 512,
        volume_id: 0x1234_ABCD,
        label: "ESP".into(),
        epoch: 1_700_000_001,
    }
}

/// Lays out these files; those of more than 64 KiB are read from a store.
fn made(files: &BTreeMap<String, Vec<u8>>, spec: &Spec) -> Made {
    let mut stores = Stores::default();
    let mut list = Vec::new();
    for (path, bytes) in files {
        let content = if bytes.len() > 65536 {
            let mut file = tempfile::tempfile().unwrap();
            std::io::Write::write_all(&mut file, bytes).unwrap();
            Content::Stored {
                store: stores.add(Store::new(file)),
                start: 0,
                len: bytes.len() as u64,
            }
        } else {
            Content::Bytes(bytes.as_slice().into())
        };
        // A file of several parts is the same file.
        let parts = match content {
            Content::Stored { store, start, len } => vec![
                Content::Stored {
                    store,
                    start,
                    len: 1000,
                },
                Content::Stored {
                    store,
                    start: start + 1000,
                    len: len - 1000,
                },
            ],
            whole => vec![whole],
        };
        list.push(File { path, parts });
    }
    let start = Instant::now();
    let layout = layout(&list, spec).unwrap();
    let took = start.elapsed();
    eprintln!("{} MiB: {took:?}", spec.size / MIB);
    assert!(took.as_millis() < 1000, "laying it out took {took:?}");
    let kept: u64 = layout
        .pieces()
        .iter()
        .filter(|p| matches!(p.source, Source::Bytes(_)))
        .map(|p| p.len)
        .sum();
    assert!(kept < 16 * MIB, "{kept} bytes are held in memory");
    Made { layout, stores }
}

/// What an ESP may hold: five directories and more, one with 200 files, all kinds of names.
fn files(large: usize) -> BTreeMap<String, Vec<u8>> {
    let mut files: BTreeMap<String, Vec<u8>> = [
        ("EFI/BOOT/BOOTX64.EFI", 123_456),
        ("EFI/systemd/systemd-bootx64.efi", 123_456),
        ("loader/loader.conf", 30),
        ("loader/entries/debian-6.12.0.conf", 300),
        ("loader/entries/debian-6.1.0-37-amd64+7.conf", 512),
        ("loader/entries.srel", 6),
        ("debian/6.12.0/linux", 8_000_001),
        ("debian/6.12.0/initrd.img-6.12.0-amd64", large),
        ("empty", 0),
        ("One Byte.Txt", 1),
        ("UPPER", 511),
        ("lower", 4096),
        ("MiXeD.CaSe", 4097),
        ("exactly13chrs", 13),
        ("a.b.c.d.e.f.tar.gz", 32768),
        ("grün.txt", 17),
    ]
    .into_iter()
    .enumerate()
    .map(|(i, (path, len))| (path.to_owned(), pattern(i as u32, len)))
    .collect();
    for i in 0..200 {
        files.insert(
            format!("many/A rather long name number {i}.bin"),
            pattern(1000 + i, (i * 37) as usize),
        );
    }
    files
}

/// fsck.fat has nothing to say, and mtools read back what was put in.
fn sound(files: &BTreeMap<String, Vec<u8>>, made: &Made) {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("esp.img");
    made.write(&image);
    if let Some(mut fsck) = checker(Tool::FsckFat) {
        let out = fsck.arg("-nv").arg(&image).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned()
            + &String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{text}");
        // Without -v, a sound file system gets two lines: the version and the count.
        let mut fsck = checker(Tool::FsckFat).unwrap();
        let out = fsck.arg("-n").arg(&image).output().unwrap();
        let brief = String::from_utf8(out.stdout).unwrap();
        assert!(brief.lines().count() == 2, "{brief}");
        assert!(
            brief.contains(&format!("{} files", entries(files))),
            "{brief}"
        );
        assert_eq!(out.stderr, b"");
        assert!(text.contains("2 FATs, 32 bit entries"), "{text}");
    }
    if let (Some(mut mdir), Some(mut mcopy)) = (mtool("mdir"), mtool("mcopy")) {
        let out = mdir.arg("-i").arg(&image).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout);
        assert!(text.contains("Volume in drive : is ESP"), "{text}");
        assert!(text.contains("Serial Number is 1234-ABCD"), "{text}");
        if files.is_empty() {
            return;
        }
        assert!(text.contains("2023-11-14  22:13"), "{text}");
        let back = dir.path().join("back");
        std::fs::create_dir(&back).unwrap();
        let out = mcopy
            .args(["-s", "-n", "-i"])
            .arg(&image)
            .arg("::/*")
            .arg(&back)
            .output()
            .unwrap();
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
        let mut seen = BTreeMap::new();
        read_tree(&back, "", &mut seen);
        assert_eq!(
            seen.keys().collect::<Vec<_>>(),
            files.keys().collect::<Vec<_>>()
        );
        for (path, bytes) in files {
            assert!(seen[path] == *bytes, "{path} came back changed");
        }
    }
}

/// Files, directories and the volume label, as fsck.fat counts them.
fn entries(files: &BTreeMap<String, Vec<u8>>) -> usize {
    let mut dirs = std::collections::BTreeSet::new();
    for path in files.keys() {
        let mut path = path.as_str();
        while let Some((dir, _)) = path.rsplit_once('/') {
            dirs.insert(dir);
            path = dir;
        }
    }
    files.len() + dirs.len() + 1
}

fn read_tree(dir: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            read_tree(&entry.path(), &format!("{path}/"), files);
        } else {
            files.insert(path, std::fs::read(entry.path()).unwrap());
        }
    }
}

#[test]
fn a_small_esp_is_sound() {
    let files = files(20 << 20);
    sound(&files, &made(&files, &spec(40 * MIB)));
}

#[test]
fn an_esp_is_sound() {
    let files = files(70 << 20);
    sound(&files, &made(&files, &spec(300 * MIB)));
}

#[test]
fn a_large_esp_is_sound() {
    let files = files(70 << 20);
    sound(&files, &made(&files, &spec(2048 * MIB)));
}

#[test]
fn the_smallest_esp_is_sound_and_empty_ones_are() {
    let files = files(70 << 20);
    let list: Vec<File<'_>> = files
        .iter()
        .map(|(path, bytes)| File {
            path,
            parts: vec![Content::Late {
                len: bytes.len() as u64,
            }],
        })
        .collect();
    let size = smallest(&list, 512);
    assert_eq!(size, 80 * MIB);
    assert!(layout(&list, &spec(size - MIB)).is_err());
    sound(&files, &made(&files, &spec(size)));

    let none = BTreeMap::new();
    assert_eq!(smallest(&[], 512), 33 * MIB);
    sound(&none, &made(&none, &spec(33 * MIB)));
}

#[test]
fn the_same_files_give_the_same_bytes() {
    let files = files(1 << 20);
    let bytes = || {
        let made = made(&files, &spec(64 * MIB));
        let file = tempfile::NamedTempFile::new().unwrap();
        made.write(file.path());
        std::fs::read(file.path()).unwrap()
    };
    assert!(bytes() == bytes());
}

/// Names of all kinds, many of which have the same short name or begin alike.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9][a-zA-Z0-9+=,;_-]{0,12}",
        "vmlinuz-6\\.[0-9]\\.[0-9]{1,2}(\\+[0-9]|~bpo[0-9])?(\\.efi)?",
        "[a-c]{1,3}\\.[A-C]{1,5}",
        "long name [a-z .]{0,40}[a-z]{1,60}",
        "[äöüßéèñ漢字]{1,6}\\.txt",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..Default::default() })]

    #[test]
    fn whatever_the_names_are_it_is_sound(
        paths in prop::collection::vec((prop::collection::vec(name(), 1..4), 0_usize..20_000), 0..60),
        free in 0_u64..300,
    ) {
        // One file for each name, and no file where a directory is, whatever the case.
        let mut files = BTreeMap::new();
        let mut taken = std::collections::BTreeMap::new();
        'path: for (i, (parts, len)) in paths.iter().enumerate() {
            let mut path = String::new();
            let mut places = Vec::new();
            for (depth, part) in parts.iter().enumerate() {
                path = if depth == 0 { part.clone() } else { format!("{path}/{part}") };
                let dir = depth + 1 < parts.len();
                match taken.get(&path.to_uppercase()) {
                    // An existing directory keeps its first spelling.
                    Some((true, spelling)) if dir => path = String::clone(spelling),
                    Some(_) => continue 'path,
                    None => places.push((path.to_uppercase(), (dir, path.clone()))),
                }
            }
            taken.extend(places);
            files.insert(path, pattern(i as u32, *len));
        }
        let list: Vec<File<'_>> = files
            .iter()
            .map(|(path, bytes)| File { path, parts: vec![Content::Bytes(bytes.as_slice().into())] })
            .collect();
        let size = smallest(&list, 512) + free * MIB;
        sound(&files, &made(&files, &spec(size)));
    }
}
