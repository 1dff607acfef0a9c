//! The digest of a folder's contents.

use crate::model::{Digest, Size};
use crate::stamp::Stamp;
use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::time::SystemTime;

/// Most files of a folder, and their greatest length in bytes. Looking at more would take longer
/// than it may save.
const MOST: usize = 50_000;
const LARGEST: u64 = 256 << 20;

/// How the files of a folder are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// Their contents are read.
    Content,
    /// Their states, for large files.
    Stamp,
}

/// Why a folder or a file cannot be compared.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unlike {
    #[error("{path}: {source}")]
    Io {
        path: Utf8PathBuf,
        source: io::Error,
    },
    #[error("{0} has more than {MOST} files")]
    Many(Utf8PathBuf),
    #[error("the files in {0} are larger than {size}", size = Size(LARGEST))]
    Large(Utf8PathBuf),
    #[error("{0} has only just changed")]
    Fresh(Utf8PathBuf),
}

/// The digest of the names, kinds, permissions and contents of all that is in `dir`. Owners and
/// times are left out: they do not get into an image.
pub(super) fn digest(dir: &Utf8Path, by: By) -> Result<String, Unlike> {
    let mut all = Sha256::new();
    let mut waiting = vec![dir.to_owned()];
    let (mut count, mut len) = (0, 0);
    while let Some(folder) = waiting.pop() {
        let failed = |source| Unlike::Io {
            path: folder.clone(),
            source,
        };
        let entries = folder.read_dir_utf8().map_err(failed)?;
        let entries: io::Result<Vec<_>> = entries.collect();
        let mut entries = entries.map_err(failed)?;
        entries.sort_by(|a, b| a.file_name().cmp(b.file_name()));
        count += entries.len();
        if count > MOST {
            return Err(Unlike::Many(dir.to_owned()));
        }
        for entry in entries {
            let path = entry.into_path();
            let failed = |source| Unlike::Io {
                path: path.clone(),
                source,
            };
            let meta = path.symlink_metadata().map_err(failed)?;
            let name = path.strip_prefix(dir).unwrap_or(&path);
            let kind = meta.file_type();
            let mode = meta.permissions().mode();
            // Lengths keep one entry's end apart from the next one's start.
            all.update(format!("{}:{name} {mode:o} ", name.as_str().len()));
            if kind.is_dir() {
                waiting.push(path);
            } else if kind.is_symlink() {
                let target = path.read_link_utf8().map_err(failed)?;
                all.update(format!("{}:{target}", target.as_str().len()));
            } else if kind.is_file() {
                len += meta.len();
                if by == By::Content && len > LARGEST {
                    return Err(Unlike::Large(dir.to_owned()));
                }
                let digest = match by {
                    By::Content => content(&path)?,
                    By::Stamp => stamp(&path)?,
                };
                all.update(digest);
            }
        }
    }
    Ok(Digest::from(all).hex())
}

/// The digest of a file's content.
pub(super) fn content(path: &Utf8Path) -> Result<String, Unlike> {
    let failed = |source| Unlike::Io {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let mut hash = Sha256::new();
    let mut file = file.take(LARGEST + 1);
    let mut buf = vec![0; 64 << 10];
    loop {
        match file.read(&mut buf) {
            Ok(0) if file.limit() == 0 => return Err(Unlike::Large(path.to_owned())),
            Ok(0) => return Ok(Digest::from(hash).hex()),
            Ok(n) => hash.update(&buf[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(failed(e)),
        }
    }
}

/// The digest of a file's state.
pub(super) fn stamp(path: &Utf8Path) -> Result<String, Unlike> {
    let meta = path.metadata().map_err(|source| Unlike::Io {
        path: path.to_owned(),
        source,
    })?;
    let stamp = Stamp::of(&meta);
    match stamp.is_settled(SystemTime::now()) {
        true => Ok(Digest::of(format!("{stamp:?}").as_bytes()).hex()),
        false => Err(Unlike::Fresh(path.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn every_change_changes_the_digest() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap();
        let write = |name: &str, text: &str| fs::write(dir.join(name), text).unwrap();
        let changes: [(&str, &dyn Fn()); 9] = [
            ("a file", &|| write("a", "1")),
            ("its content", &|| write("a", "2")),
            ("its name", &|| {
                fs::rename(dir.join("a"), dir.join("b")).unwrap();
            }),
            ("its mode", &|| {
                let mode = fs::Permissions::from_mode(0o755);
                fs::set_permissions(dir.join("b"), mode).unwrap();
            }),
            ("a folder", &|| fs::create_dir(dir.join("d")).unwrap()),
            ("a file in it", &|| write("d/a", "2")),
            ("a link", &|| symlink("b", dir.join("l")).unwrap()),
            ("its target", &|| {
                fs::remove_file(dir.join("l")).unwrap();
                symlink("d", dir.join("l")).unwrap();
            }),
            ("a file less", &|| {
                fs::remove_file(dir.join("d/a")).unwrap();
            }),
        ];
        let mut seen = vec![digest(dir, By::Content).unwrap()];
        for (what, change) in changes {
            change();
            let now = digest(dir, By::Content).unwrap();
            assert_eq!(now, digest(dir, By::Content).unwrap());
            assert!(!seen.contains(&now), "{what}");
            seen.push(now);
        }
        assert!(matches!(digest(dir, By::Stamp), Err(Unlike::Fresh(_))));
        let large = fs::File::create(dir.join("large")).unwrap();
        large.set_len(LARGEST + 1).unwrap();
        assert!(matches!(digest(dir, By::Content), Err(Unlike::Large(_))));
    }
}
