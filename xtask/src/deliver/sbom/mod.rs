//! The software that an image holds: its package databases, and the list of them in SPDX.

mod apk;
mod dpkg;
mod spdx;

pub use spdx::{FORMAT, spdx};

use crate::os_release;
use crate::rootfs::Rootfs;
use std::io;

/// Largest package database that makes sense, in bytes.
const LIMIT: u64 = 256 << 20;

/// An installed package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture, by its distribution's name.
    pub arch: String,
    /// The source package that it was built from, and that one's version, where they are told.
    pub source: Option<(String, Option<String>)>,
    /// Who maintains it.
    pub maintainer: Option<String>,
    /// Its home page.
    pub homepage: Option<String>,
    /// One line about it.
    pub summary: Option<String>,
    /// What it says of its licence, in whatever words.
    pub license: Option<String>,
    /// Kind of package in a package URL: `deb` or `apk`.
    pub kind: &'static str,
}

/// All that a root file system says of its software.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    /// `ID` of os-release(5).
    pub os: Option<String>,
    /// `VERSION_ID` of it.
    pub os_version: Option<String>,
    /// The packages, in the order of their names.
    pub packages: Vec<Package>,
    /// Package databases that are there and cannot be read here.
    pub unread: Vec<String>,
}

/// Databases in forms that are not read: rpm's are SQLite, Berkeley DB or its own, which no
/// small library reads; pacman's is a folder for each package.
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
    // Images without dpkg itself: a file for each package.
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
    // apk-tools 3 has it in /usr; one may be a link to the other.
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
