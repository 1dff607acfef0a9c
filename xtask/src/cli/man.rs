//! `man`.

use super::console::Console;
use super::{Cli, Verb, called};
use crate::error::Report;
use crate::output;
use camino::{Utf8Path, Utf8PathBuf};
use clap::CommandFactory;

/// Options of `man`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  docker-to-linux man ~/.local/share/man/man1
  man docker-to-linux-image")]
pub(super) struct Args {
    /// Folder for the pages, one for each command
    dir: Utf8PathBuf,
}

pub(super) fn run(args: &Args, console: Console) -> anyhow::Result<()> {
    let failed = |path: &Utf8Path, e: std::io::Error| {
        Report::failure(format!("writing the manual page {path}"))
            .hint("choose a folder that you can write to")
            .because(e)
    };
    fs_err::create_dir_all(&args.dir).map_err(|e| failed(&args.dir, e))?;
    let name = called::program();
    let mut command = Cli::<Verb>::command().name(name).bin_name(name);
    command.build();
    let mut pages = 0;
    let subcommands: Vec<clap::Command> = command.get_subcommands().cloned().collect();
    for page in std::iter::once(command).chain(subcommands) {
        if page.is_hide_set() || page.get_name() == "help" {
            continue;
        }
        let title = match page.get_name() {
            own if own == name => name.to_owned(),
            verb => format!("{name}-{verb}"),
        };
        let mut text = Vec::new();
        let path = args.dir.join(format!("{title}.1"));
        let page = page.display_name(&title);
        clap_mangen::Man::new(page)
            .title(&title)
            .render(&mut text)
            .map_err(|e| failed(&path, e))?;
        let text = String::from_utf8_lossy(&text);
        let text = text.replace("cargo xtask", name);
        output::write(&path, text.as_bytes()).map_err(|e| failed(&path, e))?;
        pages += 1;
    }
    console.stage(&format!("wrote {pages} manual pages to {}", args.dir));
    Ok(())
}
