//! Where a test works: folders, the program that is tested, the files that it needs.

use super::{Entry, machine, said, skipped, tar_file, with_input};
use camino::{Utf8Path, Utf8PathBuf};
use docker_to_linux::bootloader::files;
use docker_to_linux::build::{self, Built, Files, Input, Request, Source};
use docker_to_linux::model::{Arch, BootMode, Transport};
use docker_to_linux::progress::Silent;
use docker_to_linux::recipe::{Found, Recipe};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

/// The files of a raw image `box` and its metadata, sorted.
pub const BOX_FILES: [&str; 4] = [
    "SHA256SUMS",
    "box.img",
    "box.manifest.json",
    "box.spdx.json",
];

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

/// A folder with the boot loaders' files for `--bootloader-dir`, from this host's packages.
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
    Command::new(env!("CARGO_BIN_EXE_docker-to-linux"))
}

/// Writes an executable shell script as a fake program.
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

/// A user's folder: recipes, tars of root file systems, and the boot loaders' files in `bootloader`.
/// Test files add what only they need in their own `impl Place`.
pub struct Place {
    _temp: tempfile::TempDir,
    pub dir: Utf8PathBuf,
    /// An empty folder for images.
    pub out: Utf8PathBuf,
    /// An empty folder for temporary files.
    pub tmp: Utf8PathBuf,
}

impl Place {
    /// One with nothing in it.
    pub fn bare() -> Place {
        let (temp, dir) = temp();
        let place = Place {
            out: dir.join("out"),
            tmp: dir.join("tmp"),
            dir,
            _temp: temp,
        };
        fs_err::create_dir(&place.out).unwrap();
        fs_err::create_dir(&place.tmp).unwrap();
        place
    }

    /// One with the recipe `box` and a machine in `good.tar`, or `None` (said aloud) without boot
    /// loaders.
    pub fn new() -> Option<Place> {
        let place = Place::bare();
        bootloader_dir(&place.dir)?;
        place.recipe("box", "root: {free: 16M}\n");
        place.tar("good", &machine());
        Some(place)
    }

    /// Writes a file, and makes the folders that it is in.
    pub fn write(&self, path: &str, bytes: impl AsRef<[u8]>) -> Utf8PathBuf {
        let path = self.dir.join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(&path, bytes).unwrap();
        path
    }

    /// Writes the recipe of that name; returns its folder.
    pub fn recipe(&self, name: &str, yaml: &str) -> Utf8PathBuf {
        let file = self.write(&format!("{name}/recipe.yaml"), yaml);
        file.parent().unwrap().to_owned()
    }

    /// Writes `name.tar`.
    pub fn tar(&self, name: &str, entries: &[Entry]) -> Utf8PathBuf {
        let path = self.dir.join(format!("{name}.tar"));
        tar_file(entries, &path);
        path
    }

    /// The program with these arguments, in this place.
    pub fn xtask(&self, arguments: &[&str]) -> Command {
        let mut command = xtask();
        command
            .args(arguments)
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .env("TMPDIR", &self.tmp);
        for name in [
            "GITHUB_ACTIONS",
            "GITHUB_STEP_SUMMARY",
            "RUST_BACKTRACE",
            "SOURCE_DATE_EPOCH",
        ] {
            command.env_remove(name);
        }
        command
    }

    /// A text for a snapshot; see [`redacted`].
    pub fn redacted(&self, text: &str) -> String {
        redacted(&self.dir, text)
    }

    /// Makes an image of a recipe and the tar `tar.tar`.
    pub fn make(&self, recipe: &str, tar: &str, more: &[&str]) -> Command {
        let (recipe, tar) = (format!("./{recipe}"), format!("{tar}.tar"));
        let mut command = self.xtask(&[
            "image", "--force", &recipe, "--from", &tar, "--output", "out",
        ]);
        command.args(["--bootloader-dir", "bootloader"]).args(more);
        command
    }
}

/// The sorted names in a folder. Empty if it does not exist.
pub fn names(dir: &Utf8Path) -> Vec<String> {
    let Ok(entries) = dir.read_dir_utf8() else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().to_owned()).collect();
    names.sort();
    names
}

/// The files of a folder and their SHA-256.
pub fn sums(dir: &Utf8Path) -> BTreeMap<String, String> {
    let sum = |name: String| {
        let sum = sha256(&dir.join(&name));
        (name, sum)
    };
    names(dir).into_iter().map(sum).collect()
}

/// A text for a snapshot: without the paths of the test's folder and of the project, which differ
/// between hosts, and without checksums and IDs, which change with every byte.
pub fn redacted(dir: &Utf8Path, text: &str) -> String {
    let text = text
        .replace(dir.as_str(), "[DIR]")
        .replace(docker_to_linux::recipe::home().as_str(), "[PROJECT]");
    let apart = |c: char| !(c.is_ascii_hexdigit() || c == '-');
    let words = text.split_inclusive(apart);
    words
        .map(|word| match word.trim_end_matches(apart) {
            sum if sum.len() == 64 => word.replace(sum, "[SHA256]"),
            id if uuid::Uuid::parse_str(id).is_ok() => word.replace(id, "[ID]"),
            _ => word.to_owned(),
        })
        .collect()
}

/// Makes the image `test.img` of a tar in `dir`, without metadata files, or `None` (said aloud)
/// without boot loaders.
pub fn image_of(tar: &Utf8Path, recipe: Recipe, dir: &Utf8Path) -> Option<Built> {
    let bootloader_dir = bootloader_dir(dir)?;
    let found = Found {
        name: "test".into(),
        dir: dir.join("recipe"),
        recipe,
    };
    let request = Request {
        source: Source::File(Input::new(Transport::Path(tar.to_owned()))),
        bootloader_dir: Some(bootloader_dir),
        files: Files {
            metadata: false,
            ..Files::default()
        },
        ..Request::new(found, dir)
    };
    Some(build::image(request, &Silent).unwrap())
}
