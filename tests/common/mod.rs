//! What the integration tests share: a root file system as a list of entries, its tar, and
//! the judges.

pub mod github;
pub mod machine;
pub mod oci;
pub mod sector;

use camino::{Utf8Path, Utf8PathBuf};
use docker_to_linux::bootloader::files;
use docker_to_linux::model::{Arch, BootMode};
use docker_to_linux::tool::Tool;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// Says aloud that something was not checked. In CI everything must be.
pub fn skipped<T>(why: &str) -> Option<T> {
    assert!(std::env::var_os("CI").is_none(), "{why}");
    eprintln!("SKIPPED: {why}");
    None
}

/// A judge, or `None` (said aloud) where it is not installed.
pub fn judge(tool: Tool) -> Option<Command> {
    match tool.require() {
        Ok(path) => Some(Command::new(path)),
        Err(report) => skipped(&report.to_string()),
    }
}

/// A judge that the program itself never names.
pub fn program(name: &str, package: &str) -> Option<Command> {
    match Command::new(name).arg("--version").output() {
        Ok(_) => Some(Command::new(name)),
        Err(_) => skipped(&format!("{name} (package {package}) is not installed")),
    }
}

/// The SPDX project's own validator, which `cargo xtask setup` brings.
pub fn spdx_judge() -> Option<Command> {
    let judges = docker_to_linux::recipe::home().join("target/judges");
    let mut command = Command::new("python3");
    command
        .args(["-m", "spdx_tools.spdx.clitools.pyspdxtools"])
        .env("PYTHONPATH", judges);
    let mut asked = Command::new("python3");
    asked.args(["-c", "import spdx_tools"]);
    asked.env("PYTHONPATH", command.get_envs().next()?.1?);
    match asked.output() {
        Ok(out) if out.status.success() => Some(command),
        _ => skipped("spdx-tools is not installed: `cargo xtask setup` does it"),
    }
}

/// Runs a judge that must be content; returns all that it said.
#[track_caller]
pub fn content(command: &mut Command) -> String {
    let out = command.env("LC_ALL", "C.UTF-8").output().unwrap();
    let said = said(&out);
    assert!(out.status.success(), "{command:?}: {}\n{said}", out.status);
    said
}

/// Both outputs of a command.
pub fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
}

/// Whether this process is root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// What `--exact` calls the test `name` of a module (`module_path!()`).
pub fn test_name(module: &str, name: &str) -> String {
    let (_program, module) = module.split_once("::").unwrap();
    format!("{module}::{name}")
}

/// Runs the test `name` of a module (`module_path!()`) once more as root with sudo, if this
/// process is not root and sudo asks for no password. `true`: that is done, and it passed; the
/// caller has nothing left to do. Only root may mount a file system to ask the kernel about it.
pub fn passed_as_root(module: &str, name: &str) -> bool {
    let may = || {
        let out = Command::new("sudo").args(["-n", "true"]).output();
        out.is_ok_and(|o| o.status.success())
    };
    if is_root() || !may() {
        return false;
    }
    let kept = ["CI", "PATH"].into_iter().filter_map(|name| {
        let value = std::env::var(name).ok()?;
        Some(format!("{name}={value}"))
    });
    let test = test_name(module, name);
    let out = Command::new("sudo")
        .args(["-n", "env"])
        .args(kept)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &test, "--nocapture"])
        .output()
        .unwrap();
    let said = said(&out);
    eprintln!("{said}");
    assert!(out.status.success(), "{test} failed as root");
    // A name that no test has is no error for the test program.
    assert!(said.contains(" 1 passed;"), "there is no test {test}");
    true
}

/// A file system of an image, mounted; unmounted when dropped.
pub struct Mounted(tempfile::TempDir);

impl Mounted {
    /// Mounts `len` bytes of `image` from byte `start` on by a loop device, or `None` (said
    /// aloud) where this process may not.
    pub fn new(image: &Path, start: u64, len: u64, options: &str) -> Option<Mounted> {
        if !is_root() {
            return skipped("mounting an image takes root: run the tests by sudo to have it done");
        }
        let dir = tempfile::tempdir().unwrap();
        let options = format!("loop,offset={start},sizelimit={len},{options}");
        content(
            Command::new("mount")
                .args(["-t", "ext4", "-o", &options])
                .arg(image)
                .arg(dir.path()),
        );
        Some(Mounted(dir))
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Another test may have started a program just now, which holds copies of our open files
        // until it runs.
        for _ in 0..50 {
            let out = Command::new("umount").arg(self.0.path()).output();
            if out.is_ok_and(|o| o.status.success()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        if !std::thread::panicking() {
            panic!("{:?} cannot be unmounted", self.0.path());
        }
    }
}

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

/// Something in a root file system.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Path without a leading `/`; the root is empty.
    pub path: String,
    pub kind: Kind,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Seconds since 1970 and nanoseconds after them.
    pub mtime: (i64, u32),
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

/// What it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Dir,
    File(Vec<u8>),
    /// Length, and the runs that are no holes.
    Sparse(u64, Vec<(u64, Vec<u8>)>),
    Symlink(String),
    /// A second name of this path.
    HardLink(String),
    Char(u32, u32),
    Block(u32, u32),
    Fifo,
}

/// The newest time of everything that [`entry`] makes: 2023-11-14.
pub const NOW: i64 = 1_700_000_000;

/// An entry of root's with a usual mode.
pub fn entry(path: &str, kind: Kind) -> Entry {
    let mode = match kind {
        Kind::Dir => 0o755,
        Kind::Symlink(_) => 0o777,
        _ => 0o644,
    };
    Entry {
        path: path.to_owned(),
        kind,
        mode,
        uid: 0,
        gid: 0,
        mtime: (NOW, 0),
        xattrs: BTreeMap::new(),
    }
}

impl Entry {
    pub fn mode(mut self, mode: u32) -> Entry {
        self.mode = mode;
        self
    }
    pub fn owner(mut self, uid: u32, gid: u32) -> Entry {
        (self.uid, self.gid) = (uid, gid);
        self
    }
    pub fn time(mut self, secs: i64, nanos: u32) -> Entry {
        self.mtime = (secs, nanos);
        self
    }
    pub fn xattr(mut self, name: &str, value: impl Into<Vec<u8>>) -> Entry {
        self.xattrs.insert(name.to_owned(), value.into());
        self
    }
}

/// A directory.
pub fn dir(path: &str) -> Entry {
    entry(path, Kind::Dir)
}

/// A file.
pub fn file(path: &str, content: impl Into<Vec<u8>>) -> Entry {
    entry(path, Kind::File(content.into()))
}

/// A symbolic link.
pub fn link(path: &str, target: &str) -> Entry {
    entry(path, Kind::Symlink(target.to_owned()))
}

/// Bytes that differ from sector to sector and from file to file.
pub fn pattern(seed: u32, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 4);
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// The least that passes for a machine: a kernel, its initrd, an init.
pub fn machine() -> Vec<Entry> {
    vec![
        dir(""),
        dir("boot"),
        file("boot/vmlinuz-6.1", pattern(1, 700_001)),
        file("boot/initrd.img-6.1", pattern(2, 1_500_000)),
        link("vmlinuz", "boot/vmlinuz-6.1"),
        link("initrd.img", "boot/initrd.img-6.1"),
        dir("sbin"),
        file("sbin/init", pattern(3, 20_000)).mode(0o755),
        dir("etc"),
        dir("usr"),
        dir("usr/lib"),
        file("etc/os-release", "PRETTY_NAME=\"Test 1\"\n"),
    ]
}

/// Writes entries as a PAX tar, as container engines do.
pub fn write_tar(entries: &[Entry], out: impl Write) {
    let mut tar = tar::Builder::new(out);
    for e in entries {
        append(&mut tar, e);
    }
    tar.into_inner().unwrap().flush().unwrap();
}

/// Writes entries as a tar file.
pub fn tar_file(entries: &[Entry], at: &Utf8Path) {
    let file = fs_err::File::create(at).unwrap();
    write_tar(entries, std::io::BufWriter::new(file));
}

fn append(tar: &mut tar::Builder<impl Write>, e: &Entry) {
    let mut name = format!("./{}", e.path);
    if e.kind == Kind::Dir && !e.path.is_empty() {
        name.push('/');
    }
    let mut records: Vec<(String, Vec<u8>)> = Vec::new();
    let mut header = tar::Header::new_ustar();
    header.set_mode(e.mode);
    let (secs, nanos) = e.mtime;
    if secs < 0 || nanos != 0 {
        let time = match (secs, nanos) {
            // -1.25 is 0.75 after -2.
            (s, n) if s < 0 && n > 0 => format!("-{}.{:09}", -(s + 1), 1_000_000_000 - n),
            (s, n) => format!("{s}.{n:09}"),
        };
        records.push(("mtime".into(), time.into_bytes()));
    }
    header.set_mtime(u64::try_from(secs).unwrap_or(0));
    for (key, id) in [("uid", e.uid), ("gid", e.gid)] {
        // What seven octal digits hold.
        let short = id < 1 << 21;
        if !short {
            records.push((key.into(), id.to_string().into_bytes()));
        }
        let field = if short { u64::from(id) } else { 0 };
        match key {
            "uid" => header.set_uid(field),
            _ => header.set_gid(field),
        }
    }
    for (key, value) in &e.xattrs {
        records.push((format!("SCHILY.xattr.{key}"), value.clone()));
    }
    let mut content: Vec<u8> = Vec::new();
    let mut target = None;
    let kind = match &e.kind {
        Kind::Dir => tar::EntryType::Directory,
        Kind::File(bytes) => {
            content.clone_from(bytes);
            tar::EntryType::Regular
        }
        Kind::Sparse(size, runs) => {
            // GNU's form 1.0: the map lies in front of the data, in whole blocks.
            let mut map = format!("{}\n", runs.len());
            for (at, bytes) in runs {
                map += &format!("{at}\n{}\n", bytes.len());
            }
            content = map.into_bytes();
            content.resize(content.len().next_multiple_of(512), 0);
            for (_, bytes) in runs {
                content.extend_from_slice(bytes);
            }
            records.push(("GNU.sparse.major".into(), b"1".to_vec()));
            records.push(("GNU.sparse.minor".into(), b"0".to_vec()));
            records.push(("GNU.sparse.name".into(), name.clone().into_bytes()));
            records.push(("GNU.sparse.realsize".into(), size.to_string().into_bytes()));
            tar::EntryType::Regular
        }
        Kind::Symlink(to) => {
            target = Some(to.clone());
            tar::EntryType::Symlink
        }
        Kind::HardLink(to) => {
            target = Some(format!("./{to}"));
            tar::EntryType::Link
        }
        Kind::Char(major, minor) => {
            header.set_device_major(*major).unwrap();
            header.set_device_minor(*minor).unwrap();
            tar::EntryType::Char
        }
        Kind::Block(major, minor) => {
            header.set_device_major(*major).unwrap();
            header.set_device_minor(*minor).unwrap();
            tar::EntryType::Block
        }
        Kind::Fifo => tar::EntryType::Fifo,
    };
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    let short = |text: &str| text.len() <= 100 && text.is_ascii();
    if !short(&name) {
        records.push(("path".into(), name.clone().into_bytes()));
        name = "long".into();
    }
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    if let Some(to) = &mut target {
        if !short(to) {
            records.push(("linkpath".into(), to.clone().into_bytes()));
            *to = "long".into();
        }
        header.as_mut_bytes()[157..157 + to.len()].copy_from_slice(to.as_bytes());
    }
    header.set_cksum();
    let records = records.iter().map(|(k, v)| (k.as_str(), v.as_slice()));
    tar.append_pax_extensions(records).unwrap();
    tar.append(&header, &*content).unwrap();
}

/// Runs a command with `input` on its standard input and returns its output.
pub fn with_input(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|s| {
        s.spawn(move || {
            // Whoever ends without reading all of it has said why.
            let _ = stdin.write_all(input);
        });
        child.wait_with_output().unwrap()
    })
}

/// The least EFI program that is one: a section `.text` with these bytes, and room for the headers
/// of ten more (Microsoft, "PE Format").
pub fn efi_program(text: &[u8]) -> Vec<u8> {
    const HEADERS: usize = 1024;
    let size = (text.len() as u32).next_multiple_of(512);
    let mut bytes = vec![0; HEADERS + size as usize];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, b"MZ");
    put(60, &64_u32.to_le_bytes());
    put(64, b"PE\0\0\x64\x86\x01\0");
    put(84, &[240, 0, 0x06, 0x02]);
    // The optional header: PE32+, alignments, sizes, an EFI application, no data directories.
    put(88, &0x20b_u16.to_le_bytes());
    put(88 + 16, &4096_u32.to_le_bytes());
    put(88 + 32, &4096_u32.to_le_bytes());
    put(88 + 36, &512_u32.to_le_bytes());
    put(88 + 56, &(4096 + size).next_multiple_of(4096).to_le_bytes());
    put(88 + 60, &(HEADERS as u32).to_le_bytes());
    put(88 + 68, &[10, 0, 0x00, 0x01]);
    put(88 + 108, &16_u32.to_le_bytes());
    put(328, b".text");
    put(328 + 8, &(text.len() as u32).to_le_bytes());
    put(328 + 12, &4096_u32.to_le_bytes());
    put(328 + 16, &size.to_le_bytes());
    put(328 + 20, &(HEADERS as u32).to_le_bytes());
    put(328 + 36, &0x6000_0020_u32.to_le_bytes());
    put(HEADERS, text);
    bytes
}
