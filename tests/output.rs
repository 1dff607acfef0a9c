//! What leaves the program: whole sets of files under their right names or none, and nothing
//! outside of the folder that was named. Two runs at once, kills, limits, planted names.

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

// Names that come from files.

#[test]
fn a_manifest_names_nothing_outside_its_folder() {
    let Some(p) = place() else { return };
    content(&mut p.make("box", "a", &[]));
    let path = p.out.join("box.manifest.json");
    let good = fs::read_to_string(&path).unwrap();
    let victim = p.dir.join("victim");
    let absolute = p.dir.join("victim").into_string();
    let change = |pointer: &str, value: serde_json::Value| {
        let mut json: serde_json::Value = serde_json::from_str(&good).unwrap();
        *json.pointer_mut(pointer).unwrap() = value;
        fs::write(&path, json.to_string()).unwrap();
    };
    let names = [
        "../victim",
        &absolute,
        "../out/../victim",
        "..",
        ".",
        "",
        ".profile",
        "a\nb",
        "-x",
        "box.img/../../victim",
    ];
    for name in names {
        for pointer in ["/packages/file", "/name", "/artifacts/0/file"] {
            // Whoever wants to know what is taken: a plain name of another file of the image's
            // is no harm.
            if (pointer, name) == ("/artifacts/0/file", ".profile") {
                continue;
            }
            fs::write(&victim, "mine").unwrap();
            change(pointer, name.into());
            let mut convert = p.xtask(&["convert", "out/box.img", "--format", "vdi"]);
            fails(
                convert.args(["--output", "new/other"]),
                1,
                &["box.manifest.json"],
            );
            assert_eq!(fs::read(&victim).unwrap(), b"mine");
            assert!(!p.dir.join("new/.profile").exists());
            let left = p.dir.join("new/other");
            assert!(
                !left.exists() || common::names(&left).is_empty(),
                "{name:?}"
            );
        }
    }
    // A command for the user to run is not kept either.
    let mut json: serde_json::Value = serde_json::from_str(&good).unwrap();
    json["artifacts"][0]["join"] = "rm -rf ~".into();
    fs::write(&path, json.to_string()).unwrap();
    let mut convert = p.xtask(&["convert", "out/box.img", "--format", "vdi"]);
    fails(
        convert.args(["--output", "new"]),
        1,
        &["box.img", "join command"],
    );
    // A manifest that is not a file, or is endless.
    let convert = || {
        let mut convert = p.xtask(&["convert", "out/box.img", "--format", "vdi"]);
        convert.args(["--output", "new"]);
        convert
    };
    fs::remove_file(&path).unwrap();
    content(Command::new("mkfifo").arg(&path));
    fails(&mut convert(), 1, &["box.manifest.json", "a pipe"]);
    fs::remove_file(&path).unwrap();
    symlink("/dev/zero", &path).unwrap();
    fails(&mut convert(), 1, &["box.manifest.json", "a symbolic link"]);
    fs::remove_file(&path).unwrap();
    let endless = fs::File::create(&path).unwrap();
    endless.set_len(1 << 40).unwrap();
    fails(&mut convert(), 1, &["box.manifest.json", "larger than"]);
    // The list of packages that the manifest rightly names.
    fs::write(&path, &good).unwrap();
    let list = p.out.join("box.spdx.json");
    fs::remove_file(&list).unwrap();
    symlink("/etc/passwd", &list).unwrap();
    fails(&mut convert(), 1, &["box.spdx.json", "a symbolic link"]);
    fs::remove_file(&list).unwrap();
    content(Command::new("mkfifo").arg(&list));
    fails(&mut convert(), 1, &["box.spdx.json", "a pipe"]);
}

#[test]
fn verify_opens_plain_files_only() {
    let Some(p) = place() else { return };
    content(&mut p.make("box", "a", &["--format", "raw"]));
    let sums = p.out.join("SHA256SUMS");
    let good = fs::read_to_string(&sums).unwrap();
    let zeros = "0".repeat(64);
    fs::write(p.dir.join("secret"), "x").unwrap();
    content(Command::new("mkfifo").arg(p.out.join("pipe")));
    for (link, target) in [
        ("zero", "/dev/zero"),
        ("nowhere", "x"),
        ("away", "../secret"),
    ] {
        symlink(target, p.out.join(link)).unwrap();
    }
    for (name, why) in [
        ("pipe", "a pipe"),
        ("zero", "a symbolic link"),
        ("nowhere", "a symbolic link"),
        ("away", "a symbolic link"),
        ("/dev/zero", "not a plain file name"),
        ("../secret", "not a plain file name"),
        ("./box.img", "not a plain file name"),
        ("..", "not a plain file name"),
        ("--help", "not a plain file name"),
        ("a\u{1b}[2Jb", "not a plain file name"),
    ] {
        fs::write(&sums, format!("{good}{zeros}  {name}\n")).unwrap();
        let text = fails(&mut p.xtask(&["-q", "verify", "out"]), 1, &[why]);
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
    // What a manifest names, in a list that does not know better.
    let manifest = p.out.join("box.manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    for name in ["../secret", "/dev/zero", "pipe", "zero"] {
        fs::write(&manifest, text.replace("box.spdx.json", name)).unwrap();
        let mut lines: String = good
            .lines()
            .filter(|l| !l.ends_with("manifest.json") && !l.ends_with("spdx.json"))
            .map(|l| format!("{l}\n"))
            .collect();
        lines += &format!("{}  box.manifest.json\n", common::sha256(&manifest));
        fs::write(&sums, lines).unwrap();
        fails(&mut p.xtask(&["verify", "out"]), 1, &[name]);
    }
    fs::write(&manifest, text).unwrap();
    // The list itself.
    for make in [
        "mkfifo SHA256SUMS",
        "ln -s /dev/zero SHA256SUMS",
        "truncate -s 1T SHA256SUMS",
        "mkdir SHA256SUMS",
    ] {
        fs::remove_file(&sums).unwrap();
        let mut sh = Command::new("sh");
        content(sh.args(["-c", make]).current_dir(&p.out));
        fails(&mut p.xtask(&["-q", "verify", "out"]), 2, &["SHA256SUMS"]);
        if sums.is_dir() {
            fs::remove_dir(&sums).unwrap();
            fs::write(&sums, "").unwrap();
        }
    }
}

/// What is added to a list keeps the list's other lines, and takes none over that lead away.
#[test]
fn a_list_that_leads_away_is_not_added_to() {
    let Some(p) = place() else { return };
    let before = p.made_of("a");
    let sums = p.out.join("SHA256SUMS");
    let good = fs::read_to_string(&sums).unwrap();
    let bad = format!("{good}{}  ../x\n", "0".repeat(64));
    fs::write(&sums, &bad).unwrap();
    fails(
        &mut p.make("box", "b", &["--format", FORMATS]),
        1,
        &["SHA256SUMS", "../x"],
    );
    assert_eq!(fs::read_to_string(&sums).unwrap(), bad);
    fs::write(&sums, good).unwrap();
    assert_eq!(common::sums(&p.out), before);
}

// All or nothing.

/// Two containers that share a folder: in both the program is process 1.
#[test]
fn two_containers_write_to_one_folder() {
    if common::passed_as_root(module_path!(), "two_containers_write_to_one_folder") {
        return;
    }
    let Some(p) = place() else { return };
    if !common::is_root() {
        return common::skipped("a PID namespace takes root").unwrap_or(());
    }
    let sets = [p.made_of("a"), p.made_of("b")];
    assert_ne!(sets[0], sets[1]);
    for round in 0..8 {
        for name in names(&p.out) {
            fs::remove_file(p.out.join(name)).unwrap();
        }
        let run = |tar: &str| {
            let image = p.make("box", tar, &["-q", "--format", FORMATS]);
            let mut command = Command::new("unshare");
            command.args(["--pid", "--fork", "--mount-proc"]);
            command.arg(image.get_program()).args(image.get_args());
            command.current_dir(&p.dir).stdin(Stdio::null());
            command.stdout(Stdio::null()).spawn().unwrap()
        };
        for mut child in [run("a"), run("b")] {
            assert!(child.wait().unwrap().success(), "round {round}");
        }
        assert!(p.verifies("out"), "round {round}");
        assert!(
            sets.contains(&common::sums(&p.out)),
            "round {round}: {:?}",
            common::sums(&p.out)
        );
    }
    // Two images in one folder do not wait for each other, and both are in its list.
    let mut box_run = p
        .make("box", "a", &["-q", "--format", FORMATS])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    content(&mut p.make("crate", "b", &["-q", "--format", FORMATS]));
    assert!(box_run.wait().unwrap().success());
    assert!(p.verifies("out"));
    assert!(names(&p.out).contains(&"crate.vdi".to_owned()));
}

/// A run that is killed at any moment leaves the old set or the new one, or this is reported. The
/// next run removes its leftovers.
#[test]
fn a_kill_at_any_moment() {
    let Some(p) = place() else { return };
    let sets = [p.made_of("b"), p.made_of("a")];
    let begun = Instant::now();
    content(&mut p.make("box", "a", &["-q", "--format", FORMATS]));
    let whole = begun.elapsed();
    let (mut left, mut new, mut half) = (0, 0, 0);
    let steps = 48;
    for n in 0..steps {
        let signal = [Signal::KILL, Signal::INT, Signal::KILL, Signal::TERM][n as usize % 4];
        let tar = if n % 8 < 4 { "b" } else { "a" };
        let mut command = p.make("box", tar, &["-q", "--format", FORMATS]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        std::thread::sleep(whole * n * 5 / (4 * steps));
        // It may be gone already.
        let _ = kill_process(Pid::from_child(&child), signal);
        child.wait().unwrap();
        let temporary = |name: &String| name.contains(".docker-to-linux-");
        let there = names(&p.out).iter().any(temporary);
        assert!(
            signal == Signal::KILL || !there,
            "{signal:?}: {:?}",
            names(&p.out)
        );
        left += i32::from(there);
        let mut files = common::sums(&p.out);
        files.retain(|name, _| !temporary(name));
        let is_whole = sets.contains(&files);
        assert!(
            is_whole || !p.verifies("out"),
            "a mixture that verifies: {files:?}"
        );
        half += i32::from(!is_whole);
        new += i32::from(files == sets[usize::from(tar == "a")]);
        // A run of another image in the folder tidies up.
        content(&mut p.make("crate", "a", &["-q", "--no-metadata"]));
        fs::remove_file(p.out.join("crate.img")).unwrap();
        assert!(p.verifies("out"), "after {signal:?} at step {n}");
        let files = common::sums(&p.out);
        assert!(
            sets.contains(&files),
            "after {signal:?} at step {n}: {files:?}"
        );
    }
    assert!(left > 0 && new > 0, "left {left}, new {new}, half {half}");
}

/// `clean` removes what a killed run left, but not what a run is still writing.
#[test]
fn clean_removes_what_killed_runs_left() {
    let Some(p) = place() else { return };
    // Its tar comes through a pipe without data, so it waits with its lock.
    let wait = || {
        let mut command = p.make("box", "a", &["-q"]);
        command.args(["--from", "-"]).stdin(Stdio::piped());
        command
    };
    let args: Vec<String> = wait()
        .get_args()
        .map(|a| a.to_string_lossy().into_owned())
        .filter(|a| a != "a.tar")
        .collect();
    // One --from is enough.
    let at = args.iter().position(|a| a == "--from").unwrap();
    let mut args = args;
    args.remove(at);
    let start = || {
        let mut command = common::xtask();
        command
            .args(&args)
            .current_dir(&p.dir)
            .stdin(Stdio::piped());
        let child = command.stdout(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        while names(&p.out).is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(20), "it took no lock");
            std::thread::sleep(Duration::from_millis(5));
        }
        child
    };
    let mut child = start();
    content(&mut p.xtask(&["-q", "clean", "out"]));
    assert_eq!(names(&p.out).len(), 1, "it is at work");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(names(&p.out).len(), 1);
    fs::write(p.out.join("mine.partial"), "").unwrap();
    content(&mut p.xtask(&["-q", "clean", "out"]));
    assert_eq!(names(&p.out), ["mine.partial"]);
    fails(&mut p.xtask(&["clean", "nowhere"]), 2, &["nowhere"]);
}

/// Mounts a small disk for the test, which needs root.
struct Disk(Utf8PathBuf);

impl Disk {
    fn new(at: &Utf8Path, options: &str) -> Disk {
        let mut mount = Command::new("mount");
        content(mount.args(["-t", "tmpfs", "-o", options, "tmpfs", at.as_str()]));
        Disk(at.to_owned())
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        content(Command::new("mount").args(["-o", &options, self.0.as_str()]));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// The last page of room may be missing for any of the files: also for the list that comes last.
#[test]
fn a_disk_that_is_full_in_the_last_moment() {
    if common::passed_as_root(module_path!(), "a_disk_that_is_full_in_the_last_moment") {
        return;
    }
    let Some(p) = place() else { return };
    if !common::is_root() {
        return common::skipped("a small disk to fill takes root").unwrap_or(());
    }
    let disk = Disk::new(&p.out, "size=64m");
    let sets = [p.made_of("b"), p.made_of("a")];
    let stat = || rustix::fs::statvfs(p.out.as_std_path()).unwrap();
    let used = (stat().f_blocks - stat().f_bfree) * stat().f_frsize / 1024;
    let mut seen = [0, 0];
    // Twice what there is fits, for both sets are there for a moment: from a little less on.
    for kib in (0..64).step_by(4) {
        disk.remount(&format!("size={}k", 2 * used - 40 + kib));
        let out = p
            .make("box", "b", &["-q", "--format", FORMATS])
            .output()
            .unwrap();
        assert!(p.verifies("out"), "{kib}: {}", said(&out));
        match out.status.code() {
            Some(0) => {
                seen[1] += 1;
                assert_eq!(common::sums(&p.out), sets[0]);
                disk.remount("size=64m");
                assert_eq!(p.made_of("a"), sets[1]);
            }
            code => {
                seen[0] += 1;
                assert_eq!(code, Some(1), "{}", said(&out));
                assert!(
                    said(&out).contains("No space left on device"),
                    "{}",
                    said(&out)
                );
                assert_eq!(common::sums(&p.out), sets[1], "{kib}");
            }
        }
    }
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
    disk.remount("ro");
    let words = ["Read-only file system", "; hint: ", "out"];
    fails(
        &mut p.make("box", "b", &["-q", "--format", FORMATS]),
        1,
        &words,
    );
    assert_eq!(common::sums(&p.out), sets[1]);
}

#[test]
fn a_limit_on_the_size_of_files() {
    let Some(p) = place() else { return };
    let before = p.made_of("a");
    for format in ["raw", "qcow2", "vmdk-stream", "ova"] {
        for more in [&[][..], &["--compress", "gzip"]] {
            let mut image = p.make("box", "b", &["-q", "--format", format]);
            image.args(more);
            let mut sh = Command::new("bash");
            // In blocks of 1,024 bytes.
            sh.args(["-c", "ulimit -f 1500; exec \"$@\"", "bash"]);
            sh.arg(image.get_program()).args(image.get_args());
            let words = ["File too large", "ulimit -f"];
            fails(sh.current_dir(&p.dir), 1, &words);
            assert_eq!(common::sums(&p.out), before, "{format} {more:?}");
        }
    }
}

#[test]
fn nobody_reads_what_is_printed() {
    let Some(p) = place() else { return };
    let image = p.make("box", "a", &["-q", "--format", FORMATS]);
    let mut sh = Command::new("bash");
    sh.args(["-c", "\"$@\" | true; exit ${PIPESTATUS[0]}", "bash"]);
    sh.arg(image.get_program()).args(image.get_args());
    let out = sh.current_dir(&p.dir).output().unwrap();
    assert_eq!(out.status.code(), Some(128 + 13), "{}", said(&out));
    assert_eq!(said(&out), "");
    assert!(p.verifies("out"));
    let mut image = p.make("box", "b", &["-q", "--format", FORMATS]);
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let out = image.stdout(full.into_parts().0).output().unwrap();
    assert_eq!(out.status.code(), Some(1), "{}", said(&out));
    assert!(p.verifies("out"));
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
    let last = [
        "SHA256SUMS",
        "box.img",
        "box.manifest.json",
        "box.spdx.json",
    ];
    assert_eq!(names(&p.out), last);
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
