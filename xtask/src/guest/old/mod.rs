//! Leftovers in a root file system that must not move into the new machine.
//!
//! A root file system may come from another machine, a build host's folder, or a container that ran
//! an init. Each module handles one kind of leftovers, recognises it by the content of files and
//! never by a distribution's name, and reports in a note what it changed and why. What is never
//! intended (random seeds, leases) is removed silently.

mod disks;
mod identity;
mod markers;
mod mounts;
mod openrc;
mod owners;
mod packages;
mod systemd;

pub(super) use owners::mend as owners;
pub(super) use systemd::check as check_units;

use super::{Init, LIMIT, Report, Rootfs, read};
use crate::rootfs::Kind;

/// Removes or repairs everything except owners and modes. Returns notes for the user.
pub(super) fn clean(rootfs: &mut Rootfs) -> Result<Vec<String>, Report> {
    let mut notes = packages::clean(rootfs)?;
    notes.extend(identity::clean(rootfs)?);
    notes.extend(markers::clean(rootfs)?);
    match manager(rootfs) {
        Some(Init::Systemd) => {
            notes.extend(disks::clean(rootfs, Init::Systemd)?);
            notes.extend(systemd::mend(rootfs)?);
            notes.extend(systemd::stand_in(rootfs)?);
        }
        Some(Init::OpenRc) => {
            notes.extend(disks::clean(rootfs, Init::OpenRc)?);
            notes.extend(openrc::mend(rootfs)?);
        }
        _ => notes.extend(disks::clean(rootfs, Init::Other)?),
    }
    Ok(notes)
}

/// The init, if installed: the recipe's files may still add it.
fn manager(rootfs: &Rootfs) -> Option<Init> {
    let has = |paths: &[&str]| paths.iter().any(|p| rootfs.tree.resolve(p).is_some());
    Init::of(rootfs, &[]).ok().or_else(|| {
        if has(&["/usr/lib/systemd/systemd", "/lib/systemd/systemd"]) {
            Some(Init::Systemd)
        } else {
            has(&["/sbin/openrc", "/usr/sbin/openrc"]).then_some(Init::OpenRc)
        }
    })
}

/// Reads a configuration file. A missing or overly large one counts as empty, because it cannot
/// contain what is searched for here.
fn glance(rootfs: &Rootfs, path: &str) -> Result<String, Report> {
    let id = rootfs.tree.resolve(path);
    let small = id.is_some_and(|id| match &rootfs.tree.node(id).kind {
        Kind::File(content) => content.len() <= LIMIT,
        _ => false,
    });
    if small {
        read(rootfs, path)
    } else {
        Ok(String::new())
    }
}

/// The first few of many names, for a note: `a, b, c and 4 more`.
fn some(all: &[String]) -> String {
    const FEW: usize = 6;
    match all.len().checked_sub(FEW) {
        None | Some(0) => all.join(", "),
        Some(more) => format!("{} and {more} more", all[..FEW].join(", ")),
    }
}
