//! The metadata files of an image and its image files, checked with the programs that read them:
//! sha256sum, sh, zstd, the SPDX project's own validator, `verify`.

mod conversion;

use crate::common::{self, Place, content, dir, file, names};
use docker_to_linux::deliver::manifest::Manifest;
use docker_to_linux::tool::Tool;
use fs_err as fs;
use std::process::Command;

const DPKG: &str = "Package: libstdc++6
Status: install ok installed
Maintainer: Debian GCC Maintainers <debian-gcc@lists.debian.org>
Architecture: amd64
Multi-Arch: same
Source: gcc-14
Version: 14.2.0-19
Description: GNU Standard C++ Library v3
Homepage: http://gcc.gnu.org/

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1.0

Package: base-files
Status: install ok installed
Maintainer: Santiago Vila <sanvila@debian.org>
Architecture: amd64
Version: 1:13.8+deb13u1
";

const STATUS_D: &str = "Package: tzdata
Version: 2025b-4+deb13u1
Architecture: all
Maintainer: \"A, B\" <x@example.org>
";

const APK: &str = "C:Q1abcdefghijklmnopqrstuvwxyz0=
P:musl
V:1.2.5-r21
A:x86_64
L:MIT
U:https://musl.libc.org/
m:Natanael Copa <ncopa@alpinelinux.org>
o:musl
T:the musl c library (libc) implementation
";

/// Two recipes, and a root file system with packages.
fn place() -> Option<Place> {
    let p = Place::new()?;
    let mut all = common::machine();
    all.extend([
        dir("var"),
        dir("var/lib"),
        dir("var/lib/dpkg"),
        file("var/lib/dpkg/status", DPKG),
        dir("var/lib/dpkg/status.d"),
        file("var/lib/dpkg/status.d/tzdata", STATUS_D),
        file("var/lib/dpkg/status.d/tzdata.md5sums", "0 x\n"),
        dir("lib"),
        dir("lib/apk"),
        dir("lib/apk/db"),
        file("lib/apk/db/installed", APK),
    ]);
    p.tar("rootfs", &all);
    p.recipe("crate", "root: {free: 16M}\n");
    Some(p)
}

impl Place {
    /// Makes the image `name` with these options more; returns what was printed.
    #[track_caller]
    fn made(&self, name: &str, more: &[&str]) -> String {
        content(&mut self.make(name, "rootfs", &[&["-q"], more].concat()))
    }

    #[track_caller]
    fn verify(&self) {
        content(&mut self.xtask(&["-q", "verify", "out"]));
        let mut checker = Command::new("sha256sum");
        let said = content(
            checker
                .args(["-c", "--strict", "SHA256SUMS"])
                .current_dir(&self.out),
        );
        // Everything in the folder is in it.
        let files = fs::read_dir(&self.out).unwrap().count();
        assert_eq!(said.lines().count(), files - 1, "{said}");
    }

    /// What `verify` says, which fails.
    #[track_caller]
    fn verify_fails(&self) -> String {
        let out = self.xtask(&["-q", "verify", "out"]).output().unwrap();
        let said = common::said(&out);
        assert_eq!(out.status.code(), Some(1), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        self.redacted(&said)
    }

    fn manifest(&self, name: &str) -> Manifest {
        Manifest::read(&self.out.join(format!("{name}.manifest.json"))).unwrap()
    }
}

#[test]
fn two_images_share_a_folder_and_its_sums() {
    let Some(p) = place() else { return };
    let printed = p.made("box", &["--format", "raw,qcow2,ova"]);
    assert_eq!(printed, "out/box.img\nout/box.qcow2\nout/box.ova\n");
    p.verify();
    p.made(
        "crate",
        &[
            "--boot",
            "bios",
            "--table",
            "mbr",
            "--format",
            "raw,vhd-fixed",
        ],
    );
    p.verify();
    let sums = fs::read_to_string(p.out.join("SHA256SUMS")).unwrap();
    let listed: Vec<&str> = sums.lines().map(|l| &l[66..]).collect();
    let wanted = [
        "box.img",
        "box.manifest.json",
        "box.ova",
        "box.qcow2",
        "box.spdx.json",
        "crate.fixed.vhd",
        "crate.img",
        "crate.manifest.json",
        "crate.spdx.json",
    ];
    assert_eq!(listed, wanted);
    let manifest = p.manifest("box");
    assert_eq!(manifest.disk.partitions.len(), 2);
    assert_eq!(manifest.packages.as_ref().unwrap().count, 4);
    let text = fs::read_to_string(p.out.join("box.manifest.json")).unwrap();
    assert!(
        !text.contains(p.dir.as_str()),
        "a path of this host: {text}"
    );
    // Once more: the same, and no line twice.
    p.made("box", &["--format", "raw,qcow2,ova"]);
    assert_eq!(fs::read_to_string(p.out.join("SHA256SUMS")).unwrap(), sums);
    assert_eq!(p.manifest("box"), manifest);
    // Without metadata files the old ones do not stay and lie.
    p.made("box", &["--hostname", "other", "--no-metadata"]);
    let left = names(&p.out);
    assert!(
        !left
            .iter()
            .any(|n| n.starts_with("box.") && n.ends_with("json")),
        "{left:?}"
    );
    // The name of the option in earlier versions.
    p.made("crate", &["--no-papers"]);
    let sums = fs::read_to_string(p.out.join("SHA256SUMS")).unwrap();
    let listed: Vec<&str> = sums.lines().map(|l| &l[66..]).collect();
    assert_eq!(listed, ["box.ova", "box.qcow2", "crate.fixed.vhd"]);
}

#[test]
fn the_list_of_packages_is_spdx() {
    let Some(p) = place() else { return };
    p.made("box", &[]);
    let list = p.out.join("box.spdx.json");
    let text = fs::read_to_string(&list).unwrap();
    for purl in [
        "pkg:deb/debian/libstdc%2B%2B6@14.2.0-19?arch=amd64",
        "pkg:deb/debian/base-files@1:13.8%2Bdeb13u1?arch=amd64",
        "pkg:deb/debian/tzdata@2025b-4%2Bdeb13u1?arch=all",
        "pkg:apk/alpine/musl@1.2.5-r21?arch=x86_64",
    ] {
        assert!(text.contains(purl), "{purl}: {text}");
    }
    assert!(!text.contains("gone"), "{text}");
    let Some(mut checker) = common::spdx_validator() else {
        return;
    };
    content(checker.arg("-i").arg(&list));
    // The validator can say no.
    let broken = p.dir.join("broken.spdx.json");
    fs::write(&broken, text.replacen("CC0-1.0", "none", 1)).unwrap();
    let mut checker = common::spdx_validator().unwrap();
    assert!(
        !checker
            .arg("-i")
            .arg(&broken)
            .output()
            .unwrap()
            .status
            .success()
    );
}

#[test]
fn whatever_is_changed_is_found() {
    let Some(p) = place() else { return };
    let out = p.xtask(&["-q", "verify", "nowhere"]).output().unwrap();
    assert_eq!(out.status.code(), Some(2), "{}", common::said(&out));
    p.made("box", &["--format", "raw,vdi"]);
    p.verify();
    let file = |name: &str| p.out.join(name);
    let keep = |name: &str| fs::read(file(name)).unwrap();

    let vdi = keep("box.vdi");
    let mut bad = vdi.clone();
    let last = bad.len() - 1;
    bad[last] ^= 1;
    fs::write(file("box.vdi"), &bad).unwrap();
    insta::assert_snapshot!(p.verify_fails(), @"error: checking out: box.vdi does not match its checksum; hint: download the file again, or rebuild the image");
    fs::write(file("box.vdi"), &vdi[..last]).unwrap();
    insta::assert_snapshot!(p.verify_fails(), @"error: checking out: box.vdi does not match its checksum (and 1 more); hint: download the file again, or rebuild the image");
    fs::remove_file(file("box.vdi")).unwrap();
    insta::assert_snapshot!(p.verify_fails(), @"error: checking out: box.vdi is missing; hint: download the file again, or rebuild the image");
    fs::write(file("box.vdi"), &vdi).unwrap();
    p.verify();

    // With changed sums, the files still do not match the manifest.
    let resum = || {
        let script = "sha256sum $(cut -c67- SHA256SUMS) >new && mv new SHA256SUMS";
        content(Command::new("sh").args(["-c", script]).current_dir(&p.out));
    };
    fs::write(file("box.vdi"), &bad).unwrap();
    resum();
    insta::assert_snapshot!(p.verify_fails(), @"error: checking out: box.vdi has different checksums in box.manifest.json and SHA256SUMS; hint: download the file again, or rebuild the image");
    fs::write(file("box.vdi"), &vdi).unwrap();

    let text = fs::read_to_string(file("box.manifest.json")).unwrap();
    let id = p.manifest("box").disk.partitions[1].id.clone().unwrap();
    let other = text.replace(&id, "00000000-1111-2222-3333-444444444444");
    assert_ne!(other, text);
    fs::write(file("box.manifest.json"), other).unwrap();
    resum();
    insta::assert_snapshot!(p.verify_fails(), @"error: checking out: box.img has in partition 2 the id [ID], not [ID]; hint: download the file again, or rebuild the image");
    fs::write(file("box.manifest.json"), "{").unwrap();
    resum();
    insta::assert_snapshot!(p.verify_fails(), @"error: checking out: reading the manifest out/box.manifest.json: EOF while parsing an object at line 1 column 1; hint: it is damaged, or another version of this program wrote it: rebuild the image; hint: download the file again, or rebuild the image");
    fs::write(file("box.manifest.json"), &text).unwrap();
    resum();
    p.verify();

    let list = fs::read_to_string(file("box.spdx.json")).unwrap();
    fs::write(file("box.spdx.json"), "{}").unwrap();
    resum();
    insta::assert_snapshot!(p.verify_fails(), @r#"error: checking out: box.spdx.json: is "", not SPDX-2.3; hint: download the file again, or rebuild the image"#);
    fs::write(file("box.spdx.json"), &list).unwrap();
    resum();
    fs::remove_file(file("box.spdx.json")).unwrap();
    insta::assert_snapshot!(p.verify_fails(), @"error: checking out: box.spdx.json is missing (and 1 more); hint: download the file again, or rebuild the image");
}

#[test]
fn parts_are_joined_by_the_script_beside_them() {
    let Some(p) = place() else { return };
    p.made("box", &["--format", "raw,qcow2"]);
    let whole = common::sha256(&p.out.join("box.img"));
    let qcow2 = common::sha256(&p.out.join("box.qcow2"));
    let split = ["--format", "raw,qcow2", "--split", "1M", "--compress"];
    for (how, ending, unpack) in [
        ("zstd", "zst", "zstd -dq"),
        ("xz", "xz", "xz -dk"),
        ("gzip", "gz", "gzip -dk"),
    ] {
        fs::remove_dir_all(&p.out).unwrap();
        let printed = p.made("box", &[&split[..], &[how]].concat());
        let parts = printed.lines().filter(|l| l.contains("box.img.")).count();
        assert!(parts > 1, "{printed}");
        p.verify();
        let manifest = p.manifest("box");
        assert_eq!(manifest.artifacts.len(), 2);
        assert!(manifest.artifacts.iter().all(|a| a.parts.len() > 1));
        for (name, sum) in [("box.img", &whole), ("box.qcow2", &qcow2)] {
            let script = format!("sh {name}.{ending}.join.sh && {unpack} {name}.{ending}");
            content(
                Command::new("sh")
                    .args(["-ec", &script])
                    .current_dir(&p.out),
            );
            assert_eq!(&common::sha256(&p.out.join(name)), sum, "{how} {name}");
        }
    }
    // A part that is gone, and one that is another's.
    fs::remove_file(p.out.join("box.img.gz.part-001")).unwrap();
    insta::assert_snapshot!(p.verify_fails(), @"error: checking out: box.img.gz.part-001 is missing (and 1 more); hint: download the file again, or rebuild the image");
    // What an earlier run left is not joined with what a later one writes.
    fs::remove_dir_all(&p.out).unwrap();
    p.made("box", &["--split", "2M"]);
    let before = names(&p.out);
    assert!(
        before.contains(&"box.img.part-003".to_owned()),
        "{before:?}"
    );
    p.made("box", &["--split", "40M"]);
    assert!(!names(&p.out).contains(&"box.img.part-003".to_owned()));
    p.verify();
    p.made("box", &[]);
    assert_eq!(names(&p.out), common::BOX_FILES);
    assert_eq!(common::sha256(&p.out.join("box.img")), whole);
}

/// A device contains arbitrary data. What bmaptool skips must be unused.
#[test]
fn a_device_that_was_written_by_the_block_map_is_clean() {
    let Some(p) = place() else { return };
    p.made("box", &["--format", "raw", "--bmap", "--compress", "gzip"]);
    p.verify();
    fs::rename(p.out.join("box.img.bmap"), p.dir.join("image.bmap")).unwrap();
    p.made("box", &["--format", "raw", "--bmap"]);
    let map = fs::read(p.out.join("box.img.bmap")).unwrap();
    // The same for the same disk, compressed or not, made or converted.
    assert!(fs::read(p.dir.join("image.bmap")).unwrap() == map);
    let convert = ["convert", "out/box.img", "--format", "raw", "--bmap"];
    content(p.xtask(&convert).args(["--output", "other"]));
    assert!(fs::read(p.dir.join("other/box.img.bmap")).unwrap() == map);
    p.verify();

    // bmaptool checks every sum on its way. A regular file it cuts to nothing first.
    let image = p.out.join("box.img");
    let bytes = fs::read(&image).unwrap();
    let copy = p.dir.join("copy");
    let Some(mut bmaptool) = common::checker(Tool::Bmaptool) else {
        return;
    };
    content(
        bmaptool
            .args(["copy", "--no-sig-verify"])
            .args([&image, &copy]),
    );
    assert!(fs::read(&copy).unwrap() == bytes);
    // What it would do to a device.
    let mut written = common::pattern(7, bytes.len());
    let map = String::from_utf8(map).unwrap();
    for range in map.lines().filter(|l| l.contains("<Range")) {
        let (_, range) = range.split_once("> ").unwrap();
        let (range, _) = range.split_once(" <").unwrap();
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let block = |text: &str| text.parse::<usize>().unwrap() * 4096;
        let mapped = block(first)..(block(last) + 4096).min(bytes.len());
        written[mapped.clone()].copy_from_slice(&bytes[mapped]);
    }
    let noise = written.iter().zip(&bytes).filter(|(a, b)| a != b).count();
    assert!(noise > 20 << 20, "only {noise} bytes were left out");
    for partition in p.manifest("box").disk.partitions {
        let file = p.dir.join("partition");
        let at = usize::try_from(partition.offset).unwrap();
        let len = usize::try_from(partition.size).unwrap();
        fs::write(&file, &written[at..at + len]).unwrap();
        let (tool, options) = match &partition.file_system.kind[..] {
            "ext4" => (Tool::E2fsck, "-fn"),
            _ => (Tool::FsckFat, "-n"),
        };
        if let Some(mut checker) = common::checker(tool) {
            content(checker.arg(options).arg(&file));
        }
    }
}
