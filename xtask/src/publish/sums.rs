//! `SHA256SUMS`: the checksums of everything in a folder, as `sha256sum -c` reads them.

use crate::output::Pending;
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use rustix::fs::{FlockOperation, flock};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};

/// Name of the file.
pub const NAME: &str = "SHA256SUMS";

/// Keeps two runs from changing the sums of one folder at once. The lock ends with the value,
/// and with the process.
#[derive(Debug)]
pub struct Lock {
    dir: Utf8PathBuf,
    _handle: File,
}

impl Lock {
    /// Waits until nobody else changes the sums of that folder; makes the folder if need be.
    pub fn of(dir: &Utf8Path) -> io::Result<Lock> {
        let dir = if dir.as_str().is_empty() {
            Utf8Path::new(".")
        } else {
            dir
        };
        fs::create_dir_all(dir)?;
        let handle = File::open(dir)?;
        match flock(&handle, FlockOperation::LockExclusive) {
            // Some network file systems have no locks: then two runs at once are at their own
            // risk, as they were before.
            Err(rustix::io::Errno::NOTSUP | rustix::io::Errno::NOLCK) | Ok(()) => {}
            Err(e) => return Err(e.into()),
        }
        Ok(Lock {
            dir: dir.to_owned(),
            _handle: handle,
        })
    }

    /// Takes these files out of `SHA256SUMS`, if there is one.
    pub fn forget(&self, names: &[String]) -> io::Result<()> {
        if !self.dir.join(NAME).exists() {
            return Ok(());
        }
        self.write(|all| all.retain(|name, _| !names.contains(name)))?
            .commit()
    }

    /// The new `SHA256SUMS`: what it says of other files that are still there, and `lines`, as
    /// (name, SHA-256 in hexadecimal). It has no name yet.
    pub fn merge(&self, lines: &[(String, String)]) -> io::Result<Pending> {
        self.write(|all| all.extend(lines.iter().cloned()))
    }

    fn write(&self, change: impl FnOnce(&mut BTreeMap<String, String>)) -> io::Result<Pending> {
        let path = self.dir.join(NAME);
        let old = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(e),
        };
        let mut all: BTreeMap<String, String> = parse(&old)
            .filter(|(_, name)| self.dir.join(name).exists())
            .map(|(sum, name)| (name.to_owned(), sum.to_owned()))
            .collect();
        change(&mut all);
        let mut text = String::new();
        for (name, sum) in all {
            text.push_str(&format!("{sum}  {name}\n"));
        }
        let pending = Pending::create(&path)?;
        pending.file()?.write_all(text.as_bytes())?;
        Ok(pending)
    }
}

/// The lines of such a file, as (SHA-256, name).
pub fn parse(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| {
        let (sum, name) = line.split_once(' ')?;
        // A blank or a star: text or binary, which is the same here.
        let name = name.strip_prefix([' ', '*'])?;
        let is_sum = sum.len() == 64 && sum.bytes().all(|b| b.is_ascii_hexdigit());
        (is_sum && !name.is_empty()).then_some((sum, name))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Lock, NAME, parse};
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
        let lock = Lock::of(dir).unwrap();
        lock.merge(&lines).unwrap().commit().unwrap();
        let text = fs::read_to_string(dir.join(NAME)).unwrap();
        assert_eq!(
            text,
            format!("{}  box.img\n{}  other.img\n", sum('d'), sum('b'))
        );
        assert_eq!(parse(&text).count(), 2);
        lock.forget(&["box.img".to_owned()]).unwrap();
        let text = fs::read_to_string(dir.join(NAME)).unwrap();
        assert_eq!(text, format!("{}  other.img\n", sum('b')));
    }
}
