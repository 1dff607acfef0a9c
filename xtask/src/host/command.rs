//! Commands that change this host: `setup` runs them, and `setup --print` shows them.

use crate::error::Report;
use crate::{shell, tool};
use xshell::{Shell, cmd};

/// A command that installs something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Command {
    /// What it does, e.g. `installing the SPDX validator`.
    what: &'static str,
    words: Vec<String>,
}

impl Command {
    pub(super) fn new<'a>(what: &'static str, words: impl IntoIterator<Item = &'a str>) -> Command {
        let words = words.into_iter().map(str::to_owned).collect();
        Command { what, words }
    }

    /// The command as people would type it.
    pub(super) fn shown(&self) -> String {
        shell::command_line(self.words.iter().map(String::as_str))
    }
}

/// Runs commands of pip in this order. `say` is told what each does.
///
/// # Errors
/// The first failure. What the command printed is on stderr.
pub(super) fn all(commands: &[Command], say: &dyn Fn(&str)) -> Result<(), Report> {
    for command in commands {
        say(command.what);
        let words: Vec<&str> = command.words.iter().map(String::as_str).collect();
        run(&words).map_err(|e| {
            Report::failure(command.what).because(e).hint(
                "install python3 with pip and venv (`cargo xtask setup --dev` does), and check that PyPI can be reached",
            )
        })?;
    }
    Ok(())
}

/// `sudo`, unless this process is root.
pub(super) fn sudo() -> Option<&'static str> {
    (!rustix::process::geteuid().is_root()).then_some("sudo")
}

/// Runs a command. Its output is not a result of ours, so none goes to stdout.
pub(super) fn run(words: &[&str]) -> xshell::Result<()> {
    let sh = Shell::new()?;
    let Some((program, rest)) = words.split_first() else {
        return Ok(());
    };
    tool::cleared(cmd!(sh, "{program} {rest...}"))
        .quiet()
        .ignore_stdout()
        .run()
}
