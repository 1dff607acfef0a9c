//! The command line: verbs, options, and how errors end the program.

mod action;
mod boot;
pub mod checkers;
mod choices;
mod clean;
mod console;
mod container;
mod convert;
mod doctor;
mod ext4_to_tar;
mod files;
mod forwards;
mod from;
mod host;
mod image;
mod list;
mod live;
mod login;
mod setup;
mod smoke;
mod summary;
mod upload;
mod verify;

pub use action::RESULT;
pub use console::{Console, Level};
pub use smoke::{failed, tell};
pub use upload::variable;

use crate::{cleanup, deliver, error, printable, recipe};
use clap::error::ErrorKind;
use clap::{ArgAction, Parser, Subcommand};
use std::io::Write;
use std::process::ExitCode;

/// Turns a container into a Linux disk image that boots.
///
/// A recipe is a folder with a Dockerfile and a recipe.yaml. `image` builds it with docker or
/// podman and writes a disk: no root, no loop device, no mount, no tool on this host but the
/// container engine.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
#[command(after_help = "Examples:
  cargo xtask setup                      install what is missing on this host
  cargo xtask image debian               build recipes/debian into target/images/debian.img
  cargo xtask image ./my/recipe          build a recipe of your own
  cargo xtask boot target/images/debian.img
  cargo xtask smoke debian               does it boot, and is it well?
  cargo xtask doctor                     what is here and what is missing")]
struct Cli<V: Subcommand> {
    #[command(subcommand)]
    verb: V,
    /// Tell nothing but errors and results
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Also tell what is run
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
}

/// The commands of people who make images.
#[derive(Debug, Subcommand)]
#[expect(private_interfaces, reason = "options are read in this room only")]
pub enum Verb {
    /// Build recipes into disk images
    Image(Box<image::Args>),
    /// Print what an image would be, as JSON, and write no disk
    Plan(Box<image::Args>),
    /// Write a raw image that exists in other formats, compressed, or in parts
    Convert(convert::Args),
    /// Check the files in a folder against their papers
    Verify(verify::Args),
    /// List the recipes
    List(list::Args),
    /// Boot an image in QEMU with its serial console on this terminal
    Boot(boot::Args),
    /// Boot images in QEMU, look inside, and give a verdict on each
    Smoke(Box<smoke::Args>),
    /// Tell what is here, what is missing, and which package brings it
    Doctor,
    /// Install what is missing on this host; safe to run twice
    Setup(setup::Args),
    /// Remove images, caches and what is left in the container engine
    Clean(clean::Args),
    /// Print the JSON Schema of recipe.yaml
    Schema {
        /// Print that of an image's manifest
        #[arg(long)]
        manifest: bool,
    },
    /// Do what the GitHub Action does; its inputs are variables of the environment
    #[command(hide = true)]
    Action,
    /// Upload files to a GitHub release, from a workflow
    #[command(hide = true)]
    Upload(upload::Args),
    /// Write the content of an ext4 file system as a tar to stdout (for bootstraps)
    #[command(hide = true)]
    Ext4ToTar(ext4_to_tar::Args),
}

/// No verb at all: clap answers with the whole help.
const MISSING_VERB: ErrorKind = ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;

/// Runs the program and returns its exit code: 0, 1 for a failure, 2 for a user's mistake.
pub fn main() -> ExitCode {
    start(run)
}

/// The same with the commands `V`, which `run` executes: [`Verb`], or a superset of it.
pub fn start<V: Subcommand>(run: impl FnOnce(V, Console) -> anyhow::Result<ExitCode>) -> ExitCode {
    report_bugs();
    let cli = match Cli::<V>::try_parse() {
        Ok(cli) => cli,
        Err(e) if e.use_stderr() && e.kind() != MISSING_VERB => {
            print_error(&one_line(&e.to_string()));
            return ExitCode::from(error::Class::Mistake.exit_code());
        }
        // Help and version, asked for or not.
        Err(e) => e.exit(),
    };
    let level = match (cli.quiet, cli.verbose) {
        (true, _) => Level::Quiet,
        (false, 0) => Level::Normal,
        (false, _) => Level::Verbose,
    };
    if level == Level::Verbose {
        log_to_stderr();
    }
    let result = cleanup::on_signals()
        .map_err(anyhow::Error::from)
        .and_then(|()| run(cli.verb, Console::new(level)));
    // A child that a signal killed fails here as well: the signal is the reason, and its
    // thread ends the program.
    cleanup::wait_if_signalled();
    match result {
        Ok(code) => code,
        Err(e) if e.is::<StdoutClosed>() => ExitCode::from(BY_SIGPIPE),
        Err(e) => {
            let (line, class) = error::describe(&e);
            print_error(&line);
            ExitCode::from(class.exit_code())
        }
    }
}

/// Executes a command; the exit code of one that came to its end.
///
/// # Errors
/// What the command could not do, for [`error::describe`].
pub fn run(verb: Verb, console: Console) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Image(args) => drop(image::run(&args, console)?),
        Verb::Action => return action::run(console),
        Verb::Upload(args) => upload::run(&args, console)?,
        Verb::Plan(mut args) => {
            args.plan = true;
            image::run(&args, console)?;
        }
        Verb::List(args) => list::run(&args)?,
        Verb::Boot(args) => return boot::run(&args, console),
        Verb::Smoke(args) => smoke::run(&args, console)?,
        Verb::Doctor => return doctor::run(),
        Verb::Setup(args) => setup::run(&args, console)?,
        Verb::Clean(args) => clean::run(&args, console)?,
        Verb::Convert(args) => convert::run(&args, console)?,
        Verb::Verify(args) => verify::run(&args, console)?,
        Verb::Schema { manifest: false } => print(&recipe::schema())?,
        Verb::Schema { manifest: true } => print(&deliver::manifest::schema())?,
        Verb::Ext4ToTar(args) => ext4_to_tar::run(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What clap says of a wrong command line, in one line as every other error: its first
/// paragraph, and its tip or where the options are told.
fn one_line(text: &str) -> String {
    let words = |part: &str| part.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let mut paragraphs = text.split("\n\n");
    let what = words(paragraphs.next().unwrap_or_default());
    let tip = text
        .lines()
        .filter_map(|l| l.trim().strip_prefix("tip: "))
        // "to pass '--x' as a value, use '-- --x'": nobody means that.
        .find(|tip| !tip.starts_with("to pass"));
    let hint = tip.map_or_else(
        || "--help tells what there is, with examples".to_owned(),
        words,
    );
    format!("{what}; hint: {hint}")
}

/// Writes a result, a text of lines, to stdout.
///
/// # Errors
/// If it cannot be written, also because nobody reads it any more.
pub fn print(text: &str) -> anyhow::Result<()> {
    use anyhow::Context;
    let text = printable::without_commands(printable::lines(text.trim_end()));
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Err(StdoutClosed.into()),
        other => other.context("writing to stdout"),
    }
}

/// Writes a result to stdout as JSON.
fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    print(&printable::json(&serde_json::to_string_pretty(value)?))
}

/// Writes the one line of an error to stderr.
fn print_error(line: &str) {
    let line = printable::without_commands(printable::line(line));
    // Whoever closed our stderr does not want to know.
    let _ = writeln!(std::io::stderr(), "error: {line}");
}

/// A panic is a bug; its message may have been made of the input all the same.
fn report_bugs() {
    std::panic::set_hook(Box::new(|info| {
        let what = info.payload_as_str().unwrap_or("no message");
        let place = info.location().map(ToString::to_string);
        print_error(&format!(
            "this is a bug of docker-to-linux ({} at {}); hint: report it, with the input if you may",
            what,
            place.unwrap_or_default()
        ));
    }));
}

/// What -v shows: our colours, and texts as `printable` has them.
fn log_to_stderr() {
    use std::io::IsTerminal;
    use tracing_subscriber::fmt::format::debug_fn;
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .fmt_fields(debug_fn(|out, field, value| {
            let text = format!("{value:?}");
            match field.name() {
                "message" => write!(out, "{}", printable::line(&text)),
                name => write!(out, " {name}={}", printable::line(&text)),
            }
        }))
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .without_time()
        .with_target(false)
        .init();
}

/// Whoever read our results has gone, as `head` does: no news for anybody.
#[derive(Debug, thiserror::Error)]
#[error("writing to stdout: nobody reads it any more")]
struct StdoutClosed;

/// Exit code of a program that SIGPIPE ended, as a shell tells it.
const BY_SIGPIPE: u8 = 128 + 13;
