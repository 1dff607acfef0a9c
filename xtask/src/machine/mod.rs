//! Machines: ready root file systems with kernel, init, udev and network, and without an
//! application. A container is put into one of them, so nothing has to be built or executed for it.
//!
//! A machine is an image in an OCI layout (OCI image specification, image-layout.md), whose labels
//! say that it is one. Its digest, that of its manifest, identifies all of its bytes.

mod document;
mod layer;
mod origin;
mod store;
mod transfer;

pub use store::{Added, Facts, Store};

use crate::error::Report;
use crate::model::{Arch, Digest};
use crate::place;
use crate::recipe::Recipe;
use crate::rootfs::oci::Wanted;
use camino::{Utf8Path, Utf8PathBuf};

/// The usual folder of machines.
pub fn folder() -> Utf8PathBuf {
    place::cache("machines")
}

/// A machine in a layout.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Its name, e.g. `debian`.
    pub name: String,
    /// Its architecture.
    pub arch: Arch,
    /// The digest of its manifest.
    pub digest: Digest,
    /// Size of its layers in bytes.
    pub size: u64,
    /// The system in it, e.g. `Debian GNU/Linux 13 (trixie)`.
    pub system: String,
    /// The versions of its kernels.
    pub kernels: Vec<String>,
    /// Whether it is the newest one of its name.
    pub newest: bool,
    /// Settings that belong to it; the others are the defaults.
    pub recipe: Recipe,
    /// The folder of its layout.
    pub dir: Utf8PathBuf,
}

impl Machine {
    /// The short form of its digest, for people.
    pub fn short(&self) -> String {
        self.digest.hex().chars().take(12).collect()
    }

    /// How [`crate::rootfs::oci::from_dir`] finds its image in its folder.
    pub fn wanted(&self) -> Wanted {
        Wanted {
            name: Some(self.digest.to_string()),
            ..self.arch.into()
        }
    }
}

/// Which machine to use: what `--machine` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The newest one of that name, or the one of that name with this digest.
    Stored(String, Option<Digest>),
    /// One in another OCI layout: its folder, and its name if there are several.
    Layout(Utf8PathBuf, Option<String>),
}

impl std::str::FromStr for Choice {
    type Err = Report;

    fn from_str(text: &str) -> Result<Choice, Report> {
        let wrong = |what: &str| {
            Err(
                Report::mistake(format!("--machine {text:?} {what}")).hint(
                    "write NAME, NAME@sha256:DIGEST, or oci:DIR; `cargo xtask machine list` shows the names",
                ),
            )
        };
        if let Some(rest) = text.strip_prefix("oci:") {
            let (dir, name) = match rest.split_once(':') {
                Some((dir, name)) => (dir, Some(name.to_owned())),
                None => (rest, None),
            };
            if dir.is_empty() || name.as_deref() == Some("") {
                return wrong("has no folder, or no name after the last colon");
            }
            return Ok(Choice::Layout(Utf8Path::new(dir).to_owned(), name));
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => match digest.parse() {
                Ok(digest) => (name, Some(digest)),
                Err(_) => return wrong("has no digest of 64 digits after its @sha256:"),
            },
            None => (text, None),
        };
        if !crate::recipe::is_name(name) {
            return wrong("is not the name of a machine");
        }
        Ok(Choice::Stored(name.to_owned(), digest))
    }
}

impl std::fmt::Display for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Choice::Stored(name, None) => f.write_str(name),
            Choice::Stored(name, Some(digest)) => write!(f, "{name}@{digest}"),
            Choice::Layout(dir, None) => write!(f, "oci:{dir}"),
            Choice::Layout(dir, Some(name)) => write!(f, "oci:{dir}:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_machine_is_chosen_by_name_digest_or_folder() {
        let digest = format!("sha256:{}", "0f".repeat(32));
        for text in ["debian", &format!("my-box@{digest}"), "oci:a/b", "oci:/a:x"] {
            let choice: Choice = text.parse().unwrap();
            assert_eq!(choice.to_string(), text);
        }
        for text in [
            "",
            "oci:",
            "oci:x:",
            "a@sha256:00",
            "@",
            "a/b",
            "-x",
            "../x",
        ] {
            assert!(text.parse::<Choice>().is_err(), "{text}");
        }
    }
}
