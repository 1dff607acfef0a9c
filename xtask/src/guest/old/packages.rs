//! Settings of package managers that are meant for containers.
//!
//! Debuerreotype, which builds the official images of Debian's family, writes all of these in its
//! script `debuerreotype-minimizing-config`; `docker-brew-ubuntu-core` writes the same.

use super::super::{Report, Rootfs, rewrite};
use super::glance;

/// invoke-rc.d(8) asks it whether a service may be started.
const POLICY: &str = "/usr/sbin/policy-rc.d";
/// dpkg.cfg(5).
const DPKG: &str = "/etc/dpkg/dpkg.cfg";
const DPKG_DIR: &str = "/etc/dpkg/dpkg.cfg.d";
/// Files in apt.conf.d that delete packages and indexes, and remove suggested packages.
const APT: [&str; 4] = [
    "docker-clean",
    "docker-gzip-indexes",
    "docker-no-languages",
    "docker-autoremove-suggests",
];

pub(super) fn clean(rootfs: &mut Rootfs) -> Result<Vec<String>, Report> {
    let mut notes = Vec::new();
    notes.extend(policy(rootfs)?);
    notes.extend(unsafe_io(rootfs)?);
    let mut gone = Vec::new();
    for name in APT {
        let path = format!("/etc/apt/apt.conf.d/{name}");
        if rootfs.tree.remove(&path) {
            gone.push(name.to_owned());
        }
    }
    if !gone.is_empty() {
        notes.push(format!(
            "removed {} from /etc/apt/apt.conf.d: they keep container images small, but make apt slow on a machine",
            gone.join(", ")
        ));
    }
    Ok(notes)
}

/// Removes a policy that only forbids, which is a container's; another one is intended.
fn policy(rootfs: &mut Rootfs) -> Result<Option<String>, Report> {
    let text = glance(rootfs, POLICY)?;
    let mut lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let forbids = |line: &str| line.trim_end_matches(';').trim_end() == "exit 101";
    let forbids_all =
        lines.clone().any(forbids) && lines.all(|line| forbids(line) || line.starts_with("echo "));
    if !forbids_all {
        return Ok(None);
    }
    rootfs.tree.remove(POLICY);
    Ok(Some(format!(
        "removed {POLICY}: it forbids every service to start when its package is installed or upgraded"
    )))
}

/// Lets dpkg flush to the disk again: a machine may lose power.
fn unsafe_io(rootfs: &mut Rootfs) -> Result<Option<String>, Report> {
    let mut files = vec![DPKG.to_owned()];
    let more = rootfs.tree.entries(DPKG_DIR);
    files.extend(more.map(|(name, _)| format!("{DPKG_DIR}/{name}")));
    let mut mended = Vec::new();
    for file in files {
        let old = glance(rootfs, &file)?;
        // The file has the command line's options without their dashes.
        let is_unsafe = |line: &str| line.trim().trim_start_matches('-') == "force-unsafe-io";
        if !old.lines().any(is_unsafe) {
            continue;
        }
        let text: String = old
            .lines()
            .filter(|line| !is_unsafe(line))
            .flat_map(|line| [line, "\n"])
            .collect();
        let says_nothing = text
            .lines()
            .all(|line| line.trim().is_empty() || line.trim().starts_with('#'));
        if says_nothing && file != DPKG {
            rootfs.tree.remove(&file);
        } else {
            rewrite(rootfs, &file, text)?;
        }
        mended.push(file);
    }
    Ok((!mended.is_empty()).then(|| {
        format!(
            "removed force-unsafe-io from {}: with it, a power cut during an upgrade leaves empty files",
            mended.join(", ")
        )
    }))
}
