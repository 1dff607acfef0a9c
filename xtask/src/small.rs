//! Reads files that people name or write, which must be small: whatever lies there, neither
//! memory nor time is lost on it.

use crate::model::size::Size;
use crate::plain;
use camino::Utf8Path;
use std::fs::File;
use std::io::{self, Read};

/// Reads text in UTF-8 of at most `most` bytes out of a regular file; symbolic links are
/// followed. A pipe is not waited for, and a device not read: both are errors, as is more text.
pub fn regular(path: &Utf8Path, most: u64) -> io::Result<String> {
    let file = plain::open_followed(path)?;
    let meta = file.metadata()?;
    if meta.len() > most {
        return Err(too_large(most));
    }
    text(file, most)
}

/// The same of whatever the user of this program named: also a pipe, which a shell makes for
/// `<(command)`.
pub fn given(path: &Utf8Path, most: u64) -> io::Result<String> {
    text(File::open(path)?, most)
}

fn text(file: File, most: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(too_large(most));
    }
    String::from_utf8(bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not text in UTF-8"))
}

fn too_large(most: u64) -> io::Error {
    let text = format!("it is larger than {}", Size(most));
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn nothing_endless_is_read() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap();
        let file = dir.join("file");
        std::fs::write(&file, "12345").unwrap();
        std::os::unix::fs::symlink("file", dir.join("link")).unwrap();
        assert_eq!(regular(&dir.join("link"), 5).unwrap(), "12345");
        assert_eq!(given(&file, 5).unwrap(), "12345");
        let large = std::fs::File::create(dir.join("large")).unwrap();
        large.set_len(1 << 40).unwrap();
        let pipe = dir.join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        for (path, word) in [
            (file.as_path(), "larger than 4"),
            (&dir.join("large"), "larger"),
            (&pipe, "regular"),
            (Utf8Path::new("/dev/zero"), "regular"),
            (dir, "regular"),
        ] {
            let error = regular(path, 4).unwrap_err().to_string();
            assert!(error.contains(word), "{path}: {error}");
        }
        for path in [&file, Utf8Path::new("/dev/zero"), &dir.join("large")] {
            let error = given(path, 4).unwrap_err().to_string();
            assert!(error.contains("larger than 4"), "{path}: {error}");
        }
    }
}
