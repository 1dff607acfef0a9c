//! The first boot: the last partition and its file system grow to the size of the disk.
//!
//! A small program does this with sfdisk and resize2fs, which every distribution has: not every
//! systemd includes systemd-repart, and growpart must be installed. How it works, and why it may be
//! interrupted, is described in the program.

use super::{Init, Report, Rootfs, edit, units};
use crate::plan::VOLUMES_DIR;

const DIR: &str = "/usr/lib/docker-to-linux";
const PROGRAM_TEXT: &str = include_str!("files/grow-root.sh");
const UNIT_TEXT: &str = include_str!("files/grow-root.service");
const SERVICE_TEXT: &str = include_str!("files/grow-root.initd");

/// What grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// The root file system.
    Root,
    /// The file system with the volumes, which is mounted before.
    Volumes,
}

/// The words in the files that are other ones for the volumes.
const WORDS: [(&str, &str); 10] = [
    ("the root file system", "the file system with the volumes"),
    ("The root file system", "The file system with the volumes"),
    ("the root partition", "the partition with the volumes"),
    ("behind the root", "behind the volumes"),
    ("the disk under / and", "the disk under VOLUMES and"),
    (
        "last partition of it is the root",
        "last partition of it has the volumes",
    ),
    ("== \"/\"", "== \"VOLUMES\""),
    ("\"/ is ", "\"VOLUMES is "),
    ("df -Pm / ", "df -Pm VOLUMES "),
    ("mounts at / ", "mounts at VOLUMES "),
];

/// A file of this module, for what grows.
fn text(of_root: &str, what: What) -> String {
    if what == What::Root {
        return of_root.to_owned();
    }
    let mut text = of_root.to_owned();
    for (root, volumes) in WORDS {
        text = text.replace(root, volumes);
    }
    // It grows while it is mounted, and so is mounted first.
    text.replace("VOLUMES", VOLUMES_DIR)
        .replace("grow-root", "grow-volumes")
        .replace("need root\n\tbefore localmount", "need volumes")
        .replace(
            "After=systemd-remount-fs.service",
            "After=volumes.service\nRequires=volumes.service",
        )
        .replace("ConditionPathIsReadWrite=/\n", "")
}

/// Adds the program and its service. Returns a note if it could not work.
pub(super) fn add(rootfs: &mut Rootfs, init: Init, what: What) -> Result<Option<String>, Report> {
    let has = |name: &str| {
        ["/sbin", "/usr/sbin", "/bin", "/usr/bin"]
            .iter()
            .any(|dir| rootfs.tree.resolve(format!("{dir}/{name}")).is_some())
    };
    let missing: Vec<&str> = ["sfdisk", "resize2fs"]
        .into_iter()
        .filter(|name| !has(name))
        .collect();
    let subject = match what {
        What::Root => "the root file system does",
        What::Volumes => "the volumes do",
    };
    if !missing.is_empty() {
        return Ok(Some(format!(
            "{subject} not grow to a larger disk by itself: it has no {}; install fdisk and e2fsprogs (on Alpine sfdisk, partx and e2fsprogs-extra) in the Dockerfile",
            missing.join(" and no ")
        )));
    }
    let name = match what {
        What::Root => "grow-root",
        What::Volumes => "grow-volumes",
    };
    let (file, text_of_root, mode, service, at) = match init {
        Init::Systemd => (
            format!("/etc/systemd/system/{name}.service"),
            UNIT_TEXT,
            0o644,
            format!("{name}.service"),
            "sysinit.target",
        ),
        Init::OpenRc => (
            format!("/etc/init.d/{name}"),
            SERVICE_TEXT,
            0o755,
            name.to_owned(),
            "boot",
        ),
        Init::Other => {
            return Ok(Some(format!(
                "{subject} not grow to a larger disk by itself: that needs systemd or OpenRC"
            )));
        }
    };
    let epoch = rootfs.epoch;
    let tree = &mut rootfs.tree;
    for (path, of_root, mode) in [
        (format!("{DIR}/{name}"), PROGRAM_TEXT, 0o755),
        (file, text_of_root, mode),
    ] {
        tree.write(&path, text(of_root, what).into_bytes(), mode, epoch)
            .map_err(edit)?;
    }
    units::enable(rootfs, init, &service, at)?;
    Ok(None)
}
