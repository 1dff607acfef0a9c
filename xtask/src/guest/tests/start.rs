//! Time zone, locale, swap, growth, open consoles.

#![allow(clippy::panic)]

use super::*;

const INIT: (&str, &str) = ("/usr/lib/systemd/systemd", "elf");
const NET: (&str, &str) = ("/usr/lib/systemd/system/NetworkManager.service", "unit");

fn machine(
    files: &[(&str, &str)],
    change: impl FnOnce(&mut Settings),
) -> Result<(Rootfs, Vec<String>), Report> {
    let mut all = vec![INIT, NET];
    all.extend(files);
    let mut r = rootfs(&all, &[("/sbin/init", "../usr/lib/systemd/systemd")]);
    let mut s = settings();
    change(&mut s);
    let notes = prepare(&mut r, &s)?;
    Ok((r, notes))
}

#[test]
fn the_time_zone_must_be_known() {
    let zone = |name: &'static str| move |s: &mut Settings| s.timezone = Some(name.into());
    let data = [
        ("/usr/share/zoneinfo/Europe/Berlin", "TZif"),
        ("/usr/share/zoneinfo/Etc/UTC", "TZif"),
    ];
    let (r, _) = machine(&data, zone("Europe/Berlin")).unwrap();
    assert_eq!(
        target(&r, "/etc/localtime"),
        "/usr/share/zoneinfo/Europe/Berlin"
    );
    assert_eq!(text(&r, "/etc/timezone"), "Europe/Berlin\n");
    let e = machine(&data, zone("Europe/Berln")).unwrap_err();
    assert!(e.hint.unwrap().contains("IANA"));
    let e = machine(&[], zone("Europe/Berlin")).unwrap_err();
    assert!(e.hint.unwrap().contains("tzdata"));
    let (r, _) = machine(&[("/etc/localtime", "TZif")], zone("UTC")).unwrap();
    assert!(!r.tree.exists("/etc/localtime"));
}

#[test]
fn the_locale_must_be_known() {
    let locale = |name: &'static str| move |s: &mut Settings| s.locale = Some(name.into());
    let archive = [
        (
            "/usr/lib/locale/locale-archive",
            "..en_US.utf8\0..de_DE.utf8\0..",
        ),
        ("/etc/default/locale", "LANG=C\n"),
    ];
    let (r, _) = machine(&archive, locale("de_DE.UTF-8")).unwrap();
    assert_eq!(text(&r, "/etc/locale.conf"), "LANG=de_DE.UTF-8\n");
    assert_eq!(text(&r, "/etc/default/locale"), "LANG=de_DE.UTF-8\n");
    let e = machine(&archive, locale("fr_FR.UTF-8")).unwrap_err();
    assert!(e.hint.unwrap().contains("localedef -i fr_FR"));
    machine(&[], locale("C.UTF-8")).unwrap();
}

/// Read back by mkswap's and the kernel's own rules: include/linux/swap.h.
#[test]
fn the_swap_file_is_whole_and_used() {
    let (r, notes) = machine(&[], |s| {
        s.swap = Some(Size(1 << 20));
        s.image = Uuid::from_u128(9);
    })
    .unwrap();
    assert!(notes.is_empty(), "{notes:?}");
    let bytes = r.read("/swapfile", 2 << 20).unwrap().unwrap();
    assert_eq!(bytes.len(), 1 << 20);
    assert_eq!(&bytes[4086..4096], b"SWAPSPACE2");
    assert_eq!(bytes[1024..1032], [1, 0, 0, 0, 255, 0, 0, 0]);
    assert!(text(&r, "/etc/fstab").ends_with("/swapfile none swap defaults 0 0\n"));
    let node = r.tree.node(r.tree.lookup("/swapfile").unwrap());
    assert_eq!(node.meta.mode, 0o600);
    // The kernel takes no holes.
    let Kind::File(content) = &node.kind else {
        panic!()
    };
    assert!(!matches!(content, crate::rootfs::Content::Sparse { .. }));
}

#[test]
fn growth_takes_its_programs() {
    let tools = [("/usr/sbin/sfdisk", "elf"), ("/sbin/resize2fs", "elf")];
    let (r, notes) = machine(&tools, |s| s.grow = true).unwrap();
    assert!(notes.is_empty(), "{notes:?}");
    let wants = "/etc/systemd/system/sysinit.target.wants/grow-root.service";
    assert_eq!(target(&r, wants), "/etc/systemd/system/grow-root.service");
    let (r, notes) = machine(&tools[1..], |s| s.grow = true).unwrap();
    assert!(
        notes[0].contains("no sfdisk") && notes[0].contains("fdisk"),
        "{notes:?}"
    );
    assert!(!r.tree.exists(wants));
}

#[test]
fn a_console_without_a_login_is_told() {
    let open = [
        ("/bin/busybox", "elf"),
        ("/etc/init.d/dhcpcd", "x"),
        ("/sbin/openrc", "elf"),
    ];
    let said = |files: &[(&str, &str)]| {
        let mut r = rootfs(files, &[("/sbin/init", "/bin/busybox")]);
        prepare(&mut r, &settings()).unwrap().join("\n")
    };
    assert!(said(&open).contains("without a password"));
    let shell = (
        "/etc/inittab",
        "tty1::respawn:/sbin/getty 38400 tty1\nttyS1::askfirst:-/bin/sh\n",
    );
    assert!(said(&[open[0], open[1], open[2], shell]).contains("without a password"));
    let getty = ("/etc/inittab", "tty1::respawn:/sbin/getty 38400 tty1\n");
    assert_eq!(said(&[open[0], open[1], open[2], getty]), "");
}

#[test]
fn a_prompt_is_shown_by_a_program_that_is_there() {
    let with = |program: Option<&str>, init: &str| {
        let mut files = vec![
            ("/bin/busybox", "elf"),
            ("/etc/inittab", "::sysinit:/bin/true\n"),
        ];
        files.extend(program.map(|p| (p, "elf")));
        let mut r = rootfs(&files, &[("/sbin/init", init)]);
        let notes = prepare(&mut r, &settings()).unwrap();
        (text(&r, "/etc/inittab"), notes)
    };
    let line = |text: &str| {
        text.lines()
            .find(|l| l.contains("ttyS0"))
            .unwrap()
            .to_owned()
    };
    for (program, command) in [
        (Some("/sbin/agetty"), "/sbin/agetty"),
        (Some("/usr/bin/agetty"), "/usr/bin/agetty"),
        (Some("/bin/getty"), "/bin/getty"),
        (None, "/bin/busybox getty"),
    ] {
        let (inittab, notes) = with(program, "/bin/busybox");
        assert_eq!(
            line(&inittab),
            format!("ttyS0::respawn:{command} -L 115200 ttyS0 vt100")
        );
        assert!(
            !notes.iter().any(|n| n.contains("login prompt")),
            "{notes:?}"
        );
    }
    // An init that is not busybox, and no getty at all: the image's own line stays.
    let files = [
        ("/sbin/init", "elf"),
        ("/etc/inittab", "S0:2345:respawn:/opt/console ttyS0\n"),
    ];
    let mut r = rootfs(&files, &[]);
    let notes = prepare(&mut r, &settings()).unwrap();
    assert_eq!(
        text(&r, "/etc/inittab"),
        "S0:2345:respawn:/opt/console ttyS0\n"
    );
    let told = notes.iter().filter(|n| n.contains("login prompt")).count();
    assert_eq!(told, 1, "{notes:?}");
}
