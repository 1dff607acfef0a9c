//! The names of temporary files.

use camino::{Utf8Path, Utf8PathBuf};
use std::io;
use std::path::Path;

/// The purpose of a temporary file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file that is being written.
    Partial,
    /// The planned steps of a commit.
    Journal,
    /// A file that a commit replaces, kept until the commit is complete.
    Old,
    /// A lock that keeps two runs from writing the same image.
    Lock,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Partial, Kind::Journal, Kind::Old, Kind::Lock];

    fn ending(self) -> &'static str {
        match self {
            Kind::Partial => ".partial",
            Kind::Journal => ".journal",
            Kind::Old => ".old",
            Kind::Lock => ".lock",
        }
    }
}

/// Part of all these names, so that they can be recognized.
const MARK: &str = ".docker-to-linux-";

/// Number of random letters and digits after the mark.
const RANDOM: usize = 12;

/// Used instead of them in the name of a lock, which all runs must know.
const SET: &str = "set";

/// How much of the final name is repeated in a temporary name, in bytes.
const REPEATED: usize = 180;

/// The start of a temporary name for the file `name`.
fn start(name: &str) -> String {
    let mut end = name.len().min(REPEATED);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!(".{}{MARK}", &name[..end])
}

/// Makes a file in `dir` with `make`, which must fail with [`io::ErrorKind::AlreadyExists`] if the
/// name is taken: then another name is tried. Returns the result of `make` and the path.
pub(super) fn new<T>(
    dir: &Utf8Path,
    name: &str,
    kind: Kind,
    make: impl FnMut(&Path) -> io::Result<T>,
) -> io::Result<(T, Utf8PathBuf)> {
    let made = tempfile::Builder::new()
        .prefix(&start(name))
        .suffix(kind.ending())
        .rand_bytes(RANDOM)
        .make_in(dir, make)?;
    let (made, path) = made.keep().map_err(|e| e.error)?;
    let path = Utf8PathBuf::try_from(path).map_err(io::Error::other)?;
    // `tempfile` makes paths absolute, but messages show the path that the user gave.
    Ok((made, dir.join(path.file_name().unwrap_or_default())))
}

/// The name of the lock of an image.
pub(super) fn lock(name: &str) -> String {
    format!("{}{SET}{}", start(name), Kind::Lock.ending())
}

/// The purpose of a temporary file with this name, or `None` if it is not one of ours.
pub(super) fn kind(name: &str) -> Option<Kind> {
    let kind = Kind::ALL.into_iter().find(|k| name.ends_with(k.ending()))?;
    let (start, random) = name.strip_suffix(kind.ending())?.rsplit_once(MARK)?;
    let by_chance = random.len() == RANDOM && random.bytes().all(|b| b.is_ascii_alphanumeric());
    let right = match kind {
        Kind::Lock => random == SET,
        Kind::Partial | Kind::Journal | Kind::Old => by_chance,
    };
    (start.len() > 1 && start.starts_with('.') && right).then_some(kind)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn our_names_are_known_and_fit() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap();
        let long = "ü".repeat(127);
        for name in ["box.img", "x", &long] {
            for kind_of in [Kind::Partial, Kind::Journal, Kind::Old] {
                let (_, path) = new(dir, name, kind_of, |p| std::fs::File::create_new(p)).unwrap();
                assert_eq!(kind(path.file_name().unwrap()), Some(kind_of));
                assert!(path.is_file());
            }
            assert_eq!(kind(&lock(name)), Some(Kind::Lock));
        }
        for other in [
            "box.img",
            ".box.img.1234.partial",
            ".docker-to-linux-0123456789ab.partial",
            ".box.docker-to-linux-0123456789a.partial",
            ".box.docker-to-linux-0123456789a/.partial",
            "box.docker-to-linux-0123456789ab.partial",
            ".box.docker-to-linux-0123456789ab.lock",
            ".box.docker-to-linux-0123456789ab.partial.bak",
        ] {
            assert_eq!(kind(other), None, "{other}");
        }
    }
}
