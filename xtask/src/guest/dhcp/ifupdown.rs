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

/// Waits for an address. ifupdown's own `wait-online.sh` asks `ifquery --state`, which calls an
/// interface up as soon as ifup(8) begins with it, half a minute before DHCP is through. IPv6 alone
/// counts after ten seconds: a router's advertisement comes before DHCP's lease.
const ONLINE: &str = "/usr/lib/docker-to-linux/online";
const ONLINE_TEXT: &str = r#"#!/bin/sh
# Written by docker-to-linux: waits until an interface has an address.
six=0
while [ "$six" -lt 10 ]; do
	case $(ip -o addr show scope global -tentative) in
	*" inet "*) break ;;
	*" inet6 "*) six=$((six + 1)) ;;
	esac
	sleep 1
done
"#;

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
        for (path, text) in [(SCRIPT, SCRIPT_TEXT), (ONLINE, ONLINE_TEXT)] {
            let meta = Meta::root(0o755, rootfs.epoch);
            let script = Node::new(Kind::bytes(text.as_bytes().to_vec()), meta);
            rootfs.tree.insert(path, script).map_err(edit)?;
        }
        units::enable(rootfs, init, WAIT, "network-online.target")?;
        rewrite(
            rootfs,
            &format!("/etc/systemd/system/{WAIT}.d/10-address.conf"),
            // Two minutes: an emulated machine with much load took 62 s to its address.
            format!(
                "# Written by docker-to-linux: online is a machine with an address.\n[Unit]\nAfter=networking.service\n\n[Service]\nExecStart=\nExecStart={ONLINE}\nTimeoutStartSec=120\n"
            ),
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
