//! `cargo xtask boot`: the console of a machine on the user's own standard input and output.
//!
//! The test with a whole machine needs a minute and a container image that was already built:
//! `cargo xtask image alpine`, then
//! `cargo test --release --test integration -- --ignored boot_verb::`.

use crate::common::sector::{Then, boot_sector};
use crate::common::{checker, machine, said, sha256, temp, xtask};
use camino::{Utf8Path, Utf8PathBuf};
use docker_to_linux::guest::RootLogin;
use docker_to_linux::tool::Tool;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// A running `boot`, at whose keyboard the test sits.
struct Boot {
    child: Child,
    keyboard: ChildStdin,
    screen: Receiver<Vec<u8>>,
    /// What the screen showed that was not waited for yet.
    shown: String,
}

impl Boot {
    fn start(image: &Utf8Path, more: &[&str]) -> Boot {
        let mut child = xtask()
            .args(["boot", image.as_str(), "--memory", "512"])
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (tell, screen) = channel();
        let outputs: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().unwrap()),
            Box::new(child.stderr.take().unwrap()),
        ];
        for mut output in outputs {
            let tell = tell.clone();
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(n @ 1..) = output.read(&mut bytes) {
                    // There is no receiver any more when a test has failed.
                    let _ = tell.send(bytes[..n].to_vec());
                }
            });
        }
        Boot {
            keyboard: child.stdin.take().unwrap(),
            child,
            screen,
            shown: String::new(),
        }
    }

    /// Waits for a text; what was shown before it.
    #[track_caller]
    fn until(&mut self, text: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(400);
        loop {
            if let Some((before, after)) = self.shown.split_once(text) {
                let before = before.to_owned();
                self.shown = after.to_owned();
                return before;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.screen.recv_timeout(left) {
                Ok(bytes) => self.shown += &String::from_utf8_lossy(&bytes),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("no {text:?} in {:?}", self.shown)
                }
            }
        }
    }

    fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
    }

    /// Ctrl-A X; the program must end well.
    #[track_caller]
    fn ends(mut self) {
        self.types("\x01x");
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Boot {
    fn drop(&mut self) {
        // Its QEMU goes with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A disk that says this on its serial console, and waits.
fn disk(dir: &Utf8Path, text: &str) -> Utf8PathBuf {
    let image = dir.join("tiny.img");
    fs_err::write(&image, boot_sector(text, Then::Halt)).unwrap();
    image
}

#[test]
fn the_console_is_here_and_ctrl_a_x_ends_it() {
    if checker(Tool::QemuX86).is_none() {
        return;
    }
    let (_keep, dir) = temp();
    let mut boot = Boot::start(&disk(&dir, "tiny login: "), &["--firmware", "bios"]);
    boot.until("Ctrl-A X quits");
    boot.until("tiny login: ");
    boot.ends();
}

#[test]
fn a_login_that_cannot_be_made() {
    let (_keep, dir) = temp();
    let image = disk(&dir, "");
    let out = xtask()
        .args(["boot", image.as_str(), "--root-login"])
        .output()
        .unwrap();
    let text = said(&out);
    assert_eq!(out.status.code(), Some(2), "{text}");
    assert!(
        text.contains("--root-login") && text.contains("ext4") && text.contains("--ssh-key"),
        "{text}"
    );
    let out = xtask()
        .args(["boot", image.as_str(), "--root-login", "--persist"])
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(2), "{}", said(&out));
    assert_eq!(dir.read_dir_utf8().unwrap().count(), 1);
}

#[test]
#[ignore = "boots a machine, which takes a minute without KVM"]
fn alpine_lets_root_in_for_one_boot() {
    let (_keep, dir) = temp();
    let Some(container) = machine::container("alpine") else {
        return;
    };
    let recipe = machine::recipe("alpine");
    let image = machine::make(
        &container,
        "alpine",
        recipe,
        RootLogin::default(),
        &dir,
        |_| (),
    )
    .image;
    let before = sha256(&image);
    let mut boot = Boot::start(&image, &["--root-login"]);
    boot.until("machine only: ");
    let password = boot.until("\n").trim().to_owned();
    boot.until("alpine login: ");
    boot.types("root\n");
    boot.until("Password: ");
    boot.types(&format!("{password}\n"));
    boot.until("# ");
    boot.types("echo the-answer-is-$((6 * 7)); id -u >/root/was-here\n");
    boot.until("the-answer-is-42");
    boot.ends();
    assert_eq!(before, sha256(&image), "the image was written to");
    let left: Vec<_> = dir.read_dir_utf8().unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}
