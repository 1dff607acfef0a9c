//! Services of systemd and OpenRC: whether they are there, and turning them on.

use super::{Init, Report, Rootfs, edit};
use crate::rootfs::Kind;

/// The unit file of systemd (`ssh.service`), or the script of OpenRC (`sshd`), with its path.
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

/// Whether the author of the root file system forbade the service: `systemctl mask` links it to
/// /dev/null, and an empty file does the same (systemd.unit(5)).
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

/// Whether something starts the service by itself.
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

/// Turns the service on: in systemd's target or OpenRC's runlevel `at`. `false` if it is not
/// there or its author forbade it.
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
