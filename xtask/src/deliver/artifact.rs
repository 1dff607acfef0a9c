//! Writes a disk once, in every format, compressed and split into parts as requested.

use super::free_space;
use super::job::{Emit, WriteJob};
use crate::error::Report;
use crate::format::bmap::Bmap;
use crate::format::digest::{DiskHash, sha256_file};
use crate::format::target::{Target, Whole, Written, is_part_of, join_command};
use crate::format::{self, Several, Sink, stream};
use crate::model::{Compression, Format, Packing};
use crate::output;
use crate::output::{Pending, check_replaceable};
use camino::{Utf8Path, Utf8PathBuf};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::sync::mpsc::Receiver;

/// An image in one format, complete but without its name yet.
#[derive(Debug)]
pub struct Artifact {
    /// The image format.
    pub format: Format,
    /// How the clusters are compressed, for qcow2.
    pub compression: Compression,
    /// How the file as a whole is compressed.
    pub packing: Option<Packing>,
    /// Name of the file, or of the file that its parts make together.
    pub file: String,
    /// Size of that file in bytes.
    pub size: u64,
    /// SHA-256 of that file in hexadecimal; empty if it was not requested.
    pub sha256: String,
    /// The file, or its parts.
    pub files: Vec<Written>,
    /// The block map, for a raw image.
    pub map: Option<Written>,
}

/// How a format is being written.
enum Way {
    /// Directly into its file.
    Direct {
        pending: Pending,
        /// Receives the checksum, if it is computed during writing.
        hash: Option<Receiver<String>>,
    },
    /// From front to back, through a compressor or into parts.
    Streamed(Receiver<Whole>),
    /// Into a temporary file that is then compressed or split, because this format is not written
    /// in ascending order.
    Detour(Pending),
}

/// Writes the disk that `emit` produces. `say` gets the stages that follow.
///
/// If the file system is full, the error says how much space is missing; to find out, `emit` is
/// called again.
pub fn write(
    job: &WriteJob<'_>,
    emit: Emit<'_>,
    say: &dyn Fn(&str),
) -> Result<Vec<Artifact>, Report> {
    check_names(job)?;
    try_write(job, emit, say).map_err(|(path, error)| {
        // At this point all incomplete files are removed.
        if error.kind() == io::ErrorKind::StorageFull {
            free_space::missing(job, emit, &path, error)
        } else {
            output::write_error(&path, error)
        }
    })
}

type Failed = (Utf8PathBuf, io::Error);

fn try_write(
    job: &WriteJob<'_>,
    emit: Emit<'_>,
    say: &dyn Fn(&str),
) -> Result<Vec<Artifact>, Failed> {
    let mut sinks = Vec::new();
    let mut ways = Vec::new();
    for format in job.formats {
        let path = path_of(job, *format);
        let way = start(job, *format, &path, &mut sinks).map_err(|e| (path, e))?;
        ways.push((*format, way));
    }
    let mut map = match &job.free {
        Some(free) => {
            let path = map_path(job);
            let map = start_map(job, free.clone(), &path, &mut sinks);
            Some(map.map_err(|e| (path, e))?)
        }
        None => None,
    };
    emit(&mut Several::new(sinks)).map_err(|e| (job.dir.to_owned(), e))?;
    let mut artifacts = Vec::new();
    for (format, way) in ways {
        let path = path_of(job, format);
        let whole = match way {
            Way::Direct { pending, hash } => direct(pending, hash),
            Way::Streamed(whole) => whole.recv().map_err(io::Error::other),
            Way::Detour(plain) => {
                say(&format!("writing {path}"));
                detour(job, &path, &plain)
            }
        };
        let whole = whole.map_err(|e| (path.clone(), e))?;
        artifacts.push(Artifact {
            format,
            compression: match format {
                Format::Qcow2 => job.options.compression,
                _ => Compression::None,
            },
            packing: job.packing,
            file: path.file_name().unwrap_or_default().to_owned(),
            size: whole.size,
            sha256: whole.sha256,
            files: whole.files,
            map: match (format, map.take()) {
                (Format::Raw, Some(map)) => Some(complete(map).map_err(|e| (path, e))?),
                (_, other) => {
                    map = other;
                    None
                }
            },
        });
    }
    if job.sums {
        let missing = artifacts
            .iter_mut()
            .filter(|a| a.sha256.is_empty())
            .collect();
        hash(missing).map_err(|e| (job.dir.to_owned(), e))?;
    }
    Ok(artifacts)
}

/// Refuses an image whose files would replace something that is not a regular file.
fn check_names(job: &WriteJob<'_>) -> Result<(), Report> {
    let names = job.formats.iter().map(|format| path_of(job, *format));
    let map = job.free.as_ref().map(|_| map_path(job));
    for path in names.chain(map) {
        check_replaceable(&path).map_err(|e| output::write_error(&path, e))?;
    }
    Ok(())
}

/// The file of an artifact, or the file that its parts make together.
fn path_of(job: &WriteJob<'_>, format: Format) -> Utf8PathBuf {
    let mut name = format.file_name(&job.options.name);
    if let Some(packing) = job.packing {
        name = format!("{name}.{}", packing.extension());
    }
    job.dir.join(name)
}

/// Path of the block map. bmaptool expects this name for the raw image, compressed or not.
fn map_path(job: &WriteJob<'_>) -> Utf8PathBuf {
    let raw = Format::Raw.file_name(&job.options.name);
    job.dir.join(format!("{raw}.bmap"))
}

fn start_map(
    job: &WriteJob<'_>,
    free: Vec<Range<u64>>,
    path: &Utf8Path,
    sinks: &mut Vec<Box<dyn Sink>>,
) -> io::Result<Pending> {
    let pending = Pending::create(path)?;
    let out = BufWriter::new(pending.file()?);
    sinks.push(Box::new(Bmap::new(out, job.size, free)));
    Ok(pending)
}

/// A small file that is complete.
fn complete(pending: Pending) -> io::Result<Written> {
    let file = pending.file()?;
    Ok(Written {
        size: file.metadata()?.len(),
        sha256: sha256_file(&file)?,
        pending,
    })
}

fn target(job: &WriteJob<'_>, path: &Utf8Path) -> io::Result<Target> {
    Target::create(
        path,
        job.access,
        job.packing,
        job.split,
        job.options.threads,
    )
}

/// Creates the file `path`, and a sink that writes the disk into it in `format`.
fn create(
    job: &WriteJob<'_>,
    format: Format,
    path: &Utf8Path,
    sinks: &mut Vec<Box<dyn Sink>>,
) -> io::Result<Pending> {
    let pending = Pending::create_as(path, job.access)?;
    let file = pending.file()?;
    sinks.push(format::open(format, file, job.size, job.options)?);
    Ok(pending)
}

fn start(
    job: &WriteJob<'_>,
    format: Format,
    path: &Utf8Path,
    sinks: &mut Vec<Box<dyn Sink>>,
) -> io::Result<Way> {
    let handled = job.packing.is_some() || job.split.is_some();
    if handled && stream::ascends(format) {
        let target = target(job, path)?;
        let (sink, whole) = stream::open(format, target, job.size, job.options)?;
        sinks.push(sink);
        return Ok(Way::Streamed(whole));
    }
    if handled {
        // Named after the uncompressed file; the compressed one is made next to it.
        let plain = format.file_name(&job.options.name);
        let pending = create(job, format, &job.dir.join(format!("{plain}.plain")), sinks)?;
        return Ok(Way::Detour(pending));
    }
    let pending = create(job, format, path, sinks)?;
    let hash = if job.sums && format == Format::Raw {
        let (sink, hash) = DiskHash::new()?;
        sinks.push(Box::new(sink));
        Some(hash)
    } else {
        None
    };
    Ok(Way::Direct { pending, hash })
}

fn direct(pending: Pending, hash: Option<Receiver<String>>) -> io::Result<Whole> {
    let size = pending.file()?.metadata()?.len();
    let sha256 = match hash {
        Some(hash) => hash.recv().map_err(io::Error::other)?,
        None => String::new(),
    };
    let file = Written {
        pending,
        size,
        sha256: sha256.clone(),
    };
    Ok(Whole {
        files: vec![file],
        size,
        sha256,
    })
}

fn detour(job: &WriteJob<'_>, path: &Utf8Path, plain: &Pending) -> io::Result<Whole> {
    let mut target = target(job, path)?;
    copy(&plain.file()?, &mut target)?;
    target.finish()
}

/// Copies a whole file and keeps its holes.
fn copy(file: &File, target: &mut Target) -> io::Result<()> {
    struct To<'a>(&'a mut Target);
    impl Sink for To<'_> {
        fn data(&mut self, _: u64, bytes: &[u8]) -> io::Result<()> {
            self.0.write_all(bytes)
        }
        fn zeros(&mut self, _: u64, len: u64) -> io::Result<()> {
            self.0.zeros(len)
        }
        fn finish(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    format::raw::emit(file, &mut To(target))
}

/// Reads files that could not be hashed while they were written, because their headers are written
/// last. Each has its own thread. The files were just written, so they are still in the page cache.
fn hash(artifacts: Vec<&mut Artifact>) -> io::Result<()> {
    std::thread::scope(|scope| {
        let mut running = Vec::new();
        for artifact in artifacts {
            let Some(written) = artifact.files.first_mut() else {
                continue;
            };
            let file = written.pending.file()?;
            let task = std::thread::Builder::new().spawn_scoped(scope, move || sha256_file(&file));
            running.push((&mut artifact.sha256, written, task?));
        }
        for (whole, written, task) in running {
            let died = |_| io::Error::other("a thread that computes checksums has panicked");
            *whole = task.join().map_err(died)??;
            written.sha256.clone_from(whole);
        }
        Ok(())
    })
}

impl Artifact {
    /// Whether the file is split into parts.
    pub fn is_split(&self) -> bool {
        self.files.len() > 1
    }

    /// The command that joins the parts, if there are any.
    pub fn join_command(&self) -> Option<String> {
        self.is_split().then(|| join_command(&self.file))
    }
}

/// Files in `dir` of an earlier artifact called `file`: its parts and the script that joins them,
/// or the whole file if the new one is `split`. They must go, because new parts joined with an old
/// one make a disk that does not boot.
pub fn stale(dir: &Utf8Path, file: &str, split: bool) -> io::Result<Vec<String>> {
    let mut stale = Vec::new();
    for entry in fs_err::read_dir(dir)? {
        // A name that is not UTF-8 is not one of ours.
        let name = entry?.file_name().into_string().unwrap_or_default();
        let other_form = match split {
            true => name == file,
            false => name == join_name(file),
        };
        if is_part_of(&name, file) || other_form {
            stale.push(name);
        }
    }
    Ok(stale)
}

/// Name of the script that joins the parts of `file`.
pub fn join_name(file: &str) -> String {
    format!("{file}.join.sh")
}
