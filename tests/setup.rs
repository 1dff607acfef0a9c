//! `setup`, with a fake container engine and a fake package manager.

use crate::common;
use camino::Utf8PathBuf;
use std::process::Command;

/// A host where QEMU is installed and docker runs, but what makes base images is missing.
struct Host {
    _temp: tempfile::TempDir,
    dir: Utf8PathBuf,
}

impl Host {
    /// `pull` is what docker does when it is to pull an image.
    fn new(pull: &str) -> Host {
        let (temp, dir) = common::temp();
        common::script(
            &dir.join("bin/docker"),
            &format!(
                "echo \"docker $*\" >>{dir}/log\n\
                 case $1 in version) echo 27.0 ;; pull) {pull} ;; *) exit 1 ;; esac\n"
            ),
        );
        for tool in ["qemu-system-x86_64", "qemu-img"] {
            common::script(&dir.join("bin").join(tool), "exit 0\n");
        }
        // apt-get is started through env or sudo. What it installs is there afterwards.
        let install = format!(
            "echo \"$*\" >>{dir}/log\n\
             case $* in *mmdebstrap*) : >{dir}/installed ;; esac\n\
             PATH=/usr/bin:/bin\n\
             [ ! -e {dir}/installed ] || for tool in mmdebstrap pip3; do\n\
             cp {dir}/bin/qemu-img {dir}/bin/$tool; done\n"
        );
        for program in ["env", "sudo"] {
            common::script(&dir.join("bin").join(program), &install);
        }
        Host { _temp: temp, dir }
    }

    /// All output, and the commands that ran.
    fn setup(&self, options: &[&str]) -> (bool, String, String) {
        let mut command: Command = common::xtask();
        command.arg("setup").args(options);
        command.env("PATH", self.dir.join("bin"));
        let out = command.output().unwrap();
        let log = fs_err::read_to_string(self.dir.join("log")).unwrap_or_default();
        (out.status.success(), common::said(&out), log)
    }
}

/// Whether this host has what the fake programs do not cover.
fn possible() -> bool {
    if !std::path::Path::new("/usr/bin/apt-get").exists() {
        return common::skipped::<()>("setup installs with apt only").is_some();
    }
    if docker_to_linux::vm::firmware::installed(docker_to_linux::model::Arch::Amd64).is_none() {
        return common::skipped::<()>("UEFI firmware is not installed").is_some();
    }
    true
}

#[test]
fn a_registry_that_answers_makes_bootstraps_needless() {
    if !possible() {
        return;
    }
    let host = Host::new("echo sha256:1");
    let (done, said, log) = host.setup(&[]);
    assert!(done, "{said}");
    // One base is enough to know.
    assert_eq!(log.matches("docker pull").count(), 1, "{log}");
    assert!(!log.contains("apt-get"), "{log}");
}

#[test]
fn without_a_registry_setup_installs_what_makes_base_images() {
    if !possible() {
        return;
    }
    let host = Host::new("echo no route to host >&2; exit 1");
    let (done, said, log) = host.setup(&[]);
    assert!(done, "{said}");
    let install = log.lines().find(|l| l.contains(" install ")).unwrap();
    for package in ["mmdebstrap", "python3-pip"] {
        assert!(install.contains(package), "{install}");
    }
    // Nothing of what only developers need.
    for package in ["skopeo", "g++", "bmap-tools", "mtools"] {
        assert!(!log.contains(package), "{log}");
    }
    assert!(said.contains("cannot be pulled"), "{said}");
}

#[test]
fn dev_has_what_only_ci_needs() {
    if !possible() {
        return;
    }
    let host = Host::new("exit 1");
    let (done, said, log) = host.setup(&["--print", "--dev"]);
    assert!(done, "{said}");
    for package in ["mmdebstrap", "skopeo", "g++", "mtools"] {
        assert!(said.contains(package), "{said}");
    }
    // Printing asks nothing and installs nothing.
    assert!(!log.contains("pull") && !log.contains("apt-get"), "{log}");
    let (done, said, _) = host.setup(&["--print"]);
    assert!(
        done && !said.contains("skopeo") && !said.contains("mmdebstrap"),
        "{said}"
    );
}
