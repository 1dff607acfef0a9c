//! The image file of Google Compute Engine: a tar, compressed with gzip, that holds the disk as
//! `disk.raw`.
//!
//! Sources: Google Cloud documentation, "Import boot disk images to Compute Engine manually", the
//! requirements for the image file (the name of the disk, whole GB, gzip, and `--format=oldgnu` of
//! tar); GNU tar manual, "Basic Tar Format", for the header.

use super::Options;
use super::Sink;
use super::pack::Packer;
use crate::hasher::ZEROS;
use crate::model::{GIB, Packing, Size};
use std::fs::File;
use std::io::{self, BufWriter, Write};

/// Name of the disk in the tar.
pub(super) const DISK: &str = "disk.raw";

/// Block size of a tar archive in bytes.
pub(super) const BLOCK: u64 = 512;

/// Writes an image file of Compute Engine, front to back.
#[derive(Debug)]
pub struct Gcp {
    out: Packer<BufWriter<File>>,
    size: u64,
}

impl Gcp {
    /// Starts on an empty file, for a disk of `size` bytes, which must be whole GiB.
    pub fn new(file: File, size: u64, options: &Options) -> io::Result<Gcp> {
        if !size.is_multiple_of(GIB) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "a disk of {} cannot be stored for Google Cloud, which takes whole GiB only",
                    Size(size)
                ),
            ));
        }
        let out = BufWriter::with_capacity(1 << 20, file);
        let mut out = Packer::new(out, Packing::Gzip, options.threads)?;
        // `new_gnu` has the magic of the old GNU format, "ustar" and two spaces, and stores sizes of
        // 8 GiB and more as binary numbers, as that format does.
        let mut header = tar::Header::new_gnu();
        header.set_path(DISK)?;
        header.set_size(size);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(u64::try_from(options.epoch).unwrap_or(0));
        header.set_entry_type(tar::EntryType::Regular);
        header.set_cksum();
        out.write_all(header.as_bytes())?;
        Ok(Gcp { out, size })
    }

    fn write_zeros(&mut self, mut len: u64) -> io::Result<()> {
        while len > 0 {
            let n = usize::try_from(len).map_or(ZEROS.len(), |n| n.min(ZEROS.len()));
            self.out.write_all(&ZEROS[..n])?;
            len -= n as u64;
        }
        Ok(())
    }
}

impl Sink for Gcp {
    fn data(&mut self, _offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }

    fn zeros(&mut self, _offset: u64, len: u64) -> io::Result<()> {
        self.write_zeros(len)
    }

    fn finish(&mut self) -> io::Result<()> {
        // The disk ends with a whole block. Two empty blocks end the archive.
        debug_assert!(self.size.is_multiple_of(BLOCK));
        self.write_zeros(2 * BLOCK)?;
        self.out.finish()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::Gcp;
    use crate::format::Sink;
    use crate::format::tests::{options, written};
    use crate::model::GIB;
    use std::io::Read;

    /// Nothing but one byte, 7, 100,000 bytes before the end.
    fn fill(sink: &mut dyn Sink, size: u64) {
        sink.zeros(0, size - 100_000).unwrap();
        sink.data(size - 100_000, &[7]).unwrap();
        sink.zeros(size - 99_999, 99_999).unwrap();
    }

    #[test]
    fn the_disk_is_the_only_file_of_an_old_gnu_tar() {
        let new = |file, size| Gcp::new(file, size, &options()).unwrap();
        let packed = written(GIB, new, |sink| fill(sink, GIB));
        let mut head = [0; 512];
        let mut plain = flate2::read::GzDecoder::new(&packed[..]);
        plain.read_exact(&mut head).unwrap();
        assert_eq!(head[257..265], *b"ustar  \0");
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&packed[..]));
        let mut names = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            names.push(entry.path().unwrap().to_str().unwrap().to_owned());
            assert_eq!(entry.size(), GIB);
            let (mut at, mut sum) = (0, 0);
            let mut buf = vec![0; 1 << 20];
            loop {
                let n = entry.read(&mut buf).unwrap();
                if n == 0 {
                    break;
                }
                if let Some(found) = buf[..n].iter().position(|b| *b != 0) {
                    assert_eq!((at + found as u64, buf[found]), (GIB - 100_000, 7));
                    sum += 1;
                }
                at += n as u64;
            }
            assert_eq!((at, sum), (GIB, 1));
        }
        assert_eq!(names, ["disk.raw"]);
    }

    #[test]
    fn a_size_that_is_not_whole_gib_is_refused() {
        let file = tempfile::tempfile().unwrap();
        let e = Gcp::new(file, GIB + (1 << 20), &options()).unwrap_err();
        assert!(e.to_string().contains("whole GiB"), "{e}");
    }
}
