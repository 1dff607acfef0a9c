//! Reads a root file system from a tar: names and metadata into a [`Tree`], file contents
//! stay where they are (a tar file) or go to a spool (a pipe, a compressed tar).
//!
//! Formats: ustar, GNU and PAX (POSIX.1-2017, `pax`, "Extended Header"), with GNU's sparse
//! members in all their forms (GNU tar manual, "Storing Sparse Files") and extended attributes
//! as `SCHILY.xattr.*` records, which GNU tar, bsdtar, Go and so every container engine write.
//!
//! The `tar` crate knows the header fields. The walk from header to header is our own: the
//! crate neither tells where the parts of a sparse member lie, nor keeps PAX values that
//! contain a line feed, which file capabilities may.
//!
//! What is not a plain case has one outcome each: a name with `..`,
//! an entry below something that is no directory, a hard link to nothing and an unknown entry
//! type are errors that name the entry; an absolute name is taken below the root; an entry
//! below a symbolic link goes where the link leads inside the tree. Sockets cannot be in a
//! tar: the programs that write one leave them out and say so.

mod header;
mod input;
mod layer;
mod sparse;
#[cfg(test)]
mod tests;

use super::{Content, Kind, Meta, Node, NodeId, Rootfs, Stores, Time, Tree, TreeError, Xattrs};
use crate::error::Report;
use bstr::BString;
use header::{Entry, EntryType};
use input::Input;
pub(super) use input::decompressed;
pub use layer::{Layers, Limits};
use std::fs::File;
use std::io::{self, Read};

/// What is wrong with a tar.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The tar ends inside of something.
    #[error("it is cut off at byte {at}, inside of {inside}")]
    Truncated {
        /// Bytes that were there.
        at: u64,
        /// What should have gone on.
        inside: String,
    },
    /// There is nothing in it.
    #[error("it is empty")]
    Empty,
    /// A header whose checksum is wrong.
    #[error("there is no tar header at byte {at}{}", if *.at == 0 { ": this is no tar" } else { ": it is damaged" })]
    Header {
        /// Where the header should be.
        at: u64,
    },
    /// A field that means nothing.
    #[error("the {field} of {name:?} (header at byte {at}) is malformed")]
    Field {
        /// The field.
        field: &'static str,
        /// Name of the entry, as far as it is known.
        name: BString,
        /// Where the header lies.
        at: u64,
    },
    /// An entry type that no file system object comes from.
    #[error("the entry {name:?} has the unknown type {kind:?}")]
    UnknownType {
        /// Name of the entry.
        name: BString,
        /// The type flag.
        kind: char,
    },
    /// An entry that does not fit the entries before it.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// What no honest tar has.
    #[error("{0}")]
    Refused(String),
    /// The tar could not be read, or its contents not be spooled.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<TarError> for Report {
    fn from(error: TarError) -> Report {
        let hint = match &error {
            TarError::Truncated { .. } | TarError::Empty | TarError::Header { .. } => {
                "make the tar again; it must be the output of `docker export`, or a tar of a whole root file system"
            }
            TarError::Tree(TreeError::DotDot(_)) | TarError::Refused(_) => {
                "a tar like this was made to do harm: do not trust it"
            }
            TarError::Io(e) if e.kind() == io::ErrorKind::StorageFull => {
                "free some space where the image is written: the file contents wait there"
            }
            _ => "make the tar again with GNU tar or a container engine",
        };
        // The error stays the source, so its own causes are told as well.
        Report::failure("reading the root file system's tar")
            .hint(hint)
            .because(error)
    }
}

/// Reads a tar file. If it is not compressed, file contents are left in it: it must not
/// change until the image is written. `spool_dir` is where contents go otherwise.
pub fn from_file(file: File, spool_dir: &camino::Utf8Path) -> Result<Rootfs, TarError> {
    let regular = file.metadata()?.is_file();
    let mut magic = [0; 6];
    let n = if regular {
        std::os::unix::fs::FileExt::read_at(&file, &mut magic, 0)?
    } else {
        0
    };
    if regular && !input::is_compressed(&magic[..n]) {
        read(&mut input::InFile::new(file)?)
    } else {
        from_stream(file, spool_dir)
    }
}

/// Reads a tar from a stream (a pipe), which may be compressed by gzip, xz or zstd. File
/// contents go to a nameless file in `spool_dir`, which vanishes with the last use of it.
pub fn from_stream(
    stream: impl Read + 'static,
    spool_dir: &camino::Utf8Path,
) -> Result<Rootfs, TarError> {
    read(&mut input::Spooled::new(stream, spool_dir)?)
}

fn read(input: &mut dyn Input) -> Result<Rootfs, TarError> {
    let mut stores = Stores::default();
    let store = stores.add(input.store()?);
    // Until the tar tells more of it: what every distribution gives its root directory.
    let mut tree = Tree::new(Meta::root(0o755, 0));
    let epoch = read_into(&mut tree, store, input)?;
    Ok(Rootfs {
        tree,
        stores,
        epoch,
    })
}

/// The newest time that counts, in seconds: a file from the future must not take the image
/// with it.
const LATEST: i64 = u32::MAX as i64;

/// Reads all entries into `tree`; returns the newest time among them, in seconds, but at most
/// what an ext4 superblock and a FAT can tell (2106-02-07).
fn read_into(tree: &mut Tree, store: u32, input: &mut dyn Input) -> Result<i64, TarError> {
    let mut newest = 0;
    let mut any = false;
    let mut state = header::Globals::default();
    while let Some(entry) = header::next(input, &mut state)? {
        any = true;
        newest = newest.max(entry.mtime.secs.min(LATEST));
        add(tree, store, input, entry)?;
    }
    input.drain()?;
    if any {
        Ok(newest)
    } else {
        Err(TarError::Empty)
    }
}

/// Puts one entry into the tree and returns its node.
fn add(
    tree: &mut Tree,
    store: u32,
    input: &mut dyn Input,
    entry: Entry,
) -> Result<NodeId, TarError> {
    let kind = match entry.kind {
        EntryType::HardLink => {
            let target = tree
                .lookup(&entry.link)
                .ok_or_else(|| TreeError::HardLink {
                    path: entry.path.clone(),
                    why: format!("there is no {:?}", entry.link),
                })?;
            tree.link(&entry.path, target)?;
            return Ok(target);
        }
        EntryType::File => {
            let (start, len) = input.content(entry.size)?;
            Kind::File(match entry.sparse {
                Some(map) => Content::Sparse {
                    store,
                    size: map.size,
                    segments: map
                        .segments(start + map.skip, len - map.skip)
                        .ok_or_else(|| TarError::Field {
                            field: "sparse map",
                            name: entry.path.clone(),
                            at: entry.at,
                        })?,
                },
                None => Content::Stored { store, start, len },
            })
        }
        EntryType::Dir => Kind::dir(),
        EntryType::Symlink => Kind::symlink(&entry.link),
        EntryType::Char { major, minor } => Kind::Char { major, minor },
        EntryType::Block { major, minor } => Kind::Block { major, minor },
        EntryType::Fifo => Kind::Fifo,
    };
    let meta = Meta {
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        mtime: entry.mtime,
    };
    let mut node = Node::new(kind, meta);
    node.xattrs = (!entry.xattrs.is_empty()).then(|| Box::new(entry.xattrs));
    Ok(tree.insert(&entry.path, node)?)
}
