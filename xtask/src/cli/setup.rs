//! `setup`.

use super::console::Console;
use super::print;
use crate::host::setup;

/// Options of `setup`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask setup              what is needed to make and boot images
  cargo xtask setup --dev        also what is needed for `cargo xtask ci`
  cargo xtask setup --print      only print the commands")]
pub(super) struct Args {
    /// Also install what is needed to work on this project: external checkers, mmdebstrap, act
    #[arg(long)]
    dev: bool,
    /// Also install what is needed to build and boot images for arm64 with emulation
    #[arg(long)]
    arm64: bool,
    /// Print the commands without running them
    #[arg(long)]
    print: bool,
}

/// Installs what is missing on this host, or prints the commands for it.
pub(super) fn run(args: &Args, console: Console) -> anyhow::Result<()> {
    let wanted = setup::Wanted {
        dev: args.dev,
        arm64: args.arm64,
    };
    if !args.print {
        setup::install(wanted, &console)?;
        console.stage("everything is installed");
        return Ok(());
    }
    let commands = setup::commands(wanted)?;
    if commands.is_empty() {
        console.stage("nothing to install");
    }
    for command in commands {
        print(&command)?;
    }
    Ok(())
}
