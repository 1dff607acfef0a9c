//! `completions`.

use super::{Cli, Verb, called};
use anyhow::Context;
use clap::CommandFactory;
use std::io::Write;

/// Options of `completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  docker-to-linux completions bash >~/.local/share/bash-completion/completions/docker-to-linux
  docker-to-linux completions zsh >~/.zfunc/_docker-to-linux
  docker-to-linux completions fish >~/.config/fish/completions/docker-to-linux.fish

They are for the program itself: shells complete `cargo xtask` with cargo's own completions.")]
pub(super) struct Args {
    /// Shell that reads them
    shell: clap_complete::Shell,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let mut text = Vec::new();
    let mut command = Cli::<Verb>::command();
    clap_complete::generate(args.shell, &mut command, called::program(), &mut text);
    let mut out = std::io::stdout().lock();
    let written = out.write_all(&text).and_then(|()| out.flush());
    written.context("writing to stdout")
}
