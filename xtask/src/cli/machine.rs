//! `machine`: ready machines that containers are put into.

use super::console::Console;
use super::{choices, live, print, print_json, table};
use crate::build::{self, MachineRequest};
use crate::engine;
use crate::error::Report;
use crate::machine::{Added, Choice, Machine, Store};
use crate::model::{Arch, Size};
use crate::printable;
use crate::recipe;
use camino::Utf8PathBuf;
use serde::Serialize;

/// Options of `machine`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask machine build debian               build it with a container engine, once
  cargo xtask machine build debian-generic       for real hardware, too
  cargo xtask machine list
  cargo xtask machine export debian debian.tar.zst
  cargo xtask machine import debian.tar.zst      on a host without an engine
  cargo xtask image --container oci:DIR --machine debian")]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Build machines from recipes with a container engine, and store them
    Build(Build),
    /// List the machines
    List {
        /// Print JSON, for scripts
        #[arg(long)]
        json: bool,
    },
    /// Write a machine to a file: an OCI layout in a tar, compressed with zstd
    Export {
        /// NAME, NAME@sha256:DIGEST, or oci:DIR
        machine: String,
        /// The file [default: NAME-ARCH.oci.tar.zst]
        file: Option<Utf8PathBuf>,
        /// Architecture of the machine [default: this host's]
        #[arg(long, value_parser = choices::of::<Arch>())]
        arch: Option<Arch>,
    },
    /// Store the machines of a file that `export` wrote, or of a folder with an OCI layout
    Import {
        /// The file or folder
        #[arg(required = true)]
        from: Vec<Utf8PathBuf>,
    },
}

#[derive(Debug, clap::Args)]
struct Build {
    /// Names of machines or recipes, or paths of recipes
    #[arg(required = true)]
    machines: Vec<String>,
    /// Architecture [default: this host's, if the recipe supports it]
    #[arg(long, value_parser = choices::of::<Arch>())]
    arch: Option<Arch>,
    /// Build argument for the recipe's Dockerfile
    #[arg(long, value_name = "NAME=VALUE")]
    build_arg: Vec<String>,
    /// Network of the build's containers, e.g. `host`
    #[arg(long)]
    network: Option<String>,
    /// Container engine [default: the one that is installed and running]
    #[arg(long, value_parser = choices::of::<engine::Kind>())]
    engine: Option<engine::Kind>,
    /// Time stamp for everything that is written, in seconds since 1970
    #[arg(
        long,
        env = "SOURCE_DATE_EPOCH",
        hide_env_values = true,
        value_name = "SECONDS",
        value_parser = clap::value_parser!(i64).range(0..=i64::from(u32::MAX))
    )]
    epoch: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Row<'a> {
    name: &'a str,
    arch: Arch,
    digest: String,
    size: u64,
    system: &'a str,
    kernels: &'a [String],
    /// Whether the name alone means this one.
    newest: bool,
}

pub(super) fn run(args: &Args, console: Console) -> anyhow::Result<()> {
    let store = Store::default();
    match &args.verb {
        Verb::Build(build) => make(build, &store, console),
        Verb::List { json } => list(&store, *json, console),
        Verb::Export {
            machine,
            file,
            arch,
        } => {
            let arch = arch.unwrap_or_else(engine::host_arch);
            let choice: Choice = machine.parse()?;
            let found = store.find(&choice, arch)?;
            let found = found.ok_or_else(|| store.has_none(&choice, arch))?;
            let file = file
                .clone()
                .unwrap_or_else(|| format!("{}-{}.oci.tar.zst", found.name, found.arch).into());
            console.stage(&format!("writing {} to {file}", found.digest));
            store.export(&found, &file)?;
            print(file.as_str())
        }
        Verb::Import { from } => {
            for from in from {
                for added in store.import(from)? {
                    tell(&added, console);
                    print(&name_of(&added.machine))?;
                }
            }
            Ok(())
        }
    }
}

fn make(args: &Build, store: &Store, console: Console) -> anyhow::Result<()> {
    // Find every mistake before anything is built.
    let wanted: Vec<recipe::Buildable> = args
        .machines
        .iter()
        .map(|name| recipe::machine(name))
        .collect::<Result<_, Report>>()?;
    for wanted in wanted {
        let title = format!("machine-{}", wanted.name);
        let request = MachineRequest {
            wanted,
            arch: args.arch,
            build_args: super::image::pairs(&args.build_arg)?,
            engine: args.engine,
            network: args.network.clone(),
            epoch: args.epoch,
            store: store.clone(),
        };
        let added = live::show(console, &title, |progress| {
            build::make_machine(&request, progress)
        })?;
        tell(&added, console);
        print(&name_of(&added.machine))?;
    }
    Ok(())
}

/// How `--machine` names exactly this machine.
fn name_of(machine: &Machine) -> String {
    format!("{}@{}", machine.name, machine.digest)
}

fn tell(added: &Added, console: Console) {
    let Added { machine, known } = added;
    let known = match known {
        true => ", as before",
        false => "",
    };
    console.stage(&format!(
        "{}: {} for {}, {}{known}",
        machine.name,
        machine.system,
        machine.arch,
        Size(machine.size)
    ));
}

fn list(store: &Store, json: bool, console: Console) -> anyhow::Result<()> {
    let (machines, wrong) = store.machines()?;
    for text in &wrong {
        console.note(text);
    }
    let rows: Vec<Row<'_>> = machines
        .iter()
        .map(|m| Row {
            name: &m.name,
            arch: m.arch,
            digest: m.digest.to_string(),
            size: m.size,
            system: &m.system,
            kernels: &m.kernels,
            newest: m.newest,
        })
        .collect();
    if json {
        return print_json(&rows);
    }
    if machines.is_empty() {
        console.stage(&format!(
            "there are no machines in {}; `cargo xtask machine build` and `machine import` add some",
            store.dir()
        ));
        return Ok(());
    }
    let mut table = table::new(["MACHINE", "ARCH", "SIZE", "DIGEST", "SYSTEM", "KERNEL"]);
    for machine in &machines {
        let name = match machine.newest {
            true => machine.name.clone(),
            // Only its digest leads to it.
            false => format!("({})", machine.name),
        };
        let cells = [
            name,
            machine.arch.to_string(),
            Size(machine.size).to_string(),
            machine.digest.to_string(),
            machine.system.clone(),
            machine.kernels.join(" "),
        ];
        table.add_row(cells.iter().map(|cell| printable::line(cell)));
    }
    print(&table.trim_fmt())
}
