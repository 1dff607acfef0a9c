//! The folder with what a boot left: logs, a picture of the screen, the verdict.

use super::Outcome;
use crate::error::Report;
use crate::output::Pending;
use crate::output::write_error;
use crate::printable::{lines, plain};
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use std::io::Write;

/// What the folder may hold; nothing else in it is touched.
const FILES: [&str; 6] = [
    "console.raw.log",
    "console.log",
    "screen.log",
    "screen.png",
    "qemu.log",
    "verdict.json",
];

/// A folder for one boot.
#[derive(Debug)]
pub(super) struct Evidence {
    pub(super) dir: Utf8PathBuf,
}

impl Evidence {
    /// Makes the folder, and takes out what an earlier boot left there.
    pub(super) fn new(dir: &Utf8Path) -> Result<Evidence, Report> {
        fs::create_dir_all(dir).map_err(|e| write_error(dir, e))?;
        for file in FILES {
            let old = dir.join(file);
            // Also a link that leads nowhere.
            if old.symlink_metadata().is_ok() {
                fs::remove_file(&old).map_err(|e| write_error(&old, e))?;
            }
        }
        Ok(Evidence {
            dir: dir.to_owned(),
        })
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> Result<(), Report> {
        write(&self.dir.join(name), bytes.as_ref())
    }

    /// What the serial console said, as it came and as plain text; and what a BIOS showed.
    pub(super) fn console(&self, raw: &str, screen: &str) -> Result<(), Report> {
        self.write("console.raw.log", raw)?;
        let mut text = plain(raw);
        if !screen.is_empty() {
            self.write("screen.log", &*lines(&plain(screen)))?;
            text = format!("{}\n{text}", plain(screen).trim_end());
        }
        self.write("console.log", &*lines(&text))
    }

    /// The picture of the screen, a PNG.
    pub(super) fn picture(&self, png: &[u8]) -> Result<(), Report> {
        self.write("screen.png", png)
    }

    /// How QEMU was started, and what it complained about.
    pub(super) fn qemu(&self, command: &str, stderr: &str) -> Result<(), Report> {
        self.write("qemu.log", format!("{command}\n{stderr}"))
    }
}

/// Writes the verdict and all that belongs to it into the outcome's folder.
pub(super) fn outcome(outcome: &Outcome) -> Result<(), Report> {
    let path = outcome.evidence.join("verdict.json");
    // Its types cannot fail to become JSON.
    let json = serde_json::to_string_pretty(outcome).unwrap_or_default();
    write(&path, (json + "\n").as_bytes())
}

/// Replaces a file, or a link in its place.
fn write(path: &Utf8Path, bytes: &[u8]) -> Result<(), Report> {
    let write = || {
        let pending = Pending::create(path)?;
        pending.file()?.write_all(bytes)?;
        pending.commit()
    };
    write().map_err(|e| write_error(path, e))
}
