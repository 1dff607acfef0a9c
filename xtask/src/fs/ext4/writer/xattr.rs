//! Extended attributes: in the inode, in a block that files with the same attributes share, or with
//! their values in separate inodes.
//!
//! Sources: Linux Documentation/filesystems/ext4/attributes.rst, fs/ext4/xattr.h and xattr.c.

use super::bytes::{crc, put16, put32};
use std::collections::HashMap;

/// Magic number of a block, and of the attributes in an inode.
pub(super) const MAGIC: u32 = 0xea02_0000;

/// Length of a block's header in bytes.
const HEADER: usize = 32;

/// Length of an entry without its name, in bytes.
const ENTRY: usize = 16;

/// Largest number of files that share a block (`EXT4_XATTR_REFCOUNT_MAX`).
pub(super) const MOST_SHARED: u32 = 1024;

/// Longest value in bytes (`XATTR_SIZE_MAX`, Linux include/uapi/linux/limits.h).
pub(super) const LONGEST_VALUE: usize = 65536;

/// Prefixes that are stored as numbers, longer ones first (`EXT4_XATTR_INDEX_*`).
const PREFIXES: [(&[u8], u8); 6] = [
    (b"system.posix_acl_access", 2),
    (b"system.posix_acl_default", 3),
    (b"user.", 1),
    (b"trusted.", 4),
    (b"security.", 6),
    (b"system.", 7),
];

/// An attribute. They are ordered as the kernel expects in a block: by the number of the prefix,
/// the length of the name, the name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Attribute {
    prefix: u8,
    len: u8,
    name: Box<[u8]>,
    pub(super) value: Box<[u8]>,
}

impl Attribute {
    /// The attribute with that full name; `None` if ext4 cannot store it.
    pub(super) fn new(name: &[u8], value: &[u8]) -> Option<Attribute> {
        let (prefix, rest) = PREFIXES.iter().find_map(|(prefix, number)| {
            let rest = name.strip_prefix(*prefix)?;
            // For an access control list, the prefix is the full name; all others have a name after
            // it.
            (rest.is_empty() == matches!(number, 2 | 3)).then_some((*number, rest))
        })?;
        // This one stores contents, and programs do not see it.
        if (prefix, rest) == (SYSTEM, DATA) {
            return None;
        }
        Some(Attribute {
            prefix,
            len: u8::try_from(rest.len()).ok()?,
            name: rest.into(),
            value: value.into(),
        })
    }

    /// Whether the other attribute has the same name.
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

/// Where a value is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    Inode,
    Block,
}

/// The attributes of a file, shared by all files with the same ones.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) list: Box<[Placed]>,
    /// Number of files that have it.
    pub(super) refs: u32,
    /// Whether any of it is in a block.
    pub(super) has_block: bool,
    /// Number of that block, once it is assigned.
    pub(super) block: u64,
}

/// An attribute and its location.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) attribute: Attribute,
    pub(super) home: Home,
    /// Whether its value is in a separate inode.
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

/// Bytes for attributes in an inode, without the magic number and the end mark.
const INODE_ROOM: usize = 256 - 128 - 32 - 8;

/// Bytes for attributes in a block, without the header and the end mark.
fn block_room(block: usize) -> usize {
    block - HEADER - 4
}

/// Decides where attributes are stored; `None` if they do not fit.
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
        // The largest value that is still here moves to an inode.
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

/// Tries all of them in the inode, all in a block, or in both. Returns whether they fit.
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

/// Selects the lengths, multiples of 4, that together fill the most of `room`.
fn fullest(lens: &[usize], room: usize) -> Vec<usize> {
    // For each sum that can be reached, its last length.
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
    /// Counts one more file with these attributes, which must be sorted, and returns the number of
    /// the set. `None` if they do not fit.
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

    /// Removes one file from the count of a set.
    pub(super) fn drop_one(&mut self, number: u32) {
        if let Some(set) = self.sets.get_mut(number as usize) {
            set.refs = set.refs.saturating_sub(1);
        }
    }

    /// Data that is needed only while attributes are added.
    pub(super) fn forget(&mut self) {
        self.known = HashMap::new();
    }
}

/// The hash of an entry (`ext4_xattr_hash_entry`). Letters of names count as `signed char`, which
/// every e2fsck on x86 accepts.
fn entry_hash(name: &[u8], words: impl Iterator<Item = u32>) -> u32 {
    let hash = name.iter().fold(0_u32, |hash, byte| {
        hash.rotate_left(5) ^ i32::from(i8::from_ne_bytes([*byte])).cast_unsigned()
    });
    words.fold(hash, |hash, word| hash.rotate_left(16) ^ word)
}

/// The words of a value, the last one padded with zeros.
fn value_words(value: &[u8]) -> impl Iterator<Item = u32> {
    value.chunks(4).map(|part| {
        let mut word = [0; 4];
        word[..part.len()].copy_from_slice(part);
        u32::from_le_bytes(word)
    })
}

/// The inode that holds a value, by the index of the value.
pub(super) type Outside<'a> = &'a dyn Fn(&[u8]) -> u32;

/// Name and prefix of the attribute that holds the part of a file or directory in an inode that is
/// not in `i_block` (Linux fs/ext4/xattr.h, `EXT4_XATTR_SYSTEM_DATA`).
const DATA: &[u8] = b"data";
const SYSTEM: u8 = 7;

/// Bytes of contents that an inode with these attributes can store besides those in `i_block`; `None`
/// if it can store none, not even a mark that it does.
pub(super) fn inline_room(set: Option<&Set>) -> Option<usize> {
    let used = set.map_or(0, Set::inode_len) + ENTRY + DATA.len();
    INODE_ROOM.checked_sub(used)
}

/// Writes attributes, and contents of the inode that are not in `i_block`, into `area`, the end of
/// the inode.
pub(super) fn to_inode(
    set: Option<&Set>,
    data: Option<&[u8]>,
    area: &mut [u8],
    seed: u32,
    outside: Outside<'_>,
) {
    put32(area, 0, MAGIC);
    let area = &mut area[4..];
    let (at, end) = match set {
        Some(set) => set.entries(Home::Inode, area, 0, seed, outside),
        None => (0, area.len()),
    };
    let Some(data) = data else { return };
    // It fits, see `inline_room`.
    (area[at], area[at + 1]) = (DATA.len() as u8, SYSTEM);
    if !data.is_empty() {
        let start = end - data.len().next_multiple_of(4);
        put16(area, at + 2, u16::try_from(start).unwrap_or(u16::MAX));
        area[start..start + data.len()].copy_from_slice(data);
    }
    put32(area, at + 8, u32::try_from(data.len()).unwrap_or(u32::MAX));
    area[at + ENTRY..at + ENTRY + DATA.len()].copy_from_slice(DATA);
}

impl Set {
    /// Writes the entries that are stored at `home` into `area`; value offsets count from the start
    /// of `area`. The first entry is at `first`. Returns the end of the entries and the start of the
    /// values.
    fn entries(
        &self,
        home: Home,
        area: &mut [u8],
        first: usize,
        seed: u32,
        outside: Outside<'_>,
    ) -> (usize, usize) {
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
                    // At most 64 KiB, and the first value of the largest block is below that.
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
        (at, end)
    }

    /// Blocks of the values in separate inodes: they are counted for every file that uses them.
    pub(super) fn outside_blocks(&self, block: u64) -> u64 {
        let outside = self.list.iter().filter(|p| p.outside);
        outside
            .map(|p| (p.attribute.value.len() as u64).div_ceil(block))
            .sum()
    }

    /// Whether any of it is in the inode.
    pub(super) fn in_inode(&self) -> bool {
        self.list.iter().any(|p| p.home == Home::Inode)
    }

    /// Bytes of the inode that it needs.
    fn inode_len(&self) -> usize {
        let inside = self.list.iter().filter(|p| p.home == Home::Inode);
        inside.map(Placed::len).sum()
    }

    /// Makes the block, with its checksum.
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
