//! Account files: lines with fields separated by colons.

use super::super::{Report, Rootfs, read, rewrite};
use crate::recipe::{Id, Owner, is_reserved_id};

/// An account file. Unchanged lines keep their text.
pub(super) struct AccountTable {
    path: &'static str,
    lines: Vec<String>,
    is_there: bool,
    is_changed: bool,
}

impl AccountTable {
    /// Reads the file. A missing one has no lines.
    pub(super) fn read(rootfs: &Rootfs, path: &'static str) -> Result<AccountTable, Report> {
        Ok(AccountTable {
            path,
            lines: read(rootfs, path)?.lines().map(str::to_owned).collect(),
            is_there: rootfs.tree.resolve(path).is_some(),
            is_changed: false,
        })
    }

    /// Whether the file exists.
    pub(super) fn is_there(&self) -> bool {
        self.is_there
    }

    /// The index of the line with this name.
    pub(super) fn row(&self, name: &str) -> Option<usize> {
        self.lines
            .iter()
            .position(|line| line.split(':').next() == Some(name))
    }

    /// The index of the line that has this text in a field.
    pub(super) fn row_with(&self, field: usize, text: &str) -> Option<usize> {
        (0..self.lines.len()).find(|row| self.get(*row, field) == text)
    }

    /// A field of a line, counted from 0. A missing field is empty.
    pub(super) fn get(&self, row: usize, field: usize) -> &str {
        let line = self.lines.get(row).map_or("", String::as_str);
        line.split(':').nth(field).unwrap_or_default()
    }

    /// Sets a field of a line.
    pub(super) fn set(&mut self, row: usize, field: usize, text: &str) {
        let Some(line) = self.lines.get_mut(row) else {
            return;
        };
        let mut fields: Vec<&str> = line.split(':').collect();
        while fields.len() <= field {
            fields.push("");
        }
        fields[field] = text;
        let new = fields.join(":");
        self.is_changed |= new != *line;
        *line = new;
    }

    /// Adds a name to a comma-separated field.
    pub(super) fn list(&mut self, row: usize, field: usize, name: &str) {
        let mut names: Vec<&str> = self.get(row, field).split(',').collect();
        names.retain(|n| !n.is_empty());
        if !names.contains(&name) {
            names.push(name);
        }
        let text = names.join(",");
        self.set(row, field, &text);
    }

    /// Adds a line and returns its index.
    pub(super) fn add(&mut self, line: String) -> usize {
        self.lines.push(line);
        self.is_changed = true;
        self.lines.len() - 1
    }

    /// Writes the file back if it has changed.
    pub(super) fn write(self, rootfs: &mut Rootfs) -> Result<(), Report> {
        if !self.is_changed {
            return Ok(());
        }
        rewrite(rootfs, self.path, self.lines.join("\n") + "\n")
    }
}

/// The users and groups of the root file system.
pub(crate) struct Names {
    passwd: AccountTable,
    group: AccountTable,
}

impl Names {
    /// Reads the names of users and groups.
    pub(crate) fn read(rootfs: &Rootfs) -> Result<Names, Report> {
        Ok(Names {
            passwd: AccountTable::read(rootfs, "/etc/passwd")?,
            group: AccountTable::read(rootfs, "/etc/group")?,
        })
    }

    /// IDs of the user and the group; `None` for unknown names. The default group is the user's
    /// primary group, or for an unknown user ID the group with the same ID.
    pub(crate) fn owner(&self, owner: &Owner) -> Option<(u32, u32)> {
        let number = |table: &AccountTable, id: &Id| match id {
            Id::Number(n) => Some(*n),
            Id::Name(name) => {
                let id = table.get(table.row(name)?, 2).parse().ok();
                id.filter(|id| !is_reserved_id(*id))
            }
        };
        let uid = number(&self.passwd, &owner.user)?;
        let gid = match &owner.group {
            Some(group) => number(&self.group, group)?,
            None => self
                .passwd
                .row_with(2, &uid.to_string())
                .and_then(|row| self.passwd.get(row, 3).parse().ok())
                .unwrap_or(uid),
        };
        Some((uid, gid))
    }
}
