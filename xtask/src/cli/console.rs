//! What the user sees while something runs: stages and bars on a terminal, plain lines
//! elsewhere. All of it goes to stderr; stdout is for results. Texts are shown as `printable`
//! has them; colours are ours alone.

use crate::printable;
use crate::progress::{Bytes, Progress};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Errors only.
    Quiet,
    /// Stages, and the output of builds.
    Normal,
    /// Also what is run.
    Verbose,
}

/// The user's terminal, or a log.
#[derive(Debug, Clone, Copy)]
pub struct Console {
    level: Level,
    terminal: bool,
}

impl Console {
    /// Looks whether stderr is a terminal.
    pub fn new(level: Level) -> Console {
        Console {
            level,
            terminal: std::io::stderr().is_terminal(),
        }
    }

    /// A new stage of the work.
    pub fn stage(&self, text: &str) {
        if self.level > Level::Quiet {
            self.print("1;36", "==> ", text);
        }
    }

    /// Something worth knowing.
    pub fn note(&self, text: &str) {
        if self.level > Level::Quiet {
            self.print("1;33", "  ! ", text);
        }
    }

    /// A line of somebody else's output, or a detail.
    pub fn detail(&self, text: &str) {
        if self.level > Level::Quiet {
            self.print("2", "    ", text);
        }
    }

    fn print(&self, colour: &str, mark: &str, text: &str) {
        let text = printable::without_commands(printable::line(text));
        // Whoever closed our stderr does not want to know.
        let _ = if self.terminal {
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
    /// Only a terminal shows it.
    fn bytes(&self, what: &str, total: Option<u64>) -> Box<dyn Bytes> {
        let shown = self.terminal && self.level > Level::Quiet;
        let bar = match total {
            Some(total) => ProgressBar::new(total),
            None => ProgressBar::no_length(),
        };
        bar.set_draw_target(if shown {
            ProgressDrawTarget::stderr_with_hz(10)
        } else {
            ProgressDrawTarget::hidden()
        });
        let template = match total {
            Some(_) => "    {msg} [{bar:30}] {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}",
            None => "    {msg} {spinner} {bytes} {binary_bytes_per_sec}",
        };
        // The templates are constants: one that is wrong gives the plain style.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        Box::new(Bar(bar))
    }
}

/// A bar; it vanishes when it is dropped.
#[derive(Debug)]
struct Bar(ProgressBar);

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
