//! All that the bytes of an image depend on, each with a digest.

use super::dockerfile::{self, Unclear};
use super::folder::{self, By, Unlike};
use crate::bootloader::files::From;
use crate::build::{Container, Input, Request, Source, arch_of, loaders_folder};
use crate::engine::{self, Engine};
use crate::error::{self, Report};
use crate::machine;
use crate::model::{Arch, BootMode, Digest, Transport};
use crate::plan;
use crate::recipe;
use crate::small;
use crate::stamp::Stamp;
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::env;

/// Largest Dockerfile that is read, in bytes.
const DOCKERFILE: u64 = 1 << 20;

/// Variables that choose the engine's server.
const SERVERS: [&str; 4] = [
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "CONTAINER_HOST",
    "BUILDX_BUILDER",
];

/// All inputs of an image: what each is, and its digest, which is `None` for what is not there yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Inputs(BTreeMap<String, Option<String>>);

/// Why it cannot be told whether an image would be the same again.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unknown {
    #[error("{0}")]
    File(#[from] Unlike),
    #[error("{0}: {1}")]
    Dockerfile(Utf8PathBuf, Unclear),
    #[error("reading {0}: {1}")]
    Text(Utf8PathBuf, std::io::Error),
    #[error("finding this program: {0}")]
    Program(std::io::Error),
    #[error("{0} may mean another image at any time")]
    Tag(String),
    #[error("standard input is new each time")]
    Stdin,
    #[error("the volumes of a disk that may be in use are taken over")]
    Volumes,
    #[error("the root file system is in memory")]
    Memory,
    #[error("{0} is not in the container engine")]
    Missing(String),
    #[error("{0}")]
    Report(String),
}

impl std::convert::From<Report> for Unknown {
    fn from(report: Report) -> Unknown {
        Unknown::Report(error::describe(&report.into()).0)
    }
}

impl Inputs {
    /// The inputs of an image that was not made yet.
    pub(super) fn of(request: &Request) -> Result<Inputs, Unknown> {
        let mut inputs = Inputs(BTreeMap::new());
        inputs.fixed(request)?;
        inputs.found(request)?;
        Ok(inputs)
    }

    /// The inputs after the image was made: what the run itself had to get first is there now.
    /// Everything else is as it was before the run, so a change during the run is noticed later.
    pub(super) fn after(mut self, request: &Request) -> Result<Inputs, Unknown> {
        if self.0.values().any(Option::is_none) {
            let mut now = Inputs(BTreeMap::new());
            now.found(request)?;
            for (what, digest) in now.0 {
                let known = self.0.entry(what).or_default();
                *known = known.take().or(digest);
            }
        }
        let missing = self.0.iter().find(|(_, digest)| digest.is_none());
        match missing {
            Some((what, _)) if what.starts_with(IMAGE) => Err(Unknown::Missing(what.clone())),
            _ => Ok(self),
        }
    }

    /// The first input that is not the same in `now`.
    pub(super) fn changed(&self, now: &Inputs) -> Option<String> {
        let all: BTreeSet<&String> = self.0.keys().chain(now.0.keys()).collect();
        let differs = |what: &&&String| self.0.get(**what) != now.0.get(**what);
        all.iter().find(differs).map(|what| (**what).clone())
    }

    fn add(&mut self, what: impl Into<String>, digest: Option<String>) {
        self.0.insert(what.into(), digest);
    }

    /// What is there before the run, or the run fails.
    fn fixed(&mut self, request: &Request) -> Result<(), Unknown> {
        if request.keep_volumes.is_some() {
            return Err(Unknown::Volumes);
        }
        let program = env::current_exe().and_then(std::fs::metadata);
        let program = Stamp::of(&program.map_err(Unknown::Program)?);
        let version = env!("CARGO_PKG_VERSION");
        self.add("the program", Some(of(&(version, program))));
        self.options(request)?;
        if let Some(found) = &request.recipe {
            self.folder(&found.dir)?;
        } else if let Source::Container(_) = request.source {
            // Which of them serves the container is decided later.
            let own = recipe::own()?;
            self.folder(&own)?;
        }
        match &request.source {
            Source::Recipe | Source::Container(Container::Image(_)) => Ok(()),
            Source::Container(Container::Dockerfile { file, context }) => {
                self.add(format!("{file}"), Some(folder::content(file)?));
                let folder = file.parent().filter(|dir| !dir.as_str().is_empty());
                let context = context.as_deref().or(folder);
                self.folder(context.unwrap_or(Utf8Path::new(".")))
            }
            Source::File(input) | Source::Container(Container::Stored(input)) => self.input(input),
            Source::Rootfs(..) => Err(Unknown::Memory),
        }
    }

    /// Everything that was asked for. A new field of a request is noticed without a change here.
    fn options(&mut self, request: &Request) -> Result<(), Unknown> {
        let mut files = request.files.clone();
        files.threads = None;
        let source = match &request.source {
            Source::Rootfs(..) => return Err(Unknown::Memory),
            source => source,
        };
        let login = &request.login;
        let servers = SERVERS.map(env::var_os);
        let asked = of(&(
            (&request.overrides, source, &request.join, &request.machine),
            (&request.machines, &request.engine, &request.network),
            (&request.bootloader_dir, &request.limits, &request.epoch),
            (&files, servers),
        ));
        self.add("the options", Some(asked));
        self.add("the recipe", Some(of(&request.recipe)));
        // A digest of a hash with its salt tells nothing of the password. Of a password in a file
        // only the state of the file is used.
        let hash = login.password_hash.as_ref().map(|hash| hash.reveal());
        self.add("the password of root", Some(of(&hash)));
        if let Some(file) = &login.password_file {
            self.add(format!("{file}"), Some(folder::stamp(file)?));
        }
        let found = request.recipe.iter();
        let users = found.flat_map(|found| found.recipe.users.iter().map(move |u| (found, u)));
        let texts = users.flat_map(|(found, user)| {
            let keys = user.ssh_keys.iter();
            keys.map(|text| found.dir.join(text))
        });
        // Keys themselves are no files, and part of the recipe.
        let files: Vec<Utf8PathBuf> = texts.filter(|path| path.is_file()).collect();
        for file in files.iter().chain(&login.ssh_keys) {
            self.add(format!("{file}"), Some(folder::content(file)?));
        }
        Ok(())
    }

    fn folder(&mut self, dir: &Utf8Path) -> Result<(), Unknown> {
        let digest = folder::digest(dir, By::Content)?;
        self.add(format!("the folder {dir}"), Some(digest));
        Ok(())
    }

    /// A root file system or an image that is read.
    fn input(&mut self, input: &Input) -> Result<(), Unknown> {
        let path = match &input.place {
            Transport::Registry(reference) => {
                return match reference.digest() {
                    Some(_) => Ok(()),
                    None => Err(Unknown::Tag(input.place.to_string())),
                };
            }
            Transport::Path(path) if path == "-" => return Err(Unknown::Stdin),
            Transport::Path(path)
            | Transport::OciDir(path, _)
            | Transport::OciArchive(path, _)
            | Transport::DockerArchive(path, _) => path,
        };
        for path in [Some(path), input.blob_dir.as_ref()].into_iter().flatten() {
            let digest = match path.is_dir() {
                true => folder::digest(path, By::Stamp)?,
                false => folder::stamp(path)?,
            };
            self.add(format!("{path}"), Some(digest));
        }
        Ok(())
    }

    /// What a run gets for itself if it is missing.
    fn found(&mut self, request: &Request) -> Result<(), Unknown> {
        let arch = arch(request);
        self.loaders(request, arch)?;
        match &request.source {
            Source::Recipe => {
                let engine = Engine::find(request.engine)?;
                self.bases(request, &engine, arch)
            }
            Source::Container(container) => {
                let store = request.machines.dir();
                let layout = match &request.machine {
                    Some(machine::Choice::Layout(dir, _)) => dir,
                    _ => store,
                };
                self.add(
                    "the machines",
                    folder::content(&layout.join("index.json")).ok(),
                );
                self.container(container, request, arch)
            }
            Source::File(_) | Source::Rootfs(..) => Ok(()),
        }
    }

    /// The image in the engine that a container is made from.
    fn container(
        &mut self,
        container: &Container,
        request: &Request,
        arch: Arch,
    ) -> Result<(), Unknown> {
        match container {
            Container::Stored(_) => Ok(()),
            Container::Image(name) => {
                let engine = Engine::find(request.engine)?;
                self.image(&engine, name, &[]);
                self.bases(request, &engine, arch)
            }
            Container::Dockerfile { file, .. } => {
                let engine = Engine::find(request.engine)?;
                self.images_of(file, &request.overrides.build_args, &engine)?;
                self.bases(request, &engine, arch)
            }
        }
    }

    /// The images that the recipe's Dockerfile is based on.
    fn bases(&mut self, request: &Request, engine: &Engine, arch: Arch) -> Result<(), Unknown> {
        // Our own recipes are only based on what they are given.
        let Some(found) = &request.recipe else {
            return Ok(());
        };
        let mut arguments = found.recipe.build_args.clone();
        arguments.extend(request.overrides.build_args.clone());
        match (&request.source, &request.overrides.base, &found.recipe.base) {
            (Source::Container(_), ..) => {
                arguments.insert("BASE".into(), "scratch".into());
            }
            (_, Some(base), _) | (_, None, Some(base)) => {
                let own = engine::own_name(base, arch);
                self.image(engine, base, &[&own]);
                arguments.insert("BASE".into(), "scratch".into());
            }
            (_, None, None) => {}
        }
        self.images_of(&found.dir.join("Dockerfile"), &arguments, engine)
    }

    fn images_of(
        &mut self,
        file: &Utf8Path,
        arguments: &BTreeMap<String, String>,
        engine: &Engine,
    ) -> Result<(), Unknown> {
        let text = small::regular(file, DOCKERFILE).map_err(|e| Unknown::Text(file.into(), e))?;
        let images = dockerfile::images(&text, arguments);
        for image in images.map_err(|e| Unknown::Dockerfile(file.into(), e))? {
            self.image(engine, &image, &[]);
        }
        Ok(())
    }

    /// The ID of an image in the engine, which may have other names there.
    fn image(&mut self, engine: &Engine, name: &str, others: &[&str]) {
        let names = [name].into_iter().chain(others.iter().copied());
        let ids: Vec<String> = names
            .filter_map(|name| engine.id(name).ok())
            .filter(|id| !id.is_empty())
            .collect();
        let id = (!ids.is_empty()).then(|| ids.join(" "));
        self.add(format!("{IMAGE}{name}"), id);
    }

    /// The boot loaders' files.
    fn loaders(&mut self, request: &Request, arch: Arch) -> Result<(), Unknown> {
        let boot = boot(request, arch);
        let dir = request.bootloader_dir.clone();
        let cached = From::Dir(loaders_folder().join(arch.to_string()));
        let from = match dir {
            Some(dir) => From::Dir(dir),
            None if cached.missing(boot, arch).is_empty() => cached,
            None => From::Host,
        };
        let there = from.missing(boot, arch).is_empty();
        let files = there.then(|| from.load(boot, arch)).transpose()?;
        self.add("the boot loaders", files.map(|files| of(&files)));
        Ok(())
    }
}

/// How images of the engine are called among the inputs.
const IMAGE: &str = "the container image ";

/// The digest of a value's contents.
fn of(value: &impl std::fmt::Debug) -> String {
    Digest::of(format!("{value:?}").as_bytes()).hex()
}

fn arch(request: &Request) -> Arch {
    match (request.overrides.arch, &request.recipe) {
        (Some(arch), _) => arch,
        (None, Some(found)) => arch_of(found),
        (None, None) => engine::host_arch(),
    }
}

/// The boot mode of the image, as far as it is known before its container is read.
fn boot(request: &Request, arch: Arch) -> BootMode {
    let mut recipe = match &request.recipe {
        Some(found) => found.recipe.clone(),
        None => recipe::Recipe::default(),
    };
    recipe.boot = request.overrides.boot.unwrap_or(recipe.boot);
    plan::boot_mode(arch, &recipe).unwrap_or(recipe.boot)
}
