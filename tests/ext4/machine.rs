//! File systems in a machine: its power is cut, and they grow while they are mounted.
//!
//! `cargo xtask image alpine`, then
//! `cargo test --release --test integration -- --ignored ext4::machine::`.

use super::e2fsprogs::clean;
use super::model::{self, What, node};
use super::power::{WAYS, fresh, recovers};
use crate::common::machine::{self, Disk, Guest, PASSWORD};
use crate::common::{self, temp};
use camino::{Utf8Path, Utf8PathBuf};
use docker_to_linux::fs::ext4::writer::Options;
use docker_to_linux::model::Arch;
use docker_to_linux::vm::{Firmware, Machine, PROMPT, Session};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

/// An Alpine machine, and disks besides its own: `/dev/vdb` and so on.
struct Alpine {
    disk: Disk,
    machine: Machine,
}

impl Alpine {
    fn new(dir: &Utf8Path, disks: &[Utf8PathBuf]) -> Option<Alpine> {
        let container = machine::container("alpine")?;
        let login = machine::root_by_password(dir);
        let recipe = machine::recipe("alpine");
        let disk = machine::make(&container, "alpine", recipe, login, dir, |_| ());
        let extra = disks.iter().enumerate().flat_map(|(n, disk)| {
            [
                "-drive".to_owned(),
                format!("if=none,id=data{n},format=raw,file={disk}"),
                "-device".to_owned(),
                format!("virtio-blk-pci,drive=data{n}"),
            ]
        });
        let machine = Machine {
            snapshot: false,
            extra: extra.collect(),
            ..Machine::new(Arch::Amd64, Firmware::Bios)
        };
        Some(Alpine { disk, machine })
    }

    fn up(&self) -> Session {
        machine::up(&self.machine, &self.disk.image, &[PROMPT]).0
    }

    /// The root file system as it is on the disk now, in a file.
    fn root(&self, dir: &Utf8Path) -> Utf8PathBuf {
        let root = &self.disk.root;
        let mut bytes = vec![0; usize::try_from(root.len).unwrap()];
        let disk = File::open(&self.disk.image).unwrap();
        disk.read_exact_at(&mut bytes, root.start).unwrap();
        let copy = dir.join("root");
        fs::write(&copy, bytes).unwrap();
        copy
    }
}

/// Mounts the disks. Each has its name below /mnt.
const MOUNT: &str = "for n in b c d; do mkdir -p /mnt/$n && mount -t ext4 -o commit=1 /dev/vd$n /mnt/$n || exit 1; done";

/// What a program has reason to rely on, on all file systems.
const SYNCED: &str =
    "for at in / /mnt/b /mnt/c /mnt/d; do seq 30000 >$at/synced || exit 1; done; sync";

/// Makes, links and removes files until the power is cut.
const BUSY: &str = "(i=0; while :; do i=$((i+1)); for at in '' /mnt/b /mnt/c /mnt/d; do mkdir $at/dir$i; seq $((i * 50)) >$at/dir$i/file; ln $at/dir$i/file $at/link$i; [ $i -gt 9 ] && rm -r $at/dir$((i-9)) $at/link$((i-5)); done; done) </dev/null >/dev/null 2>&1 &";

/// The synced file is whole.
fn has_synced(image: &Path, what: &str) {
    let mut debugfs = Command::new("debugfs");
    debugfs.args(["-R", "cat /synced"]).arg(image);
    let out = debugfs.output().unwrap();
    let wanted: String = (1..=30_000).map(|n| format!("{n}\n")).collect();
    assert!(out.stdout == wanted.as_bytes(), "{what}");
}

#[test]
#[ignore = "boots a machine twice, which takes minutes without KVM"]
fn a_machine_recovers_from_a_power_cut_at_its_first_start() {
    let (_keep, dir) = temp();
    let mut disks = Vec::new();
    for (n, (_, set)) in WAYS.iter().enumerate() {
        let image = dir.join(format!("data{n}"));
        fresh(image.as_std_path(), *set);
        disks.push(image);
    }
    let Some(alpine) = Alpine::new(&dir, &disks) else {
        return;
    };
    let mut session = alpine.up();
    {
        let mut guest = Guest::open(&mut session, "root", PASSWORD);
        guest.run(MOUNT);
        guest.run(SYNCED);
        guest.run(BUSY);
        guest.run("sleep 5");
    }
    session.end();
    // e2fsck's word on copies.
    let root = alpine.root(&dir);
    recovers(root.as_std_path(), "root");
    has_synced(root.as_std_path(), "root");
    for (disk, (what, _)) in disks.iter().zip(WAYS) {
        let copy = dir.join("copy");
        fs::copy(disk, &copy).unwrap();
        recovers(copy.as_std_path(), what);
        has_synced(copy.as_std_path(), what);
    }
    // And the kernel's.
    let mut session = alpine.up();
    {
        let mut guest = Guest::open(&mut session, "root", PASSWORD);
        guest.run(MOUNT);
        guest.run(
            "for at in / /mnt/b /mnt/c /mnt/d; do seq 30000 | cmp - $at/synced || exit 1; done",
        );
        guest.run(
            "dmesg | grep EXT4-fs; ! dmesg | grep 'EXT4-fs error'; umount /mnt/b /mnt/c /mnt/d",
        );
    }
    machine::off(session);
    clean(
        alpine.root(&dir).as_std_path(),
        "root after the second start",
    );
    for (disk, (what, _)) in disks.iter().zip(WAYS) {
        clean(disk.as_std_path(), what);
    }
}

/// How a file system of 16 MiB grows, and to how many GiB.
type Growth = (fn(&mut Options), u64);

const GROWTHS: [Growth; 3] = [
    // By a thousandfold, as reserved space allows.
    (|_| {}, 16),
    (|o| (o.features.meta_bg, o.grow_to) = (true, 0), 100),
    (
        |o| {
            (o.features.meta_bg, o.grow_to) = (true, 0);
            o.features.bits64 = true;
            o.features.inline_data = true;
        },
        40,
    ),
];

#[test]
#[ignore = "boots a machine, which takes minutes without KVM"]
fn mounted_file_systems_grow_more_than_a_thousandfold() {
    let (_keep, dir) = temp();
    let mut disks = Vec::new();
    let mut nodes = model::small();
    nodes.push(node(0, "kept", What::File(common::pattern(1, 3_000_000))));
    for (n, (set, gib)) in GROWTHS.into_iter().enumerate() {
        let image = dir.join(format!("data{n}"));
        let mut options = model::options(16);
        set(&mut options);
        let size = options.size;
        let (volume, _) = model::lay_out(options, &nodes).unwrap();
        model::write(&volume, &nodes, size, image.as_std_path());
        let file = File::options().write(true).open(&image).unwrap();
        file.set_len(gib << 30).unwrap();
        disks.push(image);
    }
    let Some(alpine) = Alpine::new(&dir, &disks) else {
        return;
    };
    let mut session = alpine.up();
    {
        let mut guest = Guest::open(&mut session, "root", PASSWORD);
        guest.run(MOUNT);
        for (n, (_, gib)) in ["b", "c", "d"].into_iter().zip(GROWTHS) {
            let sum = guest.run(&format!("sha256sum </mnt/{n}/kept"));
            guest.run(&format!("resize2fs /dev/vd{n}"));
            let mib = guest.run(&format!("df -Pm /mnt/{n} | awk 'NR == 2 {{ print $2 }}'"));
            let mib: u64 = mib.parse().unwrap();
            assert!(mib > gib * 1024 * 9 / 10, "{mib} MiB");
            guest.run(&format!("seq 300000 >/mnt/{n}/new && sync"));
            assert_eq!(guest.run(&format!("sha256sum </mnt/{n}/kept")), sum);
        }
        guest.run("umount /mnt/b /mnt/c /mnt/d");
    }
    machine::off(session);
    for disk in disks {
        clean(disk.as_std_path(), "after growing");
    }
}
