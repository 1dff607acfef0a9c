//! The folder of machines: one OCI layout.
//!
//! The newest machine of a name has that name in `index.json`; older ones stay there without it,
//! and can be used by their digests until they are removed.

use super::document::{self, Descriptor, Index, REF_NAME};
use super::origin::{Found, Origin, Unread};
use super::{Choice, Machine, folder, layer};
use crate::error::Report;
use crate::format::digest::Hashed;
use crate::model::{Arch, Digest};
use crate::output::{self, Folder, Pending};
use crate::recipe::Recipe;
use crate::rootfs::Rootfs;
use camino::{Utf8Path, Utf8PathBuf};
use std::collections::BTreeSet;
use std::io::{self, BufWriter};

/// The file that says that a folder is a layout, and its content (image-layout.md).
pub(super) const LAYOUT: (&str, &str) = ("oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}");

/// What is known about a root file system that becomes a machine.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The name of the machine.
    pub name: String,
    /// Its architecture.
    pub arch: Arch,
    /// The system in it.
    pub system: String,
    /// The versions of its kernels.
    pub kernels: Vec<String>,
    /// The recipe that it was built from.
    pub recipe: Recipe,
}

/// A machine that was stored.
#[derive(Debug, Clone)]
pub struct Added {
    /// The machine.
    pub machine: Machine,
    /// Whether exactly this machine was there before.
    pub known: bool,
}

/// A folder of machines.
#[derive(Debug, Clone)]
pub struct Store {
    dir: Utf8PathBuf,
}

impl Default for Store {
    fn default() -> Store {
        Store::at(&folder())
    }
}

impl Store {
    /// The folder `dir`, which may not exist yet.
    pub fn at(dir: &Utf8Path) -> Store {
        Store {
            dir: dir.to_owned(),
        }
    }

    /// Its folder.
    pub fn dir(&self) -> &Utf8Path {
        &self.dir
    }

    /// All machines, the newest first. What cannot be read is left out, and the second list says
    /// why.
    pub fn machines(&self) -> Result<(Vec<Machine>, Vec<String>), Report> {
        let origin = Origin::Dir(&self.dir);
        let all = match origin.machines() {
            Err(Unread::NoLayout(_)) => return Ok((Vec::new(), Vec::new())),
            all => all.map_err(|e| self.unread(e))?,
        };
        let (mut machines, mut wrong) = (Vec::new(), Vec::new());
        for found in all {
            match found {
                Ok(found) => machines.push(named(found)),
                Err(e) => wrong.push(format!("a machine in {} is left out: {e}", self.dir)),
            }
        }
        Ok((machines, wrong))
    }

    /// The machine that was chosen, if there is one for this architecture.
    pub fn find(&self, choice: &Choice, arch: Arch) -> Result<Option<Machine>, Report> {
        match choice {
            Choice::Layout(dir, name) => in_layout(dir, name.as_deref(), arch).map(Some),
            Choice::Stored(name, digest) => {
                let (machines, _) = self.machines()?;
                let found = machines.into_iter().find(|m| {
                    let right = m.name == *name && m.arch == arch;
                    right && digest.map_or(m.newest, |digest| m.digest == digest)
                });
                Ok(found)
            }
        }
    }

    /// The error for a chosen machine that is not there.
    pub fn has_none(&self, choice: &Choice, arch: Arch) -> Report {
        Report::mistake(format!(
            "there is no machine {choice} for {arch} in {}",
            self.dir
        ))
        .hint("`cargo xtask machine list` shows what there is")
    }

    /// Stores a root file system as a machine. The same one always gets the same digest.
    pub fn add(&self, rootfs: &Rootfs, facts: Facts) -> Result<Added, Report> {
        let failed = |e| write_error(&self.dir, e);
        let blobs = self.blobs().map_err(failed)?;
        let (layer, size) = write_layer(rootfs, &blobs).map_err(failed)?;
        let mut machine = Machine {
            name: facts.name,
            arch: facts.arch,
            digest: layer,
            size,
            system: facts.system,
            kernels: facts.kernels,
            newest: true,
            recipe: Recipe {
                kernel_arguments: facts.recipe.kernel_arguments,
                serial_console: facts.recipe.serial_console,
                architectures: vec![facts.arch],
                ..Recipe::default()
            },
            dir: self.dir.clone(),
        };
        let config = document::config(&machine, rootfs.epoch, layer);
        let manifest = document::manifest(&config, layer, size);
        machine.digest = Digest::of(manifest.as_bytes());
        for text in [&config, &manifest] {
            let path = blobs.join(Digest::of(text.as_bytes()).hex());
            output::write(&path, text.as_bytes()).map_err(failed)?;
        }
        let entry = Descriptor::of(&machine, manifest.len() as u64);
        self.record(machine, entry)
    }

    /// The folder of its blobs, without what killed runs left.
    pub(super) fn blobs(&self) -> io::Result<Utf8PathBuf> {
        let blobs = self.dir.join("blobs/sha256");
        Folder::lock(&blobs)?.sweep()?;
        Ok(blobs)
    }

    /// Puts a machine whose blobs are there at the head of the index.
    pub(super) fn record(&self, machine: Machine, entry: Descriptor) -> Result<Added, Report> {
        let failed = |e| write_error(&self.dir, e);
        let _lock = Folder::lock(&self.dir).map_err(failed)?;
        let mut index = self.index()?;
        let known = index.manifests.iter().any(|e| e.digest == entry.digest);
        index.manifests.retain(|e| e.digest != entry.digest);
        let origin = Origin::Dir(&self.dir);
        for old in &mut index.manifests {
            let same = |m: &Machine| m.name == machine.name && m.arch == machine.arch;
            if origin.machine(old).is_ok_and(|found| same(&found.machine)) {
                old.annotations.remove(REF_NAME);
            }
        }
        index.manifests.insert(0, entry);
        self.write_index(&index)?;
        Ok(Added { machine, known })
    }

    /// Removes machines that another one of the same name replaced. Returns their number.
    pub fn prune(&self) -> Result<usize, Report> {
        let failed = |e| write_error(&self.dir, e);
        if !self.dir.join("index.json").exists() {
            return Ok(0);
        }
        let lock = Folder::lock(&self.dir).map_err(failed)?;
        let mut index = self.index()?;
        let before = index.manifests.len();
        index
            .manifests
            .retain(|e| e.annotations.contains_key(REF_NAME));
        self.write_index(&index)?;
        let origin = Origin::Dir(&self.dir);
        let mut keep = BTreeSet::new();
        for entry in &index.manifests {
            // What cannot be read is not removed either.
            let found = origin.machine(entry).map_err(|e| self.unread(e))?;
            let layers = found.manifest.layers.iter();
            let blobs = layers.chain([&found.manifest.config, entry]);
            keep.extend(blobs.filter_map(|b| b.digest.strip_prefix("sha256:").map(str::to_owned)));
        }
        let blobs = self.blobs().map_err(failed)?;
        for blob in blobs.read_dir_utf8().map_err(failed)? {
            let blob = blob.map_err(failed)?;
            if blob.file_name().len() == 64 && !keep.contains(blob.file_name()) {
                std::fs::remove_file(blob.path()).map_err(failed)?;
            }
        }
        drop(lock);
        Ok(before - index.manifests.len())
    }

    fn index(&self) -> Result<Index, Report> {
        match Origin::Dir(&self.dir).index() {
            Err(Unread::NoLayout(_)) => Ok(Index::default()),
            index => index.map_err(|e| self.unread(e)),
        }
    }

    fn write_index(&self, index: &Index) -> Result<(), Report> {
        let failed = |e| write_error(&self.dir, e);
        let text = serde_json::to_string(index)
            .map_err(|e| Report::failure("writing the list of machines").because(e))?;
        let (file, layout) = LAYOUT;
        output::write(&self.dir.join(file), layout.as_bytes()).map_err(failed)?;
        output::write(&self.dir.join("index.json"), text.as_bytes()).map_err(failed)
    }

    fn unread(&self, error: Unread) -> Report {
        Report::failure(format!("reading the machines in {}", self.dir))
            .because(error)
            .hint("build them again with `cargo xtask machine build NAME`, after `cargo xtask clean --machines`")
    }
}

/// The machine of an entry; it is the newest if it has its name there.
fn named(found: Found) -> Machine {
    Machine {
        newest: found.entry.annotations.contains_key(REF_NAME),
        ..found.machine
    }
}

/// The only machine for this architecture in another layout, or the one of that name.
fn in_layout(dir: &Utf8Path, name: Option<&str>, arch: Arch) -> Result<Machine, Report> {
    let doing = || format!("reading the machine in {dir}");
    let failed = |e: Unread| {
        Report::mistake(doing()).because(e).hint(
            "give the folder of an OCI layout with a machine, e.g. one that `cargo xtask machine export` made",
        )
    };
    let mut machines = Vec::new();
    let mut wrong = None;
    for found in Origin::Dir(dir).machines().map_err(failed)? {
        match found {
            Ok(found) => machines.push(named(found)),
            Err(e) => wrong = Some(e),
        }
    }
    let (any, newest) = (!machines.is_empty(), machines.iter().any(|m| m.newest));
    machines.retain(|m| m.arch == arch && name.is_none_or(|name| m.name == name));
    if newest {
        machines.retain(|m| m.newest);
    }
    match (machines.pop(), machines.is_empty(), wrong) {
        (Some(machine), true, _) => Ok(machine),
        (None, _, Some(e)) if !any => Err(failed(e)),
        (None, ..) => Err(Report::mistake(format!(
            "{}: none of its machines is for {arch}{}",
            doing(),
            name.map(|n| format!(" and called {n:?}"))
                .unwrap_or_default()
        ))
        .hint("check the name and --arch")),
        (Some(_), false, _) => Err(Report::mistake(format!("{}: there are several", doing()))
            .hint("add its name: --machine oci:DIR:NAME")),
    }
}

/// Writes the layer of a machine as a blob. Returns its digest and its length in bytes.
fn write_layer(rootfs: &Rootfs, blobs: &Utf8Path) -> io::Result<(Digest, u64)> {
    let mut pending = Pending::create(&blobs.join("layer"))?;
    let mut out = BufWriter::with_capacity(1 << 20, Hashed::new(pending.file()?));
    layer::write(rootfs, &mut out)?;
    let done = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    let (digest, len) = (done.digest(), done.len());
    pending.rename(&digest.hex());
    pending.commit()?;
    Ok((digest, len))
}

/// The error for a folder of machines that cannot be written.
pub(super) fn write_error(dir: &Utf8Path, error: io::Error) -> Report {
    let hint = match error.kind() {
        io::ErrorKind::StorageFull => "free some space on that file system",
        _ => "make sure that you can write to that folder",
    };
    Report::failure(format!("storing a machine in {dir}"))
        .because(error)
        .hint(hint)
}
