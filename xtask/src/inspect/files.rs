//! Files of an image: the same questions to a FAT and to an ext4.
//!
//! Paths are inside the file system: no link leads out of it. What cannot be read counts as not
//! there, except where a function returns an error.

use crate::format::source::Disk;
use crate::fs::ext4::Placed;
use crate::fs::fat::read::Fat;
use ext4_view::{Ext4, FileType};
use std::io::{self, Read};

/// Longest text that is read, in bytes.
const MOST_TEXT: u64 = 1 << 20;
/// Most names of a folder that are returned.
const MOST_NAMES: usize = 4096;

/// Kind of what a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    Other,
}

/// What a path leads to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stat {
    pub(super) kind: Kind,
    pub(super) len: u64,
    /// Permission bits; all of them on FAT.
    pub(super) mode: u16,
}

/// A file system that is only read.
pub(super) trait Files {
    /// What `path` leads to, through all links.
    fn stat(&self, path: &str) -> Option<Stat>;
    /// The file at `path`, from front to back.
    fn open(&self, path: &str) -> io::Result<Box<dyn Read + '_>>;
    /// The names in a folder, sorted.
    fn names(&self, path: &str) -> Vec<String>;

    /// Whether a file that is not a folder is at `path`.
    fn is_file(&self, path: &str) -> bool {
        self.stat(path).is_some_and(|s| s.kind == Kind::File)
    }

    /// The first `most` bytes of a file.
    fn head(&self, path: &str, most: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open(path)?.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The text of a file that is not too long. Bytes that are no text are replaced.
    fn text(&self, path: &str) -> Option<String> {
        let bytes = self.head(path, MOST_TEXT).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Files for Fat {
    fn stat(&self, path: &str) -> Option<Stat> {
        let entry = self.find(path).ok()??;
        Some(Stat {
            kind: match entry.folder {
                true => Kind::Folder,
                false => Kind::File,
            },
            len: entry.len,
            mode: 0o777,
        })
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn Read + '_>> {
        match self.find(path)? {
            Some(entry) if !entry.folder => Ok(Box::new(self.open_file(&entry))),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn names(&self, path: &str) -> Vec<String> {
        let entries = self.list(path).unwrap_or_default();
        let names = entries.into_iter().map(|e| e.name).take(MOST_NAMES);
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }
}

/// An ext2, ext3 or ext4.
pub(super) struct Root {
    fs: Ext4,
}

/// Why an ext4 cannot be read.
pub(super) enum Unread {
    /// This program does not know one of its features.
    Feature(String),
    /// It is damaged.
    Damaged(String),
}

impl Root {
    /// Opens the file system that begins at byte `start`.
    pub(super) fn open(disk: &Disk, start: u64) -> Result<Root, Unread> {
        let disk = disk.clone();
        let place = Placed::new(start, move |at, dst: &mut [u8]| disk.read_at(at, dst));
        let fs = Ext4::load(Box::new(place)).map_err(|e| match e {
            ext4_view::Ext4Error::Incompatible(_) => Unread::Feature(e.to_string()),
            _ => Unread::Damaged(e.to_string()),
        })?;
        Ok(Root { fs })
    }

    /// Whether the root folder can be read; why not.
    pub(super) fn root_folder(&self) -> Result<(), String> {
        let mut entries = self.fs.read_dir("/").map_err(|e| e.to_string())?;
        entries
            .try_for_each(|e| e.map(drop))
            .map_err(|e| e.to_string())
    }

    /// The path without links.
    pub(super) fn canonical(&self, path: &str) -> Option<String> {
        let path = self.fs.canonicalize(path).ok()?;
        path.to_str().ok().map(str::to_owned)
    }

    /// Where the link at `path` points to, if it is one.
    pub(super) fn link(&self, path: &str) -> Option<String> {
        let target = self.fs.read_link(path).ok()?;
        target.to_str().ok().map(str::to_owned)
    }

    /// Whether something is at `path`, also a link that leads nowhere.
    pub(super) fn has(&self, path: &str) -> bool {
        self.fs.symlink_metadata(path).is_ok()
    }
}

impl Files for Root {
    fn stat(&self, path: &str) -> Option<Stat> {
        let meta = self.fs.metadata(path).ok()?;
        Some(Stat {
            kind: match meta.file_type() {
                FileType::Regular => Kind::File,
                FileType::Directory => Kind::Folder,
                _ => Kind::Other,
            },
            len: meta.len(),
            mode: meta.mode() & 0o7777,
        })
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn Read + '_>> {
        let file = self.fs.open(path).map_err(io::Error::other)?;
        Ok(Box::new(file))
    }

    fn names(&self, path: &str) -> Vec<String> {
        let Ok(entries) = self.fs.read_dir(path) else {
            return Vec::new();
        };
        let names = entries.map_while(Result::ok);
        let names = names.filter_map(|e| e.file_name().as_str().ok().map(str::to_owned));
        let names = names.filter(|n| n != "." && n != "..").take(MOST_NAMES);
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }
}
