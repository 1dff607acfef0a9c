//! Installs EXTLINUX in the root file system.

use crate::bootloader::config::{extlinux_conf, extlinux_links};
use crate::bootloader::files::{Bios, Loaders};
use crate::error::Report;
use crate::fs::Layout;
use crate::plan::{BootEntry, EXTLINUX_CONF, EXTLINUX_DIR, Outline, Plan};
use crate::rootfs::{Content, Kind, Meta, Node, Rootfs, TreeError};

fn bios(loaders: &Loaders) -> Result<&Bios, Report> {
    loaders
        .bios
        .as_ref()
        .ok_or_else(|| Report::failure("the files of EXTLINUX were not loaded"))
}

/// Adds EXTLINUX's files to the tree. ldlinux.sys gets its contents later, when its position is
/// known.
pub(super) fn add(
    rootfs: &mut Rootfs,
    loaders: &Loaders,
    outline: &Outline,
    entries: &[BootEntry],
) -> Result<(), Report> {
    let bios = bios(loaders)?;
    let conf = extlinux_conf(entries, outline.extlinux_serial);
    let epoch = rootfs.epoch;
    let edit = |e: TreeError| Report::failure("adding EXTLINUX").because(e);
    let tree = &mut rootfs.tree;
    tree.mkdir(EXTLINUX_DIR, 0o755, epoch).map_err(edit)?;
    let path = |name: &str| format!("{EXTLINUX_DIR}/{name}");
    let late = Content::Late {
        len: bios.extlinux.ldlinux_sys_len(),
    };
    let sys = Node::new(Kind::File(late), Meta::root(0o444, epoch));
    tree.insert(path("ldlinux.sys"), sys).map_err(edit)?;
    let c32 = bios.extlinux.ldlinux_c32();
    tree.write(&path("ldlinux.c32"), c32, 0o444, epoch)
        .map_err(edit)?;
    tree.write(EXTLINUX_CONF, conf.into_bytes(), 0o644, epoch)
        .map_err(edit)?;
    for (name, target) in extlinux_links(entries) {
        tree.symlink(&path(&name), &target, epoch).map_err(edit)?;
    }
    Ok(())
}

/// Patches EXTLINUX for the position of ldlinux.sys on the disk.
pub(super) fn install(root: &mut Layout, plan: &Plan, loaders: &Loaders) -> Result<(), Report> {
    let bios = bios(loaders)?;
    let failed = |e: std::io::Error| Report::failure("installing EXTLINUX").because(e);
    let partition = plan.disk.root();
    let installed =
        bios.extlinux
            .install(&root.late(), EXTLINUX_DIR, partition.start, partition.len)?;
    root.supply(&installed.ldlinux_sys).map_err(failed)?;
    root.overwrite_start(&installed.boot_sector).map_err(failed)
}
