//! Decides who may read the files of an existing image on the host.

use crate::fs::ext4::Placed;
use crate::guest::hashes;
use crate::output::Access;
use ext4_view::Ext4;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

/// Who may read the files that are made from the raw image `file`: only their owner, if only the
/// owner may read the image itself or if a file system at one of `starts` (in bytes) contains
/// password hashes.
pub fn access_of(file: &File, starts: &[u64]) -> io::Result<Access> {
    let private = file.metadata()?.mode() & 0o077 == 0;
    Ok(
        match private || starts.iter().any(|start| has_hashes(file, *start)) {
            true => Access::Private,
            false => Access::Shared,
        },
    )
}

/// Whether an ext4 file system at `start` contains password hashes. False if it is damaged or not
/// ext4, because then nobody can read hashes from it.
fn has_hashes(file: &File, start: u64) -> bool {
    let Ok(file) = file.try_clone() else {
        return true;
    };
    let place = Placed::new(start, move |at, dst: &mut [u8]| file.read_exact_at(dst, at));
    let Ok(fs) = Ext4::load(Box::new(place)) else {
        return false;
    };
    let passwords = hashes::find(|path| {
        let is_small = fs.metadata(path).is_ok_and(|m| m.len() <= hashes::LARGEST);
        Ok(if is_small { fs.read(path).ok() } else { None })
    });
    passwords.hashes
}
