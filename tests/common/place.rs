//! Where a test works: folders, the program that is tested, the files that it needs.

use super::{said, skipped, with_input};
use camino::{Utf8Path, Utf8PathBuf};
use docker_to_linux::bootloader::files;
use docker_to_linux::model::{Arch, BootMode};
use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::Path;
use std::process::Command;

/// A temporary folder and its path as text.
pub fn temp() -> (tempfile::TempDir, Utf8PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    (dir, path)
}

/// SHA-256 of a file, in hexadecimal digits.
pub fn sha256(file: &Utf8Path) -> String {
    let mut file = fs_err::File::open(file).unwrap();
    let mut hash = Sha256::new();
    let mut buf = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut buf).unwrap();
        if n == 0 {
            return hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
        }
        hash.update(&buf[..n]);
    }
}

/// A folder with the boot loaders' files, as `--bootloader-dir` takes it, made of this host's
/// packages.
pub fn bootloader_dir(at: &Utf8Path) -> Option<Utf8PathBuf> {
    let missing = files::From::Host.missing(BootMode::Hybrid, Arch::Amd64);
    if !missing.is_empty() {
        return skipped(&format!(
            "the boot loaders' files {missing:?} are not installed (packages extlinux, syslinux-common, systemd-boot-efi)"
        ));
    }
    let dir = at.join("bootloader");
    fs_err::create_dir_all(&dir).unwrap();
    let places = [
        ("extlinux", vec!["/usr/bin", "/usr/sbin", "/sbin"]),
        (
            "mbr.bin",
            vec!["/usr/lib/EXTLINUX", "/usr/lib/syslinux/mbr"],
        ),
        (
            "gptmbr.bin",
            vec!["/usr/lib/EXTLINUX", "/usr/lib/syslinux/mbr"],
        ),
        ("systemd-bootx64.efi", vec!["/usr/lib/systemd/boot/efi"]),
    ];
    for (file, dirs) in places {
        let found = dirs.iter().map(|d| Path::new(d).join(file));
        let from = found.into_iter().find(|f| f.is_file());
        let Some(from) = from else {
            return skipped(&format!("{file} lies where the tests do not look"));
        };
        fs_err::copy(from, dir.join(file)).unwrap();
    }
    Some(dir)
}

/// The program that is tested.
pub fn xtask() -> Command {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
}

/// Writes a shell script that can be started, as a stand-in for a program.
///
/// A child writes it: a file that this process had open for writing may still be open in a child
/// that another test is just starting, and the kernel starts no program that is being written
/// (ETXTBSY).
pub fn script(at: &Utf8Path, text: &str) {
    fs_err::create_dir_all(at.parent().unwrap()).unwrap();
    let mut sh = Command::new("sh");
    sh.args(["-c", "cat >\"$0\" && chmod 755 \"$0\"", at.as_str()]);
    let out = with_input(&mut sh, format!("#!/bin/sh\n{text}").as_bytes());
    assert!(out.status.success(), "{at}: {}", said(&out));
}
