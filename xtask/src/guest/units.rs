//! Services of systemd and OpenRC: whether they exist, and how to enable them.

use super::{Init, Report, Rootfs, edit};
use crate::rootfs::Kind;

/// The path of a systemd unit file (`ssh.service`) or an OpenRC script (`sshd`).
pub(super) fn find(rootfs: &Rootfs, init: Init, name: &str) -> Option<String> {
    let dirs: &[&str] = match init {
        Init::Systemd => &[
            "/etc/systemd/system",
            "/usr/lib/systemd/system",
            "/lib/systemd/system",
        ],
        _ => &["/etc/init.d"],
    };
    dirs.iter()
        .map(|dir| format!("{dir}/{name}"))
        .find(|path| rootfs.tree.resolve(path).is_some())
}

/// Whether the service is masked: `systemctl mask` links it to /dev/null, and an empty file has the
/// same effect (systemd.unit(5)).
pub(super) fn is_masked(rootfs: &Rootfs, name: &str) -> bool {
    let mask = format!("/etc/systemd/system/{name}");
    let tree = &rootfs.tree;
    tree.lookup(&mask)
        .is_some_and(|id| match &tree.node(id).kind {
            Kind::Symlink(target) => target.ends_with(b"/dev/null"),
            Kind::File(content) => content.is_empty(),
            _ => false,
        })
}

/// Whether something starts the service automatically.
pub(super) fn is_enabled(rootfs: &Rootfs, init: Init, name: &str) -> bool {
    let tree = &rootfs.tree;
    let (roots, ending): (&[&str], &str) = match init {
        Init::Systemd => (
            &[
                "/etc/systemd/system",
                "/usr/lib/systemd/system",
                "/lib/systemd/system",
            ],
            ".wants",
        ),
        _ => (&["/etc/runlevels"], ""),
    };
    roots.iter().any(|root| {
        tree.entries(root)
            .filter(|(dir, _)| dir.ends_with(ending))
            .any(|(dir, _)| tree.exists(format!("{root}/{dir}/{name}")))
    })
}

/// Enables the service in systemd's target or OpenRC's runlevel `at`. Returns `false` if it does
/// not exist or is masked.
pub(super) fn enable(
    rootfs: &mut Rootfs,
    init: Init,
    name: &str,
    at: &str,
) -> Result<bool, Report> {
    let Some(file) = find(rootfs, init, name) else {
        return Ok(false);
    };
    if init == Init::Systemd && is_masked(rootfs, name) {
        return Ok(false);
    }
    if !is_enabled(rootfs, init, name) {
        let link = match init {
            Init::Systemd => format!("/etc/systemd/system/{at}.wants/{name}"),
            _ => format!("/etc/runlevels/{at}/{name}"),
        };
        let epoch = rootfs.epoch;
        rootfs.tree.symlink(&link, &file, epoch).map_err(edit)?;
    }
    Ok(true)
}
