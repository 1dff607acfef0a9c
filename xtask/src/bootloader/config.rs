//! The boot menu of EXTLINUX.

use crate::plan::{BootEntry, BootFile, EXTLINUX_DIR};

/// The text of extlinux.conf for these entries. The first one is the default.
///
/// `serial` is the number of the PC's serial port and its speed. Source of the keywords: syslinux
/// 6.04, doc/syslinux.txt. The loader shows its `boot:` prompt for two seconds; TAB lists the
/// entries there.
pub fn extlinux_conf(entries: &[BootEntry], serial: Option<(u8, u32)>) -> String {
    let mut text = String::from("# Written by docker-to-linux.\n");
    if let Some((port, baud)) = serial {
        text.push_str(&format!("SERIAL {port} {baud}\n"));
    }
    text.push_str("PROMPT 1\n# Tenths of a second.\nTIMEOUT 20\n");
    for (n, entry) in entries.iter().enumerate() {
        if n == 0 {
            text.push_str(&format!(
                "SAY Booting {}; TAB lists the others.\nDEFAULT {}\n",
                ascii(&entry.title),
                entry.id
            ));
        }
        let [linux, initrd] = files(n, entry).map(|(path, _)| path);
        text.push_str(&format!(
            "\nLABEL {}\n  LINUX {}\n  INITRD {}\n  APPEND {}\n",
            entry.id, linux, initrd, entry.arguments
        ));
    }
    text
}

/// The symbolic links that [`extlinux_conf`] needs in its directory, as (name, target).
pub fn extlinux_links(entries: &[BootEntry]) -> Vec<(String, String)> {
    let named = entries.iter().enumerate().flat_map(|(n, e)| files(n, e));
    named.filter_map(|(_, link)| link).collect()
}

/// Kernel and initrd of entry number `n`: the path for the loader, and the link that must be made
/// for it.
fn files(n: usize, entry: &BootEntry) -> [(String, Option<(String, String)>); 2] {
    // The distribution keeps its links pointing at its newest kernel. With them, the default entry
    // follows an upgrade automatically.
    if let (0, Some(linux), Some(initrd)) = (n, &entry.linux.link, &entry.initrd.link) {
        return [(linux.clone(), None), (initrd.clone(), None)];
    }
    // A word ends at a blank (syslinux 6.04, com32/elflink/ldlinux/readconfig.c, `refdup_word`),
    // and commas separate initrds. So the link has a plain name, whatever its target is called.
    let plain = |c: char| c.is_ascii_alphanumeric() || "._+~^=@%/-".contains(c);
    let named = |file: &BootFile, kind: &str| {
        if file.path.chars().all(plain) {
            return (file.path.clone(), None);
        }
        let name = format!("{}.{kind}", entry.id);
        let path = format!("{EXTLINUX_DIR}/{name}");
        (path, Some((name, file.path.clone())))
    };
    [named(&entry.linux, "linux"), named(&entry.initrd, "initrd")]
}

/// The loader prints bytes in the PC's own character set.
fn ascii(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_ascii_graphic() || c == ' ' {
                c
            } else {
                '?'
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn entry(id: &str, linux: &str, initrd: &str) -> BootEntry {
        let file = |path: &str| BootFile {
            path: path.into(),
            link: None,
            len: 1,
        };
        BootEntry {
            id: id.into(),
            title: "Box".into(),
            version: id.into(),
            linux: file(linux),
            initrd: file(initrd),
            arguments: "ro".into(),
        }
    }

    #[test]
    fn names_that_are_not_plain_get_a_link() {
        let entries = [
            entry("box-2", "/boot/vmlinuz-2 my own", "/boot/initrd.img-2"),
            entry("box-1", "/boot/vmlinuz-1+b~1", "/boot/initrd,1"),
        ];
        let text = extlinux_conf(&entries, None);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for line in [
            "LINUX /boot/extlinux/box-2.linux",
            "INITRD /boot/initrd.img-2",
            "LINUX /boot/vmlinuz-1+b~1",
            "INITRD /boot/extlinux/box-1.initrd",
        ] {
            assert!(lines.contains(&line), "{line}: {text}");
        }
        let link = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            extlinux_links(&entries),
            [
                link("box-2.linux", "/boot/vmlinuz-2 my own"),
                link("box-1.initrd", "/boot/initrd,1"),
            ]
        );
    }
}
