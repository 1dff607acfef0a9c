//! `image` and `plan`.

use super::choices;
use super::console::Console;
use super::files::Files;
use super::from;
use super::{live, print, print_json, summary};
use crate::build::{self, Built, Overrides, Request, Reuse, Source};
use crate::engine;
use crate::error::Report;
use crate::machine::Store;
use crate::model::{
    Arch, BootEntryKind, BootMode, Compression, DiskSize, Format, SectorSize, TableKind, Target,
};
use crate::place;
use crate::recipe::{self, Found};
use camino::Utf8PathBuf;
use std::collections::BTreeMap;
use std::time::Instant;

/// Options of `image` and `plan`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask image debian alpine
  cargo xtask image debian --base debian:bookworm-slim --size 8G
  cargo xtask image debian --build-arg KERNEL=linux-image-cloud-amd64
  cargo xtask image debian --target aws,azure
  cargo xtask image --container nginx:1.27
  cargo xtask image --dockerfile ./Dockerfile
  cargo xtask image --container oci:DIR:TAG
  cargo xtask image --container docker://registry.example/team/web:v1 --as hosted
  docker save my-image | cargo xtask image debian --from -
  cargo xtask image debian --from docker://registry.example/team/machine:v1
  cargo xtask image debian --plan")]
pub(super) struct Args {
    /// Recipes: names of folders in recipes/, or paths
    #[arg(required_unless_present_any = ["container", "dockerfile"], value_name = "RECIPE")]
    recipes: Vec<String>,
    /// Read the root file system instead of building it: from a tar of it (`-` for stdin), a
    /// container image from `docker save`, or an OCI layout (a tar or a folder); or from
    /// docker://HOST/REPOSITORY:TAG, oci:DIR[:NAME], oci-archive:FILE[:NAME] or
    /// docker-archive:FILE[:NAME]
    #[arg(long, value_name = "SOURCE", group = "input")]
    from: Option<String>,
    /// Container image to build on, instead of the recipe's
    #[arg(long, value_name = "IMAGE")]
    base: Option<String>,
    #[command(flatten)]
    image: from::Args,
    #[command(flatten)]
    container: super::container::Args,
    /// Build argument for the Dockerfile
    #[arg(long, value_name = "NAME=VALUE")]
    build_arg: Vec<String>,
    /// Network of the build's containers, e.g. `host`
    #[arg(long)]
    network: Option<String>,
    /// Container engine [default: the one that is installed and running]
    #[arg(long, value_parser = choices::of::<engine::Kind>())]
    engine: Option<engine::Kind>,
    /// Architecture of the machine [default: this host's, if the recipe supports it]
    #[arg(long, value_parser = choices::of::<Arch>())]
    arch: Option<Arch>,
    /// Firmware to boot with, instead of the recipe's
    #[arg(long, value_parser = choices::of::<BootMode>())]
    boot: Option<BootMode>,
    /// How the kernel is stored on the EFI system partition, instead of the recipe's
    #[arg(long, value_name = "KIND", value_parser = choices::of::<BootEntryKind>())]
    boot_entry: Option<BootEntryKind>,
    /// Partition table, if the boot mode allows both
    #[arg(long, value_parser = choices::of::<TableKind>())]
    table: Option<TableKind>,
    /// Sector size of the disk in bytes, 512 or 4096, instead of the recipe's
    #[arg(long, value_name = "BYTES")]
    sector_size: Option<SectorSize>,
    /// Size of the disk: `auto` or a size, e.g. 8G
    #[arg(long)]
    size: Option<DiskSize>,
    #[command(flatten)]
    volumes: super::volumes::Args,
    /// Platforms to make the image for, separated by commas: they decide the formats, and a page next
    /// to the image says how to import it there. `targets` lists what each accepts
    #[arg(long, value_delimiter = ',', value_name = "TARGET", value_parser = choices::of::<Target>())]
    target: Vec<Target>,
    /// Formats to write, separated by commas, instead of the targets' or the recipe's
    #[arg(long, value_delimiter = ',', value_name = "FORMAT", value_parser = choices::of::<Format>())]
    format: Vec<Format>,
    /// How the clusters of qcow2 images are compressed, instead of the recipe's
    #[arg(long, value_name = "HOW", value_parser = choices::of::<Compression>())]
    compression: Option<Compression>,
    #[command(flatten)]
    files: Files,
    /// Host name of the machine, instead of the recipe's
    #[arg(long)]
    hostname: Option<String>,
    #[command(flatten)]
    login: super::login::Args,
    /// Folder for the images
    #[arg(long, short, value_name = "DIR", default_value_t = place::images())]
    output: Utf8PathBuf,
    /// Folder with extlinux, mbr.bin, gptmbr.bin and systemd-boot's EFI program, to use instead of
    /// the usual ones
    #[arg(long, value_name = "DIR")]
    bootloader_dir: Option<Utf8PathBuf>,
    /// Make the image even if nothing that it is made from has changed, and export its container
    /// again
    #[arg(long)]
    pub(super) force: bool,
    /// Print the plan as JSON without writing a disk
    #[arg(long)]
    pub(super) plan: bool,
    /// Time stamp for everything that is written, in seconds since 1970
    #[arg(
        long,
        env = "SOURCE_DATE_EPOCH",
        hide_env_values = true,
        value_name = "SECONDS",
        // The range of the times in an ext4 superblock.
        value_parser = clap::value_parser!(i64).range(0..=i64::from(u32::MAX))
    )]
    epoch: Option<i64>,
}

/// Makes the images of all recipes and prints their paths.
pub(super) fn run(args: &Args, console: Console) -> anyhow::Result<Vec<Built>> {
    let requests = requests(args)?;
    // Find every mistake in the request before anything is built.
    for request in &requests {
        request.check()?;
    }
    let mut made = Vec::new();
    for request in requests {
        let begun = Instant::now();
        if args.plan {
            let plan = live::show(console, "plan", |progress| build::plan(request, progress))?;
            print_json(&plan)?;
            continue;
        }
        if !args.force
            && let Some(found) = live::show(console, "up-to-date", |progress| {
                build::up_to_date(&request, progress)
            })?
        {
            console.stage(&format!(
                "{}: up to date (--force makes it again)",
                found.name
            ));
            found
                .files
                .iter()
                .try_for_each(|path| print(path.as_str()))?;
            continue;
        }
        let recipe = request.recipe.as_ref().map(|found| found.name.clone());
        let name = format!("image-{}", request.title());
        let built = live::show(console, &name, |progress| build::image(request, progress))?;
        console.stage(&format!(
            "{}: done in {:.1} s",
            built.plan.name,
            begun.elapsed().as_secs_f64()
        ));
        for line in summary::of(&built, recipe.as_deref()) {
            console.detail(&line);
        }
        for path in &built.files {
            print(path.as_str())?;
        }
        made.push(built);
    }
    Ok(made)
}

/// What the command line asks for: an image of each recipe, or of one container.
fn requests(args: &Args) -> Result<Vec<Request>, Report> {
    let container = args.container.wanted(&args.image)?;
    if args.from.is_some() && args.recipes.len() > 1 {
        return Err(Report::mistake(
            "--from gives one root file system, but there are several recipes",
        )
        .hint("run the command once for each recipe"));
    }
    if args.recipes.len() > 1 && (container.is_some() || args.container.name.is_some()) {
        return Err(Report::mistake(
            "--container, --dockerfile and --name are for one image, but there are several recipes",
        )
        .hint("run the command once for each"));
    }
    let recipes = args.recipes.iter().map(|name| recipe::find(name));
    let mut recipes: Vec<Found> = recipes.collect::<Result<_, Report>>()?;
    if let Some(container) = container {
        return Ok(vec![request(
            args,
            recipes.pop(),
            Source::Container(container),
        )?]);
    }
    let source = || match &args.from {
        Some(from) => args.image.input(from).map(Source::File),
        None => Ok(Source::Recipe),
    };
    let requests = recipes.into_iter();
    requests
        .map(|found| request(args, Some(found), source()?))
        .collect()
}

fn request(args: &Args, recipe: Option<Found>, source: Source) -> Result<Request, Report> {
    Ok(Request {
        recipe,
        overrides: overrides(args)?,
        source,
        join: args.container.join,
        machine: args.container.machine()?,
        machines: Store::default(),
        login: args.login.root()?,
        engine: args.engine,
        network: args.network.clone(),
        bootloader_dir: args.bootloader_dir.clone(),
        limits: args.image.limits(),
        epoch: args.epoch,
        keep_volumes: args.volumes.keep_volumes.clone(),
        output: args.output.clone(),
        files: args.files.wanted(),
        reuse: match args.force {
            true => Reuse::Renew,
            false => Reuse::Everything,
        },
    })
}

/// What the command line overrides in the recipe.
fn overrides(args: &Args) -> Result<Overrides, Report> {
    Ok(Overrides {
        name: args.container.name.clone(),
        base: args.base.clone(),
        build_args: pairs(&args.build_arg)?,
        arch: args.arch,
        boot: args.boot,
        boot_entry: args.boot_entry,
        table: args.table,
        sector_size: args.sector_size,
        size: args.size,
        targets: args.target.clone(),
        formats: args.format.clone(),
        compression: args.compression,
        hostname: args.hostname.clone(),
        service: args.container.service,
        volumes: args.volumes.volumes,
        volumes_size: args.volumes.volumes_size,
        named_volumes: args.volumes.volume.clone(),
        entrypoint: args.container.entrypoint()?,
        cmd: args.container.cmd()?,
        privileged: args.container.privileged,
    })
}

/// The names and values of build arguments.
pub(super) fn pairs(all: &[String]) -> Result<BTreeMap<String, String>, Report> {
    let pair = |pair: &String| {
        let (name, value) = pair.split_once('=').ok_or_else(|| {
            Report::mistake(format!("--build-arg {pair:?} has no value"))
                .hint("write --build-arg NAME=VALUE")
        })?;
        Ok((name.to_owned(), value.to_owned()))
    };
    all.iter().map(pair).collect()
}
