//! /etc/fstab.

use super::{Init, Report, Rootfs, edit, read, rewrite};
use crate::plan::Mount;

/// Writes our mounts before the existing ones. Existing lines for the same mount points are
/// removed, and comments stay.
pub(super) fn write(rootfs: &mut Rootfs, init: Init, mounts: &[Mount]) -> Result<(), Report> {
    const FSTAB: &str = "/etc/fstab";
    let old = read(rootfs, FSTAB)?;
    let mut text = String::from("# Written by docker-to-linux; see fstab(5).\n");
    for m in mounts {
        let options: Vec<&str> = m
            .options
            .iter()
            .map(String::as_str)
            .filter(|o| init == Init::Systemd || !o.starts_with("x-systemd."))
            .collect();
        let options = if options.is_empty() {
            "defaults".to_owned()
        } else {
            options.join(",")
        };
        let epoch = rootfs.epoch;
        rootfs.tree.mkdir(&m.at, 0o755, epoch).map_err(edit)?;
        text.push_str(&format!(
            "{} {} {} {options} 0 {}\n",
            m.what, m.at, m.kind, m.pass
        ));
    }
    for line in old.lines() {
        let same = |a: &str, b: &str| a.trim_end_matches('/') == b.trim_end_matches('/');
        let ours = |at: &str| mounts.iter().any(|m| same(&m.at, at));
        let replaced =
            !line.trim_start().starts_with('#') && line.split_whitespace().nth(1).is_some_and(ours);
        // The text of an unused fstab in a Debian base.
        let unconfigured = line.contains("UNCONFIGURED FSTAB");
        if !replaced && !unconfigured && !line.trim().is_empty() {
            text.push_str(line);
            text.push('\n');
        }
    }
    rewrite(rootfs, FSTAB, text)
}
