//! From header blocks to entries: ustar fields, GNU's long names, PAX records.

use super::input::{BLOCK, Input, MAX_RECORDS};
use super::sparse::Map;
use super::{TarError, Time, Xattrs};
use bstr::BString;
use std::collections::BTreeMap;
use tar::Header;

/// What an entry makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryType {
    File,
    HardLink,
    Symlink,
    Dir,
    Fifo,
    Char { major: u32, minor: u32 },
    Block { major: u32, minor: u32 },
}

/// One entry of a tar; its content, if any, comes next in the input.
#[derive(Debug)]
pub(super) struct Entry {
    /// Where its header lies, in bytes.
    pub at: u64,
    pub path: BString,
    pub link: BString,
    pub kind: EntryType,
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    pub mtime: Time,
    /// Bytes of content that follow.
    pub size: u64,
    pub sparse: Option<Map>,
    pub xattrs: Xattrs,
}

/// PAX records that hold for one entry, or for all that follow.
type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// What global PAX headers said so far.
#[derive(Debug, Default)]
pub(super) struct Globals(Records);

/// The next entry, or `None` at the end of the tar.
pub(super) fn next(
    input: &mut dyn Input,
    globals: &mut Globals,
) -> Result<Option<Entry>, TarError> {
    let mut local = Local::default();
    loop {
        let at = input.at();
        let mut block = [0; BLOCK];
        let n = input.read(&mut block)?;
        let pending = local.any();
        if n == 0 && !pending && at > 0 {
            // No end mark. Writers that stop here are rare but lose nothing.
            return Ok(None);
        }
        if n < BLOCK {
            return if n == 0 && at == 0 {
                Err(TarError::Empty)
            } else {
                Err(TarError::Truncated {
                    at: at + n as u64,
                    inside: "a header".into(),
                })
            };
        }
        if block.iter().all(|b| *b == 0) {
            if pending {
                return Err(TarError::Header { at });
            }
            // One block of zeros ends a tar; the second one is for old tapes.
            return Ok(None);
        }
        let header = Header::from_byte_slice(&block);
        if !checksum_matches(header, &block) {
            return Err(TarError::Header { at });
        }
        let flag = header.as_old().linkflag[0];
        match flag {
            b'x' => local.records = Some(records(input, header, at)?),
            b'g' => globals.0.extend(records(input, header, at)?),
            b'L' => local.long_name = Some(long(input, header, at)?),
            b'K' => local.long_link = Some(long(input, header, at)?),
            // GNU's label of a volume: no file.
            b'V' => {}
            _ => return entry(input, header, flag, at, globals, local).map(Some),
        }
    }
}

/// What the headers before an entry said of it.
#[derive(Default)]
struct Local {
    records: Option<Records>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl Local {
    fn any(&self) -> bool {
        self.records.is_some() || self.long_name.is_some() || self.long_link.is_some()
    }
}

/// Whether the header's checksum is right, with bytes taken as unsigned (POSIX) or signed
/// (some old writers).
fn checksum_matches(header: &Header, block: &[u8; BLOCK]) -> bool {
    let Ok(stated) = header.cksum() else {
        return false;
    };
    // The field itself counts as eight spaces. Plain loops: this is the most that is computed
    // while a tar is read.
    let (mut unsigned, mut negative) = (8 * u32::from(b' '), 0_u32);
    for part in [&block[..148], &block[156..]] {
        unsigned += part.iter().map(|b| u32::from(*b)).sum::<u32>();
        negative += part.iter().map(|b| u32::from(*b >> 7)).sum::<u32>();
    }
    let signed = i64::from(unsigned) - 256 * i64::from(negative);
    stated == unsigned || i64::from(stated) == signed
}

/// Builds the entry of `header`, under the records that hold for it.
fn entry(
    input: &mut dyn Input,
    header: &Header,
    flag: u8,
    at: u64,
    globals: &Globals,
    local: Local,
) -> Result<Entry, TarError> {
    let pax = Pax {
        local: local.records.as_ref(),
        globals: &globals.0,
    };
    let path = BString::from(
        pax.get("GNU.sparse.name")
            .or(pax.get("path"))
            .map(<[u8]>::to_vec)
            .or(local.long_name)
            .unwrap_or_else(|| header.path_bytes().into_owned()),
    );
    let wrong = |field: &'static str| TarError::Field {
        field,
        name: path.clone(),
        at,
    };
    let link = BString::from(
        pax.get("linkpath")
            .map(<[u8]>::to_vec)
            .or(local.long_link)
            .unwrap_or_else(|| {
                header
                    .link_name_bytes()
                    .map_or(Vec::new(), |l| l.into_owned())
            }),
    );
    let id = |name: &'static str, field: std::io::Result<u64>| -> Result<u32, TarError> {
        let wide = match pax.get(name) {
            Some(text) => number(text).ok_or_else(|| wrong(name))?,
            None => field.map_err(|_| wrong(name))?,
        };
        u32::try_from(wide).map_err(|_| wrong(name))
    };
    let device = || -> Result<(u32, u32), TarError> {
        let get = |r: std::io::Result<Option<u32>>| {
            r.ok().flatten().ok_or_else(|| wrong("device number"))
        };
        Ok((get(header.device_major())?, get(header.device_minor())?))
    };
    let kind = match flag {
        // An old writer marks a directory by the end of its name only.
        0 | b'0' if path.ends_with(b"/") => EntryType::Dir,
        0 | b'0' | b'7' | b'S' => EntryType::File,
        b'1' => EntryType::HardLink,
        b'2' => EntryType::Symlink,
        b'3' => {
            let (major, minor) = device()?;
            EntryType::Char { major, minor }
        }
        b'4' => {
            let (major, minor) = device()?;
            EntryType::Block { major, minor }
        }
        b'5' => EntryType::Dir,
        b'6' => EntryType::Fifo,
        _ => {
            return Err(TarError::UnknownType {
                name: path,
                kind: char::from(flag),
            });
        }
    };
    let mut size = match pax.get("size") {
        Some(text) => number(text).ok_or_else(|| wrong("size"))?,
        None => header.entry_size().map_err(|_| wrong("size"))?,
    };
    let mut sparse = None;
    if kind == EntryType::File {
        if flag == b'S' {
            sparse = Some(
                old_sparse(input, header).map_err(|e| e.unwrap_or_else(|| wrong("sparse map")))?,
            );
        } else if pax.has_sparse() {
            let map =
                pax_sparse(input, &pax).map_err(|e| e.unwrap_or_else(|| wrong("sparse map")))?;
            // The map was read from the content already.
            size = size
                .checked_sub(map.skip)
                .ok_or_else(|| wrong("sparse map"))?;
            sparse = Some(Map { skip: 0, ..map });
        }
    } else {
        // Only files have content, whatever the size field says.
        size = 0;
    }
    let mtime = match pax.get("mtime") {
        Some(text) => pax_time(text).ok_or_else(|| wrong("time"))?,
        None => Time {
            secs: signed(&header.as_old().mtime).ok_or_else(|| wrong("time"))?,
            nanos: 0,
        },
    };
    let mode = header.mode().map_err(|_| wrong("mode"))?;
    Ok(Entry {
        at,
        kind,
        // The bits above are the file type, which some writers add.
        mode: (mode & 0o7777) as u16,
        uid: id("uid", header.uid())?,
        gid: id("gid", header.gid())?,
        mtime,
        size,
        sparse,
        xattrs: pax.xattrs().map_err(wrong)?,
        link,
        path,
    })
}

/// The PAX records that hold for one entry; its own before the global ones. An empty value
/// takes a record back.
struct Pax<'a> {
    local: Option<&'a Records>,
    globals: &'a Records,
}

const XATTR: &[u8] = b"SCHILY.xattr.";

impl Pax<'_> {
    fn get(&self, key: &str) -> Option<&[u8]> {
        self.local
            .and_then(|l| l.get(key.as_bytes()))
            .or_else(|| self.globals.get(key.as_bytes()))
            .map(Vec::as_slice)
            .filter(|v| !v.is_empty())
    }

    fn text(&self, key: &str) -> Option<&str> {
        std::str::from_utf8(self.get(key)?).ok()
    }

    fn has_sparse(&self) -> bool {
        ["GNU.sparse.major", "GNU.sparse.map", "GNU.sparse.size"]
            .iter()
            .any(|k| self.get(k).is_some())
    }

    fn xattrs(&self) -> Result<Xattrs, &'static str> {
        let mut out = Xattrs::new();
        let all = self.globals.iter().chain(self.local.into_iter().flatten());
        for (key, value) in all {
            if let Some(name) = key.strip_prefix(XATTR) {
                let name = std::str::from_utf8(name).map_err(|_| "extended attribute")?;
                out.insert(name.into(), value.as_slice().into());
            }
        }
        Ok(out)
    }
}

/// The records of a PAX header: `LENGTH KEY=VALUE\n`, where LENGTH counts the whole record.
fn records(input: &mut dyn Input, header: &Header, at: u64) -> Result<Records, TarError> {
    let wrong = || TarError::Field {
        field: "list of PAX records",
        name: header.path_bytes().into_owned().into(),
        at,
    };
    let data = header_data(input, header, at)?;
    let mut out = Records::new();
    // Form 0.0 of sparse members repeats two keys: gathered here into form 0.1's list.
    let mut map: Vec<u8> = Vec::new();
    let mut rest = data.as_slice();
    while !rest.is_empty() {
        let space = rest.iter().position(|b| *b == b' ').ok_or_else(wrong)?;
        let len = number(&rest[..space])
            .and_then(|n| usize::try_from(n).ok())
            .ok_or_else(wrong)?;
        let record = rest.get(space + 1..len).ok_or_else(wrong)?;
        let (newline, record) = record.split_last().ok_or_else(wrong)?;
        let equals = record.iter().position(|b| *b == b'=').ok_or_else(wrong)?;
        if *newline != b'\n' {
            return Err(wrong());
        }
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        if key == b"GNU.sparse.offset" || key == b"GNU.sparse.numbytes" {
            if !map.is_empty() {
                map.push(b',');
            }
            map.extend_from_slice(value);
        } else {
            out.insert(key.to_vec(), value.to_vec());
        }
        rest = &rest[len..];
    }
    if !map.is_empty() {
        out.insert(b"GNU.sparse.map".to_vec(), map);
    }
    Ok(out)
}

/// A GNU long name: the content up to its NUL.
fn long(input: &mut dyn Input, header: &Header, at: u64) -> Result<Vec<u8>, TarError> {
    let mut data = header_data(input, header, at)?;
    if let Some(end) = data.iter().position(|b| *b == 0) {
        data.truncate(end);
    }
    Ok(data)
}

/// The content of a header that describes the next one.
fn header_data(input: &mut dyn Input, header: &Header, at: u64) -> Result<Vec<u8>, TarError> {
    let name = || header.path_bytes().into_owned().into();
    let size = header
        .entry_size()
        .ok()
        .filter(|s| *s <= MAX_RECORDS)
        .and_then(|s| usize::try_from(s).ok())
        .ok_or_else(|| TarError::Field {
            field: "size",
            name: name(),
            at,
        })?;
    let mut data = vec![0; size.next_multiple_of(BLOCK)];
    input.read_all(&mut data, "an extended header")?;
    data.truncate(size);
    Ok(data)
}

/// The map of an old GNU sparse member: four runs in the header, 21 in each block behind it.
/// `Err(None)` stands for a map that means nothing.
fn old_sparse(input: &mut dyn Input, header: &Header) -> Result<Map, Option<TarError>> {
    let gnu = header.as_gnu().ok_or(None)?;
    let mut map = Map {
        size: gnu.real_size().map_err(|_| None)?,
        ..Map::default()
    };
    let mut add = |sparse: &[tar::GnuSparseHeader]| -> Result<(), Option<TarError>> {
        for run in sparse.iter().filter(|s| !s.is_empty()) {
            let place = (
                run.offset().map_err(|_| None)?,
                run.length().map_err(|_| None)?,
            );
            map.runs.push(place);
        }
        Ok(())
    };
    add(&gnu.sparse)?;
    let mut more = gnu.is_extended();
    while more {
        let mut next = tar::GnuExtSparseHeader::new();
        input.read_all(next.as_mut_bytes(), "a sparse map")?;
        add(next.sparse())?;
        more = next.is_extended();
    }
    Ok(map)
}

/// The map of a PAX sparse member, in any of its forms.
fn pax_sparse(input: &mut dyn Input, pax: &Pax<'_>) -> Result<Map, Option<TarError>> {
    let size = pax
        .get("GNU.sparse.realsize")
        .or(pax.get("GNU.sparse.size"))
        .and_then(number)
        .ok_or(None)?;
    if let Some(text) = pax.text("GNU.sparse.map") {
        return Map::from_record(size, text).ok_or(None);
    }
    Map::from_content(size, || {
        let mut block = [0; BLOCK];
        input.read_all(&mut block, "a sparse map").map(|()| block)
    })?
    .ok_or(None)
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A time of a PAX record: seconds with a fraction, negative before 1970.
fn pax_time(text: &[u8]) -> Option<Time> {
    let text = std::str::from_utf8(text).ok()?;
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let secs: i64 = whole.parse().ok()?;
    // Digits past the ninth are finer than a nanosecond.
    let nanos: u32 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    Some(match (negative, nanos) {
        (false, nanos) => Time { secs, nanos },
        (true, 0) => Time { secs: -secs, nanos },
        // -1.25 is 0.75 after -2.
        (true, nanos) => Time {
            secs: -secs - 1,
            nanos: 1_000_000_000 - nanos,
        },
    })
}

/// A number in octal digits, or in GNU's base-256 form, which may be negative (first byte
/// 0x80: positive, 0xFF: two's complement).
fn signed(field: &[u8; 12]) -> Option<i64> {
    if field[0] & 0x80 != 0 {
        let negative = field[0] & 0x40 != 0;
        // The number's upper bytes must only repeat its sign.
        let fill = if negative { 0xFF } else { 0 };
        let first = if negative { field[0] } else { field[0] & 0x7F };
        if first != fill || field[1..4].iter().any(|b| *b != fill) {
            return None;
        }
        return Some(i64::from_be_bytes(*field.last_chunk()?));
    }
    let text = field.split(|b| *b == 0).next()?;
    let text = std::str::from_utf8(text).ok()?.trim();
    if text.is_empty() {
        return Some(0);
    }
    i64::from_str_radix(text, 8).ok()
}
