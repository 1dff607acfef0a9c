//! Volumes of an earlier image that are kept: they are copied from the disk that has them.

use super::Request;
use crate::disk::table;
use crate::error::Report;
use crate::format::raw;
use crate::fs::ext4::{Need, Superblock};
use crate::fs::{Layout, Piece, Source};
use crate::model::{Arch, MIB};
use crate::plan::{self, VolumesFacts};
use crate::recipe::Found;
use crate::rootfs::{Content, Store, Stores};
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
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

impl Kept {
    /// The volumes that the request keeps, if none of the new files would replace their disk.
    pub(super) fn of(request: &Request, found: &Found, arch: Arch) -> Result<Option<Kept>, Report> {
        let Some(old) = &request.keep_volumes else {
            return Ok(None);
        };
        // The UUID of volumes does not depend on a root file system.
        let uuid = plan::Ids::new(&found.name, arch, &[0; 32]).volumes;
        let kept = Kept::open(old, uuid)?;
        for format in &found.recipe.formats {
            kept.is_not(&request.output.join(format.file_name(&found.name)))?;
        }
        Ok(Some(kept))
    }

    /// Finds the volumes with this UUID on the disk `path`, a raw image. Changes nothing there.
    fn open(path: &Utf8Path, uuid: Uuid) -> Result<Kept, Report> {
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
            let superblock = Superblock::read(&file, partition.start).ok()?;
            let found = superblock.is_ext4() && superblock.uuid() == uuid;
            found.then_some((partition, superblock))
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
        if superblock.size() > partition.len || partition.end() > meta.len() {
            return Err(wrong(
                "their file system is larger than their partition, or than the file",
            )
            .hint("copy the whole disk again"));
        }
        if superblock.has_errors() {
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
    fn is_not(&self, file: &Utf8Path) -> Result<(), Report> {
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
        self.superblock.free()
    }

    /// Notes for the user.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = vec![PRIVATE.to_owned()];
        if self.superblock.needs_recovery() || !self.superblock.was_unmounted() {
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
