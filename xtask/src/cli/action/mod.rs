//! `action`: everything that the GitHub Action does once this program is there. It reads the
//! inputs, builds, boots, publishes, and tells the runner about it.

mod inputs;
mod outcome;
mod runner;

pub(super) use outcome::RESULT;

use super::console::Console;
use super::image::{self, Made};
use super::upload;
use crate::boot::{self, Firmware, ImageFormat, Machine};
use crate::error::{self, Class, Place, Report};
use crate::publish::github::commands::{self, Level, Stopped};
use crate::publish::github::release;
use crate::recipe::BootMode;
use anyhow::Context;
use camino::{Utf8Path, Utf8PathBuf};
use clap::Parser;
use fs_err as fs;
use inputs::Inputs;
use outcome::{Boot, Image, Run};
use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

/// The verb `image`, to have its command line parsed.
#[derive(Debug, Parser)]
#[command(name = "image", no_binary_name = true, disable_help_flag = true)]
struct ImageLine {
    #[command(flatten)]
    args: image::Args,
}

pub(super) fn run(console: Console) -> anyhow::Result<ExitCode> {
    let log = Log::new()?;
    let variables: BTreeMap<String, String> = std::env::vars().collect();
    let given = variables.get("INPUTS").map(String::as_str);
    let mut run = Run::default();
    match inputs::read(&variables, given) {
        Ok(inputs) => {
            let done = work(&inputs, &mut run, &log, console);
            let errors = done.err().into_iter().collect();
            finish(&mut run, &log, errors, &inputs.output)
        }
        Err(wrong) => {
            let errors = wrong.into_iter().map(anyhow::Error::from).collect();
            let output = variables.get(&inputs::variable("output"));
            let output = output.filter(|o| !o.is_empty());
            finish(
                &mut run,
                &log,
                errors,
                output.map_or("target/images", |o| o),
            )
        }
    }
}

/// Builds, boots, publishes. What is known goes into `run` as soon as it is.
fn work(inputs: &Inputs, run: &mut Run, log: &Log, console: Console) -> anyhow::Result<()> {
    run.subject.clone_from(&inputs.subject);
    run.smoke = inputs.smoke;
    let line = ImageLine::try_parse_from(&inputs.image).map_err(|e| {
        Report::mistake(format!(
            "the inputs make no good command line for `image`: {}",
            super::one_line(&e.to_string())
        ))
    })?;
    let made = log.group(&format!("Building {}", inputs.subject), || {
        image::run(&line.args, console)
    })?;
    for one in &made {
        for path in &one.files {
            run.images.push(Image {
                size: fs::metadata(path)?.len(),
                sha256: release::sha256(path)?,
                path: path.clone(),
            });
        }
    }
    let paper = |ending: &str| {
        let first = made.first()?;
        let dir = first.files.first()?.parent()?;
        let path = dir.join(format!("{}.{ending}", first.plan.name));
        path.is_file().then_some(path)
    };
    run.manifest = paper("manifest.json");
    run.sbom = paper("spdx.json");
    if inputs.smoke {
        for one in &made {
            test_boots(one, inputs, run, log, console)?;
        }
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

/// Boots an image by each firmware it is made for.
fn test_boots(
    made: &Made,
    inputs: &Inputs,
    run: &mut Run,
    log: &Log,
    console: Console,
) -> anyhow::Result<()> {
    let plan = &made.plan;
    log.group("Preparing this machine for a boot", || {
        runner::prepare(plan.arch, plan.boot, console)
    })?;
    let image = bootable(made)?;
    let evidence = Utf8Path::new(&inputs.output).join("smoke");
    let firmwares: &[Firmware] = match plan.boot {
        BootMode::Bios => &[Firmware::Bios],
        BootMode::Uefi => &[Firmware::Uefi],
        BootMode::Hybrid => &[Firmware::Bios, Firmware::Uefi],
    };
    for firmware in firmwares {
        let title = format!("Booting {} by {firmware}", plan.name);
        let dir = evidence.join(format!("{}-{firmware}", plan.name).to_lowercase());
        let boot = log.group(&title, || {
            boot(made, image, *firmware, inputs, &dir, console)
        })?;
        let failed = (!boot.passed).then(|| {
            let detail = boot.detail.clone().unwrap_or_else(|| boot.verdict.clone());
            Report::failure(detail)
        });
        run.boots.push(boot);
        if let Some(report) = failed {
            return Err(report.into());
        }
    }
    Ok(())
}

/// The file of an image that QEMU can boot.
fn bootable(made: &Made) -> Result<&Utf8Path, Report> {
    let known = |path: &&Utf8PathBuf| {
        path.as_str().ends_with(".img") || ImageFormat::of(path) != ImageFormat::Raw
    };
    made.files
        .iter()
        .find(known)
        .map(|p| p.as_path())
        .ok_or_else(|| {
            Report::mistake("none of the image's formats can be booted here")
                .hint("add `raw` to the input `format`, or set `smoke: false`")
        })
}

fn boot(
    made: &Made,
    image: &Utf8Path,
    firmware: Firmware,
    inputs: &Inputs,
    dir: &Utf8Path,
    console: Console,
) -> anyhow::Result<Boot> {
    let machine = Machine {
        format: ImageFormat::of(image),
        ..Machine::new(made.plan.arch, firmware)
    };
    let options = boot::Options {
        timeout: inputs.smoke_timeout,
        ..boot::Options::default()
    };
    let result = boot::to_login(&machine, image, options);
    let (verdict, passed, seconds, detail, log) = match result {
        Ok(v) => {
            let passed = v.powered_off;
            let detail = (!passed).then(|| "the machine did not turn itself off".to_owned());
            let verdict = if passed { "passed" } else { "no-power-off" };
            let log = boot::plain(&v.transcript);
            (verdict, passed, v.seconds, detail, log)
        }
        Err(e) => {
            let said = error::describe(&e.into()).0;
            ("failed", false, 0.0, Some(said), String::new())
        }
    };
    fs::create_dir_all(dir)?;
    fs::write(dir.join("serial.log"), &log)?;
    console.stage(&format!("{verdict} after {seconds:.0} s"));
    Ok(Boot {
        name: made.plan.name.clone(),
        firmware,
        verdict: verdict.into(),
        passed,
        seconds,
        stages: Vec::new(),
        detail,
        evidence: Some(dir.to_owned()),
        screenshot: dir.join("screen.png").is_file(),
        log,
    })
}

/// The files that are published.
fn assets(run: &Run) -> Vec<Utf8PathBuf> {
    let images = run.images.iter().map(|i| &i.path);
    let all = images.chain(&run.manifest).chain(&run.sbom);
    all.cloned().collect()
}

/// Tells the runner how it went, and returns the exit code.
fn finish(
    run: &mut Run,
    log: &Log,
    errors: Vec<anyhow::Error>,
    output: &str,
) -> anyhow::Result<ExitCode> {
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
            Class::Mistake => "docker-to-linux: a mistake in what was asked for",
            Class::Failure => "docker-to-linux",
        };
        log.say(&commands::annotation(
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
    // A folder that cannot be made was the error already.
    if fs::create_dir_all(dir).is_ok() {
        fs::write(dir.join(RESULT), result)?;
    }
    Ok(code)
}

/// The runner's log. Commands go the way of everything else that is told, to stderr: two
/// pipes would mix the order.
struct Log {
    stopped: Stopped,
}

impl Log {
    fn new() -> anyhow::Result<Log> {
        Ok(Log {
            stopped: Stopped::new().context("reading random bytes")?,
        })
    }

    fn say(&self, line: &str) {
        // Whoever closed our stderr does not want to know.
        let _ = writeln!(std::io::stderr(), "{line}");
    }

    /// Does something in a part of the log that can be folded. What it prints may come from a
    /// build or a guest, so nothing in it counts as a command.
    fn group<T>(&self, title: &str, what: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        self.say(&commands::group(title));
        self.say(&self.stopped.stop());
        let done = what();
        self.say(&self.stopped.resume());
        self.say(commands::END_GROUP);
        done
    }
}
