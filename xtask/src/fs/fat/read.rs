//! Reads any FAT12, FAT16 or FAT32, also a damaged one (Microsoft, "FAT: General Overview of
//! On-Disk Format" 1.03).
//!
//! `fatfs`, which writes ours, follows a chain of clusters that is a circle for ever. Here every
//! chain ends after as many clusters as it can have, and every folder after [`MOST_ENTRIES`].

use crate::format::source::Disk;
use std::io;
use std::sync::Arc;

/// Most entries of a folder that are read: 65,536 entries of 32 bytes are the limit of the format.
const MOST_ENTRIES: usize = 65_536;
/// Deepest path that is followed.
const MOST_DEPTH: usize = 32;

/// Attributes of an entry: volume label, folder, part of a long name.
const LABEL: u8 = 0x08;
const FOLDER: u8 = 0x10;
const LONG: u8 = 0x0f;

/// A FAT file system.
pub struct Fat {
    disk: Disk,
    /// Where it begins on the disk, in bytes.
    start: u64,
    /// Bits of an entry of the table: 12, 16 or 32.
    bits: u32,
    /// Place of the first table from `start`, in bytes.
    table: u64,
    /// Size of a cluster in bytes.
    cluster: u64,
    /// Place of cluster 2 from `start`, in bytes.
    data: u64,
    clusters: u64,
    root: Root,
    /// Volume id (serial number).
    pub id: u32,
    /// Volume label in the boot sector.
    pub label: String,
    /// Size in bytes.
    pub size: u64,
}

/// The root folder: a place and a length, or a cluster.
#[derive(Clone, Copy)]
enum Root {
    Area(u64, u64),
    Cluster(u64),
}

/// A file or a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FatEntry {
    /// Its name: the long one if it has one.
    pub name: String,
    /// The short name, `NAME.EXT`.
    short: String,
    /// Whether it is a folder.
    pub folder: bool,
    /// Length in bytes; 0 for folders.
    pub len: u64,
    first: u64,
}

fn le(bytes: &[u8], at: usize, len: usize) -> u64 {
    let bytes = bytes.get(at..at + len).unwrap_or_default();
    bytes.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b))
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

impl Fat {
    /// Opens the file system that begins at byte `start` of `disk`. `None` if its boot
    /// sector is not that of a FAT.
    pub fn open(disk: &Disk, start: u64) -> Option<Fat> {
        let mut boot = [0; 512];
        disk.read_at(start, &mut boot).ok()?;
        let sector = le(&boot, 11, 2);
        let per_cluster = le(&boot, 13, 1);
        let (reserved, tables) = (le(&boot, 14, 2), le(&boot, 16, 1));
        let entries = le(&boot, 17, 2);
        let signed = boot[510..] == [0x55, 0xaa];
        if !signed
            || !matches!(sector, 512 | 1024 | 2048 | 4096)
            || !per_cluster.is_power_of_two()
            || reserved == 0
            || !(1..=2).contains(&tables)
        {
            return None;
        }
        let either = |short: u64, long: u64| if short == 0 { long } else { short };
        let sectors = either(le(&boot, 19, 2), le(&boot, 32, 4));
        let per_table = either(le(&boot, 22, 2), le(&boot, 36, 4));
        let root_sectors = (entries * 32).div_ceil(sector);
        let data = reserved + tables * per_table + root_sectors;
        let clusters = sectors.checked_sub(data)? / per_cluster;
        let size = sectors * sector;
        if clusters == 0 || per_table == 0 || start.checked_add(size).is_none() {
            return None;
        }
        let (bits, more) = match clusters {
            0..=4084 => (12, 38),
            4085..=65_524 => (16, 38),
            _ => (32, 66),
        };
        let root = match bits {
            32 => Root::Cluster(le(&boot, 44, 4)),
            _ => Root::Area((reserved + tables * per_table) * sector, entries * 32),
        };
        let label = boot.get(more + 5..more + 16).unwrap_or_default();
        Some(Fat {
            disk: Arc::clone(disk),
            start,
            bits,
            table: reserved * sector,
            cluster: per_cluster * sector,
            data: data * sector,
            // The table has no room for more.
            clusters: clusters.min((per_table * sector * 8 / u64::from(bits)).saturating_sub(2)),
            root,
            id: u32::try_from(le(&boot, more + 1, 4)).unwrap_or(0),
            label: String::from_utf8_lossy(label).trim_end().to_owned(),
            size,
        })
    }

    /// The cluster after `cluster`; nothing at the end of a chain.
    fn next(&self, cluster: u64) -> io::Result<Option<u64>> {
        let mut four = [0; 4];
        let (at, len) = match self.bits {
            12 => (cluster * 3 / 2, 2),
            16 => (cluster * 2, 2),
            _ => (cluster * 4, 4),
        };
        self.disk
            .read_at(self.start + self.table + at, &mut four[..len])?;
        let value = le(&four, 0, 4);
        let (value, end) = match self.bits {
            12 if cluster % 2 == 1 => (value >> 4, 0xff8),
            12 => (value & 0xfff, 0xff8),
            16 => (value, 0xfff8),
            _ => (value & 0x0fff_ffff, 0x0fff_fff8),
        };
        match value {
            n if n >= end => Ok(None),
            n if (2..self.clusters + 2).contains(&n) => Ok(Some(n)),
            _ => Err(wrong("its chain of clusters leads out of the file system")),
        }
    }

    fn reader(&self, first: u64, len: u64) -> FatFile<'_> {
        FatFile {
            fat: self,
            cluster: Some(first).filter(|n| (2..self.clusters + 2).contains(n)),
            skip: 0,
            left: len,
            strict: true,
            steps: self.clusters,
        }
    }

    /// The entries of a folder: its first cluster, or the root.
    fn entries(&self, of: Root) -> io::Result<Vec<FatEntry>> {
        let most = MOST_ENTRIES as u64 * 32;
        let bytes = match of {
            Root::Area(at, len) => {
                let mut bytes = vec![0; usize::try_from(len.min(most)).unwrap_or(0)];
                self.disk.read_at(self.start + at, &mut bytes)?;
                bytes
            }
            Root::Cluster(first) => {
                let mut reader = self.reader(first, most);
                reader.strict = false;
                let mut bytes = Vec::new();
                io::Read::read_to_end(&mut reader, &mut bytes)?;
                bytes
            }
        };
        let mut all = Vec::new();
        let mut long: Vec<(u8, Vec<u16>)> = Vec::new();
        for entry in bytes.chunks_exact(32) {
            match entry[0] {
                0 => break,
                0xe5 => {
                    long.clear();
                    continue;
                }
                _ => {}
            }
            let kind = entry[11];
            if kind & 0x3f == LONG {
                let unit = |at: usize| le(entry, at, 2) as u16;
                let places = (1..11)
                    .step_by(2)
                    .chain((14..26).step_by(2))
                    .chain([28, 30]);
                if long.len() < 20 {
                    long.push((entry[0] & 0x3f, places.map(unit).collect()));
                }
                continue;
            }
            let parts = std::mem::take(&mut long);
            if kind & LABEL != 0 || entry[0] == b'.' {
                continue;
            }
            let short = short_name(entry);
            all.push(FatEntry {
                name: long_name(parts).unwrap_or_else(|| short.clone()),
                short,
                folder: kind & FOLDER != 0,
                len: if kind & FOLDER != 0 {
                    0
                } else {
                    le(entry, 28, 4)
                },
                first: le(entry, 20, 2) << 16 | le(entry, 26, 2),
            });
        }
        Ok(all)
    }

    /// The entry at `path`, whose parts are separated by slashes or backslashes; upper and lower
    /// case are the same. `Ok(None)` if there is none.
    pub fn find(&self, path: &str) -> io::Result<Option<FatEntry>> {
        let mut here = self.root;
        let mut found = None;
        let parts = path
            .split(['/', '\\'])
            .filter(|p| !p.is_empty() && *p != ".");
        for (depth, part) in parts.enumerate() {
            if depth >= MOST_DEPTH || found.as_ref().is_some_and(|e: &FatEntry| !e.folder) {
                return Ok(None);
            }
            let same = |name: &str| name.to_lowercase() == part.to_lowercase();
            let mut entries = self.entries(here)?.into_iter();
            let Some(entry) = entries.find(|e| same(&e.name) || same(&e.short)) else {
                return Ok(None);
            };
            here = Root::Cluster(entry.first);
            found = Some(entry);
        }
        Ok(found)
    }

    /// The entries of the folder at `path`; nothing if there is none.
    pub fn list(&self, path: &str) -> io::Result<Vec<FatEntry>> {
        if path.trim_matches('/').is_empty() {
            return self.entries(self.root);
        }
        match self.find(path)? {
            Some(entry) if entry.folder => self.entries(Root::Cluster(entry.first)),
            _ => Ok(Vec::new()),
        }
    }

    /// Reads a file from front to back. Reading fails where its clusters end before its length.
    pub fn open_file(&self, entry: &FatEntry) -> FatFile<'_> {
        self.reader(entry.first, entry.len)
    }
}

/// The long name whose parts, the last one first, have these numbers and units.
fn long_name(mut parts: Vec<(u8, Vec<u16>)>) -> Option<String> {
    parts.sort_by_key(|(number, _)| *number);
    let units = parts.into_iter().flat_map(|(_, units)| units);
    let units: Vec<u16> = units.take_while(|u| *u != 0 && *u != 0xffff).collect();
    Some(String::from_utf16_lossy(&units)).filter(|name| !name.is_empty())
}

fn short_name(entry: &[u8]) -> String {
    let part = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    let (name, extension) = (part(&entry[..8]), part(&entry[8..11]));
    match extension.is_empty() {
        true => name,
        false => format!("{name}.{extension}"),
    }
}

/// A file that is read from front to back.
pub struct FatFile<'a> {
    fat: &'a Fat,
    cluster: Option<u64>,
    /// Offset in the cluster.
    skip: u64,
    /// Bytes that are left of the file.
    left: u64,
    /// Whether a chain that ends early is an error.
    strict: bool,
    /// Clusters that may still come.
    steps: u64,
}

impl io::Read for FatFile<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 || buf.is_empty() {
            return Ok(0);
        }
        if self.skip == self.fat.cluster {
            let Some(now) = self.cluster else {
                return Ok(0);
            };
            self.steps = self
                .steps
                .checked_sub(1)
                .ok_or_else(|| wrong("its chain of clusters is a circle"))?;
            self.cluster = self.fat.next(now)?;
            self.skip = 0;
        }
        let Some(cluster) = self.cluster else {
            return match self.strict {
                true => Err(wrong("its clusters end before its length")),
                false => Ok(0),
            };
        };
        let most = self.left.min(self.fat.cluster - self.skip);
        let n = usize::try_from(most).map_or(buf.len(), |most| most.min(buf.len()));
        let place = self.fat.data + (cluster - 2) * self.fat.cluster + self.skip;
        self.fat
            .disk
            .read_at(self.fat.start + place, &mut buf[..n])?;
        self.skip += n as u64;
        self.left -= n as u64;
        Ok(n)
    }
}
