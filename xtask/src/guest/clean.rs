//! Takes out of a root file system what does not belong to the machine: what a container engine
//! left, and what remained of an earlier life ([`super::old`]).
//!
//! It comes before the digest of the tree is taken, so none of it may make two exports of one
//! image differ, and before the recipe's `files/` are laid over it: what the recipe brings stays.

use super::{Report, Rootfs, edit, old};
use crate::model::size::Size;
use crate::rootfs::tree::Prune;
use crate::rootfs::{Kind, Meta, NodeId, Time, Tree};
use bstr::{BString, ByteSlice};

/// A folder that a machine starts with empty.
struct Place {
    path: &'static str,
    mode: u16,
    /// Why what lies there cannot stay.
    why: &'static str,
    /// What packages and engines put there, below it: nobody misses it.
    leftovers: &'static [&'static str],
}

const MOUNTED: &str = "a machine mounts a file system of its own over it";

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

/// Cleans `rootfs`. Returns what people should know of it, a line each.
pub fn clean(rootfs: &mut Rootfs) -> Result<Vec<String>, Report> {
    let epoch = rootfs.epoch;
    // First: what is made here is root's, and would hide that nothing else is.
    let mut notes = old::owners(rootfs);
    for marker in ["/.dockerenv", "/.dockerinit"] {
        rootfs.tree.remove(marker);
    }
    for place in &PLACES {
        notes.extend(empty(rootfs, place)?);
    }
    let tree = &mut rootfs.tree;
    // The engine mounts its own over these: an empty one is only where it was mounted.
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
    // Everything that was touched above got a new time in its directory.
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

/// Makes `place` an empty folder of root's. What a link there leads to is never touched. Returns a
/// note if something was there that somebody may miss.
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
                    "/tmp" => "what it led to is not there when the machine starts",
                    _ => why,
                };
                note = Some(format!(
                    "{path} was a link to {target}, which stays as it is; {path} is a folder now: {why}"
                ));
                tree.remove(path);
            }
            other => {
                note = Some(format!(
                    "{path} was a {}; it is a folder now: {why}",
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

/// Where the link /tmp leads, if that is a folder. The others cannot be links: the kernel and the
/// initrd mount their file systems there, and would follow it into a folder with data.
fn folder_of_link(tree: &Tree, path: &str) -> Option<NodeId> {
    let id = tree.resolve(path).filter(|_| path == "/tmp")?;
    matches!(tree.node(id).kind, Kind::Dir(_)).then_some(id)
}

/// /tmp is a link to the folder `id`, which keeps what it has. Returns a note if programs could
/// not use it.
fn temporary(tree: &mut Tree, id: NodeId, target: &str) -> Option<String> {
    let real = tree.canonical("/tmp").unwrap_or_default();
    let meta = &mut tree.node_mut(id).meta;
    if meta.mode & 0o1777 == 0o1777 {
        return None;
    }
    // A folder of that name is meant for it.
    if real.ends_with("/tmp") {
        meta.mode |= 0o1777;
        return None;
    }
    Some(format!(
        "/tmp is a link to {target}, which has the mode {:04o}: programs that are not root's cannot write there; give it 1777 in the Dockerfile, or remove the link",
        meta.mode
    ))
}

/// What goes with the contents of the folder `dir`, if it is more than leftovers: bytes of files.
fn lost(tree: &Tree, dir: NodeId, place: &Place) -> Option<String> {
    // Longer ones are not told whole; a hostile tar decides how deep a tree is.
    const LONGEST: usize = 200;
    let (mut files, mut bytes) = (0_u64, 0_u64);
    let mut example: Option<BString> = None;
    let mut todo = vec![(BString::from(place.path), dir)];
    while let Some((path, id)) = todo.pop() {
        match &tree.node(id).kind {
            Kind::Dir(children) => {
                let at_top = id == dir;
                // The first name is looked at first.
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
        "removed {files} {many} ({}) from {}, as {example}: {}; keep them in another folder if the machine needs them",
        Size(bytes),
        place.path,
        place.why
    ))
}

/// Whether it is the number of a process that is gone.
fn is_pid(path: &BString) -> bool {
    path.ends_with(b".pid") || path.ends_with(b".lock")
}
