//! Who the machine is: hostname and hosts.

use super::{Report, Rootfs, Settings, read, rewrite};

pub(super) fn write(rootfs: &mut Rootfs, settings: &Settings) -> Result<(), Report> {
    let hostname = settings.hostname.as_str();
    if !settings.given.overlay.has("/etc/hostname") {
        rewrite(rootfs, "/etc/hostname", format!("{hostname}\n"))?;
    }
    hosts(rootfs, settings)
}

/// The machine finds its own name, at the address that Debian gave such names first (Debian
/// reference, 5.1.1). The image's own file is its author's, and gets no more than that line; the
/// engine's is gone already.
fn hosts(rootfs: &mut Rootfs, settings: &Settings) -> Result<(), Report> {
    const FILE: &str = "/etc/hosts";
    let name = settings.hostname.as_str();
    // The whole name first, as hosts(5) wants it; then the first part, if it has several.
    let names = match name.split_once('.') {
        Some((short, _)) => format!("{name} {short}"),
        None => name.to_owned(),
    };
    let line = format!("127.0.1.1\t{names}\n");
    let old = read(rootfs, FILE)?;
    if old.trim().is_empty() {
        return rewrite(
            rootfs,
            FILE,
            format!(
                "127.0.0.1\tlocalhost\n{line}\n::1\tlocalhost ip6-localhost ip6-loopback\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
            ),
        );
    }
    let knows = old
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default())
        .any(|line| line.split_whitespace().skip(1).any(|word| word == name));
    if knows || settings.given.overlay.has(FILE) {
        return Ok(());
    }
    rewrite(rootfs, FILE, format!("{}\n{line}", old.trim_end()))
}
