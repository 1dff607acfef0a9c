//! The configuration of ifupdown, if there is none yet.

use super::super::{Init, Report, Rootfs, edit, rewrite, units};
use crate::rootfs::{Kind, Meta, Node};

const FILE: &str = "/etc/network/interfaces";
const LOOPBACK: &str =
    "# Written by docker-to-linux; see interfaces(5).\nauto lo\niface lo inet loopback\n";

/// The script that maps every wired interface to one configuration (ifup(8)).
const SCRIPT: &str = "/usr/lib/docker-to-linux/wired";
const SCRIPT_TEXT: &str =
    "#!/bin/sh\n# Written by docker-to-linux; see interfaces(5), \"mapping\".\necho wired\n";

const WAIT: &str = "ifupdown-wait-online.service";

/// Only the loopback interface.
pub(super) fn loopback(rootfs: &mut Rootfs) -> Result<(), Report> {
    rewrite(rootfs, FILE, LOOPBACK.into())
}

/// DHCP on all wired interfaces with systemd, and on `eth0` with another init.
///
/// With udev, each interface is configured separately, and the machine is online when one has an
/// address. At boot, `ifup -a` handles one after the other, and each without a cable delays the
/// boot by minutes.
pub(super) fn wired(rootfs: &mut Rootfs, init: Init) -> Result<(), Report> {
    let stanza = if init != Init::Systemd {
        "auto eth0\niface eth0 inet dhcp\n".to_owned()
    } else if by_udev(rootfs) {
        let meta = Meta::root(0o755, rootfs.epoch);
        let script = Node::new(Kind::bytes(SCRIPT_TEXT.as_bytes().to_vec()), meta);
        rootfs.tree.insert(SCRIPT, script).map_err(edit)?;
        units::enable(rootfs, init, WAIT, "network-online.target")?;
        rewrite(
            rootfs,
            &format!("/etc/systemd/system/{WAIT}.d/10-timeout.conf"),
            "# Written by docker-to-linux.\n[Service]\nTimeoutStartSec=60\n".into(),
        )?;
        format!(
            "allow-hotplug /en* /eth*\nmapping en* eth*\n\tscript {SCRIPT}\niface wired inet dhcp\n"
        )
    } else {
        // Patterns of Debian's ifupdown (interfaces(5), "INTERFACE SELECTION").
        "auto /en*=wired /eth*=wired\niface wired inet dhcp\n".to_owned()
    };
    rewrite(rootfs, FILE, format!("{LOOPBACK}\n{stanza}"))
}

/// Whether udev configures interfaces when they appear, and something waits for the first one that
/// is up.
fn by_udev(rootfs: &Rootfs) -> bool {
    let helper = [
        "/usr/lib/udev/ifupdown-hotplug",
        "/lib/udev/ifupdown-hotplug",
    ];
    let unit = |name| units::find(rootfs, Init::Systemd, name).is_some();
    helper
        .iter()
        .any(|path| rootfs.tree.resolve(path).is_some())
        && unit("ifup@.service")
        && unit("systemd-udevd.service")
        && unit(WAIT)
        && !units::is_masked(rootfs, WAIT)
}
