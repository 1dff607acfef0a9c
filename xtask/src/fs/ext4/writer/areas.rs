//! Areas of metadata, and the blocks between them.

/// Contents of an [`Area`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// The superblock of a group.
    Super(u64),
    /// Blocks of group descriptors, starting with the one of this number.
    Descriptors(u64),
    /// Blocks that group descriptors may grow into; those of the first group contain the numbers of
    /// the others.
    Reserved(u64),
    /// Block bitmaps, starting with the one of this group.
    BlockBitmaps(u64),
    /// Inode bitmaps, starting with the one of this group.
    InodeBitmaps(u64),
    /// Inode tables, starting with the one of this group.
    Tables(u64),
}

/// A run of metadata blocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Area {
    pub(super) start: u64,
    pub(super) len: u64,
    pub(super) what: What,
}

impl Area {
    pub(super) fn end(&self) -> u64 {
        self.start + self.len
    }
}

/// Location of a group's bitmaps and inode table.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Places {
    pub(super) block_bitmap: u64,
    pub(super) inode_bitmap: u64,
    pub(super) table: u64,
}

/// The runs of blocks, as (start, length), between metadata areas.
#[derive(Debug, Clone)]
pub(super) struct Runs<'a> {
    /// The areas that end after `at`.
    pub(super) areas: &'a [Area],
    /// The first block that may be used.
    pub(super) at: u64,
    /// Number of blocks.
    pub(super) left: u64,
}

impl Iterator for Runs<'_> {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<(u64, u64)> {
        if self.left == 0 {
            return None;
        }
        while let Some((area, rest)) = self.areas.split_first()
            && area.start <= self.at
        {
            self.at = area.end();
            self.areas = rest;
        }
        let until = self.areas.first().map_or(u64::MAX, |a| a.start);
        let (start, len) = (self.at, self.left.min(until - self.at));
        self.at += len;
        self.left -= len;
        Some((start, len))
    }
}
