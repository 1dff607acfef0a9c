//! The user and group for the image's `USER`.

use super::super::{LIMIT, Report, Rootfs, read, rewrite};
use crate::recipe::is_reserved_id;
use crate::rootfs::Inside;

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// The user and group of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub uid: u32,
    pub gid: u32,
    /// Additional groups, if only a user is named.
    pub groups: Vec<u32>,
    /// Home directory.
    pub home: String,
    /// Whether passwd(5) and group(5) contain them.
    pub known: (bool, bool),
}

impl Account {
    /// Whether it is the default user of services.
    pub(super) fn is_root(&self) -> bool {
        self.uid == 0 && self.gid == 0
    }
}

/// Looks up `USER`: `NAME`, `UID`, and after a colon a group's name or number, like engines do
/// (Dockerfile reference, "USER"). A user that is not in passwd(5) gets its number as ID and the
/// group 0.
pub(super) fn of(inside: Inside<'_>, user: Option<&str>) -> Result<Account, Report> {
    let user = user.unwrap_or("0");
    let (name, group) = match user.split_once(':') {
        Some((name, group)) => (name, Some(group).filter(|g| !g.is_empty())),
        None => (user, None),
    };
    let name = if name.is_empty() { "0" } else { name };
    let unknown = |file: &str| {
        Report::mistake(format!(
            "the container's user is {user:?}, which is not in its {file}"
        ))
        .hint("fix USER in its Dockerfile, or use --service off")
    };
    let text = |path: &str| {
        let text = inside.read_text(path, LIMIT).map(Option::unwrap_or_default);
        text.map_err(|e| Report::failure(format!("reading the container's {path}")).because(e))
    };
    let passwd = text(PASSWD)?;
    let mut account = match find(&passwd, name) {
        Some(fields) => Account {
            uid: number(&fields, 2).ok_or_else(|| unknown(PASSWD))?,
            gid: number(&fields, 3).unwrap_or(0),
            groups: vec![],
            home: fields.get(5).map_or("/", |h| *h).to_owned(),
            known: (true, true),
        },
        None => Account {
            uid: usable(name).ok_or_else(|| unknown(PASSWD))?,
            gid: 0,
            groups: vec![],
            home: "/".to_owned(),
            known: (false, true),
        },
    };
    let groups = text(GROUP)?;
    let name = find(&passwd, name).map(|fields| fields[0].to_owned());
    if let Some(group) = group {
        account.gid = match find(&groups, group) {
            Some(fields) => number(&fields, 2).ok_or_else(|| unknown(GROUP))?,
            None => usable(group).ok_or_else(|| unknown(GROUP))?,
        };
    } else if let Some(name) = name {
        // Engines look at them only if no group is named (moby/sys/user, GetExecUser).
        let lines = groups.lines().map(|l| l.split(':').collect::<Vec<_>>());
        let has = |f: &Vec<&str>| {
            f.get(3)
                .is_some_and(|all| all.split(',').any(|n| n == name))
        };
        account.groups = lines.filter(has).filter_map(|f| number(&f, 2)).collect();
    }
    account.known.1 = find(&groups, &account.gid.to_string()).is_some();
    Ok(account)
}

/// The line of passwd(5) or group(5) with this name or number.
fn find<'a>(text: &'a str, wanted: &str) -> Option<Vec<&'a str>> {
    let lines = || text.lines().map(|l| l.split(':').collect::<Vec<_>>());
    let number: Option<u32> = wanted.parse().ok();
    lines()
        .find(|f| f[0] == wanted)
        .or_else(|| lines().find(|f| number.is_some() && self::number(f, 2) == number))
}

fn number(fields: &[&str], at: usize) -> Option<u32> {
    usable(fields.get(at)?)
}

/// A valid ID for a user or group.
fn usable(text: &str) -> Option<u32> {
    text.parse().ok().filter(|n| !is_reserved_id(*n))
}

/// Adds entries for a user and a group that are only numbers: OpenRC cannot start a service for
/// them.
pub(super) fn add_missing(rootfs: &mut Rootfs, account: &Account) -> Result<(), Report> {
    let Account { uid, gid, .. } = account;
    if !account.known.0 {
        let mut text = with_end(read(rootfs, PASSWD)?);
        text.push_str(&format!("container{uid}:x:{uid}:{gid}::/:/sbin/nologin\n"));
        rewrite(rootfs, PASSWD, text)?;
    }
    if !account.known.1 {
        let mut text = with_end(read(rootfs, GROUP)?);
        text.push_str(&format!("container{gid}:x:{gid}:\n"));
        rewrite(rootfs, GROUP, text)?;
    }
    Ok(())
}

fn with_end(mut text: String) -> String {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text
}
