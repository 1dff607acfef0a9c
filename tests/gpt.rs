//! What sgdisk and sfdisk say about our GUID partition tables.

use crate::common::checker;
use docker_to_linux::disk::gpt;
use docker_to_linux::model::size::MIB;
use docker_to_linux::plan::{Disk, Partition, Role, Table};
use docker_to_linux::tool::Tool;
use std::os::unix::fs::FileExt;
use std::process::Command;
use uuid::{Uuid, uuid};

const ESP: Uuid = uuid!("c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
const ROOT: Uuid = uuid!("4f68bce3-e8cd-4db1-96e7-fbcaf984b709");
const GUID: Uuid = uuid!("00112233-4455-4677-8899-aabbccddeeff");

/// Standard output and standard error of a command that must succeed.
fn said(command: &mut Command) -> (String, String) {
    let out = command.output().unwrap();
    let stdout = String::from_utf8(out.stdout).unwrap();
    let stderr = String::from_utf8(out.stderr).unwrap();
    assert!(out.status.success(), "{command:?}: {stdout}{stderr}");
    (stdout, stderr)
}

/// A disk as the plan makes it: ESP first, root to the end of the last whole MiB.
fn plan(size: u64) -> Disk {
    let esp = 34 * MIB;
    let part = |role, number, start, len| Partition {
        role,
        number,
        start,
        len,
        mbr_type: 0,
        gpt_type: if role == Role::Esp { ESP } else { ROOT },
        guid: Uuid::from_u128(0x1122_3344_5566_4788_99aa_0000_0000_0000 + u128::from(number)),
        name: if role == Role::Esp { "esp" } else { "root" }.into(),
        bios_bootable: role == Role::Root,
    };
    Disk {
        size,
        sector_size: 512,
        table: Table::Gpt { guid: GUID },
        partitions: vec![
            part(Role::Esp, 1, MIB, esp),
            part(Role::Root, 2, MIB + esp, size - 2 * MIB - esp),
        ],
    }
}

fn sound(size: u64) {
    let disk = plan(size);
    let pieces = gpt::tables(&disk, &[0xFA; 440]).unwrap();
    assert_eq!(pieces, gpt::tables(&disk, &[0xFA; 440]).unwrap());
    let kept: usize = pieces.iter().map(|(_, bytes)| bytes.len()).sum();
    assert_eq!(kept, 67 * 512, "only the tables, whatever the disk's size");

    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("disk.img");
    let file = std::fs::File::create(&image).unwrap();
    file.set_len(size).unwrap();
    for (at, bytes) in &pieces {
        file.write_all_at(bytes, *at).unwrap();
    }

    if let Some(mut sgdisk) = checker(Tool::Sgdisk) {
        let (out, err) = said(sgdisk.arg("-v").arg(&image));
        assert!(out.contains("No problems found"), "{out}");
        for bad in ["Caution", "Warning", "Problem:", "Creating new"] {
            assert!(!out.contains(bad) && !err.contains(bad), "{out}{err}");
        }
        let mut sgdisk = checker(Tool::Sgdisk).unwrap();
        let (out, _) = said(sgdisk.args(["-A", "2:show"]).arg(&image));
        assert!(out.contains("2:2:1"), "attribute bit 2 of root: {out}");
    }
    if let Some(mut sfdisk) = checker(Tool::Sfdisk) {
        let (out, err) = said(sfdisk.arg("--verify").arg(&image));
        assert!(out.contains("No errors detected"), "{out}");
        assert_eq!(err, "");
        let mut sfdisk = checker(Tool::Sfdisk).unwrap();
        let (out, err) = said(sfdisk.arg("--json").arg(&image));
        assert_eq!(err, "");
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        let table = &json["partitiontable"];
        assert_eq!(table["label"], "gpt");
        assert_eq!(table["id"], GUID.to_string().to_uppercase());
        assert_eq!(table["firstlba"], 34);
        assert_eq!(table["lastlba"], size / 512 - 34);
        for (i, p) in disk.partitions.iter().enumerate() {
            let seen = &table["partitions"][i];
            assert_eq!(seen["start"], p.start / 512);
            assert_eq!(seen["size"], p.len / 512);
            assert_eq!(seen["type"], p.gpt_type.to_string().to_uppercase());
            assert_eq!(seen["uuid"], p.guid.to_string().to_uppercase());
            assert_eq!(seen["name"], *p.name);
        }
        assert_eq!(table["partitions"][1]["attrs"], "LegacyBIOSBootable");
        assert!(table["partitions"][0].get("attrs").is_none());
    }
}

#[test]
fn a_small_disk_is_sound() {
    sound(64 * MIB);
}

#[test]
fn a_disk_is_sound() {
    sound(3 << 30);
}

#[test]
fn a_disk_past_the_reach_of_an_mbr_is_sound() {
    sound(3 << 40);
}
