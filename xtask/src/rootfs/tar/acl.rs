//! POSIX access control lists: converts the text in a tar to the form of Linux's system calls.
//!
//! The text is described in acl(5), "ACL Text Forms": `user:lisa:rwx`, short or long, separated by
//! commas or line feeds. star and bsdtar add the number of a user or group as a fourth field, for
//! systems that do not know the name.

use super::notes::{Left, Notes};
use crate::rootfs::{Kind, NodeId, Rootfs};
use std::collections::{BTreeMap, HashMap};
use std::io;

/// The access list (Linux include/uapi/linux/xattr.h).
pub(super) const ACCESS: &str = "system.posix_acl_access";
/// The default list for new entries of a directory.
pub(super) const DEFAULT: &str = "system.posix_acl_default";
/// The PAX record that contains the access list as text.
pub(super) const TEXT_ACCESS: &str = "SCHILY.acl.access";
/// The PAX record that contains the default list as text.
pub(super) const TEXT_DEFAULT: &str = "SCHILY.acl.default";

/// The version of the form (Linux include/uapi/linux/posix_acl_xattr.h).
const VERSION: u32 = 2;

/// The id of an entry that does not have one.
const NO_ID: u32 = u32::MAX;

/// Largest /etc/passwd or /etc/group that is read, in bytes.
const MAX_NAMES: u64 = 16 << 20;

/// Whose permissions an entry describes. The numbers and their order are those of the binary form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tag {
    UserObj = 0x01,
    User = 0x02,
    GroupObj = 0x04,
    Group = 0x08,
    Mask = 0x10,
    Other = 0x20,
}

impl Tag {
    fn of(number: u16) -> Option<Tag> {
        let all = [
            Tag::UserObj,
            Tag::User,
            Tag::GroupObj,
            Tag::Group,
            Tag::Mask,
            Tag::Other,
        ];
        all.into_iter().find(|t| *t as u16 == number)
    }

    fn is_named(self) -> bool {
        matches!(self, Tag::User | Tag::Group)
    }
}

/// Whether a value is a list that Linux accepts (fs/posix_acl.c, `posix_acl_valid`).
pub(super) fn is_valid(value: &[u8]) -> bool {
    let Some((version, entries)) = value.split_first_chunk::<4>() else {
        return false;
    };
    if u32::from_le_bytes(*version) != VERSION || entries.len() % 8 != 0 {
        return false;
    }
    let mut last = Tag::UserObj;
    let mut counts = BTreeMap::<Tag, usize>::new();
    for entry in entries.chunks_exact(8) {
        let field = |at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
        let Some(tag) = Tag::of(field(0)).filter(|tag| *tag >= last && field(2) <= 7) else {
            return false;
        };
        if tag.is_named() && entry[4..] == NO_ID.to_le_bytes() {
            return false;
        }
        last = tag;
        *counts.entry(tag).or_default() += 1;
    }
    let count = |tag: Tag| counts.get(&tag).copied().unwrap_or(0);
    let named = count(Tag::User) + count(Tag::Group) > 0;
    [Tag::UserObj, Tag::GroupObj, Tag::Other].map(count) == [1; 3]
        && count(Tag::Mask) <= 1
        && (!named || count(Tag::Mask) == 1)
}

/// A line of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    tag: Tag,
    /// Name of the user or group.
    name: Vec<u8>,
    /// Its number, if the line contains one.
    id: Option<u32>,
    permissions: u16,
}

/// Parses the lines of a list. `None` if it is not valid.
fn parse(text: &[u8]) -> Option<Vec<Line>> {
    let mut lines = Vec::new();
    for line in text.split(|b| *b == b'\n' || *b == b',') {
        let line = line.split(|b| *b == b'#').next()?.trim_ascii();
        if !line.is_empty() {
            lines.push(parse_line(line)?);
        }
    }
    (!lines.is_empty()).then_some(lines)
}

fn parse_line(line: &[u8]) -> Option<Line> {
    let mut fields: Vec<&[u8]> = line.split(|b| *b == b':').map(<[u8]>::trim_ascii).collect();
    if matches!(fields[0], b"default" | b"d") && fields.len() > 2 {
        fields.remove(0);
    }
    let tag = match (fields[0], fields.get(1).is_none_or(|name| name.is_empty())) {
        (b"user" | b"u", true) => Tag::UserObj,
        (b"user" | b"u", false) => Tag::User,
        (b"group" | b"g", true) => Tag::GroupObj,
        (b"group" | b"g", false) => Tag::Group,
        (b"mask" | b"m", _) => Tag::Mask,
        (b"other" | b"o", _) => Tag::Other,
        _ => return None,
    };
    // `mask:r-x` and `mask::r-x` are the same.
    let short = matches!(tag, Tag::Mask | Tag::Other) && !fields.get(1)?.is_empty();
    let at = if short { 1 } else { 2 };
    let name = if short {
        Vec::new()
    } else {
        unquoted(fields.get(1)?)
    };
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse().ok();
    let id = match fields.get(at + 1) {
        Some(text) if !text.is_empty() => Some(number(text)?),
        _ => number(&name),
    };
    (fields.len() <= at + 2 && id != Some(NO_ID)).then_some(())?;
    Some(Line {
        tag,
        name,
        id,
        permissions: permissions(fields.get(at)?)?,
    })
}

/// `r-x`, or a digit.
fn permissions(text: &[u8]) -> Option<u16> {
    if let [digit @ b'0'..=b'7'] = text {
        return Some(u16::from(digit - b'0'));
    }
    let mut bits = 0;
    for letter in text {
        bits |= match letter.to_ascii_lowercase() {
            b'r' => 4,
            b'w' => 2,
            b'x' => 1,
            b'-' => 0,
            _ => return None,
        };
    }
    (!text.is_empty()).then_some(bits)
}

/// libacl writes special characters of names as a backslash and three octal digits.
fn unquoted(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&byte, after)) = rest.split_first() {
        let quoted = match (byte, after) {
            (b'\\', &[a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..]) => {
                Some((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'))
            }
            _ => None,
        };
        out.push(quoted.unwrap_or(byte));
        rest = if quoted.is_some() { &after[3..] } else { after };
    }
    out
}

/// A list by tag and number.
type Entries = BTreeMap<(Tag, u32), u16>;

/// Sorts a list and completes it: missing base entries come from the mode, and a mask is added
/// where one is required.
fn complete(mut entries: Entries, mode: u16) -> Entries {
    for (tag, shift) in [(Tag::UserObj, 6), (Tag::GroupObj, 3), (Tag::Other, 0)] {
        entries.entry((tag, NO_ID)).or_insert(mode >> shift & 7);
    }
    let of_mask = |tag: Tag| tag.is_named() || tag == Tag::GroupObj;
    if entries.keys().any(|(tag, _)| tag.is_named()) {
        let union = entries.iter().filter(|((tag, _), _)| of_mask(*tag));
        let union = union.fold(0, |all, (_, permissions)| all | permissions);
        entries.entry((Tag::Mask, NO_ID)).or_insert(union);
    }
    entries
}

fn bytes(entries: &Entries) -> Vec<u8> {
    let mut out = VERSION.to_le_bytes().to_vec();
    for ((tag, id), permissions) in entries {
        out.extend_from_slice(&(*tag as u16).to_le_bytes());
        out.extend_from_slice(&permissions.to_le_bytes());
        out.extend_from_slice(&id.to_le_bytes());
    }
    out
}

/// The mode of a file with this list: the group's bits are those of the mask (acl(5),
/// "Correspondence between ACL entries and file permission bits").
fn mode_of(entries: &Entries) -> u16 {
    let get = |tag: Tag| entries.get(&(tag, NO_ID)).copied();
    let group = get(Tag::Mask).or(get(Tag::GroupObj)).unwrap_or(0);
    let [user, other] = [Tag::UserObj, Tag::Other].map(|tag| get(tag).unwrap_or(0));
    user << 6 | group << 3 | other
}

/// Names and numbers of users and of groups in the root file system.
struct Names {
    users: HashMap<Vec<u8>, u32>,
    groups: HashMap<Vec<u8>, u32>,
}

impl Names {
    fn of(rootfs: &Rootfs) -> io::Result<Names> {
        let read = |path: &str| -> io::Result<HashMap<Vec<u8>, u32>> {
            let text = rootfs.read(path, MAX_NAMES)?.unwrap_or_default();
            let mut all = HashMap::new();
            for line in text.split(|b| *b == b'\n') {
                let mut fields = line.split(|b| *b == b':');
                let name = fields.next().unwrap_or_default();
                let id = fields.nth(1).and_then(|f| std::str::from_utf8(f).ok());
                if let Some(id) = id.and_then(|id| id.trim().parse().ok()) {
                    // The first line counts, as in getpwnam(3).
                    all.entry(name.to_vec()).or_insert(id);
                }
            }
            Ok(all)
        };
        Ok(Names {
            users: read("/etc/passwd")?,
            groups: read("/etc/group")?,
        })
    }

    /// The number for a line: that of the name, as in every tar, or the one in the line if the name
    /// does not exist.
    fn id(&self, line: &Line) -> Option<u32> {
        let known = match line.tag {
            Tag::User => &self.users,
            Tag::Group => &self.groups,
            _ => return Some(NO_ID),
        };
        known.get(&line.name).copied().or(line.id)
    }

    /// The entries of a list; `unknown` is called for users and groups that do not exist.
    fn entries(&self, lines: &[Line], mut unknown: impl FnMut(&Line)) -> Entries {
        let mut entries = Entries::new();
        for line in lines {
            match self.id(line) {
                Some(id) => drop(entries.insert((line.tag, id), line.permissions)),
                None => unknown(line),
            }
        }
        entries
    }
}

/// Converts the lists that are still text to what the kernel stores, once /etc/passwd and
/// /etc/group have been read.
pub(super) fn settle(rootfs: &mut Rootfs, notes: &mut Notes) -> io::Result<()> {
    if !notes.acls_wait {
        return Ok(());
    }
    notes.acls_wait = false;
    let names = Names::of(rootfs)?;
    let mut waiting: Vec<(Vec<u8>, NodeId)> = Vec::new();
    let mut walk = rootfs.tree.walk();
    let waits = |id: NodeId, rootfs: &Rootfs| {
        let xattrs = rootfs.tree.node(id).xattrs.as_ref();
        xattrs.is_some_and(|x| x.contains_key(TEXT_ACCESS) || x.contains_key(TEXT_DEFAULT))
    };
    if waits(crate::rootfs::ROOT, rootfs) {
        waiting.push((b"/".to_vec(), crate::rootfs::ROOT));
    }
    while let Some((path, id)) = walk.step() {
        if waits(id, rootfs) {
            waiting.push((path.to_vec(), id));
        }
    }
    for (path, id) in waiting {
        let node = rootfs.tree.node_mut(id);
        let Some(xattrs) = &mut node.xattrs else {
            continue;
        };
        for (key, name) in [(TEXT_ACCESS, ACCESS), (TEXT_DEFAULT, DEFAULT)] {
            // Linux has no lists for symbolic links. For a further name of a file, this was done
            // with the first one.
            let Some(text) = xattrs.remove(key) else {
                continue;
            };
            let Some(lines) = parse(&text).filter(|_| !matches!(node.kind, Kind::Symlink(_)))
            else {
                notes.add(Left::Acl, &path, &text);
                continue;
            };
            let entries = names.entries(&lines, |line| {
                let kind = if line.tag == Tag::User {
                    "user:"
                } else {
                    "group:"
                };
                notes.add(
                    Left::AclName,
                    &path,
                    &[kind.as_bytes(), &line.name].concat(),
                );
            });
            let entries = complete(entries, node.meta.mode);
            if key == TEXT_ACCESS {
                node.meta.mode = node.meta.mode & !0o777 | mode_of(&entries);
                if entries.len() == 3 {
                    // It is equivalent to the mode.
                    continue;
                }
            }
            xattrs.insert(name.into(), bytes(&entries).into());
        }
        if xattrs.is_empty() {
            node.xattrs = None;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn line(tag: Tag, name: &str, id: Option<u32>, permissions: u16) -> Line {
        Line {
            tag,
            name: name.into(),
            id,
            permissions,
        }
    }

    #[test]
    fn lines_as_others_write_them() {
        let text = "user::rw-\nuser:lisa:r--:1000 #effective:r--\ngroup::r--,g:42:7\n\nmask:r-x\nm::rwx,o::---,other:r--";
        let wanted = [
            line(Tag::UserObj, "", None, 6),
            line(Tag::User, "lisa", Some(1000), 4),
            line(Tag::GroupObj, "", None, 4),
            line(Tag::Group, "42", Some(42), 7),
            line(Tag::Mask, "", None, 5),
            line(Tag::Mask, "", None, 7),
            line(Tag::Other, "", None, 0),
            line(Tag::Other, "", None, 4),
        ];
        assert_eq!(parse(text.as_bytes()).unwrap(), wanted);
        let quoted = parse(b"default:user:a\\040b:rwx").unwrap();
        assert_eq!(quoted, [line(Tag::User, "a b", None, 7)]);
        for bad in [
            "",
            "user",
            "user:",
            "user::",
            "user:x",
            "who:x:rwx",
            "user:x:rwz",
            "user:x:rwx:y",
            "user:x:rwx:1:2",
            "user:x:rwx:4294967295",
            "user:x:9",
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn what_linux_refuses_is_not_valid() {
        let list = |entries: &[(u16, u16, u32)]| {
            let mut value = 2_u32.to_le_bytes().to_vec();
            for (tag, permissions, id) in entries {
                value.extend_from_slice(&tag.to_le_bytes());
                value.extend_from_slice(&permissions.to_le_bytes());
                value.extend_from_slice(&id.to_le_bytes());
            }
            value
        };
        const NO: u32 = u32::MAX;
        let base = [(1, 7, NO), (4, 5, NO), (0x20, 5, NO)];
        let named = [
            (1, 7, NO),
            (2, 7, 5),
            (4, 5, NO),
            (0x10, 5, NO),
            (0x20, 5, NO),
        ];
        assert!(is_valid(&list(&base)));
        assert!(is_valid(&list(&named)));
        let without = |gone: usize| {
            let mut rest = named.to_vec();
            rest.remove(gone);
            list(&rest)
        };
        for gone in [0, 2, 3, 4] {
            assert!(!is_valid(&without(gone)), "{gone}");
        }
        assert!(!is_valid(&list(&[base[1], base[0], base[2]])));
        assert!(!is_valid(&list(&[(1, 8, NO), base[1], base[2]])));
        assert!(!is_valid(&list(&base)[..27]));
        assert!(!is_valid(&[1, 0, 0, 0]));
    }
}
