//! Sizes: how large a FAT32 file system and its clusters must be.

use super::File;
use crate::model::size::MIB;
use std::collections::HashMap;

/// Minimum number of clusters. Below 65,525 the type would be FAT16 (Microsoft's "FAT: General
/// Overview of On-Disk Format" 1.03, "FAT Type Determination"); the same document advises to stay
/// 16 away from the limit, where some programs count wrong.
const LEAST_CLUSTERS: u64 = 65_525 + 16;

/// Number of sectors before the first FAT in the layout of fatfs.
const RESERVED: u64 = 8;

/// Cluster sizes that every FAT driver reads, in bytes.
const CLUSTERS: [u64; 7] = [512, 1 << 10, 2 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10];

/// Size of a directory entry in bytes.
const ENTRY: u64 = 32;

/// Number of UTF-16 units of a long name in one directory entry.
const NAME_PART: u64 = 13;

/// Number of clusters of a file system of `size` bytes with sectors of `sector` bytes and clusters
/// of `cluster` bytes, calculated as in fatfs.
fn clusters(size: u64, sector: u64, cluster: u64) -> u64 {
    let per_cluster = cluster / sector;
    let sectors = (size / sector).saturating_sub(RESERVED);
    // Each of the two FATs uses four bytes for a cluster.
    let fat = (sectors + 2 * per_cluster).div_ceil(sector / 4 * per_cluster + 2);
    sectors.saturating_sub(2 * fat) / per_cluster
}

/// The largest cluster size in bytes for a file system of `size` bytes: from Microsoft's table for
/// FAT32 ("FAT Volume Initialization" of the same document), starting at 4 KiB.
fn largest_cluster(size: u64) -> u64 {
    match size >> 30 {
        0..8 => 4 << 10,
        8..16 => 8 << 10,
        16..32 => 16 << 10,
        _ => 32 << 10,
    }
}

/// The space that files need, independent of the cluster size.
pub(super) struct Need {
    /// Lengths of the files and of their directories, in bytes.
    lengths: Vec<u64>,
    /// Sector size in bytes.
    sector: u64,
}

impl Need {
    pub(super) fn of(files: &[File<'_>], sector: u64) -> Need {
        // Directories that differ only in case are the same. Counting one twice would do no harm,
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
                // fatfs gives `.` and `..` long names. They are dropped later, but need space
                // first.
                let entries = dirs.entry(dir).or_insert(4 * ENTRY);
                *entries += ENTRY * (1 + units.div_ceil(NAME_PART));
                path = dir;
            }
            lengths.push(file.len());
        }
        lengths.extend(dirs.into_values());
        Need { lengths, sector }
    }

    /// Possible cluster sizes in bytes: at least a sector.
    fn sizes(&self) -> impl DoubleEndedIterator<Item = u64> {
        CLUSTERS.into_iter().filter(|c| *c >= self.sector)
    }

    /// Number of clusters of `cluster` bytes that are needed.
    fn clusters(&self, cluster: u64) -> u64 {
        self.lengths.iter().map(|len| len.div_ceil(cluster)).sum()
    }

    /// Cluster size in bytes for a file system of `size` bytes that must hold this: the largest one
    /// with which it is still FAT32 and has enough room. `None` if there is none.
    pub(super) fn cluster_in(&self, size: u64) -> Option<u64> {
        self.sizes().rev().find(|&c| {
            let there = clusters(size, self.sector, c);
            c <= largest_cluster(size) && there >= LEAST_CLUSTERS && there >= self.clusters(c)
        })
    }

    /// Size in bytes of the smallest file system that holds this, a multiple of 1 MiB.
    pub(super) fn smallest(&self) -> u64 {
        let size_for = |cluster: u64| {
            let wanted = self.clusters(cluster).max(LEAST_CLUSTERS);
            // Starts with the data alone, then adds what is missing because of the FATs.
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
