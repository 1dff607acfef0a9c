//! A machine with a changed initrd boots the new one, with UEFI and BIOS: whole machines in QEMU,
//! from the recipes' container images.
//!
//! They need minutes and container images that were already built, so they run on demand:
//! `cargo xtask image debian alpine`, then
//! `cargo test --release --test integration -- --ignored upgrade::`.

use crate::common::machine::{self, Disk, Guest, expect, off};
use crate::common::{checker, content, temp};
use camino::Utf8Path;
use docker_to_linux::guest::RootLogin;
use docker_to_linux::model::{Arch, BootMode};
use docker_to_linux::recipe::Recipe;
use docker_to_linux::rootfs::Rootfs;
use docker_to_linux::tool::Tool;
use docker_to_linux::vm::{Firmware, Machine, PROMPT, Session};
use std::io::{Read, Seek, SeekFrom, Write};

/// What the new initrd says. What is typed into the guest never contains it in one piece.
const MARKER: &str = "the-new-initrd-runs";
/// Root's password, and what shadow(5) has for it.
const PASSWORD: &str = "marker";
const HASH: &str = "$6$dockertolinux$tTLx6Nx9/RqGo86.INpk2IFcr00yRxZ73vkK.C/b0rqHym30Dehw.fq8.LLDtOqvRt84pZ9hbsw6HTXxy7sie0";
const UPDATE: &str = "/usr/lib/docker-to-linux/update-boot";

/// A disk for BIOS and UEFI of a recipe's container image, into which root may log in.
struct Made(Disk);

fn make(name: &str, dir: &Utf8Path) -> Option<Made> {
    let container = machine::container(name)?;
    let recipe = Recipe {
        boot: BootMode::Hybrid,
        ..machine::recipe(name)
    };
    Some(Made(machine::make(
        &container,
        name,
        recipe,
        RootLogin::default(),
        dir,
        let_root_in,
    )))
}

/// Sets root's password: the recipes' machines allow no login.
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
    /// Boots until one of the patterns appears on the console, and returns which.
    fn start(&self, firmware: Firmware, patterns: &[&str]) -> (Session, usize) {
        let machine = Machine {
            snapshot: false,
            ..Machine::new(Arch::Amd64, firmware)
        };
        machine::up(&machine, &self.0.image, patterns)
    }

    /// Boots, logs in, runs `work`, and powers the machine off with its power button.
    fn session(&self, firmware: Firmware, work: impl FnOnce(&mut Guest<'_>)) {
        let (mut session, _) = self.start(firmware, &[PROMPT]);
        work(&mut Guest::open(&mut session, "root", PASSWORD));
        off(session);
    }

    /// Boots; the new initrd must say so before the prompt comes.
    fn runs_the_new_initrd(&self, firmware: Firmware) {
        let (mut session, first) = self.start(firmware, &[MARKER, PROMPT]);
        assert_eq!(first, 0, "{firmware}: the old initrd ran");
        expect(&mut session, &[PROMPT]);
        off(session);
    }

    /// What fsck.fat says of the ESP as the guest left it.
    fn check_esp(&self, dir: &Utf8Path) {
        let Some(mut fsck) = checker(Tool::FsckFat) else {
            return;
        };
        let mut disk = std::fs::File::open(&self.0.image).unwrap();
        let esp = self.0.esp.as_ref().unwrap();
        disk.seek(SeekFrom::Start(esp.start)).unwrap();
        let copy = dir.join("esp.img");
        let mut out = std::fs::File::create(&copy).unwrap();
        std::io::copy(&mut disk.take(esp.len), &mut out).unwrap();
        out.flush().unwrap();
        content(fsck.arg("-n").arg(&copy));
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
        // OpenRC found the tree of its services in its cache, and would make the same one.
        guest.run(
            "set -e; cd /run/openrc; cmp deptree /var/cache/rc/deptree; mv deptree /tmp/ours
             /usr/libexec/rc/bin/rc-depend -u >/dev/null; cmp /tmp/ours deptree",
        );
        a_second_kernel_comes_and_goes(guest);
        // A commit of apk also copies what mkinitfs did before.
        guest.run(&format!("echo >>/usr/share/mkinitfs/initramfs-init; mkinitfs; ! {stale}"));
        guest.run(&format!(
            "apk add --no-network --repositories-file /dev/null --virtual .commit 2>&1; {stale}"
        ));
        guest.run("apk del --no-network --repositories-file /dev/null .commit 2>&1");
        // For a manual change, the shutdown does it.
        guest.run(&format!(
            "sed -i '2i echo the-''new-initrd-runs' /usr/share/mkinitfs/initramfs-init; mkinitfs; ! {stale}"
        ));
    });
    made.check_esp(&dir);
    made.runs_the_new_initrd(Firmware::Uefi);
    made.runs_the_new_initrd(Firmware::Bios);
    made.check_esp(&dir);
}
