//! Limits for the memory, disk space and time that an input may use. Input is not trusted: a small
//! file must not expand to a huge one unless the user allows it.
//!
//! One [`Budget`] belongs to one input and everything that is packed in it. Limits of the formats
//! themselves (a path, a name) are errors of the tree and of the tar reader.

use crate::error::Report;
use crate::model::size::{GIB, Size};
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Longest path and longest target of a symbolic link in bytes (Linux's `PATH_MAX`, limits.h,
/// without the final NUL).
pub const MAX_PATH: usize = 4095;

/// Default limits of the tree: at most this number of entries...
pub const MOST_ENTRIES: u64 = 1_000_000;

/// ... and for a compressed input, which can contain far more of them, at most this number plus one
/// per [`BYTES_PER_ENTRY`] bytes of the input. In an uncompressed tar, each entry has that many
/// bytes anyway.
const FREE_ENTRIES: u64 = 350_000;
const BYTES_PER_ENTRY: u64 = 512;

/// Unit in which other costs are counted, in bytes: more than the memory that an entry needs until
/// the disk is written. Measured: 310 for a file, 300 for a directory, with names of usual length.
const ENTRY: u64 = 1024;

/// Memory per run of a sparse file, in bytes: in the tar's map, in the tree and in the file
/// system's extents.
const SEGMENT: u64 = 128;

/// Length of a name in bytes that is not counted as an extra cost.
const SHORT: u64 = 64;

/// Largest number of steps from a name to the next for all path look-ups together. A tree with a
/// million files needs 30 million; the limit takes some seconds.
const MOST_STEPS: u64 = 100_000_000;

/// Default limits of unpacking: this number of bytes, plus a multiple of the input's own size. Data
/// that compresses better consists of zeros.
const UNPACKED_FREE: u64 = GIB;
const UNPACKED_TIMES: u64 = 256;

/// Limits that the user sets for a trusted input.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// Most bytes to which it may unpack, including its compression and its layers. Default: 1 GiB,
    /// and 256 bytes for each byte of the input.
    pub unpacked: Option<u64>,
    /// Most files, directories and links. Default: 1,000,000; for a compressed input, 350,000 and
    /// one for each 512 bytes of it.
    pub entries: Option<u64>,
}

/// The limit that was exceeded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Exceeded {
    /// Unpacked bytes.
    #[error("it unpacks to more than {}", Size(*.0))]
    Unpacked(u64),
    /// Files, directories, links and their metadata.
    #[error(
        "it has more than {most} entries: {nodes} files, directories and links, and {} of long names, attributes and sparse maps (each KiB counts as one)",
        Size(*.more)
    )]
    Entries {
        /// Largest number of entries.
        most: u64,
        /// Number of nodes and additional names so far.
        nodes: u64,
        /// Bytes of their metadata.
        more: u64,
    },
    /// Steps for following symbolic links.
    #[error(
        "its symbolic links lead to other links: following them needs more than {MOST_STEPS} steps"
    )]
    Steps,
}

impl Exceeded {
    /// What the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Exceeded::Unpacked(_) => {
                "if you trust it, allow it with --max-unpacked, e.g. --max-unpacked 64G"
            }
            Exceeded::Entries { .. } => {
                "if you trust it, allow it with --max-entries, e.g. --max-entries 5000000: each needs about 300 bytes of memory"
            }
            Exceeded::Steps => {
                "this input looks malicious: do not trust it; pack it again without links to links"
            }
        }
    }

    /// Finds it in the cause of a read error.
    pub fn of(error: &io::Error) -> Option<&Exceeded> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<Exceeded> for Report {
    fn from(exceeded: Exceeded) -> Report {
        Report::failure("reading the root file system")
            .hint(exceeded.hint())
            .because(exceeded)
    }
}

impl From<Exceeded> for io::Error {
    fn from(exceeded: Exceeded) -> io::Error {
        io::Error::other(exceeded)
    }
}

/// Limits of one input, and what it has used so far. Clones share the counters.
#[derive(Debug, Clone, Default)]
pub struct Budget(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    limits: Limits,
    /// Bytes of the input itself, as far as it was read.
    packed: AtomicU64,
    unpacked: AtomicU64,
    nodes: AtomicU64,
    more: AtomicU64,
    steps: AtomicU64,
}

impl Budget {
    /// A budget with nothing used yet.
    pub fn new(limits: Limits) -> Budget {
        Budget(Arc::new(Counts {
            limits,
            ..Counts::default()
        }))
    }

    /// Adds to the bytes of the input itself, which raise other limits.
    pub(super) fn add_packed(&self, bytes: u64) {
        add(&self.0.packed, bytes);
    }

    /// Most bytes to which the input may unpack, considering what was read so far.
    fn most_unpacked(&self) -> u64 {
        let packed = self.0.packed.load(Relaxed);
        let usual = packed.saturating_mul(UNPACKED_TIMES);
        let usual = usual.saturating_add(UNPACKED_FREE);
        self.0.limits.unpacked.unwrap_or(usual)
    }

    /// Counts unpacked bytes.
    pub(super) fn unpack(&self, bytes: u64) -> Result<(), Exceeded> {
        let most = self.most_unpacked();
        match add(&self.0.unpacked, bytes) > most {
            true => Err(Exceeded::Unpacked(most)),
            false => Ok(()),
        }
    }

    /// Fails if a single packed size is larger than the limit for all unpacked bytes.
    pub(super) fn check_size(&self, bytes: u64) -> Result<(), Exceeded> {
        let most = self.most_unpacked();
        match bytes > most {
            true => Err(Exceeded::Unpacked(most)),
            false => Ok(()),
        }
    }

    /// Fails if an input that has not been fetched yet is larger than the limit that the user set,
    /// if any.
    pub fn check_fetch(&self, bytes: u64) -> Result<(), Exceeded> {
        match self.0.limits.unpacked {
            Some(most) if bytes > most => Err(Exceeded::Unpacked(most)),
            _ => Ok(()),
        }
    }

    /// Checks an input that needs no unpacking, if the user set a limit.
    pub(super) fn check_plain(&self) -> Result<(), Exceeded> {
        match self.0.limits.unpacked {
            Some(most) if self.0.packed.load(Relaxed) > most => Err(Exceeded::Unpacked(most)),
            _ => Ok(()),
        }
    }

    fn most_entries(&self) -> u64 {
        let packed = self.0.packed.load(Relaxed);
        let usual = (FREE_ENTRIES + packed / BYTES_PER_ENTRY).min(MOST_ENTRIES);
        self.0.limits.entries.unwrap_or(usual)
    }

    /// Counts a node with the bytes that belong to it: attributes and the target of a link.
    pub(super) fn node(&self, node: &super::Node) -> Result<(), Exceeded> {
        use super::{Content, Kind};
        add(&self.0.nodes, 1);
        // Counted twice, because the file system has its own copy.
        let attributes = node.xattrs.iter().flat_map(|x| x.iter());
        let attributes: usize = attributes.map(|(n, v)| 128 + 2 * (n.len() + v.len())).sum();
        let more = match &node.kind {
            Kind::Symlink(target) => (2 * target.len() as u64).saturating_sub(SHORT),
            Kind::File(Content::Sparse { segments, .. }) => SEGMENT * segments.len() as u64,
            _ => 0,
        };
        self.check(attributes as u64 + more)
    }

    /// Counts a name of a node; `further` says that the node already has one.
    pub(super) fn name(&self, name: &[u8], further: bool) -> Result<(), Exceeded> {
        add(&self.0.nodes, u64::from(further));
        self.check((2 * name.len() as u64).saturating_sub(SHORT))
    }

    fn check(&self, bytes: u64) -> Result<(), Exceeded> {
        let more = add(&self.0.more, bytes);
        let nodes = self.0.nodes.load(Relaxed);
        let most = self.most_entries();
        if nodes + more / ENTRY <= most {
            return Ok(());
        }
        Err(Exceeded::Entries { most, nodes, more })
    }

    /// Counts steps of a look-up. Returns whether any are left.
    pub(super) fn step(&self, steps: u64) -> bool {
        add(&self.0.steps, steps) <= MOST_STEPS
    }

    /// Fails if look-ups have used too many steps.
    pub fn check_steps(&self) -> Result<(), Exceeded> {
        match self.step(0) {
            true => Ok(()),
            false => Err(Exceeded::Steps),
        }
    }

    /// A stream whose bytes are counted as those of the input itself.
    pub(super) fn packed<R: Read>(&self, stream: R) -> impl Read + use<R> {
        let budget = self.clone();
        Counted {
            stream,
            count: move |bytes| {
                budget.add_packed(bytes);
                Ok(())
            },
        }
    }

    /// A stream whose bytes are counted as unpacked ones. It ends with an error if there are too
    /// many.
    pub(super) fn unpacked<R: Read>(&self, stream: R) -> impl Read + use<R> {
        let budget = self.clone();
        Counted {
            stream,
            count: move |bytes| Ok(budget.unpack(bytes)?),
        }
    }
}

impl From<Limits> for Budget {
    fn from(limits: Limits) -> Budget {
        Budget::new(limits)
    }
}

/// Adds, and returns the sum.
fn add(count: &AtomicU64, n: u64) -> u64 {
    count.fetch_add(n, Relaxed).saturating_add(n)
}

/// A stream that counts the bytes that are read.
struct Counted<R, C> {
    stream: R,
    count: C,
}

impl<R: Read, C: Fn(u64) -> io::Result<()>> Read for Counted<R, C> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.stream.read(buf)?;
        (self.count)(n as u64)?;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Kind, Meta, Node};
    use super::*;

    #[test]
    fn what_is_read_of_an_input_allows_more() {
        let budget = Budget::default();
        budget.unpack(UNPACKED_FREE).unwrap();
        assert_eq!(budget.unpack(1), Err(Exceeded::Unpacked(UNPACKED_FREE)));
        budget.add_packed(1);
        budget.unpack(255).unwrap();
        let budget = Budget::new(Limits {
            unpacked: Some(10),
            ..Limits::default()
        });
        let mut out = Vec::new();
        let error = budget
            .unpacked(&[0; 11][..])
            .read_to_end(&mut out)
            .unwrap_err();
        assert_eq!(Exceeded::of(&error), Some(&Exceeded::Unpacked(10)));
        // Bytes that need no unpacking count as well, if the user set a limit.
        budget.add_packed(10);
        budget.check_plain().unwrap();
        budget.add_packed(1);
        budget.check_plain().unwrap_err();
    }

    #[test]
    fn each_kind_of_metadata_counts() {
        let of = |kind: Kind| Node::new(kind, Meta::root(0o644, 0));
        let entries = |most| {
            Budget::new(Limits {
                entries: Some(most),
                ..Limits::default()
            })
        };
        let budget = entries(2);
        budget.node(&of(Kind::dir())).unwrap();
        budget.node(&of(Kind::Fifo)).unwrap();
        let error = budget.node(&of(Kind::Fifo)).unwrap_err();
        assert!(matches!(
            error,
            Exceeded::Entries {
                most: 2,
                nodes: 3,
                ..
            }
        ));
        let text = error.to_string();
        assert!(text.contains("more than 2 entries: 3 files"), "{text}");
        assert!(error.hint().contains("--max-entries"));
        let mut many = of(Kind::Fifo);
        let xattrs = [("user.x".into(), vec![0; 10_000].into())];
        many.xattrs = Some(Box::new(xattrs.into()));
        entries(19).node(&of(Kind::Fifo)).unwrap();
        entries(19).node(&many).unwrap_err();
        let budget = entries(2);
        budget.name(b"short", true).unwrap();
        for _ in 0..2 {
            budget.name(&[b'x'; 255], false).unwrap();
        }
        budget.name(&[b'x'; 255], false).unwrap();
        budget.name(b"short", true).unwrap_err();
    }
}
