//! What an earlier life left in a root file system, and must not move into the new machine.
//!
//! A root file system may have been another machine's, a build host's folder or a container that
//! pretended to be a machine. Each file here knows one kind of such facts, finds it by what is in
//! the files and never by a distribution's name, and says in a note what it changed and why. What
//! nobody can have meant (random seeds, leases) goes silently.

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

/// Takes out or mends everything but owners and modes. Returns what people should know.
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

/// What starts services here. The recipe may still bring the init itself, so that may be missing.
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

/// Reads a configuration file; one that is absent, or larger than any of them, is empty: nothing
/// that is looked for here is in it.
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

/// A few of many, for a note: `a, b, c and 4 more`.
fn some(all: &[String]) -> String {
    const FEW: usize = 6;
    match all.len().checked_sub(FEW) {
        None | Some(0) => all.join(", "),
        Some(more) => format!("{} and {more} more", all[..FEW].join(", ")),
    }
}
