//! Builds image files: a [`Request`] and a [`Progress`] go in, a [`Built`] comes out.
//!
//! This is the only way to make an image. The command line, the GitHub Action, the project's own
//! checks and the tests all use it, so they all make the same images. The steps are in [`plan`] and
//! [`image`]; each has its own file.

mod assembly;
mod checked;
mod container;
mod convert;
mod deliver;
mod esp;
mod exports;
mod extlinux;
mod from;
mod hosted;
mod input;
mod join;
mod kept;
mod loaders;
mod make_machine;
mod overrides;
mod pulled;
mod source;
mod unchanged;
mod volumes;

pub use assembly::{Assembly, HAS_PASSWORDS, MachineSpec};
pub use container::Container;
pub use convert::{Conversion, convert};
pub use deliver::Files;
pub use from::Input;
pub use make_machine::{MachineRequest, machine as make_machine};
pub use overrides::Overrides;
pub use source::Source;
pub use unchanged::{UpToDate, up_to_date};

use crate::bootloader::files::Loaders;
use crate::deliver::manifest;
use crate::deliver::sbom::Inventory;
use crate::engine::{self, Engine};
use crate::error::Report;
use crate::guest::{self, RootLogin};
use crate::machine;
use crate::model::{Arch, Join};
use crate::output::{self, Set};
use crate::place;
use crate::plan::{self, Plan};
use crate::progress::Progress;
use crate::recipe::{Found, Smoke};
use crate::rootfs::{Limits, Rootfs};
use camino::{Utf8Path, Utf8PathBuf};
use hosted::Hosted;
use input::Unchecked;
use join::Way;
use kept::Kept;
use source::Fetched;
use unchanged::Watch;

/// Which image to make, and how.
#[derive(Debug)]
pub struct Request {
    /// The recipe. It is optional for a [`Source::Container`]: by default the recipe that serves
    /// the container's distribution is used.
    pub recipe: Option<Found>,
    /// Values that override the recipe's.
    pub overrides: Overrides,
    /// Where the root file system comes from.
    pub source: Source,
    /// How a container becomes part of the machine; by default it is decided from the image.
    pub join: Option<Join>,
    /// The machine that a container is put into; by default the usual one.
    pub machine: Option<machine::Choice>,
    /// Where machines are stored.
    pub machines: machine::Store,
    /// How root can log in.
    pub login: RootLogin,
    /// The container engine to use; by default the first that answers.
    pub engine: Option<engine::Kind>,
    /// Network for the build's containers, as the engine calls it, e.g. `host`.
    pub network: Option<String>,
    /// Folder with the boot loaders' files; by default they are found or fetched.
    pub bootloader_dir: Option<Utf8PathBuf>,
    /// Limits on the size of the root file system, because the input is not trusted.
    pub limits: Limits,
    /// Time stamp for everything that is written, in seconds since 1970; by default the time of the
    /// root file system.
    pub epoch: Option<i64>,
    /// The disk of an earlier image of this name, a raw image, whose volumes the new one gets.
    pub keep_volumes: Option<Utf8PathBuf>,
    /// Folder for the image's files. Contents that come from a pipe are also stored there while the
    /// image is made.
    pub output: Utf8PathBuf,
    /// Which files to write.
    pub files: Files,
    /// What is kept of this run, and used of earlier ones.
    pub reuse: Reuse,
}

/// What a run uses of earlier ones. The image is the same in every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// Nothing is used, nor kept.
    Nothing,
    /// Nothing is used, but kept for later runs.
    Renew,
    /// What a container engine exported is used again.
    Everything,
}

/// Folder for the boot loaders' files that were fetched.
fn loaders_folder() -> Utf8PathBuf {
    place::cache("bootloader")
}

impl Request {
    /// A request for an image of a recipe without changes, in `output`.
    pub fn new(recipe: Found, output: &Utf8Path) -> Request {
        Request {
            recipe: Some(recipe),
            overrides: Overrides::default(),
            source: Source::Recipe,
            join: None,
            machine: None,
            machines: machine::Store::default(),
            login: RootLogin::default(),
            engine: None,
            network: None,
            bootloader_dir: None,
            limits: Limits::default(),
            epoch: None,
            keep_volumes: None,
            output: output.to_owned(),
            files: Files::default(),
            reuse: Reuse::Nothing,
        }
    }

    /// Fails if the request is wrong, as far as this can be seen before any work is done.
    pub fn check(&self) -> Result<(), Report> {
        match &self.source {
            Source::Container(container) => container.check()?,
            Source::File(input) => input.check("--from")?,
            Source::Recipe | Source::Rootfs(..) => {}
        }
        match &self.recipe {
            Some(found) => self.complete(found.clone()).map(|_| ()),
            None => self.overrides.check(),
        }
    }

    /// A name for the work, before the image's name is known. It contains only letters, digits,
    /// `.`, `-` and `_`.
    pub fn title(&self) -> String {
        match (&self.overrides.name, &self.source, &self.recipe) {
            (Some(name), ..) => name.clone(),
            (None, Source::Container(container), _) => container.image_name(),
            (None, _, Some(found)) => found.name.clone(),
            (None, _, None) => "image".to_owned(),
        }
    }

    /// The recipe with the overrides applied.
    fn complete(&self, found: Found) -> Result<Found, Report> {
        let found = self.overrides.apply(found)?;
        self.files.check(&found.recipe.formats)?;
        let arch = arch_of(&found);
        plan::check(arch, &found.recipe)?;
        let boot = plan::boot_mode(arch, &found.recipe)?;
        plan::targets::check(&found.name, arch, boot, &found.recipe)?;
        Ok(found)
    }
}

/// The architecture to build for: this host's if the recipe supports it, else the recipe's first.
fn arch_of(found: &Found) -> Arch {
    let can = &found.recipe.architectures;
    let host = engine::host_arch();
    if can.contains(&host) {
        return host;
    }
    // A recipe without architectures is refused when it is read.
    can.first().copied().unwrap_or(host)
}

/// An image that was made.
#[derive(Debug)]
pub struct Built {
    /// The plan of its disk.
    pub plan: Plan,
    /// How to test that it boots.
    pub smoke: Smoke,
    /// Its files: one for each format, or several if a file was split.
    pub files: Vec<Utf8PathBuf>,
    /// Who can log in and how, e.g. `root by password`.
    pub logins: Vec<String>,
}

/// Plans an image without writing it.
pub fn plan(mut request: Request, progress: &dyn Progress) -> Result<Plan, Report> {
    let mut job = Job::new(&request, progress)?;
    let (assembly, more) = job.assemble(&mut request, false)?;
    more.unchecked.into_iter().try_for_each(Unchecked::finish)?;
    Ok(assembly.plan)
}

/// Makes an image. What it was made from is remembered for [`up_to_date`].
pub fn image(mut request: Request, progress: &dyn Progress) -> Result<Built, Report> {
    let watch = (request.reuse != Reuse::Nothing).then(|| Watch::begin(&request));
    let mut job = Job::new(&request, progress)?;
    let files = request.files.clone();
    // Check this before the build, which may take minutes.
    let set = open(&request.output, &job.found.name, progress)?;
    let (assembly, more) = job.assemble(&mut request, true)?;
    progress.stage(&assembly.plan.summary());
    let contents = deliver::Contents {
        found: &job.found,
        assembly: &assembly,
        recipe: job.has_recipe,
        inventory: more.inventory,
        base: more.base,
        machine: more.machine,
        unchecked: more.unchecked,
    };
    let files = deliver::image(contents, &files, &set, progress)?;
    if let Some(watch) = watch {
        watch.end(&request, &assembly.plan.name, &files);
    }
    Ok(Built {
        logins: assembly.logins,
        plan: assembly.plan,
        smoke: job.found.recipe.smoke,
        files,
    })
}

/// Opens the folder for the files of the image `name`, and waits while another run uses it.
fn open(dir: &Utf8Path, name: &str, progress: &dyn Progress) -> Result<Set, Report> {
    Set::open(dir, name, &|text| progress.note(text)).map_err(|e| output::folder_error(dir, e))
}

/// What must be known before the build, which may take minutes and must not then fail because a
/// boot loader is missing.
struct Job<'a> {
    found: Found,
    arch: Arch,
    engine: Option<Engine>,
    container: Option<container::Prepared>,
    hosted: Option<Hosted>,
    /// Whether there is a recipe, or only defaults.
    has_recipe: bool,
    given: guest::Given,
    kept: Option<Kept>,
    /// `None` for a machine, which may bring them along.
    loaders: Option<Loaders>,
    progress: &'a dyn Progress,
}

/// Where an image comes from, for its metadata.
struct Origins {
    inventory: Option<Inventory>,
    base: Option<manifest::Base>,
    machine: Option<manifest::Machine>,
    unchecked: Vec<Unchecked>,
}

impl<'a> Job<'a> {
    fn new(request: &Request, progress: &'a dyn Progress) -> Result<Job<'a>, Report> {
        request.check()?;
        let (mut container, mut hosted) = (None, None);
        let found = match &request.source {
            Source::Container(given) => match join::decide(given, request, progress)? {
                Way::Native(prepared) => container.insert(*prepared).found.clone(),
                Way::Hosted(prepared) => hosted.insert(*prepared).found.clone(),
            },
            _ => {
                let found = request.recipe.clone();
                found.ok_or_else(|| Report::mistake("no recipe was given"))?
            }
        };
        let found = request.complete(found)?;
        let has_recipe = hosted.is_none() || request.recipe.is_some();
        let arch = arch_of(&found);
        let boot = plan::boot_mode(arch, &found.recipe)?;
        // Checking for an engine takes as long as reading a tar, so it is done only if one is
        // needed.
        let engine = match &request.source {
            // Most machines bring the boot loaders along, which is seen when their tree is read.
            Source::Container(_) if hosted.is_some() => None,
            Source::Recipe | Source::Container(_) => Some(Engine::find(request.engine)?),
            _ => loaders::engine(request, boot, arch),
        };
        let given = match has_recipe {
            true => guest::Given::read(&found.recipe, &found.dir, &request.login)?,
            false => guest::Given::without_recipe(&request.login)?,
        };
        let kept = Kept::of(request, &found, arch)?;
        let loaders = match hosted {
            Some(_) => None,
            None => Some(loaders::get(
                request,
                boot,
                arch,
                engine.as_ref(),
                progress,
            )?),
        };
        Ok(Job {
            found,
            arch,
            engine,
            container,
            hosted,
            has_recipe,
            given,
            loaders,
            kept,
            progress,
        })
    }

    /// Gets the root file system and turns it into a machine. `metadata` is true if an image is
    /// written, because then its packages may be needed.
    fn assemble(
        &mut self,
        request: &mut Request,
        metadata: bool,
    ) -> Result<(Assembly, Origins), Report> {
        let wants_packages = metadata && request.files.metadata;
        let epoch = request.epoch;
        let Fetched {
            mut rootfs,
            mut hosted,
            base,
            machine,
            container,
            unchecked,
        } = match self.hosted.take() {
            Some(hosted) => {
                let fetched = hosted.fetch(request, self.progress)?;
                self.loaders = Some(self.loaders_with(&fetched.rootfs, request)?);
                fetched
            }
            None => source::fetch(self, request)?,
        };
        if let Some(epoch) = epoch {
            rootfs.set_epoch(epoch);
            if let Some(hosted) = &mut hosted {
                hosted.set_epoch(epoch);
            }
        }
        // Read them before the root file system becomes a disk, whose files cannot be read any
        // more.
        let inventory = match wants_packages {
            true => Some(self.inventory(&rootfs, hosted.as_ref())?),
            false => None,
        };
        let spec = MachineSpec {
            name: self.found.name.clone(),
            arch: self.arch,
            recipe: self.found.recipe.clone(),
            given: self.given.clone(),
            container,
            kept: self.kept.clone(),
        };
        let Some(loaders) = self.loaders.take() else {
            return Err(Report::failure("finding the boot loaders (this is a bug)"));
        };
        let assembly = Assembly::joined(rootfs, hosted, &spec, &loaders)?;
        for note in &assembly.notes {
            self.progress.note(note);
        }
        let origins = Origins {
            inventory,
            base,
            machine,
            unchecked,
        };
        Ok((assembly, origins))
    }

    /// The boot loaders' files of a machine, or else the usual ones.
    fn loaders_with(&self, machine: &Rootfs, request: &Request) -> Result<Loaders, Report> {
        let boot = plan::boot_mode(self.arch, &self.found.recipe)?;
        if let Some(loaders) = loaders::of_machine(machine, request, boot, self.arch)? {
            return Ok(loaders);
        }
        let engine = loaders::engine(request, boot, self.arch);
        loaders::get(request, boot, self.arch, engine.as_ref(), self.progress)
    }

    /// The packages of the root file system, and of a container in it.
    fn inventory(&self, rootfs: &Rootfs, hosted: Option<&Rootfs>) -> Result<Inventory, Report> {
        let inventory = hosted::inventory(rootfs, hosted)
            .map_err(|e| Report::failure("listing the packages of the image").because(e))?;
        for path in &inventory.unread {
            self.progress.note(&format!(
                "the packages in {path} are not listed, because this kind of database is not supported"
            ));
        }
        Ok(inventory)
    }
}
