//! A swap file, ready in the image.
//!
//! It is a file of the tree like any other, and no work for the first boot: nothing can be
//! interrupted, and the room for it is part of the disk. ext4 has every block of it (the kernel
//! takes no holes), while the image file stays sparse where the blocks are zero.

use super::{Init, Report, Rootfs, edit, read, rewrite, units};
use crate::model::size::Size;
use crate::rootfs::{Content, Kind, Meta, Node, Store};
use std::os::unix::fs::FileExt;
use uuid::Uuid;

/// Where it lies.
const FILE: &str = "/swapfile";
/// Size of a page, in bytes, on every architecture that can be built for.
const PAGE: u64 = 4096;

/// Adds a swap file of `size` bytes, rounded down to whole pages; the machine uses it from its
/// first boot on.
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
    // systemd refuses a file that is named twice.
    let mut text: String = fstab
        .lines()
        .filter(|line| line.split_whitespace().next() != Some(FILE))
        .flat_map(|line| [line, "\n"])
        .collect();
    text.push_str(&format!("{FILE} none swap defaults 0 0\n"));
    rewrite(rootfs, "/etc/fstab", text)?;
    // systemd makes a unit of the line.
    if init == Init::Systemd || units::enable(rootfs, init, "swap", "boot")? {
        return Ok(None);
    }
    Ok(Some(format!(
        "nothing in this root file system turns on {FILE}: run `swapon -a` when it starts"
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
