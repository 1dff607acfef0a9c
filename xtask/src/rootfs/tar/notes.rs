//! Parts of a tar that are not in the root file system, or are there in another form. They are
//! counted while the tar is read, and reported with one sentence per kind.

use std::collections::{BTreeMap, BTreeSet};

/// A kind of thing that is left out or changed. Notes are printed in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Left {
    /// An extended attribute in a namespace that Linux does not support; the detail is its name.
    Attribute,
    /// An invalid access control list; the detail is its text, or its name.
    Acl,
    /// An access control list in a form that ext4 does not support; the detail says which one.
    ForeignAcl,
    /// An entry of an access control list for a missing user or group; the detail is `user:NAME` or
    /// `group:NAME`.
    AclName,
    /// File flags; the detail is their names.
    Flags,
    /// An entry of an unknown type, read as a file; the detail is its type flag.
    Type,
    /// An entry that only other systems can use; the detail is its type flag.
    Extension,
    /// An owner that no file can have.
    Owner,
    /// An entry without a mode.
    Mode,
    /// The end mark is missing.
    NoEnd,
    /// Data after the end mark; the detail is its offset.
    BehindEnd,
    /// Another tar after the end mark; the detail is its offset.
    AnotherTar,
    /// Data after the last compressed stream.
    BehindPacked,
}

/// Most details in one note.
const DETAILS: usize = 4;

/// Everything that was left out or changed so far.
#[derive(Debug, Default)]
pub(super) struct Notes {
    cases: BTreeMap<Left, Case>,
    /// Whether the tree has access control lists as text, which wait for the names of users.
    pub acls_wait: bool,
}

#[derive(Debug, Default)]
struct Case {
    count: u64,
    /// The first entry.
    example: Vec<u8>,
    details: BTreeSet<Vec<u8>>,
    more: bool,
}

impl Notes {
    /// Counts one case: the path of the entry, and the detail.
    pub(super) fn add(&mut self, left: Left, path: &[u8], detail: &[u8]) {
        let case = self.cases.entry(left).or_default();
        if case.count == 0 {
            case.example = path.to_vec();
        }
        case.count += 1;
        if case.details.len() < DETAILS {
            case.details.insert(detail.to_vec());
        } else if !case.details.contains(detail) {
            case.more = true;
        }
    }

    /// The notes as sentences.
    pub(super) fn texts(&self) -> Vec<String> {
        let cases = self.cases.iter();
        cases.map(|(left, case)| case.text(*left)).collect()
    }
}

impl Case {
    fn text(&self, left: Left) -> String {
        let entries = self.entries();
        let details = self.details();
        match left {
            Left::Attribute => format!(
                "extended attributes that Linux has no place for were left out ({details}): of {entries}"
            ),
            Left::Acl => format!(
                "access control lists that cannot be understood were left out ({details}): of {entries}"
            ),
            Left::ForeignAcl => format!(
                "access control lists of other systems ({details}) were left out, ext4 holds only POSIX ACLs: of {entries}"
            ),
            Left::AclName => format!(
                "access control lists name users or groups that are not in /etc/passwd and /etc/group ({details}); what they may do was left out: of {entries}"
            ),
            Left::Flags => format!("file flags ({details}) were left out: of {entries}"),
            Left::Type => format!(
                "entries of an unknown type ({details}) were read as files: {entries}"
            ),
            Left::Extension => format!(
                "entries that only other systems can use (type {details}) were left out: {entries}"
            ),
            Left::Owner => format!(
                "owners with the number 4294967295, which no file can have, became root: of {entries}"
            ),
            Left::Mode => format!(
                "entries without a mode got the mode 0000, so only root may use them: {entries}"
            ),
            Left::NoEnd => "the tar has no end mark: it may have been cut off between two files".into(),
            Left::BehindEnd => format!(
                "there is something behind the end of the tar, from byte {details} on; it was left out"
            ),
            Left::AnotherTar => format!(
                "another tar follows the first one's end, at byte {details}; it was left out: to have both, unpack them with `tar --ignore-zeros -x` and make one tar"
            ),
            Left::BehindPacked => {
                "there is something behind the compressed tar that is not part of it; it was left out".into()
            }
        }
    }

    /// The details, separated by commas.
    fn details(&self) -> String {
        let each = self.details.iter().map(|d| d.escape_ascii().to_string());
        let mut all: Vec<String> = each.collect();
        if self.more {
            all.push("...".into());
        }
        all.join(", ")
    }

    /// The first entry, and the number of others.
    fn entries(&self) -> String {
        let first = self.example.escape_ascii();
        match self.count {
            0 | 1 => format!("\"{first}\""),
            n => format!("\"{first}\" and {} more", n - 1),
        }
    }
}
