//! The folder with the files of a boot: logs, a screenshot, the verdict.

use super::BootOutcome;
use crate::error::Report;
use crate::output::Pending;
use crate::output::write_error;
use crate::printable::{lines, plain};
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use std::io::Write;

/// The files that the folder may contain. Other files in it are not touched.
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
    /// Creates the folder, and removes the files of an earlier boot.
    pub(super) fn new(dir: &Utf8Path) -> Result<Evidence, Report> {
        fs::create_dir_all(dir).map_err(|e| write_error(dir, e))?;
        for file in FILES {
            let old = dir.join(file);
            // Also finds a dangling link.
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

    /// The output of the serial console, raw and as plain text, and the BIOS's screen.
    pub(super) fn console(&self, raw: &str, screen: &str) -> Result<(), Report> {
        self.write("console.raw.log", raw)?;
        let mut text = plain(raw);
        if !screen.is_empty() {
            self.write("screen.log", &*lines(&plain(screen)))?;
            text = format!("{}\n{text}", plain(screen).trim_end());
        }
        self.write("console.log", &*lines(&text))
    }

    /// The screenshot, a PNG.
    pub(super) fn picture(&self, png: &[u8]) -> Result<(), Report> {
        self.write("screen.png", png)
    }

    /// QEMU's command and its messages.
    pub(super) fn qemu(&self, command: &str, stderr: &str) -> Result<(), Report> {
        self.write("qemu.log", format!("{command}\n{stderr}"))
    }
}

/// Writes the verdict with all details into the outcome's folder.
pub(super) fn outcome(outcome: &BootOutcome) -> Result<(), Report> {
    let path = outcome.evidence.join("verdict.json");
    // These types always serialise.
    let json = serde_json::to_string_pretty(outcome).unwrap_or_default();
    write(&path, (json + "\n").as_bytes())
}

/// Replaces a file, or a link of that name.
fn write(path: &Utf8Path, bytes: &[u8]) -> Result<(), Report> {
    let write = || {
        let pending = Pending::create(path)?;
        pending.file()?.write_all(bytes)?;
        pending.commit()
    };
    write().map_err(|e| write_error(path, e))
}
