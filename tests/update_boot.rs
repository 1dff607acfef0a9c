//! The program that keeps a machine's boot loaders in sync with its kernels, run on a folder that
//! represents the machine. The result must be what the tool itself would write to the disk of such a
//! machine.

mod machine;
mod settings;
mod space;
mod unified;
mod versions;

use machine::Thing::{File, Link};
use machine::*;

use crate::common::{self, said, temp};
use camino::{Utf8Path, Utf8PathBuf};
use docker_to_linux::bootloader::config::{extlinux_conf, extlinux_links};
use docker_to_linux::bootloader::uki;
use docker_to_linux::fs::ext4;
use docker_to_linux::guest::{self, boot};
use docker_to_linux::model::{Arch, BootEntryKind, BootMode};
use docker_to_linux::plan::{
    self, ContainerFacts, EspContent, Facts, MachineFacts, Outline, Plan, kernels,
};
use docker_to_linux::recipe::Recipe;
use docker_to_linux::rootfs::{Content, Kind, Meta, Rootfs, Stores, Tree};
use docker_to_linux::tool::Tool;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::process::{Command, Output};

const NAME: &str = "box";
const MENU: &str = "/boot/extlinux/extlinux.conf";
/// Enough for everything that the tests put on an ESP, in KiB.
const ROOMY: u64 = 100_000;

/// A machine of Debian's kind with these kernels, the last of which its links lead to.
fn debian(versions: &'static [&'static str]) -> Machine {
    let mut things = vec![(
        "/etc/kernel/postinst.d/initramfs-tools",
        File(b"sh".to_vec()),
    )];
    let names: Vec<(String, Thing)> = versions
        .iter()
        .zip(1..)
        .flat_map(|(v, n)| {
            [
                (format!("/boot/vmlinuz-{v}"), kib(40, n)),
                (format!("/boot/initrd.img-{v}"), kib(100, n + 100)),
                (format!("/usr/lib/modules/{v}/modules.dep"), kib(1, n)),
            ]
        })
        .collect();
    things.extend(names.iter().map(|(p, t)| (p.as_str(), t.clone())));
    let mut machine = Machine::new(&things);
    if let Some(newest) = versions.last() {
        link(&mut machine, newest);
        // The image is made after the links are.
        for (path, bytes) in machine.wanted() {
            machine.put(&path, &bytes);
        }
    }
    machine
}

/// Lets the links of the machine lead to that kernel.
fn link(machine: &mut Machine, version: &str) {
    let leak = |text: String| -> &'static str { text.leak() };
    machine.add("/vmlinuz", Link(leak(format!("boot/vmlinuz-{version}"))));
    machine.add(
        "/initrd.img",
        Link(leak(format!("boot/initrd.img-{version}"))),
    );
}

fn install(machine: &mut Machine, version: &str, seed: u32) {
    machine.add(&format!("/boot/vmlinuz-{version}"), kib(40, seed));
    machine.add(&format!("/boot/initrd.img-{version}"), kib(100, seed + 100));
    link(machine, version);
}

fn uninstall(machine: &mut Machine, version: &str) {
    machine.remove(&format!("/boot/vmlinuz-{version}"));
    machine.remove(&format!("/boot/initrd.img-{version}"));
}

#[test]
fn nothing_changes_on_a_new_machine() {
    for shell in &shells() {
        debian(&["6.1.0-9-amd64"]).is_in_step(shell);
        debian(&["6.9.1+deb13-amd64", "6.12.10-amd64"]).is_in_step(shell);
        // A flavour as a name, and a second name of the kernel next to its modules.
        Machine::new(&[
            ("/boot/vmlinuz-virt", kib(40, 1)),
            ("/boot/initramfs-virt", kib(100, 2)),
            ("/boot/boot", Link(".")),
            ("/lib/modules/6.18.2-0-virt/modules.dep", kib(1, 3)),
            (
                "/lib/modules/6.18.2-0-virt/vmlinuz",
                Link("../../../boot/vmlinuz-virt"),
            ),
        ])
        .is_in_step(shell);
        // Kernels next to their modules, with /lib a link.
        Machine::new(&[
            (
                "/usr/lib/modules/6.11.4-301.fc41.x86_64/vmlinuz",
                kib(40, 1),
            ),
            (
                "/usr/lib/modules/6.11.4-301.fc41.x86_64/initramfs.img",
                kib(100, 2),
            ),
            ("/lib", Link("usr/lib")),
        ])
        .is_in_step(shell);
        // Without a version, and with another that has no initrd.
        Machine::new(&[
            ("/boot/vmlinuz-linux", kib(40, 1)),
            ("/boot/initramfs-linux.img", kib(100, 2)),
            ("/boot/bzImage", kib(40, 3)),
            ("/boot/vmlinuz.old", kib(40, 4)),
        ])
        .is_in_step(shell);
    }
}

/// What the plan passes over is passed over here, too, and names get the same links.
#[test]
fn files_that_are_no_kernels_and_odd_names() {
    let bytes = |head: &[u8]| File([head, &common::pattern(9, 5000)].concat());
    let mut arm = common::efi_program(b"x");
    arm[68..70].copy_from_slice(&[0x64, 0xaa]);
    for shell in &shells() {
        let mut machine = debian(&["6.1"]);
        for (name, thing) in [
            ("vmlinux-6.1", bytes(b"\x7fELF\x02\x01")),
            ("vmlinuz-6.3", bytes(b"\x1f\x8b\x08")),
            ("vmlinuz-6.4", File(arm.clone())),
            ("vmlinuz-6.5", File(b"Not found\n".to_vec())),
            ("vmlinuz-6.6.old", kib(40, 6)),
            ("vmlinuz-6.7\nLABEL x", kib(40, 7)),
            ("vmlinuz-6.8|x", kib(40, 8)),
            // These are taken.
            ("vmlinuz-6.2 my, own", kib(40, 9)),
            ("vmlinuz-6.9", File(common::efi_program(b"x"))),
        ] {
            machine.add(&format!("/boot/{name}"), thing);
            if let Some(version) = name.strip_prefix("vmlinuz-") {
                machine.add(&format!("/boot/initrd.img-{version}"), kib(100, 1));
                machine.add(
                    &format!("/usr/lib/modules/{version}/modules.dep"),
                    kib(1, 1),
                );
            }
        }
        machine.run(shell, ROOMY);
        machine.is_in_step(shell);
        let menu = machine.text(MENU);
        let labels: Vec<&str> = menu
            .lines()
            .filter_map(|l| l.strip_prefix("LABEL "))
            .collect();
        assert_eq!(labels, ["box-6.9", "box-6.2-my--own", "box-6.1"]);
        assert!(menu.contains("LINUX /boot/extlinux/box-6.2-my--own.linux\n"));
        // Its links go with it.
        machine.remove("/boot/vmlinuz-6.2 my, own");
        machine.run(shell, ROOMY);
        machine.is_in_step(shell);
    }
}

#[test]
fn a_new_initrd_is_copied() {
    for shell in &shells() {
        let mut machine = debian(&["6.1", "6.2"]);
        machine.add("/boot/initrd.img-6.1", kib(101, 50));
        // A run that was cut off left something.
        machine.put("/efi/box/6.1/initrd.new", b"half");
        machine.put("/efi/loader/entries/box-6.1.conf.new", b"half");
        let said = machine.run(shell, ROOMY);
        assert_eq!(said, "update-boot: copied 6.1 to /efi: initrd\n");
        machine.is_in_step(shell);
    }
}

#[test]
fn kernels_come_and_go() {
    for shell in &shells() {
        let mut machine = debian(&["6.9"]);
        install(&mut machine, "6.10", 10);
        machine.run(shell, ROOMY);
        machine.is_in_step(shell);
        assert!(
            machine
                .text("/efi/loader/loader.conf")
                .contains("default box-6.10.conf")
        );
        assert!(machine.text(MENU).contains("DEFAULT box-6.10\n"));
        assert!(
            machine
                .text(MENU)
                .contains("LABEL box-6.10\n  LINUX /vmlinuz\n")
        );
        uninstall(&mut machine, "6.9");
        let said = machine.run(shell, ROOMY);
        assert!(said.contains("removed 6.9 from /efi"), "{said}");
        machine.is_in_step(shell);
        // The newest goes as well: the older one is the default again.
        install(&mut machine, "6.8", 11);
        machine.run(shell, ROOMY);
        machine.is_in_step(shell);
        uninstall(&mut machine, "6.10");
        machine.run(shell, ROOMY);
        machine.is_in_step(shell);
    }
}

#[test]
fn without_a_kernel_everything_stays() {
    for shell in &shells() {
        let mut machine = debian(&["6.1"]);
        let before = machine.there();
        uninstall(&mut machine, "6.1");
        let said = machine.run(shell, ROOMY);
        assert!(said.contains("no kernel"), "{said}");
        machine.has_the_same(&before, shell);
    }
}

#[test]
fn half_an_initrd_is_not_taken() {
    for shell in &shells() {
        let mut machine = debian(&["6.1", "6.2"]);
        let mut packed = Vec::new();
        let mut gz = flate2::GzBuilder::new().write(&mut packed, flate2::Compression::fast());
        std::io::Write::write_all(&mut gz, &common::pattern(5, 50_000)).unwrap();
        gz.finish().unwrap();
        machine.add("/boot/initrd.img-6.2", File(packed.clone()));
        machine.run(shell, ROOMY);
        machine.is_in_step(shell);
        let before = machine.there();
        machine.add("/boot/initrd.img-6.2", File(packed[..30_000].to_vec()));
        let out = machine.run_on(shell, ROOMY);
        assert_eq!(out.status.code(), Some(1));
        assert!(said(&out).contains("/boot/initrd.img-6.2 is damaged"));
        machine.has_the_same(&before, shell);
    }
}

#[test]
fn shellcheck_finds_nothing() {
    let Some(mut shellcheck) = common::checker(Tool::Shellcheck) else {
        return;
    };
    let dir = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("src/guest/files");
    let files = dir.read_dir_utf8().unwrap().map(|f| f.unwrap().into_path());
    let scripts: Vec<_> = files.filter(|f| f.extension() == Some("sh")).collect();
    assert!(scripts.len() >= 3);
    common::content(shellcheck.args(["--shell=sh"]).args(scripts));
}
