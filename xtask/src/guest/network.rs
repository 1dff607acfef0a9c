//! Who the machine is in a network: hostname, hosts, resolv.conf.

use super::{Report, Rootfs, edit, rewrite};
use crate::rootfs::Kind;

pub(super) fn write(rootfs: &mut Rootfs, hostname: &str) -> Result<(), Report> {
    rewrite(rootfs, "/etc/hostname", format!("{hostname}\n"))?;
    // The image's own one is its author's; the engine's is gone already.
    if !rootfs.tree.exists("/etc/hosts") {
        rewrite(
            rootfs,
            "/etc/hosts",
            format!(
                "127.0.0.1\tlocalhost\n127.0.1.1\t{hostname}\n\n::1\tlocalhost ip6-localhost ip6-loopback\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
            ),
        )?;
    }
    resolv_conf(rootfs)
}

/// systemd-resolved's stub where it is there to be started, else a file that the DHCP client
/// fills. A link of the image stays; a file may be the build host's and goes.
fn resolv_conf(rootfs: &mut Rootfs) -> Result<(), Report> {
    const FILE: &str = "/etc/resolv.conf";
    let epoch = rootfs.epoch;
    let tree = &mut rootfs.tree;
    let is_link = tree
        .lookup(FILE)
        .is_some_and(|id| matches!(tree.node(id).kind, Kind::Symlink(_)));
    if is_link {
        return Ok(());
    }
    if tree.resolve("/usr/lib/systemd/systemd-resolved").is_some() {
        let stub = "../run/systemd/resolve/stub-resolv.conf";
        tree.symlink(FILE, stub, epoch).map_err(edit)?;
    } else {
        let text = "# Filled by the DHCP client.\n";
        tree.write(FILE, text.as_bytes(), 0o644, epoch)
            .map_err(edit)?;
    }
    Ok(())
}
