//! `SHA256SUMS`: the checksums of everything in a folder, as `sha256sum -c` reads them.

use crate::error::Report;
use crate::output::Pending;
use crate::plain::{self, PlainName};
use camino::Utf8Path;
use std::collections::BTreeMap;
use std::io::{self, Write};

pub use crate::output::SHARED as NAME;

/// The largest list that is read, in bytes: a few hundred thousand lines.
const MOST: u64 = 32 << 20;

/// Reads the list of a folder. Fails if it is not a regular file, or too large.
pub fn read(dir: &Utf8Path) -> io::Result<String> {
    plain::read_text(&dir.join(NAME), MOST)
}

/// The new `SHA256SUMS` of a folder: its lines for other files that still exist, without `gone`,
/// and with `lines`, as (name, SHA-256 in hexadecimal). The new file does not have its name yet.
/// `None` if there is no list and none is needed.
///
/// The caller must hold the folder's lock ([`crate::output::Folder`]).
pub fn updated(
    dir: &Utf8Path,
    lines: &[(String, String)],
    gone: &[String],
) -> Result<Option<Pending>, Report> {
    let path = dir.join(NAME);
    let old = match read(dir) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound && lines.is_empty() => return Ok(None),
        Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(refused(&path).because(e)),
    };
    let mut all = BTreeMap::new();
    for (sum, name) in parse(&old) {
        let name = PlainName::new(name).map_err(|e| refused(&path).because(e))?;
        if dir.join(&name).symlink_metadata().is_ok() && !gone.iter().any(|g| *g == *name) {
            all.insert(name.as_str().to_owned(), sum.to_owned());
        }
    }
    all.extend(lines.iter().cloned());
    let mut text = String::new();
    for (name, sum) in all {
        text.push_str(&format!("{sum}  {name}\n"));
    }
    let write = || {
        let pending = Pending::create(&path)?;
        pending.file()?.write_all(text.as_bytes())?;
        pending.sync()?;
        Ok(pending)
    };
    write()
        .map(Some)
        .map_err(|e| crate::output::write_error(&path, e))
}

fn refused(path: &Utf8Path) -> Report {
    Report::failure(format!("updating {path}")).hint(format!(
        "it may only contain names of files in its own folder: fix or remove {path}, or choose another folder with --output"
    ))
}

/// The lines of such a file, as (SHA-256, name). The names are unchecked: see [`PlainName`].
pub fn parse(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| {
        let (sum, name) = line.split_once(' ')?;
        // A space means text, a star binary; here there is no difference.
        let name = name.strip_prefix([' ', '*'])?;
        let is_sum = sum.len() == 64 && sum.bytes().all(|b| b.is_ascii_hexdigit());
        (is_sum && !name.is_empty()).then_some((sum, name))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{NAME, parse, updated};
    use camino::Utf8Path;
    use fs_err as fs;

    #[test]
    fn sums_of_other_files_stay_while_those_are_there() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap();
        let sum = |c: char| c.to_string().repeat(64);
        fs::write(dir.join("other.img"), "").unwrap();
        let old = format!(
            "{}  gone.img\n{} *other.img\n{}  box.img\nnonsense\n",
            sum('a'),
            sum('b'),
            sum('c')
        );
        fs::write(dir.join(NAME), old).unwrap();
        let lines = [("box.img".to_owned(), sum('d'))];
        let write = |lines: &[(String, String)], gone: &[String]| {
            let new = updated(dir, lines, gone).unwrap().unwrap();
            new.commit().unwrap();
        };
        write(&lines, &[]);
        let text = fs::read_to_string(dir.join(NAME)).unwrap();
        assert_eq!(
            text,
            format!("{}  box.img\n{}  other.img\n", sum('d'), sum('b'))
        );
        assert_eq!(parse(&text).count(), 2);
        write(&[], &["box.img".to_owned()]);
        let text = fs::read_to_string(dir.join(NAME)).unwrap();
        assert_eq!(text, format!("{}  other.img\n", sum('b')));
    }
}
