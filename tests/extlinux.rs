//! Compares our installation of EXTLINUX with its own installer's, byte for byte: `extlinux
//! --install` in the mounted file system, then our patching for the blocks that it got there.

use crate::common::{self, Mounted};
use camino::{Utf8Path, Utf8PathBuf};
use docker_to_linux::bootloader::extlinux::Parts;
use docker_to_linux::bootloader::files::From;
use docker_to_linux::model::size::{MIB, Size};
use docker_to_linux::model::{Arch, BootMode};
use docker_to_linux::plan::Partition;
use docker_to_linux::recipe::Recipe;
use docker_to_linux::tool::Tool;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;

#[test]
fn as_in_our_images() {
    compare("as_in_our_images", "/boot/extlinux", &|_| ());
}

#[test]
fn in_another_folder() {
    compare("in_another_folder", "/srv/a long name/and more", &|_| ());
}

/// Hardly any two blocks of ldlinux.sys are adjacent.
#[test]
fn in_fragments() {
    compare("in_fragments", "/boot/extlinux", &fragment);
}

/// Fills the file system and frees some blocks, no two of them adjacent.
fn fragment(mounted: &Path) {
    use rustix::fs::{FallocateFlags, fallocate};
    // The kernel's own reserve is a run of blocks that stays free: no more than it takes to
    // list the holes.
    let device = fs_err::metadata(mounted).unwrap().dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let device = fs_err::canonicalize(format!("/sys/dev/block/{major}:{minor}")).unwrap();
    let sys = Path::new("/sys/fs/ext4").join(device.file_name().unwrap());
    fs_err::write(sys.join("reserved_clusters"), "4").unwrap();
    let mut file = File::create_new(mounted.join("fill")).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
    file.sync_all().unwrap();
    let blocks = file.metadata().unwrap().len() / 4096;
    assert!(blocks > 1000);
    for n in (0..400).step_by(2) {
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(&file, punch, n * 4096, 4096).unwrap();
    }
    file.sync_all().unwrap();
}

/// An image for a BIOS, without a boot sector of ours.
struct Made {
    _temp: tempfile::TempDir,
    dir: Utf8PathBuf,
    image: Utf8PathBuf,
    root: Partition,
    parts: Parts,
}

fn make() -> Option<Made> {
    let (temp, dir) = common::temp();
    let missing = From::Host.missing(BootMode::Bios, Arch::Amd64);
    if !missing.is_empty() {
        return common::skipped(&format!("boot loader files are not installed: {missing:?}"));
    }
    let loaders = From::Host.load(BootMode::Bios, Arch::Amd64).unwrap();
    let tar = dir.join("rootfs.tar");
    common::tar_file(&common::machine(), &tar);
    let mut recipe = Recipe {
        boot: BootMode::Bios,
        ..Recipe::default()
    };
    recipe.root.free = Size(16 * MIB);
    let built = common::image_of(&tar, recipe, &dir)?;
    let image = built.files[0].clone();
    let root = built.plan.disk.root().clone();
    let out = File::options().write(true).open(&image).unwrap();
    out.write_all_at(&[0; 512], root.start).unwrap();
    Some(Made {
        _temp: temp,
        dir,
        image,
        root,
        parts: loaders.bios.unwrap().extlinux,
    })
}

fn compare(test: &str, dir: &str, prepare: &dyn Fn(&Path)) {
    if common::passed_as_root(module_path!(), test) {
        return;
    }
    let Some(made) = make() else { return };
    let Some(mut extlinux) = common::checker(Tool::Extlinux) else {
        return;
    };
    let Made { image, root, .. } = &made;
    let image = image.as_std_path();
    let Some(mounted) = Mounted::new(image, root.start, root.len, "rw") else {
        return;
    };
    let inside = |name: &str| mounted.path().join(&dir[1..]).join(name);
    let _ = std::fs::remove_dir_all(mounted.path().join("boot/extlinux"));
    prepare(mounted.path());
    fs_err::create_dir_all(inside("")).unwrap();
    common::content(extlinux.arg("--install").arg(inside("")));
    let their_c32 = fs_err::read(inside("ldlinux.c32")).unwrap();
    let their_sys = fs_err::read(inside("ldlinux.sys")).unwrap();
    let inode = fs_err::metadata(inside("ldlinux.sys")).unwrap().ino();
    drop(mounted);
    let mut their_boot = vec![0; 512];
    let file = File::open(image).unwrap();
    file.read_exact_at(&mut their_boot, root.start).unwrap();
    assert_eq!(&their_boot[3..11], b"SYSLINUX");

    let Some(runs) = blocks_of(&made, inode) else {
        return;
    };
    let adjacent = runs.windows(2).filter(|w| w[0].0 + 4096 == w[1].0).count();
    match test {
        "in_fragments" => assert!(adjacent < 5, "{runs:?}"),
        _ => assert_eq!(adjacent, runs.len() - 1, "{runs:?}"),
    }
    let ours = made
        .parts
        .install(&runs, dir, root.start, root.len)
        .unwrap();
    assert_eq!(ours.ldlinux_sys.len() as u64, made.parts.ldlinux_sys_len());
    assert_eq!(differing(&ours.ldlinux_sys, &their_sys), NOWHERE);
    assert_eq!(differing(made.parts.ldlinux_c32(), &their_c32), NOWHERE);
    // Sectors per track and heads: a disk image has none, so the installer makes them up from
    // its size (and says that it is harmless). Nothing else.
    let geometry = 0x18..0x1C;
    let elsewhere: Vec<usize> = differing(&ours.boot_sector, &their_boot)
        .into_iter()
        .filter(|at| !geometry.contains(at))
        .collect();
    assert_eq!(elsewhere, NOWHERE);
}

const NOWHERE: [usize; 0] = [];

/// Places at which two files differ; one of another length differs everywhere past the end.
fn differing(a: &[u8], b: &[u8]) -> Vec<usize> {
    (0..a.len().max(b.len()))
        .filter(|&i| a.get(i) != b.get(i))
        .collect()
}

/// The blocks of a file in the root file system, as debugfs reads it, as (offset,
/// length) in bytes.
fn blocks_of(made: &Made, inode: u64) -> Option<Vec<(u64, u64)>> {
    let mut debugfs = match Command::new("/usr/sbin/debugfs").arg("-V").output() {
        Ok(_) => Command::new("/usr/sbin/debugfs"),
        Err(_) => common::program("debugfs", "e2fsprogs")?,
    };
    let partition = cut(&made.image, &made.root, &made.dir.join("root.img"));
    let count = made.parts.ldlinux_sys_len().div_ceil(4096);
    let commands: String = (0..count)
        .map(|n| format!("bmap <{inode}> {n}\n"))
        .collect();
    let out = common::with_input(
        debugfs.args(["-f", "-"]).arg(&partition),
        commands.as_bytes(),
    );
    let text = String::from_utf8(out.stdout).unwrap();
    // Each command is repeated in front of its answer.
    let answers = text.lines().filter(|l| !l.starts_with("debugfs"));
    let runs: Vec<(u64, u64)> = answers
        .map(|n| (n.trim().parse::<u64>().unwrap() * 4096, 4096))
        .collect();
    assert_eq!(runs.len() as u64, count, "{text}");
    Some(runs)
}

fn cut(image: &Utf8Path, partition: &Partition, to: &Utf8Path) -> Utf8PathBuf {
    let mut bytes = vec![0; usize::try_from(partition.len).unwrap()];
    let from = File::open(image).unwrap();
    from.read_exact_at(&mut bytes, partition.start).unwrap();
    fs_err::write(to, bytes).unwrap();
    to.to_owned()
}
