//! Runs the same image with the engine and with `container-run`.

use crate::common::{self, content, skipped};
use camino::{Utf8Path, Utf8PathBuf};
use docker_to_linux::engine::{self, Engine, Kind};
use docker_to_linux::guest::{self, Settings};
use docker_to_linux::model::{Arch, Join};
use docker_to_linux::plan::{ContainerFacts, HOSTED_ROOT, MachineFacts, Outline};
use docker_to_linux::recipe::Recipe;
use docker_to_linux::rootfs::tar;
use docker_to_linux::tool::Tool;
use std::io::Read;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const RUN: &str = "/usr/lib/docker-to-linux/container-run";
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder with `container-run` and the images of a test.
pub(super) struct Place {
    _guard: tempfile::TempDir,
    dir: Utf8PathBuf,
    engine: Engine,
}

/// Numbers of images, whose names all tests of this process share.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// What a command printed, and how it ended.
pub(super) struct Ran {
    pub ours: String,
    pub engine: String,
    pub our_status: i32,
    pub engine_status: i32,
}

fn docker() -> Command {
    Command::new(Tool::Docker.require().unwrap())
}

impl Place {
    /// `None` (said aloud) where it cannot be. Run again as root if that is possible.
    pub(super) fn new(module: &str, test: &str) -> Option<Place> {
        if common::passed_as_root(module, test) {
            return None;
        }
        if !common::is_root() {
            return skipped("only root can start containers");
        }
        let engine = match Engine::find(Some(Kind::Docker)) {
            Ok(engine) => engine,
            Err(e) => return skipped(&e.to_string()),
        };
        let bases = ["debian:trixie-slim", "alpine:3.23"];
        if let Some(base) = bases.into_iter().find(|base| !engine.has_image(base)) {
            return skipped(&format!(
                "there is no image {base}: `cargo xtask image debian alpine` makes it"
            ));
        }
        let (guard, dir) = common::temp();
        let home = docker_to_linux::recipe::home();
        for (folder, tag) in [
            ("recipes/machine", "docker-to-linux/test-container-run"),
            ("tests/containers/probe", "docker-to-linux/test-probe"),
        ] {
            let mut build = docker();
            build.args([
                "build",
                "-q",
                "--force-rm",
                "--build-arg",
                "BASE=scratch",
                "-t",
                tag,
            ]);
            content(build.arg(home.join(folder)));
        }
        let place = Place {
            _guard: guard,
            dir,
            engine,
        };
        let made = place.unpack("docker-to-linux/test-container-run", "machine");
        fs_err::rename(made.join(&RUN[1..]), place.dir.join("container-run")).unwrap();
        Some(place)
    }

    /// Unpacks an image's files.
    fn unpack(&self, image: &str, name: &str) -> Utf8PathBuf {
        let to = self.dir.join(name);
        fs_err::create_dir(&to).unwrap();
        let mut stream = engine::export(&self.engine, image).unwrap();
        let mut unpack = Command::new("tar")
            .args(["-x", "--numeric-owner", "-p", "-C", to.as_str()])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::copy(&mut stream, &mut unpack.stdin.take().unwrap()).unwrap();
        assert!(unpack.wait().unwrap().success());
        to
    }

    /// The image of a Dockerfile that begins with `base` and the probe, as a hosted container.
    pub(super) fn container(&self, base: &str, text: &str) -> Container {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let tag = format!(
            "docker-to-linux/test-runtime-{}-{number}",
            std::process::id()
        );
        let text = format!(
            "FROM docker-to-linux/test-probe\nFROM {base}\nCOPY --from=0 /probe /probe\n{text}"
        );
        let context = self.dir.join(format!("context-{number}"));
        fs_err::create_dir(&context).unwrap();
        fs_err::write(context.join("Dockerfile"), text).unwrap();
        content(
            docker()
                .args(["build", "-q", "--force-rm", "-t", &tag])
                .arg(&context),
        );
        let root = self.unpack(&tag, &format!("root-{number}"));
        let scripts = self.dir.join(format!("scripts-{number}"));
        fs_err::create_dir(&scripts).unwrap();
        let group = Group::new(number);
        self.scripts(&tag, &root, &scripts, &group.0);
        Container {
            tag,
            scripts,
            group,
        }
    }

    /// The scripts of a machine that hosts the image, with the places of this test in them. Like a
    /// service manager, the first one starts the command in the control group `group`.
    fn scripts(&self, tag: &str, root: &Utf8Path, to: &Utf8Path, group: &Utf8Path) {
        let spool = self.dir.join("spool");
        fs_err::create_dir_all(&spool).unwrap();
        let entries = [
            common::dir("sbin"),
            common::file("sbin/openrc", "elf").mode(0o755),
            common::file("sbin/init", "elf").mode(0o755),
            common::dir("usr/lib/docker-to-linux"),
            common::file(&RUN[1..], "elf").mode(0o755),
        ];
        let mut bytes = Vec::new();
        common::write_tar(&entries, &mut bytes);
        let mut machine = tar::from_stream(std::io::Cursor::new(bytes), &spool).unwrap();
        let stream = engine::export(&self.engine, tag).unwrap();
        let container = tar::from_stream(stream, &spool).unwrap();
        machine.graft(HOSTED_ROOT, container).unwrap();
        let facts = ContainerFacts {
            config: Some(self.engine.config(tag).unwrap()),
            given: true,
            join: Some(Join::Hosted),
            privileged: false,
        };
        let outline = Outline::decide(&MachineFacts {
            name: "box",
            arch: Arch::Amd64,
            recipe: &Recipe::default(),
            digest: [0; 32],
            container: &facts,
        });
        let mut settings = Settings::new("box", Arch::Amd64);
        settings.container = outline.unwrap().container;
        guest::prepare(&mut machine, &settings).unwrap();
        for name in ["service", "enter", "healthcheck"] {
            let path = format!("/usr/lib/docker-to-linux/{name}");
            let Some(text) = machine.read_text(&path, 1 << 20).unwrap() else {
                continue;
            };
            let run = format!("{} --state {to}/state", self.dir.join("container-run"));
            let mut text = text.replace(RUN, &run).replace(HOSTED_ROOT, root.as_str());
            if name == "service" {
                text.insert_str(
                    text.find('\n').unwrap() + 1,
                    &format!("echo 0 >{group}/cgroup.procs\n"),
                );
            }
            common::script(&to.join(name), &text);
        }
    }

    /// Runs the image's command to its end, with the engine and without it.
    pub(super) fn both(&self, base: &str, text: &str, options: &[&str]) -> Ran {
        let container = self.container(base, text);
        let ours = container.run();
        let name = content(Command::new("uname").arg("-n"));
        let mut run = docker();
        run.args(["run", "--rm", "-h", name.trim()]).args(options);
        let engine = output(run.arg(&container.tag).stdin(Stdio::null()));
        let text = |out: &Output| common::said(out);
        use std::os::unix::process::ExitStatusExt;
        let status = |out: &Output| {
            let by = out.status.signal().map(|n| 128 + n);
            out.status.code().or(by).unwrap()
        };
        Ran {
            ours: text(&ours),
            engine: text(&engine),
            our_status: status(&ours),
            engine_status: status(&engine),
        }
    }
}

/// Both outputs are pipes, as a service's.
fn output(command: &mut Command) -> Output {
    command.output().unwrap()
}

/// A control group like that of a service, gone with all in it when this is dropped. Each container
/// has its own, as on a machine.
struct Group(Utf8PathBuf);

impl Group {
    fn new(number: u32) -> Group {
        let tops = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Utf8Path::new);
        let is_top = |top: &&Utf8Path| top.join("cgroup.procs").exists();
        // Hosts with the older kind may have no control groups of version 2 at all.
        let top = tops.into_iter().find(is_top);
        let top = top.expect("no mount of control groups of version 2");
        let name = format!("docker-to-linux-test-{}-{number}", std::process::id());
        let path = top.join(name);
        fs_err::create_dir(&path).unwrap();
        Group(path)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let mut all = Command::new("find");
        all.args([self.0.as_str(), "-depth", "-type", "d"]);
        // Only what a failed test left.
        let _ = all.args(["-exec", "rmdir", "{}", ";"]).output();
    }
}

/// An image as a hosted container.
pub(super) struct Container {
    tag: String,
    scripts: Utf8PathBuf,
    group: Group,
}

impl Container {
    fn command(&self, script: &str) -> Command {
        let mut command = Command::new(self.scripts.join(script));
        command.stdin(Stdio::null());
        command
    }

    /// Starts its service.
    pub(super) fn start(&self) -> Running {
        let child = self
            .command("service")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Running {
            child,
            said: String::new(),
        }
    }

    /// Waits until others may join.
    pub(super) fn wait(&self) {
        let begun = Instant::now();
        let main = self.scripts.join("state/main");
        // The file is empty until all is ready.
        while !fs_err::metadata(&main).is_ok_and(|file| file.len() > 0) {
            assert!(begun.elapsed() < PATIENCE, "it does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Runs a command in it.
    pub(super) fn enter(&self, words: &[&str]) -> Output {
        std::thread::sleep(Duration::from_millis(300));
        output(self.command("enter").args(words))
    }

    /// Runs its service to its end.
    pub(super) fn run(&self) -> Output {
        output(&mut self.command("service"))
    }

    /// The folder of its control group, while it runs.
    pub(super) fn group(&self) -> Utf8PathBuf {
        self.group.0.join("container")
    }

    pub(super) fn healthcheck(&self) -> Output {
        output(&mut self.command("healthcheck"))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = docker().args(["rmi", "-f", &self.tag]).output();
    }
}

/// A service that runs.
pub(super) struct Running {
    child: Child,
    said: String,
}

impl Running {
    /// Waits until it prints `text`.
    #[track_caller]
    pub(super) fn says(&mut self, text: &str) {
        let out = self.child.stdout.as_mut().unwrap();
        let mut byte = [0];
        while !self.said.contains(text) {
            assert_eq!(
                out.read(&mut byte).unwrap(),
                1,
                "no {text:?}: {}",
                self.said
            );
            self.said.push(byte[0].into());
        }
    }

    /// Sends it a signal by its number.
    pub(super) fn signal(&self, number: i32) {
        let pid = self.child.id().to_string();
        content(Command::new("/bin/kill").args([&format!("-{number}"), &pid]));
    }

    /// Its exit status, or 128 and its signal.
    #[track_caller]
    pub(super) fn ended(&mut self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().or(status.signal().map(|n| 128 + n)).unwrap();
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
