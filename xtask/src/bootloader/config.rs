//! EXTLINUX's menu.

use crate::plan::BootEntry;

/// The text of extlinux.conf for these entries, the first of which starts by itself.
///
/// `serial` is the number of the PC's serial port and its speed. Words: syslinux 6.04,
/// doc/syslinux.txt. The loader shows its `boot:` prompt for two seconds; at it, TAB lists
/// the entries.
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
        // The distribution keeps its links pointing at its newest kernel: by them the default
        // entry follows an upgrade by itself.
        let (linux, initrd) = match (&entry.linux.link, &entry.initrd.link) {
            (Some(linux), Some(initrd)) if n == 0 => (linux, initrd),
            _ => (&entry.linux.path, &entry.initrd.path),
        };
        text.push_str(&format!(
            "\nLABEL {}\n  LINUX {}\n  INITRD {}\n  APPEND {}\n",
            entry.id, linux, initrd, entry.arguments
        ));
    }
    text
}

/// The loader prints bytes as the PC's own character set has them.
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
