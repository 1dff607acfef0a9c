//! What is recognized on the console.

use super::*;

#[test]
fn a_panic_ends_the_wait_at_once_and_names_its_line() {
    if !qemu() {
        return;
    }
    let (report, took) = failure(
        "one\r\n[    1.2] Kernel \x1b[31mpanic\x1b[0m - not syncing: no init\r\nlast words\r\n",
        Then::Halt,
    );
    assert!(took < Duration::from_secs(30), "{took:?}");
    let failed = failed(&report);
    assert!(
        matches!(&failed.cause, Cause::Said { line, .. }
            if line == "[    1.2] Kernel panic - not syncing: no init"),
        "{failed:?}"
    );
    let (line, _) = docker_to_linux::error::describe(&report.into());
    for part in [
        "with BIOS: the kernel panicked (\"[    1.2] Kernel panic - not syncing: no init\")",
        "| one |",
        "| last words (end of the console); hint: ",
    ] {
        assert!(line.contains(part), "{line}");
    }
}

#[test]
fn what_emulators_do_to_healthy_kernels_is_tried_again() {
    if !qemu() {
        return;
    }
    let text = "Kernel panic - not syncing: IO-APIC + timer doesn't work!\r\n";
    let (_dir, path) = image(&boot_sector(text, Then::Halt));
    let copy = Arc::new(Mutex::new(Vec::new()));
    let report = to_login(&machine(), &path, &copy).err().unwrap();
    let times = match failed(&report).accel {
        Accel::Tcg => ATTEMPTS as usize,
        _ => 1,
    };
    assert_eq!(*copy.lock().unwrap(), text.repeat(times).as_bytes());
}

#[test]
fn what_comes_first_wins() {
    if !qemu() {
        return;
    }
    let (_dir, mut session) = start(&boot_sector(
        "tiny login: \r\nKernel panic - not syncing: late",
        Then::Halt,
    ));
    let deadline = Instant::now() + SOON;
    assert_eq!(
        session.expect(&["nothing", "login: "], deadline).unwrap(),
        1
    );
    let report = session.expect(&["login: "], deadline).unwrap_err();
    assert!(report.message.contains("the kernel panicked"), "{report}");
}

#[test]
fn firmware_that_finds_nothing_is_recognised() {
    if !qemu() {
        return;
    }
    let (_dir, path) = image(&vec![0; 1 << 20]);
    let report = no_login(&machine(), &path);
    let failed = failed(&report);
    assert!(
        matches!(&failed.cause, Cause::Said { trouble, .. } if trouble.pattern == "Boot failed: "),
        "{failed:?}"
    );
    assert!(
        failed.tail.iter().any(|l| l.contains("No bootable device")),
        "{failed:?}"
    );
    assert_eq!(failed.transcript, "");
}

#[test]
fn a_reset_and_a_silent_guest_are_told_apart() {
    if !qemu() {
        return;
    }
    let (report, _) = failure("here we go\r\n", Then::Reset);
    assert!(
        matches!(&failed(&report).cause, Cause::Ended { reason: Some(r) } if r == "guest-reset"),
        "{report:?}"
    );
    let (_dir, mut session) = start(&boot_sector("", Then::Halt));
    let report = session
        .expect(&["login: "], Instant::now() + Duration::from_millis(500))
        .unwrap_err();
    assert!(
        matches!(failed(&report).cause, Cause::TimedOut { .. }),
        "{report:?}"
    );
}
