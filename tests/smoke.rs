//! `cargo xtask smoke`: each verdict, provoked on a real disk in a real machine.
//!
//! The quick ones need no container: firmware and boot loader fail within seconds, before any
//! kernel runs. Those that need a distribution's kernel, initrd and init need its container
//! image and minutes: `cargo xtask image alpine debian`, then
//! `cargo test --release --test integration -- --ignored smoke::`, as `cargo xtask ci` does.

mod loaders;
mod whole;

use crate::common::{Place, checker, content, machine, sha256, xtask};
use camino::{Utf8Path, Utf8PathBuf};
use docker_to_linux::smoke::root;
use docker_to_linux::tool::Tool;
use docker_to_linux::vm::{ImageFormat, claims};
use serde_json::Value;
use std::os::unix::fs::FileExt;
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What `smoke` said.
struct Said {
    code: Option<i32>,
    json: Value,
    stderr: String,
}

impl Said {
    /// The only outcome.
    #[track_caller]
    fn outcome(&self) -> &Value {
        assert_eq!(
            self.json.as_array().map(Vec::len),
            Some(1),
            "{}",
            self.stderr
        );
        &self.json[0]
    }

    /// Fails with this verdict, with exit code 1 and evidence.
    #[track_caller]
    fn fails(&self, verdict: &str) -> &Value {
        let outcome = self.outcome();
        assert_eq!(outcome["verdict"], verdict, "{}", self.stderr);
        assert_eq!(outcome["passed"], false);
        assert_eq!(self.code, Some(1), "{}", self.stderr);
        let line = self.stderr.lines().last().unwrap();
        assert!(
            line.starts_with("error: 1 of 1 boots failed: ") && line.contains(verdict),
            "{line}"
        );
        outcome
    }
}

/// An image, and the place where smoke leaves its evidence.
struct Disk {
    place: Place,
    image: Utf8PathBuf,
}

impl Disk {
    fn new(place: Place, image: &str) -> Option<Disk> {
        checker(Tool::QemuX86)?;
        let image = place.dir.join(image);
        Some(Disk { place, image })
    }

    /// A disk for BIOS and UEFI whose boot loaders are real, and whose kernel is not.
    fn without_kernel() -> Option<Disk> {
        let place = Place::new()?;
        content(&mut place.make("box", "good", &["--no-metadata"]));
        Disk::new(place, "out/box.img")
    }

    /// A disk with these bytes.
    fn of(bytes: &[u8]) -> Option<Disk> {
        let place = Place::bare();
        place.write("disk.img", bytes);
        Disk::new(place, "disk.img")
    }

    /// The image of a recipe based on the container image of one of the project's.
    fn of_recipe(base: &str, dockerfile: &str, yaml: &str) -> Option<Disk> {
        let (_, tag) = machine::container(base)?;
        let place = Place::bare();
        // The tests run in parallel, and the engine has one name for each recipe.
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let name = format!("smoked-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let arguments = "kernel-arguments: [\"rootfstype=ext4\", \"modules=sd-mod,ext4\"]\n";
        let yaml = format!("{}{yaml}", if base == "alpine" { arguments } else { "" });
        let recipe = place.recipe(&name, &yaml);
        let dockerfile = format!("FROM {tag}\n{dockerfile}");
        place.write(&format!("{name}/Dockerfile"), dockerfile);
        let mut make = xtask();
        make.args(["image", "--force", "--no-metadata", recipe.as_str()])
            .args(["--output", place.dir.join("target/images").as_str()]);
        content(&mut make);
        Disk::new(place, &format!("target/images/{name}.img"))
    }

    /// An Alpine that is as it should be.
    fn alpine() -> Option<Disk> {
        Disk::of_recipe("alpine", "", "")
    }

    fn file(&self) -> std::fs::File {
        let mut options = std::fs::OpenOptions::new();
        options.read(true).write(true).open(&self.image).unwrap()
    }

    /// Overwrites every place of the image that begins so.
    #[track_caller]
    fn overwrite(&self, what: &[u8], with: &[u8]) {
        let bytes = fs_err::read(&self.image).unwrap();
        let places: Vec<usize> = find(&bytes, what);
        assert!(
            !places.is_empty(),
            "{:?} is nowhere",
            String::from_utf8_lossy(what)
        );
        for place in places {
            self.file().write_all_at(with, place as u64).unwrap();
        }
    }

    /// Replaces a text in extlinux.conf with one of the same length.
    #[track_caller]
    fn configure(&self, old: &str, new: &str) {
        assert_eq!(old.len(), new.len());
        let bytes = fs_err::read(&self.image).unwrap();
        let conf = find(&bytes, b"# Written by docker-to-linux.\nSERIAL ")[0];
        let at = find(&bytes[conf..conf + 1024], old.as_bytes())[0];
        self.file()
            .write_all_at(new.as_bytes(), (conf + at) as u64)
            .unwrap();
    }

    /// The location of the root file system.
    fn root(&self) -> u64 {
        claims::of(&self.image, ImageFormat::Raw)
            .unwrap()
            .root
            .unwrap()
            .0
    }

    fn command(&self, what: &Utf8Path, more: &[&str]) -> std::process::Command {
        let mut command = xtask();
        command
            .args(["smoke", what.as_str(), "--json", "--evidence"])
            .arg(self.place.dir.join("evidence"))
            // What these tests break is mostly seen without booting; tests/broken.rs does that.
            .arg("--anyway")
            .args(more)
            .current_dir(&self.place.dir)
            .env_remove("GITHUB_STEP_SUMMARY");
        command
    }

    /// `smoke`, which leaves the image as it is and nothing of its copy.
    #[track_caller]
    fn smoke_of(&self, what: &Utf8Path, more: &[&str]) -> Said {
        let before = sha256(&self.image);
        let out = self.command(what, more).output().unwrap();
        let said = said(&out);
        assert_eq!(before, sha256(&self.image), "the image was written to");
        assert_eq!(self.copies(), [""; 0]);
        let Some(outcomes) = said.json.as_array() else {
            return said;
        };
        for outcome in outcomes {
            let dir = self.place.dir.join(outcome["evidence"].as_str().unwrap());
            for file in ["verdict.json", "qemu.log"] {
                assert!(dir.join(file).is_file(), "no {file}");
            }
            if outcome["verdict"] != "QEMU failed" {
                let png = fs_err::read(dir.join("screen.png")).unwrap();
                assert!(png.starts_with(b"\x89PNG\r\n"));
                assert!(dir.join("console.log").is_file());
            }
        }
        said
    }

    #[track_caller]
    fn smoke(&self, more: &[&str]) -> Said {
        self.smoke_of(&self.image, more)
    }

    /// Copies of the image that are still there.
    fn copies(&self) -> Vec<String> {
        let Ok(folders) = self.place.dir.join("evidence").read_dir_utf8() else {
            return Vec::new();
        };
        folders
            .flat_map(|d| d.unwrap().path().read_dir_utf8().unwrap())
            .map(|e| e.unwrap().file_name().to_owned())
            .filter(|name| name.ends_with(".partial"))
            .collect()
    }
}

fn said(out: &Output) -> Said {
    let stderr = String::from_utf8_lossy(&out.stderr).into_owned();
    eprintln!("{stderr}");
    Said {
        code: out.status.code(),
        json: serde_json::from_slice(&out.stdout).unwrap_or_default(),
        stderr,
    }
}

/// Every place where `what` begins.
fn find(bytes: &[u8], what: &[u8]) -> Vec<usize> {
    let first = what[0];
    (0..bytes.len())
        .filter(|&at| bytes[at] == first && bytes[at..].starts_with(what))
        .collect()
}

/// A disk that sleeps forever as soon as it is started: `hlt`, and a jump to it.
fn sleeper() -> Vec<u8> {
    let mut disk = vec![0; 1 << 20];
    disk[..3].copy_from_slice(&[0xf4, 0xeb, 0xfd]);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk
}

#[test]
fn a_guest_that_sleeps_for_ever() {
    let Some(disk) = Disk::of(&sleeper()) else {
        return;
    };
    let begun = Instant::now();
    let said = disk.smoke(&["--timeout", "4"]);
    let outcome = said.fails("timeout");
    assert_eq!(outcome["hung-in"], "loader", "{outcome}");
    assert!(begun.elapsed() >= Duration::from_secs(4));
}

/// GRUB writes into the memory of the screen, of which the BIOS knows nothing.
#[test]
fn a_prompt_that_only_the_screen_shows() {
    const CODE: [u8; 28] = [
        0x31, 0xc0, 0x8e, 0xd8, //       xor ax, ax; mov ds, ax
        0xb8, 0x00, 0xb8, 0x8e, 0xc0, // mov ax, 0xb800; mov es, ax
        0x31, 0xff, //                   xor di, di
        0xbe, 0x40, 0x7c, //             mov si, 0x7c40
        0xb4, 0x07, 0xfc, //             mov ah, 7; cld
        0xac, 0x84, 0xc0, 0x74, 0x03, // next: lodsb; test al, al; jz end
        0xab, 0xeb, 0xf8, //             stosw; jmp next
        0xf4, 0xeb, 0xfd, //             end: hlt; jmp end
    ];
    let mut bytes = sleeper();
    bytes[..CODE.len()].copy_from_slice(&CODE);
    let text = b"error: no such device. grub rescue> \0";
    bytes[0x40..0x40 + text.len()].copy_from_slice(text);
    let Some(disk) = Disk::of(&bytes) else {
        return;
    };
    let said = disk.smoke(&[]);
    let outcome = said.fails("boot loader failed");
    let detail = outcome["detail"].as_str().unwrap();
    assert!(
        detail.contains("GRUB found none of its modules"),
        "{detail}"
    );
    assert!(outcome["seconds"].as_f64().unwrap() < 60.0, "{outcome}");
}

/// Nothing will wake it: there is no need to wait for long.
#[test]
fn a_boot_sector_that_stops_the_processor() {
    let mut bytes = sleeper();
    // cli; hlt, and a jump to it.
    bytes[..4].copy_from_slice(&[0xfa, 0xf4, 0xeb, 0xfd]);
    let Some(disk) = Disk::of(&bytes) else {
        return;
    };
    let said = disk.smoke(&[]);
    let outcome = said.fails("hung");
    assert_eq!(outcome["hung-in"], "loader", "{outcome}");
    let detail = outcome["detail"].as_str().unwrap();
    for part in [
        "the boot sector was never left",
        "halted for ever at 0x7c02",
        "Booting from Hard Disk",
    ] {
        assert!(detail.contains(part), "{detail}");
    }
    assert!(outcome["seconds"].as_f64().unwrap() < 60.0, "{outcome}");
}

#[test]
#[ignore = "waits until a machine counts as dead, which takes half a minute without KVM"]
fn a_boot_sector_that_is_never_left() {
    // An endless loop, and the sleeper, which interrupts wake again and again.
    for (code, doing) in [
        (&[0xeb, 0xfe][..], "in a loop at 0x7c00"),
        (&[0xf4, 0xeb, 0xfd], "idle at 0x7c01"),
    ] {
        let mut bytes = sleeper();
        bytes[..code.len()].copy_from_slice(code);
        let Some(disk) = Disk::of(&bytes) else {
            return;
        };
        let said = disk.smoke(&[]);
        let outcome = said.fails("hung");
        let detail = outcome["detail"].as_str().unwrap();
        for part in ["the boot sector was never left", doing] {
            assert!(detail.contains(part), "{detail}");
        }
        assert!(outcome["seconds"].as_f64().unwrap() < 60.0, "{outcome}");
    }
}

#[test]
fn an_argument_that_qemu_does_not_know() {
    let Some(disk) = Disk::of(&sleeper()) else {
        return;
    };
    let said = disk.smoke(&["--qemu-arg=-device", "--qemu-arg=no-such-device"]);
    let outcome = said.fails("QEMU failed");
    assert!(
        outcome["detail"]
            .as_str()
            .unwrap()
            .contains("no-such-device"),
        "{outcome}"
    );
    let log = disk.place.dir.join("evidence/disk-bios-virtio/qemu.log");
    assert!(
        fs_err::read_to_string(log)
            .unwrap()
            .contains("no-such-device")
    );
}

#[test]
fn what_is_no_disk_is_a_mistake() {
    let Some(disk) = Disk::without_kernel() else {
        return;
    };
    let file = |name: &str, bytes: &[u8]| {
        let path = disk.place.dir.join(name);
        fs_err::write(&path, bytes).unwrap();
        path
    };
    let whole = fs_err::read(&disk.image).unwrap();
    for (path, word) in [
        (
            file("notes.txt", "a text\n".repeat(200).as_bytes()),
            "no boot signature",
        ),
        (file("short.img", b"a text\n"), "smaller than a sector"),
        (file("empty.img", b""), "it is empty"),
        (file("half.img", &whole[..whole.len() / 2]), "is truncated"),
        (
            file("nearly.img", &whole[..whole.len() - 512]),
            "is truncated",
        ),
        (file("zeros.img", &[0; 1 << 20]), "supports no firmware"),
        (
            file("text.qcow2", "a text\n".repeat(200).as_bytes()),
            "not a disk image",
        ),
        (disk.place.dir.join("missing.img"), "there is no image"),
        (
            disk.place.dir.join("evidence/x/missing"),
            "there is no image",
        ),
        (disk.place.dir.clone(), "there is no recipe"),
    ] {
        let out = disk.command(&path, &[]).output().unwrap();
        let stderr = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(2), "{path}: {stderr}");
        assert!(
            stderr.contains(word) && stderr.contains("; hint: "),
            "{path}: {stderr}"
        );
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn an_interrupt_ends_every_machine() {
    use rustix::process::{Pid, Signal, kill_process};
    let Some(disk) = Disk::of(&sleeper()) else {
        return;
    };
    let disks = ["--disk", "virtio,nvme", "--jobs", "2", "--timeout", "600"];
    let mut child = disk
        .command(&disk.image, &disks)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let machines = || -> usize {
        let lines = std::fs::read_dir("/proc").unwrap().filter_map(|e| {
            let line = std::fs::read(e.ok()?.path().join("cmdline")).ok()?;
            Some(String::from_utf8_lossy(&line).into_owned())
        });
        lines
            .filter(|l| l.contains("qemu-system") && l.contains(disk.place.dir.as_str()))
            .count()
    };
    let deadline = Instant::now() + Duration::from_secs(300);
    while machines() < 2 {
        assert!(Instant::now() < deadline, "two machines should run at once");
        std::thread::sleep(Duration::from_millis(50));
    }
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130));
    // They were killed; a busy host needs a moment to reap them.
    let deadline = Instant::now() + Duration::from_secs(30);
    while machines() > 0 {
        assert!(Instant::now() < deadline, "a machine outlived us");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(disk.copies(), [""; 0]);
}
