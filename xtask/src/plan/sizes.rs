//! The sizes of the root file system and of the volumes.

use super::{Facts, VolumesFacts, targets};
use crate::error::Report;
use crate::fs::ext4;
use crate::model::DiskSize;
use crate::model::size::{MIB, Size};
use crate::recipe::Recipe;

/// Free space in volumes whose size is `auto`, in bytes.
const VOLUMES_FREE: u64 = 256 * MIB;

/// Sizes of partitions in bytes, multiples of 1 MiB.
pub(super) struct Sizes {
    /// The root file system.
    pub(super) root: u64,
    /// The volumes; 0 if there are none.
    pub(super) volumes: u64,
}

impl Sizes {
    /// Decides them, with `around` bytes of the disk for everything else.
    ///
    /// Of a disk of a fixed size, the root gets what it would get by itself, and the volumes the
    /// rest. If their size is fixed as well, or if there are none, the root gets the rest.
    pub(super) fn decide(recipe: &Recipe, facts: &Facts, around: u64) -> Result<Sizes, Report> {
        let smallest = facts.need.smallest();
        let reserved = recipe.root.reserved_percent;
        let usual = || facts.need.smallest_with(recipe.root.free.0, reserved);
        let (least, wanted) = match &facts.volumes {
            None => (0, 0),
            Some(facts) => bounds(recipe.volumes_size, facts)?,
        };
        let units = recipe.formats.iter().map(|format| format.unit());
        let unit = units.max().unwrap_or(MIB);
        let sizes = match recipe.size {
            DiskSize::Auto => {
                let others = around.saturating_add(wanted);
                let disk = usual()
                    .saturating_add(others)
                    .max(targets::least(recipe))
                    .checked_next_multiple_of(unit)
                    .unwrap_or(u64::MAX);
                Sizes {
                    root: disk - others,
                    volumes: wanted,
                }
            }
            DiskSize::Fixed(Size(size)) => {
                let size = size.checked_next_multiple_of(unit).unwrap_or(u64::MAX);
                let others = around.saturating_add(least);
                if size < smallest.saturating_add(others) {
                    return Err(ext4::too_small(&facts.need, size, others));
                }
                let most = size - others;
                let rest_is_for_volumes =
                    facts.volumes.is_some() && recipe.volumes_size == DiskSize::Auto;
                let root = match rest_is_for_volumes {
                    true => usual().min(most),
                    false => most,
                };
                Sizes {
                    root,
                    volumes: size - around - root,
                }
            }
        };
        if sizes.volumes > ext4::LARGEST_64BIT {
            return Err(Report::mistake(format!(
                "volumes of {} are too large: an ext4 with all group descriptors in one group can have at most 128 TiB",
                Size(sizes.volumes)
            ))
            .hint(CHANGE));
        }
        Ok(sizes)
    }
}

const CHANGE: &str = "change `volumes-size:` in recipe.yaml or --volumes-size, or leave it `auto`";

/// The smallest size of the volumes, and the size that they are to have if nothing else decides.
fn bounds(size: DiskSize, facts: &VolumesFacts) -> Result<(u64, u64), Report> {
    let smallest = facts.kept.unwrap_or_else(|| facts.need.smallest());
    let DiskSize::Fixed(Size(size)) = size else {
        let usual = facts.need.smallest_with(VOLUMES_FREE, 0);
        return Ok((smallest, facts.kept.unwrap_or(usual)));
    };
    let size = size.checked_next_multiple_of(MIB).unwrap_or(u64::MAX);
    if let Some(kept) = facts.kept.filter(|kept| size < *kept) {
        return Err(Report::mistake(format!(
            "volumes of {} are smaller than those that are kept, which have {}",
            Size(size),
            Size(kept)
        ))
        .hint(CHANGE));
    }
    if size < smallest {
        return Err(Report::mistake(format!(
            "volumes of {} are too small for what the image has in them: they need at least {}",
            Size(size),
            Size(smallest)
        ))
        .hint(CHANGE));
    }
    Ok((size, size))
}
