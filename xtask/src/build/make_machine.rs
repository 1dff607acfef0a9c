//! Builds a machine: the root file system of a recipe, with the program that runs containers, in the
//! store of machines.

use super::assembly::os_name;
use super::source::{Origin, dockerfile, exported};
use super::{Overrides, Request, Reuse, Source, loaders};
use crate::bootloader::files::IN_MACHINE;
use crate::bootloader::provide;
use crate::engine::{self, Build, Engine};
use crate::error::Report;
use crate::guest;
use crate::machine::{Added, Facts, Store};
use crate::model::{Arch, BootMode};
use crate::plan::kernels;
use crate::progress::Progress;
use crate::recipe::{self, Buildable};
use crate::rootfs::Rootfs;
use std::collections::BTreeMap;

/// Which machine to build, and how.
#[derive(Debug, Clone)]
pub struct MachineRequest {
    /// The machine's name and its recipe.
    pub wanted: Buildable,
    /// Its architecture; by default this host's if the recipe supports it.
    pub arch: Option<Arch>,
    /// Build arguments, which override the recipe's.
    pub build_args: BTreeMap<String, String>,
    /// The container engine to use; by default the first that answers.
    pub engine: Option<engine::Kind>,
    /// Network for the build's containers, as the engine calls it.
    pub network: Option<String>,
    /// Time stamp for everything that is written, in seconds since 1970; by default the time of
    /// the image.
    pub epoch: Option<i64>,
    /// Where to store it.
    pub store: Store,
}

/// Builds a machine with an engine and stores it.
pub fn machine(request: &MachineRequest, progress: &dyn Progress) -> Result<Added, Report> {
    let engine = Engine::find(request.engine)?;
    machine_with(&engine, request, progress)
}

pub(super) fn machine_with(
    engine: &Engine,
    request: &MachineRequest,
    progress: &dyn Progress,
) -> Result<Added, Report> {
    let Buildable {
        name,
        found,
        options,
    } = &request.wanted;
    let plain = Request {
        overrides: Overrides {
            arch: request.arch,
            ..Overrides::default()
        },
        engine: request.engine,
        network: request.network.clone(),
        epoch: request.epoch,
        source: Source::Recipe,
        ..Request::new(found.clone(), request.store.dir())
    };
    let mut found = plain.complete(found.clone())?;
    let arch = super::arch_of(&found);
    let more = options.build_args.get(&arch).into_iter().flatten();
    for (name, value) in more.chain(&request.build_args) {
        found.recipe.build_args.insert(name.clone(), value.clone());
    }
    let (mut what, _) = dockerfile(&found, arch, &plain, engine, progress)?;
    what.tag = engine::tag(&format!("machine/{name}"), arch);
    progress.stage(&format!(
        "{name}: building the machine from {} with {}",
        found.dir,
        engine.name()
    ));
    let show = |line: &str| progress.detail(line);
    let base = engine::build(engine, &what, &show)?;
    let image = add_program(engine, &base.name, &what, progress)?;
    progress.stage(&format!("{name}: exporting the machine"));
    let origin = Origin {
        created: engine.created(&image.id)?,
        spool: request.store.dir(),
        limits: plain.limits,
        // A machine is built once.
        reuse: Reuse::Nothing,
    };
    let mut rootfs = exported(engine, &image.id, &origin, progress)?;
    if let Some(epoch) = request.epoch {
        rootfs.set_epoch(epoch);
    }
    for note in guest::clean(&mut rootfs)? {
        progress.note(&note);
    }
    let boot = boot_mode(arch);
    // With them the machine becomes a disk where there is no engine.
    let loaders = loaders::place(&plain, boot, arch, Some(engine), progress)?;
    for (name, bytes) in loaders.files(boot, arch)? {
        let path = format!("{IN_MACHINE}/{name}");
        let failed = |e| Report::failure("adding the boot loaders to the machine").because(e);
        let epoch = rootfs.epoch;
        rootfs
            .tree
            .write(&path, bytes, 0o644, epoch)
            .map_err(failed)?;
    }
    let facts = facts(&rootfs, name, arch, &found.recipe)?;
    request.store.add(&rootfs, facts)
}

/// Builds the image that adds the program to a root file system, which a container of its own
/// compiles.
fn add_program(
    engine: &Engine,
    base: &str,
    of: &Build<'_>,
    progress: &dyn Progress,
) -> Result<engine::Held, Report> {
    let dir = recipe::own()?.join("machine");
    let bootstrap = recipe::own()?.join("debian/bootstrap");
    let say = |text: &str| progress.stage(text);
    // The program is compiled for the machine's architecture, so the compiler's image is for it.
    let arch = of.platform.unwrap_or_else(engine::host_arch);
    let tools = engine::ensure_base(engine, provide::BASE, arch, Some(&bootstrap), &say)?;
    let args = [
        ("BASE".to_owned(), base.to_owned()),
        ("TOOLS".to_owned(), tools.name),
    ];
    let what = Build {
        context: &dir,
        dockerfile: None,
        args: args.into(),
        platform: of.platform,
        tag: of.tag.clone(),
        network: of.network,
    };
    engine::build(engine, &what, &|line| progress.detail(line))
}

/// All firmware that machines of this architecture can have.
fn boot_mode(arch: Arch) -> BootMode {
    match arch {
        Arch::Amd64 => BootMode::Hybrid,
        Arch::Arm64 => BootMode::Uefi,
    }
}

/// What the machine's labels say. Fails if it could not boot.
fn facts(
    rootfs: &Rootfs,
    name: &str,
    arch: Arch,
    recipe: &recipe::Recipe,
) -> Result<Facts, Report> {
    guest::Init::of(rootfs, &recipe.kernel_arguments)?;
    let found = kernels::find(rootfs, arch, boot_mode(arch))?;
    Ok(Facts {
        name: name.to_owned(),
        arch,
        system: os_name(rootfs, name)?,
        kernels: found.kernels.into_iter().map(|k| k.version).collect(),
        recipe: recipe.clone(),
    })
}
