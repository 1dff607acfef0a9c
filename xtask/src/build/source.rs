//! Where the root file system comes from.

use super::container::{ARGUMENTS, Container};
use super::exports::{Exports, Unkept};
use super::from::Input;
use super::input::Unchecked;
use super::{Job, Request, Reuse};
use crate::deliver::manifest;
use crate::engine::{self, Build, Engine, Starts};
use crate::error::Report;
use crate::model::Arch;
use crate::output;
use crate::plan::ContainerFacts;
use crate::progress::{Counted, Progress};
use crate::recipe::Found;
use crate::rootfs::oci::Config;
use crate::rootfs::{Budget, Limits, Rootfs, tar};
use camino::Utf8Path;
use std::mem;

/// Where the root file system comes from.
#[derive(Debug)]
pub enum Source {
    /// The recipe's Dockerfile is built.
    Recipe,
    /// A container; the recipe's Dockerfile is built on top of it.
    Container(Container),
    /// Files, or an image in a registry; nothing is built.
    File(Input),
    /// A root file system in memory, with the configuration of its image if it has one.
    Rootfs(Box<Rootfs>, Option<Config>),
}

/// A root file system, and where it comes from.
pub(super) struct Fetched {
    pub(super) rootfs: Rootfs,
    /// The tree of a container that is put into the machine as it is.
    pub(super) hosted: Option<Rootfs>,
    pub(super) base: Option<manifest::Base>,
    pub(super) machine: Option<manifest::Machine>,
    pub(super) container: ContainerFacts,
    /// What is still being checked.
    pub(super) unchecked: Vec<Unchecked>,
}

/// Gets the root file system of a request.
pub(super) fn fetch(job: &Job<'_>, request: &mut Request) -> Result<Fetched, Report> {
    let plain = |rootfs, config: Option<Config>, unchecked| Fetched {
        rootfs,
        hosted: None,
        base: None,
        machine: None,
        unchecked,
        container: ContainerFacts {
            given: config.is_some(),
            join: None,
            privileged: false,
            config,
        },
    };
    // A root file system in memory is used up.
    if let Source::Rootfs(..) = request.source
        && let Source::Rootfs(rootfs, config) = mem::replace(&mut request.source, Source::Recipe)
    {
        return Ok(plain(*rootfs, config, Vec::new()));
    }
    match &request.source {
        Source::File(from) => {
            let read = from.read(job.arch, request.limits, &request.output, job.progress)?;
            Ok(plain(read.rootfs, read.config, vec![read.unchecked]))
        }
        Source::Recipe | Source::Container(_) | Source::Rootfs(..) => from_engine(job, request),
    }
}

/// Builds the recipe's Dockerfile and exports the result.
fn from_engine(job: &Job<'_>, request: &Request) -> Result<Fetched, Report> {
    let Job {
        found, progress, ..
    } = job;
    let engine = job.engine.as_ref();
    let engine = engine.ok_or_else(|| Report::failure("no container engine"))?;
    let (what, base) = dockerfile(found, job.arch, request, engine, *progress)?;
    progress.stage(&format!(
        "{}: building {} with {}",
        found.name,
        found.dir,
        engine.name()
    ));
    let image = engine::build(engine, &what, &|line| progress.detail(line))?;
    progress.stage(&format!("{}: exporting", found.name));
    // Use the id, because another run may move the tag to another image at any time.
    let config = engine.config(&image.id)?;
    let created = engine.created(&image.id)?;
    let origin = Origin {
        created,
        spool: &request.output,
        limits: request.limits,
        reuse: request.reuse,
    };
    let rootfs = exported(engine, &image.id, &origin, *progress)?;
    let container = match &job.container {
        Some(prepared) => prepared.facts.clone(),
        None => ContainerFacts {
            config: found.recipe.service.is_some().then_some(config),
            given: false,
            join: None,
            privileged: false,
        },
    };
    Ok(Fetched {
        rootfs,
        hosted: None,
        base,
        machine: None,
        container,
        unchecked: Vec::new(),
    })
}

/// How an image of the engine is read.
pub(super) struct Origin<'a> {
    /// When the image was created, in seconds since 1970.
    pub(super) created: i64,
    /// Folder for contents while the image is made.
    pub(super) spool: &'a Utf8Path,
    pub(super) limits: Limits,
    pub(super) reuse: Reuse,
}

/// The root file system of an image of the engine.
pub(super) fn exported(
    engine: &Engine,
    image: &str,
    origin: &Origin<'_>,
    progress: &dyn Progress,
) -> Result<Rootfs, Report> {
    let exports = Exports::beside(origin.spool, origin.reuse);
    let may_use = origin.reuse == Reuse::Everything;
    let kept = exports.as_ref().filter(|_| may_use);
    let budget = Budget::new(origin.limits);
    let mut rootfs = match kept.and_then(|exports| exports.find(image)) {
        Some(file) => {
            progress.detail("this image was exported before: its files are still here");
            tar::from_file_within(file, origin.spool, &budget)?
        }
        None => export(engine, image, exports.as_ref(), (origin, &budget), progress)?,
    };
    // The container was created just now, so the time of its image or of its files is used.
    let made_up = !rootfs.may_be_of(origin.created);
    let newest = rootfs.newest_file().filter(|_| made_up);
    rootfs.set_epoch(newest.unwrap_or(origin.created));
    Ok(rootfs)
}

/// Exports an image, and keeps its tar if that is possible.
fn export(
    engine: &Engine,
    image: &str,
    exports: Option<&Exports>,
    (origin, budget): (&Origin<'_>, &Budget),
    progress: &dyn Progress,
) -> Result<Rootfs, Report> {
    let stream = engine::export(engine, image)?;
    let mut stream = Counted::new(stream, progress.bytes("exporting", None));
    match exports.map(|exports| exports.keep(image, &mut stream)) {
        Some(Ok(file)) => Ok(tar::from_file_within(file, origin.spool, budget)?),
        None | Some(Err(Unkept::Id)) => Ok(tar::from_stream_within(stream, origin.spool, budget)?),
        Some(Err(Unkept::Read(e))) => Err(Report::failure(format!("exporting {image}")).because(e)),
        Some(Err(Unkept::Write(e))) => Err(output::write_error(origin.spool, e)),
    }
}

/// The base without settings that would disturb the recipe's build, if it has any. For a container
/// this has already been done.
fn neutral_base(
    (found, arch): (&Found, Arch),
    request: &Request,
    engine: &Engine,
    base: &str,
    progress: &dyn Progress,
) -> Result<Option<String>, Report> {
    let given = found.recipe.build_args.keys().map(String::as_str);
    let (starts, arguments) = match (&request.source, &request.overrides.base) {
        (Source::Container(_), _) => return Ok(None),
        (_, Some(_)) => (Starts::OtherBase, given.chain(ARGUMENTS).collect()),
        (_, None) => (Starts::OwnBase, given.collect::<Vec<&str>>()),
    };
    let say = |text: &str| progress.stage(text);
    let starts = (starts, &arguments[..]);
    engine::neutral(engine, (base, base), arch, starts, &say)
}

/// The build of a recipe's Dockerfile, and its base for the metadata.
pub(super) fn dockerfile<'a>(
    found: &'a Found,
    arch: Arch,
    request: &'a Request,
    engine: &Engine,
    progress: &dyn Progress,
) -> Result<(Build<'a>, Option<manifest::Base>), Report> {
    let mut platform = (arch != engine::host_arch()).then_some(arch);
    let mut args = found.recipe.build_args.clone();
    let mut origin = None;
    if let Some(base) = &found.recipe.base {
        let bootstrap = found.dir.join("bootstrap");
        let say = |text: &str| progress.stage(text);
        let ready = engine::ensure_base(engine, base, arch, Some(&bootstrap), &say)?;
        origin = Some(manifest::Base {
            // For a container, the recipe's base is a tag that only this program uses.
            name: match &request.source {
                Source::Container(container) => container.named(),
                _ => base.clone(),
            },
            digest: engine.digest(&ready.name),
        });
        let name = neutral_base((found, arch), request, engine, &ready.name, progress)?;
        args.insert("BASE".into(), name.unwrap_or(ready.name));
        platform = ready.platform;
    }
    if let Some(epoch) = request.epoch {
        args.insert("SOURCE_DATE_EPOCH".into(), epoch.to_string());
    }
    let what = Build {
        context: Utf8Path::new(&found.dir),
        dockerfile: None,
        args,
        platform,
        tag: engine::tag(&found.name, arch),
        network: request.network.as_deref(),
    };
    Ok((what, origin))
}
