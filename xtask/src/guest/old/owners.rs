//! Owners and modes that make services fail: a root folder that only its builder can enter, a tree
//! with wrong owners, IDs that Linux reserves.

use super::super::Rootfs;
use super::some;
use crate::rootfs::{Kind, NodeId, ROOT, Tree};
use std::collections::BTreeSet;

/// The ID that owns files of unmapped users (Linux, `DEFAULT_OVERFLOWUID` in
/// include/linux/highuid.h).
const NOBODY: u32 = 65534;
/// `(uid_t)-1`: for chown(2) it means "leave unchanged", and no process can have it.
const INVALID: u32 = u32::MAX;

/// Folders that everyone must be able to enter: programs and libraries, accounts, services' state.
const WAYS: [&str; 27] = [
    "/bin/sh",
    "/usr/bin/env",
    "/sbin/init",
    "/usr/bin",
    "/usr/sbin",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/share",
    "/usr/share/zoneinfo",
    "/etc/passwd",
    "/etc/pam.d",
    "/etc/profile.d",
    "/etc/ssl/certs",
    "/var/cache",
    "/var/lib",
    "/var/log",
    "/var/spool",
    "/var/tmp",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/etc/systemd/system",
    "/etc/init.d",
];

/// Files that everyone must be able to read.
const READABLE: [&str; 3] = ["/etc/passwd", "/etc/group", "/etc/nsswitch.conf"];

/// Repairs owners and modes. Returns notes about what was changed and why.
pub(in super::super) fn mend(rootfs: &mut Rootfs) -> Vec<String> {
    let tree = &mut rootfs.tree;
    let mut notes = Vec::new();
    notes.extend(lost_owners(tree));
    notes.extend(invalid_owners(tree));
    notes.extend(root_folder(tree));
    notes.extend(ways(tree));
    notes.extend(var_tmp(tree));
    notes
}

/// If all files belong to one user who is not root, the tree was collected or unpacked without
/// root's privileges, and the owners are lost. Like tar's `--owner=0`, gives everything to root.
fn lost_owners(tree: &mut Tree) -> Option<String> {
    let mut all = BTreeSet::new();
    let mut owner = None;
    {
        let mut walk = tree.walk();
        while let Some((_, id)) = walk.step() {
            let uid = tree.node(id).meta.uid;
            if uid == 0 || owner.is_some_and(|owner| owner != uid) {
                return None;
            }
            owner = Some(uid);
            all.insert(id);
        }
    }
    let owner = owner?;
    all.insert(ROOT);
    for id in all {
        let meta = &mut tree.node_mut(id).meta;
        (meta.uid, meta.gid) = (0, 0);
    }
    Some(format!(
        "every file of the root file system belonged to the user {owner}, so it was collected without root privileges: all of it now belongs to root; restore the owners of users' files in the recipe's `files:` or in the Dockerfile"
    ))
}

/// Files of `(uid_t)-1` cannot be opened for writing or given away in the machine.
fn invalid_owners(tree: &mut Tree) -> Option<String> {
    let mut found = Vec::new();
    let mut names = Vec::new();
    {
        let mut walk = tree.walk();
        while let Some((path, id)) = walk.step() {
            let meta = tree.node(id).meta;
            if meta.uid == INVALID || meta.gid == INVALID {
                found.push(id);
                names.push(path.to_string());
            }
        }
    }
    let root = tree.node(ROOT).meta;
    if root.uid == INVALID || root.gid == INVALID {
        found.push(ROOT);
        names.push("/".into());
    }
    for id in &found {
        let meta = &mut tree.node_mut(*id).meta;
        for id in [&mut meta.uid, &mut meta.gid] {
            if *id == INVALID {
                *id = NOBODY;
            }
        }
        meta.mode &= 0o1777;
    }
    (!found.is_empty()).then(|| {
        format!(
            "{} belonged to the ID {INVALID}, which Linux reserves: the owner is now {NOBODY}",
            some(&names)
        )
    })
}

/// The root folder belongs to root, everyone can enter it, and only root can write to it.
fn root_folder(tree: &mut Tree) -> Option<String> {
    let old = tree.node(ROOT).meta;
    let mut new = old;
    new.mode = entered(old.mode) & !0o7022;
    if old.uid != 0 || old.mode & 0o020 != 0 {
        (new.uid, new.gid) = (0, 0);
    }
    if new == old {
        return None;
    }
    tree.node_mut(ROOT).meta = new;
    Some(format!(
        "the root folder belonged to {}:{} with the mode {:04o}, and now belongs to root with {:04o}: services of other users could not start, or others could replace what root runs",
        old.uid, old.gid, old.mode, new.mode
    ))
}

/// `mode` for a folder that everyone can enter: unchanged if it allows that, else the usual one.
fn entered(mode: u16) -> u16 {
    match mode & 0o111 {
        0o111 => mode | 0o200,
        _ => mode | 0o755,
    }
}

/// The folders on the way to what everyone needs, and the files that everyone reads.
fn ways(tree: &mut Tree) -> Option<String> {
    let mut folders: BTreeSet<NodeId> = BTreeSet::new();
    let mut paths: Vec<String> = WAYS.map(str::to_owned).into();
    paths.push("/home".into());
    // Libraries of one architecture, and the dynamic loaders.
    for lib in ["/lib", "/usr/lib", "/lib64", "/usr/lib64"] {
        for (name, _) in tree.entries(lib) {
            if name.contains("-linux-") || name.starts_with("ld-") {
                paths.push(format!("{lib}/{name}"));
            }
        }
    }
    let mut names: Vec<String> = Vec::new();
    for path in &paths {
        folders.extend(tree.steps(path));
    }
    let home = tree.lookup("/home");
    let mut changed = BTreeSet::new();
    for id in folders {
        if !matches!(tree.node(id).kind, Kind::Dir(_)) {
            continue;
        }
        let old = tree.node(id).meta;
        let mut new = old;
        new.mode = entered(old.mode);
        // The sticky bit keeps users from replacing others' files.
        if new.mode & 0o1002 == 0o002 {
            new.mode &= !0o002;
        }
        if old.uid != 0 && Some(id) != home {
            (new.uid, new.gid) = (0, 0);
        }
        if new != old {
            tree.node_mut(id).meta = new;
            changed.insert(id);
        }
    }
    for path in READABLE {
        let Some(id) = tree.resolve(path) else {
            continue;
        };
        let meta = &mut tree.node_mut(id).meta;
        let old = *meta;
        meta.mode = (meta.mode | 0o444) & !0o022;
        if meta.uid != 0 {
            (meta.uid, meta.gid) = (0, 0);
        }
        if *meta != old {
            changed.insert(id);
        }
    }
    if changed.is_empty() {
        return None;
    }
    let mut walk = tree.walk();
    while let Some((path, id)) = walk.step() {
        if changed.contains(&id) {
            names.push(path.to_string());
        }
    }
    Some(format!(
        "fixed owner or mode of {}: users and services other than root had no access, or others could replace what root runs",
        some(&names)
    ))
}

/// Everyone can write to /var/tmp, and nobody can remove others' files.
fn var_tmp(tree: &mut Tree) -> Option<String> {
    let id = tree.lookup("/var/tmp")?;
    let node = tree.node_mut(id);
    if !matches!(node.kind, Kind::Dir(_)) || node.meta.mode & 0o1777 == 0o1777 {
        return None;
    }
    let old = node.meta.mode;
    node.meta.mode |= 0o1777;
    Some(format!(
        "/var/tmp had the mode {old:04o}, and now has 1777: every program may write there"
    ))
}
