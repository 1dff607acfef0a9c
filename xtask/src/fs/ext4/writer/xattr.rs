//! Extended attributes: in the inode, in a block that files with the same attributes share, or
//! with their values in inodes of their own.
//!
//! Sources: Linux Documentation/filesystems/ext4/attributes.rst, fs/ext4/xattr.h and xattr.c.

use super::bytes::{crc, put16, put32};
use std::collections::HashMap;

/// Magic number of a block, and of the attributes in an inode.
pub(super) const MAGIC: u32 = 0xea02_0000;

/// Bytes of the header of a block.
const HEADER: usize = 32;

/// Bytes of an entry without its name.
const ENTRY: usize = 16;

/// Most files that share a block (`EXT4_XATTR_REFCOUNT_MAX`).
pub(super) const MOST_SHARED: u32 = 1024;

/// Most bytes of a value (`XATTR_SIZE_MAX`, Linux include/uapi/linux/limits.h).
pub(super) const LONGEST_VALUE: usize = 65536;

/// Prefixes that are numbers on the disk, longer ones first (`EXT4_XATTR_INDEX_*`).
const PREFIXES: [(&[u8], u8); 6] = [
    (b"system.posix_acl_access", 2),
    (b"system.posix_acl_default", 3),
    (b"user.", 1),
    (b"trusted.", 4),
    (b"security.", 6),
    (b"system.", 7),
];

/// An attribute. They are ordered as the kernel looks for them in a block: by the number of the
/// prefix, the length of the name, the name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Attribute {
    prefix: u8,
    len: u8,
    name: Box<[u8]>,
    pub(super) value: Box<[u8]>,
}

impl Attribute {
    /// The attribute of that full name; nothing if ext4 cannot hold it.
    pub(super) fn new(name: &[u8], value: &[u8]) -> Option<Attribute> {
        let (prefix, rest) = PREFIXES.iter().find_map(|(prefix, number)| {
            let rest = name.strip_prefix(*prefix)?;
            // An access control list has no more of a name, all others have some.
            (rest.is_empty() == matches!(number, 2 | 3)).then_some((*number, rest))
        })?;
        Some(Attribute {
            prefix,
            len: u8::try_from(rest.len()).ok()?,
            name: rest.into(),
            value: value.into(),
        })
    }

    /// Whether the other one has the same name.
    pub(super) fn same_name(&self, other: &Attribute) -> bool {
        (self.prefix, &self.name) == (other.prefix, &other.name)
    }

    fn entry_len(&self) -> usize {
        (ENTRY + self.name.len()).next_multiple_of(4)
    }

    fn value_len(&self) -> usize {
        self.value.len().next_multiple_of(4)
    }
}

/// Where a value lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    Inode,
    Block,
}

/// The attributes of a file, and of every other file that has the same ones.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) list: Box<[Placed]>,
    /// How many files have it.
    pub(super) refs: u32,
    /// Whether any of it lies in a block.
    pub(super) has_block: bool,
    /// Number of that block, once it has one.
    pub(super) block: u64,
}

/// An attribute and where it lies.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) attribute: Attribute,
    pub(super) home: Home,
    /// Whether its value lies in an inode of its own.
    pub(super) outside: bool,
}

impl Placed {
    fn len(&self) -> usize {
        let value = if self.outside {
            0
        } else {
            self.attribute.value_len()
        };
        self.attribute.entry_len() + value
    }
}

/// Room for attributes in an inode, without their magic number and the mark of their end.
const INODE_ROOM: usize = 256 - 128 - 32 - 8;

/// Room for attributes in a block, without its header and the mark of their end.
fn block_room(block: usize) -> usize {
    block - HEADER - 4
}

/// Decides where attributes lie; nothing if they do not fit.
fn place(attributes: Vec<Attribute>, block: usize, outside: bool) -> Option<Vec<Placed>> {
    let mut list: Vec<Placed> = attributes
        .into_iter()
        .map(|attribute| Placed {
            attribute,
            home: Home::Inode,
            outside: false,
        })
        .collect();
    loop {
        if homes(&mut list, block) {
            return Some(list);
        }
        // The largest value that lies here goes.
        let largest = list
            .iter_mut()
            .filter(|p| !p.outside && !p.attribute.value.is_empty())
            .max_by_key(|p| p.attribute.value.len());
        match largest {
            Some(largest) if outside => largest.outside = true,
            _ => return None,
        }
    }
}

/// All of them in the inode, or all in a block, or in both. Whether they fit.
fn homes(list: &mut [Placed], block: usize) -> bool {
    let total: usize = list.iter().map(Placed::len).sum();
    let all = |list: &mut [Placed], home| list.iter_mut().for_each(|p| p.home = home);
    if total <= INODE_ROOM {
        all(list, Home::Inode);
        return true;
    }
    all(list, Home::Block);
    if total <= block_room(block) {
        return true;
    }
    let lens: Vec<usize> = list.iter().map(Placed::len).collect();
    let inside = fullest(&lens, INODE_ROOM);
    for n in &inside {
        list[*n].home = Home::Inode;
    }
    let kept: usize = inside.iter().map(|n| lens[*n]).sum();
    total - kept <= block_room(block)
}

/// Which of these lengths, multiples of 4, fill the most of `room` together.
fn fullest(lens: &[usize], room: usize) -> Vec<usize> {
    // For each sum that can be reached, the last length of it.
    let mut last: Vec<Option<usize>> = vec![None; room + 1];
    for (n, &len) in lens.iter().enumerate() {
        for sum in (len..=room).rev() {
            let before = sum - len;
            if last[sum].is_none() && (before == 0 || last[before].is_some_and(|m| m < n)) {
                last[sum] = Some(n);
            }
        }
    }
    let mut sum = (0..=room).rev().find(|sum| last[*sum].is_some());
    let mut chosen = Vec::new();
    while let Some(n) = sum.and_then(|sum| last[sum]) {
        chosen.push(n);
        sum = sum.map(|sum| sum - lens[n]);
    }
    chosen
}

/// All sets of attributes.
#[derive(Debug, Default)]
pub(super) struct Sets {
    pub(super) sets: Vec<Set>,
    known: HashMap<Box<[Attribute]>, u32>,
}

impl Sets {
    /// The number of the set with these attributes, which are in order, for one more file.
    /// Nothing if they do not fit.
    pub(super) fn add(
        &mut self,
        attributes: Vec<Attribute>,
        block: usize,
        outside: bool,
    ) -> Option<u32> {
        if let Some(&number) = self.known.get(&attributes[..]) {
            let set = &mut self.sets[number as usize];
            if !set.has_block || set.refs < MOST_SHARED {
                set.refs += 1;
                return Some(number);
            }
        }
        let number = u32::try_from(self.sets.len()).ok()?;
        let list = place(attributes.clone(), block, outside)?.into_boxed_slice();
        self.known.insert(attributes.into(), number);
        self.sets.push(Set {
            has_block: list.iter().any(|p| p.home == Home::Block),
            list,
            refs: 1,
            block: 0,
        });
        Some(number)
    }

    /// Takes a file back from a set.
    pub(super) fn drop_one(&mut self, number: u32) {
        if let Some(set) = self.sets.get_mut(number as usize) {
            set.refs = set.refs.saturating_sub(1);
        }
    }

    /// What is only needed while attributes come.
    pub(super) fn forget(&mut self) {
        self.known = HashMap::new();
    }
}

/// The hash of an entry (`ext4_xattr_hash_entry`). Letters of names count as `signed char`,
/// which every e2fsck on x86 takes.
fn entry_hash(name: &[u8], words: impl Iterator<Item = u32>) -> u32 {
    let hash = name.iter().fold(0_u32, |hash, byte| {
        hash.rotate_left(5) ^ i32::from(i8::from_ne_bytes([*byte])).cast_unsigned()
    });
    words.fold(hash, |hash, word| hash.rotate_left(16) ^ word)
}

/// The words of a value, the last one filled with zeros.
fn value_words(value: &[u8]) -> impl Iterator<Item = u32> {
    value.chunks(4).map(|part| {
        let mut word = [0; 4];
        word[..part.len()].copy_from_slice(part);
        u32::from_le_bytes(word)
    })
}

/// Number of the inode that holds a value, by the value.
pub(super) type Outside<'a> = &'a dyn Fn(&[u8]) -> u32;

impl Set {
    /// Puts the entries that lie at `home` into `area`; places of values count from the start
    /// of `area` on. The first entry lies at `first`.
    fn entries(&self, home: Home, area: &mut [u8], first: usize, seed: u32, outside: Outside<'_>) {
        let (mut at, mut end) = (first, area.len());
        for placed in self.list.iter().filter(|p| p.home == home) {
            let Attribute {
                prefix,
                len,
                name,
                value,
            } = &placed.attribute;
            area[at] = *len;
            area[at + 1] = *prefix;
            put32(area, at + 8, u32::try_from(value.len()).unwrap_or(u32::MAX));
            let mut hash = 0;
            if placed.outside {
                put32(area, at + 4, outside(value));
                hash = entry_hash(name, std::iter::once(crc(seed, value)));
            } else {
                if !value.is_empty() {
                    end -= placed.attribute.value_len();
                    // At most 64 KiB, and the first value of the largest block lies below.
                    put16(area, at + 2, u16::try_from(end).unwrap_or(u16::MAX));
                    area[end..end + value.len()].copy_from_slice(value);
                }
                if home == Home::Block {
                    hash = entry_hash(name, value_words(value));
                }
            }
            put32(area, at + 12, hash);
            area[at + ENTRY..at + ENTRY + name.len()].copy_from_slice(name);
            at += placed.attribute.entry_len();
        }
    }

    /// Blocks of the values that lie in inodes of their own: they count as those of each file
    /// that has them.
    pub(super) fn outside_blocks(&self, block: u64) -> u64 {
        let outside = self.list.iter().filter(|p| p.outside);
        outside
            .map(|p| (p.attribute.value.len() as u64).div_ceil(block))
            .sum()
    }

    /// Whether any of it lies in the inode.
    pub(super) fn in_inode(&self) -> bool {
        self.list.iter().any(|p| p.home == Home::Inode)
    }

    /// Puts what lies in the inode into `area`, the end of the inode.
    pub(super) fn to_inode(&self, area: &mut [u8], seed: u32, outside: Outside<'_>) {
        put32(area, 0, MAGIC);
        self.entries(Home::Inode, &mut area[4..], 0, seed, outside);
    }

    /// The block, with its checksum.
    pub(super) fn to_block(&self, block: &mut [u8], seed: u32, outside: Outside<'_>) {
        put32(block, 0, MAGIC);
        put32(block, 4, self.refs);
        put32(block, 8, 1);
        self.entries(Home::Block, block, HEADER, seed, outside);
        let mut hash = 0_u32;
        let mut at = HEADER;
        for placed in self.list.iter().filter(|p| p.home == Home::Block) {
            let entry = [
                block[at + 12],
                block[at + 13],
                block[at + 14],
                block[at + 15],
            ];
            let entry = u32::from_le_bytes(entry);
            if entry == 0 {
                hash = 0;
                break;
            }
            hash = hash.rotate_left(16) ^ entry;
            at += placed.attribute.entry_len();
        }
        put32(block, 12, hash);
        let sum = crc(crc(seed, &self.block.to_le_bytes()), block);
        put32(block, 16, sum);
    }
}
