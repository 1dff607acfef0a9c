//! The file systems in /etc/fstab (fstab(5), systemd.mount(5)).

use super::files::{Files, Root};
use super::finding::{Code, Findings};
use super::guest::Family;
use super::root::{Named, named};
use super::volume::Volume;

/// Reports file systems that are not on the disk.
pub(super) fn look(root: &Root, volumes: &[Volume], family: Family, found: &mut Findings) {
    let text = root.text("/etc/fstab").unwrap_or_default();
    for line in text.lines().take(1000) {
        let line = line.trim();
        let mut fields = line.split_whitespace();
        let (Some(name), Some(at), Some(kind)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        if name.starts_with('#') || named(name, volumes) != Named::Nothing {
            continue;
        }
        let options: Vec<&str> = fields.next().unwrap_or_default().split(',').collect();
        let has = |option: &str| options.contains(&option);
        let optional = has("nofail") || has("noauto") || has("x-systemd.automount");
        let cause = format!("/etc/fstab mounts {name} at {at}, which is not on this disk");
        let cure =
            "correct the line in /etc/fstab, or add the option `nofail`; a second disk may have it";
        match (optional, family) {
            (true, _) => found.note(Code::FstabMissing, cause, cure),
            // systemd waits for it, and then starts its emergency shell.
            (false, Family::Systemd) if at != "/" && kind != "swap" => found.error(
                Code::FstabMissing,
                format!("{cause}: systemd waits 90 s for it and then starts an emergency shell"),
                cure,
            ),
            (false, _) => found.warning(Code::FstabMissing, cause, cure),
        }
    }
}

/// Whether a part of the system is on another file system, so that its programs are not here.
pub(super) fn has_other_usr(root: &Root) -> bool {
    let text = root.text("/etc/fstab").unwrap_or_default();
    text.lines().any(|line| {
        let mut fields = line.split_whitespace();
        let name = fields.next().unwrap_or("#");
        !name.starts_with('#') && matches!(fields.next(), Some("/usr" | "/lib" | "/sbin"))
    })
}
