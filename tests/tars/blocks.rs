//! Malformed tars, written block by block.

use std::ops::Range;

/// Places of the fields in a header (POSIX.1-2017, `pax`, "ustar Interchange Format").
pub const MODE: Range<usize> = 100..108;
pub const UID: Range<usize> = 108..116;
pub const GID: Range<usize> = 116..124;
pub const SIZE: Range<usize> = 124..136;
pub const MTIME: Range<usize> = 136..148;
pub const SUM: Range<usize> = 148..156;
pub const MAGIC: Range<usize> = 257..265;
pub const MAJOR: Range<usize> = 329..337;
pub const MINOR: Range<usize> = 337..345;

/// A tar, written block by block.
#[derive(Default, Clone)]
pub struct Raw512(pub Vec<u8>);

pub type Header = [u8; 512];

pub fn put(header: &mut Header, at: Range<usize>, bytes: &[u8]) {
    header[at.clone()].fill(0);
    header[at.start..at.start + bytes.len()].copy_from_slice(bytes);
}

pub fn seal(header: &mut Header) {
    put(header, SUM, b"        ");
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    put(header, SUM, format!("{sum:06o}\0 ").as_bytes());
}

pub fn header(name: &str, flag: u8, size: u64) -> Header {
    let mut header = [0; 512];
    put(&mut header, 0..100, name.as_bytes());
    put(&mut header, MODE, b"0000644\0");
    put(&mut header, UID, b"0000000\0");
    put(&mut header, GID, b"0000000\0");
    put(&mut header, SIZE, format!("{size:011o}\0").as_bytes());
    put(&mut header, MTIME, b"14543437000\0");
    put(&mut header, MAGIC, b"ustar\x0000");
    header[156] = flag;
    header
}

impl Raw512 {
    pub fn put(&mut self, mut header: Header, data: &[u8]) -> &mut Raw512 {
        seal(&mut header);
        self.0.extend_from_slice(&header);
        self.data(data)
    }

    pub fn data(&mut self, data: &[u8]) -> &mut Raw512 {
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub fn file(&mut self, name: &str, data: &[u8]) -> &mut Raw512 {
        self.put(header(name, b'0', data.len() as u64), data)
    }

    pub fn records(&mut self, flag: u8, records: &[(&str, &[u8])]) -> &mut Raw512 {
        let mut data = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut len = rest + 1;
            while len != rest + len.to_string().len() {
                len = rest + len.to_string().len();
            }
            data.extend_from_slice(format!("{len} {key}=").as_bytes());
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.put(header("pax", flag, data.len() as u64), &data)
    }

    pub fn end(&self) -> Vec<u8> {
        let mut whole = self.0.clone();
        whole.resize(whole.len() + 1024, 0);
        whole
    }
}

/// A sparse member in GNU's form 1.0: its map and its content.
pub fn sparse(tar: &mut Raw512, name: &str, size: u64, runs: &[(u64, u64)], data: &[u8]) {
    let mut map = format!("{}\n", runs.len());
    for (at, len) in runs {
        map += &format!("{at}\n{len}\n");
    }
    let mut stored = map.into_bytes();
    stored.resize(stored.len().next_multiple_of(512), 0);
    stored.extend_from_slice(data);
    let size = size.to_string();
    tar.records(
        b'x',
        &[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", name.as_bytes()),
            ("GNU.sparse.realsize", size.as_bytes()),
        ],
    );
    tar.file("sparse", &stored);
}
