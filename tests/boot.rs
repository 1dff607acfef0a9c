//! Boots real machines in QEMU: boot sectors of a few bytes that say on the serial console
//! what Linux would print, and are as fast as the BIOS.

mod verdicts;

use crate::common;
use crate::common::sector::{Then, boot_sector};
use docker_to_linux::error::Report;
use docker_to_linux::model::Arch;
use docker_to_linux::tool::Tool;
use docker_to_linux::vm::accel::{self, Accel};
use docker_to_linux::vm::trouble::{BOOT, Cause, Failed};
use docker_to_linux::vm::{
    self, ATTEMPTS, DiskBus, Firmware, ImageFormat, Machine, Network, PROMPT, Session, Tee,
};
use std::io::Write;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Enough for a boot sector on any host.
const SOON: Duration = Duration::from_secs(60);

/// Whether QEMU is there; it is said aloud if not.
fn qemu() -> bool {
    common::checker(Tool::QemuX86).is_some()
}

/// An image with these bytes, and the folder that holds it.
fn image(bytes: &[u8]) -> (tempfile::TempDir, camino::Utf8PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    // A name that QEMU must not split.
    let path = camino::Utf8PathBuf::try_from(dir.path().join("a,b: c.img")).unwrap();
    std::fs::write(&path, bytes).unwrap();
    (dir, path)
}

fn machine() -> Machine {
    Machine {
        memory_mib: 64,
        cpus: 1,
        network: Network::None,
        ..Machine::new(Arch::Amd64, Firmware::Bios)
    }
}

fn start(bytes: &[u8]) -> (tempfile::TempDir, Session) {
    let (dir, path) = image(bytes);
    let session = Session::start(&machine(), &path, &Default::default(), BOOT, None).unwrap();
    (dir, session)
}

fn failed(report: &Report) -> &Failed {
    Failed::of(report).unwrap_or_else(|| panic!("{report:?}"))
}

/// What a machine said until its prompt, and whether it turned itself off when asked to.
struct Prompted {
    transcript: String,
    powered_off: bool,
}

/// Boots to the prompt and presses the power button. Every start's console goes to `copy`.
fn to_login(
    machine: &Machine,
    image: &camino::Utf8Path,
    copy: &Arc<Mutex<Vec<u8>>>,
) -> Result<Prompted, Report> {
    let attempt = || {
        let tee: Tee = Box::new(Shared(Arc::clone(copy)));
        let mut session = Session::start(machine, image, &Default::default(), BOOT, Some(tee))?;
        session.expect(&[PROMPT], Instant::now() + SOON)?;
        let powered_off = session.power_off(Instant::now() + Duration::from_millis(300))?;
        Ok(Prompted {
            powered_off,
            transcript: session.transcript(),
        })
    };
    let by_emulator = |done: &Result<_, Report>| done.as_ref().is_err_and(vm::is_emulators_fault);
    vm::retried(attempt, by_emulator).map(|(prompted, _)| prompted)
}

/// The error of a boot that does not come to its prompt.
fn no_login(machine: &Machine, image: &camino::Utf8Path) -> Report {
    match to_login(machine, image, &Arc::default()) {
        Err(report) => report,
        Ok(prompted) => panic!("it came to its prompt: {}", prompted.transcript),
    }
}

/// The error of a boot sector that says `text`, and how long it took.
fn failure(text: &str, then: Then) -> (Report, Duration) {
    let (_dir, path) = image(&boot_sector(text, then));
    let begun = Instant::now();
    let report = no_login(&machine(), &path);
    (report, begun.elapsed())
}

#[test]
fn a_prompt_is_found_on_every_disk_bus_and_the_rest_is_by_force() {
    if !qemu() {
        return;
    }
    for disk in [
        DiskBus::Virtio,
        DiskBus::Ahci,
        DiskBus::Nvme,
        DiskBus::Scsi,
        DiskBus::Ide,
    ] {
        let (_dir, path) = image(&boot_sector("\x1b[1mtiny\x1b[0m login: ", Then::Halt));
        let machine = Machine { disk, ..machine() };
        let copy = Arc::new(Mutex::new(Vec::new()));
        let verdict = to_login(&machine, &path, &copy).unwrap();
        // A boot sector knows nothing of ACPI.
        assert!(!verdict.powered_off);
        assert_eq!(verdict.transcript, "\x1b[1mtiny\x1b[0m login: ", "{disk:?}");
        assert_eq!(
            docker_to_linux::printable::plain(&verdict.transcript),
            "tiny login: "
        );
        assert_eq!(*copy.lock().unwrap(), verdict.transcript.as_bytes());
    }
}

struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_machine_that_is_dropped_is_gone() {
    if !qemu() {
        return;
    }
    let (dir, session) = start(&boot_sector("tiny login: ", Then::Halt));
    drop(session);
    #[cfg(target_os = "linux")]
    assert_eq!(
        processes_with(dir.path().to_str().unwrap()),
        Vec::<u32>::new()
    );
    drop(dir);
}

#[test]
fn what_is_sent_arrives() {
    if !qemu() {
        return;
    }
    let (_dir, mut session) = start(&boot_sector("ready", Then::Echo));
    let deadline = Instant::now() + SOON;
    session.expect(&["ready"], deadline).unwrap();
    session.send("first second").unwrap();
    let (which, text) = session.expect_text(&["second"], deadline).unwrap();
    assert_eq!((which, text.as_str()), (0, "first "));
}

#[test]
fn a_guest_that_never_stops_talking_is_no_problem() {
    if !qemu() {
        return;
    }
    let (_dir, mut session) = start(&boot_sector("and so on\r\n", Then::Repeat));
    let report = session
        .expect(&["login: "], Instant::now() + Duration::from_secs(2))
        .unwrap_err();
    assert_eq!(failed(&report).tail.len(), 20);
    assert!(session.transcript().len() <= 4 << 20);
}

#[test]
fn a_snapshot_leaves_the_image_alone_and_qemu_reads_every_format() {
    if !qemu() || Tool::QemuImg.find().is_none() {
        return;
    }
    let (dir, raw) = image(&boot_sector("tiny login: ", Then::Halt));
    for (format, name) in [
        (ImageFormat::Qcow2, "a.qcow2"),
        (ImageFormat::Vdi, "a.vdi"),
        (ImageFormat::Vpc, "a.vhd"),
        (ImageFormat::Vmdk, "a.vmdk"),
    ] {
        let path = camino::Utf8PathBuf::try_from(dir.path().join(name)).unwrap();
        let done = Command::new(Tool::QemuImg.require().unwrap())
            .args(["convert", "-f", "raw", "-O", format.name()])
            .args([&raw, &path])
            .status()
            .unwrap();
        assert!(done.success());
        assert_eq!(ImageFormat::of(&path), format);
        let before = std::fs::read(&path).unwrap();
        let machine = Machine {
            format,
            ..machine()
        };
        let mut session = Session::start(&machine, &path, &Default::default(), BOOT, None).unwrap();
        session.expect(&["login: "], Instant::now() + SOON).unwrap();
        drop(session);
        assert!(before == std::fs::read(&path).unwrap(), "{name}");
    }
}

#[test]
fn an_image_that_qemu_cannot_open_is_qemus_error() {
    if !qemu() {
        return;
    }
    let (_dir, path) = image(b"this is no qcow2");
    let machine = Machine {
        format: ImageFormat::Qcow2,
        ..machine()
    };
    let report = no_login(&machine, &path);
    assert!(
        report.message.contains("Image is not in qcow2 format"),
        "{report}"
    );
}

#[test]
fn the_accelerator_that_is_chosen_runs_a_guest() {
    if !qemu() || accel::host() != Some(Arch::Amd64) {
        return;
    }
    // Emulation always answers, given time.
    assert!(accel::probe(Accel::Tcg, Arch::Amd64, SOON).unwrap().is_ok());
    let begun = Instant::now();
    let choice = accel::choose(Arch::Amd64).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10));
    if choice.accel != Accel::Tcg && std::env::var_os(accel::VARIABLE).is_none() {
        assert!(
            accel::probe(choice.accel, Arch::Amd64, SOON)
                .unwrap()
                .is_ok()
        );
    }
}

/// The IDs of processes whose command line contains `text`.
#[cfg(target_os = "linux")]
fn processes_with(text: &str) -> Vec<u32> {
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|c| String::from_utf8_lossy(&c).contains(text))
        })
        .collect()
}

/// The part of the test below that is killed: this same test, in another process.
const VICTIM: &str = "DOCKER_TO_LINUX_TEST_VICTIM";

#[test]
#[cfg(target_os = "linux")]
fn qemu_ends_with_us_even_if_we_are_killed() {
    if !qemu() {
        return;
    }
    if let Some(path) = std::env::var_os(VICTIM) {
        let path = camino::Utf8PathBuf::try_from(std::path::PathBuf::from(path)).unwrap();
        let mut session =
            Session::start(&machine(), &path, &Default::default(), BOOT, None).unwrap();
        session.expect(&["login: "], Instant::now() + SOON).unwrap();
        std::fs::write(path.with_extension("up"), b"").unwrap();
        std::thread::sleep(SOON);
        return;
    }
    let (dir, path) = image(&boot_sector("tiny login: ", Then::Halt));
    let needle = dir.path().to_str().unwrap().to_owned();
    let name = "qemu_ends_with_us_even_if_we_are_killed";
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &common::test_name(module_path!(), name)])
        .env(VICTIM, &path)
        .env("TMPDIR", dir.path())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + SOON;
    while !path.with_extension("up").exists() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(50));
    }
    let ours = || {
        std::fs::read_dir(dir.path())
            .unwrap()
            .filter_map(|e| e.unwrap().file_name().into_string().ok())
            .filter(|name| name.starts_with("docker-to-linux-"))
            .count()
    };
    assert!(!processes_with(&needle).is_empty(), "QEMU runs");
    assert_eq!(ours(), 1);
    // SIGKILL: no code of the victim runs any more.
    victim.kill().unwrap();
    victim.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while !processes_with(&needle).is_empty() {
        assert!(Instant::now() < deadline, "QEMU outlived us");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(ours(), 0, "the files of the machine outlived us");
}
