//! Writes an existing raw image in other formats.

use super::deliver::Files;
use super::open;
use crate::deliver::manifest::{self, Manifest};
use crate::deliver::verify::check_table;
use crate::deliver::{Delivery, Metadata, MetadataFile, artifact, secret};
use crate::disk::table::{self, PartitionTable, PartitionType};
use crate::error::Report;
use crate::format::{self, Sink, ova::Machine, raw};
use crate::fs::free as fs_free;
use crate::hex::hex;
use crate::model::partition::{LINUX_MBR, ROOT_AMD64, ROOT_ARM64, SECTOR};
use crate::model::{BootMode, Compression, Format, MIB, Size};
use crate::output::Access;
use crate::plain::{self, folder};
use crate::progress::Progress;
use crate::recipe;
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Cursor;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use uuid::Uuid;

/// The note about files that only their owner may read.
const PRIVATE: &str =
    "the image contains password hashes, or only you may read it: the new files have mode 0600";

/// Which image to write in which formats.
#[derive(Debug, Clone)]
pub struct Conversion {
    /// A raw image.
    pub image: Utf8PathBuf,
    /// Formats to write.
    pub formats: Vec<Format>,
    /// How to compress the clusters of a qcow2 image.
    pub compression: Compression,
    /// Name of the files, without an extension; by default the image's.
    pub name: Option<String>,
    /// Folder for the files; by default the image's.
    pub output: Option<Utf8PathBuf>,
    /// Which other files to write.
    pub files: Files,
}

/// Writes an image in other formats and returns the paths of the files.
pub fn convert(wanted: &Conversion, progress: &dyn Progress) -> Result<Vec<Utf8PathBuf>, Report> {
    wanted.files.check(&wanted.formats)?;
    let input = RawImage::open(wanted)?;
    let dir = wanted
        .output
        .clone()
        .unwrap_or_else(|| folder(&wanted.image));
    input.check_output(wanted, &dir)?;
    let mut options = input.options(wanted)?;
    wanted.files.threads(&mut options);
    let set = open(&dir, &input.name, progress)?;
    let access = input.access()?;
    if access == Access::Private {
        progress.note(PRIVATE);
    }
    progress.stage(&format!(
        "converting {}, a disk of {}, to {dir}",
        wanted.image,
        Size(input.size)
    ));
    let free = input.free()?;
    let files = &wanted.files;
    let job = files.job(&dir, input.size, &wanted.formats, &options, free, access);
    let emit = |sink: &mut dyn Sink| raw::emit(&input.file, sink);
    let artifacts = artifact::write(&job, &emit, &|text| progress.stage(text))?;
    let sums = job.sums;
    let (metadata, others) = match (sums, &input.manifest) {
        (true, Some(manifest)) => metadata(manifest, &folder(&wanted.image), &dir)?,
        _ => (None, Vec::new()),
    };
    let delivery = Delivery {
        artifacts,
        others,
        metadata,
        sums,
        stale: Vec::new(),
    };
    delivery.commit(&set)
}

/// The image to convert.
struct RawImage {
    file: File,
    size: u64,
    name: String,
    /// The manifest next to the image, if it describes this disk.
    manifest: Option<Manifest>,
    head: Vec<u8>,
    /// The partition table, if there is one.
    table: Option<PartitionTable>,
}

impl RawImage {
    fn open(wanted: &Conversion) -> Result<RawImage, Report> {
        let image = &wanted.image;
        let wrong = |e: std::io::Error| {
            Report::mistake(format!("opening the image {image}"))
                .because(e)
                .hint("give a raw image, e.g. one that `cargo xtask image` made")
        };
        let file = fs::File::open(image).map_err(wrong)?.into_parts().0;
        let meta = file.metadata().map_err(wrong)?;
        if !meta.is_file() {
            return Err(Report::mistake(format!("{image} is not a regular file"))
                .hint("give a raw image, e.g. one that `cargo xtask image` made"));
        }
        let size = meta.len();
        let mut head = vec![0; usize::try_from(size.min(MIB)).unwrap_or(0)];
        file.read_exact_at(&mut head, 0).map_err(wrong)?;
        if let Some(what) = not_raw(&head) {
            return Err(
                Report::mistake(format!("{image} is {what}, not a raw image"))
                    .hint("convert supports raw images only"),
            );
        }
        let stem = image.file_stem().unwrap_or("image");
        let name = wanted.name.clone().unwrap_or_else(|| stem.to_owned());
        if !recipe::is_name(&name) {
            return Err(
                Report::mistake(format!("{name:?} is not a valid image name"))
                    .hint("use --name with letters, digits, `.`, `-` and `_`"),
            );
        }
        let manifest = manifest_in(&folder(image), &name)?;
        Ok(RawImage {
            file,
            size,
            manifest: manifest
                .filter(|m| m.disk.size == size && check_table(&m.disk, &head).is_empty()),
            name,
            table: table::read(&mut Cursor::new(&head)).ok().flatten(),
            head,
        })
    }

    /// The sector size that the partition table uses, in bytes.
    fn sector_size(&self) -> u64 {
        self.table
            .as_ref()
            .map_or(SECTOR, |table| table.sector_size)
    }

    /// Offsets of the partitions in bytes, ascending; empty without a partition table.
    fn partitions(&self) -> Vec<u64> {
        let partitions = self.table.iter().flat_map(|table| &table.partitions);
        let mut starts: Vec<u64> = partitions.map(|p| p.start).collect();
        starts.sort_unstable();
        starts.dedup();
        starts
    }

    /// Where the root file system is, in bytes: the only partition with a type for that. An image with
    /// volumes and an MBR has two partitions of the same type, and then it is not known.
    fn root(&self) -> Option<Range<u64>> {
        let is_root = |kind: &PartitionType| match kind {
            PartitionType::Gpt(kind) => [ROOT_AMD64, ROOT_ARM64].contains(kind),
            PartitionType::Mbr(kind) => *kind == LINUX_MBR,
        };
        let partitions = self.table.iter().flat_map(|table| &table.partitions);
        let mut roots = partitions.filter(|p| is_root(&p.kind));
        match (roots.next(), roots.next()) {
            (Some(root), None) => Some(root.start..root.start.checked_add(root.len)?),
            _ => None,
        }
    }

    /// Who may read the files that are made from the image.
    fn access(&self) -> Result<Access, Report> {
        let mut starts = self.partitions();
        if starts.is_empty() {
            starts.push(0);
        }
        secret::access_of(&self.file, &starts)
            .map_err(|e| Report::failure(format!("reading {}", self.name)).because(e))
    }

    /// The free space of the file systems in the partitions.
    fn free(&self) -> Result<Vec<Range<u64>>, Report> {
        let starts = self.partitions();
        let read = |at: u64, buf: &mut [u8]| {
            buf.fill(0);
            match self.size.checked_sub(at) {
                Some(left) => {
                    let n = usize::try_from(left).map_or(buf.len(), |n| n.min(buf.len()));
                    self.file.read_exact_at(&mut buf[..n], at)
                }
                None => Ok(()),
            }
        };
        fs_free::free(&read, self.size, &starts).map_err(|e| {
            Report::failure(format!("finding the free space in {}", self.name)).because(e)
        })
    }

    /// Refuses to overwrite the image itself while it is read.
    fn check_output(&self, wanted: &Conversion, dir: &Utf8Path) -> Result<(), Report> {
        let sectors = self.sector_size();
        if let Some(format) = wanted.formats.iter().find(|f| !f.has_sectors_of(sectors)) {
            return Err(format.no_sectors_of(sectors));
        }
        if wanted.formats.contains(&Format::Rootfs)
            && self.root().is_none_or(|root| root.end > self.size)
        {
            return Err(Report::mistake(format!(
                "the root file system in {} cannot be written alone: not exactly one of the partitions on it has the type of a root file system",
                wanted.image
            ))
            .hint("remove rootfs from --format"));
        }
        let image = wanted.image.canonicalize_utf8();
        for format in &wanted.formats {
            let file = dir.join(format.file_name(&self.name));
            let same = matches!((file.canonicalize_utf8(), &image), (Ok(a), Ok(b)) if a == *b);
            if same {
                return Err(
                    Report::mistake(format!("{file} would overwrite {}", wanted.image))
                        .hint("choose another folder with --output, or another name with --name"),
                );
            }
        }
        Ok(())
    }

    /// Options for the formats: the same as `image` uses, if there is a manifest, or else derived
    /// from the disk itself, so that the same disk always gives the same bytes.
    fn options(&self, wanted: &Conversion) -> Result<format::Options, Report> {
        let threads = crate::processors::count();
        let mut options = format::Options {
            id: Uuid::nil(),
            epoch: 0,
            name: self.name.clone(),
            sector_size: self.sector_size(),
            compression: wanted.compression,
            threads,
            machine: Machine::default(),
            root: self.root(),
        };
        if let Some(manifest) = &self.manifest {
            options.id = Uuid::parse_str(&manifest.id).map_err(|e| {
                Report::failure(format!("reading the manifest of {}", wanted.image)).because(e)
            })?;
            options.epoch = manifest.epoch;
            options.machine.uefi = manifest.boot == BootMode::Uefi;
        } else {
            // A partition table contains unique ids, so two disks with the same start are the same
            // disk.
            let mut hash = Sha256::new();
            hash.update(self.size.to_le_bytes());
            hash.update(&self.head);
            let sum = hex(&hash.finalize());
            options.id = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("disk {sum}").as_bytes());
        }
        Ok(options)
    }
}

/// The kind of a file that is not a raw image but an image in another format, or compressed.
fn not_raw(head: &[u8]) -> Option<&'static str> {
    let kinds: [(usize, &[u8], &str); 9] = [
        (0, b"QFI\xfb", "a qcow2 image"),
        (0, b"KDMV", "a VMDK image"),
        (
            0,
            b"# Disk DescriptorFile",
            "the descriptor of a VMDK image",
        ),
        (64, b"\x7f\x10\xda\xbe", "a VDI image"),
        (0, b"conectix", "a VHD image"),
        (0, b"vhdxfile", "a VHDX image"),
        (0, b"\x28\xb5\x2f\xfd", "compressed with zstd"),
        (0, b"\xfd7zXZ\0", "compressed with xz"),
        (0, b"\x1f\x8b\x08", "compressed with gzip"),
    ];
    let found = kinds
        .into_iter()
        .find(|(at, magic, _)| head.get(*at..).is_some_and(|h| h.starts_with(magic)));
    if head.is_empty() {
        return Some("empty");
    }
    found.map(|(.., what)| what)
}

/// The manifest of the image `name` in a folder, if there is one.
///
/// It is not trusted: only what it says about files that are named after this image is used.
fn manifest_in(dir: &Utf8Path, name: &str) -> Result<Option<Manifest>, Report> {
    let path = dir.join(manifest::file_name(name));
    match path.symlink_metadata() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        // If it is not a file, reading it returns an error.
        Ok(_) | Err(_) => {}
    }
    let manifest = Manifest::read(&path)?;
    let wrong = |why: String| {
        Err(
            Report::failure(format!("reading the manifest {path}: {why}")).hint(format!(
                "rebuild the image, or remove {path} to convert the image without its metadata"
            )),
        )
    };
    if manifest.name != name {
        return wrong(format!("it belongs to another image, {:?}", manifest.name));
    }
    let list = manifest::spdx_name(name);
    match &manifest.packages {
        Some(packages) if *packages.file != *list => wrong(format!(
            "its list of packages is {:?}, not {list:?}",
            packages.file.as_str()
        )),
        _ => Ok(Some(manifest)),
    }
}

/// Largest list of packages that is copied, in bytes.
const MOST_PACKAGES: u64 = 256 << 20;

/// The metadata of the image, for the folder `to`.
fn metadata(
    manifest: &Manifest,
    from: &Utf8Path,
    to: &Utf8Path,
) -> Result<(Option<Metadata>, Vec<MetadataFile>), Report> {
    let mut manifest = manifest.clone();
    let mut others = Vec::new();
    // A folder that does not exist yet is a different one.
    let same =
        matches!((from.canonicalize_utf8(), to.canonicalize_utf8()), (Ok(a), Ok(b)) if a == b);
    if !same {
        // Their pages name files that may not be there.
        manifest.targets.clear();
        // Earlier conversions to that folder stay in its manifest.
        manifest.artifacts = manifest_in(to, &manifest.name)?
            .filter(|old| old.id == manifest.id)
            .map(|old| old.artifacts)
            .unwrap_or_default();
        if let Some(packages) = &manifest.packages {
            let failed =
                |e| Report::failure(format!("copying {} to {to}", packages.file)).because(e);
            let text = plain::read(&from.join(&packages.file), MOST_PACKAGES).map_err(failed)?;
            others.push(MetadataFile::new(&to.join(&packages.file), text).map_err(failed)?);
        }
    }
    let metadata = Metadata {
        manifest,
        inventory: None,
    };
    Ok((Some(metadata), others))
}
