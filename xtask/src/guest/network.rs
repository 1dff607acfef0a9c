//! Who the machine is: hostname and hosts.

use super::{Report, Rootfs, Settings, read, rewrite};

const LOCALHOST: &str = "127.0.0.1\tlocalhost\n";
const LOCALHOST_6: &str =
    "::1\tlocalhost ip6-localhost ip6-loopback\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";

/// Writes both. Returns what people should know.
pub(super) fn write(rootfs: &mut Rootfs, settings: &Settings) -> Result<Option<String>, Report> {
    let hostname = settings.hostname.as_str();
    if !settings.given.overlay.has("/etc/hostname") {
        rewrite(rootfs, "/etc/hostname", format!("{hostname}\n"))?;
    }
    hosts(rootfs, settings)
}

/// The machine finds its own name, at the address that Debian gave such names first (Debian
/// reference, 5.1.1), and `localhost`. The image's own file is its author's, and gets no more than
/// what is missing; the engine's is gone already.
fn hosts(rootfs: &mut Rootfs, settings: &Settings) -> Result<Option<String>, Report> {
    const FILE: &str = "/etc/hosts";
    let name = settings.hostname.as_str();
    // The whole name first, as hosts(5) wants it; then the first part, if it has several.
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
    // A carriage return would be the last letter of a name.
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
    // Who has it for IPv4 only may have meant that.
    if !has(&text, &|a| a.starts_with("127."), "localhost") {
        let six = has(&text, &|a| a == "::1", "localhost");
        text.push_str(LOCALHOST);
        if !six {
            text.push_str(LOCALHOST_6);
        }
        note = Some(format!(
            "added localhost to {FILE}: programs look for each other there"
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
