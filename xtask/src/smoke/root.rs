//! Checks the root file system of an image that is not running: is it clean, was it mounted?
//!
//! Offsets and values are those of the ext4 superblock (Linux,
//! Documentation/filesystems/ext4/super.rst).

use crate::error::Report;
use crate::tool::Tool;
use camino::Utf8Path;
use fs_err as fs;
use std::os::unix::fs::FileExt;

/// Offset of the superblock from the start of the file system, in bytes.
const SUPERBLOCK: u64 = 1024;

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
    let mut sb = [0; 1024];
    fs::File::open(image)
        .and_then(|f| {
            f.file()
                .read_exact_at(&mut sb, start.saturating_add(SUPERBLOCK))
        })
        .map_err(|e| {
            Report::failure(format!("reading the root file system of {image}")).because(e)
        })?;
    Ok(of_superblock(&sb))
}

fn of_superblock(sb: &[u8; 1024]) -> State {
    let u16_at = |at: usize| u16::from_le_bytes([sb[at], sb[at + 1]]);
    let u32_at = |at: usize| u32::from_le_bytes([sb[at], sb[at + 1], sb[at + 2], sb[at + 3]]);
    let state = u16_at(0x3a);
    // RO_COMPAT_METADATA_CSUM: a checksum of everything before it.
    let summed = u32_at(0x64) & 0x400 != 0;
    let wrong_sum = summed && u32_at(0x3fc) != !crc32c::crc32c(&sb[..0x3fc]);
    let unclean = if u16_at(0x38) != 0xef53 || wrong_sum {
        Some("its superblock is damaged")
    } else if state & 2 != 0 || u32_at(0x194) != 0 {
        Some("the kernel found errors in it")
    } else if u32_at(0x60) & 4 != 0 {
        Some("its journal was not written back: it was not unmounted")
    } else if state & 1 == 0 {
        Some("it was not unmounted")
    } else {
        None
    };
    State {
        mounts: u16_at(0x34),
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
            of_superblock(&clean),
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
            let why = of_superblock(&sb).unclean.unwrap_or_default();
            assert!(why.contains(word), "{place:#x}: {why}");
        }
    }
}
