//! The command line: verbs, options, and how errors end the program.

use crate::{cleanup, error};
use clap::Parser;
use std::io::Write;
use std::process::ExitCode;

/// Turns a container into a Linux disk image that boots.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", version)]
struct Cli {}

/// Runs the program and returns its exit code: 0, 1 for a failure, 2 for a user's mistake.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = cleanup::on_signals()
        .map_err(anyhow::Error::from)
        .and_then(|()| run(&cli));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let (line, class) = error::describe(&e);
            let _ = writeln!(std::io::stderr(), "error: {line}");
            ExitCode::from(class.exit_code())
        }
    }
}

fn run(_cli: &Cli) -> anyhow::Result<()> {
    Ok(())
}
