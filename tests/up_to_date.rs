//! Nothing is made twice, and nothing that would be different is left as it is.

use crate::common::engine::Base;
use crate::common::{self, Place, content, sha256};
use camino::{Utf8Path, Utf8PathBuf};
use std::process::Command;
use std::time::Duration;

/// Files that changed less than two seconds ago are not trusted.
const SETTLE: Duration = Duration::from_millis(2_100);

/// `image` in this place with these arguments.
fn command(p: &Place, arguments: &[&str]) -> Command {
    let mut command = p.xtask(&["image"]);
    command.args(arguments);
    command.args(["--output", "out", "--bootloader-dir", "bootloader"]);
    command
}

/// Whether the image was made by this run. What it prints is the same in both cases.
#[track_caller]
fn made(p: &Place, arguments: &[&str]) -> bool {
    let out = command(p, arguments).output().unwrap();
    assert!(out.status.success(), "{}", common::said(&out));
    let said = String::from_utf8_lossy(&out.stderr);
    let files = String::from_utf8_lossy(&out.stdout);
    assert!(files.lines().count() > 0, "{said}");
    for file in files.lines() {
        assert!(p.dir.join(file).is_file(), "{file}");
    }
    let kept = said.contains("up to date");
    assert_ne!(kept, said.contains("done in"), "{said}");
    !kept
}

/// The next run makes the image, and the one after it does not.
#[track_caller]
fn made_once(p: &Place, what: &str, arguments: &[&str]) {
    assert!(made(p, arguments), "not made again after: {what}");
    assert!(!made(p, arguments), "made twice after: {what}");
}

#[test]
fn an_image_of_a_tar_is_made_once() {
    let Some(p) = Place::new() else { return };
    let from = ["./box", "--from", "good.tar"];
    let with = |more: &[&'static str]| [&from[..], more].concat();
    std::thread::sleep(SETTLE);
    made_once(&p, "nothing", &from);
    let sum = sha256(&p.out.join("box.img"));

    // What was asked for.
    made_once(&p, "another size", &with(&["--size", "200M"]));
    made_once(&p, "another format", &with(&["--format", "qcow2"]));
    made_once(&p, "no metadata", &with(&["--no-metadata"]));
    made_once(&p, "the first options again", &from);
    assert!(!made(&p, &with(&["--threads", "1"])), "the same bytes");
    assert_eq!(sha256(&p.out.join("box.img")), sum);

    // What it is made from.
    p.recipe("box", "root: {free: 17M}\n");
    made_once(&p, "the recipe", &from);
    p.write("box/files/etc/motd", "hello");
    made_once(&p, "a file of the recipe", &from);
    p.write("box/files/etc/motd", "howdy");
    made_once(&p, "its content", &from);
    p.write(
        "key",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGxH0Vn1r0AsxP0QwhDqRZwFCVh0yjPnF7Xw6S1LrPZX a\n",
    );
    let key = with(&["--ssh-key", "key"]);
    made_once(&p, "a key", &key);
    p.write(
        "key",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGxH0Vn1r0AsxP0QwhDqRZwFCVh0yjPnF7Xw6S1LrPZX b\n",
    );
    made_once(&p, "another key", &key);
    let mbr = p.dir.join("bootloader/mbr.bin");
    let mut code = fs_err::read(&mbr).unwrap();
    code[0] ^= 1;
    fs_err::write(&mbr, code).unwrap();
    made_once(&p, "the boot loader", &key);
    p.write("password", "one");
    std::thread::sleep(SETTLE);
    let password = with(&["--root-password-file", "password"]);
    made_once(&p, "a password", &password);
    p.write("password", "two");
    std::thread::sleep(SETTLE);
    made_once(&p, "another password", &password);
    p.tar("good", &common::machine());
    assert!(made(&p, &from), "another tar");

    // What it became.
    std::thread::sleep(SETTLE);
    assert!(made(&p, &from), "a tar that had just changed");
    for file in ["box.img", "box.manifest.json", "box.spdx.json"] {
        let file = p.out.join(file);
        let mut bytes = fs_err::read(&file).unwrap();
        bytes[7] ^= 1;
        fs_err::write(&file, bytes).unwrap();
        made_once(&p, &format!("{file} was changed"), &from);
        fs_err::remove_file(&file).unwrap();
        made_once(&p, &format!("{file} was removed"), &from);
    }
    assert!(made(&p, &with(&["--force"])));
    let clean = p.xtask(&["clean"]).output().unwrap();
    assert!(clean.status.success(), "{}", common::said(&clean));
    assert!(!p.dir.join("target/made").exists());
}

#[test]
fn standard_input_is_always_read() {
    let Some(p) = Place::new() else { return };
    let tar = fs_err::read(p.dir.join("good.tar")).unwrap();
    for _ in 0..2 {
        let out = common::with_input(&mut command(&p, &["./box", "--from", "-"]), &tar);
        assert!(out.status.success(), "{}", common::said(&out));
        assert!(!String::from_utf8_lossy(&out.stderr).contains("up to date"));
    }
}

/// The tars of exported containers that are kept.
fn exports(p: &Place) -> Vec<Utf8PathBuf> {
    let dir = p.dir.join("target/exports");
    let names = common::names(&dir).into_iter();
    names.map(|name| dir.join(name)).collect()
}

/// Makes the image `tag` another one, with the same files.
fn change(tag: &str) {
    let dockerfile = format!("FROM {tag}\nENV CHANGED=yes\n");
    let mut build = Command::new("docker");
    build.args(["build", "--quiet", "--force-rm", "--tag", tag, "-"]);
    let out = common::with_input(&mut build, dockerfile.as_bytes());
    assert!(out.status.success(), "{}", common::said(&out));
}

#[test]
fn an_image_of_an_engine_is_made_and_exported_once() {
    let Some(p) = Place::new() else { return };
    let Some(base) = Base::new("once") else {
        return;
    };
    base.recipe(&p, "RUN echo made here >/etc/motd");
    let own = ["./box", "--engine", "docker"];
    made_once(&p, "nothing", &own);
    let image = common::names(&p.out).into_iter();
    let image = image.into_iter().find(|n| n.ends_with(".img")).unwrap();
    let image = p.out.join(image);
    let sum = sha256(&image);
    assert_eq!(exports(&p).len(), 1);

    // Another disk of the same container: what was exported is used, and the bytes are the same.
    let kept = exports(&p).remove(0);
    let before = kept.metadata().unwrap().modified().unwrap();
    let bigger = [&own[..], &["--size", "200M"]].concat();
    made_once(&p, "another size", &bigger);
    assert_eq!(exports(&p), std::slice::from_ref(&kept));
    assert!(
        kept.metadata().unwrap().modified().unwrap() > before,
        "it was used"
    );
    made_once(&p, "the first size", &own);
    assert_eq!(sha256(&image), sum, "from an export that was kept");
    let force = [&own[..], &["--force"]].concat();
    let said = common::said(&command(&p, &force).output().unwrap());
    assert!(!said.contains("exported before"), "{said}");
    assert_eq!(sha256(&image), sum, "from a new export");
    assert!(!made(&p, &own));

    base.recipe(&p, "RUN echo made there >/etc/motd");
    made_once(&p, "the Dockerfile", &own);
    assert_eq!(exports(&p).len(), 2);
    p.write("box/further", "file");
    made_once(&p, "a file of the context", &own);
    change(base.name());
    made_once(&p, "the base image", &own);

    // A stage that is another image is seen, too.
    let dockerfile = p.dir.join("box/Dockerfile");
    let text = fs_err::read_to_string(&dockerfile).unwrap();
    fs_err::write(
        &dockerfile,
        format!("{text}ADD https://example.org/nothing /x\n"),
    )
    .unwrap();
    let out = command(&p, &["./box", "--engine", "docker", "-v"])
        .output()
        .unwrap();
    assert!(!String::from_utf8_lossy(&out.stderr).contains("up to date"));
    base.is_clean();
}

#[test]
fn an_image_of_a_layout_is_made_once() {
    let Some(p) = Place::new() else { return };
    let layout = p.dir.join("layout");
    common::oci::layout(&layout, &[common::oci::tar_of(&common::machine())]);
    std::thread::sleep(SETTLE);
    let from = ["./box", "--from", "oci:layout"];
    made_once(&p, "nothing", &from);
    touch(&layout.join("index.json"));
    std::thread::sleep(SETTLE);
    made_once(&p, "its index", &from);
    content(
        Command::new("mv")
            .args(["layout", "other"])
            .current_dir(&p.dir),
    );
    made_once(&p, "another place", &["./box", "--from", "oci:other"]);
}

/// Writes the same bytes again.
fn touch(file: &Utf8Path) {
    let bytes = fs_err::read(file).unwrap();
    fs_err::write(file, bytes).unwrap();
}
