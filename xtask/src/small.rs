//! Reads small files that users name or write. The size is limited, so that a wrong file does not
//! use up memory or time.

use crate::model::size::Size;
use crate::plain;
use camino::Utf8Path;
use std::fs::File;
use std::io::{self, Read};

/// Reads UTF-8 text of at most `most` bytes from a regular file; symbolic links are followed.
/// Pipes, devices and larger files are errors.
pub fn regular(path: &Utf8Path, most: u64) -> io::Result<String> {
    let file = plain::open_followed(path)?;
    let meta = file.metadata()?;
    if meta.len() > most {
        return Err(too_large(most));
    }
    text(file, most)
}

/// Like [`regular`], but for any file that the user named, including a pipe, which a shell makes
/// for `<(command)`.
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
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))
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
