//! Removes from a root file system what does not belong to the machine: leftovers of a container
//! engine, and of an earlier machine ([`super::old`]).
//!
//! Runs before the digest of the tree is computed, so that leftovers cannot make two exports of an
//! image differ, and before the recipe's `files/` are added, so that those stay.

use super::{Report, Rootfs, edit, old};
use crate::model::size::Size;
use crate::rootfs::tree::Prune;
use crate::rootfs::{Kind, Meta, NodeId, Time, Tree};
use bstr::{BString, ByteSlice};

/// A folder that is empty when a machine starts.
struct Place {
    path: &'static str,
    mode: u16,
    /// Why its content cannot stay.
    why: &'static str,
    /// What packages and engines put into it, which needs no note.
    leftovers: &'static [&'static str],
}

const MOUNTED: &str = "a machine mounts its own file system there";

const PLACES: [Place; 5] = [
    Place {
        path: "/dev",
        mode: 0o755,
        why: MOUNTED,
        leftovers: &[],
    },
    Place {
        path: "/proc",
        mode: 0o555,
        why: MOUNTED,
        leftovers: &[],
    },
    Place {
        path: "/sys",
        mode: 0o555,
        why: MOUNTED,
        leftovers: &[],
    },
    Place {
        path: "/run",
        mode: 0o755,
        why: MOUNTED,
        leftovers: &[
            ".containerenv",
            "dbus",
            "initctl",
            "lock",
            "mount",
            "openrc",
            "resolvconf",
            "systemd",
            "udev",
            "utmp",
        ],
    },
    Place {
        path: "/tmp",
        mode: 0o1777,
        why: "a machine starts with an empty one",
        leftovers: &[],
    },
];

/// Cleans `rootfs`. Returns notes for the user.
pub fn clean(rootfs: &mut Rootfs) -> Result<Vec<String>, Report> {
    let epoch = rootfs.epoch;
    // Must be first: folders that are created below belong to root, and would hide that nothing
    // else does.
    let mut notes = old::owners(rootfs);
    for marker in ["/.dockerenv", "/.dockerinit"] {
        rootfs.tree.remove(marker);
    }
    for place in &PLACES {
        notes.extend(empty(rootfs, place)?);
    }
    let tree = &mut rootfs.tree;
    // Engines mount their own file systems over these: an empty one is only a mount point.
    for file in ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"] {
        let empty = tree
            .lookup(file)
            .is_some_and(|id| match &tree.node(id).kind {
                Kind::File(content) => content.is_empty(),
                _ => false,
            });
        if empty {
            tree.remove(file);
        }
    }
    notes.extend(old::clean(rootfs)?);
    // Every change above updated the modification time of its directory.
    let tree = &mut rootfs.tree;
    for dir in ["/", "/etc"] {
        if let Some(id) = tree.resolve(dir) {
            let time = &mut tree.node_mut(id).meta.mtime;
            if time.secs >= epoch {
                *time = Time {
                    secs: epoch,
                    nanos: 0,
                };
            }
        }
    }
    Ok(notes)
}

/// Makes `place` an empty folder owned by root. The target of a link there is never changed.
/// Returns a note if something was there that might be needed.
fn empty(rootfs: &mut Rootfs, place: &Place) -> Result<Option<String>, Report> {
    let Place {
        path, mode, why, ..
    } = *place;
    let epoch = rootfs.epoch;
    let tree = &mut rootfs.tree;
    let mut note = None;
    if let Some(id) = tree.lookup(path) {
        match &tree.node(id).kind {
            Kind::Dir(_) => {
                note = lost(tree, id, place);
                tree.prune(id, |_, _, _| Prune::Remove);
            }
            Kind::Symlink(target) => {
                let target = target.to_string();
                if let Some(real) = folder_of_link(tree, path) {
                    return Ok(temporary(tree, real, &target));
                }
                let why = match path {
                    "/tmp" => "its target does not exist when the machine starts",
                    _ => why,
                };
                note = Some(format!(
                    "{path} was a link to {target}, which is unchanged; {path} is now a folder: {why}"
                ));
                tree.remove(path);
            }
            other => {
                note = Some(format!(
                    "{path} was a {}; it is now a folder: {why}",
                    other.name()
                ));
                tree.remove(path);
            }
        }
    }
    let id = tree.mkdir(path, mode, epoch).map_err(edit)?;
    tree.node_mut(id).meta = Meta::root(mode, epoch);
    Ok(note)
}

/// The target of the link /tmp, if it is a folder. The others cannot be links: the kernel and the
/// initrd mount their file systems there, and would follow the link into a folder with data.
fn folder_of_link(tree: &Tree, path: &str) -> Option<NodeId> {
    let id = tree.resolve(path).filter(|_| path == "/tmp")?;
    matches!(tree.node(id).kind, Kind::Dir(_)).then_some(id)
}

/// /tmp is a link to the folder `id`, whose content stays. Returns a note if programs could not use
/// it.
fn temporary(tree: &mut Tree, id: NodeId, target: &str) -> Option<String> {
    let real = tree.canonical("/tmp").unwrap_or_default();
    let meta = &mut tree.node_mut(id).meta;
    if meta.mode & 0o1777 == 0o1777 {
        return None;
    }
    // A folder of that name is meant as its target.
    if real.ends_with("/tmp") {
        meta.mode |= 0o1777;
        return None;
    }
    Some(format!(
        "/tmp is a link to {target}, which has the mode {:04o}, so only root's programs can write there; set its mode to 1777 in the Dockerfile, or remove the link",
        meta.mode
    ))
}

/// Removes the content of the folder `dir`, and returns a note if it is more than leftovers.
fn lost(tree: &Tree, dir: NodeId, place: &Place) -> Option<String> {
    // Stop at a limit, because a hostile tar decides how deep a tree is.
    const LONGEST: usize = 200;
    let (mut files, mut bytes) = (0_u64, 0_u64);
    let mut example: Option<BString> = None;
    let mut todo = vec![(BString::from(place.path), dir)];
    while let Some((path, id)) = todo.pop() {
        match &tree.node(id).kind {
            Kind::Dir(children) => {
                let at_top = id == dir;
                // Visit the names in ascending order.
                for (name, id) in children.iter().rev() {
                    let known = |n: &&str| n.as_bytes() == name.as_bytes();
                    if at_top && place.leftovers.iter().any(known) {
                        continue;
                    }
                    let mut below = path.clone();
                    if below.len() < LONGEST {
                        below.push(b'/');
                        below.extend_from_slice(name);
                    }
                    todo.push((below, *id));
                }
            }
            Kind::File(content) if !content.is_empty() && !is_pid(&path) => {
                files += 1;
                bytes = bytes.saturating_add(content.len());
                example.get_or_insert(path);
            }
            _ => {}
        }
    }
    let example = example?;
    let many = if files == 1 { "file" } else { "files" };
    Some(format!(
        "removed {files} {many} ({}) from {}, e.g. {example}: {}; keep them in another folder if the machine needs them",
        Size(bytes),
        place.path,
        place.why
    ))
}

/// Whether it is the ID of a process that has ended.
fn is_pid(path: &BString) -> bool {
    path.ends_with(b".pid") || path.ends_with(b".lock")
}
