//! A swap file that is ready in the image.
//!
//! It is a normal file of the tree, not a task for the first boot: nothing can be interrupted, and
//! its space is part of the disk. ext4 allocates all of its blocks (the kernel does not support
//! holes), while the image file stays sparse where they are zero.

use super::{Init, Report, Rootfs, edit, read, rewrite, units};
use crate::model::size::Size;
use crate::rootfs::{Content, Kind, Meta, Node, Store};
use std::os::unix::fs::FileExt;
use uuid::Uuid;

/// Its path.
const FILE: &str = "/swapfile";
/// Page size in bytes, which is the same on all supported architectures.
const PAGE: u64 = 4096;

/// Adds a swap file of `size` bytes, rounded down to whole pages. The machine uses it from the
/// first boot.
pub(super) fn add(
    rootfs: &mut Rootfs,
    init: Init,
    size: Size,
    id: Uuid,
) -> Result<Option<String>, Report> {
    let failed = |e| Report::failure("making the swap file").because(e);
    let len = size.0 / PAGE * PAGE;
    let file = tempfile::tempfile().map_err(failed)?;
    file.set_len(len).map_err(failed)?;
    file.write_all_at(&header(len, id), 0).map_err(failed)?;
    let store = rootfs.stores.add(Store::new(file));
    let epoch = rootfs.epoch;
    let content = Content::Stored {
        store,
        start: 0,
        len,
    };
    let node = Node::new(Kind::File(content), Meta::root(0o600, epoch));
    rootfs.tree.insert(FILE, node).map_err(edit)?;

    let fstab = read(rootfs, "/etc/fstab")?;
    // systemd rejects a duplicate entry.
    let mut text: String = fstab
        .lines()
        .filter(|line| line.split_whitespace().next() != Some(FILE))
        .flat_map(|line| [line, "\n"])
        .collect();
    text.push_str(&format!("{FILE} none swap defaults 0 0\n"));
    rewrite(rootfs, "/etc/fstab", text)?;
    // systemd generates a unit from the line.
    if init == Init::Systemd || units::enable(rootfs, init, "swap", "boot")? {
        return Ok(None);
    }
    Ok(Some(format!(
        "nothing in this root file system enables {FILE}: run `swapon -a` when it starts"
    )))
}

/// The first page of a swap file (Linux, include/linux/swap.h, `union swap_header`; mkswap(8)).
fn header(len: u64, id: Uuid) -> Vec<u8> {
    let last_page = u32::try_from(len / PAGE - 1).unwrap_or(u32::MAX);
    let mut page = vec![0; 4096];
    page[1024..1028].copy_from_slice(&1_u32.to_le_bytes());
    page[1028..1032].copy_from_slice(&last_page.to_le_bytes());
    page[1036..1052].copy_from_slice(id.as_bytes());
    page[4086..].copy_from_slice(b"SWAPSPACE2");
    page
}
