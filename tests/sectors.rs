//! Disks with sectors of 4096 bytes: other programs read them through a loop device with such sectors,
//! and a machine boots from one and grows.
//!
//! The boot needs minutes and a container image that was already built, so it runs on demand:
//! `cargo xtask image alpine`, then
//! `cargo test --release --test integration -- --ignored sectors::`, as `cargo xtask ci` does.

use crate::common::machine::{self, Guest, PASSWORD, off};
use crate::common::{self, temp};
use camino::{Utf8Path, Utf8PathBuf};
use docker_to_linux::bootloader::files::From;
use docker_to_linux::model::{Arch, BootMode, SectorSize};
use docker_to_linux::plan::Plan;
use docker_to_linux::recipe::Recipe;
use docker_to_linux::tool::Tool;
use docker_to_linux::vm::{Firmware, ImageFormat, Machine, PROMPT, claims};
use std::process::Command;

/// A loop device with sectors of 4096 bytes; gone when dropped.
struct Loop(String);

impl Loop {
    fn new(image: &Utf8Path) -> Loop {
        let mut losetup = Command::new("losetup");
        losetup.args(["--sector-size", "4096", "--find", "--show", "--read-only"]);
        Loop(common::content(losetup.arg(image)).trim().to_owned())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["-d", &self.0]).status();
    }
}

/// What sfdisk and sgdisk say of the image's partition table, in JSON.
fn table(image: &Utf8Path) -> Option<serde_json::Value> {
    let device = Loop::new(image);
    let said = common::content(
        common::checker(Tool::Sfdisk)?
            .arg("--verify")
            .arg(&device.0),
    );
    assert!(said.contains("No errors detected."), "{said}");
    let said = common::content(common::checker(Tool::Sgdisk)?.arg("-v").arg(&device.0));
    assert!(said.contains("No problems found."), "{said}");
    assert!(!said.contains("Warning"), "{said}");
    let json = common::content(common::checker(Tool::Sfdisk)?.arg("--json").arg(&device.0));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    Some(json["partitiontable"].clone())
}

fn recipe() -> Recipe {
    Recipe {
        boot: BootMode::Uefi,
        sector_size: SectorSize::B4096,
        ..Recipe::default()
    }
}

/// The image of the smallest machine.
fn make(dir: &Utf8Path) -> Option<(Utf8PathBuf, Plan)> {
    let missing = From::Host.missing(BootMode::Uefi, Arch::Amd64);
    if !missing.is_empty() {
        return common::skipped(&format!("boot loader files are not installed: {missing:?}"));
    }
    let from = dir.join("rootfs.tar");
    common::tar_file(&common::machine(), &from);
    let built = common::image_of(&from, recipe(), dir)?;
    Some((built.files[0].clone(), built.plan))
}

#[test]
fn others_read_it() {
    if common::passed_as_root(module_path!(), "others_read_it") {
        return;
    }
    let (_keep, dir) = temp();
    let Some((image, plan)) = make(&dir) else {
        return;
    };
    // `boot` and `smoke` choose the machine from this.
    let claims = claims::of(&image, ImageFormat::Raw).unwrap();
    assert_eq!(claims.sector_size, 4096);
    assert_eq!(claims.arch, Some(Arch::Amd64));
    let root = plan.disk.root();
    assert_eq!(claims.root, Some((root.start, root.len)));
    assert_eq!(claims.firmwares(), [Firmware::Uefi]);
    if !common::is_root() {
        return common::skipped("a loop device takes root").unwrap_or(());
    }
    let Some(table) = table(&image) else { return };
    assert_eq!(table["label"], "gpt");
    assert_eq!(table["sectorsize"], 4096);
    // Sectors 0 and 1, and four of entries; the same at the end without the first.
    assert_eq!(table["firstlba"], 6);
    assert_eq!(table["lastlba"], plan.disk.size / 4096 - 6);
    for (p, found) in plan
        .disk
        .partitions
        .iter()
        .zip(table["partitions"].as_array().unwrap())
    {
        assert_eq!(found["start"], p.start / 4096);
        assert_eq!(found["size"], p.len / 4096);
    }
    // The ESP: its sectors are the disk's.
    let esp = plan.disk.esp().unwrap();
    let cut = dir.join("esp.img");
    let mut dd = Command::new("dd");
    dd.args(["bs=1M", "status=none", "conv=sparse"])
        .arg(format!("if={image}"))
        .arg(format!("of={cut}"))
        .arg(format!("skip={}", esp.start >> 20))
        .arg(format!("count={}", esp.len >> 20));
    common::content(&mut dd);
    if let Some(mut fsck) = common::checker(Tool::FsckFat) {
        let said = common::content(fsck.args(["-n", "-v"]).arg(&cut));
        assert!(said.contains("4096 bytes per logical sector"), "{said}");
        assert!(said.contains("32 bit entries"), "{said}");
    }
    if let Some(mut e2fsck) = common::checker(Tool::E2fsck) {
        let place = format!("{image}?offset={}", root.start);
        common::content(e2fsck.arg("-fn").arg(place));
    }
}

#[test]
fn what_has_no_such_sectors_is_refused() {
    let (_keep, dir) = temp();
    let recipe = dir.join("box");
    fs_err::create_dir(&recipe).unwrap();
    fs_err::write(recipe.join("Dockerfile"), "FROM scratch\n").unwrap();
    common::tar_file(&common::machine(), &dir.join("rootfs.tar"));
    let fails = |text: &str, options: &[&str], words: &[&str]| {
        fs_err::write(recipe.join("recipe.yaml"), text).unwrap();
        let out = common::xtask()
            .args(["plan", "./box", "--from", "rootfs.tar", "--arch", "amd64"])
            .args(options)
            .current_dir(&dir)
            .output()
            .unwrap();
        let said = common::said(&out);
        assert_eq!(out.status.code(), Some(2), "{said}");
        for word in words {
            assert!(said.contains(word), "{word}: {said}");
        }
    };
    let only_uefi = ["4096", "only with UEFI", "--boot uefi"];
    fails("sector-size: 4096\n", &[], &only_uefi);
    fails("", &["--sector-size", "4096", "--boot", "bios"], &only_uefi);
    let uefi = "boot: uefi\nsector-size: 4096\n";
    fails(uefi, &["--table", "mbr"], &["does not support an MBR"]);
    for format in ["vdi", "vmdk", "vmdk-stream", "ova", "vhd", "vhd-fixed"] {
        fails(
            uefi,
            &["--format", format],
            &["sectors of 4096 bytes", "qcow2"],
        );
    }
    fails("sector-size: 2048\n", &[], &["512 or 4096"]);
    fails("", &["--sector-size", "1k"], &["512 or 4096"]);
}

#[test]
#[ignore = "boots a machine, which takes minutes without KVM"]
fn alpine_boots_from_it_and_grows() {
    let (_keep, dir) = temp();
    let Some(container) = machine::container("alpine") else {
        return;
    };
    let recipe = Recipe {
        boot: BootMode::Uefi,
        sector_size: SectorSize::B4096,
        ..machine::recipe("alpine")
    };
    let login = machine::root_by_password(&dir);
    let disk = machine::make(&container, "alpine", recipe, login, &dir, |_| ());
    let grown = fs_err::OpenOptions::new()
        .write(true)
        .open(&disk.image)
        .unwrap();
    grown.set_len(4 << 30).unwrap();
    let machine = Machine {
        snapshot: false,
        // The table's backup is not at the end of the larger disk.
        sector_size: claims::of(&disk.image, ImageFormat::Raw)
            .unwrap()
            .sector_size,
        ..Machine::new(Arch::Amd64, Firmware::Uefi)
    };
    let (mut session, _) = machine::up(&machine, &disk.image, &[PROMPT]);
    {
        let mut guest = Guest::open(&mut session, "root", PASSWORD);
        let sectors = guest.run("cat /sys/block/vda/queue/logical_block_size");
        assert_eq!(sectors, "4096");
        let mib: u64 = guest
            .run("df -Pm / | awk 'NR == 2 { print $2 }'")
            .parse()
            .unwrap();
        assert!(mib > 3000, "{mib} MiB");
        guest.run("! test -e /usr/lib/docker-to-linux/grow-root");
        assert_eq!(guest.run("/usr/lib/docker-to-linux/update-boot"), "");
    }
    off(session);
    if !common::is_root() {
        return common::skipped("a loop device takes root").unwrap_or(());
    }
    let Some(table) = table(&disk.image) else {
        return;
    };
    let root = &table["partitions"][1];
    let end = root["start"].as_u64().unwrap() + root["size"].as_u64().unwrap();
    assert_eq!(end, ((4 << 30) - (1 << 20)) / 4096);
}
