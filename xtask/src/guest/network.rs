//! The machine's host name and its hosts file.

use super::{Report, Rootfs, Settings, read, rewrite};

const LOCALHOST: &str = "127.0.0.1\tlocalhost\n";
const LOCALHOST_6: &str =
    "::1\tlocalhost ip6-localhost ip6-loopback\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";

/// Writes both. Returns notes for the user.
pub(super) fn write(rootfs: &mut Rootfs, settings: &Settings) -> Result<Option<String>, Report> {
    let hostname = settings.hostname.as_str();
    if !settings.given.overlay.has("/etc/hostname") {
        rewrite(rootfs, "/etc/hostname", format!("{hostname}\n"))?;
    }
    hosts(rootfs, settings)
}

/// Lets the machine resolve its own name, to the address that Debian uses for this (Debian
/// reference, 5.1.1), and `localhost`. Only missing entries are added to the image's own file; the
/// engine's file is already removed.
fn hosts(rootfs: &mut Rootfs, settings: &Settings) -> Result<Option<String>, Report> {
    const FILE: &str = "/etc/hosts";
    let name = settings.hostname.as_str();
    // The full name first, as hosts(5) requires, then its first part if it has several.
    let names = match name.split_once('.') {
        Some((short, _)) => format!("{name} {short}"),
        None => name.to_owned(),
    };
    let line = format!("127.0.1.1\t{names}\n");
    let old = read(rootfs, FILE)?;
    if settings.given.overlay.has(FILE) {
        return Ok(None);
    }
    if old.trim().is_empty() {
        let text = format!("{LOCALHOST}{line}\n{LOCALHOST_6}");
        return rewrite(rootfs, FILE, text).map(|()| None);
    }
    let mut note = None;
    // A carriage return would become part of a name.
    let mut text = old.replace('\r', "");
    if !text.ends_with('\n') {
        text.push('\n');
    }
    let has = |text: &str, address: &dyn Fn(&str) -> bool, name: &str| {
        text.lines()
            .map(|line| line.split('#').next().unwrap_or_default())
            .any(|line| {
                let mut words = line.split_whitespace();
                words.next().is_some_and(address) && words.any(|word| word == name)
            })
    };
    // A file with only the IPv4 entry may be intentional.
    if !has(&text, &|a| a.starts_with("127."), "localhost") {
        let six = has(&text, &|a| a == "::1", "localhost");
        text.push_str(LOCALHOST);
        if !six {
            text.push_str(LOCALHOST_6);
        }
        note = Some(format!(
            "added localhost to {FILE}: programs use it to reach each other"
        ));
    }
    if !has(&text, &|_| true, name) {
        text.push_str(&line);
    }
    if text != old {
        rewrite(rootfs, FILE, text)?;
    }
    Ok(note)
}
