//! From what somebody wants to image files: a [`Request`] and somebody who listens in, [`Built`]
//! out.
//!
//! This is the one way to make an image. The command line, the GitHub Action, the project's own
//! checks and the tests all come through here, so none of them can make an image that another
//! would not. The steps are in [`plan`] and [`image`]; each has a file of its own.

mod assembly;
mod container;
mod convert;
mod deliver;
mod esp;
mod extlinux;
mod input;
mod loaders;
mod overrides;
mod source;

pub use assembly::{Assembly, MachineSpec};
pub use container::Container;
pub use convert::{Conversion, convert};
pub use deliver::Files;
pub use overrides::Overrides;
pub use source::{Input, Source};

use crate::deliver::sbom::Inventory;
use crate::engine::{self, Engine};
use crate::error::Report;
use crate::guest::{self, RootLogin};
use crate::model::Arch;
use crate::output::{self, Set};
use crate::plan::{self, Plan};
use crate::progress::Progress;
use crate::recipe::{Found, Smoke};
use crate::rootfs::{Limits, Rootfs};
use camino::{Utf8Path, Utf8PathBuf};
use source::Fetched;

/// What image is wanted, and how it is to be made.
#[derive(Debug)]
pub struct Request {
    /// The recipe. It may be left out for a [`Source::Container`]: then the recipe is taken that
    /// serves the container's distribution.
    pub recipe: Option<Found>,
    /// What is to be different from what the recipe says.
    pub overrides: Overrides,
    /// Where the root file system comes from.
    pub source: Source,
    /// How root may log in.
    pub login: RootLogin,
    /// The container engine to use; the first that answers if it is left out.
    pub engine: Option<engine::Kind>,
    /// Network of the containers that a build runs, in the engine's words (`host`).
    pub network: Option<String>,
    /// Folder with the boot loaders' files; found or fetched if it is left out.
    pub bootloader_dir: Option<Utf8PathBuf>,
    /// What the root file system may take: bounds on what other people's input can cost.
    pub limits: Limits,
    /// "Now" for everything that is made, in seconds since 1970; the time of the root file system
    /// if it is left out.
    pub epoch: Option<i64>,
    /// The folder for the image's files. Contents that come through a pipe are kept there, too,
    /// while the image is made.
    pub output: Utf8PathBuf,
    /// Which files are written.
    pub files: Files,
}

/// Where the boot loaders' files are kept once they were fetched.
const LOADERS: &str = "target/bootloader";

impl Request {
    /// An image of a recipe as it is, in `output`.
    pub fn new(recipe: Found, output: &Utf8Path) -> Request {
        Request {
            recipe: Some(recipe),
            overrides: Overrides::default(),
            source: Source::Recipe,
            login: RootLogin::default(),
            engine: None,
            network: None,
            bootloader_dir: None,
            limits: Limits::default(),
            epoch: None,
            output: output.to_owned(),
            files: Files::default(),
        }
    }

    /// Fails if something is wrong with what is wanted, as far as that can be seen without doing
    /// anything.
    pub fn check(&self) -> Result<(), Report> {
        if let Source::Container(container) = &self.source {
            container.check()?;
        }
        match &self.recipe {
            Some(found) => self.complete(found.clone()).map(|_| ()),
            None => self.overrides.check(),
        }
    }

    /// A name for the work, as far as it is known before anything is done: plain letters, digits,
    /// `.`, `-` and `_`.
    pub fn title(&self) -> String {
        match (&self.overrides.name, &self.source, &self.recipe) {
            (Some(name), ..) => name.clone(),
            (None, Source::Container(container), _) => container.image_name(),
            (None, _, Some(found)) => found.name.clone(),
            (None, _, None) => "image".to_owned(),
        }
    }

    /// The recipe with what is to be different.
    fn complete(&self, found: Found) -> Result<Found, Report> {
        let found = self.overrides.apply(found)?;
        self.files.check(&found.recipe.formats)?;
        plan::check(arch_of(&found), &found.recipe)?;
        Ok(found)
    }
}

/// The architecture to build for: this host's if the recipe can, else its first.
fn arch_of(found: &Found) -> Arch {
    let can = &found.recipe.architectures;
    let host = engine::host_arch();
    if can.contains(&host) {
        return host;
    }
    // A recipe without an architecture is refused when it is read.
    can.first().copied().unwrap_or(host)
}

/// An image that was made.
#[derive(Debug)]
pub struct Built {
    /// What it is.
    pub plan: Plan,
    /// How it proves that it works.
    pub smoke: Smoke,
    /// Its files: one for each format, or the parts of one.
    pub files: Vec<Utf8PathBuf>,
    /// Who can log in, and how: `root by password`.
    pub logins: Vec<String>,
}

/// Plans an image and writes nothing.
pub fn plan(request: Request, progress: &dyn Progress) -> Result<Plan, Report> {
    let job = Job::new(&request, progress)?;
    let (assembly, _) = job.assemble(request, false)?;
    Ok(assembly.plan)
}

/// Makes an image.
pub fn image(request: Request, progress: &dyn Progress) -> Result<Built, Report> {
    let job = Job::new(&request, progress)?;
    let files = request.files.clone();
    // Nobody waits for a build whose image then has no place to go to.
    let set = open(&request.output, &job.found.name, progress)?;
    let (assembly, more) = job.assemble(request, true)?;
    progress.stage(&assembly.plan.summary());
    let contents = deliver::Contents {
        found: &job.found,
        assembly: &assembly,
        inventory: more.inventory,
        base: more.base,
    };
    let files = deliver::image(contents, &files, &set, progress)?;
    Ok(Built {
        logins: assembly.logins,
        plan: assembly.plan,
        smoke: job.found.recipe.smoke,
        files,
    })
}

/// Takes the folder for the files of the image `name`; waits for another run that has it.
fn open(dir: &Utf8Path, name: &str, progress: &dyn Progress) -> Result<Set, Report> {
    Set::open(dir, name, &|text| progress.note(text)).map_err(|e| output::folder_error(dir, e))
}

/// What has to be known before anything is built: an image is not built for minutes to fail for
/// want of a boot loader.
struct Job<'a> {
    found: Found,
    arch: Arch,
    engine: Option<Engine>,
    container: Option<container::Prepared>,
    given: guest::Given,
    loaders: crate::bootloader::files::Loaders,
    progress: &'a dyn Progress,
}

/// What the metadata of an image says of where it comes from.
struct Origins {
    inventory: Option<Inventory>,
    base: Option<crate::deliver::manifest::Base>,
}

impl<'a> Job<'a> {
    fn new(request: &Request, progress: &'a dyn Progress) -> Result<Job<'a>, Report> {
        request.check()?;
        let (found, container) = match &request.source {
            Source::Container(container) => {
                let prepared = container.prepare(request, progress)?;
                let found = request.complete(prepared.found.clone())?;
                (found, Some(prepared))
            }
            _ => {
                let found = request.recipe.clone();
                let found = found.ok_or_else(|| Report::mistake("no recipe was named"))?;
                (request.complete(found)?, None)
            }
        };
        let arch = arch_of(&found);
        let boot = plan::boot_mode(arch, &found.recipe)?;
        // Asking an engine whether it is there takes as long as reading a tar: not where nobody
        // needs it.
        let engine = match &request.source {
            Source::Recipe | Source::Container(_) => Some(Engine::find(request.engine)?),
            _ if loaders::at_hand(request, boot, arch) => None,
            _ => Engine::find(request.engine).ok(),
        };
        let given = guest::Given::read(&found.recipe, &found.dir, &request.login)?;
        let loaders = loaders::get(request, boot, arch, engine.as_ref(), progress)?;
        Ok(Job {
            found,
            arch,
            engine,
            container,
            given,
            loaders,
            progress,
        })
    }

    /// Gets the root file system and makes a machine of it. `metadata` tells whether an image is
    /// written, for then its packages may be wanted.
    fn assemble(&self, request: Request, metadata: bool) -> Result<(Assembly, Origins), Report> {
        let wants_packages = metadata && request.files.metadata;
        let epoch = request.epoch;
        let Fetched {
            mut rootfs,
            base,
            container,
        } = source::fetch(self, request)?;
        if let Some(epoch) = epoch {
            rootfs.set_epoch(epoch);
        }
        // Before the root file system becomes a disk, and its contents are only bytes.
        let inventory = match wants_packages {
            true => Some(self.inventory(&rootfs)?),
            false => None,
        };
        let machine = MachineSpec {
            name: self.found.name.clone(),
            arch: self.arch,
            recipe: self.found.recipe.clone(),
            given: self.given.clone(),
            container,
        };
        let assembly = Assembly::new(rootfs, &machine, &self.loaders)?;
        for note in &assembly.notes {
            self.progress.note(note);
        }
        Ok((assembly, Origins { inventory, base }))
    }

    /// The packages of the root file system.
    fn inventory(&self, rootfs: &Rootfs) -> Result<Inventory, Report> {
        let inventory = crate::deliver::sbom::read(rootfs)
            .map_err(|e| Report::failure("listing the packages of the image").because(e))?;
        for path in &inventory.unread {
            self.progress.note(&format!(
                "the packages in {path} are not listed: databases of that kind are not read"
            ));
        }
        Ok(inventory)
    }
}
