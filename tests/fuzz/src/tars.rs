//! Tars and layers, with checksums and lengths made right.

use crate::{checked, parts, scratch};
use docker_to_linux::rootfs::tar::{self, Layers};
use docker_to_linux::rootfs::{Budget, Kind, Rootfs};
use std::io::{Cursor, Seek, Write};

/// Size of a tar's blocks, in bytes.
const BLOCK: usize = 512;
/// More than this of a file is not read.
const MOST: usize = 1 << 20;

/// Switch: PAX records keep the lengths that they have.
const KEEP_LENGTHS: u8 = 1;
/// Switch: the stream is compressed.
const GZIP: u8 = 2;

/// A root file system's tar, as a stream and as a file: both must read the same.
pub(crate) fn plain(switches: u8, data: &[u8]) {
    let bytes = mended(switches, data);
    let stream: Vec<u8> = match switches & GZIP {
        0 => bytes.clone(),
        _ => gzip(&bytes),
    };
    let a = checked(tar::from_stream(Cursor::new(stream), &scratch()));
    let Ok(mut file) = tempfile::tempfile_in(scratch()) else {
        return;
    };
    if file.write_all(&bytes).is_err() || file.rewind().is_err() {
        return;
    }
    let b = checked(tar::from_file(file, &scratch()));
    // What is compressed twice is not the same any more, should the bytes look like that.
    if switches & GZIP != 0 {
        a.iter().chain(&b).for_each(read_all);
        return;
    }
    assert_eq!(a.is_some(), b.is_some(), "a stream and a file differ");
    if let (Some(a), Some(b)) = (a, b) {
        assert!(
            a.tree.digest() == b.tree.digest(),
            "a stream and a file differ"
        );
        read_all(&a);
        read_all(&b);
    }
}

/// Layers, one over the other.
pub(crate) fn layers(switches: u8, data: &[u8]) {
    let Ok(mut layers) = Layers::new(&scratch(), &Budget::default()) else {
        return;
    };
    for layer in parts::split(data) {
        if checked(layers.apply(Cursor::new(mended(switches, layer)))).is_none() {
            return;
        }
    }
    if let Ok(rootfs) = layers.finish() {
        read_all(&rootfs);
    }
}

/// Reads the start of every file.
pub(crate) fn read_all(rootfs: &Rootfs) {
    let mut buf = vec![0; MOST];
    for (_, id) in rootfs.tree.walk() {
        if let Kind::File(content) = &rootfs.tree.node(id).kind {
            let n = usize::try_from(content.len()).unwrap_or(MOST).min(MOST);
            let _ = rootfs.stores.read_at(content, 0, &mut buf[..n]);
        }
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let _ = out.write_all(bytes);
    out.finish().unwrap_or_default()
}

/// The tar with the checksum of every header, and the lengths of every PAX record, as they must
/// be.
pub(crate) fn mended(switches: u8, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + 2 * BLOCK);
    let mut rest = data;
    while !rest.is_empty() {
        let n = rest.len().min(BLOCK);
        let mut header = [0; BLOCK];
        header[..n].copy_from_slice(&rest[..n]);
        rest = &rest[n..];
        if header == [0; BLOCK] {
            out.extend_from_slice(&header);
            continue;
        }
        let size = usize::try_from(size_of(&header)).unwrap_or(usize::MAX);
        let body = &rest[..size.min(rest.len())];
        rest = &rest[size.next_multiple_of(BLOCK).min(rest.len()).max(body.len())..];
        let mut body = body.to_vec();
        if matches!(header[156], b'x' | b'g') && switches & KEEP_LENGTHS == 0 {
            body = records(&body);
            let size = format!("{:011o}\0", body.len());
            header[124..136].copy_from_slice(size.as_bytes());
        }
        sum(&mut header);
        out.extend_from_slice(&header);
        out.extend_from_slice(&body);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
    }
    out
}

/// POSIX.1-2017, pax, "ustar Interchange Format": octal digits; GNU's base 256 for larger ones.
fn size_of(header: &[u8; BLOCK]) -> u64 {
    let field = &header[124..136];
    if field[0] & 0x80 != 0 {
        return u64::MAX >> 1;
    }
    let digits = field.iter().filter(|b| (b'0'..=b'7').contains(b));
    digits.fold(0, |n, d| n << 3 | u64::from(d - b'0'))
}

pub(crate) fn sum(header: &mut [u8; BLOCK]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}

/// Records `LENGTH KEY=VALUE\n`, their lengths counted anew.
fn records(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in body.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        let digits = line.iter().take_while(|b| b.is_ascii_digit()).count();
        let text = line[digits..].strip_prefix(b" ").unwrap_or(&line[digits..]);
        out.extend_from_slice(&record(text));
    }
    out
}

/// One record of `KEY=VALUE`.
pub(crate) fn record(text: &[u8]) -> Vec<u8> {
    let mut len = text.len() + 3;
    while len.to_string().len() + 2 + text.len() > len {
        len += 1;
    }
    let mut out = format!("{len} ").into_bytes();
    out.extend_from_slice(text);
    out.push(b'\n');
    out
}
