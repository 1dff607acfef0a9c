//! `smoke`: boots images and prints a verdict for each.

use super::boot::{Named, Uefi, named};
use super::choices;
use super::console::Console;
use super::{print, print_json, table};
use crate::error::Report;
use crate::model::Arch;
use crate::output;
use crate::output::write_error;
use crate::place;
use crate::small;
use crate::smoke::{self, BootJob, BootOutcome, Credentials, Event, evidence_dir, report};
use crate::vm::{DiskBus, Firmware, ImageFormat, Machine, accel, claims};
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use std::io::Write;
use std::time::Duration;

/// Options of `smoke`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "First each image is looked into, as by `inspect`: what certainly stops it is told at once.
Each image is booted with every firmware that it supports, from a private copy. With a login that
exists only in the copy, the test checks for failed services, the root file system and the network,
and runs the commands in the recipe's `smoke: run:`. Then it presses the power button, and the root
file system must be clean after the shutdown.

Verdicts: booted, firmware found no boot device, boot loader failed, kernel panic, emergency shell,
init failed, root file system not clean, hung, timeout, QEMU failed.

Examples:
  cargo xtask smoke debian alpine
  cargo xtask smoke target/images/debian.img --firmware uefi --disk nvme
  cargo xtask smoke debian --run 'systemctl is-active ssh' --junit target/smoke.xml"
)]
pub(super) struct Args {
    /// Image files, or recipes whose images are in target/images
    #[arg(required = true, value_name = "IMAGE|RECIPE")]
    images: Vec<String>,
    /// Firmware, one or both, separated by a comma [default: all that the image supports]
    #[arg(long, value_delimiter = ',', value_parser = choices::of::<Firmware>())]
    firmware: Vec<Firmware>,
    /// Bus or controller that the disk is attached to; several are separated by commas
    #[arg(long, value_delimiter = ',', default_value = "virtio", value_parser = choices::of::<DiskBus>())]
    disk: Vec<DiskBus>,
    /// Boot also an image that cannot boot by what is in it, as `inspect` says
    #[arg(long)]
    anyway: bool,
    /// Seconds within which the login prompt must appear [default: the recipe's, and five times as
    /// long if the machine is emulated]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: Option<u64>,
    /// Number of machines that run at once [default: depends on processors and memory]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Memory in MiB [default: the recipe's]
    #[arg(long, value_name = "MIB")]
    memory: Option<u32>,
    /// Log in as this user of the image, instead of adding a temporary login
    #[arg(long, value_name = "USER", requires = "password_file")]
    login: Option<String>,
    /// File with the user's password in its first line
    #[arg(long, value_name = "FILE", requires = "login")]
    password_file: Option<Utf8PathBuf>,
    /// Give the guest access to this host's network, like `smoke: network:` in a recipe
    #[arg(long)]
    network: bool,
    /// Also run this command in the guest; it must exit with code 0
    #[arg(long, value_name = "COMMAND")]
    run: Vec<String>,
    /// Folder for logs, screenshots and verdicts
    #[arg(long, value_name = "DIR", default_value_t = place::state("smoke"))]
    evidence: Utf8PathBuf,
    /// Write the verdicts as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<Utf8PathBuf>,
    /// Write a summary as Markdown; it is always added to $GITHUB_STEP_SUMMARY if that is set
    #[arg(long, value_name = "FILE")]
    summary: Option<Utf8PathBuf>,
    /// Print the verdicts as JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Architecture of the machine [default: that of the image's UEFI boot loader, or amd64]
    #[arg(long, value_parser = choices::of::<Arch>())]
    arch: Option<Arch>,
    /// Further argument for QEMU, after all others; one for each word
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    qemu_arg: Vec<String>,
    #[command(flatten)]
    uefi: Uefi,
}

pub(super) fn run(args: &Args, console: Console) -> anyhow::Result<()> {
    let login = credentials(args)?;
    // Find every mistake in the request before anything is booted.
    let mut jobs = Vec::new();
    for word in &args.images {
        jobs.extend(jobs_of(named(word)?, args, login.as_ref())?);
    }
    let mut told = Vec::new();
    for job in &jobs {
        let arch = job.machine.arch;
        job.machine.check()?;
        accel::qemu(arch).require()?;
        let choice = accel::choose(arch)?;
        if !told.contains(&arch) {
            told.push(arch);
            console.detail(&format!(
                "accelerator for {arch}: {} ({})",
                choice.accel, choice.why
            ));
        }
    }
    let fits = || smoke::jobs_at_once(&jobs);
    let at_once = args.jobs.map_or_else(fits, usize::from);
    let outcomes = smoke::all(&jobs, at_once, &|event| match event {
        Event::Begin(job) => console.stage(&format!("booting {}", job.title())),
        Event::End(outcome) => report::tell(outcome, &console),
    })?;
    report(&outcomes, args)?;
    if outcomes.iter().any(|o| !o.passed) {
        return Err(report::failure(&outcomes).into());
    }
    Ok(())
}

fn credentials(args: &Args) -> Result<Option<Credentials>, Report> {
    let (Some(user), Some(file)) = (&args.login, &args.password_file) else {
        return Ok(None);
    };
    let text = small::given(file, 1 << 20)
        .map_err(|e| Report::mistake("reading --password-file").because(e))?;
    Ok(Some(Credentials {
        user: user.clone(),
        password: text.lines().next().unwrap_or_default().to_owned(),
    }))
}

/// A boot for each firmware and each disk bus.
fn jobs_of(named: Named, args: &Args, login: Option<&Credentials>) -> Result<Vec<BootJob>, Report> {
    let Named {
        name,
        image,
        recipe,
    } = named;
    let format = ImageFormat::of(&image);
    let claims = claims::of(&image, format)?;
    let arch = args.arch.unwrap_or_else(|| claims.arch());
    let firmwares = match &args.firmware[..] {
        [] => claims.firmwares(),
        named => named.to_vec(),
    };
    if firmwares.is_empty() {
        return Err(Report::mistake(format!(
            "{image} supports no firmware: it has neither boot code nor an EFI system partition"
        ))
        .hint("to try anyway, use --firmware bios or --firmware uefi"));
    }
    let mut smoke = recipe.map(|found| found.recipe.smoke).unwrap_or_default();
    smoke.run.extend(args.run.iter().cloned());
    smoke.network |= args.network;
    if let Some(memory) = args.memory {
        smoke.memory = memory;
    }
    let mut jobs = Vec::new();
    for firmware in firmwares {
        for disk in &args.disk {
            jobs.push(BootJob {
                evidence: evidence_dir(&args.evidence, &name, firmware, *disk),
                name: name.clone(),
                image: image.clone(),
                root: claims.root,
                machine: Machine {
                    disk: *disk,
                    sector_size: claims.sector_size,
                    format,
                    memory_mib: smoke.memory,
                    cpus: smoke.cpus,
                    extra: args.qemu_arg.clone(),
                    ..Machine::new(arch, firmware)
                },
                firmware: args.uefi.flags(),
                smoke: smoke.clone(),
                login: login.cloned(),
                // What QEMU is told may be all that is missing, e.g. another disk.
                look: !args.anyway && args.qemu_arg.is_empty(),
                timeout: args.timeout.map(Duration::from_secs),
            });
        }
    }
    Ok(jobs)
}

/// Prints or writes the outcomes in every form that was requested.
fn report(outcomes: &[BootOutcome], args: &Args) -> anyhow::Result<()> {
    if let Some(file) = &args.junit {
        write(file, &report::junit(outcomes)?)?;
    }
    let summary = report::markdown(outcomes);
    if let Some(file) = &args.summary {
        write(file, &summary)?;
    }
    if let Some(file) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|f| !f.is_empty()) {
        fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(std::path::PathBuf::from(file))
            .and_then(|mut f| f.write_all(summary.as_bytes()))
            .map_err(|e| Report::failure("adding to GITHUB_STEP_SUMMARY").because(e))?;
    }
    if args.json {
        print_json(&outcomes)
    } else {
        print(&report::table(outcomes, table::width()))
    }
}

fn write(path: &Utf8Path, text: &str) -> Result<(), Report> {
    output::write(path, text.as_bytes()).map_err(|e| write_error(path, e))
}
