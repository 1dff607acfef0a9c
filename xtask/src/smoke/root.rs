//! Checks the root file system of an image that is not running: is it clean, was it mounted?

use crate::error::Report;
use crate::fs::ext4::Superblock;
use crate::tool::Tool;
use camino::Utf8Path;
use fs_err as fs;

/// The relevant fields of a superblock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// How often it was mounted read-write (`s_mnt_count`).
    pub mounts: u16,
    /// Why it is not clean. `None` if it is.
    pub unclean: Option<&'static str>,
}

/// Reads the superblock of the file system at byte `start` of `image`.
pub fn state(image: &Utf8Path, start: u64) -> Result<State, Report> {
    let superblock = fs::File::open(image).and_then(|f| Superblock::read(f.file(), start));
    let superblock = superblock.map_err(|e| {
        Report::failure(format!("reading the root file system of {image}")).because(e)
    })?;
    Ok(of_superblock(&superblock))
}

fn of_superblock(sb: &Superblock) -> State {
    let unclean = if !sb.is_ext4() || sb.has_wrong_sum() {
        Some("its superblock is damaged")
    } else if sb.has_errors() {
        Some("the kernel found errors in it")
    } else if sb.needs_recovery() {
        Some("its journal was not written back: it was not unmounted")
    } else if !sb.was_unmounted() {
        Some("it was not unmounted")
    } else {
        None
    };
    State {
        mounts: sb.mounts(),
        unclean,
    }
}

/// Runs e2fsck without changing anything. Returns its complaints; `None` if there are none, or if
/// it is not installed.
pub fn e2fsck(image: &Utf8Path, start: u64) -> Result<Option<String>, Report> {
    let Some(program) = Tool::E2fsck.find() else {
        return Ok(None);
    };
    let out = crate::tool::command(program)
        .env("LC_ALL", "C")
        .arg("-fn")
        .arg(format!("{image}?offset={start}"))
        .output()
        .map_err(|e| Report::failure(format!("running e2fsck on {image}")).because(e))?;
    let said = String::from_utf8_lossy(&out.stdout);
    let words: Vec<&str> = said.lines().filter(|l| !l.starts_with("Pass ")).collect();
    Ok((!out.status.success()).then(|| words.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_superblock_tells_what_is_wrong() {
        let clean = {
            let mut sb = [0; 1024];
            sb[0x34] = 3;
            sb[0x38..0x3b].copy_from_slice(&[0x53, 0xef, 1]);
            sb
        };
        assert_eq!(
            of_superblock(&clean.into()),
            State {
                mounts: 3,
                unclean: None
            }
        );
        for (place, value, word) in [
            (0x38, 0, "damaged"),
            (0x65, 4, "damaged"),
            (0x3a, 3, "errors"),
            (0x194, 1, "errors"),
            (0x60, 4, "journal"),
            (0x3a, 0, "not unmounted"),
        ] {
            let mut sb = clean;
            sb[place] = value;
            let why = of_superblock(&sb.into()).unclean.unwrap_or_default();
            assert!(why.contains(word), "{place:#x}: {why}");
        }
    }
}
