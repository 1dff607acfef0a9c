//! Disks with volumes: what is on them, and volumes that move from one to the next.

use crate::common::{self, Entry, checker, content, dir, file, link, pattern, said};
use crate::common::{Place, names};
use camino::Utf8Path;
use docker_to_linux::tool::Tool;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};

/// A machine with systemd.
fn machine() -> Vec<Entry> {
    let mut entries = common::machine();
    entries.retain(|e| e.path != "sbin/init");
    entries.extend([
        link("sbin/init", "../usr/lib/systemd/systemd"),
        dir("usr/lib/systemd"),
        file("usr/lib/systemd/systemd", pattern(3, 20_000)).mode(0o755),
        dir("srv"),
        dir("srv/data"),
        file("srv/data/of the image", "1"),
        file("srv/file", "1"),
    ]);
    entries
}

/// The recipe `box`, and machines in `good.tar` and, with one more file, `new.tar`.
fn place() -> Option<Place> {
    let place = Place::new()?;
    place.tar("good", &machine());
    let mut newer = machine();
    newer.push(file("etc/newer", "yes"));
    place.tar("new", &newer);
    Some(place)
}

/// Offset and size of the partition with the volumes, and of the whole disk.
fn volumes(manifest: &Utf8Path) -> (u64, u64, u64) {
    let text = fs_err::read_to_string(manifest).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let partitions = json["disk"]["partitions"].as_array().unwrap();
    let last = partitions.last().unwrap();
    assert_eq!(last["role"], "volumes");
    let number = |value: &serde_json::Value| value.as_u64().unwrap();
    (
        number(&last["offset"]),
        number(&last["size"]),
        number(&json["disk"]["size"]),
    )
}

fn bytes(image: &Utf8Path, start: u64, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(len).unwrap()];
    let image = File::open(image).unwrap();
    image.read_exact_at(&mut bytes, start).unwrap();
    bytes
}

/// Runs debugfs on the volumes of an image.
fn debugfs(image: &Utf8Path, start: u64, request: &str) -> Option<String> {
    let mut debugfs = common::program("debugfs", "e2fsprogs")?;
    let image = format!("{image}?offset={start}");
    let out = debugfs
        .args(["-w", "-R", request, &image])
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", said(&out));
    Some(said(&out))
}

const DATA: [&str; 2] = ["--volume", "data:/srv/data"];

#[test]
fn volumes_have_a_file_system_of_their_own_and_move_to_a_new_disk() {
    let Some(place) = place() else { return };
    content(&mut place.make("box", "good", &DATA));
    let old = place.out.join("box.img");
    let (start, len, size) = volumes(&place.out.join("box.manifest.json"));
    if let Some(mut e2fsck) = checker(Tool::E2fsck) {
        content(e2fsck.args(["-fn", &format!("{old}?offset={start}")]));
    }
    content(&mut place.xtask(&["verify", "out"]));

    // The disk was enlarged, and the machine wrote something.
    let file = File::options().write(true).open(&old).unwrap();
    file.set_len(size + (64 << 20)).unwrap();
    place.write("note", pattern(9, 3_000_000));
    let note = place.dir.join("note");
    if debugfs(&old, start, &format!("write {note} note")).is_none() {
        return;
    }
    let before = common::sha256(&old);

    let keep = ["--keep-volumes", "out/box.img", "--output", "next"];
    let mut next = place.make("box", "new", &[&DATA[..], &keep].concat());
    // The folder is given twice.
    let out = next.output().unwrap();
    assert!(!out.status.success(), "{}", said(&out));
    let make = |more: &[&str]| {
        let mut words = vec!["image", "./box", "--from", "new.tar", "--output", "next"];
        words.extend(["--bootloader-dir", "bootloader"]);
        words.extend(["--keep-volumes", "out/box.img"]);
        words.extend(more);
        place.xtask(&words)
    };
    let out = make(&DATA).output().unwrap();
    assert!(out.status.success(), "{}", said(&out));
    assert!(said(&out).contains("contains the data of its volumes"));
    assert_eq!(common::sha256(&old), before, "the old disk is as it was");
    let new = place.dir.join("next/box.img");
    let (new_start, new_len, _) = volumes(&place.dir.join("next/box.manifest.json"));
    assert!(bytes(&old, start, len) == bytes(&new, new_start, new_len));
    assert!(
        bytes(&old, 0, start) != bytes(&new, 0, start),
        "the system is another one"
    );
    assert_eq!(fs_err::metadata(&new).unwrap().mode() & 0o777, 0o600);
    content(&mut place.xtask(&["verify", "next"]));
    let said = debugfs(&new, new_start, "stat note").unwrap();
    assert!(said.contains("Size: 3000000"), "{said}");

    // A larger partition has the same file system, and more room.
    content(&mut make(
        &[&DATA[..], &["--volumes-size", "400M"]].concat(),
    ));
    let (new_start, new_len, _) = volumes(&place.dir.join("next/box.manifest.json"));
    assert_eq!(new_len, 400 << 20);
    assert!(bytes(&old, start, len) == bytes(&new, new_start, len));
    // Of a larger disk, the volumes get the rest.
    content(&mut make(&[&DATA[..], &["--size", "1G"]].concat()));
    let (_, new_len, size) = volumes(&place.dir.join("next/box.manifest.json"));
    assert!(size == 1 << 30 && new_len > 500 << 20, "{new_len}");
}

#[test]
fn what_cannot_be_kept_is_refused_and_nothing_is_written() {
    let Some(place) = place() else { return };
    content(&mut place.make("box", "good", &DATA));
    let old = place.out.join("box.img");
    let (start, ..) = volumes(&place.out.join("box.manifest.json"));
    let files = names(&place.out);
    let sum = common::sha256(&old);
    fs_err::copy(&old, place.dir.join("damaged.img")).unwrap();
    let damaged = File::options()
        .write(true)
        .open(place.dir.join("damaged.img"))
        .unwrap();
    // `EXT4_ERROR_FS`.
    damaged.write_all_at(&[3], start + 1024 + 0x3a).unwrap();
    let short = place.dir.join("short.img");
    fs_err::copy(&old, &short).unwrap();
    let short = File::options().write(true).open(short).unwrap();
    short.set_len(start + (1 << 20)).unwrap();
    place.write("text", "no disk");
    for (old, more, word) in [
        ("out/box.img", &DATA[..], "would replace the old disk"),
        (
            "out/box.img",
            &["--name", "bux", DATA[0], DATA[1]],
            "name and architecture",
        ),
        ("damaged.img", &DATA, "has errors"),
        ("short.img", &DATA, "larger than their partition"),
        ("text", &DATA, "partition table of the old disk"),
        ("nothing", &DATA, "reading the old disk nothing"),
        (".", &DATA, "is not a regular file"),
    ] {
        let keep = [&["--keep-volumes", old], more].concat();
        let out = place.make("box", "new", &keep).output().unwrap();
        assert_eq!(out.status.code(), Some(2), "{old}: {}", said(&out));
        assert!(said(&out).contains(word), "{old}: {}", said(&out));
    }
    let copy = place.dir.join("copy.img");
    fs_err::rename(&old, &copy).unwrap();
    for (more, word) in [
        (&[][..], "has no volumes on a partition"),
        (&["--volumes", "root"], "has no volumes on a partition"),
        (
            &["--volumes-size", "100M", DATA[0], DATA[1]],
            "smaller than those that are kept",
        ),
    ] {
        let keep = [&["--keep-volumes", "copy.img"], more].concat();
        let out = place.make("box", "new", &keep).output().unwrap();
        assert_eq!(out.status.code(), Some(2), "{more:?}: {}", said(&out));
        assert!(said(&out).contains(word), "{more:?}: {}", said(&out));
    }
    assert_eq!(common::sha256(&copy), sum);
    fs_err::rename(&copy, &old).unwrap();
    assert_eq!(names(&place.out), files);
}

#[test]
fn a_wrong_volume_is_one_line_of_the_plan() {
    let Some(place) = place() else { return };
    for (volume, word) in [
        ("data:/srv/file", "/srv/file is a file"),
        ("data:/srv/file/x", "/srv/file is a file"),
        ("data:srv", "has no absolute path"),
        ("data:/srv/../etc", "has no absolute path"),
        ("data:/", "the root folder itself"),
        ("data:/proc/x", "made by the kernel"),
        ("data:/dev", "made by the kernel"),
        ("data:/usr", "needs /usr to start"),
        ("/data", "not of the form"),
    ] {
        let out = place
            .make("box", "good", &["--plan", "--volume", volume])
            .output()
            .unwrap();
        assert_eq!(out.status.code(), Some(2), "{volume}: {}", said(&out));
        assert!(said(&out).contains(word), "{volume}: {}", said(&out));
    }
    assert!(names(&place.out).is_empty());
}
