//! The engine, and what it is asked to do.

use super::*;
use crate::common::engine::{Base, docker};

#[test]
fn no_engine() {
    let Some(p) = Place::new() else { return };
    let everywhere = ["/usr/local/sbin", "/usr/sbin", "/sbin"];
    let found = |name: &str| {
        everywhere
            .iter()
            .any(|d| Utf8Path::new(d).join(name).exists())
    };
    if found("docker") || found("podman") {
        return common::skipped("an engine lies in a folder that is always searched").unwrap_or(());
    }
    let empty = p.dir.join("empty");
    fs_err::create_dir(&empty).unwrap();
    fs_err::write(p.dir.join("box/Dockerfile"), "FROM scratch\n").unwrap();
    let without = |more: &[&str]| {
        let mut command = p.image(["-q", "./box"].iter().chain(more).copied());
        command.env("PATH", &empty);
        command
    };
    let words = ["docker", "podman", "cargo xtask setup", "--from"];
    p.command_fails(without(&[]), 1, &words);
    p.command_fails(without(&["--engine", "docker"]), 1, &["docker is needed"]);
    p.command_fails(without(&["--engine", "podman"]), 1, &["podman is needed"]);
    // None is needed for a tar.
    common::content(&mut without(&["--from", "good.tar"]));
    assert_eq!(names(&p.out), ["box.img"]);
}

#[test]
fn an_engine_that_does_not_run() {
    let Some(p) = Place::new() else { return };
    let Some(()) = docker() else { return };
    fs_err::write(p.dir.join("box/Dockerfile"), "FROM scratch\n").unwrap();
    let mut command = p.image(["-q", "./box", "--engine", "docker"]);
    command
        .env("DOCKER_HOST", "unix:///nonexistent.sock")
        .env_remove("DOCKER_CONTEXT");
    let words = ["docker is installed but does not answer", "start it"];
    p.command_fails(command, 1, &words);
}

#[test]
fn an_image_from_an_engine() {
    let Some(p) = Place::new() else { return };
    let Some(base) = Base::new("whole") else {
        return;
    };
    base.recipe(&p, "RUN echo made here >/etc/motd");
    let run = || {
        let child = p
            .image(["./box", "--engine", "docker"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = child.id();
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success(), "{}", common::said(&out));
        let image = String::from_utf8(out.stdout).unwrap();
        let sum = common::sha256(Utf8Path::new(image.trim()));
        fs_err::remove_file(image.trim()).unwrap();
        p.is_clean(pid);
        (sum, String::from_utf8(out.stderr).unwrap())
    };
    let (first, said) = run();
    assert!(said.contains("==> "), "{said}");
    // The engine's own output.
    assert!(said.contains("    Step "), "{said}");
    let (second, _) = run();
    assert_eq!(first, second, "an image of the same container image");
    base.is_clean();
}

#[test]
fn a_build_that_fails() {
    let Some(p) = Place::new() else { return };
    let Some(base) = Base::new("fails") else {
        return;
    };
    base.recipe(&p, "RUN echo boom; exit 7");
    let said = p.fails(
        &["./box", "--engine", "docker"],
        1,
        &["building ./box", "Dockerfile"],
    );
    assert!(
        said.contains("code: 7") || said.contains("code 7"),
        "{said}"
    );
    base.is_clean();
    // Without -q, the engine's own lines come first.
    let out = p.image(["./box", "--engine", "docker"]).output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(
        said.lines()
            .any(|l| l.starts_with("    ") && l.ends_with("boom")),
        "{said}"
    );
    let errors = said.lines().filter(|l| l.starts_with("error: ")).count();
    assert_eq!(errors, 1, "{said}");

    base.recipe(&p, "NONSENSE");
    p.fails(&["./box", "--engine", "docker"], 1, &["NONSENSE"]);
    fs_err::remove_file(p.dir.join("box/Dockerfile")).unwrap();
    p.fails(
        &["./box", "--engine", "docker"],
        2,
        &["no ./box/Dockerfile", "FROM"],
    );
    // A complete build of something that is not a machine.
    base.recipe(
        &p,
        "RUN exec 3</sbin/init && >/sbin/init && >/boot/vmlinuz-6.1",
    );
    p.fails(&["./box", "--engine", "docker"], 2, &["no kernel"]);
}

#[test]
fn a_base_that_cannot_be_had() {
    let Some(p) = Place::new() else { return };
    let Some(()) = docker() else { return };
    let name = format!(
        "registry.invalid/docker-to-linux-test/{}",
        std::process::id()
    );
    p.recipe("box", &format!("base: {name}\n"));
    let dockerfile = "ARG BASE\nFROM ${BASE}\n";
    fs_err::write(p.dir.join("box/Dockerfile"), dockerfile).unwrap();
    let run = ["./box", "--engine", "docker"];
    p.fails(&run, 1, &[&name, "cannot be pulled", "bootstrap"]);
    let bootstrap = |text: &str| common::script(&p.dir.join("box/bootstrap"), text);
    bootstrap("echo 'bootstrap: nothing goes today' >&2\nexit 4\n");
    p.fails(&run, 1, &["bootstrap: nothing goes today", "-v"]);
    bootstrap("head -c 5000 /dev/zero | tr '\\0' x\n");
    p.fails(&run, 1, &[&name]);
    assert_eq!(listed(&["images", "-q", &name]), [""; 0]);

    // A signal while it runs ends it too.
    let pid_file = p.dir.join("pid");
    bootstrap(&format!("echo $$ >{pid_file}\nexec sleep 60\n"));
    for signal in [Signal::INT, Signal::TERM] {
        let running = Running::new(p.image(run));
        let begun = Instant::now();
        let bootstrap = loop {
            let text = std::fs::read_to_string(&pid_file).unwrap_or_default();
            if let Ok(pid) = text.trim().parse::<i32>() {
                break pid;
            }
            assert!(begun.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(20));
        };
        fs_err::remove_file(&pid_file).unwrap();
        let pid = running.child.id();
        running.ends_by(signal);
        p.is_clean(pid);
        let begun = Instant::now();
        while std::fs::exists(format!("/proc/{bootstrap}/exe")).unwrap()
            && std::fs::read_link(format!("/proc/{bootstrap}/exe")).is_ok()
        {
            assert!(begun.elapsed() < Duration::from_secs(5), "it still runs");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(listed(&["images", "-q", &name]), [""; 0]);
    }
}

#[test]
fn a_signal_during_a_build() {
    let Some(p) = Place::new() else { return };
    let Some(base) = Base::new("signal") else {
        return;
    };
    base.recipe(&p, "RUN echo it sleeps now && exec sleep 60");
    for signal in [Signal::INT, Signal::TERM] {
        let mut running = Running::new(p.image(["./box", "--engine", "docker"]));
        // The output, not the instruction.
        running.until_said("it sleeps now\n");
        let pid = running.child.id();
        running.ends_by(signal);
        p.is_clean(pid);
        base.is_clean();
    }
}

/// While the engine makes a container and hands over its root file system: at any moment.
#[test]
fn a_signal_during_an_export() {
    let Some(p) = Place::new() else { return };
    let Some(base) = Base::new("export") else {
        return;
    };
    base.recipe(&p, "RUN :");
    let mut pids = Vec::new();
    let mut interrupted = 0;
    for n in 0..12 {
        let mut running = Running::new(p.image(["./box", "--engine", "docker"]));
        running.until_said("exporting\n");
        std::thread::sleep(Duration::from_millis(n * 15));
        pids.push(running.child.id());
        let (status, _) = running.ends_by_or_well(SIGNALS[n as usize % 3]);
        if status.success() {
            // It was faster than the signal.
            fs_err::remove_dir_all(&p.out).unwrap();
            fs_err::create_dir(&p.out).unwrap();
        } else {
            interrupted += 1;
            p.is_clean(pids[pids.len() - 1]);
        }
    }
    assert!(interrupted > 0, "no signal came before the end");
    // What the engine was asked for before the signal it may have done after it.
    std::thread::sleep(Duration::from_secs(1));
    pids.into_iter().for_each(containers_of);
    base.is_clean();
}

/// After SIGKILL, the next run or `clean` removes the leftovers.
#[test]
fn a_kill_during_an_export() {
    let Some(p) = Place::new() else { return };
    let Some(base) = Base::new("kill") else {
        return;
    };
    base.recipe(&p, "RUN :");
    let containers = |pid: u32| {
        let mut all = listed(&["ps", "-a", "--format", "{{.Names}}"]);
        all.retain(|name| {
            name.starts_with("docker-to-linux-") && name.contains(&format!("-{pid}-"))
        });
        all
    };
    // Kills a run while it has a container; returns its number.
    let killed = || {
        for _ in 0..20 {
            let mut run = p.image(["./box", "--engine", "docker"]);
            let mut child = run
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let pid = child.id();
            while containers(pid).is_empty() && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(5));
            }
            child.kill().unwrap();
            child.wait().unwrap();
            std::thread::sleep(Duration::from_secs(1));
            if !containers(pid).is_empty() {
                return pid;
            }
        }
        panic!("no run was killed while it had a container");
    };
    let by_the_next_run = killed();
    let out = p
        .image(["-q", "./box", "--engine", "docker"])
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", common::said(&out));
    assert_eq!(containers(by_the_next_run), [""; 0]);
    let by_clean = killed();
    let mut clean = common::xtask();
    let out = clean.arg("clean").current_dir(&p.dir).output().unwrap();
    assert!(out.status.success(), "{}", common::said(&out));
    assert_eq!(containers(by_clean), [""; 0]);
}
