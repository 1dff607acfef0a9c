//! What the user sees while something runs: stages and bars on a terminal, plain lines elsewhere.
//! All of it goes to stderr; stdout is for results. `printable` makes the texts safe, so that all
//! colours are our own.

use super::called;
use crate::printable;
use crate::progress::{Bytes, Progress};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// How much is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Errors only.
    Quiet,
    /// Stages, and the output of builds.
    Normal,
    /// Also the commands that are run.
    Verbose,
}

/// Messages on stderr: a terminal, or a log.
#[derive(Debug, Clone, Copy)]
pub struct Console {
    level: Level,
    terminal: bool,
    colours: bool,
}

/// Whether a terminal may get colours: not with `NO_COLOR` (no-color.org), and not if `TERM` is
/// `dumb`.
pub(super) fn may_be_coloured() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    !refused && !dumb
}

impl Console {
    /// Checks whether stderr is a terminal, and whether to use colours.
    pub fn new(level: Level) -> Console {
        let terminal = std::io::stderr().is_terminal();
        Console {
            level,
            terminal,
            colours: terminal && may_be_coloured(),
        }
    }

    /// How much is printed.
    pub(super) fn level(&self) -> Level {
        self.level
    }

    /// Whether stderr is a terminal.
    pub(super) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Whether to use colours.
    pub(super) fn colours(&self) -> bool {
        self.colours
    }

    /// Prints the start of a stage of the work.
    pub fn stage(&self, text: &str) {
        if self.level > Level::Quiet {
            self.print("1;36", "==> ", text);
        }
    }

    /// Prints a note or a warning.
    pub fn note(&self, text: &str) {
        if self.level > Level::Quiet {
            self.print("1;33", "  ! ", text);
        }
    }

    /// Prints a line of another program's output, or a detail.
    pub fn detail(&self, text: &str) {
        if self.level > Level::Quiet {
            self.print("2", "    ", text);
        }
    }

    fn print(&self, colour: &str, mark: &str, text: &str) {
        let text = called::adapt(text);
        let text = printable::without_commands(printable::line(&text));
        // If stderr is closed, there is nowhere to report it.
        let _ = if self.colours {
            writeln!(std::io::stderr(), "\x1b[{colour}m{mark}{text}\x1b[0m")
        } else {
            writeln!(std::io::stderr(), "{mark}{text}")
        };
    }
}

impl Progress for Console {
    fn stage(&self, text: &str) {
        Console::stage(self, text);
    }
    fn note(&self, text: &str) {
        Console::note(self, text);
    }
    fn detail(&self, text: &str) {
        Console::detail(self, text);
    }
    /// The bar is shown on a terminal only.
    fn bytes(&self, what: &str, total: Option<u64>) -> Box<dyn Bytes> {
        let bar = bar(what, total);
        if self.terminal && self.level > Level::Quiet {
            bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
            bar.enable_steady_tick(TICK);
        }
        Box::new(Bar(bar))
    }
}

/// How often a bar or a spinner moves.
pub(super) const TICK: Duration = Duration::from_millis(200);

/// A bar of bytes. It is drawn once it has a target and ticks: whoever draws other lines as well
/// must add it to them first.
pub(super) fn bar(what: &str, total: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
    // It fits in 40 columns.
    let template = match total {
        Some(_) => "    {msg} [{wide_bar}] {percent}% {binary_bytes_per_sec} {eta}",
        None => "    {msg} {spinner} {bytes} {binary_bytes_per_sec}",
    };
    // The templates are constants; a wrong one falls back to the plain style.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(what.to_owned());
    bar
}

/// A bar; it vanishes when it is dropped.
#[derive(Debug)]
pub(super) struct Bar(pub(super) ProgressBar);

impl Bytes for Bar {
    fn add(&self, bytes: u64) {
        self.0.inc(bytes);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::bar;

    /// Or it would write a line that nobody erases.
    #[test]
    fn a_bar_is_not_drawn_before_it_has_a_place() {
        assert!(bar("writing", Some(5)).is_hidden() && bar("reading", None).is_hidden());
    }
}
