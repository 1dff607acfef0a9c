//! File names that are read from other files (a manifest, a list of checksums, a journal), and safe
//! ways to open such files.
//!
//! These files are not trusted: a name in them must never lead out of its folder, or to a device or
//! a pipe.

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{CWD, Mode, OFlags};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read};

/// The longest file name that Linux supports, in bytes (`NAME_MAX` of limits.h).
const LONGEST: usize = 255;

/// The name of a file in a folder, and never a path: not empty, at most 255 bytes, not `.` or `..`,
/// no slash or backslash, no control character, and no `-` at its start, which programs would read
/// as an option.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", inline)]
pub struct PlainName(String);

/// Why a text is not a [`PlainName`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{name:?} is not a plain file name: {why}")]
pub struct NotPlain {
    /// The text, shortened if it is long.
    name: String,
    why: &'static str,
}

impl PlainName {
    /// Converts a text to a name, if it is a valid one.
    pub fn new(name: impl Into<String>) -> Result<PlainName, NotPlain> {
        let name = name.into();
        match why_not(&name) {
            None => Ok(PlainName(name)),
            Some(why) => Err(NotPlain {
                name: name.chars().take(100).collect(),
                why,
            }),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn why_not(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("it is empty")
    } else if name.len() > LONGEST {
        Some("it is longer than 255 bytes")
    } else if name == "." || name == ".." {
        Some("it is a folder")
    } else if name.contains(['/', '\\']) {
        Some("it contains a slash")
    } else if name.chars().any(char::is_control) {
        Some("it contains a control character")
    } else if name.starts_with('-') {
        Some("it begins with `-`, like an option")
    } else {
        None
    }
}

impl std::ops::Deref for PlainName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for PlainName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<Utf8Path> for PlainName {
    fn as_ref(&self) -> &Utf8Path {
        Utf8Path::new(&self.0)
    }
}

impl std::fmt::Display for PlainName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for PlainName {
    type Error = NotPlain;

    fn try_from(name: String) -> Result<PlainName, NotPlain> {
        PlainName::new(name)
    }
}

impl From<PlainName> for String {
    fn from(name: PlainName) -> String {
        name.0
    }
}

/// The last component of `path`, as a [`PlainName`].
pub fn name_of(path: &Utf8Path) -> io::Result<PlainName> {
    PlainName::new(path.file_name().unwrap_or_default())
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))
}

/// Opens the file of that name in `dir` for reading. See [`open`].
pub fn open_in(dir: &Utf8Path, name: &PlainName) -> io::Result<File> {
    open(&dir.join(name))
}

/// Opens a regular file for reading.
///
/// If the last component of `path` is a symbolic link, it is not followed. Pipes and devices are
/// not opened. In all these cases the error has the kind [`io::ErrorKind::InvalidInput`].
pub fn open(path: &Utf8Path) -> io::Result<File> {
    open_with(path, OFlags::NOFOLLOW)
}

/// As [`open`], but a symbolic link is followed.
pub(crate) fn open_followed(path: &Utf8Path) -> io::Result<File> {
    open_with(path, OFlags::empty())
}

fn open_with(path: &Utf8Path, more: OFlags) -> io::Result<File> {
    // Without O_NONBLOCK opening a pipe waits for its other end.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | more;
    let refuse = |what: &str| {
        let text = format!("it is {what}, not a regular file");
        io::Error::new(io::ErrorKind::InvalidInput, text)
    };
    let file = match rustix::fs::openat(
        CWD,
        path.as_std_path(),
        flags | OFlags::CLOEXEC,
        Mode::empty(),
    ) {
        Ok(fd) => File::from(fd),
        // These are the errors of open(2) for a link, and for a socket or a device without a
        // driver.
        Err(rustix::io::Errno::LOOP) if more.contains(OFlags::NOFOLLOW) => {
            return Err(refuse("a symbolic link"));
        }
        Err(rustix::io::Errno::NXIO | rustix::io::Errno::NODEV) => {
            return Err(refuse("a socket or a device"));
        }
        Err(e) => return Err(e.into()),
    };
    match what_else(file.metadata()?.file_type()) {
        None => Ok(file),
        Some(what) => Err(refuse(what)),
    }
}

/// The kind of a file that is not a regular file, for messages.
pub fn what_else(kind: std::fs::FileType) -> Option<&'static str> {
    use std::os::unix::fs::FileTypeExt;
    if kind.is_file() {
        None
    } else if kind.is_dir() {
        Some("a folder")
    } else if kind.is_symlink() {
        Some("a symbolic link")
    } else if kind.is_fifo() {
        Some("a pipe")
    } else if kind.is_socket() {
        Some("a socket")
    } else {
        Some("a device")
    }
}

/// Reads a regular file of at most `most` bytes. See [`open`].
pub fn read(path: &Utf8Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // The length may change while it is read, so the read is limited too.
    open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let text = format!("it is larger than {}", crate::model::size::Size(most));
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(bytes)
}

/// Like [`read`], for text in UTF-8.
pub fn read_text(path: &Utf8Path, most: u64) -> io::Result<String> {
    String::from_utf8(read(path, most)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))
}

/// The folder of `path`: `.` if it is only a name.
pub fn folder(path: &Utf8Path) -> Utf8PathBuf {
    match path.parent() {
        Some(dir) if !dir.as_str().is_empty() => dir.to_owned(),
        _ => ".".into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::process::Command;

    #[test]
    fn names_are_plain_or_refused() {
        let longest = "x".repeat(255);
        for name in [
            "box.img", ".hidden", "a b", "it's", "…", "a..b", "...", &longest,
        ] {
            assert_eq!(PlainName::new(name).unwrap().as_str(), name);
        }
        let too_long = "x".repeat(256);
        let bad = [
            "",
            ".",
            "..",
            "/",
            "/etc/passwd",
            "../x",
            "a/b",
            "a/",
            "./a",
            "a\\b",
            "a\0b",
            "a\nb",
            "\u{1b}[2J",
            "a\u{7f}",
            "\u{85}",
            "-rf",
            "--output",
            &too_long,
        ];
        for name in bad {
            let error = PlainName::new(name).unwrap_err().to_string();
            assert!(error.contains("not a plain file name"), "{error}");
            assert!(!error.chars().any(char::is_control), "{error:?}");
            let json = serde_json::to_string(name).unwrap();
            assert!(serde_json::from_str::<PlainName>(&json).is_err(), "{json}");
        }
    }

    #[test]
    fn only_regular_files_are_opened() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap();
        std::fs::write(dir.join("file"), "12345").unwrap();
        std::fs::create_dir(dir.join("folder")).unwrap();
        for (name, target) in [("link", "file"), ("nowhere", "x"), ("zero", "/dev/zero")] {
            std::os::unix::fs::symlink(target, dir.join(name)).unwrap();
        }
        let made = Command::new("mkfifo").arg(dir.join("pipe")).status();
        assert!(made.unwrap().success());
        let _socket = std::os::unix::net::UnixListener::bind(dir.join("socket")).unwrap();
        for (name, what) in [
            ("link", "a symbolic link"),
            ("nowhere", "a symbolic link"),
            ("zero", "a symbolic link"),
            ("pipe", "a pipe"),
            ("socket", "a socket"),
            ("folder", "a folder"),
        ] {
            let error = open_in(dir, &PlainName::new(name).unwrap()).unwrap_err();
            assert!(error.to_string().contains(what), "{name}: {error}");
        }
        let error = open(Utf8Path::new("/dev/zero")).unwrap_err().to_string();
        assert!(error.contains("a device"), "{error}");
        assert_eq!(read(&dir.join("file"), 5).unwrap(), b"12345");
        let error = read(&dir.join("file"), 4).unwrap_err().to_string();
        assert!(error.contains("larger than 4"), "{error}");
    }
}
