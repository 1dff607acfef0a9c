//! The raw format: byte n of the file is byte n of the disk. Zeros are holes.

use super::Sink;
use super::batch::Batch;
use super::zero::is_zero;
use rustix::fs::{SeekFrom, seek};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Writes a raw image into a file.
#[derive(Debug)]
pub struct Raw {
    file: Batch,
    size: u64,
}

impl Raw {
    /// Starts on an empty file, for a disk of `size` bytes.
    pub fn new(file: File, size: u64) -> io::Result<Raw> {
        file.set_len(size)?;
        Ok(Raw {
            file: Batch::new(file),
            size,
        })
    }
}

impl Sink for Raw {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write(offset, bytes)
    }

    fn zeros(&mut self, _offset: u64, _len: u64) -> io::Result<()> {
        // The file has its full length already: what is not written reads as zeros.
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.file.flush()?;
        if self.file.file().metadata()?.len() != self.size {
            return Err(io::Error::other("the length of the image file changed"));
        }
        Ok(())
    }
}

/// Size in bytes of the pieces in which data is searched for zeros.
const PIECE: usize = 64 << 10;

/// Passes an existing raw image to a sink, which receives a disk of the file's length.
///
/// Holes of the file are not read, and zeros in its data are passed on as zeros.
pub fn emit(file: &File, sink: &mut dyn Sink) -> io::Result<()> {
    let size = file.metadata()?.len();
    let mut buf = vec![0; 16 * PIECE];
    let mut at = 0;
    while at < size {
        let (start, end) = next_data(file, at, size)?;
        if start > at {
            sink.zeros(at, start - at)?;
        }
        at = start;
        while at < end {
            let n = usize::try_from(end - at).map_or(buf.len(), |n| n.min(buf.len()));
            file.read_exact_at(&mut buf[..n], at)?;
            for piece in buf[..n].chunks(PIECE) {
                if is_zero(piece) {
                    sink.zeros(at, piece.len() as u64)?;
                } else {
                    sink.data(at, piece)?;
                }
                at += piece.len() as u64;
            }
        }
    }
    sink.finish()
}

/// The first run of data from offset `at` on, as (start, end). Without any, both are `size`.
pub fn next_data(file: &File, at: u64, size: u64) -> io::Result<(u64, u64)> {
    let start = match seek(file, SeekFrom::Data(at)) {
        Ok(start) => start.min(size),
        Err(rustix::io::Errno::NXIO) => return Ok((size, size)),
        // The file system does not support holes: everything is data.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::OPNOTSUPP) => return Ok((at, size)),
        Err(error) => return Err(error.into()),
    };
    let end = seek(file, SeekFrom::Hole(start)).map_or(size, |end| end.min(size));
    Ok((start, end))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{PIECE, Raw, emit};
    use crate::format::{Checked, Sink};
    use std::io::{Read, Seek};
    use std::os::unix::fs::FileExt;

    /// Records everything that it receives.
    #[derive(Default)]
    struct Seen {
        data: u64,
        zeros: u64,
    }

    impl Sink for Seen {
        fn data(&mut self, _: u64, bytes: &[u8]) -> std::io::Result<()> {
            self.data += bytes.len() as u64;
            Ok(())
        }
        fn zeros(&mut self, _: u64, len: u64) -> std::io::Result<()> {
            self.zeros += len;
            Ok(())
        }
        fn finish(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_image_that_exists_is_passed_on_with_its_holes() {
        let file = tempfile::tempfile().unwrap();
        let size = 50 * PIECE as u64 + 100;
        file.set_len(size).unwrap();
        file.write_all_at(&[3; 5], 20 * PIECE as u64 + 7).unwrap();
        // Zeros that were written count as zeros as well.
        file.write_all_at(&vec![0; 4 * PIECE], 30 * PIECE as u64)
            .unwrap();
        file.write_all_at(&[4], size - 1).unwrap();

        let mut seen = Seen::default();
        emit(&file, &mut Checked::new(&mut seen as &mut dyn Sink, size)).unwrap();
        assert!(seen.data <= 2 * PIECE as u64, "{} bytes as data", seen.data);
        assert_eq!(seen.data + seen.zeros, size);

        let mut copy = tempfile::tempfile().unwrap();
        emit(
            &file,
            &mut Raw::new(copy.try_clone().unwrap(), size).unwrap(),
        )
        .unwrap();
        let (mut a, mut b) = (Vec::new(), Vec::new());
        (&file).rewind().unwrap();
        (&file).read_to_end(&mut a).unwrap();
        copy.rewind().unwrap();
        copy.read_to_end(&mut b).unwrap();
        assert!(a == b);
    }

    #[test]
    fn an_empty_image_and_one_that_is_a_hole() {
        for size in [0, 1 << 20] {
            let file = tempfile::tempfile().unwrap();
            file.set_len(size).unwrap();
            let mut seen = Seen::default();
            emit(&file, &mut seen).unwrap();
            assert_eq!((seen.data, seen.zeros), (0, size));
        }
    }
}
