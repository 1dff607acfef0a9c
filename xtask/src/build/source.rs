//! Where the root file system comes from.

use super::container::{ARGUMENTS, Container};
use super::{Job, Request, input, pulled};
use crate::deliver::manifest;
use crate::engine::{self, Build, Engine, Starts};
use crate::error::Report;
use crate::model::{Transport, is_host};
use crate::plan::ContainerFacts;
use crate::progress::Counted;
use crate::rootfs::oci::{Config, Wanted};
use crate::rootfs::{Budget, Rootfs, tar};
use camino::{Utf8Path, Utf8PathBuf};

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

/// A root file system or a container image in files or in a registry.
#[derive(Debug, Clone)]
pub struct Input {
    /// Where it is.
    pub place: Transport,
    /// Which image to use if there are several: its name, tag or digest.
    pub image_name: Option<String>,
    /// Newest variant of the architecture that the machine supports, e.g. `v3`.
    pub variant: Option<String>,
    /// Folder with further blobs of an OCI layout.
    pub blob_dir: Option<Utf8PathBuf>,
    /// Registries, with their ports, to which plain HTTP is used.
    pub insecure_registries: Vec<String>,
}

impl Input {
    /// The input at this place, with nothing else specified.
    pub fn new(place: Transport) -> Input {
        Input {
            place,
            image_name: None,
            variant: None,
            blob_dir: None,
            insecure_registries: Vec::new(),
        }
    }

    /// Fails if its parts contradict each other.
    pub(super) fn check(&self) -> Result<(), Report> {
        let place = &self.place;
        let conflict = |option: &str, why: &str, hint: &str| {
            Err(Report::mistake(format!("{option} does not fit --from {place}: {why}")).hint(hint))
        };
        let registry = matches!(place, Transport::Registry(_));
        if self.image_name.is_some() && (registry || place.name().is_some()) {
            return conflict(
                "--image-name",
                "that already names the image",
                "give the name once",
            );
        }
        if self.blob_dir.is_some() && registry {
            return conflict("--blob-dir", "that is a registry", "leave it out");
        }
        if !self.insecure_registries.is_empty() && !registry {
            return conflict(
                "--insecure-registry",
                "that is not a registry",
                "leave it out, or write docker://HOST/REPOSITORY:TAG",
            );
        }
        let wrong = self.insecure_registries.iter().find(|host| !is_host(host));
        match wrong {
            Some(host) => Err(Report::mistake(format!(
                "--insecure-registry {host:?} is not a host name with an optional port"
            ))
            .hint("write it as in the name of the image, e.g. localhost:5000")),
            None => Ok(()),
        }
    }
}

/// A root file system, and where it comes from.
pub(super) struct Fetched {
    pub(super) rootfs: Rootfs,
    pub(super) base: Option<manifest::Base>,
    pub(super) container: ContainerFacts,
}

/// Gets the root file system of a request.
pub(super) fn fetch(job: &Job<'_>, request: Request) -> Result<Fetched, Report> {
    let plain = |rootfs, config: Option<Config>| Fetched {
        rootfs,
        base: None,
        container: ContainerFacts {
            given: config.is_some(),
            join: None,
            config,
        },
    };
    match request.source {
        Source::Rootfs(rootfs, config) => Ok(plain(*rootfs, config)),
        Source::File(from) => {
            let name = from.place.name().map(str::to_owned);
            let wanted = Wanted {
                arch: job.arch,
                variant: from.variant,
                name: from.image_name.or(name),
                blob_dir: from.blob_dir,
            };
            let (limits, spool) = (request.limits, &request.output);
            let read = match &from.place {
                Transport::Registry(reference) => {
                    let insecure = &from.insecure_registries;
                    pulled::read(reference, insecure, &wanted, limits, spool, job.progress)
                }
                place => input::read(place, &wanted, Budget::new(limits), spool, job.progress),
            };
            let (rootfs, config) = read?;
            Ok(plain(rootfs, config))
        }
        Source::Recipe | Source::Container(_) => from_engine(job, &request),
    }
}

/// Builds the recipe's Dockerfile and exports the result.
fn from_engine(job: &Job<'_>, request: &Request) -> Result<Fetched, Report> {
    let Job {
        found, progress, ..
    } = job;
    let engine = job.engine.as_ref();
    let engine = engine.ok_or_else(|| Report::failure("no container engine"))?;
    let (what, base) = dockerfile(job, request, engine)?;
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
    let stream = engine::export(engine, &image.id)?;
    let stream = Counted::new(stream, progress.bytes("exporting", None));
    let mut rootfs =
        tar::from_stream_within(stream, &request.output, &Budget::new(request.limits))?;
    // The container was created just now, so the time of its image or of its files is used.
    let made_up = !rootfs.may_be_of(created);
    let newest = rootfs.newest_file().filter(|_| made_up);
    rootfs.set_epoch(newest.unwrap_or(created));
    let container = match &job.container {
        Some(prepared) => prepared.facts.clone(),
        None => ContainerFacts {
            config: found.recipe.service.is_some().then_some(config),
            given: false,
            join: None,
        },
    };
    Ok(Fetched {
        rootfs,
        base,
        container,
    })
}

/// The base without settings that would disturb the recipe's build, if it has any. For a container
/// this has already been done.
fn neutral_base(
    job: &Job<'_>,
    request: &Request,
    engine: &Engine,
    base: &str,
) -> Result<Option<String>, Report> {
    let given = job.found.recipe.build_args.keys().map(String::as_str);
    let (starts, arguments) = match (&request.source, &request.overrides.base) {
        (Source::Container(_), _) => return Ok(None),
        (_, Some(_)) => (Starts::OtherBase, given.chain(ARGUMENTS).collect()),
        (_, None) => (Starts::OwnBase, given.collect::<Vec<&str>>()),
    };
    let say = |text: &str| job.progress.stage(text);
    let starts = (starts, &arguments[..]);
    engine::neutral(engine, (base, base), job.arch, starts, &say)
}

/// The build of a recipe's Dockerfile, and its base for the metadata.
fn dockerfile<'a>(
    job: &'a Job<'_>,
    request: &'a Request,
    engine: &Engine,
) -> Result<(Build<'a>, Option<manifest::Base>), Report> {
    let Job { found, arch, .. } = job;
    let mut platform = (*arch != engine::host_arch()).then_some(*arch);
    let mut args = found.recipe.build_args.clone();
    let mut origin = None;
    if let Some(base) = &found.recipe.base {
        let bootstrap = found.dir.join("bootstrap");
        let say = |text: &str| job.progress.stage(text);
        let ready = engine::ensure_base(engine, base, *arch, Some(&bootstrap), &say)?;
        origin = Some(manifest::Base {
            // For a container, the recipe's base is a tag that only this program uses.
            name: match &request.source {
                Source::Container(container) => container.named().to_owned(),
                _ => base.clone(),
            },
            digest: engine.digest(&ready.name),
        });
        let name = neutral_base(job, request, engine, &ready.name)?;
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
        tag: engine::tag(&found.name, *arch),
        network: request.network.as_deref(),
    };
    Ok((what, origin))
}
