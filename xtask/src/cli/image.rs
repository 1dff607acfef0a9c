//! `image` and `plan`.

use super::choices;
use super::console::Console;
use super::container::Around;
use super::files::Files;
use super::from;
use super::{print, print_json};
use crate::bootloader::{files::Loaders, provide};
use crate::deliver::manifest::{self, Manifest};
use crate::deliver::sbom::{self, Inventory};
use crate::deliver::{Delivery, Papers, artifact};
use crate::engine::{self, Build, Engine};
use crate::error::Report;
use crate::format::{self, Sink};
use crate::guest;
use crate::image::{Assembly, Request};
use crate::model::size::Size;
use crate::model::{Arch, BootEntryKind, BootMode, DiskSize, Format, SectorSize, TableKind};
use crate::output::{Access, Set};
use crate::plan::{self, ContainerFacts, Plan};
use crate::recipe::{self, Found, Smoke};
use crate::rootfs::Rootfs;
use crate::rootfs::oci::Config;
use crate::rootfs::tar;
use camino::{Utf8Path, Utf8PathBuf};
use std::collections::BTreeMap;
use std::time::Instant;

/// Options of `image` and `plan`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask image debian alpine
  cargo xtask image debian --base debian:bookworm-slim --size 8G
  cargo xtask image debian --build-arg KERNEL=linux-image-cloud-amd64
  cargo xtask image --container nginx:1.27
  cargo xtask image --dockerfile ./Dockerfile
  docker save my-image | cargo xtask image debian --from -
  cargo xtask image debian --plan")]
pub(super) struct Args {
    /// Recipes: names of folders in recipes/, or paths
    #[arg(required_unless_present_any = ["container", "dockerfile"], value_name = "RECIPE")]
    recipes: Vec<String>,
    /// Take the root file system from here and build nothing: a tar of it (`-`: stdin), a
    /// container image as `docker save` writes it, or an OCI layout (a tar or a folder)
    #[arg(long, value_name = "PATH")]
    from: Option<Utf8PathBuf>,
    /// Container image to start from, instead of the recipe's
    #[arg(long, value_name = "IMAGE")]
    base: Option<String>,
    #[command(flatten)]
    image: from::Args,
    #[command(flatten)]
    container: super::container::Args,
    /// Build argument for the Dockerfile
    #[arg(long, value_name = "NAME=VALUE")]
    build_arg: Vec<String>,
    /// Network of the build's containers, as `host`
    #[arg(long)]
    network: Option<String>,
    /// Container engine [default: the one that is installed and answers]
    #[arg(long, value_parser = choices::of::<engine::Kind>())]
    engine: Option<engine::Kind>,
    /// Architecture of the machine [default: this host's, if the recipe can]
    #[arg(long, value_parser = choices::of::<Arch>())]
    arch: Option<Arch>,
    /// Firmware to boot on, instead of the recipe's
    #[arg(long, value_parser = choices::of::<BootMode>())]
    boot: Option<BootMode>,
    /// How the kernel lies on the EFI system partition, instead of the recipe's
    #[arg(long, value_name = "KIND", value_parser = choices::of::<BootEntryKind>())]
    boot_entry: Option<BootEntryKind>,
    /// Partition table, where the boot mode leaves a choice
    #[arg(long, value_parser = choices::of::<TableKind>())]
    table: Option<TableKind>,
    /// Size of the disk's sectors in bytes: 512 or 4096, instead of the recipe's
    #[arg(long, value_name = "BYTES")]
    sector_size: Option<SectorSize>,
    /// Size of the disk: `auto` or a size as 8G
    #[arg(long)]
    size: Option<DiskSize>,
    /// Formats to write, with commas between
    #[arg(long, value_delimiter = ',', value_name = "FORMAT", value_parser = choices::of::<Format>())]
    format: Vec<Format>,
    /// How the clusters of qcow2 images are compressed, instead of the recipe's
    #[arg(long, value_name = "HOW", value_parser = choices::of::<crate::model::Compression>())]
    compression: Option<crate::model::Compression>,
    #[command(flatten)]
    files: Files,
    /// Host name of the machine, instead of the recipe's
    #[arg(long)]
    hostname: Option<String>,
    #[command(flatten)]
    login: super::login::Args,
    /// Folder for the images
    #[arg(long, short, value_name = "DIR", default_value = "target/images")]
    output: Utf8PathBuf,
    /// Folder with extlinux, mbr.bin, gptmbr.bin and systemd-boot's EFI program
    #[arg(long, value_name = "DIR")]
    bootloader_dir: Option<Utf8PathBuf>,
    /// Print the plan as JSON and write no disk
    #[arg(long)]
    pub(super) plan: bool,
    /// "Now" for everything that is made, in seconds since 1970
    #[arg(
        long,
        env = "SOURCE_DATE_EPOCH",
        hide_env_values = true,
        value_name = "SECONDS",
        // What an ext4 superblock holds.
        value_parser = clap::value_parser!(i64).range(0..=i64::from(u32::MAX))
    )]
    epoch: Option<i64>,
}

/// An image that was made.
#[derive(Debug)]
pub(super) struct Made {
    /// What it is.
    pub(super) plan: Plan,
    /// How it proves that it works.
    pub(super) smoke: Smoke,
    /// Its files, one for each format; none if only the plan was wanted.
    pub(super) files: Vec<Utf8PathBuf>,
}

/// Makes the images of all recipes and prints their paths.
pub(super) fn run(args: &Args, console: Console) -> anyhow::Result<Vec<Made>> {
    if args.from.is_some() && args.recipes.len() > 1 {
        return Err(Report::mistake(
            "--from is one root file system, but there are several recipes",
        )
        .hint("run it once for each recipe")
        .into());
    }
    if args.recipes.len() > 1 && (args.container.is_given() || args.container.has_name()) {
        return Err(Report::mistake(
            "--container, --dockerfile and --name are for one image, but there are several recipes",
        )
        .hint("run it once for each")
        .into());
    }
    // Everything that can be wrong with what was asked for is found before anything is built.
    let mut jobs: Vec<Found> = args
        .recipes
        .iter()
        .map(|name| overridden(recipe::find(name)?, args))
        .collect::<Result<_, Report>>()?;
    if args.container.is_given() {
        let engine = Engine::find(args.engine)?;
        let around = Around {
            engine: &engine,
            arch: args.arch.unwrap_or_else(engine::host_arch),
            network: args.network.as_deref(),
            build_args: &build_args(args)?,
        };
        let (found, container, _held) = args.container.prepare(jobs.pop(), around, console)?;
        let made = make(&overridden(found, args)?, container, args, console)?;
        return Ok(vec![made]);
    }
    let make = |job| make(job, ContainerFacts::default(), args, console);
    jobs.iter().map(make).collect()
}

fn build_args(args: &Args) -> Result<BTreeMap<String, String>, Report> {
    let pair = |pair: &String| {
        let (name, value) = pair.split_once('=').ok_or_else(|| {
            Report::mistake(format!("--build-arg {pair:?} has no value"))
                .hint("write --build-arg NAME=VALUE")
        })?;
        Ok((name.to_owned(), value.to_owned()))
    };
    args.build_arg.iter().map(pair).collect()
}

/// The recipe with what the command line says instead.
fn overridden(mut found: Found, args: &Args) -> Result<Found, Report> {
    let recipe = &mut found.recipe;
    if let Some(base) = &args.base {
        engine::check_image(base, "--base")?;
        recipe.base = Some(base.clone());
    }
    if let Some(arch) = args.arch {
        if !recipe.architectures.contains(&arch) {
            return Err(Report::mistake(format!(
                "the recipe {} does not build for {arch}",
                found.name
            ))
            .hint("add it to `architectures:` of its recipe.yaml if its Dockerfile can"));
        }
        recipe.architectures = vec![arch];
    }
    if let Some(boot) = args.boot {
        recipe.boot = boot;
    }
    recipe.boot_entry = args.boot_entry.unwrap_or(recipe.boot_entry);
    recipe.table = args.table.or(recipe.table);
    recipe.sector_size = args.sector_size.unwrap_or(recipe.sector_size);
    if let Some(size) = args.size {
        recipe.size = size;
    }
    if !args.format.is_empty() {
        recipe.formats = args.format.clone();
    }
    recipe.compression = args.compression.unwrap_or(recipe.compression);
    args.files.check(&recipe.formats)?;
    if let Some(host) = &args.hostname {
        if !recipe::is_hostname(host) {
            return Err(
                Report::mistake(format!("--hostname {host:?} is no host name"))
                    .hint("use letters, digits and `-`"),
            );
        }
        recipe.hostname = Some(host.clone());
    }
    recipe.build_args.extend(build_args(args)?);
    args.container.apply(&mut found)?;
    plan::check(arch_of(&found), &found.recipe)?;
    Ok(found)
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

/// Makes the image of one recipe.
fn make(
    found: &Found,
    mut container: ContainerFacts,
    args: &Args,
    console: Console,
) -> anyhow::Result<Made> {
    let begun = Instant::now();
    let arch = arch_of(found);
    let name = &found.name;
    // Found first: an image is not built for minutes to fail for want of a boot loader. Asking an
    // engine whether it is there takes as long as reading a tar: not where nobody needs it.
    let engine = match &args.from {
        Some(_) if loaders_at_hand(found, args)? => None,
        Some(_) => Engine::find(args.engine).ok(),
        None => Some(Engine::find(args.engine)?),
    };
    let given = guest::Given::read(&found.recipe, &found.dir, &args.login.root()?)?;
    let loaders = loaders(found, engine.as_ref(), args, console)?;
    // Nobody waits for a build whose image then has no place to go to.
    let set = match args.plan {
        true => None,
        false => Some(Files::set(&args.output, name, console)?),
    };
    let (mut rootfs, base) = match (&args.from, &engine) {
        (Some(from), _) => {
            let from = from::From {
                path: from,
                wanted: args.image.wanted(arch),
                budget: args.image.budget(),
                spool_dir: &args.output,
            };
            let (rootfs, config) = from::read(from, console)?;
            container.given = config.is_some();
            container.config = config;
            (rootfs, None)
        }
        (None, Some(engine)) => {
            let (rootfs, base, config) = from_engine(found, engine, args, console)?;
            if !container.given && found.recipe.service.is_some() {
                container.config = Some(config);
            }
            (rootfs, base)
        }
        (None, None) => return Err(Report::failure("no container engine").into()),
    };
    if let Some(epoch) = args.epoch {
        rootfs.set_epoch(epoch);
    }
    let request = Request {
        name: name.clone(),
        arch,
        recipe: found.recipe.clone(),
        given,
        container,
    };
    // Before the root file system becomes a disk, and its contents are only bytes.
    let inventory = inventory(&rootfs, args, console)?;
    let assembly = Assembly::new(rootfs, &request, &loaders)?;
    for note in &assembly.notes {
        console.note(note);
    }
    let smoke = found.recipe.smoke.clone();
    let Some(set) = set else {
        print_json(&assembly.plan)?;
        let plan = assembly.plan;
        let files = Vec::new();
        return Ok(Made { plan, smoke, files });
    };
    console.stage(&summary(&assembly.plan));
    let files = deliver(found, &assembly, inventory, base, (args, &set), console)?;
    console.stage(&format!(
        "{name}: done in {:.1} s",
        begun.elapsed().as_secs_f64()
    ));
    for path in &files {
        print(path.as_str())?;
    }
    let plan = assembly.plan;
    Ok(Made { plan, smoke, files })
}

/// One line about a planned image.
fn summary(plan: &Plan) -> String {
    format!(
        "{}: a disk of {} for {}: {} of files, {} free",
        plan.name,
        Size(plan.disk.size),
        match plan.boot {
            BootMode::Bios => "BIOS",
            BootMode::Uefi => "UEFI",
            BootMode::Hybrid => "BIOS and UEFI",
        },
        Size(plan.root.content),
        Size(plan.root.free)
    )
}

/// Where the boot loaders' files are kept once they were fetched.
const LOADERS: &str = "target/bootloader";

/// Whether no engine is needed for the boot loaders' files.
fn loaders_at_hand(found: &Found, args: &Args) -> Result<bool, Report> {
    let arch = arch_of(found);
    let boot = plan::boot_mode(arch, &found.recipe)?;
    let dir = args.bootloader_dir.as_deref();
    Ok(provide::at_hand(boot, arch, dir, Utf8Path::new(LOADERS)))
}

fn loaders(
    found: &Found,
    engine: Option<&Engine>,
    args: &Args,
    console: Console,
) -> Result<Loaders, Report> {
    let arch = arch_of(found);
    let boot = plan::boot_mode(arch, &found.recipe)?;
    provide::loaders(&provide::Wanted {
        boot,
        arch,
        dir: args.bootloader_dir.as_deref(),
        cache: Utf8Path::new(LOADERS),
        engine,
        network: args.network.as_deref(),
        say: &|text| console.stage(text),
        show: &|line| console.detail(line),
    })
}

fn from_engine(
    found: &Found,
    engine: &Engine,
    args: &Args,
    console: Console,
) -> Result<(Rootfs, Option<manifest::Base>, Config), Report> {
    let arch = arch_of(found);
    let recipe = &found.recipe;
    let mut platform = (arch != engine::host_arch()).then_some(arch);
    let mut build_args = recipe.build_args.clone();
    let mut origin = None;
    if let Some(base) = &recipe.base {
        let bootstrap = found.dir.join("bootstrap");
        let base =
            engine::ensure_base(engine, base, arch, Some(&bootstrap), &|t| console.stage(t))?;
        origin = Some(manifest::Base {
            // Of somebody's container the recipe has a tag that only this program knows.
            name: match args.container.named() {
                Some(name) => name.to_owned(),
                None => recipe.base.clone().unwrap_or_default(),
            },
            digest: engine.digest(&base.name),
        });
        build_args.insert("BASE".into(), base.name);
        platform = base.platform;
    }
    if let Some(epoch) = args.epoch {
        build_args.insert("SOURCE_DATE_EPOCH".into(), epoch.to_string());
    }
    console.stage(&format!(
        "{}: building {} with {}",
        found.name,
        found.dir,
        engine.name()
    ));
    let what = Build {
        context: &found.dir,
        dockerfile: None,
        args: build_args,
        platform,
        tag: engine::tag(&found.name, arch),
        network: args.network.as_deref(),
    };
    let image = engine::build(engine, &what, &|line| console.detail(line))?;
    console.stage(&format!("{}: exporting", found.name));
    // By its id: a second run may give the tag to another image at any time.
    let config = engine.config(&image.id)?;
    let created = engine.created(&image.id)?;
    let bar = console.bytes("exporting", None);
    let stream = bar.count(engine::export(engine, &image.id)?);
    let mut rootfs = tar::from_stream_within(stream, &args.output, &args.image.budget())?;
    // The container was made just now; its image was not, so the image's time counts, or that
    // of its files.
    let made_up = !rootfs.may_be_of(created);
    let newest = rootfs.newest_file().filter(|_| made_up);
    rootfs.set_epoch(newest.unwrap_or(created));
    Ok((rootfs, origin, config))
}

/// What the papers say of the packages, if papers are wanted.
fn inventory(rootfs: &Rootfs, args: &Args, console: Console) -> Result<Option<Inventory>, Report> {
    if args.files.no_papers || args.plan {
        return Ok(None);
    }
    let inventory = sbom::read(rootfs)
        .map_err(|e| Report::failure("listing the packages of the image").because(e))?;
    for path in &inventory.unread {
        console.note(&format!(
            "the packages in {path} are not listed: databases of that kind are not read"
        ));
    }
    Ok(Some(inventory))
}

/// Writes every format in one pass, and the papers; nothing gets its name before all are
/// complete.
fn deliver(
    found: &Found,
    assembly: &Assembly,
    inventory: Option<Inventory>,
    base: Option<manifest::Base>,
    (args, set): (&Args, &Set),
    console: Console,
) -> Result<Vec<Utf8PathBuf>, Report> {
    let plan = &assembly.plan;
    let mut options = format::Options {
        compression: found.recipe.compression,
        ..format::Options::of(plan)
    };
    args.files.threads(&mut options);
    let bar = console.bytes("writing", Some(plan.root.content));
    let free = match args.files.bmap {
        true => assembly
            .free()
            .map_err(|e| Report::failure("looking for the free space of the disk").because(e))?,
        false => Vec::new(),
    };
    let access = match assembly.has_password_hashes {
        true => Access::Private,
        false => Access::Shared,
    };
    let job = args.files.job(
        &args.output,
        plan.disk.size,
        &plan.formats,
        &options,
        free,
        access,
    );
    let emit = |sink: &mut dyn Sink| assembly.write(sink, &|n| bar.add(n));
    let artifacts = artifact::write(&job, &emit, &|text| console.stage(text))?;
    drop(bar);
    let papers = match inventory {
        None => None,
        Some(inventory) => Some(Papers {
            manifest: Manifest::new(plan, Some(manifest::Recipe::of(found)?), base),
            inventory: Some(inventory),
        }),
    };
    let delivery = Delivery {
        artifacts,
        others: Vec::new(),
        // The papers of an earlier image are not this one's.
        stale: match papers {
            Some(_) => Vec::new(),
            None => vec![
                manifest::file_name(&plan.name),
                manifest::spdx_name(&plan.name),
            ],
        },
        papers,
        sums: job.sums,
    };
    delivery.commit(set)
}
