//! Reads a root file system from a tar: names and metadata go into a [`Tree`]; file contents stay
//! where they are (a tar file) or go to a spool (a pipe, a compressed tar).
//!
//! Formats: ustar, GNU and PAX (POSIX.1-2017, `pax`, "Extended Header"), with all forms of GNU's
//! sparse members (GNU tar manual, "Storing Sparse Files"), and with extended attributes as
//! `SCHILY.xattr.*` records, which GNU tar, bsdtar, Go and so every container engine write.
//!
//! The `tar` crate decodes the header fields. Stepping from header to header is done here: the
//! crate does not say where the parts of a sparse member are, and does not keep PAX values that
//! contain a line feed, which file capabilities may contain.
//!
//! Each unusual case has one defined result. A name with `..`, an entry below something that is not
//! a directory, and a hard link to a missing file are errors that name the entry. An absolute name
//! is used below the root. An entry below a symbolic link goes to the target of the link, inside
//! the tree. Everything that GNU tar, bsdtar, Go or Python can read is read; what ext4 cannot store
//! is left out, and `notes` says so. Sockets cannot be in a tar: the programs that write one leave
//! them out and say so.

mod acl;
mod ahead;
mod attributes;
mod checksum;
mod foreign;
mod header;
mod input;
mod layer;
mod notes;
mod number;
mod packed;
mod pax;
mod sparse;
#[cfg(test)]
mod tests;

use super::budget::{Budget, Exceeded};
use super::{Content, Kind, Meta, Node, NodeId, Rootfs, Stores, Time, Tree, TreeError, Xattrs};
use crate::error::Report;
use bstr::BString;
pub use foreign::Cure;
use header::{Entry, EntryType};
use input::TarInput;
pub use layer::Layers;
use notes::Notes;
use packed::TooMuchMemory;
pub(super) use packed::{Unpacked, is_packed};
use std::fs::File;
use std::io::{self, Read};

/// Largest file in bytes: block numbers of a file in ext4 have 32 bits, and the last number is not
/// used (Linux fs/ext4/super.c, `ext4_max_size`; blocks of 4096 bytes).
pub const MAX_FILE: u64 = ((1 << 32) - 1) * 4096;

/// Why a tar cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The tar ends too early.
    #[error("it is cut off at byte {at}, inside {inside}")]
    Truncated {
        /// Length of the tar in bytes.
        at: u64,
        /// What is incomplete.
        inside: String,
    },
    /// The tar is empty.
    #[error("it is empty")]
    Empty,
    /// A header has a wrong checksum.
    #[error("there is no tar header at byte {at}{}", if *.at == 0 { ": this is not a tar" } else { ": it is damaged" })]
    Header {
        /// Expected offset of the header in bytes.
        at: u64,
    },
    /// A field has an invalid value.
    #[error("the {field} of {name:?} (header at byte {at}) is malformed")]
    Field {
        /// Name of the field.
        field: &'static str,
        /// Name of the entry, as far as it is known.
        name: BString,
        /// Offset of the header in bytes.
        at: u64,
    },
    /// The file is of another type, or has an unsupported compression.
    #[error("this is not a tar: it is {what}")]
    Foreign {
        /// Type of the file.
        what: &'static str,
        /// What to do with it.
        cure: Cure,
    },
    /// A file is too large for every ext4 file system.
    #[error("the file {name:?} has {size} bytes, more than the {MAX_FILE} that ext4 can hold")]
    TooLarge {
        /// Name of the entry.
        name: BString,
        /// Its size in bytes, including holes.
        size: u64,
    },
    /// A file starts in another volume of the archive.
    #[error("it is not the first volume of its archive: {name:?} continues from the previous one")]
    Volume {
        /// Name of the entry.
        name: BString,
    },
    /// An entry contradicts the entries before it.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Something that only a manipulated tar contains.
    #[error("{0}")]
    Refused(String),
    /// The tar could not be read, or its contents could not be spooled.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl TarError {
    /// The limit that was exceeded, if that is the reason.
    pub(super) fn exceeded(&self) -> Option<&Exceeded> {
        match self {
            TarError::Tree(TreeError::Budget(exceeded)) => Some(exceeded),
            TarError::Io(error) => Exceeded::of(error),
            _ => None,
        }
    }
}

impl From<TarError> for Report {
    fn from(error: TarError) -> Report {
        let hint = match &error {
            error if let Some(exceeded) = error.exceeded() => exceeded.hint(),
            TarError::Foreign { cure, .. } => {
                return Report::failure("reading the root file system's tar")
                    .hint(match cure {
                        Cure::Unpack(command) => {
                            format!("unpack it on the way: `{command} | cargo xtask image RECIPE --from -`")
                        }
                        Cure::Do(what) => (*what).to_owned(),
                    })
                    .because(error);
            }
            TarError::TooLarge { .. } => {
                "if the file is meant to be so large, it cannot be in the image; make the tar without it (`tar --exclude`)"
            }
            TarError::Volume { .. } => {
                "put the volumes together first: unpack them with `tar --multi-volume -x`, and make one tar"
            }
            TarError::Truncated { .. } | TarError::Empty | TarError::Header { .. } => {
                "make the tar again; it must be the output of `docker export`, or a tar of a whole root file system"
            }
            TarError::Tree(TreeError::DotDot(_)) | TarError::Refused(_) => {
                "this tar looks malicious: do not trust it"
            }
            TarError::Io(e) if let Some(memory) = TooMuchMemory::of(e) => memory.hint(),
            TarError::Io(e) if e.kind() == io::ErrorKind::StorageFull => {
                "free some space where the image is written: the file contents wait there"
            }
            _ => "make the tar again with GNU tar or a container engine",
        };
        // The error stays the source, so that its causes are printed as well.
        Report::failure("reading the root file system's tar")
            .hint(hint)
            .because(error)
    }
}

/// Reads a tar file. If it is not compressed, file contents stay in it: it must not change until
/// the image is written. Otherwise they go to a file in `spool_dir`.
pub fn from_file(file: File, spool_dir: &camino::Utf8Path) -> Result<Rootfs, TarError> {
    from_file_within(file, spool_dir, &Budget::default())
}

/// Does the same within the limits of `budget`.
pub fn from_file_within(
    file: File,
    spool_dir: &camino::Utf8Path,
    budget: &Budget,
) -> Result<Rootfs, TarError> {
    let regular = file.metadata()?.is_file();
    let mut head = [0; packed::HEAD];
    let n = if regular {
        std::os::unix::fs::FileExt::read_at(&file, &mut head, 0)?
    } else {
        0
    };
    if regular && packed::Form::of(&head[..n]).is_none() {
        let mut input = input::InFile::new(file, budget)?;
        read(input.store()?, budget, |tree, store, notes| {
            ahead::read_into(tree, store, &mut input, notes)
        })
    } else {
        from_stream_within(file, spool_dir, budget)
    }
}

/// Reads a tar from a stream (a pipe), which may be compressed with gzip, bzip2, xz, lzma, lzip or
/// zstd. File contents go to an unnamed file in `spool_dir`, which disappears after its last use.
pub fn from_stream(
    stream: impl Read + 'static,
    spool_dir: &camino::Utf8Path,
) -> Result<Rootfs, TarError> {
    from_stream_within(stream, spool_dir, &Budget::default())
}

/// Does the same within the limits of `budget`.
pub fn from_stream_within(
    stream: impl Read + 'static,
    spool_dir: &camino::Utf8Path,
    budget: &Budget,
) -> Result<Rootfs, TarError> {
    let mut input = input::Spooled::new(stream, spool_dir, budget)?;
    read(input.store()?, budget, |tree, store, notes| {
        let mut found = Found::default();
        let mut state = header::Globals::default();
        while let Some(entry) = header::next(&mut input, &mut state, notes)? {
            found.add(tree, store, entry)?;
        }
        found.end(&mut input, notes)
    })
}

/// Reads a tar whose contents will be in `store`. `into` gets the store's number, reads all entries
/// into the tree, and returns their newest time as [`Found::end`] does.
fn read(
    store: super::Store,
    budget: &Budget,
    into: impl FnOnce(&mut Tree, u32, &mut Notes) -> Result<i64, TarError>,
) -> Result<Rootfs, TarError> {
    let mut stores = Stores::default();
    let store = stores.add(store);
    // The default until the tar describes it: what every distribution uses for its root directory.
    let mut tree = Tree::within(Meta::root(0o755, 0), budget.clone());
    let mut notes = Notes::default();
    let epoch = into(&mut tree, store, &mut notes)?;
    let mut rootfs = Rootfs {
        tree,
        stores,
        epoch,
        notes: Vec::new(),
    };
    acl::settle(&mut rootfs, &mut notes)?;
    rootfs.notes = notes.texts();
    Ok(rootfs)
}

/// The newest time that counts, in seconds: one file from the future must not affect the image.
const LATEST: i64 = u32::MAX as i64;

/// What is known of the entries so far.
#[derive(Default)]
struct Found {
    /// Their newest time in seconds.
    newest: i64,
    any: bool,
}

impl Found {
    /// Adds an entry to the tree.
    fn add(&mut self, tree: &mut Tree, store: u32, entry: Entry) -> Result<(), TarError> {
        self.any = true;
        self.newest = self.newest.max(entry.mtime.secs.min(LATEST));
        add(tree, store, entry)?;
        Ok(())
    }

    /// Ends the tar. Returns the newest time of its entries in seconds, but at most the latest time
    /// that both an ext4 superblock and FAT can store (2106-02-07).
    fn end(&self, input: &mut dyn TarInput, notes: &mut Notes) -> Result<i64, TarError> {
        if !self.any {
            // It is not read to its end: it may be a device without an end.
            return Err(TarError::Empty);
        }
        input.drain(notes)?;
        Ok(self.newest)
    }
}

/// Adds one entry to the tree and returns its node.
fn add(tree: &mut Tree, store: u32, mut entry: Entry) -> Result<NodeId, TarError> {
    tree.check_steps().map_err(TreeError::from)?;
    let (start, len) = entry.content;
    let stored = Kind::File(Content::Stored { store, start, len });
    let kind = match entry.kind {
        EntryType::HardLink => {
            let target = tree.lookup(&entry.link);
            if target.is_none() && len > 0 {
                // The target of the link was left out of the tar.
                let node = node(stored, &mut entry);
                return Ok(tree.insert(&entry.path, node)?);
            }
            let target = target.ok_or_else(|| TreeError::HardLink {
                path: entry.path.clone(),
                why: format!("there is no {:?}", entry.link),
            })?;
            if len > 0 {
                // The last content counts, as with programs that unpack a tar.
                let node = tree.node_mut(target);
                if matches!(node.kind, Kind::File(_)) {
                    node.kind = stored;
                }
            }
            tree.link(&entry.path, target)?;
            return Ok(target);
        }
        EntryType::File => match &entry.sparse {
            Some(map) => Kind::File(Content::Sparse {
                store,
                size: map.size,
                segments: map
                    .segments(start + map.skip, len - map.skip)
                    .ok_or_else(|| TarError::Field {
                        field: "sparse map",
                        name: entry.path.clone(),
                        at: entry.at,
                    })?,
            }),
            None => stored,
        },
        EntryType::Dir => Kind::dir(),
        EntryType::Symlink => Kind::symlink(&entry.link),
        EntryType::Char { major, minor } => Kind::Char { major, minor },
        EntryType::Block { major, minor } => Kind::Block { major, minor },
        EntryType::Fifo => Kind::Fifo,
    };
    let node = node(kind, &mut entry);
    Ok(tree.insert(&entry.path, node)?)
}

/// Makes the node of an entry.
fn node(kind: Kind, entry: &mut Entry) -> Node {
    let meta = Meta {
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        mtime: entry.mtime,
    };
    let xattrs = std::mem::take(&mut entry.xattrs);
    let mut node = Node::new(kind, meta);
    node.xattrs = (!xattrs.is_empty()).then(|| Box::new(xattrs));
    node
}
