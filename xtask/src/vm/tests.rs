//! Tests of what needs no QEMU; `tests/boot.rs` has the others.
#![allow(clippy::unwrap_used)]

mod firmware_files;

use super::accel::{self, Accel};
use super::firmware::{self, Files, Flags};
use super::transcript::Transcript;
use super::trouble::{BOOT, Cause, Failed, PANICS, SCREEN};
use super::{Console, DiskBus, Firmware, Forward, ImageFormat, Machine, Network, Screen};
use super::{login, qmp};
use crate::error::{Class, Report};
use crate::model::Arch;
use crate::printable::plain;
use camino::{Utf8Path, Utf8PathBuf};

fn pipes() -> Console {
    Console::Pipes {
        qmp: "/t/qmp".into(),
        screen: Some(Screen {
            port: "/t/port".into(),
            text: "/t/screen".into(),
        }),
    }
}

fn ovmf() -> Files {
    Files {
        code: "/fw/code.fd".into(),
        code_format: ImageFormat::Raw,
        vars: "/t/vars.fd".into(),
        vars_format: ImageFormat::Qcow2,
    }
}

/// One option a line, to read well.
fn lines(args: &[String]) -> String {
    let mut text = args.join(" ").replace(" -", "\n-");
    text.push('\n');
    text
}

#[test]
fn arguments_of_a_bios_test() {
    let machine = Machine::new(Arch::Amd64, Firmware::Bios);
    let args = machine
        .arguments(Utf8Path::new("a,b:c.img"), Accel::Kvm, None, &pipes())
        .unwrap();
    assert_eq!(
        lines(&args),
        "\
-no-user-config
-nodefaults
-machine q35
-accel kvm
-cpu host
-smp 2
-m 1024M
-display none
-drive if=none,id=disk0,format=raw,snapshot=on,file=./a,,b:c.img
-device virtio-blk-pci,drive=disk0,bootindex=0
-boot strict=on
-netdev user,id=net0
-device virtio-net-pci,netdev=net0,romfile=
-device virtio-rng-pci
-chardev stdio,id=serial0,signal=off
-serial chardev:serial0
-chardev file,id=screen,path=/t/screen
-serial chardev:screen
-fw_cfg name=etc/sercon-port,file=/t/port
-chardev socket,id=qmp,path=/t/qmp
-mon chardev=qmp,mode=control
-no-reboot
"
    );
}

#[test]
fn arguments_of_an_interactive_arm_machine() {
    let machine = Machine {
        disk: DiskBus::Scsi,
        format: ImageFormat::Qcow2,
        memory_mib: 512,
        cpus: 4,
        network: Network::User {
            forwards: vec![Forward {
                host: 2222,
                guest: 22,
            }],
            restricted: false,
        },
        snapshot: false,
        ..Machine::new(Arch::Arm64, Firmware::Uefi)
    };
    let args = machine
        .arguments(
            Utf8Path::new("/i/a.qcow2"),
            Accel::Hvf,
            Some(&ovmf()),
            &Console::Terminal,
        )
        .unwrap();
    assert_eq!(
        lines(&args),
        "\
-no-user-config
-nodefaults
-machine virt
-accel hvf
-cpu host
-smp 4
-m 512M
-display none
-drive if=pflash,unit=0,format=raw,readonly=on,file=/fw/code.fd
-drive if=pflash,unit=1,format=qcow2,file=/t/vars.fd
-drive if=none,id=disk0,format=qcow2,snapshot=off,file=/i/a.qcow2
-device virtio-scsi-pci,id=scsi0
-device scsi-hd,bus=scsi0.0,drive=disk0,bootindex=0
-boot strict=on
-netdev user,id=net0,hostfwd=tcp:127.0.0.1:2222-:22
-device virtio-net-pci,netdev=net0,romfile=
-device virtio-rng-pci
-serial mon:stdio
"
    );
}

/// What is booted for a test reaches nothing but QEMU's DHCP, and what leads in still does.
#[test]
fn a_network_without_a_way_out() {
    let forward = Forward {
        host: 2222,
        guest: 22,
    };
    let open = Network::User {
        forwards: vec![forward],
        restricted: false,
    };
    assert!(open.leads_out());
    let closed = open.clone().with_way_out(false);
    assert!(!closed.leads_out() && !Network::None.with_way_out(true).leads_out());
    assert_eq!(closed.clone().with_way_out(true), open);
    let machine = Machine {
        network: closed,
        ..Machine::new(Arch::Amd64, Firmware::Bios)
    };
    let args = machine
        .arguments(Utf8Path::new("/i"), Accel::Tcg, None, &pipes())
        .unwrap();
    let netdev = "user,id=net0,restrict=on,hostfwd=tcp:127.0.0.1:2222-:22";
    assert!(args.iter().any(|a| a == netdev), "{args:?}");
}

#[test]
fn every_bus_has_its_own_controller() {
    let devices = |arch, disk| {
        let machine = Machine {
            disk,
            network: Network::None,
            ..Machine::new(arch, Firmware::Uefi)
        };
        let args = machine
            .arguments(
                Utf8Path::new("/i"),
                Accel::Tcg,
                Some(&ovmf()),
                &Console::Terminal,
            )
            .unwrap();
        assert!(args.windows(2).any(|w| w[0] == "-nic" && w[1] == "none"));
        let machine = args.iter().position(|a| a == "-machine").unwrap();
        args.windows(2)
            .filter(|w| w[0] == "-device" && w[1] != "virtio-rng-pci")
            .fold(args[machine + 1].clone(), |all, w| all + " " + &w[1])
    };
    assert_eq!(
        devices(Arch::Amd64, DiskBus::Ide),
        "pc ide-hd,bus=ide.0,drive=disk0,bootindex=0"
    );
    assert_eq!(
        devices(Arch::Amd64, DiskBus::Ahci),
        "q35 ide-hd,bus=ide.0,drive=disk0,bootindex=0"
    );
    assert_eq!(
        devices(Arch::Amd64, DiskBus::Nvme),
        "q35 nvme,serial=disk0,drive=disk0,bootindex=0"
    );
    assert_eq!(
        devices(Arch::Arm64, DiskBus::Scsi),
        "virt virtio-scsi-pci,id=scsi0 scsi-hd,bus=scsi0.0,drive=disk0,bootindex=0"
    );
}

#[test]
fn machines_that_cannot_be_are_mistakes() {
    let fine = Machine::new(Arch::Amd64, Firmware::Bios);
    let broken = [
        Machine::new(Arch::Arm64, Firmware::Bios),
        Machine {
            disk: DiskBus::Ide,
            ..Machine::new(Arch::Arm64, Firmware::Uefi)
        },
        Machine {
            disk: DiskBus::Ahci,
            ..Machine::new(Arch::Arm64, Firmware::Uefi)
        },
        Machine {
            memory_mib: 63,
            ..fine.clone()
        },
        Machine {
            cpus: 0,
            ..fine.clone()
        },
        Machine {
            cpus: 256,
            ..fine.clone()
        },
    ];
    assert!(fine.check().is_ok());
    for machine in broken {
        let report = machine.check().unwrap_err();
        assert_eq!(report.class, Class::Mistake);
        assert!(report.hint.is_some());
    }
}

#[test]
fn formats_follow_the_ending() {
    for (name, format) in [
        ("a.img", ImageFormat::Raw),
        ("a", ImageFormat::Raw),
        ("a.qcow2", ImageFormat::Qcow2),
        ("a.vdi", ImageFormat::Vdi),
        ("a.vhd", ImageFormat::Vpc),
        ("a.vmdk", ImageFormat::Vmdk),
    ] {
        assert_eq!(ImageFormat::of(Utf8Path::new(name)), format);
    }
}

#[test]
fn accelerators_have_names() {
    assert_eq!(accel::parse("kvm").unwrap(), Accel::Kvm);
    assert_eq!(accel::parse("KVM").unwrap_err().class, Class::Mistake);
    assert_eq!(Accel::Tcg.argument(Arch::Arm64), "tcg,thread=multi");
    assert_eq!(Accel::Tcg.cpu(Arch::Amd64), "max,-erms,-fsrm");
}

#[test]
fn terminal_control_is_no_text() {
    for (raw, text) in [
        ("a\r\nb\r\r\nc", "a\nb\nc"),
        ("\x1b[0;1;31mFAILED\x1b[0m to", "FAILED to"),
        ("50%\r100%\r\n", "50%\n100%\n"),
        ("typo\x08\x08e\n", "tye\n"),
        ("aü\x08\x08\x08\x08b\n\x08c", "b\nc"),
        (
            "\x1b]0;title\x07a\x1b]0;title\x1b\\b\x1bP+q\x1b\\c\x1b(Bd",
            "abcd",
        ),
        // A menu, drawn line by line
        ("\x1b[2J\x1b[01;01Hone\x1b[02;01Htwo", "one\ntwo"),
        // bash puts its prompt at the start of the line
        ("\r\x1b[K\x1b[?2004hroot# \x07", "root# "),
        ("grün \u{2500}", "grün \u{2500}"),
        ("\x1b\x1b[1mx\0", "[1mx"),
    ] {
        assert_eq!(plain(raw), text, "{raw:?}");
    }
}

#[test]
fn a_transcript_finds_what_comes_first_whatever_the_pieces() {
    for size in [1, 2, 3, 7, 100] {
        let mut t = Transcript::default();
        for piece in b"\x1b[1mone\x1b[0m two\r\ntwo three\r\n".chunks(size) {
            t.push(piece);
        }
        assert_eq!(t.find(0, ["three", "two"]), Some((1, 4, 7)));
        assert_eq!(t.find(5, ["three", "two"]), Some((1, 8, 11)));
        assert_eq!(t.find(9, ["three", "two"]), Some((0, 12, 17)));
        assert_eq!(t.find(13, ["three", "two"]), None);
        // At one place the first of the list
        assert_eq!(t.find(0, ["tw", "two"]), Some((0, 4, 6)));
        assert_eq!(t.find(0, ["two", "tw"]), Some((0, 4, 7)));
        assert_eq!(t.line_at(9), "two three");
        assert_eq!(t.line_at(0), "one two");
        assert_eq!(t.tail(1), ["two three"]);
        assert_eq!(t.tail(9), ["one two", "two three"]);
        assert_eq!(t.between(4, 7), b"two");
        assert_eq!(t.end(), 18);
        t.push("\u{fffd}\u{fffd} \u{fffd}\r\n\r\n# ".as_bytes());
        assert_eq!(t.tail(2), ["two three", "#"]);
    }
}

#[test]
fn a_transcript_forgets_its_start_and_keeps_its_places() {
    let mut t = Transcript::default();
    let line = format!("{}\n", "x".repeat(1023));
    for _ in 0..20 << 10 {
        t.push(line.as_bytes());
    }
    t.push(b"the end");
    assert_eq!(t.end(), (20 << 20) + 7);
    assert_eq!(t.find(0, ["the end"]), Some((0, 20 << 20, (20 << 20) + 7)));
    assert_eq!(t.raw().len(), 4 << 20);
    assert!(t.raw().ends_with("x\nthe end"));
    assert_eq!(t.between(0, 10), b"");
    assert_eq!(t.between(20 << 20, u64::MAX), b"the end");
}

#[test]
fn troubles_are_texts_that_a_console_can_show() {
    for list in [BOOT, SCREEN, PANICS] {
        for (i, t) in list.iter().enumerate() {
            assert!(t.pattern.len() >= 9 && !t.pattern.contains('\n'));
            assert!(!t.cause.is_empty() && !t.cause.ends_with('.'));
            assert!(!t.hint.is_empty() && !t.hint.ends_with('.'));
            assert!(list[..i].iter().all(|other| other.pattern != t.pattern));
        }
    }
}

/// What real systems print when all is well, or nearly.
#[test]
fn a_healthy_boot_is_no_trouble() {
    let healthy = "\
[    0.000000] ACPI: BERT 0x000000007FFE2D1A 000030 (v01 BOCHS  BXPC     00000001 BXPC 00000001)
[    0.010000] Kernel command line: root=LABEL=root ro systemd.unit=multi-user.target panic=10
[    1.100000] pci 0000:00:02.0: Video device with shadowed ROM at [mem 0x000c0000-0x000dffff]
[    2.000000] EXT4-fs (vda2): mounted filesystem with ordered data mode. Quota mode: none.
Begin: Will now check root file system ... fsck from util-linux 2.38.1
root: clean, 26412/91392 files, 190321/362944 blocks
[  OK  ] Stopped target initrd-root-fs.target - Initrd Root File System.
[FAILED] Failed to start systemd-modules-load.service - Load Kernel Modules.
         Starting emergency.service-like names do no harm...
 * Starting busybox syslog ... [ ok ]
";
    let mut t = Transcript::default();
    t.push(healthy.as_bytes());
    let patterns = BOOT.iter().chain(PANICS).map(|t| t.pattern);
    assert_eq!(t.find(0, patterns), None);
}

#[test]
fn a_failure_reads_well() {
    let failed = Failed {
        cause: Cause::TimedOut { seconds: 9 },
        seconds: 9.5,
        accel: Accel::Tcg,
        tail: vec!["one".into(), "two".into()],
        transcript: String::new(),
    };
    assert_eq!(
        failed.cause.text("\"login:\""),
        "no \"login:\" appeared within 9 s"
    );
    assert_eq!(
        failed.to_string(),
        "its console ended with\n    | one\n    | two\n(end of the console)"
    );
    let silent = Failed {
        tail: Vec::new(),
        ..failed
    };
    assert_eq!(silent.to_string(), "its console printed nothing");
}

#[test]
fn qemu_tells_why_it_ended() {
    let line = r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}"#;
    assert_eq!(qmp::reason_in(line).as_deref(), Some("guest-shutdown"));
    assert_eq!(qmp::reason_in(r#"{"return": {}}"#), None);
    assert_eq!(qmp::reason_in("{"), None);
}

#[test]
fn commands_survive_a_serial_line() {
    assert_eq!(login::escape("ls -l /a_b.c"), "ls -l /a_b.c");
    assert_eq!(
        login::escape("a\t'b'\n!é\\"),
        r"a\0011\0047b\0047\0012\0041\0303\0251\0134"
    );
}
