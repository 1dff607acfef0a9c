//! How large a FAT32 file system must be, and how large its clusters.

use super::File;
use crate::model::size::MIB;
use std::collections::HashMap;

/// Least number of clusters: below 65,525 the type would be FAT16 (Microsoft's "FAT: General
/// Overview of On-Disk Format" 1.03, "FAT Type Determination"), and the same document advises
/// to keep 16 away from the limit, where some programs count wrong.
const LEAST_CLUSTERS: u64 = 65_525 + 16;

/// Sectors before the first FAT, as fatfs lays them out.
const RESERVED: u64 = 8;

/// Sizes of a cluster that every FAT driver reads, in bytes.
const CLUSTERS: [u64; 7] = [512, 1 << 10, 2 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10];

/// Size of a directory entry in bytes.
const ENTRY: u64 = 32;

/// UTF-16 units of a long name that one directory entry holds.
const NAME_PART: u64 = 13;

/// Clusters of a file system of `size` bytes with sectors of `sector` bytes and clusters of
/// `cluster` bytes; the arithmetic is that of fatfs.
fn clusters(size: u64, sector: u64, cluster: u64) -> u64 {
    let per_cluster = cluster / sector;
    let sectors = (size / sector).saturating_sub(RESERVED);
    // A FAT describes a cluster with four bytes, and there are two FATs.
    let fat = (sectors + 2 * per_cluster).div_ceil(sector / 4 * per_cluster + 2);
    sectors.saturating_sub(2 * fat) / per_cluster
}

/// The largest cluster, in bytes, for a file system of `size` bytes: those of Microsoft's
/// table for FAT32 ("FAT Volume Initialization" of the same document) from 4 KiB on.
fn largest_cluster(size: u64) -> u64 {
    match size >> 30 {
        0..8 => 4 << 10,
        8..16 => 8 << 10,
        16..32 => 16 << 10,
        _ => 32 << 10,
    }
}

/// What files take, whatever the size of a cluster.
pub(super) struct Need {
    /// Lengths of the files and of their directories, in bytes.
    lengths: Vec<u64>,
    /// Size of a sector in bytes.
    sector: u64,
}

impl Need {
    pub(super) fn of(files: &[File<'_>], sector: u64) -> Need {
        // Directories that differ in case only are one; counting them twice would do no harm,
        // but counting two as one would.
        let mut dirs: HashMap<&str, u64> = HashMap::from([("", ENTRY)]);
        let mut lengths = Vec::with_capacity(files.len());
        for file in files {
            let mut path = file.path;
            let mut known = false;
            while !known && !path.is_empty() {
                let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
                let units = name.encode_utf16().count() as u64;
                known = dirs.contains_key(dir);
                // fatfs gives `.` and `..` a long name each; those are dropped later, but
                // need their room first.
                let entries = dirs.entry(dir).or_insert(4 * ENTRY);
                *entries += ENTRY * (1 + units.div_ceil(NAME_PART));
                path = dir;
            }
            lengths.push(file.len());
        }
        lengths.extend(dirs.into_values());
        Need { lengths, sector }
    }

    /// Sizes that a cluster can have, in bytes: a sector at least.
    fn sizes(&self) -> impl DoubleEndedIterator<Item = u64> {
        CLUSTERS.into_iter().filter(|c| *c >= self.sector)
    }

    /// How many clusters of `cluster` bytes it takes.
    fn clusters(&self, cluster: u64) -> u64 {
        self.lengths.iter().map(|len| len.div_ceil(cluster)).sum()
    }

    /// Size of the clusters, in bytes, of a file system of `size` bytes that is to hold this:
    /// the largest that leaves it FAT32 and gives it room. `None` if there is none.
    pub(super) fn cluster_in(&self, size: u64) -> Option<u64> {
        self.sizes().rev().find(|&c| {
            let there = clusters(size, self.sector, c);
            c <= largest_cluster(size) && there >= LEAST_CLUSTERS && there >= self.clusters(c)
        })
    }

    /// Smallest size in bytes of a file system that holds this, a multiple of 1 MiB.
    pub(super) fn smallest(&self) -> u64 {
        let size_for = |cluster: u64| {
            let wanted = self.clusters(cluster).max(LEAST_CLUSTERS);
            // The data alone; then what the FATs take is added step by step.
            let mut size = (wanted * cluster).next_multiple_of(MIB);
            let there = |size| clusters(size, self.sector, cluster);
            while there(size) < wanted {
                let missing = (wanted - there(size)) * cluster;
                size = (size + missing).next_multiple_of(MIB);
            }
            size
        };
        self.sizes()
            .map(|c| (c, size_for(c)))
            .filter(|&(c, size)| c <= largest_cluster(size))
            .map(|(_, size)| size)
            .min()
            .unwrap_or(u64::MAX)
    }
}
