//! Power cuts: a file system is recovered from what is on the disk when it is in use.

use super::e2fsprogs::{Set, clean};
use super::model::{self, What, node};
use crate::common::{self, Mounted};
use docker_to_linux::fs::ext4::writer::Options;
use docker_to_linux::tool::Tool;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// Options with which a journal is used in a different way.
///
/// Not with `fast_commit`: Linux 6.18 and e2fsck 1.47.0 often fail to replay fast commits of what is
/// done here, also on a file system of mke2fs.
pub const WAYS: [Set; 3] = [
    ("default", |_| {}),
    ("blocks of 1 KiB, sparse_super2, inline_data", |o| {
        o.block_size = 1024;
        o.features.sparse_super2 = true;
        o.features.inline_data = true;
    }),
    ("64bit, meta_bg, orphan_file", |o| {
        o.features.bits64 = true;
        (o.features.meta_bg, o.grow_to) = (true, 0);
        o.features.orphan_file = true;
    }),
];

/// Writes a file system of 64 MiB with some files into `image`. Returns its size.
pub fn fresh(image: &Path, set: fn(&mut Options)) -> u64 {
    let mut options = model::options(64);
    set(&mut options);
    let size = options.size;
    let mut nodes = model::small();
    nodes.push(node(0, "kept", What::File(common::pattern(3, 900_000))));
    let (volume, _) = model::lay_out(options, &nodes).unwrap();
    model::write(&volume, &nodes, size, image);
    size
}

/// The file system needs its journal; e2fsck replays it, and finds nothing wrong then or later.
pub fn recovers(image: &Path, what: &str) {
    let mut dumpe2fs = Command::new("dumpe2fs");
    let said = common::content(dumpe2fs.arg("-h").arg(image));
    assert!(said.contains("needs_recovery"), "{what}: {said}");
    let Some(mut e2fsck) = common::checker(Tool::E2fsck) else {
        return;
    };
    let out = e2fsck.arg("-fp").arg(image).output().unwrap();
    let said = common::said(&out);
    // 0: no errors, 1: errors were corrected. What it corrects by itself are inodes that were
    // deleted while they were open.
    assert!(matches!(out.status.code(), Some(0 | 1)), "{what}: {said}");
    assert!(!said.contains("UNEXPECTED"), "{what}: {said}");
    clean(image, what);
}

/// The bytes of a file at one moment: what two readings found in every place was there in between.
fn moment(path: &Path) -> Vec<u8> {
    let mut before = fs::read(path).unwrap();
    for _ in 0..100 {
        let after = fs::read(path).unwrap();
        if before == after {
            return after;
        }
        before = after;
    }
    panic!("{path:?} is written all the time");
}

#[test]
#[ignore = "mounts file systems again and again, which takes half a minute and root"]
fn the_disk_of_a_mounted_file_system_is_recovered_at_every_moment() {
    for (what, set) in WAYS {
        let temp = tempfile::tempdir().unwrap();
        let (image, copy) = (temp.path().join("image"), temp.path().join("copy"));
        let size = fresh(&image, set);
        let Some(mounted) = Mounted::new(&image, 0, size, "rw,commit=1") else {
            return;
        };
        let at = mounted.path();
        let mut open = Vec::new();
        for round in 0..4_u32 {
            // In use, and gone.
            let orphan = at.join(format!("orphan {round}"));
            let mut file = fs::File::create(&orphan).unwrap();
            file.write_all(&[9; 300_000]).unwrap();
            fs::remove_file(&orphan).unwrap();
            open.push(file);
            for n in 0..60 {
                let name = at.join(format!("small/{round} {n}"));
                fs::write(name, common::pattern(n, n as usize * 97)).unwrap();
                if n % 3 == 0 {
                    fs::create_dir(at.join(format!("dir {round} {n}"))).unwrap();
                }
            }
            if round > 0 {
                for n in 0..30 {
                    fs::remove_file(at.join(format!("small/{} {n}", round - 1))).unwrap();
                }
            }
            // The one thing that a program may rely on.
            let mut file = fs::File::create(at.join(format!("synced {round}"))).unwrap();
            file.write_all(&common::pattern(round, 40_000)).unwrap();
            file.sync_all().unwrap();
            // Nothing more of this is written before the next commit, or everything is.
            for n in 0..200 {
                fs::write(at.join(format!("small/late {round} {n}")), [1; 70]).unwrap();
            }
            std::thread::sleep(std::time::Duration::from_millis(400 * u64::from(round)));
            fs::write(&copy, moment(&image)).unwrap();
            recovers(&copy, &format!("{what}, round {round}"));
            fs::write(&copy, moment(&image)).unwrap();
            replayed(&copy, size, round);
        }
        drop((open, mounted));
        clean(&image, what);
    }
}

/// The kernel replays the journal, and everything is there.
fn replayed(image: &Path, size: u64, rounds: u32) {
    let mounted = Mounted::new(image, 0, size, "rw").unwrap();
    let read = |name: String| fs::read(mounted.path().join(name)).unwrap();
    assert!(read("kept".into()) == common::pattern(3, 900_000));
    for n in 0..=rounds {
        let found = read(format!("synced {n}"));
        assert!(found == common::pattern(n, 40_000), "synced {n}");
    }
    drop(mounted);
    clean(image, "after the kernel's replay");
}
