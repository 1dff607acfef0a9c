//! Unpacks a compressed image into a nameless file: only so can it be read at any place.

use super::SourceError;
use crate::format::zero;
use crate::model::Packing;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::FileExt;

/// Largest disk that is unpacked, in bytes.
const MOST: u64 = 1 << 40;
/// Most bytes other than zeros that are written, in bytes: a small file may hold a huge one.
const MOST_DATA: u64 = 64 << 30;
/// Memory limit for decompressing xz, in bytes.
const XZ_MEMORY: u64 = 128 << 20;

/// The compression of a file that begins so.
pub(super) fn of(head: &[u8]) -> Option<Packing> {
    let kinds: [(&[u8], Packing); 3] = [
        (b"\x28\xb5\x2f\xfd", Packing::Zstd),
        (b"\xfd7zXZ\0", Packing::Xz),
        (b"\x1f\x8b\x08", Packing::Gzip),
    ];
    let found = kinds.into_iter().find(|(magic, _)| head.starts_with(magic));
    found.map(|(_, how)| how)
}

/// The name of the program that unpacks it.
pub(super) fn name(how: Packing) -> &'static str {
    match how {
        Packing::Zstd => "zstd",
        Packing::Xz => "xz",
        Packing::Gzip => "gzip",
    }
}

/// Unpacks all of `file`.
pub(super) fn unpack(mut file: File, how: Packing) -> Result<File, SourceError> {
    let out = tempfile::tempfile()?;
    file.rewind()?;
    let input = io::BufReader::with_capacity(1 << 20, file);
    let mut plain: Box<dyn Read> = match how {
        Packing::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(input)?),
        Packing::Xz => {
            let stream = liblzma::stream::Stream::new_stream_decoder(
                XZ_MEMORY,
                liblzma::stream::CONCATENATED,
            )
            .map_err(io::Error::other)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(input, stream))
        }
        Packing::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
    };
    let mut buf = vec![0; 1 << 20];
    let (mut at, mut data) = (0, 0);
    loop {
        let n = match plain.read(&mut buf) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => {
                return Err(SourceError::Damaged {
                    format: name(how),
                    why: format!("it cannot be unpacked from byte {at} on ({e})"),
                });
            }
        };
        if !zero::is_zero(&buf[..n]) {
            out.write_all_at(&buf[..n], at)?;
            data += n as u64;
        }
        at += n as u64;
        if at > MOST || data > MOST_DATA {
            return Err(SourceError::Unsupported(
                "unpacked it is larger than this program looks at".into(),
            ));
        }
    }
    out.set_len(at)?;
    Ok(out)
}
