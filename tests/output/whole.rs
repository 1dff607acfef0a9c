//! All or nothing: two runs at once, kills, full disks, limits.

use super::*;

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
