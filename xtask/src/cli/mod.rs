//! The command line: subcommands, options, and how errors end the program.

mod action;
mod boot;
mod called;
mod choices;
mod clean;
mod completions;
mod console;
mod container;
mod convert;
mod doctor;
mod ext4_to_tar;
mod files;
mod forwards;
mod from;
mod image;
mod inspect;
mod list;
mod live;
mod login;
mod machine;
mod man;
mod recipe;
mod setup;
mod smoke;
mod summary;
mod table;
mod targets;
mod upload;
mod verify;
mod volumes;

pub use action::RESULT;
pub use console::{Console, Level};
pub use upload::variable;

use crate::{cleanup, deliver, error, printable};
use clap::error::ErrorKind;
use clap::{ArgAction, Parser, Subcommand};
use std::io::Write;
use std::process::ExitCode;

/// Turns a container into a Linux disk image that boots.
///
/// A recipe is a folder with a Dockerfile and a recipe.yaml. `image` builds it with docker or
/// podman and writes a disk. It needs no root, no loop device, no mount, and no tool on this host
/// except the container engine.
#[derive(Debug, Parser)]
#[command(name = called::name(), bin_name = called::name(), version = VERSION)]
#[command(after_help = "Examples:
  cargo xtask setup                      install what is missing on this host
  cargo xtask image debian               build recipes/debian into target/images/debian.img
  cargo xtask image ./my/recipe          build your own recipe
  cargo xtask boot target/images/debian.img
  cargo xtask smoke debian               boot it and check that it works
  cargo xtask doctor                     show what is installed and what is missing")]
struct Cli<V: Subcommand> {
    #[command(subcommand)]
    verb: V,
    /// Print only errors and results
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Also print the commands that are run
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
}

/// The commands for people who make images.
#[derive(Debug, Subcommand)]
#[expect(private_interfaces, reason = "options are read in this module only")]
pub enum Verb {
    /// Build recipes into disk images
    Image(Box<image::Args>),
    /// Print what an image would contain, as JSON, without writing a disk
    Plan(Box<image::Args>),
    /// Write an existing raw image in other formats, compressed, or in parts
    Convert(convert::Args),
    /// Check the images in a folder against their metadata files
    Verify(verify::Args),
    /// Look into an image without booting it: what is there, and why it cannot boot
    Inspect(inspect::Args),
    /// List the recipes
    List(list::Args),
    /// List the platforms that images can be made for, and what each accepts
    Targets(targets::Args),
    /// Build, list, export and import ready machines, which containers are put into
    Machine(machine::Args),
    /// Write a recipe of your own to start from
    Recipe(recipe::Args),
    /// Boot an image in QEMU with its serial console on this terminal
    Boot(boot::Args),
    /// Boot images in QEMU, check that they work, and print a verdict for each
    Smoke(Box<smoke::Args>),
    /// Show what is installed, what is missing, and which package provides it
    Doctor,
    /// Install what is missing on this host; safe to run twice
    Setup(setup::Args),
    /// Remove images, caches, and what killed runs left in the container engine
    Clean(clean::Args),
    /// Print the JSON Schema of recipe.yaml
    Schema {
        /// Print the schema of an image's manifest instead
        #[arg(long, conflicts_with = "inspection")]
        manifest: bool,
        /// Print the schema of `inspect --json` instead
        #[arg(long)]
        inspection: bool,
    },
    /// Print the completions for a shell
    Completions(completions::Args),
    /// Write the manual pages
    Man(man::Args),
    /// Run the GitHub Action; it reads its inputs from environment variables
    #[command(hide = true)]
    Action,
    /// Upload files to a GitHub release, from a workflow
    #[command(hide = true)]
    Upload(upload::Args),
    /// Write the contents of an ext4 file system to stdout as a tar (for bootstraps)
    #[command(hide = true)]
    Ext4ToTar(ext4_to_tar::Args),
}

/// The version; in releases with the commit and its date.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), env!("DOCKER_TO_LINUX_COMMIT"));

/// No subcommand: clap prints the whole help.
const MISSING_VERB: ErrorKind = ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;

/// Runs the program and returns its exit code: 0 for success, 1 for a failure, 2 for a user's
/// mistake.
pub fn main() -> ExitCode {
    start(run)
}

/// Like [`main`], with the commands of `V`, which `run` executes: [`Verb`] or a superset of it.
pub fn start<V: Subcommand>(run: impl FnOnce(V, Console) -> anyhow::Result<ExitCode>) -> ExitCode {
    report_bugs();
    let cli = match Cli::<V>::try_parse() {
        Ok(cli) => cli,
        Err(e) if e.use_stderr() && e.kind() != MISSING_VERB => {
            print_error(&one_line(&e.to_string()));
            return ExitCode::from(error::Class::Mistake.exit_code());
        }
        // Help and version, asked for or not.
        Err(e) => return show(&e),
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
    // A signal also kills the running child, whose failure arrives here. The signal is the real
    // reason, and its thread ends the program.
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

/// Executes a command and returns its exit code.
///
/// # Errors
/// Why the command failed, for [`error::describe`].
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
        Verb::Targets(args) => targets::run(&args)?,
        Verb::Machine(args) => machine::run(&args, console)?,
        Verb::Recipe(args) => recipe::run(&args, console)?,
        Verb::Completions(args) => completions::run(&args)?,
        Verb::Man(args) => man::run(&args, console)?,
        Verb::Boot(args) => return boot::run(&args, console),
        Verb::Smoke(args) => smoke::run(&args, console)?,
        Verb::Doctor => return doctor::run(),
        Verb::Setup(args) => setup::run(&args, console)?,
        Verb::Clean(args) => clean::run(&args, console)?,
        Verb::Convert(args) => convert::run(&args, console)?,
        Verb::Verify(args) => verify::run(&args, console)?,
        Verb::Inspect(args) => inspect::run(&args)?,
        Verb::Schema { manifest: true, .. } => print(&deliver::manifest::schema())?,
        Verb::Schema {
            inspection: true, ..
        } => print(&crate::inspect::schema())?,
        Verb::Schema { .. } => print(&crate::recipe::schema())?,
        Verb::Ext4ToTar(args) => ext4_to_tar::run(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints help or the version, with the program called as the user called it.
fn show(error: &clap::Error) -> ExitCode {
    use std::io::IsTerminal;
    let text = error.render();
    let to_stderr = error.use_stderr();
    let colours = match to_stderr {
        true => std::io::stderr().is_terminal(),
        false => std::io::stdout().is_terminal(),
    };
    let text = match colours && console::may_be_coloured() {
        true => text.ansi().to_string(),
        false => text.to_string(),
    };
    let text = called::adapt(&text);
    // If nobody reads it, there is nothing to report.
    let _ = match to_stderr {
        true => write!(std::io::stderr(), "{text}"),
        false => write!(std::io::stdout(), "{text}"),
    };
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// clap's message about a wrong command line, as one line like every other error: its first
/// paragraph, then its tip or a pointer to the help.
fn one_line(text: &str) -> String {
    let words = |part: &str| part.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let mut paragraphs = text.split("\n\n");
    let what = words(paragraphs.next().unwrap_or_default());
    let tip = text
        .lines()
        .filter_map(|l| l.trim().strip_prefix("tip: "))
        // "to pass '--x' as a value, use '-- --x'" is never what was meant.
        .find(|tip| !tip.starts_with("to pass"));
    let hint = tip.map_or_else(
        || "--help lists the options, with examples".to_owned(),
        words,
    );
    format!("{what}; hint: {hint}")
}

/// Writes a result, one or more lines of text, to stdout.
///
/// # Errors
/// If stdout cannot be written, e.g. because its reader has closed it.
pub fn print(text: &str) -> anyhow::Result<()> {
    use anyhow::Context;
    let text = called::adapt(text.trim_end());
    let text = printable::without_commands(printable::lines(&text));
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

/// Writes an error to stderr as one line.
fn print_error(line: &str) {
    let line = called::adapt(line);
    let line = printable::without_commands(printable::line(&line));
    // If stderr is closed, there is nowhere to report it.
    let _ = writeln!(std::io::stderr(), "error: {line}");
}

/// Reports a panic, which is a bug, as one line. The message may contain parts of the input.
fn report_bugs() {
    std::panic::set_hook(Box::new(|info| {
        let what = info.payload_as_str().unwrap_or("no message");
        let place = info.location().map(ToString::to_string);
        print_error(&format!(
            "this is a bug in docker-to-linux ({} at {}); hint: report it, with the input if you can share it",
            what,
            place.unwrap_or_default()
        ));
    }));
}

/// Log for -v: only our own colours, and texts made safe by `printable`.
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

/// The reader of our results has closed the pipe, as `head` does. This is not reported.
#[derive(Debug, thiserror::Error)]
#[error("writing to stdout: the reader has closed it")]
struct StdoutClosed;

/// Exit code that a shell reports for a program that SIGPIPE ended.
const BY_SIGPIPE: u8 = 128 + 13;
