//! The boot entries in the configurations of EXTLINUX and systemd-boot.
//!
//! Sources: syslinux 6.04, doc/syslinux.txt and com32/elflink/ldlinux/readconfig.c; UAPI group,
//! "The Boot Loader Specification"; systemd, src/boot/boot.c.

use schemars::JsonSchema;
use serde::Serialize;

/// Most entries of one loader.
const MOST: usize = 256;

/// An entry of a boot loader's menu.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Entry {
    /// Its name: the label, or the file's name without `.conf`.
    pub id: String,
    /// Its title, if it has one.
    pub title: Option<String>,
    /// Whether it is certainly the one that is started if nobody chooses.
    pub default: bool,
    /// Path of the kernel, or of an EFI program.
    pub linux: Option<String>,
    /// Paths of the initrds.
    pub initrd: Vec<String>,
    /// Arguments of the kernel.
    pub arguments: String,
    /// The partition with the root file system; 0 for a disk without partitions.
    pub root: Option<u32>,
    /// Whether `linux` is a unified kernel image, which has everything in it.
    pub unified: bool,
}

/// The entries of an extlinux.conf.
pub(super) fn extlinux(text: &str) -> Vec<Entry> {
    let mut all: Vec<Entry> = Vec::new();
    let (mut default, mut on_error) = (None, false);
    // `APPEND` before the first label is for all.
    let mut common = String::new();
    for line in text.lines() {
        let line = line.trim();
        let (word, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        let rest = rest.trim();
        let full = all.len() >= MOST;
        let last = all.last_mut();
        match (word.to_ascii_lowercase().as_str(), last) {
            ("default", _) => default = Some(rest.to_owned()),
            ("onerror", _) => on_error = true,
            ("label", _) if full => {}
            ("label", _) => all.push(Entry {
                id: rest.to_owned(),
                arguments: common.clone(),
                ..Entry::default()
            }),
            ("linux" | "kernel", Some(entry)) => entry.linux = Some(rest.to_owned()),
            ("initrd", Some(entry)) => {
                entry.initrd = rest.split(',').map(str::to_owned).collect();
            }
            ("append", Some(entry)) => {
                entry.arguments = match rest {
                    "-" => String::new(),
                    _ => rest.to_owned(),
                };
            }
            ("append", None) => rest.clone_into(&mut common),
            ("menu", Some(entry)) => {
                let (word, title) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
                match word.to_ascii_lowercase().as_str() {
                    "label" => entry.title = Some(title.replace('^', "")),
                    "default" => default = Some(entry.id.clone()),
                    _ => {}
                }
            }
            _ => {}
        }
    }
    // A program of SYSLINUX' own (COM32, PXE, local boot) is no Linux.
    all.retain(|e| e.linux.as_ref().is_some_and(|l| !l.ends_with(".c32")));
    for entry in &mut all {
        for word in entry.arguments.split_whitespace() {
            // The old way to name an initrd.
            if let (Some(path), true) = (word.strip_prefix("initrd="), entry.initrd.is_empty()) {
                entry.initrd = path.split(',').map(str::to_owned).collect();
            }
        }
    }
    let one = all.len() == 1;
    for entry in &mut all {
        let named = default
            .as_deref()
            .map(|d| d.split([' ', '\t']).next().unwrap_or(d));
        entry.default = (one || named == Some(&entry.id)) && !on_error;
    }
    all
}

/// The entry in a file of the Boot Loader Specification (type 1). `None` if it starts nothing.
pub(super) fn bls(name: &str, text: &str) -> Option<Entry> {
    let mut entry = Entry {
        id: name.trim_end_matches(".conf").to_owned(),
        ..Entry::default()
    };
    let mut arguments: Vec<&str> = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        let (key, value) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        let value = value.trim();
        match key {
            "title" => entry.title = Some(value.to_owned()),
            "linux" | "efi" | "uki" => entry.linux = Some(value.to_owned()),
            "initrd" => entry.initrd.push(value.to_owned()),
            "options" => arguments.push(value),
            _ => {}
        }
    }
    entry.arguments = arguments.join(" ");
    entry.linux.is_some().then_some(entry)
}

/// Marks the entry that systemd-boot's `loader.conf` names, if only one can be meant.
pub(super) fn mark_default(entries: &mut [Entry], conf: &str) {
    let default = conf.lines().find_map(|line| {
        let (key, value) = line.trim().split_once([' ', '\t'])?;
        (key == "default").then(|| value.trim())
    });
    if let [one] = entries {
        one.default = true;
        return;
    }
    let Some(pattern) = default else { return };
    let pattern = pattern.trim_end_matches(".conf");
    let fits = |entry: &Entry| match pattern.split_once('*') {
        None => entry.id == pattern,
        // Other patterns are left to systemd-boot.
        Some((before, after)) => {
            !after.contains(['*', '?', '['])
                && entry.id.len() >= before.len() + after.len()
                && entry.id.starts_with(before)
                && entry.id.ends_with(after)
        }
    };
    let fitting: Vec<usize> = (0..entries.len()).filter(|n| fits(&entries[*n])).collect();
    if let [one] = fitting[..] {
        entries[one].default = true;
    }
}

/// The last argument `name=`, without quotes.
pub(super) fn argument<'a>(arguments: &'a str, name: &str) -> Option<&'a str> {
    let found = arguments.split_whitespace().rev().find_map(|word| {
        let (key, value) = word.trim_matches('"').split_once('=')?;
        (key == name).then_some(value)
    });
    found.map(|value| value.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_menu_of_extlinux() {
        let text = "# x\nSERIAL 0 115200\nDEFAULT b\nAPPEND quiet\nLABEL a\n LINUX /a\n initrd /i,/j\nlabel b\n  menu label ^Second\n  kernel /b\n  append root=/dev/sda1 initrd=/k\nLABEL menu\n KERNEL vesamenu.c32\n";
        let all = extlinux(text);
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].initrd, ["/i", "/j"]);
        assert_eq!((&*all[0].arguments, all[0].default), ("quiet", false));
        assert_eq!(all[1].initrd, ["/k"]);
        assert!(all[1].default);
        assert_eq!(all[1].title.as_deref(), Some("Second"));
    }

    #[test]
    fn entries_of_the_specification() {
        let text = "title  T\nlinux /l\ninitrd /i\ninitrd /j\noptions a b\noptions c\n";
        let entry = bls("x.conf", text).unwrap_or_default();
        assert_eq!(entry.id, "x");
        assert_eq!(entry.initrd, ["/i", "/j"]);
        assert_eq!(entry.arguments, "a b c");
        assert_eq!(bls("y.conf", "title T\n"), None);
        let mut two = [
            entry.clone(),
            Entry {
                id: "y".into(),
                ..entry
            },
        ];
        mark_default(&mut two, "timeout 2\ndefault y*\n");
        assert_eq!((two[0].default, two[1].default), (false, true));
    }

    #[test]
    fn the_last_argument_counts() {
        assert_eq!(argument("root=a ro root=\"b\"", "root"), Some("b"));
        assert_eq!(argument("rootfstype=ext4", "root"), None);
    }
}
