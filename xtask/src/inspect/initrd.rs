//! Whether an initrd is whole: each archive in it is unpacked and read to its end.
//!
//! Sources: Linux, Documentation/driver-api/early-userspace/buffer-format.rst and
//! init/initramfs.c; LZ4, doc/lz4_Frame_format.md ("Legacy frame").

use std::io::{self, BufRead, Read};
use std::time::{Duration, Instant};

/// Most bytes that are unpacked.
const MOST: u64 = 1 << 30;
/// Longest time for one initrd. What is behind is not looked at.
const LONGEST: Duration = Duration::from_secs(3);
/// Memory limit for decompressing xz and lzma, in bytes.
const XZ_MEMORY: u64 = 128 << 20;

/// What an initrd is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Whole {
    /// Everything was read: the compression of its main archive, and the bytes that it holds.
    Yes { with: &'static str, unpacked: u64 },
    /// It is of a known kind, but only its beginning was looked at.
    Partly(&'static str),
    /// It is of a kind that is not known here.
    Unknown,
    /// It cannot be used: why.
    Damaged(String),
}

/// Kinds of compressed archives.
const KINDS: [(&[u8], &str); 9] = [
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
    (b"\x5d\0\0", "lzma"),
    (b"\x02\x21\x4c\x18", "lz4"),
    (b"\x89LZO\0", "lzop"),
    (b"070701", "cpio"),
    (b"070702", "cpio"),
];

/// Reads an initrd.
pub(super) fn check(input: impl Read) -> Whole {
    let mut input = Counted::new(input);
    let limit = Limit {
        until: Instant::now() + LONGEST,
        left: MOST,
    };
    match whole(&mut input, limit) {
        Ok(whole) => whole,
        Err(e) if e.get_ref().is_some_and(|e| e.is::<Enough>()) => Whole::Partly("large"),
        Err(e) => Whole::Damaged(format!("it is damaged at byte {}: {e}", input.count)),
    }
}

/// There is more than is looked at.
#[derive(Debug, thiserror::Error)]
#[error("it is larger than this program looks at")]
struct Enough;

/// How much may still be unpacked.
#[derive(Clone, Copy)]
struct Limit {
    until: Instant,
    left: u64,
}

fn whole(input: &mut Counted<impl Read>, mut limit: Limit) -> io::Result<Whole> {
    let (mut with, mut unpacked) = (None, 0);
    loop {
        // Zeros are between archives.
        let mut zeros = false;
        loop {
            let n = input.fill_buf()?.iter().take_while(|b| **b == 0).count();
            if n == 0 {
                break;
            }
            zeros = true;
            input.consume(n);
        }
        let head = input.peek(6)?.to_vec();
        if head.is_empty() {
            break;
        }
        let kind = KINDS.iter().find(|(magic, _)| head.starts_with(magic));
        let Some((_, kind)) = kind else {
            return Ok(match with {
                None if zeros && input.count >= 4096 => {
                    Whole::Damaged("it begins with only zero bytes".into())
                }
                None => Whole::Unknown,
                // Linux reports junk behind an archive, and goes on.
                Some(with) => Whole::Yes { with, unpacked },
            });
        };
        let before = limit.left;
        match *kind {
            "cpio" => cpio(input, &mut limit)?,
            "gzip" => packed(flate2::bufread::GzDecoder::new(&mut *input), &mut limit)?,
            "zstd" => {
                let plain = zstd::stream::read::Decoder::with_buffer(&mut *input)?.single_frame();
                packed(plain, &mut limit)?;
            }
            "xz" => {
                let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, 0);
                let stream = stream.map_err(io::Error::other)?;
                let plain = liblzma::bufread::XzDecoder::new_stream(&mut *input, stream);
                packed(plain, &mut limit)?;
            }
            "lzma" => {
                let stream = liblzma::stream::Stream::new_lzma_decoder(XZ_MEMORY);
                let stream = stream.map_err(io::Error::other)?;
                let plain = liblzma::bufread::XzDecoder::new_stream(&mut *input, stream);
                packed(plain, &mut limit)?;
            }
            "bzip2" => packed(bzip2::bufread::BzDecoder::new(&mut *input), &mut limit)?,
            "lz4" => lz4(input)?,
            _ => return Ok(Whole::Partly("lzop")),
        }
        unpacked += before - limit.left;
        with = match (with, *kind) {
            (Some(old), "cpio") => Some(old),
            (_, kind) => Some(kind),
        };
    }
    Ok(match with {
        Some(with) => Whole::Yes { with, unpacked },
        None => Whole::Damaged("it is empty".into()),
    })
}

/// Reads all of an unpacked archive.
fn packed(plain: impl Read, limit: &mut Limit) -> io::Result<()> {
    let mut plain = Counted::new(plain);
    // There may be several archives, one after another, in one frame.
    while is_cpio(plain.peek(6)?) {
        cpio(&mut plain, limit)?;
        zeros(&mut plain)?;
    }
    // To the checksum at the end of the compressed data.
    loop {
        let n = plain.fill_buf()?.len();
        if n == 0 {
            return Ok(());
        }
        limit.take(n as u64)?;
        plain.consume(n);
    }
}

fn zeros(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let n = input.fill_buf()?.iter().take_while(|b| **b == 0).count();
        if n == 0 {
            return Ok(());
        }
        input.consume(n);
    }
}

impl Limit {
    fn take(&mut self, n: u64) -> io::Result<()> {
        match self.left.checked_sub(n) {
            Some(left) if Instant::now() < self.until => self.left = left,
            _ => return Err(io::Error::other(Enough)),
        }
        Ok(())
    }
}

/// Whether an archive in cpio's "newc" format begins so, with checksums or without.
fn is_cpio(head: &[u8]) -> bool {
    head.starts_with(b"070701") || head.starts_with(b"070702")
}

/// Reads one archive (cpio's "newc") to its trailer.
fn cpio(input: &mut Counted<impl Read>, limit: &mut Limit) -> io::Result<()> {
    let begun = input.count;
    loop {
        // Linux needs no trailer.
        if input.count > begun && input.peek(1)?.is_empty() {
            return Ok(());
        }
        let mut header = [0; 110];
        input
            .read_exact(&mut header)
            .map_err(|_| early("in the header of a file"))?;
        if !is_cpio(&header) {
            return Err(io::Error::other(
                "the archive has no header where one must be",
            ));
        }
        let number = |n: usize| {
            let digits = std::str::from_utf8(&header[6 + n * 8..14 + n * 8]).ok()?;
            u64::from_str_radix(digits, 16).ok()
        };
        let (Some(len), Some(name_len)) = (number(6), number(11)) else {
            return Err(io::Error::other("the archive has a header that is none"));
        };
        if !(1..=4096).contains(&name_len) {
            return Err(io::Error::other("the archive has a name that is too long"));
        }
        let mut name = vec![0; usize::try_from(name_len).map_err(io::Error::other)?];
        input
            .read_exact(&mut name)
            .map_err(|_| early("in a name"))?;
        // Both the name and the contents end at a multiple of four.
        let pad = |count: u64| (4 - (count - begun) % 4) % 4;
        input.skip(pad(input.count))?;
        if name == b"TRAILER!!!\0" {
            return Ok(());
        }
        limit.take(len + 110)?;
        input.skip(len)?;
        input.skip(pad(input.count))?;
    }
}

fn early(place: &str) -> io::Error {
    io::Error::other(format!("the archive ends early, {place}: it is truncated"))
}

/// Steps over the blocks of a legacy LZ4 frame: a length and so many bytes. They are not unpacked.
fn lz4(input: &mut Counted<impl Read>) -> io::Result<()> {
    input.skip(4)?;
    loop {
        let head = input.peek(4)?;
        let Ok(len) = <[u8; 4]>::try_from(head) else {
            return Ok(());
        };
        let len = u32::from_le_bytes(len);
        // A block holds 8 MiB at most. Zeros, or another archive, follow the last one.
        if len == 0 || len > 9 << 20 {
            return Ok(());
        }
        input.skip(4)?;
        input.skip(len.into())?;
    }
}

/// A reader that knows how much was read, and that can look ahead.
struct Counted<R> {
    inner: R,
    count: u64,
    buf: Vec<u8>,
    /// The bytes of `buf` that were not read yet.
    from: usize,
    to: usize,
}

impl<R: Read> Counted<R> {
    fn new(inner: R) -> Counted<R> {
        Counted {
            inner,
            count: 0,
            buf: vec![0; 1 << 18],
            from: 0,
            to: 0,
        }
    }

    /// The next `n` bytes, without reading them; less only at the end.
    fn peek(&mut self, n: usize) -> io::Result<&[u8]> {
        if self.to - self.from < n {
            self.buf.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
        }
        while self.to - self.from < n {
            match self.inner.read(&mut self.buf[self.to..]) {
                Ok(0) => break,
                Ok(more) => self.to += more,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(&self.buf[self.from..self.to.min(self.from + n)])
    }

    /// Steps over `n` bytes, which must be there.
    fn skip(&mut self, mut n: u64) -> io::Result<()> {
        while n > 0 {
            let here = self.fill_buf()?.len();
            if here == 0 {
                return Err(early("in the contents of a file"));
            }
            let step = usize::try_from(n).map_or(here, |n| n.min(here));
            self.consume(step);
            n -= step as u64;
        }
        Ok(())
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let here = self.fill_buf()?;
        let n = here.len().min(buf.len());
        buf[..n].copy_from_slice(&here[..n]);
        self.consume(n);
        Ok(n)
    }
}

impl<R: Read> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.peek(1)?;
        Ok(&self.buf[self.from..self.to])
    }
    fn consume(&mut self, n: usize) {
        self.count += n as u64;
        self.from = (self.from + n).min(self.to);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Whole, check};
    use std::io::Write;

    /// An archive with one file.
    fn cpio(content: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, content) in [("init", content), ("TRAILER!!!", &[])] {
            let fields = [
                1,
                0o100_755,
                0,
                0,
                1,
                0,
                content.len(),
                0,
                0,
                0,
                0,
                name.len() + 1,
                0,
            ];
            write!(out, "070701").unwrap();
            for field in fields {
                write!(out, "{field:08x}").unwrap();
            }
            write!(out, "{name}\0").unwrap();
            out.resize(out.len().next_multiple_of(4), 0);
            out.extend_from_slice(content);
            out.resize(out.len().next_multiple_of(4), 0);
        }
        out
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    #[test]
    fn whole_ones() {
        let noise: Vec<u8> = (0..300_001_u32)
            .flat_map(|n| (n * 7919).to_le_bytes())
            .collect();
        let plain = cpio(&noise);
        let mut early = cpio(b"microcode");
        early.resize(early.len().next_multiple_of(512), 0);
        for (bytes, with) in [
            (plain.clone(), "cpio"),
            (gzip(&plain), "gzip"),
            (zstd::encode_all(&plain[..], 1).unwrap(), "zstd"),
            ([&early[..], &gzip(&plain)].concat(), "gzip"),
            ([gzip(&early), gzip(&plain)].concat(), "gzip"),
        ] {
            let found = check(&bytes[..]);
            let Whole::Yes { with: is, unpacked } = found else {
                unreachable!("{with}: {found:?}");
            };
            assert_eq!(is, with);
            assert!(unpacked >= noise.len() as u64);
        }
    }

    #[test]
    fn damaged_ones() {
        let plain = cpio(&vec![7; 300_000]);
        let packed = zstd::encode_all(&plain[..], 1).unwrap();
        let zipped = gzip(&plain);
        let mut flipped = zipped.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 0x55;
        for bytes in [
            &plain[..200_000],
            &packed[..packed.len() - 5],
            &zipped[..zipped.len() / 2],
            &flipped,
            &[],
            &[0; 10_000],
        ] {
            assert!(
                matches!(check(bytes), Whole::Damaged(_)),
                "{:?}",
                check(bytes)
            );
        }
        assert_eq!(check(&b"no archive"[..]), Whole::Unknown);
    }
}
