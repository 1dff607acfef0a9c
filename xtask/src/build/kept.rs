//! Volumes of an earlier image that are kept: they are copied from the disk that has them.

use crate::disk::table;
use crate::error::Report;
use crate::format::raw;
use crate::fs::ext4::Need;
use crate::fs::{Layout, Piece, Source};
use crate::model::MIB;
use crate::plan::VolumesFacts;
use crate::rootfs::{Content, Store, Stores};
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;
use uuid::Uuid;

/// The note about every image with volumes that were in use.
const PRIVATE: &str = "the image contains the data of its volumes, so only you may read its files on this host (mode 0600)";

const RAW: &str = "give a raw image; `qemu-img convert -O raw` makes one of another format";

/// The error if there is nothing that volumes could be kept for.
pub(super) fn none_to_keep() -> Report {
    Report::mistake(
        "the volumes of another disk are to be kept, but this image has no volumes on a partition",
    )
    .hint("leave --keep-volumes out, or name the image's volumes with --volume NAME:/path")
}

/// Volumes on the disk of an earlier image, which are copied to the new one.
#[derive(Debug, Clone)]
pub struct Kept {
    path: Utf8PathBuf,
    file: Arc<File>,
    /// What shows that the file was changed: its length and the time of its last change.
    state: (u64, i64, i64),
    /// First byte of the partition, and its length in bytes.
    start: u64,
    len: u64,
    superblock: Superblock,
}

/// What the superblock of an ext4 says.
#[derive(Debug, Clone, Copy)]
struct Superblock {
    uuid: Uuid,
    /// Size of the file system, and its free space, in bytes.
    size: u64,
    free: u64,
    unclean: bool,
    damaged: bool,
}

impl Kept {
    /// Finds the volumes with this UUID on the disk `path`, a raw image. Changes nothing there.
    pub(super) fn open(path: &Utf8Path, uuid: Uuid) -> Result<Kept, Report> {
        let failed = |e: io::Error| {
            Report::mistake(format!("reading the old disk {path}"))
                .because(e)
                .hint(RAW)
        };
        let file = fs::File::open(path).map_err(failed)?.into_parts().0;
        let meta = file.metadata().map_err(failed)?;
        if !meta.is_file() {
            return Err(
                Report::mistake(format!("the old disk {path} is not a regular file")).hint(RAW),
            );
        }
        let table = table::read(&mut &file).map_err(|e| {
            Report::mistake(format!(
                "reading the partition table of the old disk {path}"
            ))
            .because(e)
            .hint(RAW)
        })?;
        let partitions = table.map(|table| table.partitions).unwrap_or_default();
        let found = partitions.iter().find_map(|partition| {
            let superblock = Superblock::read(&file, partition.start)?;
            (superblock.uuid == uuid).then_some((partition, superblock))
        });
        let Some((partition, superblock)) = found else {
            return Err(Report::mistake(format!(
                "the old disk {path} has no volumes of an image with this name and architecture: none of its partitions ({}) has the file system {uuid}",
                partitions.len()
            ))
            .hint("give the new image the name of the old one (--name, or `name:` in recipe.yaml)"));
        };
        let wrong = |why: &str| {
            Report::mistake(format!(
                "the volumes on the old disk {path} cannot be kept: {why}"
            ))
        };
        if superblock.size > partition.len || partition.end() > meta.len() {
            return Err(wrong(
                "their file system is larger than their partition, or than the file",
            )
            .hint("copy the whole disk again"));
        }
        if superblock.damaged {
            return Err(wrong("their file system has errors")
                .hint("start the old machine, which repairs it, and shut it down"));
        }
        Ok(Kept {
            path: path.to_owned(),
            state: state(&file).map_err(failed)?,
            file: Arc::new(file),
            start: partition.start,
            len: partition.len,
            superblock,
        })
    }

    /// Refuses to write the file of a new image over the old disk.
    pub(super) fn is_not(&self, file: &Utf8Path) -> Result<(), Report> {
        match (file.canonicalize_utf8(), self.path.canonicalize_utf8()) {
            (Ok(new), Ok(old)) if new == old => Err(Report::mistake(format!(
                "the new image would replace the old disk {}, whose volumes it keeps",
                self.path
            ))
            .hint(
                "choose another folder with --output, and keep the old disk until the new one works",
            )),
            _ => Ok(()),
        }
    }

    /// What the plan needs to know. `need` is what the image would fill them with.
    pub(super) fn facts(&self, need: Need) -> VolumesFacts {
        VolumesFacts {
            need,
            kept: Some(self.len.next_multiple_of(MIB)),
        }
    }

    /// Free space in bytes.
    pub(super) fn free(&self) -> u64 {
        self.superblock.free
    }

    /// Notes for the user.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = vec![PRIVATE.to_owned()];
        if self.superblock.unclean {
            notes.push(format!(
                "the machine of {} was not shut down: the new one recovers the volumes from their journal, as after a power cut",
                self.path
            ));
        }
        notes
    }

    /// A layout of `len` bytes that copies the partition, without its holes.
    pub(super) fn layout(&self, len: u64, stores: &mut Stores) -> Result<Layout, Report> {
        let failed = |e: io::Error| Report::failure(format!("reading {}", self.path)).because(e);
        let file = self.file.try_clone().map_err(failed)?;
        let content = Content::Stored {
            store: stores.add(Store::new(file)),
            start: self.start,
            len: self.len,
        };
        let end = self.start + self.len;
        let (mut pieces, mut at) = (Vec::new(), self.start);
        while at < end {
            let (from, to) = raw::next_data(&self.file, at, end).map_err(failed)?;
            if from < to {
                pieces.push(Piece {
                    offset: from - self.start,
                    len: to - from,
                    source: Source::Content {
                        content: content.clone(),
                        from: from - self.start,
                    },
                });
            }
            at = to;
        }
        Layout::new(len, pieces).map_err(failed)
    }

    /// Fails if the disk was written to since it was opened.
    pub(super) fn is_unchanged(&self) -> io::Result<()> {
        match state(&self.file)? == self.state {
            true => Ok(()),
            false => Err(io::Error::other(format!(
                "{} was changed while its volumes were copied: turn its machine off first",
                self.path
            ))),
        }
    }
}

fn state(file: &File) -> io::Result<(u64, i64, i64)> {
    let meta = file.metadata()?;
    Ok((meta.len(), meta.mtime(), meta.mtime_nsec()))
}

impl Superblock {
    /// The superblock of the ext4 that begins at byte `start`; `None` if there is no such
    /// (Linux, Documentation/filesystems/ext4/super.rst).
    fn read(file: &File, start: u64) -> Option<Superblock> {
        let mut sb = [0; 1024];
        file.read_exact_at(&mut sb, start.checked_add(1024)?).ok()?;
        let u16_at = |at: usize| u16::from_le_bytes([sb[at], sb[at + 1]]);
        let u32_at = |at: usize| u32::from_le_bytes([sb[at], sb[at + 1], sb[at + 2], sb[at + 3]]);
        let incompatible = u32_at(0x60);
        // The largest block has 64 KiB.
        let block = 1024_u64 << u32_at(0x18).min(6);
        let bytes = |low: usize, high: usize| {
            // `INCOMPAT_64BIT`: numbers of blocks have an upper half.
            let high = match incompatible & 0x80 {
                0 => 0,
                _ => u64::from(u32_at(high)),
            };
            (high << 32 | u64::from(u32_at(low))).saturating_mul(block)
        };
        (u16_at(0x38) == 0xef53).then(|| Superblock {
            uuid: Uuid::from_slice(&sb[0x68..0x78]).unwrap_or_default(),
            size: bytes(0x4, 0x150),
            free: bytes(0xc, 0x158),
            // `INCOMPAT_RECOVER`, or not `EXT4_VALID_FS`.
            unclean: incompatible & 4 != 0 || u16_at(0x3a) & 1 == 0,
            // `EXT4_ERROR_FS`, or a number of errors.
            damaged: u16_at(0x3a) & 2 != 0 || u32_at(0x194) != 0,
        })
    }
}
