//! The commands for people who work on this project. `--help` does not list them, and the released
//! program does not contain them (it is built without the feature `dev`).

mod bench;
mod ci;
mod docs;
mod nightly;
mod picture;

use clap::Subcommand;
use docker_to_linux::cli::{self, Console};
use std::process::ExitCode;

/// Every command of this program.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    #[command(flatten)]
    User(cli::Verb),
    #[command(flatten)]
    Dev(Dev),
}

/// The commands for developers.
#[derive(Debug, Subcommand)]
pub(crate) enum Dev {
    /// Check everything: format, lints, tests, and real boots of images
    #[command(hide = true)]
    Ci(ci::Args),
    /// Measure the speed, compared to other ways to make an image
    #[command(hide = true)]
    Bench(bench::Args),
    /// Open, update or close the issue about nightly boots, as the workflow nightly.yml does
    #[command(hide = true)]
    Nightly(nightly::Args),
    /// Write the tables of the action's inputs and outputs into its documentation
    #[command(hide = true)]
    Docs(docs::Args),
    /// Make the README's picture of a run from a real run
    #[command(hide = true)]
    Picture(picture::Args),
}

/// Executes a command and returns its exit code.
pub(crate) fn run(verb: Verb, console: Console) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::User(verb) => return cli::run(verb, console),
        Verb::Dev(Dev::Ci(args)) => ci::run(&args, console)?,
        Verb::Dev(Dev::Bench(args)) => bench::run(&args, console)?,
        Verb::Dev(Dev::Nightly(args)) => nightly::run(&args, console)?,
        Verb::Dev(Dev::Docs(args)) => docs::run(&args, console)?,
        Verb::Dev(Dev::Picture(args)) => picture::run(&args, console)?,
    }
    Ok(ExitCode::SUCCESS)
}
