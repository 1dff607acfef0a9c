//! Other people's programs, which check what ours wrote.

use docker_to_linux::tool::Tool;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// Says aloud that something was not checked. In CI everything must be.
pub fn skipped<T>(why: &str) -> Option<T> {
    assert!(std::env::var_os("CI").is_none(), "{why}");
    // A line from `eprintln` would be hidden if the test passes.
    let thread = std::thread::current();
    let test = thread.name().unwrap_or_default();
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: {why}");
    None
}

/// A checker, or `None` (said aloud) where it is not installed.
pub fn checker(tool: Tool) -> Option<Command> {
    match tool.require() {
        Ok(path) => Some(Command::new(path)),
        Err(report) => skipped(&report.to_string()),
    }
}

/// A checker that the program itself never names.
pub fn program(name: &str, package: &str) -> Option<Command> {
    match Command::new(name).arg("--version").output() {
        Ok(_) => Some(Command::new(name)),
        Err(_) => skipped(&format!("{name} (package {package}) is not installed")),
    }
}

/// The SPDX project's own validator, which `cargo xtask setup --dev` installs.
pub fn spdx_validator() -> Option<Command> {
    let checkers = docker_to_linux::host::checkers::spdx_dir();
    let mut command = Command::new("python3");
    command
        .args(["-m", "spdx_tools.spdx.clitools.pyspdxtools"])
        .env("PYTHONPATH", checkers);
    let mut asked = Command::new("python3");
    asked.args(["-c", "import spdx_tools"]);
    asked.env("PYTHONPATH", command.get_envs().next()?.1?);
    match asked.output() {
        Ok(out) if out.status.success() => Some(command),
        _ => skipped("spdx-tools is not installed: `cargo xtask setup --dev` does it"),
    }
}

/// Runs a checker that must be content; returns all that it said.
#[track_caller]
pub fn content(command: &mut Command) -> String {
    let out = command.env("LC_ALL", "C.UTF-8").output().unwrap();
    let said = said(&out);
    assert!(out.status.success(), "{command:?}: {}\n{said}", out.status);
    said
}

/// Both outputs of a command.
pub fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
}

/// Whether this process is root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// What `--exact` calls the test `name` of a module (`module_path!()`).
pub fn test_name(module: &str, name: &str) -> String {
    let (_program, module) = module.split_once("::").unwrap();
    format!("{module}::{name}")
}

/// Runs the test `name` of a module (`module_path!()`) once more as root with sudo, if this
/// process is not root and sudo asks for no password. `true`: that is done, and it passed; the
/// caller has nothing left to do. Only root may mount a file system to ask the kernel about it.
pub fn passed_as_root(module: &str, name: &str) -> bool {
    let may = || {
        let out = Command::new("sudo").args(["-n", "true"]).output();
        out.is_ok_and(|o| o.status.success())
    };
    if is_root() || !may() {
        return false;
    }
    let kept = ["CI", "PATH"].into_iter().filter_map(|name| {
        let value = std::env::var(name).ok()?;
        Some(format!("{name}={value}"))
    });
    let test = test_name(module, name);
    let out = Command::new("sudo")
        .args(["-n", "env"])
        .args(kept)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &test, "--nocapture"])
        .output()
        .unwrap();
    let said = said(&out);
    eprintln!("{said}");
    assert!(out.status.success(), "{test} failed as root");
    // An unknown test name is not an error for the test program.
    assert!(said.contains(" 1 passed;"), "there is no test {test}");
    true
}

/// A file system of an image, mounted; unmounted when dropped.
pub struct Mounted(tempfile::TempDir);

impl Mounted {
    /// Mounts `len` bytes of `image` from byte `start` on with a loop device. Returns `None`, with a
    /// message, if this process has no permission.
    pub fn new(image: &Path, start: u64, len: u64, options: &str) -> Option<Mounted> {
        if !is_root() {
            return skipped("mounting an image takes root: run the tests by sudo to have it done");
        }
        let dir = tempfile::tempdir().unwrap();
        let options = format!("loop,offset={start},sizelimit={len},{options}");
        content(
            Command::new("mount")
                .args(["-t", "ext4", "-o", &options])
                .arg(image)
                .arg(dir.path()),
        );
        Some(Mounted(dir))
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Another test may have started a program just now, which holds copies of our open files
        // until it runs.
        for _ in 0..50 {
            let out = Command::new("umount").arg(self.0.path()).output();
            if out.is_ok_and(|o| o.status.success()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        if !std::thread::panicking() {
            panic!("{:?} cannot be unmounted", self.0.path());
        }
    }
}

/// Runs a command with `input` on its standard input and returns its output.
pub fn with_input(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|s| {
        s.spawn(move || {
            // A program that ends without reading all of it has printed the reason.
            let _ = stdin.write_all(input);
        });
        child.wait_with_output().unwrap()
    })
}
