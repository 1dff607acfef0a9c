//! `action`: everything that the GitHub Action does after this program is built. It reads the
//! inputs, builds, boots, publishes, and reports to the runner.

mod inputs;
mod outcome;

pub use outcome::RESULT;

use super::console::Console;
use super::image;
use super::summary;
use super::upload;
use crate::build::Built;
use crate::cleanup::Guard;
use crate::deliver::manifest;
use crate::error::{self, Class, Place, Report};
use crate::github::commands::{self, Level, Stopped};
use crate::github::release;
use crate::host::runner;
use crate::printable;
use crate::smoke::{self, BootJob, Event};
use crate::vm::{DiskBus, ImageFormat, Machine, claims, firmware};
use anyhow::Context;
use camino::{Utf8Path, Utf8PathBuf};
use clap::Parser;
use fs_err as fs;
use inputs::{Inputs, SMOKE};
use outcome::{ImageFile, Run};
use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

/// The subcommand `image` alone, to parse its command line.
#[derive(Debug, Parser)]
#[command(name = "image", no_binary_name = true, disable_help_flag = true)]
struct ImageLine {
    #[command(flatten)]
    args: image::Args,
}

pub(super) fn run(console: Console) -> anyhow::Result<ExitCode> {
    // The runner passes a token to us: builds must not be able to read it, not even from /proc.
    crate::tool::hide_from_children();
    let log = Log::new()?;
    let variables: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let given = variables.get("INPUTS").map(String::as_str);
    let mut run = Run::default();
    match inputs::read(&variables, given) {
        Ok(inputs) => {
            let done = work(&inputs, &mut run, &log, console);
            let errors = done.err().into_iter().collect();
            finish(&mut run, errors, &inputs.output)
        }
        Err(wrong) => {
            let errors = wrong.into_iter().map(anyhow::Error::from).collect();
            let output = variables.get(&inputs::variable("output"));
            let output = output.filter(|o| !o.is_empty());
            finish(&mut run, errors, output.map_or("target/images", |o| o))
        }
    }
}

/// Builds, boots and publishes. Results are stored in `run` as soon as they are known.
fn work(inputs: &Inputs, run: &mut Run, log: &Log, console: Console) -> anyhow::Result<()> {
    run.subject.clone_from(&inputs.subject);
    run.smoke = inputs.smoke;
    if let (true, Some(trial)) = (inputs.smoke, &inputs.trial) {
        // The same disk, byte for byte, in a format that QEMU can read.
        let title = format!("Building {} to boot it", inputs.subject);
        let made = make(trial, &title, log, console)?;
        test_boots(&made, inputs, run, log, console)?;
        for file in made.iter().flat_map(|m| &m.files) {
            fs::remove_file(file)?;
        }
    }
    let title = format!("Building {}", inputs.subject);
    let made = make(&inputs.image, &title, log, console)?;
    for one in &made {
        for path in &one.files {
            run.images.push(ImageFile {
                size: fs::metadata(path)?.len(),
                sha256: release::sha256(path)?,
                path: path.clone(),
            });
        }
    }
    let metadata_file = |file: fn(&str) -> String| {
        let first = made.first()?;
        let dir = first.files.first()?.parent()?;
        let path = dir.join(file(&first.plan.name));
        path.is_file().then_some(path)
    };
    run.manifest = metadata_file(manifest::file_name);
    run.sbom = metadata_file(manifest::spdx_name);
    run.pages = made.iter().flat_map(summary::pages).collect();
    if inputs.smoke && inputs.trial.is_none() {
        test_boots(&made, inputs, run, log, console)?;
    }
    if let Some(wanted) = &inputs.release {
        let files = assets(run);
        run.published = Some(log.group(&format!("Publishing {}", wanted.tag), || {
            let token = wanted.token.clone();
            Ok(upload::publish(&wanted.tag, token, &files, console)?)
        })?);
    }
    Ok(())
}

/// Makes the images for a command line of `image`.
fn make(line: &[String], title: &str, log: &Log, console: Console) -> anyhow::Result<Vec<Built>> {
    let mut line = ImageLine::try_parse_from(line).map_err(|e| {
        Report::mistake(format!(
            "the inputs do not make a valid command line for `image`: {}",
            super::one_line(&e.to_string())
        ))
    })?;
    // What is published was made by this run.
    line.args.force = true;
    log.group(title, || image::run(&line.args, console))
}

/// Boots images with each firmware that they support. Returns an error if a boot fails.
fn test_boots(
    made: &[Built],
    inputs: &Inputs,
    run: &mut Run,
    log: &Log,
    console: Console,
) -> anyhow::Result<()> {
    for one in made {
        let plan = &one.plan;
        log.group("Preparing this runner for the boot", || {
            Ok(runner::prepare(plan.arch, plan.boot, &console)?)
        })?;
        let jobs = jobs(one, inputs)?;
        let outcomes = log.group(&format!("Booting {}", plan.name), || {
            let at_once = smoke::jobs_at_once(&jobs);
            let tell = |event: &Event<'_>| match event {
                Event::Begin(job) => console.stage(&format!("booting {}", job.title())),
                Event::End(outcome) => smoke::report::tell(outcome, &console),
            };
            Ok(smoke::all(&jobs, at_once, &tell)?)
        })?;
        let good = outcomes.iter().all(|o| o.passed);
        let failed = (!good).then(|| smoke::report::failure(&outcomes));
        run.boots.extend(outcomes);
        if let Some(report) = failed {
            return Err(report.into());
        }
    }
    Ok(())
}

/// A boot of an image for each firmware that it supports.
fn jobs(made: &Built, inputs: &Inputs) -> Result<Vec<BootJob>, Report> {
    let image = bootable(made)?;
    let name = &made.plan.name;
    let format = ImageFormat::of(image);
    let claims = claims::of(image, format)?;
    let evidence = Utf8Path::new(&inputs.output).join(SMOKE);
    let smoke = &made.smoke;
    Ok(claims
        .firmwares()
        .into_iter()
        .map(|firmware| BootJob {
            name: name.clone(),
            image: image.to_owned(),
            root: claims.root,
            machine: Machine {
                sector_size: claims.sector_size,
                format,
                memory_mib: smoke.memory,
                cpus: smoke.cpus,
                ..Machine::new(made.plan.arch, firmware)
            },
            firmware: firmware::Flags::default(),
            smoke: smoke.clone(),
            login: None,
            look: true,
            timeout: inputs.smoke_timeout,
            evidence: smoke::evidence_dir(&evidence, name, firmware, DiskBus::Virtio),
        })
        .collect())
}

/// The first file of an image that QEMU can boot.
fn bootable(made: &Built) -> Result<&Utf8Path, Report> {
    made.files
        .iter()
        .find(|path| ImageFormat::known(path).is_some())
        .map(|p| p.as_path())
        .ok_or_else(|| {
            Report::mistake("none of the image's formats can be booted here")
                .hint("add `raw` to the input `format`, or set `smoke: false`")
        })
}

/// The files to publish.
fn assets(run: &Run) -> Vec<Utf8PathBuf> {
    let images = run.images.iter().map(|i| &i.path);
    let all = images.chain(&run.manifest).chain(&run.sbom);
    let all = all.chain(&run.pages);
    all.cloned().collect()
}

/// Reports the result to the runner and returns the exit code.
fn finish(run: &mut Run, errors: Vec<anyhow::Error>, output: &str) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for error in &errors {
        let (line, class) = error::describe(error);
        code = ExitCode::from(class.exit_code());
        let place = error
            .chain()
            .filter_map(|e| e.downcast_ref::<Report>())
            .find_map(|r| r.place.clone());
        let place = place.map(|p| Place {
            file: outcome::in_repository(&p.file),
            ..p
        });
        let title = match class {
            Class::Mistake => "docker-to-linux: invalid input",
            Class::Failure => "docker-to-linux",
        };
        say(&commands::annotation(
            Level::Error,
            title,
            place.as_ref(),
            &line,
        ));
        run.errors.push(line);
    }
    outcome::append("GITHUB_OUTPUT", &run.outputs()).context("writing the outputs")?;
    outcome::append("GITHUB_STEP_SUMMARY", &run.summary()).context("writing the summary")?;
    let result = serde_json::to_string_pretty(&run.for_nightly())?;
    let dir = Utf8Path::new(output);
    // A folder that cannot be created has already been reported.
    if fs::create_dir_all(dir).is_ok() {
        fs::write(dir.join(RESULT), result)?;
    }
    Ok(code)
}

fn say(line: &str) {
    let line = printable::line(line);
    // If stderr is closed, there is nowhere to report it.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The runner's log. Commands go to stderr like all other messages, because two pipes would mix up
/// the order.
struct Log {
    stopped: Stopped,
}

impl Log {
    fn new() -> anyhow::Result<Log> {
        Ok(Log {
            stopped: Stopped::new().context("reading random bytes")?,
        })
    }

    /// Runs `what` in a foldable part of the log. Its output may come from a build or a guest, so
    /// the runner must not obey commands in it.
    fn group<T>(&self, title: &str, what: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        say(&commands::group(title));
        // This also runs if a signal ends the program, because later steps use commands too.
        let resume = self.stopped.resume();
        let guard = Guard::new(move || say(&resume));
        say(&self.stopped.stop());
        let done = what();
        drop(guard);
        say(commands::END_GROUP);
        done
    }
}
