//! A whole disk with unusual files in its root file system, checked with sfdisk, sgdisk,
//! e2fsck, fsck.fat, GNU tar and the Linux kernel.

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
use std::process::Command;

/// A machine with everything in it that a container may hold.
fn odd() -> Vec<Entry> {
    let mut all = common::machine();
    let put = |e: Entry| all.push(e);
    [
        dir("srv").owner(1000, 1000),
        file("srv/a", "several names").time(NOW - 5, 123_456_789),
        dir("srv/links"),
        entry("srv/links/b", Kind::HardLink("srv/a".into())),
        entry("srv/links/c", Kind::HardLink("srv/a".into())),
        link("srv/link", "a").owner(7, 8).time(NOW - 60, 5),
        entry("srv/links/to-link", Kind::HardLink("srv/link".into())),
        entry("srv/null", Kind::Char(1, 3)).mode(0o666),
        entry("srv/sda1", Kind::Block(8, 1)).mode(0o660).owner(0, 6),
        entry("srv/wide", Kind::Block(259, 70_000)),
        entry("srv/wider", Kind::Char(4095, 1_048_575)),
        entry("srv/fifo", Kind::Fifo).mode(0o600),
        entry("srv/fifo-2", Kind::HardLink("srv/fifo".into())),
        file("srv/setuid", "s").mode(0o4755),
        file("srv/setgid", "s").mode(0o2750).owner(0, 42),
        file("srv/all-bits", "s").mode(0o7777),
        file("srv/no-bits", "s").mode(0),
        dir("srv/sticky").mode(0o1777),
        dir("srv/setgid-dir").mode(0o2775).owner(5, 50),
        file("srv/far-uid", "u").owner(4_000_000_000, 3_999_999_999),
        file("srv/uid-65536", "u").owner(65_536, 65_537),
        file("srv/empty", ""),
        file("srv/block", pattern(10, 4096)),
        file("srv/block-and-one", pattern(11, 4097)),
        file("srv/zeros", vec![0; 100_000]),
        file("srv/large", pattern(12, 3 << 20)),
    ]
    .into_iter()
    .chain(times())
    .chain(attributes())
    .chain(sparse())
    .chain(names())
    .for_each(put);
    all
}

/// Times that only a 256-byte inode holds.
fn times() -> Vec<Entry> {
    vec![
        file("srv/t-1960", "t").time(-300_000_000, 0),
        file("srv/t-1969", "t").time(-1, 500_000_000),
        file("srv/t-1969-b", "t").time(-2, 999_999_999),
        file("srv/t-1902", "t").time(-2_140_000_000, 1),
        file("srv/t-0", "t").time(0, 0),
        file("srv/t-1970", "t").time(0, 1),
        link("srv/t-link", "nowhere").time(-1_000_000, 250_000_000),
        dir("srv/t-dir").time(-5, 5),
    ]
}

/// Extended attributes: capabilities, the user's, access control lists.
fn attributes() -> Vec<Entry> {
    // cap_net_raw+ep, revision 2 (linux/capability.h, struct vfs_cap_data): the record has a
    // line feed in it when the capability is another one, so both are here.
    let capability = |low: u32| {
        let mut value = 0x0200_0001_u32.to_le_bytes().to_vec();
        for word in [low, 0, 0, 0] {
            value.extend_from_slice(&word.to_le_bytes());
        }
        value
    };
    // Version 2 (linux/posix_acl_xattr.h): tag, permissions, id.
    let acl = |entries: &[(u16, u16, u32)]| {
        let mut value = 2_u32.to_le_bytes().to_vec();
        for (tag, permissions, id) in entries {
            value.extend_from_slice(&tag.to_le_bytes());
            value.extend_from_slice(&permissions.to_le_bytes());
            value.extend_from_slice(&id.to_le_bytes());
        }
        value
    };
    const NONE: u32 = u32::MAX;
    let access = acl(&[
        (0x01, 6, NONE),
        (0x02, 7, 1234),
        (0x04, 4, NONE),
        (0x08, 5, 4_000_000_000),
        (0x10, 7, NONE),
        (0x20, 4, NONE),
    ]);
    let default = acl(&[
        (0x01, 7, NONE),
        (0x02, 5, 99),
        (0x04, 5, NONE),
        (0x10, 5, NONE),
        (0x20, 0, NONE),
    ]);
    vec![
        file("srv/ping", "p")
            .mode(0o755)
            .xattr("security.capability", capability(1 << 13)),
        file("srv/ping-2", "p").xattr("security.capability", capability(0x0A0A)),
        file("srv/user", "u")
            .xattr("user.text", "some text")
            .xattr("user.empty", "")
            .xattr("user.bytes", vec![0, 255, 10, 61, 10])
            .xattr("user.same", vec![7; 64]),
        file("srv/user-2", "u").xattr("user.same", vec![7; 64]),
        file("srv/user-big", "u").xattr("user.big", pattern(20, 3000)),
        file("srv/user-many", "u"),
        file("srv/trusted", "u").xattr("trusted.word", "known to root"),
        dir("srv/user-dir").xattr("user.dir", "d"),
        // The mode's group bits are the list's mask.
        file("srv/acl", "a")
            .mode(0o674)
            .xattr("system.posix_acl_access", access),
        dir("srv/acl-dir")
            .mode(0o755)
            .xattr("system.posix_acl_default", default),
    ]
    .into_iter()
    .map(|mut e| {
        if e.path == "srv/user-many" {
            for n in 0..40 {
                e.xattrs
                    .insert(format!("user.number-{n:02}"), pattern(n, n as usize));
            }
        }
        e
    })
    .collect()
}

fn sparse() -> Vec<Entry> {
    let sparse = |path: &str, size, runs| entry(path, Kind::Sparse(size, runs));
    vec![
        sparse(
            "srv/sparse",
            50_000_000,
            vec![
                // GNU tar starts each run at a new block of 512 bytes: only the last may be odd.
                (0, pattern(30, 512)),
                (10_000_000, pattern(31, 70_144)),
                (49_999_000, pattern(32, 1000)),
            ],
        ),
        sparse("srv/sparse-end", 9_000_001, vec![(4096, pattern(33, 4096))]),
        sparse("srv/only-a-hole", 123_456, vec![]),
    ]
}

/// Long names, long links, long lists, long paths.
fn names() -> Vec<Entry> {
    let mut all = vec![
        dir("srv/names"),
        file(&format!("srv/names/{}", "n".repeat(250)), "250"),
        file(&format!("srv/names/{}", "m".repeat(255)), "255"),
        file(&format!("srv/names/{}", "ü".repeat(127)), "254"),
        file("srv/names/ leading and trailing ", ""),
        file("srv/names/line\nfeed", ""),
        file("srv/names/back\\slash", ""),
        file("srv/names/-dash", ""),
        file("srv/names/*?[a]", ""),
        file("srv/names/\u{1F427}", "a penguin"),
        file("srv/names/.wh.not-a-whiteout", "here"),
        dir("srv/many"),
    ];
    for n in [1, 59, 60, 61, 100, 101, 200, 1000, 4095] {
        all.push(link(&format!("srv/names/link-{n}"), &"/t".repeat(n)[..n]));
    }
    for n in 0..5000 {
        let name = format!("srv/many/a file in a large directory, number {n}");
        all.push(file(&name, if n % 10 == 0 { "x" } else { "" }));
    }
    let mut deep = String::from("srv/deep");
    all.push(dir(&deep));
    for n in 0..60 {
        deep += &format!("/directory-{n}");
        all.push(dir(&deep).time(NOW - 1000 + n, 0));
    }
    all.push(file(&format!("{deep}/bottom"), "deep"));
    all
}

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

/// The root file system: e2fsck finds nothing, and the kernel and GNU tar find in it what was
/// in the tar.
fn root_is_as_wanted(made: &Made, wanted: &[Entry]) {
    let partition = made.plan.disk.root();
    if let Some(mut e2fsck) = common::checker(Tool::E2fsck) {
        let said = common::content(e2fsck.arg("-fn").arg(cut(made, partition)));
        for bad in ["Fix?", "rror", "WARNING"] {
            assert!(!said.contains(bad), "{said}");
        }
    }
    let options = "ro,noload";
    let Some(mounted) = Mounted::new(
        made.image.as_std_path(),
        partition.start,
        partition.len,
        options,
    ) else {
        return;
    };
    compare(wanted, mounted.path());
    gnu_tar(&made.tar, mounted.path());
    let conf = fs_err::read_to_string(mounted.path().join("boot/extlinux/extlinux.conf"));
    assert_eq!(conf.is_ok(), made.plan.boot != BootMode::Uefi);
}

/// What the tool itself makes or empties: everything else must be as it was in the tar.
const OURS: [&str; 14] = [
    "boot/extlinux",
    "dev",
    "efi",
    "etc/docker-to-linux",
    "etc/fstab",
    "etc/hostname",
    "etc/hosts",
    "etc/resolv.conf",
    "lost+found",
    "proc",
    "run",
    "sys",
    "tmp",
    "usr/lib/docker-to-linux",
];

fn is_ours(path: &str) -> bool {
    OURS.iter().any(|ours| {
        path.strip_prefix(ours)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// Compares everything that was put in with everything that the kernel shows.
fn compare(wanted: &[Entry], mount: &Path) {
    let mut found = BTreeMap::new();
    walk(mount, "", &mut found);
    let by_path: BTreeMap<&str, &Entry> = wanted.iter().map(|e| (e.path.as_str(), e)).collect();
    for e in wanted {
        // A hard link is as what it links to.
        let target = match &e.kind {
            Kind::HardLink(to) => by_path[to.as_str()],
            _ => e,
        };
        let Some(meta) = found.remove(&e.path) else {
            panic!("{:?} is not in the image", e.path);
        };
        let path = mount.join(&e.path);
        same(target, &path, &meta);
        if let Kind::HardLink(to) = &e.kind {
            let first = fs_err::symlink_metadata(mount.join(to)).unwrap();
            assert_eq!(first.ino(), meta.ino(), "{:?}", e.path);
        }
        if meta.nlink() > 1 && !meta.is_dir() {
            let names = wanted
                .iter()
                .filter(|o| matches!(&o.kind, Kind::HardLink(to) if *to == target.path))
                .count();
            assert_eq!(meta.nlink(), names as u64 + 1, "{:?}", e.path);
        }
    }
    let extra: Vec<String> = found.into_keys().filter(|p| !is_ours(p)).collect();
    assert_eq!(extra, Vec::<String>::new(), "nobody asked for these");
}

fn walk(mount: &Path, path: &str, found: &mut BTreeMap<String, std::fs::Metadata>) {
    let here = mount.join(path);
    let meta = fs_err::symlink_metadata(&here).unwrap();
    if meta.is_dir() {
        for entry in fs_err::read_dir(&here).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let below = if path.is_empty() {
                name
            } else {
                format!("{path}/{name}")
            };
            walk(mount, &below, found);
        }
    }
    found.insert(path.to_owned(), meta);
}

fn same(want: &Entry, path: &Path, meta: &std::fs::Metadata) {
    let kind: u32 = match &want.kind {
        Kind::Dir => 0o040_000,
        Kind::File(_) | Kind::Sparse(..) => 0o100_000,
        Kind::Symlink(_) => 0o120_000,
        Kind::Char(..) => 0o020_000,
        Kind::Block(..) => 0o060_000,
        Kind::Fifo => 0o010_000,
        Kind::HardLink(_) => unreachable!(),
    };
    assert_eq!(meta.mode(), kind | want.mode, "mode of {path:?}");
    assert_eq!((meta.uid(), meta.gid()), (want.uid, want.gid), "{path:?}");
    let mtime = (meta.mtime(), u32::try_from(meta.mtime_nsec()).unwrap());
    assert_eq!(mtime, want.mtime, "time of {path:?}");
    assert_eq!(xattrs(path), want.xattrs, "attributes of {path:?}");
    match &want.kind {
        Kind::File(bytes) => assert!(fs_err::read(path).unwrap() == *bytes, "{path:?}"),
        Kind::Sparse(size, runs) => {
            let mut bytes = vec![0; usize::try_from(*size).unwrap()];
            let mut data = 0;
            for (at, run) in runs {
                let at = usize::try_from(*at).unwrap();
                bytes[at..at + run.len()].copy_from_slice(run);
                data += run.len() as u64 + 8192;
            }
            assert!(fs_err::read(path).unwrap() == bytes, "{path:?}");
            let taken = meta.blocks() * 512;
            assert!(
                taken <= data,
                "{path:?} takes {taken} bytes, {data} would do"
            );
        }
        Kind::Symlink(to) => {
            let found = fs_err::read_link(path).unwrap();
            assert_eq!(found.to_str(), Some(to.as_str()), "{path:?}");
        }
        Kind::Char(major, minor) | Kind::Block(major, minor) => {
            let found = (
                rustix::fs::major(meta.rdev()),
                rustix::fs::minor(meta.rdev()),
            );
            assert_eq!(found, (*major, *minor), "{path:?}");
        }
        Kind::Dir | Kind::Fifo | Kind::HardLink(_) => {}
    }
}

fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0_u8; 65536];
    let n = rustix::fs::llistxattr(path, &mut names).unwrap();
    names[..n]
        .split(|b| *b == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let name = String::from_utf8(name.to_vec()).unwrap();
            let mut value = vec![0_u8; 65536];
            let n = rustix::fs::lgetxattr(path, name.as_str(), &mut value).unwrap();
            value.truncate(n);
            (name, value)
        })
        .collect()
}

/// GNU tar reads the tar its own way and compares it with what is mounted.
fn gnu_tar(tar: &Utf8Path, mount: &Path) {
    let Some(mut compare) = common::program("tar", "tar") else {
        return;
    };
    let said = common::content(
        compare
            .args(["--compare", "--xattrs", "--numeric-owner", "-f"])
            .arg(tar)
            .arg("-C")
            .arg(mount),
    );
    assert_eq!(said, "");
}

/// What GNU tar makes of a mounted image gives the same image again: its own way to say all
/// those things is understood too.
#[test]
fn a_tar_by_gnu_tar() {
    if common::passed_as_root(module_path!(), "a_tar_by_gnu_tar") {
        return;
    }
    // It has no links to pipes: the second name becomes a second pipe.
    let mut wanted = odd();
    wanted.retain(|e| e.path != "srv/fifo-2");
    let ours = |tar: &Utf8Path| common::tar_file(&wanted, tar);
    let Some(first) = make(BootMode::Bios, None, &ours) else {
        return;
    };
    let root = first.plan.disk.root();
    let image = first.image.as_std_path();
    let Some(mounted) = Mounted::new(image, root.start, root.len, "ro,noload") else {
        return;
    };
    let theirs = |tar: &Utf8Path| {
        common::content(
            Command::new("tar")
                .args(["--create", "--format=posix", "--sparse", "--xattrs"])
                .args(["--xattrs-include=*", "--acls", "-f", tar.as_str()])
                .args(OURS.map(|path| format!("--exclude=./{path}")))
                .arg("-C")
                .arg(mounted.path())
                .arg("."),
        );
    };
    let again = make(BootMode::Bios, None, &theirs).unwrap();
    root_is_as_wanted(&again, &wanted);
}

/// One recipe and one tar give one image, independent of time, place and user.
#[test]
fn the_same_bytes_every_time() {
    let (_temp, dir) = common::temp();
    let Some(loaders) = common::bootloader_dir(&dir) else {
        return;
    };
    fs_err::create_dir(dir.join("test")).unwrap();
    fs_err::write(dir.join("test/recipe.yaml"), "root: {free: 16M}\n").unwrap();
    let tar = dir.join("rootfs.tar");
    common::tar_file(&odd(), &tar);
    let image = |number: u32, from: &str, change: &dyn Fn(&mut Command)| {
        let out = dir.join(format!("out-{number}"));
        let mut command = common::xtask();
        command
            .args(["image", "-q", "--from", from])
            .arg(dir.join("test"))
            .arg("--bootloader-dir")
            .arg(&loaders)
            .arg("--output")
            .arg(&out)
            .env_remove("SOURCE_DATE_EPOCH");
        change(&mut command);
        (command, out)
    };
    let run = |(mut command, out): (Command, Utf8PathBuf)| {
        common::content(&mut command);
        let image = out.join("test.img");
        let sum = common::sha256(&image);
        fs_err::remove_dir_all(out).unwrap();
        sum
    };
    let first = run(image(0, tar.as_str(), &|_| ()));
    let again = run(image(1, tar.as_str(), &|_| ()));
    assert_eq!(first, again);

    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(86_400 * 400);
    for touched in [
        &tar,
        &dir.join("test/recipe.yaml"),
        &loaders.join("extlinux"),
    ] {
        let file = File::options().append(true).open(touched).unwrap();
        file.set_modified(later).unwrap();
    }
    let elsewhere = dir.join("elsewhere");
    fs_err::create_dir(&elsewhere).unwrap();
    let other = run(image(2, "../rootfs.tar", &|c| {
        c.current_dir(&elsewhere)
            .env("TZ", "Asia/Kathmandu")
            .env("LC_ALL", "tr_TR.UTF-8")
            .env("HOME", "/nonexistent");
    }));
    assert_eq!(first, other, "in another folder, time zone and language");

    // A shell, for umask is the process's own; who is not root must still be able to read the
    // image back.
    let (command, out) = image(3, tar.as_str(), &|_| ());
    let umask = if common::is_root() { "0777" } else { "0077" };
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("umask {umask} && exec \"$0\" \"$@\"")])
        .arg(command.get_program())
        .args(command.get_args());
    fs_err::create_dir(&out).unwrap();
    assert_eq!(first, run((shell, out)), "with another umask");

    // Through a pipe: contents are spooled.
    let (mut command, out) = image(4, "-", &|_| ());
    let piped = common::with_input(&mut command, &fs_err::read(&tar).unwrap());
    assert!(piped.status.success(), "{}", common::said(&piped));
    assert_eq!(first, common::sha256(&out.join("test.img")), "from a pipe");

    // Compressed.
    let packed = dir.join("rootfs.tar.zst");
    let bytes = zstd::encode_all(File::open(&tar).unwrap(), 1).unwrap();
    fs_err::write(&packed, bytes).unwrap();
    assert_eq!(first, run(image(5, packed.as_str(), &|_| ())), "compressed");

    // As another user.
    if common::is_root() {
        nobody(&dir, image(6, tar.as_str(), &|_| ()), &first);
    } else {
        common::skipped::<()>("making the image as another user takes root");
    }
}

/// Builds the image as an unprivileged user.
fn nobody(dir: &Utf8Path, (command, out): (Command, Utf8PathBuf), first: &str) {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    // The build folder may be closed to others.
    let program = dir.join("xtask");
    fs_err::copy(command.get_program(), &program).unwrap();
    fs_err::create_dir(&out).unwrap();
    let open = |path: &Utf8Path, mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        fs_err::set_permissions(path, mode).unwrap();
    };
    open(dir, 0o755);
    open(&out, 0o777);
    let mut command_as = Command::new(&program);
    command_as
        .args(command.get_args())
        .env_remove("SOURCE_DATE_EPOCH")
        .uid(65534)
        .gid(65534)
        .current_dir(dir);
    common::content(&mut command_as);
    let image = out.join("test.img");
    assert_eq!(fs_err::metadata(&image).unwrap().uid(), 65534);
    assert_eq!(first, common::sha256(&image), "as another user");
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
