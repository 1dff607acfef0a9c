//! The file system with the volumes. A new one is empty: the machine fills it at its first start.

use super::kept::Kept;
use crate::error::Report;
use crate::fs::Layout;
use crate::fs::ext4::{self, Need, Wishes};
use crate::plan::Plan;
use crate::rootfs::{Meta, Stores, Tree};

/// Lays out the volumes of a plan that has any, and notes their free space in it. Those that are
/// kept get a store in `stores`.
pub(super) fn lay_out(
    plan: &mut Plan,
    kept: Option<&Kept>,
    stores: &mut Stores,
) -> Result<Option<Layout>, Report> {
    let epoch = plan.epoch;
    let (Some(volumes), Some(partition)) = (&mut plan.volumes, plan.disk.volumes()) else {
        return Ok(None);
    };
    if let Some(kept) = kept {
        volumes.free = kept.free();
        volumes.kept = true;
        return kept.layout(partition.len, stores).map(Some);
    }
    // Only root goes to the volumes by this way.
    let tree = Tree::new(Meta::root(0o700, epoch));
    let spec = ext4::Spec {
        size: partition.len,
        uuid: volumes.uuid,
        label: volumes.label.clone(),
        epoch,
        inodes: volumes.inodes,
        reserved_percent: 0,
        need: Need::of(&tree, Wishes::default()),
    };
    let layout = ext4::layout(tree, &spec, Wishes::default())?;
    volumes.free = ext4::free_bytes(&layout);
    Ok(Some(layout))
}
