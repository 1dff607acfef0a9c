//! Locations of the metadata areas: superblocks, group descriptors, bitmaps and inode tables.
//! Everything else is stored between them.
//!
//! Source: e2fsprogs lib/ext2fs/alloc_tables.c for the choices of mke2fs.

use super::areas::{Area, Places, Runs, What};
use super::bytes::index;
use super::geometry::{FLEX, Geometry};

impl Geometry {
    /// Assigns all locations; `None` if something does not fit.
    pub(super) fn arrange(&mut self) -> Option<()> {
        let mut areas = Vec::new();
        for group in 0..self.groups {
            let start = self.group_start(group);
            let base = self.base(group);
            if base > self.group_len(group) {
                return None;
            }
            let mut add = |start, len, what| {
                if len > 0 {
                    areas.push(Area { start, len, what });
                }
            };
            let mut at = start;
            if self.has_super(group) {
                add(start, 1, What::Super(group));
                at += 1;
            }
            let descriptors = self.descriptors_in(group);
            let len = descriptors.end - descriptors.start;
            add(at, len, What::Descriptors(descriptors.start));
            at += len;
            add(at, start + base - at, What::Reserved(group));
        }
        self.places = vec![Places::default(); index(self.groups)];
        let mut from = 0;
        while from < self.groups {
            let mut to = (from + FLEX).min(self.groups);
            // The last few groups are too short: their tables are stored with those before.
            let rest = to..(to + FLEX).min(self.groups);
            if !rest.is_empty() && rest.end == self.groups && !self.fits(&rest) {
                to = rest.end;
            }
            if self.tables(from..to, &mut areas) > self.blocks {
                return None;
            }
            from = to;
        }
        areas.sort_unstable_by_key(|a| a.start);
        self.areas = areas;
        Some(())
    }

    /// Whether the bitmaps and tables of these groups are sure to fit into them. Before each
    /// such base there may be a gap that is too short for a table.
    fn fits(&self, groups: &std::ops::Range<u64>) -> bool {
        let room: u64 = groups.clone().map(|g| self.group_len(g)).sum();
        let bases: u64 = groups.clone().map(|g| self.base(g)).sum();
        let gaps = groups.clone().skip(1).filter(|g| self.base(*g) > 0).count() as u64;
        let count = groups.end - groups.start;
        count * (2 + self.table) + bases + gaps * self.table <= room
    }

    /// Places the bitmaps and tables of these groups at the start of the first one. Returns the
    /// block after them.
    fn tables(&mut self, groups: std::ops::Range<u64>, areas: &mut Vec<Area>) -> u64 {
        let mut at = self.group_start(groups.start);
        let mut put = |this: &Geometry, len, what: What| {
            // Skip what is at the start of groups.
            loop {
                let group = this.group_of(at);
                let base_end = this.group_start(group) + this.base(group);
                let next = (group + 1..groups.end)
                    .find(|g| this.base(*g) > 0)
                    .map(|g| this.group_start(g));
                if at < base_end {
                    at = base_end;
                } else if let Some(next) = next.filter(|next| at + len > *next) {
                    at = next;
                } else {
                    break;
                }
            }
            let start = at;
            at += len;
            // Neighbours of the same kind are one area.
            let kind = std::mem::discriminant(&what);
            match areas.last_mut() {
                Some(last) if last.end() == start && std::mem::discriminant(&last.what) == kind => {
                    last.len += len;
                }
                _ => areas.push(Area { start, len, what }),
            }
            start
        };
        for group in groups.clone() {
            let place = put(self, 1, What::BlockBitmaps(group));
            self.places[index(group)].block_bitmap = place;
        }
        for group in groups.clone() {
            let place = put(self, 1, What::InodeBitmaps(group));
            self.places[index(group)].inode_bitmap = place;
        }
        for group in groups.clone() {
            let place = put(self, self.table, What::Tables(group));
            self.places[index(group)].table = place;
        }
        at
    }

    /// The metadata areas that end after block `at`.
    pub(super) fn areas_after(&self, at: u64) -> &[Area] {
        &self.areas[self.areas.partition_point(|a| a.end() <= at)..]
    }

    /// The runs of blocks, as (start, length), that `count` blocks occupy when they are stored
    /// between the metadata areas from block `at` on. They may go past the end of the file system.
    pub(super) fn runs(&self, at: u64, count: u64) -> Runs<'_> {
        Runs {
            areas: self.areas_after(at),
            at,
            left: count,
        }
    }
}
