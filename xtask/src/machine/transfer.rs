//! Machines as files: an OCI layout in a tar that is compressed with zstd, or in a folder.

use super::document::{Descriptor, Index};
use super::origin::{Found, Origin, Unread, path};
use super::store::{LAYOUT, write_error};
use super::{Added, Machine, Store};
use crate::error::Report;
use crate::model::Digest;
use crate::output::{Folder, Pending};
use crate::rootfs::{Budget, Limits, tar};
use ::tar::{Builder, Header};
use camino::Utf8Path;
use std::fs::File;
use std::io::{self, Write};

/// Strength of the compression: machines are written once and fetched often.
const LEVEL: i32 = 9;

/// Largest machine that is imported, in bytes.
const MOST: u64 = 64 << 30;

impl Store {
    /// Writes a machine to `file`. The same machine gives the same bytes.
    pub fn export(&self, machine: &Machine, file: &Utf8Path) -> Result<(), Report> {
        let doing = || format!("exporting the machine {} to {file}", machine.name);
        let origin = Origin::Dir(&machine.dir);
        let unread = |e: Unread| unread(doing(), e, &machine.name);
        let found = origin
            .len(&path(machine.digest))
            .and_then(|len| origin.machine(&Descriptor::of(machine, len)))
            .map_err(unread)?;
        let failed = |e: io::Error| Report::failure(doing()).because(e);
        let pending = Pending::create(file).map_err(failed)?;
        write(&origin, &found, pending.file().map_err(failed)?).map_err(|e| match e {
            Unread::Io(_, e) if e.kind() == io::ErrorKind::StorageFull => {
                failed(e).hint("free some space there, or choose another folder")
            }
            e => unread(e),
        })?;
        pending.commit().map_err(failed)
    }

    /// Stores the machines of a file, or of a folder with an OCI layout. Every digest is checked.
    pub fn import(&self, from: &Utf8Path) -> Result<Vec<Added>, Report> {
        let doing = || format!("importing a machine from {from}");
        let mistake = |e: Unread| {
            Report::mistake(doing()).because(e).hint(
                "give what `cargo xtask machine export` wrote, or the folder of an OCI layout with a machine",
            )
        };
        if from.is_dir() {
            return self.copy(&Origin::Dir(from), mistake);
        }
        let file = File::open(from)
            .map_err(|e| Report::mistake(doing()).because(e).hint("check the path"))?;
        let budget = Budget::new(Limits {
            unpacked: Some(MOST),
            entries: Some(10_000),
        });
        let blobs = self.blobs().map_err(|e| write_error(self.dir(), e))?;
        let tree = tar::from_file_within(file, &blobs, &budget).map_err(|e| {
            let mut report = Report::from(e);
            report.message = doing();
            report
        })?;
        self.copy(&Origin::Tar(&tree), mistake)
    }

    fn copy(
        &self,
        origin: &Origin<'_>,
        mistake: impl Fn(Unread) -> Report,
    ) -> Result<Vec<Added>, Report> {
        let (mut found, mut wrong) = (Vec::new(), None);
        for machine in origin.machines().map_err(&mistake)? {
            match machine {
                Ok(machine) => found.push(machine),
                Err(e) => wrong = Some(e),
            }
        }
        if let (true, wrong) = (found.is_empty(), wrong) {
            let none = Unread::Missing("a machine".to_owned());
            return Err(mistake(wrong.unwrap_or(none)));
        }
        let blobs = self.blobs().map_err(|e| write_error(self.dir(), e))?;
        let mut added = Vec::new();
        // The newest is the first in a list, so it must be added last.
        for found in found.into_iter().rev() {
            self.take(origin, &found, &blobs, &mistake)?;
            let machine = Machine {
                dir: self.dir().to_owned(),
                ..found.machine
            };
            let entry = Descriptor::of(&machine, found.entry.size);
            added.push(self.record(machine, entry)?);
        }
        Ok(added)
    }

    /// Copies the blobs of a machine. They get their names when all are complete.
    fn take(
        &self,
        origin: &Origin<'_>,
        found: &Found,
        blobs: &Utf8Path,
        mistake: &impl Fn(Unread) -> Report,
    ) -> Result<(), Report> {
        let failed = |e| write_error(self.dir(), e);
        let mut files = Vec::new();
        for part in parts(found) {
            let digest: Digest = part
                .digest
                .parse()
                .map_err(|e| mistake(Unread::Digests(e)))?;
            let pending = Pending::create(&blobs.join(digest.hex())).map_err(failed)?;
            let mut to = pending.file().map_err(failed)?;
            origin.copy(part, &mut to).map_err(|e| match e {
                Unread::Io(_, e) if e.kind() == io::ErrorKind::StorageFull => failed(e),
                e => mistake(e),
            })?;
            files.push(pending);
        }
        let folder = Folder::lock(blobs).map_err(failed)?;
        for file in files {
            file.commit().map_err(failed)?;
        }
        drop(folder);
        Ok(())
    }
}

/// The blobs of a machine: its layers, its configuration and its manifest.
fn parts(found: &Found) -> impl Iterator<Item = &Descriptor> {
    let layers = found.manifest.layers.iter();
    layers.chain([&found.manifest.config, &found.entry])
}

fn unread(doing: String, error: Unread, name: &str) -> Report {
    Report::failure(doing).because(error).hint(format!(
        "it was changed or is incomplete: build it again with `cargo xtask machine build {name}`"
    ))
}

/// Writes the layout of one machine as a compressed tar.
fn write(origin: &Origin<'_>, found: &Found, file: File) -> Result<(), Unread> {
    let failed = |e| Unread::Io("the new file".to_owned(), e);
    let mut packed = zstd::Encoder::new(file, LEVEL).map_err(failed)?;
    let threads = u32::try_from(crate::processors::count()).unwrap_or(1);
    packed.multithread(threads).map_err(failed)?;
    let mut tar = Builder::new(packed);
    let index = Index {
        manifests: vec![found.entry.clone()],
        ..Index::default()
    };
    let index = serde_json::to_vec(&index).map_err(|e| Unread::Json("index.json".into(), e))?;
    let (layout, text) = LAYOUT;
    for (name, bytes) in [(layout, text.as_bytes()), ("index.json", &index)] {
        let header = header(name, bytes.len() as u64).map_err(failed)?;
        tar.append(&header, bytes).map_err(failed)?;
    }
    for part in parts(found) {
        let digest: Digest = part.digest.parse()?;
        let header = header(&path(digest), part.size).map_err(failed)?;
        let out = tar.get_mut();
        out.write_all(header.as_bytes()).map_err(failed)?;
        origin.copy(part, out)?;
        let padding = part.size.next_multiple_of(512) - part.size;
        let padding = usize::try_from(padding).unwrap_or(0);
        out.write_all(&[0; 512][..padding]).map_err(failed)?;
    }
    let packed = tar.into_inner().map_err(failed)?;
    packed.finish().map_err(failed)?;
    Ok(())
}

fn header(name: &str, size: u64) -> io::Result<Header> {
    let mut header = Header::new_ustar();
    header.set_path(name)?;
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    Ok(header)
}
