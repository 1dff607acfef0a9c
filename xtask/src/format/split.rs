//! Parts of a file under a limit: a release asset must stay under 2 GiB.

use std::fs::File;
use std::io::{self, Write};

/// A writer that starts a new file whenever one is full.
pub struct Split<F> {
    /// Makes part number n, from 0.
    next: F,
    limit: u64,
    part: Option<File>,
    /// Bytes in each part so far.
    sizes: Vec<u64>,
}

impl<F> std::fmt::Debug for Split<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Split")
            .field("limit", &self.limit)
            .field("sizes", &self.sizes)
            .finish_non_exhaustive()
    }
}

impl<F: FnMut(usize) -> io::Result<File>> Split<F> {
    /// Parts of at most `limit` bytes (at least 1). `next` makes the empty file of part n; the
    /// first is made when the first byte comes.
    pub fn new(limit: u64, next: F) -> Split<F> {
        Split {
            next,
            limit: limit.max(1),
            part: None,
            sizes: Vec::new(),
        }
    }

    /// The size of each part, in bytes.
    pub fn sizes(&self) -> &[u64] {
        &self.sizes
    }
}

impl<F: FnMut(usize) -> io::Result<File>> Write for Split<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let full = self.sizes.last().is_none_or(|size| *size == self.limit);
        if full || self.part.is_none() {
            self.part = Some((self.next)(self.sizes.len())?);
            self.sizes.push(0);
        }
        let (Some(part), Some(size)) = (&mut self.part, self.sizes.last_mut()) else {
            return Err(io::Error::other("there is no part to write to"));
        };
        let room = usize::try_from(self.limit - *size).unwrap_or(usize::MAX);
        let n = part.write(&bytes[..room.min(bytes.len())])?;
        *size += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.part.as_mut().map_or(Ok(()), Write::flush)
    }
}

/// Name of part `n` (from 0) of the file `name`. The names sort in the order of the parts.
pub fn part_name(name: &str, n: usize) -> String {
    format!("{name}.part-{n:03}")
}

/// The command that joins the parts of `name`, in any POSIX shell.
pub fn join_command(name: &str) -> String {
    // A quote in the name ends the quotes, stands for itself and begins them again.
    let quoted = format!("'{}'", name.replace('\'', r"'\''"));
    format!("cat {quoted}.part-* > {quoted}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Split, join_command, part_name};
    use std::fs::{self, File};
    use std::io::Write;
    use std::process::Command;

    #[test]
    fn parts_are_joined_by_the_command_that_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let name = "it's an image.img.zst";
        let whole: Vec<u8> = (0..10_007_u32).flat_map(u32::to_le_bytes).collect();
        let mut split = Split::new(10_000, |n| {
            File::create(dir.path().join(part_name(name, n)))
        });
        for piece in whole.chunks(777) {
            split.write_all(piece).unwrap();
        }
        split.flush().unwrap();
        assert_eq!(split.sizes(), [10_000, 10_000, 10_000, 10_000, 28]);
        let status = Command::new("sh")
            .args(["-c", &join_command(name)])
            .current_dir(dir.path())
            .status();
        assert!(status.unwrap().success());
        assert!(fs::read(dir.path().join(name)).unwrap() == whole);
    }

    #[test]
    fn a_full_part_does_not_start_an_empty_one() {
        let mut made = 0;
        let mut split = Split::new(4, |_| {
            made += 1;
            tempfile::tempfile()
        });
        split.write_all(b"12345678").unwrap();
        assert_eq!(split.sizes(), [4, 4]);
        drop(split);
        assert_eq!(made, 2);
    }
}
