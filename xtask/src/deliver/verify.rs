//! Checks the images in a folder against their metadata files.

use super::manifest::{self, Artifact, Disk, Manifest, Table};
use super::sums;
use crate::disk::table::{self, TableIdentity};
use crate::error::Report;
use crate::format::digest::{sha256, sha256_file};
use crate::model::size::MIB;
use crate::model::{Format, Packing};
use crate::output;
use crate::plain::{self, PlainName};
use camino::Utf8Path;
use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use std::sync::{Mutex, PoisonError};

/// The result of a check.
#[derive(Debug, Default)]
pub struct Verified {
    /// Number of files whose checksums were computed.
    pub files: u64,
    /// Total size of these files in bytes.
    pub bytes: u64,
    /// Number of manifests that were read.
    pub manifests: u64,
    /// What does not match; each problem names its file.
    pub problems: Vec<String>,
}

/// Checks the checksums of a folder and everything in its manifests. `progress` gets the number of
/// bytes as they are read.
///
/// Fails only if there is nothing to check against; mismatches are in the outcome.
pub fn verify(dir: &Utf8Path, progress: &(dyn Fn(u64) + Sync)) -> Result<Verified, Report> {
    let path = dir.join(sums::NAME);
    let text = sums::read(dir).map_err(|e| {
        let report = Report::mistake(format!("there is nothing to check {dir} against"));
        let report = report.because(format!("reading {path}: {e}"));
        report.hint("give the folder that `cargo xtask image` or `convert` wrote to")
    })?;
    let mut outcome = Verified::default();
    outcome.problems.extend(output::half_named(dir));
    let mut said = Said::new();
    for (sum, name) in sums::parse(&text) {
        // The list must not refer to files in other folders.
        match PlainName::new(name) {
            Ok(name) => drop(said.insert(name, sum)),
            Err(e) => outcome.problems.push(format!("in {path}: {e}")),
        }
    }
    if said.is_empty() && outcome.problems.is_empty() {
        outcome.problems.push(format!("{path} lists no files"));
    }
    check_sums(dir, &said, &mut outcome, progress);
    for name in said.keys().filter(|n| n.ends_with(manifest::ENDING)) {
        match Manifest::read(&dir.join(name)) {
            Ok(manifest) => {
                outcome.manifests += 1;
                check_manifest(dir, name, &manifest, &said, &mut outcome.problems);
            }
            // A missing file has already been reported.
            Err(_) if dir.join(name).symlink_metadata().is_err() => {}
            Err(report) => {
                let line = crate::error::describe(&report.into()).0;
                outcome.problems.push(line);
            }
        }
    }
    Ok(outcome)
}

/// The checksums in the list, by file name.
type Said<'a> = BTreeMap<PlainName, &'a str>;

/// Computes all checksums, on all cores.
fn check_sums(
    dir: &Utf8Path,
    said: &Said<'_>,
    outcome: &mut Verified,
    progress: &(dyn Fn(u64) + Sync),
) {
    type Found = (String, io::Result<(u64, bool)>);
    let todo = Mutex::new(said.iter());
    let found: Mutex<Vec<Found>> = Mutex::new(Vec::new());
    let work = || {
        loop {
            let next = todo.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((name, sum)) = next else { return };
            let check = || {
                let file = plain::open_in(dir, name)?;
                let len = file.metadata()?.len();
                let same = sha256_file(&file)?.eq_ignore_ascii_case(sum);
                progress(len);
                Ok((len, same))
            };
            let result = check();
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            found.push((name.as_str().to_owned(), result));
        }
    };
    let threads = crate::processors::count();
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, result) in found {
        match result {
            Ok((len, same)) => {
                outcome.files += 1;
                outcome.bytes += len;
                if !same {
                    let problem = format!("{name} does not match its checksum");
                    outcome.problems.push(problem);
                }
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                outcome.problems.push(format!("{name} is missing"));
            }
            Err(e) => outcome.problems.push(format!("{name} cannot be read: {e}")),
        }
    }
}

fn check_manifest(
    dir: &Utf8Path,
    name: &str,
    manifest: &Manifest,
    said: &Said<'_>,
    problems: &mut Vec<String>,
) {
    if manifest.manifest != manifest::VERSION {
        problems.push(format!(
            "{name} has layout version {}, not {}",
            manifest.manifest,
            manifest::VERSION
        ));
        return;
    }
    if manifest.artifacts.is_empty() {
        problems.push(format!("{name} lists no image files"));
    }
    for artifact in &manifest.artifacts {
        check_artifact(dir, name, artifact, said, problems);
        if artifact.format == Format::Raw {
            check_raw(dir, name, manifest, artifact, problems);
        }
    }
    for target in &manifest.targets {
        let page = target.page_name(&manifest.name);
        if !said.contains_key(&page[..]) {
            problems.push(format!("{page} has no checksum"));
        }
    }
    match &manifest.packages {
        None => problems.push(format!("{name} has no list of packages")),
        Some(packages) if !said.contains_key(&packages.file[..]) => {
            problems.push(format!("{} has no checksum", packages.file));
        }
        Some(packages) => {
            if let Err(why) = check_packages(dir, manifest, packages) {
                problems.push(format!("{}: {why}", packages.file));
            }
        }
    }
}

fn check_artifact(
    dir: &Utf8Path,
    name: &str,
    artifact: &Artifact,
    said: &Said<'_>,
    problems: &mut Vec<String>,
) {
    let files = artifact.files();
    let mut whole = 0;
    for file in &files {
        whole = file.size.saturating_add(whole);
        match said.get(&file.file[..]) {
            None => problems.push(format!("{} has no checksum", file.file)),
            Some(sum) if !sum.eq_ignore_ascii_case(&file.sha256) => problems.push(format!(
                "{} has different checksums in {name} and {}",
                file.file,
                sums::NAME
            )),
            Some(_) => {}
        }
        match dir.join(&file.file).symlink_metadata() {
            Ok(m) if m.is_file() && m.len() != file.size => problems.push(format!(
                "{} has {} bytes, but {name} says {}",
                file.file,
                m.len(),
                file.size
            )),
            // A missing file with a checksum has already been reported.
            Ok(_) | Err(_) => {}
        }
    }
    if let Some(map) = artifact.bmap.as_deref().filter(|m| !said.contains_key(*m)) {
        problems.push(format!("{map} has no checksum"));
    }
    if whole != artifact.size {
        problems.push(format!(
            "the parts of {} have {whole} bytes in total, but {name} says {}",
            artifact.file, artifact.size
        ));
    }
    if !artifact.parts.is_empty() {
        match open(dir, artifact).and_then(sha256) {
            Ok(sum) if sum == artifact.sha256 => {}
            Ok(_) => problems.push(format!(
                "the joined parts of {} do not match the checksum in {name}",
                artifact.file
            )),
            Err(e) => problems.push(format!(
                "the parts of {} cannot be joined: {e}",
                artifact.file
            )),
        }
    }
}

/// The bytes of an artifact, its parts one after another.
fn open(dir: &Utf8Path, artifact: &Artifact) -> io::Result<Box<dyn Read>> {
    let mut all: Box<dyn Read> = Box::new(io::empty());
    for file in artifact.files() {
        all = Box::new(all.chain(plain::open_in(dir, &file.file)?));
    }
    Ok(all)
}

/// The partition table of a raw image, compressed or not.
fn check_raw(
    dir: &Utf8Path,
    name: &str,
    manifest: &Manifest,
    artifact: &Artifact,
    problems: &mut Vec<String>,
) {
    if artifact.packing.is_none() && artifact.size != manifest.disk.size {
        problems.push(format!(
            "{} has {} bytes, but its disk in {name} has {}",
            artifact.file, artifact.size, manifest.disk.size
        ));
    }
    let head = open(dir, artifact).and_then(|file| head(file, artifact.packing));
    let wrong = match head {
        // Already reported.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return,
        Err(e) => vec![format!("cannot be decompressed: {e}")],
        Ok(head) => check_table(&manifest.disk, &head),
    };
    problems.extend(
        wrong
            .iter()
            .map(|wrong| format!("{} {wrong}", artifact.file)),
    );
}

/// Memory limit for decompressing xz, in bytes. Files from `xz -9` need 65 MiB (xz(1)).
const XZ_MEMORY: u64 = 128 << 20;

/// The first MiB of a raw image.
fn head(file: Box<dyn Read>, packing: Option<Packing>) -> io::Result<Vec<u8>> {
    let plain: Box<dyn Read> = match packing {
        None => file,
        Some(Packing::Zstd) => Box::new(zstd::stream::read::Decoder::new(file)?),
        Some(Packing::Xz) => {
            let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, 0)?;
            Box::new(liblzma::read::XzDecoder::new_stream(file, stream))
        }
        Some(Packing::Gzip) => Box::new(flate2::read::GzDecoder::new(file)),
    };
    let mut head = Vec::new();
    plain.take(MIB).read_to_end(&mut head)?;
    Ok(head)
}

/// Compares the partition table at the start of a disk (its first MiB) with the manifest. Each
/// difference is a text that continues a sentence beginning with the file's name.
pub fn check_table(disk: &Disk, head: &[u8]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut same = |what: &str, said: &str, found: &str| {
        if !said.eq_ignore_ascii_case(found) {
            wrong.push(format!("has {what} {found}, not {said}"));
        }
    };
    let kind = match disk.table {
        Table::Gpt { .. } => "GPT",
        Table::Mbr { .. } => "MBR",
    };
    let found = match table::read(&mut Cursor::new(head)) {
        Ok(Some(found)) => found,
        Ok(None) => return vec![format!("has no {kind}")],
        Err(e) => return vec![format!("has no readable {kind}: {e}")],
    };
    same(
        "a table for sectors of",
        &format!("{} bytes", disk.sector_size),
        &format!("{} bytes", found.sector_size),
    );
    match (&disk.table, found.kind) {
        (Table::Gpt { id }, TableIdentity::Gpt(guid)) => {
            same("the disk id", id, &guid.to_string());
            same(
                "partitions:",
                &disk.partitions.len().to_string(),
                &found.partitions.len().to_string(),
            );
        }
        (Table::Mbr { id }, TableIdentity::Mbr(signature)) => {
            same("the disk id", id, &format!("{signature:08x}"));
        }
        _ => return vec![format!("has a partition table that is not {kind}")],
    }
    for p in &disk.partitions {
        let here = found.partitions.iter().find(|f| f.number == p.number);
        let Some(here) = here else {
            same("partition", &p.number.to_string(), "none of that number");
            continue;
        };
        for (what, said, found) in [
            ("offset", p.offset.to_string(), here.start.to_string()),
            ("size", p.size.to_string(), here.len.to_string()),
            ("type", p.kind.clone(), here.kind.to_string()),
            (
                "id",
                p.id.clone().unwrap_or_default(),
                here.guid.map(|guid| guid.to_string()).unwrap_or_default(),
            ),
        ] {
            let which = format!("in partition {} the {what}", p.number);
            same(&which, &said, &found);
        }
    }
    wrong
}

/// Largest list of packages that is read, in bytes.
const MOST_PACKAGES: u64 = 256 << 20;

/// The checked parts of a list of packages. The packages themselves are not kept in memory.
#[derive(serde::Deserialize)]
struct Document {
    #[serde(rename = "spdxVersion", default)]
    version: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    packages: Vec<serde::de::IgnoredAny>,
}

fn check_packages(
    dir: &Utf8Path,
    manifest: &Manifest,
    packages: &manifest::Packages,
) -> Result<(), String> {
    let file = plain::open_in(dir, &packages.file).map_err(|e| e.to_string())?;
    let document: Document = serde_json::from_reader(io::BufReader::new(file.take(MOST_PACKAGES)))
        .map_err(|e| format!("is not a JSON list of packages: {e}"))?;
    if document.version != packages.format {
        return Err(format!(
            "is {:?}, not {}",
            document.version, packages.format
        ));
    }
    if document.name != manifest.name {
        return Err("belongs to another image".into());
    }
    // The image itself is one of the packages.
    let count = document.packages.len() as u64;
    if Some(count) != packages.count.checked_add(1) {
        return Err(format!(
            "lists {} packages, not {}",
            count.saturating_sub(1),
            packages.count
        ));
    }
    Ok(())
}
