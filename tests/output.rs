//! What leaves the program: whole sets of files under their right names or none, and nothing
//! outside of the folder that was named. Two runs at once, kills, limits, planted names.

mod names;
mod whole;

use crate::common::{self, Place, content, dir, file, names, said};
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, symlink};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Two formats with different files, and all files next to them.
const FORMATS: &str = "raw,vdi";

/// Two recipes, and root file systems for them.
fn place() -> Option<Place> {
    let p = Place::new()?;
    for (name, seed) in [("a", 7), ("b", 8)] {
        let mut all = common::machine();
        all.push(file("usr/lib/what", common::pattern(seed, 300_000)));
        p.tar(name, &all);
    }
    let mut all = common::machine();
    all.push(file("etc/shadow", "root:$6$salt$hash:19000:0:99999:7:::\n").mode(0o640));
    p.tar("secret", &all);
    for name in ["box", "crate"] {
        p.recipe(name, "root: {free: 8M}\n");
    }
    Some(p)
}

impl Place {
    fn verifies(&self, dir: &str) -> bool {
        let out = self.xtask(&["-q", "verify", dir]).output().unwrap();
        out.status.success()
    }

    /// The files of the image `box` from that tar, built again.
    fn made_of(&self, tar: &str) -> BTreeMap<String, String> {
        content(&mut self.make("box", tar, &["--format", FORMATS]));
        assert!(self.verifies("out"));
        common::sums(&self.out)
    }
}

/// The command fails with that code within 10 seconds, and in one line says these words.
#[track_caller]
fn fails(command: &mut Command, code: i32, words: &[&str]) -> String {
    let begun = Instant::now();
    let out = ended(command, Duration::from_secs(30));
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "it took too long"
    );
    let text = said(&out);
    assert_eq!(out.status.code(), Some(code), "{text}");
    let errors: Vec<&str> = text.lines().filter(|l| l.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{text}");
    for word in words {
        assert!(text.contains(word), "no {word:?} in: {text}");
    }
    text
}

/// What a command said, which must end in that time.
#[track_caller]
fn ended(command: &mut Command, most: Duration) -> Output {
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.unwrap();
    let begun = Instant::now();
    // It says less than a pipe holds.
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > most {
            child.kill().unwrap();
            panic!("{command:?} did not end within {most:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

// What is there already.

#[test]
fn what_is_planted_is_not_followed_and_not_replaced() {
    let Some(p) = place() else { return };
    let victim = p.dir.join("victim");
    fs::write(&victim, "mine").unwrap();
    for name in ["box.img", "box.vdi", "box.manifest.json", "box.spdx.json"] {
        symlink("../victim", p.out.join(name)).unwrap();
    }
    p.made_of("a");
    assert_eq!(fs::read(&victim).unwrap(), b"mine");
    assert!(!p.out.join("box.img").is_symlink());
    // What is not a file stays, and everything else too.
    let run = || p.make("box", "b", &["-q", "--format", FORMATS]);
    for name in ["box.img", "box.vdi", "box.manifest.json", "SHA256SUMS"] {
        for (make, what) in [("mkfifo", "a pipe"), ("mkdir", "a folder")] {
            let kept = p.out.join(name);
            let bytes = fs::read(&kept).unwrap();
            fs::remove_file(&kept).unwrap();
            content(Command::new(make).arg(&kept));
            let before = names(&p.out);
            fails(&mut run(), 1, &[name, what, "; hint: "]);
            assert_eq!(names(&p.out), before, "{name} {make}");
            assert!(!kept.is_file(), "{name} {make}");
            match make {
                "mkdir" => fs::remove_dir(&kept).unwrap(),
                _ => fs::remove_file(&kept).unwrap(),
            }
            fs::write(&kept, bytes).unwrap();
            assert!(p.verifies("out"), "{name} {make}");
        }
    }
    // The list of checksums is read before it is replaced.
    let sums = p.out.join("SHA256SUMS");
    fs::remove_file(&sums).unwrap();
    symlink("../victim", &sums).unwrap();
    fails(
        &mut run(),
        1,
        &["SHA256SUMS", "a symbolic link", "; hint: "],
    );
    assert_eq!(fs::read(&victim).unwrap(), b"mine");
}

#[test]
fn folders_that_cannot_be_written_to() {
    let Some(p) = place() else { return };
    let to = |dir: &str| p.make("box", "a", &["-q", "--output", dir]);
    let overridden = |dir: &str| {
        let mut command = common::xtask();
        let args: Vec<_> = to(dir).get_args().map(ToOwned::to_owned).collect();
        // The place's own --output goes.
        let at = args.iter().position(|a| a == "--output").unwrap();
        command.args(&args[..at]).args(&args[at + 2..]);
        command.current_dir(&p.dir).stdin(Stdio::null());
        command
    };
    fs::write(p.dir.join("file"), "mine").unwrap();
    symlink("nowhere", p.dir.join("dangling")).unwrap();
    for bad in ["file", "file/below", "/dev/null", "dangling"] {
        fails(&mut overridden(bad), 2, &[bad, "; hint: "]);
    }
    assert_eq!(fs::read(p.dir.join("file")).unwrap(), b"mine");
    assert!(!p.dir.join("nowhere").exists());
    // A link to a folder is a folder.
    symlink("out", p.dir.join("link")).unwrap();
    content(&mut overridden("link"));
    assert!(p.verifies("link") && p.verifies("out"));
    // A new folder in a new folder.
    content(&mut overridden("x/y/z"));
    assert!(p.verifies("x/y/z"));
}

/// Parts and whole files of an earlier run are gone with it.
#[test]
fn no_form_of_an_older_image_stays() {
    let Some(p) = place() else { return };
    let run = |tar: &str, more: &[&str]| {
        content(&mut p.make("box", tar, &[&["-q"], more].concat()));
        assert!(p.verifies("out"), "{more:?}");
    };
    run("a", &["--split", "1M"]);
    assert!(p.out.join("box.img.part-002").exists());
    assert!(!p.out.join("box.img").exists());
    run("b", &[]);
    assert_eq!(names(&p.out), common::BOX_FILES);
    run("a", &["--split", "1M"]);
    assert!(!p.out.join("box.img").exists());
    assert!(p.out.join("box.img.join.sh").exists());
}

// Who can read it.

#[test]
fn images_with_password_hashes_are_their_owners_alone() {
    let Some(p) = place() else { return };
    let mode = |dir: &str, name: &str| {
        let path = p.dir.join(dir).join(name);
        path.metadata().unwrap().mode() & 0o777
    };
    let open = |command: &Command| {
        let mut sh = Command::new("sh");
        sh.args(["-c", "umask 022; exec \"$@\"", "sh"]);
        sh.arg(command.get_program()).args(command.get_args());
        sh.current_dir(&p.dir);
        sh
    };
    let formats = "raw,qcow2,vdi,vmdk,vmdk-stream,ova,vhd,vhd-fixed,vhdx";
    for more in [
        &[][..],
        &["--compress", "zstd"],
        &["--compress", "gzip", "--split", "1M"],
    ] {
        for (tar, wanted) in [("secret", 0o600), ("a", 0o644)] {
            let image = p.make("box", tar, &["--format", formats, "--bmap"]);
            let mut image = open(&image);
            let text = content(image.args(more));
            assert_eq!(text.contains("password hashes"), tar == "secret", "{text}");
            let paper = |n: &str| {
                n.ends_with("json")
                    || n.ends_with("SUMS")
                    || n.ends_with("sh")
                    || n.ends_with("bmap")
            };
            for name in names(&p.out) {
                let wanted = if paper(&name) { 0o644 } else { wanted };
                assert_eq!(mode("out", &name), wanted, "{name} {more:?}");
            }
            fs::remove_dir_all(&p.out).unwrap();
        }
    }
    // A password from the user.
    fs::write(p.dir.join("password"), "correct horse\n").unwrap();
    let image = p.make("box", "a", &["--root-password-file", "password"]);
    let mut with_shadow = common::machine();
    with_shadow.extend([
        file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
        file("etc/shadow", "root:*:19000:0:99999:7:::\n").mode(0o640),
        file("etc/group", "root:x:0:\n"),
        dir("root"),
        dir("bin"),
        file("bin/sh", "x").mode(0o755),
    ]);
    common::tar_file(&with_shadow, &p.dir.join("a.tar"));
    content(&mut open(&image));
    assert_eq!(mode("out", "box.img"), 0o600);
    assert_eq!(mode("out", "box.manifest.json"), 0o644);
    // A converted image is no more readable than its source and its content allow.
    for source in [0o600, 0o644] {
        use std::os::unix::fs::PermissionsExt;
        let permissions = std::fs::Permissions::from_mode(source);
        fs::set_permissions(p.out.join("box.img"), permissions).unwrap();
        let mut convert = p.xtask(&["convert", "out/box.img", "--format", "raw,vdi"]);
        let text = content(&mut open(convert.args(["--output", "new"])));
        assert!(text.contains("0600"), "{text}");
        assert_eq!([mode("new", "box.img"), mode("new", "box.vdi")], [0o600; 2]);
        fs::remove_dir_all(p.dir.join("new")).unwrap();
    }
    content(&mut open(&p.make("box", "b", &[])));
    let mut convert = p.xtask(&["convert", "out/box.img", "--format", "vdi"]);
    content(&mut open(convert.args(["--output", "new"])));
    assert_eq!(mode("new", "box.vdi"), 0o644);
}
