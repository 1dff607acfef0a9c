//! A machine whose initrd was changed boots with the new one, by UEFI and by BIOS: whole
//! machines in QEMU, made of the recipes' container images.
//!
//! They take minutes and container images that were built before, so they run on demand:
//! `cargo xtask image debian alpine`, then `cargo test --release --test upgrade -- --ignored`.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::panic)]

mod common;

use camino::{Utf8Path, Utf8PathBuf};
use common::{content, judge, skipped, temp};
use docker_to_linux::boot::{Firmware, Login, Machine, Session, trouble};
use docker_to_linux::bootloader::provide;
use docker_to_linux::engine::{self, Engine};
use docker_to_linux::format;
use docker_to_linux::image::{Assembly, Request};
use docker_to_linux::recipe::{self, Arch, BootMode, Format};
use docker_to_linux::rootfs::{Rootfs, tar};
use docker_to_linux::tool::Tool;
use std::io::{Read, Seek, SeekFrom, Write};
use std::time::{Duration, Instant};

/// What the new initrd says. What is typed into the guest never contains it in one piece.
const MARKER: &str = "the-new-initrd-runs";
/// Root's password, and what shadow(5) has for it.
const PASSWORD: &str = "marker";
const HASH: &str = "$6$dockertolinux$tTLx6Nx9/RqGo86.INpk2IFcr00yRxZ73vkK.C/b0rqHym30Dehw.fq8.LLDtOqvRt84pZ9hbsw6HTXxy7sie0";
const UPDATE: &str = "/usr/lib/docker-to-linux/update-boot";

/// A disk for BIOS and UEFI of a recipe's container image, and where its ESP lies.
struct Made {
    image: Utf8PathBuf,
    esp: (u64, u64),
}

fn make(name: &str, dir: &Utf8Path) -> Option<Made> {
    if let Err(e) = Tool::QemuX86.require() {
        return skipped(&e.to_string());
    }
    let engine = match Engine::find(None) {
        Ok(engine) => engine,
        Err(e) => return skipped(&e.to_string()),
    };
    let tag = engine::tag(name, Arch::Amd64);
    if !engine.has_image(&tag) {
        return skipped(&format!(
            "there is no container image {tag}: cargo xtask image {name} makes it"
        ));
    }
    let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let found = recipe::find(root.join("recipes").join(name).as_str()).unwrap();
    let loaders = provide::loaders(&provide::Wanted {
        boot: BootMode::Hybrid,
        arch: Arch::Amd64,
        dir: None,
        cache: &root.join("target/bootloader"),
        engine: Some(&engine),
        network: None,
        say: &|text| eprintln!("{text}"),
        show: &|_| (),
    })
    .unwrap();
    let stream = engine::export(&engine, &tag).unwrap();
    let mut rootfs = tar::from_stream(stream, dir).unwrap();
    rootfs.set_epoch(engine.created(&tag).unwrap());
    let_root_in(&mut rootfs);
    let request = Request {
        container: Default::default(),
        name: name.into(),
        arch: Arch::Amd64,
        recipe: recipe::Recipe {
            boot: BootMode::Hybrid,
            ..found.recipe
        },
        given: Default::default(),
    };
    let assembly = Assembly::new(rootfs, &request, &loaders).unwrap();
    let image = dir.join(format!("{name}.img"));
    let file = std::fs::File::create(&image).unwrap();
    let mut sink = format::open(
        Format::Raw,
        file,
        assembly.plan.disk.size,
        &format::Options::of(&assembly.plan),
    )
    .unwrap();
    assembly.write(&mut *sink, &|_| ()).unwrap();
    let disk = &assembly.plan.disk;
    let esp = disk.esp().unwrap();
    Some(Made {
        image,
        esp: (esp.start, esp.len),
    })
}

/// Gives root a password: the recipes' machines let nobody in.
fn let_root_in(rootfs: &mut Rootfs) {
    let old = rootfs.read_text("/etc/shadow", 1 << 20).unwrap().unwrap();
    let new: String = old
        .lines()
        .map(|line| match line.strip_prefix("root:") {
            Some(rest) => format!("root:{HASH}:{}\n", rest.split_once(':').unwrap().1),
            None => format!("{line}\n"),
        })
        .collect();
    let epoch = rootfs.epoch;
    rootfs
        .tree
        .write("/etc/shadow", new.into_bytes(), 0o640, epoch)
        .unwrap();
}

impl Made {
    fn start(&self, firmware: Firmware) -> Session {
        let machine = Machine {
            snapshot: false,
            ..Machine::new(Arch::Amd64, firmware)
        };
        let tee = std::env::var_os("SHOW_CONSOLE").map(|_| Box::new(std::io::stderr()) as _);
        Session::start(
            &machine,
            &self.image,
            &Default::default(),
            trouble::BOOT,
            tee,
        )
        .unwrap_or_else(|e| panic!("{e}"))
    }

    /// Boots and logs in; does `work`; turns the machine off by its power button.
    fn session(&self, firmware: Firmware, work: impl FnOnce(&mut Guest<'_>)) {
        let mut session = self.start(firmware);
        expect(&mut session, &["login: "]);
        let deadline = soon(&session);
        let login = Login::open(&mut session, "root", Some(PASSWORD), deadline)
            .unwrap_or_else(|e| panic!("{e}"));
        work(&mut Guest(login));
        off(session);
    }

    /// Boots; the new initrd must say so before the prompt comes.
    fn runs_the_new_initrd(&self, firmware: Firmware) {
        let mut session = self.start(firmware);
        let first = expect(&mut session, &[MARKER, "login: "]);
        assert_eq!(first, 0, "{firmware}: the old initrd ran");
        expect(&mut session, &["login: "]);
        off(session);
    }

    /// What fsck.fat says of the ESP as the guest left it.
    fn check_esp(&self, dir: &Utf8Path) {
        let Some(mut fsck) = judge(Tool::FsckFat) else {
            return;
        };
        let mut disk = std::fs::File::open(&self.image).unwrap();
        disk.seek(SeekFrom::Start(self.esp.0)).unwrap();
        let copy = dir.join("esp.img");
        let mut out = std::fs::File::create(&copy).unwrap();
        std::io::copy(&mut disk.take(self.esp.1), &mut out).unwrap();
        out.flush().unwrap();
        content(fsck.arg("-n").arg(&copy));
    }
}

fn soon(session: &Session) -> Instant {
    Instant::now() + Duration::from_secs(120) * session.accel().slowness()
}

fn expect(session: &mut Session, patterns: &[&str]) -> usize {
    let deadline = soon(session);
    session
        .expect(patterns, deadline)
        .unwrap_or_else(|e| panic!("{e}"))
}

fn off(mut session: Session) {
    let deadline = soon(&session);
    assert!(session.power_off(deadline).unwrap(), "does not turn off");
}

struct Guest<'a>(Login<'a>);

impl Guest<'_> {
    /// Runs a command that must succeed; returns what it said.
    #[track_caller]
    fn run(&mut self, command: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(900);
        let out = self.0.run(command, deadline).unwrap();
        eprintln!("# {command}\n{}", out.text);
        assert_eq!(out.status, 0, "{command}: {}", out.text);
        out.text
    }
}

/// What every machine must do before anything changed, and with a second kernel: here a copy of
/// the first one under a later version, put there and taken away as `add` and `remove` say.
fn a_second_kernel_comes_and_goes(guest: &mut Guest<'_>) {
    guest.run("ls /efi >/dev/null; grep ' /efi vfat ' /proc/self/mounts");
    // The image has it as the program would write it.
    assert_eq!(guest.run(UPDATE), "");
    guest.run("find /efi -type f; df -k /efi; cat /efi/loader/loader.conf");
}

#[test]
#[ignore = "boots three machines, which takes minutes without KVM"]
fn debian_boots_what_update_initramfs_made() {
    let (_keep, dir) = temp();
    let Some(made) = make("debian", &dir) else {
        return;
    };
    made.session(Firmware::Uefi, |guest| {
        a_second_kernel_comes_and_goes(guest);
        // As the package of a kernel does it: the files, the links, the hooks.
        let said = guest.run(
            "set -e; v=$(uname -r); n=99.1-$v
             cp /boot/vmlinuz-$v /boot/vmlinuz-$n; cp /boot/initrd.img-$v /boot/initrd.img-$n
             run-parts --report --exit-on-error --arg=$n --arg=/boot/vmlinuz-$n --regex=zz- /etc/kernel/postinst.d
             grep -H default /efi/loader/loader.conf; ls /efi/loader/entries; ls -l /efi/debian/*
             grep -E 'LABEL|DEFAULT|LINUX' /boot/extlinux/extlinux.conf",
        );
        assert!(said.contains("default debian-99.1-"), "{said}");
        assert_eq!(said.matches("LABEL ").count(), 2, "{said}");
        let said = guest.run(
            "set -e; n=99.1-$(uname -r); rm /boot/vmlinuz-$n /boot/initrd.img-$n
             run-parts --report --exit-on-error --arg=$n --arg=/boot/vmlinuz-$n --regex=zz- /etc/kernel/postrm.d
             grep -H default /efi/loader/loader.conf; ls /efi/loader/entries /efi/debian
             grep -E 'LABEL|DEFAULT|LINUX' /boot/extlinux/extlinux.conf",
        );
        assert!(said.contains("removed 99.1-"), "{said}");
        assert!(said.contains("LINUX /vmlinuz"), "{said}");
        guest.run(
            "set -e; f=/etc/initramfs-tools/scripts/init-top/marker
             printf '#!/bin/sh\\n[ \"$1\" != prereqs ] || exit 0\\necho the-%s\\n' new-initrd-runs >$f
             chmod 755 $f; update-initramfs -u 2>&1
             cmp /boot/initrd.img-$(uname -r) /efi/debian/$(uname -r)/initrd",
        );
    });
    made.check_esp(&dir);
    made.runs_the_new_initrd(Firmware::Uefi);
    made.runs_the_new_initrd(Firmware::Bios);
    made.check_esp(&dir);
}

#[test]
#[ignore = "boots three machines, which takes minutes without KVM"]
fn alpine_boots_what_mkinitfs_made() {
    let (_keep, dir) = temp();
    let Some(made) = make("alpine", &dir) else {
        return;
    };
    let stale = "cmp -s /boot/initramfs-virt /efi/alpine/$(uname -r)/initrd";
    made.session(Firmware::Uefi, |guest| {
        a_second_kernel_comes_and_goes(guest);
        // A commit of apk takes along what mkinitfs did before.
        guest.run(&format!("echo >>/usr/share/mkinitfs/initramfs-init; mkinitfs; ! {stale}"));
        guest.run(&format!(
            "apk add --no-network --repositories-file /dev/null --virtual .commit 2>&1; {stale}"
        ));
        guest.run("apk del --no-network --repositories-file /dev/null .commit 2>&1");
        // By hand, the shutdown does.
        guest.run(&format!(
            "sed -i '2i echo the-''new-initrd-runs' /usr/share/mkinitfs/initramfs-init; mkinitfs; ! {stale}"
        ));
    });
    made.check_esp(&dir);
    made.runs_the_new_initrd(Firmware::Uefi);
    made.runs_the_new_initrd(Firmware::Bios);
    made.check_esp(&dir);
}
