//! What is remembered of an image that was made.

use super::inputs::Inputs;
use crate::model::Digest;
use crate::output;
use crate::place;
use crate::plain;
use crate::stamp::Stamp;
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use std::io;

/// Largest record that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// Most images that are remembered. The oldest are forgotten first.
const MOST: usize = 500;

/// An image that was made.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) inputs: Inputs,
    /// The image's own files, as they are printed.
    pub(super) images: Vec<Utf8PathBuf>,
    /// All files that were written, and their states after that.
    files: Vec<(Utf8PathBuf, Stamp)>,
}

impl Record {
    /// The record of an image with these files.
    pub(super) fn new(
        inputs: Inputs,
        images: Vec<Utf8PathBuf>,
        others: Vec<Utf8PathBuf>,
    ) -> io::Result<Record> {
        let stamped = |path: &Utf8PathBuf| Ok((path.clone(), Stamp::of(&path.metadata()?)));
        let all = images.iter().chain(&others);
        Ok(Record {
            files: all.map(stamped).collect::<io::Result<_>>()?,
            inputs,
            images,
        })
    }

    /// The first of its files that is not what it was.
    pub(super) fn touched(&self) -> Option<&Utf8Path> {
        let same = |path: &Utf8Path, was: &Stamp| {
            path.symlink_metadata()
                .is_ok_and(|meta| Stamp::of(&meta) == *was)
        };
        let touched = self.files.iter().find(|(path, was)| !same(path, was));
        touched.map(|(path, _)| path.as_path())
    }

    /// The record of the image `name` in `dir`. One that cannot be read is as good as none.
    pub(super) fn read(dir: &Utf8Path, name: &str) -> Option<Record> {
        let bytes = plain::read(&file(dir, name)?, LARGEST).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Remembers it. Where nothing can be written, the image is made again the next time.
    pub(super) fn write(&self, dir: &Utf8Path, name: &str) {
        let Some((file, bytes)) = file(dir, name).zip(serde_json::to_vec(self).ok()) else {
            return;
        };
        if output::write(&file, &bytes).is_ok() {
            limit(&plain::folder(&file), MOST);
        }
    }
}

fn folder() -> Utf8PathBuf {
    place::cache("made")
}

/// The file for the image `name` in `dir`.
fn file(dir: &Utf8Path, name: &str) -> Option<Utf8PathBuf> {
    let dir = dir.canonicalize_utf8().ok()?;
    let key = Digest::of(dir.join(name).as_str().as_bytes()).hex();
    Some(folder().join(format!("{key}.json")))
}

/// Removes all but the newest files of a folder.
fn limit(dir: &Utf8Path, most: usize) {
    let entries = dir.read_dir_utf8().into_iter().flatten();
    let aged = |path: Utf8PathBuf| Some((path.metadata().ok()?.modified().ok()?, path));
    let mut all: Vec<_> = entries
        .filter_map(|entry| aged(entry.ok()?.into_path()))
        .filter(|(_, path)| path.extension() == Some("json"))
        .collect();
    all.sort();
    for (_, path) in &all[..all.len().saturating_sub(most)] {
        let _ = std::fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::fs;

    #[test]
    fn only_the_newest_records_are_kept() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap();
        for n in 0..5 {
            fs::write(dir.join(format!("{n}.json")), "").unwrap();
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        fs::write(dir.join("other"), "").unwrap();
        limit(dir, 2);
        let left = ["3.json", "4.json", "other"];
        assert!(left.iter().all(|name| dir.join(name).exists()));
        assert_eq!(dir.read_dir_utf8().unwrap().count(), left.len());
    }
}
