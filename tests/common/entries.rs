//! Root file systems as lists of entries, and their tars.

use camino::Utf8Path;
use std::collections::BTreeMap;
use std::io::Write;

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
            // GNU's format 1.0: the map precedes the data, in whole blocks.
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
