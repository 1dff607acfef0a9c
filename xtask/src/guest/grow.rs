//! The first boot: the partition and the file system grow to the size of the disk.
//!
//! A small program does this with sfdisk and resize2fs, which every distribution has: not every
//! systemd includes systemd-repart, and growpart must be installed. How it works, and why it may be
//! interrupted, is described in the program.

use super::{Init, Report, Rootfs, edit, units};

const PROGRAM: &str = "/usr/lib/docker-to-linux/grow-root";
const PROGRAM_TEXT: &str = include_str!("files/grow-root.sh");
const UNIT_TEXT: &str = include_str!("files/grow-root.service");
const SERVICE_TEXT: &str = include_str!("files/grow-root.initd");

/// Adds the program and its service. Returns a note if it could not work.
pub(super) fn add(rootfs: &mut Rootfs, init: Init) -> Result<Option<String>, Report> {
    let has = |name: &str| {
        ["/sbin", "/usr/sbin", "/bin", "/usr/bin"]
            .iter()
            .any(|dir| rootfs.tree.resolve(format!("{dir}/{name}")).is_some())
    };
    let missing: Vec<&str> = ["sfdisk", "resize2fs"]
        .into_iter()
        .filter(|name| !has(name))
        .collect();
    if !missing.is_empty() {
        return Ok(Some(format!(
            "the root file system does not grow to a larger disk by itself: it has no {}; install fdisk and e2fsprogs (on Alpine sfdisk, partx and e2fsprogs-extra) in the Dockerfile",
            missing.join(" and no ")
        )));
    }
    let (file, text, mode, name, at) = match init {
        Init::Systemd => (
            "/etc/systemd/system/grow-root.service",
            UNIT_TEXT,
            0o644,
            "grow-root.service",
            "sysinit.target",
        ),
        Init::OpenRc => (
            "/etc/init.d/grow-root",
            SERVICE_TEXT,
            0o755,
            "grow-root",
            "boot",
        ),
        Init::Other => {
            return Ok(Some(
                "the root file system does not grow to a larger disk by itself: that needs systemd or OpenRC".into(),
            ));
        }
    };
    let epoch = rootfs.epoch;
    let tree = &mut rootfs.tree;
    tree.write(PROGRAM, PROGRAM_TEXT.as_bytes(), 0o755, epoch)
        .map_err(edit)?;
    tree.write(file, text.as_bytes(), mode, epoch)
        .map_err(edit)?;
    units::enable(rootfs, init, name, at)?;
    Ok(None)
}
