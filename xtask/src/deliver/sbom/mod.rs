//! Reads the package databases of an image and lists the packages in SPDX.

mod apk;
mod dpkg;
mod spdx;

pub use spdx::{FORMAT, spdx};

use crate::os_release;
use crate::rootfs::Rootfs;
use std::io;

/// Largest package database that is read, in bytes.
const LIMIT: u64 = 256 << 20;

/// An installed package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Package {
    /// Name, e.g. `bash`.
    pub name: String,
    /// Version, e.g. `5.2.37-2`.
    pub version: String,
    /// Architecture, as the distribution calls it.
    pub arch: String,
    /// Name and version of its source package, if known.
    pub source: Option<(String, Option<String>)>,
    /// Maintainer: a name, usually with an address in `<...>`.
    pub maintainer: Option<String>,
    /// URL of the home page.
    pub homepage: Option<String>,
    /// Description, in one line.
    pub summary: Option<String>,
    /// Licence, as free text.
    pub license: Option<String>,
    /// Kind of package in a package URL: `deb` or `apk`.
    pub kind: &'static str,
}

/// The software in a root file system.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    /// `ID` of os-release(5).
    pub os: Option<String>,
    /// `VERSION_ID` of os-release(5).
    pub os_version: Option<String>,
    /// The packages, sorted by name.
    pub packages: Vec<Package>,
    /// Paths of package databases that exist but are not supported.
    pub unread: Vec<String>,
}

/// Databases in formats that are not supported: rpm uses SQLite, Berkeley DB or its own format, for
/// which there is no small library; pacman uses a folder for each package.
const UNREAD: [&str; 7] = [
    "/usr/lib/sysimage/rpm/rpmdb.sqlite",
    "/usr/lib/sysimage/rpm/Packages.db",
    "/usr/lib/sysimage/rpm/Packages",
    "/var/lib/rpm/rpmdb.sqlite",
    "/var/lib/rpm/Packages.db",
    "/var/lib/rpm/Packages",
    "/var/lib/pacman/local/ALPM_DB_VERSION",
];

/// Reads the package databases of a root file system.
pub fn read(rootfs: &Rootfs) -> io::Result<Inventory> {
    let mut packages = Vec::new();
    if let Some(text) = rootfs.read_text("/var/lib/dpkg/status", LIMIT)? {
        packages.extend(dpkg::status(&text));
    }
    // Images without dpkg itself, e.g. distroless, have a file for each package.
    let folder = "/var/lib/dpkg/status.d";
    let names: Vec<String> = rootfs
        .tree
        .entries(folder)
        .map(|(name, _)| name.to_owned())
        .collect();
    for name in names.iter().filter(|n| !n.ends_with(".md5sums")) {
        let text = rootfs.read_text(&format!("{folder}/{name}"), LIMIT)?;
        packages.extend(dpkg::status_d(&text.unwrap_or_default()));
    }
    // apk-tools 3 uses /usr; one path may be a link to the other.
    for path in ["/lib/apk/db/installed", "/usr/lib/apk/db/installed"] {
        if let Some(text) = rootfs.read_text(path, LIMIT)? {
            packages.extend(apk::installed(&text));
        }
    }
    packages.sort();
    packages.dedup();
    let release = os_release::PATHS
        .into_iter()
        .find_map(|path| rootfs.read_text(path, 1 << 20).transpose())
        .transpose()?
        .unwrap_or_default();
    Ok(Inventory {
        os: os_release::value(&release, "ID"),
        os_version: os_release::value(&release, "VERSION_ID"),
        packages,
        unread: UNREAD
            .into_iter()
            .filter(|path| rootfs.tree.exists(path))
            .map(str::to_owned)
            .collect(),
    })
}

/// The value of `field` in a paragraph of lines `FIELD:VALUE`, if it is not empty.
fn value<'a>(paragraph: &'a str, field: &str) -> Option<&'a str> {
    let mut lines = paragraph.lines();
    let found = lines.find_map(|l| l.strip_prefix(field)?.strip_prefix(':'));
    found.map(str::trim).filter(|v| !v.is_empty())
}
