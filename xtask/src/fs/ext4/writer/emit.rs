//! Writes a file system: every block that is not zero, once, in ascending order.

use super::areas::{Area, Runs, What};
use super::bytes::index;
use super::volume::{Item, Volume};
use std::ops::Range;

/// Largest number of inode bytes that are made at once.
const CHUNK: u64 = 256 << 10;

/// Receives a file system, piece by piece. Gaps between two pieces are zero.
pub trait Out {
    /// The error of the receiver.
    type Error;

    /// `bytes` are at offset `at`.
    fn metadata(&mut self, at: u64, bytes: &[u8]) -> Result<(), Self::Error>;

    /// At offset `at` are `len` bytes of the file with the caller's `handle`, starting at byte
    /// `from` of the file.
    fn content(&mut self, at: u64, handle: u64, from: u64, len: u64) -> Result<(), Self::Error>;
}

/// Writes an item's blocks `from..to`, counted from its first one, which start at block `at`.
pub(super) struct Part {
    pub(super) at: u64,
    pub(super) from: u64,
    pub(super) to: u64,
}

impl Volume {
    /// Writes the whole file system.
    pub fn write<O: Out>(&self, out: &mut O) -> Result<(), O::Error> {
        self.write_range(0..self.size(), out)
    }

    /// Writes the blocks that contain a byte of this range, and perhaps some near them.
    pub fn write_range<O: Out>(&self, range: Range<u64>, out: &mut O) -> Result<(), O::Error> {
        let block = self.geometry.block;
        let wanted = range.start / block..range.end.div_ceil(block);
        if range.is_empty() {
            return Ok(());
        }
        if self.geometry.first == 1 && wanted.start == 0 {
            out.metadata(0, &self.boot)?;
        }
        // The last item that begins before the range may extend into it.
        let order = &self.placed.order;
        let before = order.partition_point(|item| self.first_of(*item) <= wanted.start);
        let order = &order[before.saturating_sub(1)..];
        let from = order
            .first()
            .map_or(wanted.start, |item| self.first_of(*item));
        let mut areas = self.geometry.areas_after(from.min(wanted.start));
        for item in order {
            let first = self.first_of(*item);
            if first >= wanted.end {
                break;
            }
            let mut done = 0;
            let dir = self.dir(*item);
            // All areas that are left end after `first`, so no search is needed.
            let runs = Runs {
                areas,
                at: first,
                left: self.all_blocks(*item),
            };
            for (start, len) in runs {
                while let Some((area, rest)) = areas.split_first()
                    && area.start < start
                {
                    self.area(area, &wanted, out)?;
                    areas = rest;
                }
                let from = wanted.start.clamp(start, start + len) - start;
                let to = wanted.end.clamp(start, start + len) - start;
                if from < to {
                    let part = Part {
                        at: start + from,
                        from: done + from,
                        to: done + to,
                    };
                    self.part(*item, dir.as_ref(), &part, out)?;
                }
                done += len;
            }
        }
        for area in areas.iter().take_while(|a| a.start < wanted.end) {
            self.area(area, &wanted, out)?;
        }
        Ok(())
    }

    fn first_of(&self, item: Item) -> u64 {
        match item {
            Item::Node(node) => self.nodes[node as usize].first,
            Item::Set(set) => self.sets[set as usize].block,
            Item::Resize(block) => block,
        }
    }

    fn all_blocks(&self, item: Item) -> u64 {
        match item {
            Item::Node(node) => {
                let node = &self.nodes[node as usize];
                self.blocks_of(node) + u64::from(node.extra)
            }
            Item::Set(_) | Item::Resize(_) => 1,
        }
    }

    /// Writes the wanted part of one metadata area.
    fn area<O: Out>(&self, area: &Area, wanted: &Range<u64>, out: &mut O) -> Result<(), O::Error> {
        let block = self.geometry.block;
        let from = wanted.start.clamp(area.start, area.end()) - area.start;
        let to = wanted.end.clamp(area.start, area.end()) - area.start;
        if from >= to {
            return Ok(());
        }
        let at = (area.start + from) * block;
        let mut bytes = vec![0; index(block)];
        match area.what {
            What::Super(group) => {
                // The first one may have a boot sector before it, in the same block.
                let mut both = Vec::new();
                if group == 0 && self.geometry.first == 0 {
                    both.extend_from_slice(&self.boot);
                }
                both.extend(self.superblock(group));
                out.metadata(at, &both)
            }
            What::Descriptors(first) => out.metadata(
                at,
                &self.descriptors[index((first + from) * block)..index((first + to) * block)],
            ),
            What::Reserved(group) => {
                if group > 0 {
                    return Ok(());
                }
                for n in from..to {
                    bytes.fill(0);
                    self.reserved_block(n, &mut bytes);
                    out.metadata((area.start + n) * block, &bytes)?;
                }
                Ok(())
            }
            What::BlockBitmaps(group) => {
                for n in (from..to).filter(|n| !self.block_uninit(group + n)) {
                    self.block_bitmap(group + n, &mut bytes);
                    out.metadata((area.start + n) * block, &bytes)?;
                }
                Ok(())
            }
            What::InodeBitmaps(group) => {
                for n in (from..to).filter(|n| self.used_inodes(group + n) > 0) {
                    self.inode_bitmap(group + n, &mut bytes);
                    out.metadata((area.start + n) * block, &bytes)?;
                }
                Ok(())
            }
            What::Tables(group) => self.tables(group, area, from..to, out),
        }
    }

    /// Writes the used blocks of inode tables.
    fn tables<O: Out>(
        &self,
        first: u64,
        area: &Area,
        blocks: Range<u64>,
        out: &mut O,
    ) -> Result<(), O::Error> {
        let table = self.geometry.table;
        let in_block = self.geometry.block / super::INODE_SIZE;
        let chunk = (CHUNK / self.geometry.block).max(1);
        let mut bytes = Vec::new();
        for n in blocks.start / table..blocks.end.div_ceil(table) {
            let used = self.used_inodes(first + n).div_ceil(in_block);
            let mut from = blocks.start.saturating_sub(n * table);
            let to = (blocks.end - n * table).min(used);
            while from < to {
                let until = (from + chunk).min(to);
                self.table(first + n, from, until, &mut bytes);
                out.metadata(
                    (area.start + n * table + from) * self.geometry.block,
                    &bytes,
                )?;
                from = until;
            }
        }
        Ok(())
    }
}
