//! How something is broken: bytes of the disk, entries of the GPT, files of the two file systems.

use crate::common::{content, program, said};
use camino::{Utf8Path, Utf8PathBuf};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

/// Sector size of the images here.
const SECTOR: u64 = 512;

/// A copy of the good image that is being broken.
pub struct Broken {
    pub image: Utf8PathBuf,
    /// Places of the partitions in bytes.
    pub esp: u64,
    pub root: u64,
    /// Files of the root file system that matter.
    pub parts: Parts,
}

/// Paths in the root file system, without links.
#[derive(Clone)]
pub struct Parts {
    pub kernel: String,
    pub initrd: String,
    pub init: String,
    /// The link to it that the kernel starts.
    pub start: String,
    pub loader: String,
    pub libc: String,
}

impl Broken {
    fn file(&self) -> File {
        let mut options = File::options();
        options.read(true).write(true).open(&self.image).unwrap()
    }

    pub fn read(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.file().read_exact_at(&mut bytes, at).unwrap();
        bytes
    }

    pub fn write(&self, at: u64, bytes: &[u8]) {
        self.file().write_all_at(bytes, at).unwrap();
    }

    pub fn flip(&self, at: u64) {
        let byte = self.read(at, 1)[0];
        self.write(at, &[byte ^ 0xff]);
    }

    pub fn len(&self) -> u64 {
        self.file().metadata().unwrap().len()
    }

    pub fn truncate(&self, len: u64) {
        self.file().set_len(len).unwrap();
    }

    /// Where the two headers of the GPT are.
    pub fn headers(&self) -> [u64; 2] {
        [SECTOR, self.len() - SECTOR]
    }

    /// Changes an entry of both tables (128 bytes), with checksums that fit.
    pub fn entry(&self, number: usize, change: impl Fn(&mut [u8])) {
        for at in self.headers() {
            let mut header = self.read(at, 92);
            let first = u64::from_le_bytes(header[72..80].try_into().unwrap());
            let mut entries = self.read(first * SECTOR, 128 * 128);
            change(&mut entries[(number - 1) * 128..number * 128]);
            self.write(first * SECTOR, &entries);
            header[88..92].copy_from_slice(&crc32fast::hash(&entries).to_le_bytes());
            header[16..20].fill(0);
            let sum = crc32fast::hash(&header);
            header[16..20].copy_from_slice(&sum.to_le_bytes());
            self.write(at, &header);
        }
    }

    /// Runs requests of debugfs on the root file system.
    #[track_caller]
    pub fn debugfs(&self, requests: &[&str]) {
        let image = format!("{}?offset={}", self.image, self.root);
        for request in requests {
            let out = program("debugfs", "e2fsprogs")
                .unwrap()
                .args(["-w", "-R", request, &image])
                .output()
                .unwrap();
            let said = said(&out);
            let fine = said.lines().all(|l| {
                l.is_empty() || l.starts_with("debugfs 1.") || l.starts_with("Allocated inode")
            });
            assert!(out.status.success() && fine, "{request}: {said}");
        }
    }

    /// The contents of a file of the root file system.
    pub fn cat(&self, path: &str) -> Vec<u8> {
        let image = format!("{}?offset={}", self.image, self.root);
        let mut debugfs = program("debugfs", "e2fsprogs").unwrap();
        debugfs
            .args(["-R", &format!("cat \"{path}\""), &image])
            .output()
            .unwrap()
            .stdout
    }

    /// Whether something is at `path` in the root file system.
    pub fn has(&self, path: &str) -> bool {
        let image = format!("{}?offset={}", self.image, self.root);
        let mut debugfs = program("debugfs", "e2fsprogs").unwrap();
        let out = debugfs
            .args(["-R", &format!("stat \"{path}\""), &image])
            .output();
        said(&out.unwrap()).contains("Inode: ")
    }

    /// Replaces a file of the root file system, with this mode.
    pub fn put(&self, path: &str, bytes: &[u8], mode: &str) {
        let from = self.image.with_extension("new");
        std::fs::write(&from, bytes).unwrap();
        if self.has(path) {
            self.debugfs(&[&format!("rm \"{path}\"")]);
        }
        self.debugfs(&[
            &format!("write {from} \"{path}\""),
            &format!("sif \"{path}\" mode 0100{mode}"),
        ]);
    }

    /// Does something with the file system of the ESP.
    pub fn on_esp(&self, change: impl FnOnce(&fatfs::Dir<'_, Window>)) {
        let window = Window {
            file: self.file(),
            start: self.esp,
            at: 0,
        };
        let fs = fatfs::FileSystem::new(window, fatfs::FsOptions::new()).unwrap();
        change(&fs.root_dir());
        fs.unmount().unwrap();
    }

    /// Replaces a file of the ESP.
    pub fn put_on_esp(&self, path: &str, bytes: &[u8]) {
        self.on_esp(|root| {
            let mut file = root.create_file(path).unwrap();
            file.truncate().unwrap();
            file.write_all(bytes).unwrap();
        });
    }

    /// The contents of a file of the ESP.
    pub fn of_esp(&self, path: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.on_esp(|root| {
            root.open_file(path)
                .unwrap()
                .read_to_end(&mut bytes)
                .unwrap();
        });
        bytes
    }

    /// Name and text of systemd-boot's only entry.
    pub fn bls(&self) -> (String, String) {
        let mut name = String::new();
        self.on_esp(|root| {
            let dir = root.open_dir("loader/entries").unwrap();
            let mut names = dir.iter().map(|e| e.unwrap().file_name());
            name = names.find(|n| n.ends_with(".conf")).unwrap();
        });
        let path = format!("loader/entries/{name}");
        let text = String::from_utf8(self.of_esp(&path)).unwrap();
        (path, text)
    }

    /// The path on the ESP that a key of the entry names.
    pub fn named(&self, key: &str) -> String {
        let (_, text) = self.bls();
        let line = text.lines().find(|l| l.starts_with(key)).unwrap();
        line[key.len()..].trim().trim_start_matches('/').to_owned()
    }

    /// Replaces a text in the configurations of both loaders.
    #[track_caller]
    pub fn configure(&self, old: &str, new: &str) {
        let conf = "/boot/extlinux/extlinux.conf";
        let text = String::from_utf8(self.cat(conf)).unwrap();
        assert!(text.contains(old), "{text}");
        self.put(conf, text.replace(old, new).as_bytes(), "644");
        let (path, text) = self.bls();
        self.put_on_esp(&path, text.replace(old, new).as_bytes());
    }

    /// Converts the image, and returns the path of the new one.
    #[track_caller]
    pub fn convert(&mut self, format: &str, more: &[&str], file: &str) {
        let dir = self.image.parent().unwrap().to_owned();
        let name = self.image.file_stem().unwrap().to_owned();
        let arguments = [
            "convert",
            self.image.as_str(),
            "--format",
            format,
            "--output",
        ];
        content(
            crate::common::xtask()
                .args(arguments)
                .arg(dir.join("c"))
                .args(more),
        );
        self.image = dir.join("c").join(file.replace("NAME", &name));
    }

    pub fn rename(&mut self, to: &str) {
        let to = self.image.with_file_name(to);
        std::fs::rename(&self.image, &to).unwrap();
        self.image = to;
    }
}

/// A partition, as `fatfs` wants it.
pub struct Window {
    file: File,
    start: u64,
    at: u64,
}

impl Read for Window {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buf, self.start + self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

impl Write for Window {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.file.write_at(buf, self.start + self.at)?;
        self.at += n as u64;
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Window {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::Current(by) => self.at.checked_add_signed(by).unwrap(),
            SeekFrom::End(_) => unreachable!("the end of a partition"),
        };
        Ok(self.at)
    }
}

/// Copies a file with its holes.
pub fn copy(from: &Utf8Path, to: &Utf8Path) {
    content(std::process::Command::new("cp").args([
        "--sparse=always",
        "--reflink=auto",
        from.as_str(),
        to.as_str(),
    ]));
}
