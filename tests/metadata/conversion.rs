//! Images in other formats than they were built in.

use super::*;

#[test]
fn a_raw_image_is_converted_to_what_image_would_have_written() {
    let Some(p) = place() else { return };
    let formats = "qcow2,vdi,vmdk,vmdk-stream,ova,vhd,vhd-fixed,vhdx";
    p.made("box", &["--format", &format!("raw,{formats}")]);
    let made = p.manifest("box");
    fs::rename(&p.out, p.dir.join("made")).unwrap();
    fs::create_dir(&p.out).unwrap();
    for name in &common::BOX_FILES[1..] {
        fs::rename(p.dir.join("made").join(name), p.out.join(name)).unwrap();
    }
    // Next to the image, and into another folder.
    let convert = ["convert", "out/box.img", "--format", formats];
    content(&mut p.xtask(&convert));
    assert_eq!(p.manifest("box"), made);
    let mut elsewhere = p.xtask(&convert);
    content(elsewhere.args(["--output", "other", "--compress", "gzip"]));
    content(&mut p.xtask(&["-q", "verify", "other"]));
    for artifact in &made.artifacts {
        if *artifact.file == *"box.img" {
            continue;
        }
        let (a, b) = (
            p.out.join(&artifact.file),
            p.dir.join("made").join(&artifact.file),
        );
        assert_eq!(common::sha256(&a), common::sha256(&b), "{}", artifact.file);
        let packed = p.dir.join("other").join(format!("{}.gz", artifact.file));
        let mut plain = flate2::read::GzDecoder::new(fs::File::open(packed).unwrap());
        let sum = docker_to_linux::format::digest::sha256(&mut plain).unwrap();
        assert_eq!(sum, artifact.sha256, "{}", artifact.file);
    }
    // An unknown image: no metadata files except the sums.
    fs::copy(p.out.join("box.img"), p.dir.join("some.raw")).unwrap();
    let some = [
        "convert", "some.raw", "--format", "qcow2", "--output", "new",
    ];
    content(&mut p.xtask(&some));
    assert_eq!(names(&p.dir.join("new")), ["SHA256SUMS", "some.qcow2"]);
    if let Some(mut checker) = common::checker(Tool::QemuImg) {
        checker.args([
            "compare",
            "-f",
            "raw",
            "-F",
            "qcow2",
            "some.raw",
            "new/some.qcow2",
        ]);
        content(checker.current_dir(&p.dir));
    }
}

/// Readers of the manifest learn of sectors of 4096 bytes, and `verify` compares them.
#[test]
fn sectors_are_in_the_manifest() {
    let Some(p) = place() else { return };
    let text = || fs::read_to_string(p.out.join("box.manifest.json")).unwrap();
    p.made("box", &[]);
    assert!(!text().contains("sector-size"), "{}", text());
    assert_eq!(p.manifest("box").disk.sector_size, 512);
    p.made("box", &["--boot", "uefi", "--sector-size", "4096"]);
    assert_eq!(p.manifest("box").disk.sector_size, 4096);
    p.verify();
    content(&mut p.xtask(&["convert", "out/box.img", "--format", "qcow2"]));
    assert_eq!(p.manifest("box").disk.sector_size, 4096);
    p.verify();

    let other = text().replace("\"sector-size\": 4096", "\"sector-size\": 512");
    assert_ne!(other, text());
    fs::write(p.out.join("box.manifest.json"), other).unwrap();
    let script = "sha256sum $(cut -c67- SHA256SUMS) >new && mv new SHA256SUMS";
    content(Command::new("sh").args(["-c", script]).current_dir(&p.out));
    insta::assert_snapshot!(p.verify_fails(), @"error: checking out: box.img has a table for sectors of 4096 bytes, not 512 bytes; hint: download the file again, or rebuild the image");
}

#[test]
fn what_cannot_be_converted() {
    let Some(p) = place() else { return };
    p.made(
        "box",
        &["--format", "raw,qcow2,vhdx,vdi,vmdk", "--no-metadata"],
    );
    let before = names(&p.out);
    let fails = |arguments: &[&str], words: &[&str]| {
        let out = p
            .xtask(&[&["convert"], arguments].concat())
            .output()
            .unwrap();
        let said = common::said(&out);
        assert_eq!(out.status.code(), Some(2), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        for word in words.iter().chain(&["; hint: "]) {
            assert!(said.contains(word), "no {word:?} in: {said}");
        }
        assert_eq!(names(&p.out), before);
    };
    for (name, what) in [
        ("box.qcow2", "a qcow2 image"),
        ("box.vhdx", "a VHDX image"),
        ("box.vdi", "a VDI image"),
        ("box.vmdk", "a VMDK image"),
    ] {
        fails(&[&format!("out/{name}"), "--format", "vhd"], &[name, what]);
    }
    fails(
        &["out/box.img", "--format", "raw"],
        &["out/box.img", "--output"],
    );
    fails(&["out/none.img", "--format", "vdi"], &["out/none.img"]);
    fails(&["out", "--format", "vdi"], &["is not a regular file"]);
    fails(&["out/box.img"], &["--format"]);
    fails(&["out/box.img", "--format", "vdi,vdi"], &["twice"]);
    let small = ["out/box.img", "--format", "vdi", "--split", "1000"];
    fails(&small, &["--split", "1 MiB"]);
    fs::write(p.dir.join("empty.img"), "").unwrap();
    fails(&["empty.img", "--format", "vdi"], &["empty"]);
}
