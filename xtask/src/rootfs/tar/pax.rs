//! PAX records (POSIX.1-2017, `pax`, "pax Extended Header").

use super::TarError;
use super::input::BLOCK;
use super::input::TarInput;
use super::number;
use super::sparse::Map;
use bstr::BStr;
use std::collections::BTreeMap;

/// PAX records that apply to one entry, or to all that follow.
pub(super) type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// The PAX records that apply to one entry: its own come before the global ones. An empty value
/// removes an earlier record.
pub(super) struct Pax<'a> {
    pub local: Option<&'a Records>,
    pub globals: &'a Records,
}

impl Pax<'_> {
    pub(super) fn get(&self, key: &str) -> Option<&[u8]> {
        self.local
            .and_then(|l| l.get(key.as_bytes()))
            .or_else(|| self.globals.get(key.as_bytes()))
            .map(Vec::as_slice)
            .filter(|v| !v.is_empty())
    }

    /// All records; those of the entry come last and so have priority.
    pub(super) fn all(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let all = self.globals.iter().chain(self.local.into_iter().flatten());
        all.map(|(key, value)| (key.as_slice(), value.as_slice()))
    }

    /// Whether there is a record with that key; its value need not be text.
    pub(super) fn raw(&self, key: &[u8]) -> bool {
        self.local.is_some_and(|l| l.contains_key(key)) || self.globals.contains_key(key)
    }

    pub(super) fn has_sparse(&self) -> bool {
        ["GNU.sparse.major", "GNU.sparse.map", "GNU.sparse.size"]
            .iter()
            .any(|k| self.get(k).is_some())
    }

    /// The map of a sparse member, in any of GNU's forms. `Err(None)` means that the map is not
    /// valid.
    pub(super) fn sparse(&self, input: &mut dyn TarInput) -> Result<Map, Option<TarError>> {
        let size = self
            .get("GNU.sparse.realsize")
            .or(self.get("GNU.sparse.size"))
            .and_then(number::unsigned)
            .ok_or(None)?;
        match self.get("GNU.sparse.major").map(number::unsigned) {
            // Forms 0.0 and 0.1. A file that is a single hole may have no map.
            None | Some(Some(0)) => {
                let map = self.get("GNU.sparse.map").unwrap_or_default();
                let text = std::str::from_utf8(map).map_err(|_| None)?;
                Map::from_record(size, text).ok_or(None)
            }
            Some(Some(1)) => Map::from_content(size, || {
                let mut block = [0; BLOCK];
                input.read_all(&mut block, "a sparse map").map(|()| block)
            })?
            .ok_or(None),
            _ => Err(None),
        }
    }
}

/// Most records of one PAX header. A record is a key of the standard or an extended attribute, and
/// ext4 has room for a few hundred of those per file.
const MAX_RECORDS: usize = 10_000;

/// Parses the records of a PAX header: `LENGTH KEY=VALUE\n`, where LENGTH counts the whole record.
/// `name` and `at` describe the header, for errors.
pub(super) fn records(data: &[u8], name: &BStr, at: u64) -> Result<Records, TarError> {
    let wrong = || TarError::Field {
        field: "list of PAX records",
        name: name.to_owned(),
        at,
    };
    let mut out = Records::new();
    // Form 0.0 of sparse members repeats two keys; they are collected as the list of form 0.1.
    let mut map: Vec<u8> = Vec::new();
    let mut rest = data;
    // Some writers pad with NULs (GNU tar and Python skip them).
    while rest.first().is_some_and(|b| *b != 0) {
        let space = rest.iter().position(|b| *b == b' ').ok_or_else(wrong)?;
        let len = number::unsigned(&rest[..space])
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
        if out.len() > MAX_RECORDS {
            return Err(TarError::Refused(format!(
                "a PAX header at byte {at} has more than {MAX_RECORDS} records"
            )));
        }
        rest = &rest[len..];
    }
    if !map.is_empty() {
        out.insert(b"GNU.sparse.map".to_vec(), map);
    }
    Ok(out)
}
