//! Users who can log in.

use super::super::{Report, Rootfs, edit, read};
use super::hash;
use super::table::AccountTable;
use super::{Account, Password};
use crate::recipe::{closest, is_reserved_id};
use crate::rootfs::{Kind, Meta, Node, Time};
use std::collections::BTreeSet;
use uuid::Uuid;

/// The first ID for regular users (login.defs(5), `UID_MIN`).
const FIRST_UID: u32 = 1000;

/// The home directory of a user.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    /// Its path.
    pub(crate) path: String,
    /// The user's ID.
    pub(crate) uid: u32,
    /// The ID of the user's primary group.
    pub(crate) gid: u32,
}

/// Adds a user, or updates an existing one: shell, groups, password. Creates the home directory if
/// it is missing, and returns it.
pub(crate) fn add(rootfs: &mut Rootfs, account: &Account, image: Uuid) -> Result<Home, Report> {
    let name = account.name.as_str();
    let mut passwd = AccountTable::read(rootfs, "/etc/passwd")?;
    let mut group = AccountTable::read(rootfs, "/etc/group")?;
    let mut gshadow = AccountTable::read(rootfs, "/etc/gshadow")?;
    let row = match passwd.row(name) {
        Some(row) => {
            adapt(&mut passwd, row, account, rootfs)?;
            row
        }
        None => create(&mut passwd, &mut group, &mut gshadow, account, rootfs)?,
    };
    for wanted in &account.groups {
        join(&mut group, &mut gshadow, wanted, name)?;
    }
    let damaged = |what: &str| {
        Report::mistake(format!(
            "the line of {name} in /etc/passwd of the root file system has no valid {what}"
        ))
        .hint("fix it in the Dockerfile")
    };
    let number = |field: usize, what: &str| {
        let number = passwd.get(row, field).parse().ok();
        let number = number.filter(|n| !is_reserved_id(*n));
        number.ok_or_else(|| damaged(what))
    };
    let home = Home {
        path: passwd.get(row, 5).to_owned(),
        uid: number(2, "number")?,
        gid: number(3, "group")?,
    };
    let hidden = hidden(rootfs, account, image)?;
    let mut shadow = AccountTable::read(rootfs, "/etc/shadow")?;
    set_password(&mut passwd, row, &mut shadow, name, hidden, rootfs.epoch);
    passwd.write(rootfs)?;
    group.write(rootfs)?;
    gshadow.write(rootfs)?;
    shadow.write(rootfs)?;
    make_home(rootfs, name, &home)?;
    Ok(home)
}

fn adapt(
    passwd: &mut AccountTable,
    row: usize,
    account: &Account,
    rootfs: &Rootfs,
) -> Result<(), Report> {
    let name = &account.name;
    let has = passwd.get(row, 2);
    if let Some(uid) = account.uid
        && has != uid.to_string()
    {
        return Err(Report::mistake(format!(
            "the recipe gives the user {name} the ID {uid}, but in the root file system {name} has the ID {has}"
        ))
        .hint("remove `uid:`, because files of the root file system may belong to the existing ID"));
    }
    let old = passwd.get(row, 6);
    let lets_nobody_in = old.ends_with("/nologin") || old.ends_with("/false");
    if account.shell.is_some() || lets_nobody_in {
        let shell = shell(rootfs, account)?;
        passwd.set(row, 6, &shell);
    }
    Ok(())
}

fn create(
    passwd: &mut AccountTable,
    group: &mut AccountTable,
    gshadow: &mut AccountTable,
    account: &Account,
    rootfs: &Rootfs,
) -> Result<usize, Report> {
    let name = account.name.as_str();
    let shell = shell(rootfs, account)?;
    if name == "root" {
        return Ok(passwd.add(format!("root:x:0:0:root:/root:{shell}")));
    }
    let taken = |table: &AccountTable, n: u32| table.row_with(2, &n.to_string()).is_some();
    let free =
        |table: &AccountTable| (FIRST_UID..).find(|n| !taken(table, *n) && !is_reserved_id(*n));
    let uid = match account.uid {
        Some(uid) if taken(passwd, uid) => {
            return Err(Report::mistake(format!(
                "the recipe gives the user {name} the ID {uid}, which another user of the root file system has"
            ))
            .hint("remove `uid:`, or choose another ID"));
        }
        Some(uid) => uid,
        None => free(passwd).unwrap_or(FIRST_UID),
    };
    let gid = match group.row(name) {
        Some(row) => group.get(row, 2).to_owned(),
        None => {
            let gid = if taken(group, uid) {
                free(group).unwrap_or(uid)
            } else {
                uid
            };
            group.add(format!("{name}:x:{gid}:"));
            if gshadow.is_there() {
                gshadow.add(format!("{name}:!::"));
            }
            gid.to_string()
        }
    };
    Ok(passwd.add(format!("{name}:x:{uid}:{gid}:{name}:/home/{name}:{shell}")))
}

fn shell(rootfs: &Rootfs, account: &Account) -> Result<String, Report> {
    let has = |path: &str| rootfs.tree.resolve(path).is_some();
    match &account.shell {
        Some(shell) if has(shell) => Ok(shell.clone()),
        Some(shell) => Err(Report::mistake(format!(
            "the root file system does not have {shell}, the shell of {}",
            account.name
        ))
        .hint("install it in the Dockerfile, or remove `shell:`")),
        None if has("/bin/bash") => Ok("/bin/bash".into()),
        None => Ok("/bin/sh".into()),
    }
}

fn join(
    group: &mut AccountTable,
    gshadow: &mut AccountTable,
    wanted: &str,
    name: &str,
) -> Result<(), Report> {
    let Some(row) = group.row(wanted) else {
        let report = Report::mistake(format!(
            "the root file system has no group {wanted}, which the user {name} should be in"
        ));
        let known: BTreeSet<String> = (0..)
            .map(|row| group.get(row, 0).to_owned())
            .take_while(|n| !n.is_empty())
            .collect();
        return Err(match closest(wanted, known.iter().map(String::as_str)) {
            Some(known) => report.hint(format!("did you mean {known}?")),
            None => report.hint("create it in the Dockerfile with `groupadd` or `addgroup`"),
        });
    };
    group.list(row, 3, name);
    if let Some(row) = gshadow.row(wanted) {
        gshadow.list(row, 3, name);
    }
    Ok(())
}

/// The password field for shadow(5), if the user has one.
fn hidden(rootfs: &Rootfs, account: &Account, image: Uuid) -> Result<Option<String>, Report> {
    match &account.password {
        None => Ok(None),
        Some(Password::Plain(secret)) => hash::sha512(secret, image, &account.name).map(Some),
        Some(Password::Hash(hash)) => {
            let mut lib = rootfs.tree.entries("/lib");
            if hash.takes_libxcrypt() && lib.any(|(name, _)| name.starts_with("ld-musl-")) {
                return Err(Report::mistake(format!(
                    "the root file system cannot check the password of {}: its C library, musl, does not support this kind of hash",
                    account.name
                ))
                .hint("use SHA-512, e.g. from `openssl passwd -6`"));
            }
            Ok(Some(hash.reveal().to_owned()))
        }
    }
}

fn set_password(
    passwd: &mut AccountTable,
    row: usize,
    shadow: &mut AccountTable,
    name: &str,
    hidden: Option<String>,
    epoch: i64,
) {
    // 0 would force a change at the next login.
    let day = (epoch / 86_400).max(1);
    let at = match shadow.row(name) {
        Some(at) => at,
        None => {
            // A password in passwd(5) itself stays valid until it is changed.
            let old = match passwd.get(row, 1) {
                "" | "x" => "*",
                old => old,
            };
            shadow.add(format!("{name}:{old}:{day}:0:99999:7:::"))
        }
    };
    passwd.set(row, 1, "x");
    if let Some(hidden) = hidden {
        shadow.set(at, 1, &hidden);
        shadow.set(at, 2, &day.to_string());
    } else if shadow.get(at, 1).starts_with('!') {
        // sshd without PAM locks an account with `!` completely, even for keys. `*` only means that
        // no password matches.
        shadow.set(at, 1, "*");
    }
}

/// Creates a user's home directory if it is missing, with the content of `/etc/skel`.
fn make_home(rootfs: &mut Rootfs, name: &str, home: &Home) -> Result<(), Report> {
    let epoch = rootfs.epoch;
    match rootfs
        .tree
        .resolve(&home.path)
        .map(|id| &rootfs.tree.node(id).kind)
    {
        Some(Kind::Dir(_)) => return Ok(()),
        None if home.path.starts_with('/') && !rootfs.tree.exists(&home.path) => {}
        _ => {
            return Err(Report::mistake(format!(
                "the home of {name} in the root file system, {:?}, is not a folder",
                home.path
            ))
            .hint("choose another user, or fix /etc/passwd in the Dockerfile"));
        }
    }
    let own = |mode| Meta {
        mode,
        uid: home.uid,
        gid: home.gid,
        mtime: Time {
            secs: epoch,
            nanos: 0,
        },
    };
    let skel: Vec<(String, Node)> = rootfs
        .tree
        .entries("/etc/skel")
        .map(|(name, id)| (name.to_owned(), rootfs.tree.node(id).clone()))
        .filter(|(_, node)| matches!(node.kind, Kind::File(_) | Kind::Symlink(_)))
        .collect();
    let tree = &mut rootfs.tree;
    tree.insert(&home.path, Node::new(Kind::dir(), own(0o700)))
        .map_err(edit)?;
    for (name, node) in skel {
        let copy = Node::new(node.kind, own(node.meta.mode));
        tree.insert(format!("{}/{name}", home.path), copy)
            .map_err(edit)?;
    }
    Ok(())
}

/// Adds keys to those that the root file system already has for a user.
pub(crate) fn authorize(rootfs: &mut Rootfs, account: &Account, home: &Home) -> Result<(), Report> {
    if account.keys.is_empty() {
        return Ok(());
    }
    let dir = format!("{}/.ssh", home.path.trim_end_matches('/'));
    let file = format!("{dir}/authorized_keys");
    let mut text = read(rootfs, &file)?;
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    for key in &account.keys {
        if !text.lines().any(|line| line.trim() == key.line()) {
            text.push_str(key.line());
            text.push('\n');
        }
    }
    let own = |mode| Meta {
        mode,
        uid: home.uid,
        gid: home.gid,
        mtime: Time {
            secs: rootfs.epoch,
            nanos: 0,
        },
    };
    // sshd ignores keys that others could modify (sshd_config(5), StrictModes).
    let (dir_meta, file_meta) = (own(0o700), own(0o600));
    let tree = &mut rootfs.tree;
    tree.insert(&dir, Node::new(Kind::dir(), dir_meta))
        .map_err(edit)?;
    tree.insert(&file, Node::new(Kind::bytes(text.into_bytes()), file_meta))
        .map_err(edit)?;
    Ok(())
}

/// Lets a user become root: without a password if the user has none.
pub(crate) fn let_be_root(rootfs: &mut Rootfs, account: &Account) -> Result<(), Report> {
    let name = &account.name;
    let epoch = rootfs.epoch;
    let free = account.password.is_none();
    let has = |paths: &[&str]| paths.iter().any(|p| rootfs.tree.resolve(p).is_some());
    let (file, text, mode) = if has(&["/usr/bin/sudo", "/usr/local/bin/sudo"]) {
        // sudo ignores file names that contain a dot.
        let file = format!("/etc/sudoers.d/docker-to-linux-{}", name.replace('.', "_"));
        let tag = if free { "NOPASSWD: " } else { "" };
        (file, format!("{name} ALL=(ALL:ALL) {tag}ALL\n"), 0o440)
    } else if has(&["/usr/bin/doas"]) {
        let option = if free { "nopass " } else { "" };
        let file = format!("/etc/doas.d/docker-to-linux-{name}.conf");
        (file, format!("permit {option}{name}\n"), 0o600)
    } else {
        return Err(Report::mistake(format!(
            "the user {name} has `sudo:`, but the root file system has neither sudo nor doas"
        ))
        .hint("install sudo in the Dockerfile, or remove `sudo:`"));
    };
    rootfs
        .tree
        .write(&file, text.into_bytes(), mode, epoch)
        .map_err(edit)?;
    Ok(())
}
