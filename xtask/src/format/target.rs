//! The destination of an artifact that is written front to back: compressed or not, into one file
//! or into parts (a release asset must be smaller than 2 GiB), with the checksums of all of them.

use super::batch::Batch;
use super::pack::Packer;
use crate::hasher::{Hasher, ZEROS};
use crate::model::Packing;
use crate::output::{Access, Pending};
use crate::shell::quote;
use camino::{Utf8Path, Utf8PathBuf};
use std::io::{self, Write};

/// Largest number of parts of one file: three digits are enough to sort their names.
const MOST_PARTS: usize = 1000;

/// A file that is written but does not have its name yet.
#[derive(Debug)]
pub struct Written {
    /// The open file.
    pub pending: Pending,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256, in lower-case hexadecimal.
    pub sha256: String,
}

/// All files of one artifact.
#[derive(Debug)]
pub struct Whole {
    /// The file, or its parts in order.
    pub files: Vec<Written>,
    /// Size of all parts together in bytes.
    pub size: u64,
    /// SHA-256 of all parts together, in lower-case hexadecimal.
    pub sha256: String,
}

/// A writer for one artifact. [`Target::finish`] must be called last.
#[derive(Debug)]
pub struct Target(Out);

#[derive(Debug)]
enum Out {
    Plain(Box<Parts>),
    Packed(Box<Packer<Parts>>),
}

impl Target {
    /// Starts the file `path`, with the permissions that `access` gives, compressed by `threads`
    /// threads as `packing` says. If it becomes larger than `limit` bytes, it is cut into parts of
    /// that size, with names from [`part_name`].
    pub fn create(
        path: &Utf8Path,
        access: Access,
        packing: Option<Packing>,
        limit: Option<u64>,
        threads: usize,
    ) -> io::Result<Target> {
        let parts = Parts::create(path, access, limit)?;
        Ok(Target(match packing {
            None => Out::Plain(Box::new(parts)),
            Some(how) => Out::Packed(Box::new(Packer::new(parts, how, threads)?)),
        }))
    }

    /// Writes `len` zeros. In an uncompressed file they become a hole.
    pub fn zeros(&mut self, mut len: u64) -> io::Result<()> {
        match &mut self.0 {
            Out::Plain(parts) => parts.zeros(len),
            Out::Packed(packer) => {
                while len > 0 {
                    let n = usize::try_from(len).map_or(ZEROS.len(), |n| n.min(ZEROS.len()));
                    packer.write_all(&ZEROS[..n])?;
                    len -= n as u64;
                }
                Ok(())
            }
        }
    }

    /// Writes what is held back.
    pub fn finish(&mut self) -> io::Result<Whole> {
        match &mut self.0 {
            Out::Plain(parts) => parts.finish(),
            Out::Packed(packer) => {
                packer.finish()?;
                packer.get_mut().finish()
            }
        }
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Out::Plain(parts) => parts.write(bytes),
            Out::Packed(packer) => packer.write(bytes),
        }
    }

    /// Does nothing: see [`Target::finish`].
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Files of at most `limit` bytes, one after another.
#[derive(Debug)]
struct Parts {
    path: Utf8PathBuf,
    access: Access,
    limit: Option<u64>,
    open: Option<Part>,
    done: Vec<Written>,
    /// The hash of all parts together, if there can be several.
    whole: Option<Hasher>,
}

#[derive(Debug)]
struct Part {
    pending: Pending,
    file: Batch,
    size: u64,
    hash: Hasher,
}

impl Parts {
    fn create(path: &Utf8Path, access: Access, limit: Option<u64>) -> io::Result<Parts> {
        let mut parts = Parts {
            path: path.to_owned(),
            access,
            limit: limit.map(|limit| limit.max(1)),
            open: None,
            done: Vec::new(),
            whole: limit.map(|_| Hasher::new()).transpose()?,
        };
        parts.next()?;
        Ok(parts)
    }

    /// Begins a part, and closes the previous one.
    fn next(&mut self) -> io::Result<()> {
        self.close()?;
        if self.done.len() == MOST_PARTS {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("it needs more than {MOST_PARTS} parts of the size given with --split"),
            ));
        }
        let name = self.path.file_name().unwrap_or("image");
        let path = match self.limit {
            None => self.path.clone(),
            Some(_) => self.path.with_file_name(part_name(name, self.done.len())),
        };
        let pending = Pending::create_as(&path, self.access)?;
        self.open = Some(Part {
            file: Batch::new(pending.file()?),
            pending,
            size: 0,
            hash: Hasher::new()?,
        });
        Ok(())
    }

    fn close(&mut self) -> io::Result<()> {
        if let Some(mut part) = self.open.take() {
            part.file.finish(part.size)?;
            self.done.push(Written {
                pending: part.pending,
                size: part.size,
                sha256: part.hash.finish()?,
            });
        }
        Ok(())
    }

    /// The open part and the number of bytes that it has room for, at least one.
    fn part(&mut self) -> io::Result<(&mut Part, u64)> {
        let limit = self.limit.unwrap_or(u64::MAX);
        if self.open.as_ref().is_none_or(|part| part.size == limit) {
            self.next()?;
        }
        match &mut self.open {
            Some(part) => {
                let room = limit - part.size;
                Ok((part, room))
            }
            None => Err(io::Error::other("there is no part to write to")),
        }
    }

    fn zeros(&mut self, mut len: u64) -> io::Result<()> {
        if let Some(whole) = &mut self.whole {
            whole.zeros(len)?;
        }
        while len > 0 {
            let (part, room) = self.part()?;
            let n = room.min(len);
            part.hash.zeros(n)?;
            part.size += n;
            len -= n;
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<Whole> {
        self.close()?;
        let mut files = std::mem::take(&mut self.done);
        let size = files.iter().map(|f| f.size).sum();
        let sha256 = match (self.whole.take(), &mut files[..]) {
            // A single part keeps the name of the whole file.
            (_, [one]) => {
                one.pending.rename(self.path.file_name().unwrap_or("image"));
                one.sha256.clone()
            }
            (Some(whole), _) => whole.finish()?,
            (None, _) => return Err(io::Error::other("an artifact was finished twice")),
        };
        Ok(Whole {
            files,
            size,
            sha256,
        })
    }
}

impl Write for Parts {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let (part, room) = self.part()?;
        let n = usize::try_from(room).map_or(bytes.len(), |room| room.min(bytes.len()));
        part.file.write(part.size, &bytes[..n])?;
        part.hash.update(&bytes[..n])?;
        part.size += n as u64;
        if let Some(whole) = &mut self.whole {
            whole.update(&bytes[..n])?;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Name of part `n` (from 0) of the file `name`. Sorting the names gives the order of the parts.
pub fn part_name(name: &str, n: usize) -> String {
    format!("{name}.part-{n:03}")
}

/// Whether `name` is a part of the file `whole`.
pub fn is_part_of(name: &str, whole: &str) -> bool {
    let number = name
        .strip_prefix(whole)
        .and_then(|rest| rest.strip_prefix(".part-"));
    number.is_some_and(|n| n.len() == 3 && n.bytes().all(|b| b.is_ascii_digit()))
}

/// The command that joins the parts of `name`, for any POSIX shell.
pub fn join_command(name: &str) -> String {
    let quoted = quote(name);
    format!("cat {quoted}.part-??? > {quoted}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::model::Packing;

    use super::{Target, is_part_of, join_command, part_name};
    use crate::format::digest::sha256;
    use crate::output::Access;
    use camino::{Utf8Path, Utf8PathBuf};
    use std::io::Write;
    use std::process::Command;

    fn dir() -> (tempfile::TempDir, Utf8PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap().to_owned();
        (dir, path)
    }

    #[test]
    fn parts_are_joined_by_the_command_that_is_named() {
        let (_dir, dir) = dir();
        let name = "it's an image.img";
        let mut target =
            Target::create(&dir.join(name), Access::Shared, None, Some(10_000), 1).unwrap();
        let text: Vec<u8> = (0..7_777_u32).flat_map(u32::to_le_bytes).collect();
        for piece in text.chunks(777) {
            target.write_all(piece).unwrap();
        }
        target.zeros(25_000).unwrap();
        target.write_all(b"end").unwrap();
        let whole: Vec<u8> = [&text[..], &[0; 25_000], b"end"].concat();
        let written = target.finish().unwrap();
        assert_eq!(written.size, whole.len() as u64);
        assert_eq!(written.sha256, sha256(&whole[..]).unwrap());
        for (n, file) in written.files.into_iter().enumerate() {
            let part = whole.chunks(10_000).nth(n).unwrap();
            assert_eq!(file.size, part.len() as u64);
            assert_eq!(file.sha256, sha256(part).unwrap());
            assert_eq!(file.pending.path().file_name().unwrap(), part_name(name, n));
            file.pending.commit().unwrap();
        }
        let status = Command::new("sh")
            .args(["-c", &join_command(name)])
            .current_dir(&dir)
            .status();
        assert!(status.unwrap().success());
        assert!(fs_err::read(dir.join(name)).unwrap() == whole);
    }

    #[test]
    fn what_is_small_enough_stays_whole() {
        let (_dir, dir) = dir();
        let path = dir.join("a.img.gz");
        for limit in [None, Some(10_000)] {
            let mut target =
                Target::create(&path, Access::Private, Some(Packing::Gzip), limit, 1).unwrap();
            target.zeros(4 << 20).unwrap();
            let mut whole = target.finish().unwrap();
            assert_eq!(whole.files.len(), 1);
            let file = whole.files.remove(0);
            assert_eq!(file.pending.path(), path);
            assert_eq!((file.size, &file.sha256), (whole.size, &whole.sha256));
            file.pending.commit().unwrap();
            assert_eq!(fs_err::read_dir(&dir).unwrap().count(), 1);
            let bytes = fs_err::read(&path).unwrap();
            assert_eq!(whole.sha256, sha256(&bytes[..]).unwrap());
        }
        assert!(is_part_of("a.part-012", "a") && !is_part_of("a.part-0123", "a"));
        assert!(!is_part_of("a.part-01x", "a") && !is_part_of("b.part-012", "a"));
    }

    #[test]
    fn too_many_parts_are_refused_and_nothing_is_left() {
        let (_dir, dir) = dir();
        let mut target = Target::create(&dir.join("x"), Access::Shared, None, Some(1), 1).unwrap();
        let error = target.zeros(1001).unwrap_err();
        assert!(error.to_string().contains("--split"), "{error}");
        drop(target);
        assert_eq!(fs_err::read_dir(&dir).unwrap().count(), 0);
    }
}
