//! How much memory building an image needs: at most 64 MiB and 1 KiB per file, independent of the
//! size of the root file system.

use crate::common::{self, Entry};
use camino::Utf8Path;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::process::Stdio;
use std::time::Instant;

const MIB: u64 = 1 << 20;

/// A root file system of 300,000 small files, as a tar file and through a pipe.
#[test]
fn many_files() {
    const FILES: u64 = 300_000;
    let (_temp, dir) = common::temp();
    let tar = dir.join("rootfs.tar");
    let mut out = tar::Builder::new(BufWriter::new(File::create_new(&tar).unwrap()));
    let mut machine = common::machine();
    machine.extend((0..FILES / 1000).map(|n| common::dir(&format!("srv/folder-{n:03}"))));
    add(&mut out, &machine);
    let content = common::pattern(1, 700);
    let mut header = root_file();
    for n in 0..FILES {
        let len = (n % 700) as usize;
        header.set_size(len as u64);
        let name = format!("./srv/folder-{:03}/a small file, number {n}", n / 1000);
        out.append_data(&mut header.clone(), name, &content[..len])
            .unwrap();
    }
    out.into_inner().unwrap().flush().unwrap();
    let entries = FILES + machine.len() as u64;
    let limit = 64 * MIB + 1024 * entries;
    assert!(peak(&dir, tar.as_str(), None, &[]) <= limit);
    let piped = File::open(&tar).unwrap();
    assert!(peak(&dir, "-", Some(piped), &[]) <= limit);
}

/// The header of a file of root's.
fn root_file() -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_600_000_000);
    header
}

fn add(out: &mut tar::Builder<BufWriter<File>>, entries: &[Entry]) {
    let mut bytes = Vec::new();
    common::write_tar(entries, &mut bytes);
    // Without the mark of its end.
    out.get_mut()
        .write_all(&bytes[..bytes.len() - 1024])
        .unwrap();
}

/// A root file system of 4 GiB in few files. The tar is a hole but for its headers.
#[test]
fn large_files() {
    let (_temp, dir) = common::temp();
    let tar = dir.join("rootfs.tar");
    let mut bytes = Vec::new();
    common::write_tar(&common::machine(), &mut bytes);
    bytes.truncate(bytes.len() - 1024);
    let out = File::create_new(&tar).unwrap();
    out.write_all_at(&bytes, 0).unwrap();
    let mut at = bytes.len() as u64;
    for n in 0..4 {
        let len = 1024 * MIB;
        let mut header = root_file();
        header.set_path(format!("srv-{n}")).unwrap();
        header.set_size(len);
        header.set_cksum();
        out.write_all_at(header.as_bytes(), at).unwrap();
        at += 512 + len;
    }
    out.set_len(at + 1024).unwrap();
    assert!(peak(&dir, tar.as_str(), None, &[]) <= 64 * MIB);
    // What compresses has chunks under way on every core.
    for more in [
        ["--format=qcow2", "--compression=zstd"],
        ["--format=raw", "--compress=zstd"],
    ] {
        assert!(peak(&dir, tar.as_str(), None, &more) <= 64 * MIB + PER_CORE * cores());
    }
}

/// Memory of a core that compresses: zstd looks back 4 MiB at level 9, in chunks of 8 MiB, and
/// two of those are under way.
const PER_CORE: u64 = 64 * MIB;

fn cores() -> u64 {
    std::thread::available_parallelism().map_or(1, |n| n.get() as u64)
}

/// A folder for an image of 5 GiB: in memory if there is far more than that (files there do not count
/// as the process's own memory), because a slow disk needs minutes.
fn roomy() -> tempfile::TempDir {
    let shm = "/dev/shm";
    let free = rustix::fs::statvfs(shm).map_or(0, |s| s.f_bavail * s.f_frsize);
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available: u64 = meminfo
        .lines()
        .find_map(|l| l.strip_prefix("MemAvailable:"))
        .and_then(|kib| kib.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0);
    if free > 6 << 30 && available * 1024 > 10 << 30 {
        tempfile::tempdir_in(shm).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    }
}

/// The most memory that making an image of this tar took, in bytes (`VmHWM`, proc(5): the peak
/// of the resident set).
fn peak(dir: &Utf8Path, from: &str, stdin: Option<File>, more: &[&str]) -> u64 {
    let Some(loaders) = common::bootloader_dir(dir) else {
        return 0;
    };
    let recipe = dir.join("box");
    fs_err::create_dir_all(&recipe).unwrap();
    fs_err::write(recipe.join("recipe.yaml"), "").unwrap();
    // Its standard output is a pipe that is full: it waits at its very end, where it names
    // the image, until its peak was read.
    let (mut stdout, mut full) = std::io::pipe().unwrap();
    let capacity = rustix::pipe::fcntl_getpipe_size(&full).unwrap();
    full.write_all(&vec![b'x'; capacity]).unwrap();
    let output = roomy();
    let output = Utf8Path::from_path(output.path()).unwrap();
    let begun = Instant::now();
    let mut child = common::xtask()
        .args(["image", "--force", "--from", from, "--output"])
        .args([output, &recipe])
        .arg("--bootloader-dir")
        .arg(loaders)
        .args(more)
        .stdin(stdin.map_or(Stdio::null(), Stdio::from))
        .stdout(full)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = Vec::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        let done = line.contains(": done in ");
        said.push(line);
        if done {
            break;
        }
    }
    let took = begun.elapsed();
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let Some(line) = line else {
        let status = child.wait().unwrap();
        unreachable!("it ended by {status} before it was done: {said:#?}");
    };
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    let mut printed = String::new();
    stdout.read_to_string(&mut printed).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(printed.contains("/box."), "{printed}");
    eprintln!("{from} {more:?}: at most {} MiB, in {took:.1?}", kib / 1024);
    kib * 1024
}
