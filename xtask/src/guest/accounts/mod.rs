//! Accounts: passwd(5), shadow(5), group(5) and gshadow(5).

pub(super) mod hash;
pub(super) mod keys;
mod table;
mod user;

pub(super) use table::Names;
pub(super) use user::{add, authorize, let_be_root};

use super::{Report, Rootfs, read, rewrite};
use crate::recipe::PasswordHash;
use crate::rootfs::{Kind, Meta};
use hash::Secret;
use keys::PublicKey;
use table::AccountTable;

/// A user who can log in.
#[derive(Debug, Clone, Default)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) uid: Option<u32>,
    pub(super) groups: Vec<String>,
    pub(super) shell: Option<String>,
    pub(super) password: Option<Password>,
    pub(super) keys: Vec<PublicKey>,
    pub(super) sudo: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Password {
    Plain(Secret),
    Hash(PasswordHash),
}

/// Files with password hashes, including the backups of passwd(1) and similar programs.
const SECRETS: [&str; 4] = [
    "/etc/shadow",
    "/etc/gshadow",
    "/etc/shadow-",
    "/etc/gshadow-",
];

/// Makes password hashes readable only for root and the group that exists for this purpose.
/// Stricter modes stay.
pub(super) fn hide_passwords(rootfs: &mut Rootfs) -> Result<(), Report> {
    let groups = AccountTable::read(rootfs, "/etc/group")?;
    let group = groups
        .row("shadow")
        .and_then(|row| groups.get(row, 2).parse().ok());
    let tree = &mut rootfs.tree;
    for path in SECRETS {
        let Some(id) = tree.resolve(path) else {
            continue;
        };
        let node = tree.node_mut(id);
        if !matches!(node.kind, Kind::File(_)) {
            continue;
        }
        let Meta { mode, uid, gid, .. } = node.meta;
        let right_group = gid == 0 || Some(gid) == group;
        if uid == 0 && right_group && mode & !0o640 == 0 {
            continue;
        }
        let most = if group.is_some() { 0o640 } else { 0o600 };
        (node.meta.uid, node.meta.gid) = (0, group.unwrap_or(0));
        node.meta.mode = mode & most;
    }
    Ok(())
}

/// Locks every account that has an empty password: nobody can reach a container's console, but a
/// machine's may be reachable. Returns a note with the names.
pub(super) fn lock_empty_passwords(rootfs: &mut Rootfs) -> Result<Option<String>, Report> {
    let mut locked = Vec::new();
    // /etc/passwd: `x` refers to shadow(5), and an empty field allows login without a password.
    for file in ["/etc/shadow", "/etc/passwd"] {
        let old = read(rootfs, file)?;
        let mut found = false;
        let text: String = old
            .lines()
            .map(|line| {
                let mut fields: Vec<&str> = line.split(':').collect();
                if fields.len() > 1 && fields[1].is_empty() && !fields[0].is_empty() {
                    found = true;
                    if !locked.contains(&fields[0].to_owned()) {
                        locked.push(fields[0].to_owned());
                    }
                    fields[1] = "*";
                }
                fields.join(":") + "\n"
            })
            .collect();
        if found {
            rewrite(rootfs, file, text)?;
        }
    }
    Ok((!locked.is_empty()).then(|| {
        format!(
            "locked the password of {}: it was empty, so anybody could have logged in",
            locked.join(", ")
        )
    }))
}
