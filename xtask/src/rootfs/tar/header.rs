//! From header blocks to entries: ustar fields, GNU's long names, PAX records.

use super::checksum::is_header;
use super::input::{BLOCK, MAX_RECORDS, TarInput};
use super::notes::{Left, Notes};
use super::pax::{self, Pax, Records};
use super::sparse::{MAX_RUNS, Map};
use super::{MAX_FILE, TarError, Time, TreeError, Xattrs, attributes, foreign, number};
use bstr::{BString, ByteSlice};
use tar::Header;

/// Type of an entry.
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

/// One entry of a tar.
#[derive(Debug)]
pub(super) struct Entry {
    /// Offset of its header in bytes.
    pub at: u64,
    pub path: BString,
    pub link: BString,
    pub kind: EntryType,
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    pub mtime: Time,
    /// Where its content is in the store: offset and length in bytes. The length is at most
    /// [`MAX_FILE`].
    pub content: (u64, u64),
    /// The map of a sparse file, whose size is also at most [`MAX_FILE`].
    pub sparse: Option<Map>,
    pub xattrs: Xattrs,
}

/// Records of all global PAX headers so far.
#[derive(Debug, Default)]
pub(super) struct Globals(Records);

/// Largest number of records in global headers, and their largest total size in bytes. They apply
/// to every following entry; normal writers have one or two.
const MAX_GLOBALS: usize = 1000;
const MAX_GLOBAL_BYTES: usize = 64 << 10;

impl Globals {
    fn add(&mut self, records: Records) -> Result<(), TarError> {
        self.0.extend(records);
        let bytes: usize = self.0.iter().map(|(k, v)| k.len() + v.len()).sum();
        if self.0.len() <= MAX_GLOBALS && bytes <= MAX_GLOBAL_BYTES {
            return Ok(());
        }
        Err(TarError::Refused(format!(
            "its global PAX headers hold {} records with {bytes} bytes, more than the {MAX_GLOBALS} with {MAX_GLOBAL_BYTES} that make sense",
            self.0.len()
        )))
    }
}

/// Type of a file whose first block is not a header, if it is known: some types can only be
/// recognised by later bytes.
fn no_tar(input: &mut dyn TarInput, block: &[u8; BLOCK]) -> Result<Option<TarError>, TarError> {
    let mut head = block.to_vec();
    head.resize(foreign::LOOKED_AT, 0);
    let n = input.read(&mut head[BLOCK..])?;
    head.truncate(BLOCK + n);
    Ok(foreign::what(&head).map(|(what, cure)| TarError::Foreign { what, cure }))
}

/// The next entry, or `None` at the end of the tar.
pub(super) fn next(
    input: &mut dyn TarInput,
    globals: &mut Globals,
    notes: &mut Notes,
) -> Result<Option<Entry>, TarError> {
    let mut local = Local::default();
    loop {
        let at = input.at();
        let mut block = [0; BLOCK];
        let n = input.read(&mut block)?;
        let pending = local.any();
        if n < BLOCK && !pending && at > 0 && block == [0; BLOCK] {
            // The end mark is not complete. Few writers stop here, and nothing is lost.
            notes.add(Left::NoEnd, b"", b"");
            return Ok(None);
        }
        if n < BLOCK {
            return Err(match foreign::what(&block[..n]) {
                _ if n == 0 && at == 0 => TarError::Empty,
                Some((what, cure)) if at == 0 => TarError::Foreign { what, cure },
                // Every header contains zeros.
                _ if at == 0 && !block[..n].contains(&0) => TarError::Header { at },
                _ => TarError::Truncated {
                    at: at + n as u64,
                    inside: "a header".into(),
                },
            });
        }
        if block == [0; BLOCK] {
            if pending {
                return Err(TarError::Header { at });
            }
            if at == 0
                && let Some(other) = no_tar(input, &block)?
            {
                return Err(other);
            }
            // One block of zeros ends a tar; the second one is for old tapes.
            return Ok(None);
        }
        if !is_header(&block) {
            return Err(match at {
                0 => no_tar(input, &block)?.unwrap_or(TarError::Header { at }),
                _ => TarError::Header { at },
            });
        }
        let header = Header::from_byte_slice(&block);
        let flag = header.as_old().linkflag[0];
        match flag {
            // Solaris writes the second type: the same records with its own flag.
            b'x' | b'X' => local.records = Some(records(input, header, at)?),
            b'g' => globals.add(records(input, header, at)?)?,
            b'L' => local.long_name = Some(long(input, header, at)?),
            b'K' => local.long_link = Some(long(input, header, at)?),
            b'M' => {
                return Err(TarError::Volume { name: name(header) });
            }
            // GNU's volume label; Solaris's ACLs and attributes, and star's inode data: none of
            // them is a file.
            b'V' | b'A' | b'E' | b'I' => {
                let size = size(header, None, at, &name(header))?;
                input.content(size)?;
                if flag != b'V' {
                    notes.add(Left::Extension, &name(header), &[flag]);
                }
            }
            _ => {
                let (mut entry, size) = entry(input, header, flag, at, globals, local, notes)?;
                entry.content = input.content(size)?;
                return Ok(Some(entry));
            }
        }
    }
}

/// Contents of the headers before an entry that describe it.
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

/// Builds the entry of `header` with the records that apply to it. Returns the number of bytes of
/// content that follow as well.
fn entry(
    input: &mut dyn TarInput,
    header: &Header,
    flag: u8,
    at: u64,
    globals: &Globals,
    local: Local,
    notes: &mut Notes,
) -> Result<(Entry, u64), TarError> {
    let pax = Pax {
        local: local.records.as_ref(),
        globals: &globals.0,
    };
    let old = header.as_old();
    let path = BString::from(
        pax.get("GNU.sparse.name")
            .or(pax.get("path"))
            .map(<[u8]>::to_vec)
            .or(local.long_name)
            .unwrap_or_else(|| name(header).into()),
    );
    TreeError::check_length(&path)?;
    let wrong = |field: &'static str| TarError::Field {
        field,
        name: path.clone(),
        at,
    };
    let link = BString::from(
        pax.get("linkpath")
            .map(<[u8]>::to_vec)
            .or(local.long_link)
            .unwrap_or_else(|| until_nul(&old.linkname).to_vec()),
    );
    TreeError::check_length(&link)?;
    let kind = kind(header, flag, &path, notes).ok_or_else(|| wrong("device number"))?;
    let mut size = size(header, pax.get("size"), at, &path)?;
    let mut sparse = None;
    if kind == EntryType::File {
        let map = if flag == b'S' {
            Some(old_sparse(input, header))
        } else {
            pax.has_sparse().then(|| pax.sparse(input))
        };
        if let Some(map) = map {
            let map = map.map_err(|e| e.unwrap_or_else(|| wrong("sparse map")))?;
            if map.size > MAX_FILE {
                return Err(TarError::TooLarge {
                    name: path,
                    size: map.size,
                });
            }
            // The map was already read from the content.
            size = size
                .checked_sub(map.skip)
                .ok_or_else(|| wrong("sparse map"))?;
            sparse = Some(Map { skip: 0, ..map });
        }
    } else if size > 0 && flag != b'D' && no_content(input)? {
        // Only files have content, whatever the size field says, with one exception: pax and cpio
        // write the content with hard links as well.
        size = 0;
    }
    let mtime = match pax.get("mtime") {
        Some(text) => number::time(text).ok_or_else(|| wrong("time"))?,
        None => Time {
            secs: number::field(&old.mtime).ok_or_else(|| wrong("time"))?,
            nanos: 0,
        },
    };
    let mode = number::field(&old.mode).ok_or_else(|| wrong("mode"))?;
    if number::is_blank(&old.mode) {
        notes.add(Left::Mode, &path, b"");
    }
    let mut id = |name: &'static str, field: &[u8]| -> Result<u32, TarError> {
        let wide = match pax.get(name) {
            Some(text) => number::decimal(text),
            None => number::field(field),
        };
        owner(wide, &path, notes).ok_or_else(|| wrong(name))
    };
    let (uid, gid) = (id("uid", &old.uid)?, id("gid", &old.gid)?);
    let entry = Entry {
        at,
        kind,
        // The higher bits are the file type, which some writers add.
        mode: u16::try_from(mode & 0o7777).map_err(|_| wrong("mode"))?,
        uid,
        gid,
        mtime,
        content: (0, 0),
        sparse,
        xattrs: attributes::read(&pax, &path, kind == EntryType::Dir, notes),
        link,
        path,
    };
    Ok((entry, size))
}

/// Type of an entry with this type flag; `None` for a device with a number that Linux cannot use.
fn kind(header: &Header, flag: u8, path: &[u8], notes: &mut Notes) -> Option<EntryType> {
    Some(match flag {
        // Old writers mark a directory only with a slash at the end of its name.
        0 | b'0' if path.ends_with(b"/") => EntryType::Dir,
        0 | b'0' | b'7' | b'S' => EntryType::File,
        b'1' => EntryType::HardLink,
        b'2' => EntryType::Symlink,
        b'3' => {
            let (major, minor) = device(header)?;
            EntryType::Char { major, minor }
        }
        b'4' => {
            let (major, minor) = device(header)?;
            EntryType::Block { major, minor }
        }
        // The second is GNU's directory with a list of its entries.
        b'5' | b'D' => EntryType::Dir,
        b'6' => EntryType::Fifo,
        _ => {
            // POSIX: an unknown type is treated as a file.
            notes.add(Left::Type, path, &[flag]);
            EntryType::File
        }
    })
}

/// Major and minor number. Tars older than ustar have no such fields.
fn device(header: &Header) -> Option<(u32, u32)> {
    let block = header.as_bytes();
    if !block[257..].starts_with(b"ustar") {
        return Some((0, 0));
    }
    // 12 and 20 bits (Linux include/linux/kdev_t.h, `MINORBITS`).
    let get = |field: &[u8], most: u32| {
        let number = u32::try_from(number::field(field)?).ok()?;
        (number <= most).then_some(number)
    };
    Some((
        get(&block[329..337], 0xfff)?,
        get(&block[337..345], 0xf_ffff)?,
    ))
}

/// A user or group id. Some writers store the number of "nobody", -2, as it is; -1 means "none"
/// (chown(2)).
fn owner(wide: Option<i64>, path: &[u8], notes: &mut Notes) -> Option<u32> {
    let wide = wide?;
    let id = match i32::try_from(wide) {
        Ok(negative) if negative < 0 => negative.cast_unsigned(),
        _ => u32::try_from(wide).ok()?,
    };
    if id == u32::MAX {
        notes.add(Left::Owner, path, b"");
        return Some(0);
    }
    Some(id)
}

/// The size of an entry's content. This is the only place where it is read and limited.
fn size(header: &Header, record: Option<&[u8]>, at: u64, name: &[u8]) -> Result<u64, TarError> {
    let wide = match record {
        Some(text) => number::decimal(text),
        None => number::field(&header.as_old().size),
    };
    let wrong = || TarError::Field {
        field: "size",
        name: name.into(),
        at,
    };
    let size = u64::try_from(wide.ok_or_else(wrong)?).map_err(|_| wrong())?;
    if size > MAX_FILE {
        return Err(TarError::TooLarge {
            name: name.into(),
            size,
        });
    }
    Ok(size)
}

/// Whether the next block is not content but the next header, or the end of the tar.
fn no_content(input: &mut dyn TarInput) -> Result<bool, TarError> {
    let mut block = [0; BLOCK];
    let n = input.peek(&mut block)?;
    Ok(n < BLOCK || block == [0; BLOCK] || is_header(&block))
}

/// The name from a header's own fields.
fn name(header: &Header) -> BString {
    let block = header.as_bytes();
    let name = until_nul(&block[..100]);
    if !block[257..].starts_with(b"ustar\0") {
        return name.into();
    }
    // star stores two times after a shorter prefix, and has a mark at the end.
    let len = if block.ends_with(b"tar\0") { 131 } else { 155 };
    let prefix = until_nul(&block[345..345 + len]);
    if prefix.is_empty() {
        return name.into();
    }
    [prefix, b"/", name].concat().into()
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|b| *b == 0).next().unwrap_or_default()
}

/// A GNU long name: the content up to its NUL.
fn long(input: &mut dyn TarInput, header: &Header, at: u64) -> Result<Vec<u8>, TarError> {
    data(input, header, at).map(|data| until_nul(&data).to_vec())
}

/// The records of a PAX header.
fn records(input: &mut dyn TarInput, header: &Header, at: u64) -> Result<Records, TarError> {
    let data = data(input, header, at)?;
    pax::records(&data, name(header).as_bstr(), at)
}

/// The content of a header that describes the next one.
fn data(input: &mut dyn TarInput, header: &Header, at: u64) -> Result<Vec<u8>, TarError> {
    let name = name(header);
    let size = size(header, None, at, &name)?;
    let size = usize::try_from(size).ok().filter(|_| size <= MAX_RECORDS);
    let size = size.ok_or(TarError::Field {
        field: "size",
        name,
        at,
    })?;
    let mut data = vec![0; size.next_multiple_of(BLOCK)];
    input.read_all(&mut data, "an extended header")?;
    data.truncate(size);
    Ok(data)
}

/// The map of an old GNU sparse member: four runs in the header, 21 in each following block.
/// `Err(None)` means that the map is not valid.
fn old_sparse(input: &mut dyn TarInput, header: &Header) -> Result<Map, Option<TarError>> {
    let gnu = header.as_gnu().ok_or(None)?;
    let number = |field: &[u8]| {
        let number = number::field(field).and_then(|n| u64::try_from(n).ok());
        number.ok_or(None::<TarError>)
    };
    let mut map = Map {
        size: number(&gnu.realsize)?,
        ..Map::default()
    };
    let mut add = |sparse: &[tar::GnuSparseHeader]| -> Result<(), Option<TarError>> {
        if map.runs.len() > MAX_RUNS {
            return Err(None);
        }
        for run in sparse.iter().filter(|s| !s.is_empty()) {
            map.runs
                .push((number(&run.offset)?, number(&run.numbytes)?));
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
