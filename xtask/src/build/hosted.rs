//! A container that is put into a machine as it is: finds the machine, and reads both.

use super::Request;
use super::checked;
use super::container::{Container, hostname, labels};
use super::from::Input;
use super::input::{self, Read, Unchecked};
use super::make_machine::{MachineRequest, machine_with};
use super::source::Fetched;
use crate::deliver::manifest;
use crate::engine::{self, Engine, Held};
use crate::error::Report;
use crate::machine::{Choice, Machine};
use crate::model::{Arch, Join};
use crate::plan::ContainerFacts;
use crate::progress::{Counted, Progress};
use crate::recipe::{self, Found, Recipe};
use crate::rootfs::oci::{self, Config, Wanted};
use crate::rootfs::{Budget, Limits, Rootfs};
use camino::Utf8PathBuf;

/// Where the container's tree comes from.
pub(super) enum Origin {
    /// Files, or a registry.
    Input(Input),
    /// An image that the engine saves.
    Saved(Held),
}

/// A container and the machine that it is put into.
pub(super) struct Hosted {
    /// The settings of the image: the request's recipe or the defaults, and the machine's own.
    pub(super) found: Found,
    pub(super) machine: Machine,
    /// The container's tree and its configuration.
    read: Read,
    config: Config,
    /// The container as it was given.
    shown: String,
}

impl Hosted {
    /// Reads the container, and finds the machine or builds it. The container comes first, because
    /// its labels may name a machine.
    pub(super) fn new(
        origin: &Origin,
        engine: Option<&Engine>,
        container: &Container,
        request: &Request,
        progress: &dyn Progress,
    ) -> Result<Hosted, Report> {
        let arch = request.overrides.arch.unwrap_or_else(engine::host_arch);
        let shown = container.named();
        let mut read = origin.read(&shown, engine, (request, arch), progress)?;
        let config = read.config.take().ok_or_else(|| {
            Report::mistake(format!(
                "{shown} is a root file system, not a container image: there is no command to run"
            ))
            .hint("give a container image; a root file system that can boot by itself is used with --from")
        })?;
        let labels = labels(&config, request, &shown, progress)?;
        let wanted = match (&request.machine, &labels.machine) {
            (Some(choice), _) => Some(choice.clone()),
            (None, Some(label)) => Some(label.parse().map_err(|mut e: Report| {
                e.message = format!("the label of {shown}: {}", e.message);
                e
            })?),
            (None, None) => None,
        };
        let machine = choose(wanted.as_ref(), request, arch, engine, progress)?;
        progress.stage(&format!(
            "{shown}: its machine is {} ({})",
            machine.name, machine.digest
        ));
        let name = container.name_for(request);
        let (dir, given) = match &request.recipe {
            Some(found) => (found.dir.clone(), found.recipe.clone()),
            None => (Utf8PathBuf::new(), Recipe::default()),
        };
        let own = &machine.recipe;
        let mut kernel_arguments = own.kernel_arguments.clone();
        let more = given.kernel_arguments.into_iter();
        kernel_arguments.extend(more.filter(|a| !own.kernel_arguments.contains(a)));
        let mut recipe = Recipe {
            architectures: vec![arch],
            kernel_arguments,
            serial_console: match &request.recipe {
                Some(_) => given.serial_console,
                None => own.serial_console.clone(),
            },
            hostname: hostname(&name).or(given.hostname),
            ..given
        };
        labels.apply(&mut recipe);
        Ok(Hosted {
            found: Found { name, dir, recipe },
            machine,
            read,
            config,
            shown,
        })
    }

    /// Reads the machine's tree too.
    pub(super) fn fetch(
        self,
        request: &Request,
        progress: &dyn Progress,
    ) -> Result<Fetched, Report> {
        let Hosted { read, machine, .. } = self;
        let machine = &machine;
        progress.stage(&format!("reading the machine {}", machine.name));
        let spool = &request.output;
        let trusted = Budget::new(Limits::default());
        let wanted = Wanted {
            known: checked::known(),
            ..machine.wanted()
        };
        let own = oci::open_dir(&machine.dir, &wanted, trusted, spool);
        let own = own.map_err(|e| damaged(machine, e.into()))?;
        let of_machine = Unchecked::new(own.checks, {
            let machine = machine.clone();
            move |report| damaged(&machine, report)
        });
        Ok(Fetched {
            rootfs: own.rootfs,
            hosted: Some(read.rootfs),
            base: Some(manifest::Base {
                name: self.shown,
                digest: read.digest.map(|d| d.to_string()),
            }),
            machine: Some(manifest::Machine {
                name: machine.name.clone(),
                digest: machine.digest.to_string(),
            }),
            container: ContainerFacts {
                config: Some(request.overrides.started_by(self.config)),
                given: true,
                join: Some(Join::Hosted),
                privileged: request.overrides.privileged,
            },
            unchecked: vec![of_machine, read.unchecked],
        })
    }
}

impl Origin {
    fn read(
        &self,
        shown: &str,
        engine: Option<&Engine>,
        (request, arch): (&Request, Arch),
        progress: &dyn Progress,
    ) -> Result<Read, Report> {
        match self {
            Origin::Input(from) => from.read(arch, request.limits, &request.output, progress),
            Origin::Saved(image) => {
                let engine = engine.ok_or_else(|| Report::failure("no container engine"))?;
                progress.stage(&format!("reading {shown} from {}", engine.name()));
                let stream = engine::save(engine, &image.id)?;
                let stream = Counted::new(stream, progress.bytes("reading", None));
                let wanted = Wanted::from(arch);
                let budget = Budget::new(request.limits);
                input::saved(stream, shown, &wanted, budget, &request.output)
            }
        }
    }
}

/// The error for a machine whose files are not what they were.
fn damaged(machine: &Machine, mut report: Report) -> Report {
    report.message = format!("reading the machine {} in {}", machine.name, machine.dir);
    report.hint(format!(
        "it was changed or is incomplete: make it again with `cargo xtask machine build {}` or `machine import FILE`",
        machine.name
    ))
}

/// The machine that the request names, or else the usual one. It is built if it is missing and an
/// engine answers.
fn choose(
    wanted: Option<&Choice>,
    request: &Request,
    arch: Arch,
    engine: Option<&Engine>,
    progress: &dyn Progress,
) -> Result<Machine, Report> {
    let store = &request.machines;
    if let Some(choice) = wanted {
        return match (store.find(choice, arch)?, choice) {
            (Some(machine), _) => Ok(machine),
            (None, Choice::Stored(name, None)) => build(name, request, engine, progress),
            (None, _) => Err(store.has_none(choice, arch)),
        };
    }
    let default = recipe::default_machine()?;
    let (all, wrong) = store.machines()?;
    for text in wrong {
        progress.note(&text);
    }
    let newest = all.into_iter().filter(|m| m.newest && m.arch == arch);
    let mut newest: Vec<Machine> = newest.collect();
    let usual = newest
        .iter()
        .position(|m| Some(&m.name) == default.as_ref());
    match (usual, newest.len()) {
        (Some(at), _) => Ok(newest.swap_remove(at)),
        (None, 0) => {
            let Some(name) = default else {
                return Err(none(arch, request));
            };
            build(&name, request, engine, progress)
        }
        (None, 1) => {
            let only = newest.remove(0);
            progress.note(&format!(
                "the machine {} is used, because there is no other one; --machine chooses one",
                only.name
            ));
            Ok(only)
        }
        (None, _) => {
            let names: Vec<&str> = newest.iter().map(|m| m.name.as_str()).collect();
            Err(
                Report::mistake("there are several machines, and none of them is the usual one")
                    .hint(format!("choose one with --machine: {}", names.join(", "))),
            )
        }
    }
}

fn none(arch: Arch, request: &Request) -> Report {
    Report::failure(format!(
        "there is no machine for {arch} in {}, which a container could be put into",
        request.machines.dir()
    ))
    .hint("import one with `cargo xtask machine import FILE`, or build one where a container engine runs: `cargo xtask machine build NAME`")
}

/// Builds a machine that is missing.
fn build(
    name: &str,
    request: &Request,
    engine: Option<&Engine>,
    progress: &dyn Progress,
) -> Result<Machine, Report> {
    let arch = request.overrides.arch.unwrap_or_else(engine::host_arch);
    let found;
    let engine = match engine {
        Some(engine) => engine,
        None => {
            found =
                Engine::find(request.engine).map_err(|e| none(arch, request).because(e.message))?;
            &found
        }
    };
    let wanted = recipe::machine(name)?;
    progress.stage(&format!(
        "there is no machine {name} yet: it is built once, which takes a minute or more"
    ));
    let request = MachineRequest {
        wanted,
        arch: Some(arch),
        build_args: request.overrides.build_args.clone(),
        engine: request.engine,
        network: request.network.clone(),
        epoch: request.epoch,
        store: request.machines.clone(),
    };
    machine_with(engine, &request, progress).map(|added| added.machine)
}

/// Both trees as one list of packages.
pub(super) fn inventory(
    machine: &Rootfs,
    container: Option<&Rootfs>,
) -> std::io::Result<crate::deliver::sbom::Inventory> {
    use crate::deliver::sbom;
    let mut all = sbom::read(machine)?;
    if let Some(container) = container {
        let more = sbom::read(container)?;
        all.packages.extend(more.packages);
        all.packages.sort();
        all.packages.dedup();
        let unread = more.unread.into_iter();
        all.unread
            .extend(unread.map(|path| format!("{path} of the container")));
    }
    Ok(all)
}
