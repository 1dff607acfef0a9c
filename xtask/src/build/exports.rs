//! What an engine exported, so that an image that it has is not exported twice: that takes longer
//! than everything else.
//!
//! The tar of a container image is kept under the image's ID, and read in place as any plain tar. A
//! power cut may leave a file without its contents, so only those of the current boot are used, and
//! nothing waits for the disk.

use super::Reuse;
use crate::model::size::GIB;
use crate::output::{Access, Pending};
use crate::place;
use crate::plain;
use camino::{Utf8Path, Utf8PathBuf};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::time::SystemTime;

/// Most bytes that are kept. The files that were not used for longest are removed first.
const LARGEST: u64 = 8 * GIB;

/// Size of one write, in bytes.
const CHUNK: usize = 1 << 20;

/// Where exports are kept.
#[derive(Debug)]
pub(super) struct Exports {
    dir: Utf8PathBuf,
    /// Changes when the host starts.
    boot: String,
}

impl Exports {
    /// The exports of this host, if they may be used for an image in `output`. `None` where they
    /// would be on another disk, which may be smaller.
    pub(super) fn beside(output: &Utf8Path, reuse: Reuse) -> Option<Exports> {
        if reuse == Reuse::Nothing {
            return None;
        }
        let boot = plain::read_text("/proc/sys/kernel/random/boot_id".into(), 64);
        let dir = place::cache("exports");
        std::fs::create_dir_all(&dir).ok()?;
        std::fs::create_dir_all(output).ok()?;
        let disk = |path: &Utf8Path| path.metadata().ok().map(|meta| meta.dev());
        let same = disk(&dir).is_some() && disk(&dir) == disk(output);
        let boot = boot.ok()?.trim().to_owned();
        same.then_some(Exports { dir, boot })
    }

    /// The file for an image with this ID.
    fn file(&self, id: &str) -> Option<Utf8PathBuf> {
        let id = id.strip_prefix("sha256:").unwrap_or(id);
        let right = id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit());
        right.then(|| self.dir.join(format!("{id}.{}.tar", self.boot)))
    }

    /// The export of an image, if it is here.
    pub(super) fn find(&self, id: &str) -> Option<File> {
        let file = plain::open(&self.file(id)?).ok()?;
        // It was used last.
        let _ = file.set_modified(SystemTime::now());
        Some(file)
    }

    /// Keeps the tar in `stream`, and returns its file. Nothing was read if the error is
    /// [`Unkept::Id`].
    pub(super) fn keep(&self, id: &str, mut stream: impl Read) -> Result<File, Unkept> {
        let Some(path) = self.file(id) else {
            return Err(Unkept::Id);
        };
        let pending = Pending::create_as(&path, Access::Private)?;
        let mut file = pending.file()?;
        let mut buf = vec![0; CHUNK];
        loop {
            let n = match stream.read(&mut buf) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(Unkept::Read(e)),
            };
            self.write(&mut file, &buf[..n])?;
        }
        // Commands of other runs may read the old file: it keeps its contents.
        pending.commit_unsynced()?;
        self.limit(LARGEST);
        Ok(file)
    }

    /// Writes all of `bytes`. If the disk is full, what was kept makes room.
    fn write(&self, file: &mut File, mut bytes: &[u8]) -> io::Result<()> {
        let mut freed = false;
        while !bytes.is_empty() {
            match file.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => bytes = &bytes[n..],
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::StorageFull && !freed => {
                    self.limit(0);
                    freed = true;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Removes those of earlier boots, and those that were not used for longest, until the rest has
    /// at most `most` bytes.
    fn limit(&self, most: u64) {
        let entries = self.dir.read_dir_utf8().into_iter().flatten().flatten();
        let paths = entries.map(camino::Utf8DirEntry::into_path);
        let all = paths.filter(|path| path.extension() == Some("tar"));
        let mut all: Vec<(SystemTime, u64, Utf8PathBuf)> = all
            .filter_map(|path| {
                let meta = path.metadata().ok()?;
                Some((meta.modified().ok()?, meta.len(), path))
            })
            .collect();
        all.sort();
        let mut room = most;
        for (_, len, path) in all.into_iter().rev() {
            let now = path.as_str().ends_with(&format!(".{}.tar", self.boot));
            match room.checked_sub(len).filter(|_| now) {
                Some(left) => room = left,
                None => drop(std::fs::remove_file(path)),
            }
        }
    }
}

/// Why an export was not kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unkept {
    #[error("the engine's ID of the image is of an unknown kind")]
    Id,
    #[error(transparent)]
    Read(io::Error),
    #[error(transparent)]
    Write(#[from] io::Error),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn id(n: u8) -> String {
        format!("sha256:{n:064x}")
    }

    #[test]
    fn exports_are_kept_until_others_need_the_room() {
        let temp = tempfile::tempdir().unwrap();
        let at = |boot: &str| Exports {
            dir: Utf8Path::from_path(temp.path()).unwrap().to_owned(),
            boot: boot.to_owned(),
        };
        let (old, now) = (at("a"), at("b"));
        let text = |exports: &Exports, n| {
            let mut text = String::new();
            exports.find(&id(n))?.read_to_string(&mut text).unwrap();
            Some(text)
        };
        old.keep(&id(0), &b"zero"[..]).unwrap();
        assert_eq!(text(&old, 0).unwrap(), "zero");
        assert_eq!(text(&now, 0), None, "from an earlier boot");
        for n in 1..4 {
            let bytes = [b'0' + n; 10];
            let kept = now.keep(&id(n), &bytes[..]).unwrap();
            assert_eq!(kept.metadata().unwrap().len(), 10);
            assert_eq!(kept.metadata().unwrap().mode() & 0o777, 0o600);
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert_eq!(text(&old, 0), None);
        // The oldest is used, so the next one goes.
        assert!(text(&now, 1).is_some());
        now.limit(25);
        assert_eq!(text(&now, 2), None);
        assert_eq!(text(&now, 1).unwrap(), "1111111111");
        assert!(text(&now, 3).is_some());
        assert!(matches!(now.keep("../x", io::empty()), Err(Unkept::Id)));
    }

    #[test]
    fn an_export_that_breaks_off_is_not_kept() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("gone"))
            }
        }
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap().to_owned();
        let exports = Exports {
            dir,
            boot: "b".into(),
        };
        let stream = (&b"begin"[..]).chain(Broken);
        assert!(matches!(exports.keep(&id(1), stream), Err(Unkept::Read(_))));
        assert!(exports.find(&id(1)).is_none());
        assert_eq!(exports.dir.read_dir_utf8().unwrap().count(), 0);
    }
}
