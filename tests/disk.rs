//! A whole disk with unusual files in its root file system, checked with sfdisk, sgdisk,
//! e2fsck, fsck.fat, GNU tar and the Linux kernel.

mod compare;
mod entries;
mod repeated;

use compare::*;
use entries::*;

use crate::common::{self, Entry, Kind, Mounted, NOW, dir, entry, file, link, pattern};
use camino::{Utf8Path, Utf8PathBuf};
use docker_to_linux::bootloader::files::{From, Loaders};
use docker_to_linux::fs::ext4;
use docker_to_linux::model::size::{MIB, Size};
use docker_to_linux::model::{Arch, BootMode, TableKind};
use docker_to_linux::plan::{Partition, Plan, Role, Table};
use docker_to_linux::recipe::Recipe;
use docker_to_linux::rootfs::{Content, Kind as NodeKind, Meta, Node, Tree};
use docker_to_linux::tool::Tool;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

/// An image with the tar that it was made from.
struct Made {
    _temp: tempfile::TempDir,
    dir: Utf8PathBuf,
    tar: Utf8PathBuf,
    image: Utf8PathBuf,
    loaders: Loaders,
    plan: Plan,
}

/// Makes an image of a tar that `write` writes.
fn make(boot: BootMode, table: Option<TableKind>, write: &dyn Fn(&Utf8Path)) -> Option<Made> {
    let (temp, dir) = common::temp();
    let missing = From::Host.missing(boot, Arch::Amd64);
    if !missing.is_empty() {
        return common::skipped(&format!("boot loader files are not installed: {missing:?}"));
    }
    let loaders = From::Host.load(boot, Arch::Amd64).unwrap();
    let tar = dir.join("rootfs.tar");
    write(&tar);
    let mut recipe = Recipe {
        boot,
        table,
        ..Recipe::default()
    };
    recipe.root.free = Size(16 * MIB);
    let built = common::image_of(&tar, recipe, &dir)?;
    Some(Made {
        _temp: temp,
        dir,
        tar,
        image: built.files[0].clone(),
        loaders,
        plan: built.plan,
    })
}

#[test]
fn bios() {
    check("bios", BootMode::Bios, None);
}

#[test]
fn bios_gpt() {
    check("bios_gpt", BootMode::Bios, Some(TableKind::Gpt));
}

#[test]
fn uefi() {
    check("uefi", BootMode::Uefi, None);
}

#[test]
fn hybrid() {
    check("hybrid", BootMode::Hybrid, None);
}

#[test]
fn hybrid_mbr() {
    check("hybrid_mbr", BootMode::Hybrid, Some(TableKind::Mbr));
}

fn check(test: &str, boot: BootMode, table: Option<TableKind>) {
    if common::passed_as_root(module_path!(), test) {
        return;
    }
    let Some(made) = make(boot, table, &|tar| common::tar_file(&odd(), tar)) else {
        return;
    };
    assert_eq!(
        fs_err::metadata(&made.image).unwrap().len(),
        made.plan.disk.size
    );
    partition_table(&made);
    boot_code(&made);
    esp(&made);
    free_is_free(&made);
    root_is_as_wanted(&made, &odd());
}

/// What the plan says of the free space is what e2fsck counts.
fn free_is_free(made: &Made) {
    let Some(mut e2fsck) = common::checker(Tool::E2fsck) else {
        return;
    };
    let root = made.plan.disk.root();
    let said = common::content(
        e2fsck
            .arg("-fn")
            .arg(format!("{}?offset={}", made.image, root.start)),
    );
    let mut parts = said.lines().flat_map(|line| line.split(','));
    let blocks = parts.find_map(|part| part.trim().strip_suffix(" blocks"));
    let (used, all) = blocks.and_then(|b| b.split_once('/')).unwrap();
    let number = |text: &str| text.parse::<u64>().unwrap();
    let free = (number(all) - number(used)) * 4096;
    assert_eq!(made.plan.root.free, free, "{said}");
    assert!(free >= 16 * MIB, "{said}");
}

/// So many inodes make the file system larger than its content needs.
#[test]
fn many_folders_leave_room() {
    let mut entries = common::machine();
    entries.extend((0..70_000).map(|n| dir(&format!("usr/lib/{n}"))));
    let made = make(BootMode::Uefi, None, &|tar| common::tar_file(&entries, tar));
    if let Some(made) = made {
        free_is_free(&made);
    }
}

/// What sfdisk and sgdisk read is what the plan says.
fn partition_table(made: &Made) {
    let gpt = matches!(made.plan.disk.table, Table::Gpt { .. });
    if let Some(mut sfdisk) = common::checker(Tool::Sfdisk) {
        let said = common::content(sfdisk.arg("--verify").arg(&made.image));
        assert!(said.contains("No errors detected."), "{said}");
        let mut sfdisk = common::checker(Tool::Sfdisk).unwrap();
        let said = common::content(sfdisk.arg("--json").arg(&made.image));
        let json: serde_json::Value = serde_json::from_str(&said).unwrap();
        let table = &json["partitiontable"];
        assert_eq!(table["label"], if gpt { "gpt" } else { "dos" });
        let id = match made.plan.disk.table {
            Table::Gpt { guid } => guid.to_string().to_uppercase(),
            Table::Mbr { signature } => format!("0x{signature:08x}"),
        };
        assert_eq!(table["id"], id.as_str());
        let found = table["partitions"].as_array().unwrap();
        assert_eq!(found.len(), made.plan.disk.partitions.len());
        for (p, found) in made.plan.disk.partitions.iter().zip(found) {
            partition(p, gpt, found);
        }
    }
    if gpt && let Some(mut sgdisk) = common::checker(Tool::Sgdisk) {
        let said = common::content(sgdisk.arg("-v").arg(&made.image));
        assert!(said.contains("No problems found."), "{said}");
        assert!(!said.contains("Warning"), "{said}");
    }
}

fn partition(p: &Partition, gpt: bool, found: &serde_json::Value) {
    assert_eq!(found["start"], p.start / 512);
    assert_eq!(found["size"], p.len / 512);
    if gpt {
        let upper = |id: uuid::Uuid| id.to_string().to_uppercase();
        assert_eq!(found["type"], upper(p.gpt_type).as_str());
        assert_eq!(found["uuid"], upper(p.guid).as_str());
        assert_eq!(found["name"], p.name.as_str());
        let attributes = found["attrs"].as_str().unwrap_or("");
        assert_eq!(attributes.contains("LegacyBIOSBootable"), p.bios_bootable);
    } else {
        assert_eq!(found["type"], format!("{:x}", p.mbr_type).as_str());
        assert_eq!(
            found["bootable"].as_bool().unwrap_or(false),
            p.bios_bootable
        );
    }
}

/// The boot code of syslinux is where a BIOS starts it, and nowhere else.
fn boot_code(made: &Made) {
    let mut sector = [0; 512];
    let image = File::open(&made.image).unwrap();
    image.read_exact_at(&mut sector, 0).unwrap();
    assert_eq!(sector[510..], [0x55, 0xAA]);
    let code: &[u8] = match (&made.loaders.bios, &made.plan.disk.table) {
        (None, _) => &[],
        (Some(bios), Table::Mbr { .. }) => &bios.mbr,
        (Some(bios), Table::Gpt { .. }) => &bios.gptmbr,
    };
    assert_eq!(&sector[..code.len()], code);
    assert!(sector[code.len()..440].iter().all(|b| *b == 0));
}

/// fsck.fat has nothing to say, and mtools read the kernel and the boot loader back.
fn esp(made: &Made) {
    let Some(partition) = made.plan.disk.esp() else {
        assert_eq!(made.plan.boot, BootMode::Bios);
        return;
    };
    let esp = cut(made, partition);
    if let Some(mut fsck) = common::checker(Tool::FsckFat) {
        let said = common::content(fsck.arg("-n").arg(&esp));
        assert_eq!(said.lines().count(), 2, "{said}");
    }
    let all = odd();
    let content = |path: &str| match &all.iter().find(|e| e.path == path).unwrap().kind {
        Kind::File(bytes) => bytes.clone(),
        _ => unreachable!(),
    };
    let boot = made.loaders.systemd_boot.as_ref().unwrap().to_vec();
    for (path, want) in [
        ("EFI/BOOT/BOOTX64.EFI", boot),
        ("test/6.1/linux", content("boot/vmlinuz-6.1")),
        ("test/6.1/initrd", content("boot/initrd.img-6.1")),
    ] {
        let Some(mut mcopy) = common::program("mcopy", "mtools") else {
            return;
        };
        let out = mcopy
            .arg("-i")
            .arg(&esp)
            .arg(format!("::/{path}"))
            .arg("-")
            .output()
            .unwrap();
        assert!(out.status.success(), "{path}: {}", common::said(&out));
        assert!(out.stdout == want, "{path} is another one on the ESP");
    }
}

/// Copies one partition out of the image, holes kept.
fn cut(made: &Made, partition: &Partition) -> Utf8PathBuf {
    let path = made.dir.join(match partition.role {
        Role::Esp => "esp.img",
        Role::Root => "root.img",
        Role::Volumes => "volumes.img",
    });
    let from = File::open(&made.image).unwrap();
    let to = File::create(&path).unwrap();
    to.set_len(partition.len).unwrap();
    let mut buf = vec![0; 1 << 16];
    let mut at = 0;
    while at < partition.len {
        let n = buf.len().min(usize::try_from(partition.len - at).unwrap());
        from.read_exact_at(&mut buf[..n], partition.start + at)
            .unwrap();
        if buf[..n].iter().any(|b| *b != 0) {
            to.write_all_at(&buf[..n], at).unwrap();
        }
        at += n as u64;
    }
    path
}

/// A size that is said to be enough is enough, and so is every larger one: also where the
/// journal grows, or a block group begins.
#[test]
fn every_size_from_the_smallest_on_fits() {
    for (files, mib) in [
        (1, 1),
        (1, 100),
        (9, 11),
        (1000, 0),
        (1, 114),
        (3, 39),
        (1, 950),
    ] {
        let mut tree = Tree::new(Meta::root(0o755, 0));
        for n in 0..files {
            // Nothing is read while a file system is laid out.
            let content = Content::Stored {
                store: 0,
                start: 0,
                len: mib * MIB + n % 3,
            };
            let node = Node::new(NodeKind::File(content), Meta::root(0o644, 0));
            tree.insert(format!("/d/{n}"), node).unwrap();
        }
        let need = ext4::Need::of(&tree, &[]);
        let smallest = need.smallest();
        for more in 0..60 {
            let size = smallest + more * MIB;
            let spec = ext4::Spec {
                size,
                uuid: uuid::Uuid::nil(),
                label: String::new(),
                epoch: 0,
                inodes: need.inodes_for(size),
                reserved_percent: 0,
                need,
            };
            let laid_out = ext4::layout(tree.clone(), &spec, &[]);
            assert!(
                laid_out.is_ok(),
                "{files} files of {mib} MiB in {} of at least {}: {laid_out:?}",
                Size(size),
                Size(smallest)
            );
        }
    }
}
