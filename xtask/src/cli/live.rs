//! Progress on a terminal: the running stage with its time, and below it the last lines of another
//! program's output.
//!
//! If the stage fails, its output is shown in full. If stderr is not a terminal, and with `-v` and
//! `-q`, [`Console`] prints everything instead. In both cases other programs' output also goes to a
//! log file.

use super::console::{self, Console, Level};
use crate::cleanup::Guard;
use crate::place;
use crate::printable;
use crate::progress::{Bytes, Progress};
use camino::{Utf8Path, Utf8PathBuf};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Lines of other programs' output that are shown at a time.
const LINES: usize = 5;

/// The time of shorter stages is not shown.
const WORTH_TELLING: Duration = Duration::from_millis(500);

/// Progress that updates in place on a terminal.
pub(super) struct Live {
    console: Console,
    multi: MultiProgress,
    log: Arc<Log>,
    state: Mutex<State>,
    /// Clears the screen after a signal.
    interrupted: Option<Guard>,
}

/// The log file of one piece of work. It is written as soon as there is another program's output.
struct Log {
    path: Utf8PathBuf,
    text: Mutex<LogText>,
}

enum LogText {
    /// The lines before any output.
    Kept(String),
    Written(BufWriter<File>),
    /// The file is complete, or cannot be written, which is not an error.
    Closed,
}

#[derive(Default)]
struct State {
    /// The running stage.
    stage: Option<Stage>,
}

struct Stage {
    text: String,
    begun: Instant,
    head: ProgressBar,
    /// The lines below it. The text of each stays the same: while one line is drawn, the others
    /// must not show an older or a newer state, or a text would be seen twice.
    lines: VecDeque<ProgressBar>,
    /// What was printed during the stage.
    printed: VecDeque<String>,
}

/// Lines of a stage's output that are kept to show if it fails.
const MOST_KEPT: usize = 5000;

impl Live {
    fn new(console: Console, log: Log) -> Live {
        let multi = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        let log = Arc::new(log);
        // A signal ends the program: the moving lines go first, and the log is complete.
        let (screen, file) = (multi.clone(), Arc::clone(&log));
        let interrupted = Guard::new(move || {
            let _ = screen.clear();
            screen.set_draw_target(ProgressDrawTarget::hidden());
            file.finish();
        });
        Live {
            console,
            multi,
            log,
            state: Mutex::default(),
            interrupted: Some(interrupted),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the running stage and leaves one line with its time.
    fn end(&self, state: &mut State) {
        let Some(stage) = state.stage.take() else {
            return;
        };
        stage.clear();
        let took = stage.begun.elapsed();
        let mut text = stage.text;
        if took >= WORTH_TELLING {
            text = format!("{text} ({:.1} s)", took.as_secs_f64());
        }
        self.multi.suspend(|| self.console.stage(&text));
    }

    /// The work has failed: shows the full output of the running stage.
    fn failed(&self) {
        let mut state = self.state();
        let printed = state.stage.as_mut().map(|s| std::mem::take(&mut s.printed));
        self.end(&mut state);
        for line in printed.into_iter().flatten() {
            self.console.detail(&line);
        }
        self.log.tell(self.console);
    }

    /// The work has succeeded.
    fn done(&self) {
        self.end(&mut self.state());
        self.log.finish();
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(guard) = self.interrupted.take() {
            guard.disarm();
        }
    }
}

impl Stage {
    fn clear(&self) {
        for line in &self.lines {
            line.finish_and_clear();
        }
        self.head.finish_and_clear();
    }
}

impl Progress for Live {
    fn stage(&self, text: &str) {
        let mut state = self.state();
        self.end(&mut state);
        self.log.write(&format!("==> {text}"));
        let head = self.multi.add(ProgressBar::new_spinner());
        head.set_style(style(
            self.console.colours(),
            "{spinner} {wide_msg} {elapsed}",
        ));
        head.set_message(printable::line(text).into_owned());
        head.enable_steady_tick(console::TICK);
        state.stage = Some(Stage {
            text: text.to_owned(),
            begun: Instant::now(),
            head,
            lines: VecDeque::new(),
            printed: VecDeque::new(),
        });
    }

    fn note(&self, text: &str) {
        self.log.write(&format!("  ! {text}"));
        self.multi.suspend(|| self.console.note(text));
    }

    fn detail(&self, text: &str) {
        self.log.output(text);
        let mut state = self.state();
        let Some(stage) = &mut state.stage else {
            return;
        };
        if stage.printed.len() == MOST_KEPT {
            stage.printed.pop_front();
        }
        stage.printed.push_back(text.to_owned());
        if stage.lines.len() == LINES
            && let Some(oldest) = stage.lines.pop_front()
        {
            self.multi.remove(&oldest);
        }
        let line = ProgressBar::new_spinner()
            .with_style(style(self.console.colours(), "    {wide_msg:.dim}"))
            .with_message(printable::line(text).into_owned());
        let line = self.multi.add(line);
        line.tick();
        stage.lines.push_back(line);
    }

    fn bytes(&self, what: &str, total: Option<u64>) -> Box<dyn Bytes> {
        let bar = self.multi.add(console::bar(what, total));
        bar.enable_steady_tick(console::TICK);
        Box::new(console::Bar(bar))
    }
}

/// The templates are constants; a wrong one falls back to the plain style.
fn style(colours: bool, template: &str) -> ProgressStyle {
    let template = match colours {
        true => template.replace("{wide_msg}", "{wide_msg:.cyan}"),
        false => template.replace("{wide_msg:.dim}", "{wide_msg}"),
    };
    ProgressStyle::with_template(&template)
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .tick_chars("-\\|/ ")
}

impl Log {
    /// The log of the work called `name`.
    fn new(name: &str) -> Log {
        Log {
            path: place::state("logs").join(format!("{name}.log")),
            text: Mutex::new(LogText::Kept(String::new())),
        }
    }

    fn text(&self) -> MutexGuard<'_, LogText> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a line of our own.
    fn write(&self, line: &str) {
        self.text().add(line);
    }

    /// Writes a line of another program's output.
    fn output(&self, line: &str) {
        let mut text = self.text();
        if let LogText::Kept(before) = &*text {
            let started = self.create(before);
            *text = started.map_or(LogText::Closed, LogText::Written);
        }
        text.add(line);
    }

    fn create(&self, before: &str) -> std::io::Result<BufWriter<File>> {
        if let Some(folder) = self.path.parent() {
            fs_err::create_dir_all(folder)?;
        }
        let mut file = BufWriter::new(File::create(&self.path)?);
        file.write_all(before.as_bytes())?;
        Ok(file)
    }

    /// Completes the log and returns its path, if there is one.
    fn finish(&self) -> Option<&Utf8Path> {
        match std::mem::replace(&mut *self.text(), LogText::Closed) {
            LogText::Written(mut file) => file.flush().ok().map(|()| self.path.as_path()),
            LogText::Kept(_) | LogText::Closed => None,
        }
    }

    /// After a failure: says where another program's output can be read again, if there is any.
    fn tell(&self, console: Console) {
        if let Some(path) = self.finish() {
            console.note(&format!("the full output is in {path}"));
        }
    }
}

impl LogText {
    fn add(&mut self, line: &str) {
        let line = printable::line(line);
        match self {
            LogText::Kept(text) => {
                text.push_str(&line);
                text.push('\n');
            }
            LogText::Written(file) => {
                let _ = writeln!(file, "{line}");
            }
            LogText::Closed => {}
        }
    }
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").finish_non_exhaustive()
    }
}

/// Progress as plain lines, which also go to the log.
struct Plain<'a> {
    console: Console,
    log: &'a Log,
}

impl Progress for Plain<'_> {
    fn stage(&self, text: &str) {
        self.log.write(&format!("==> {text}"));
        self.console.stage(text);
    }

    fn note(&self, text: &str) {
        self.log.write(&format!("  ! {text}"));
        self.console.note(text);
    }

    fn detail(&self, text: &str) {
        self.log.output(text);
        self.console.detail(text);
    }

    fn bytes(&self, what: &str, total: Option<u64>) -> Box<dyn Bytes> {
        self.console.bytes(what, total)
    }
}

/// Runs `work` and shows its progress as well as this terminal can.
pub(super) fn show<T, E>(
    console: Console,
    name: &str,
    work: impl FnOnce(&dyn Progress) -> Result<T, E>,
) -> Result<T, E> {
    let log = Log::new(name);
    if !console.rolls() {
        let done = work(&Plain { console, log: &log });
        match &done {
            Ok(_) => drop(log.finish()),
            Err(_) => log.tell(console),
        }
        return done;
    }
    let live = Live::new(console, log);
    let done = work(&live);
    match &done {
        Ok(_) => live.done(),
        Err(_) => live.failed(),
    }
    done
}

impl Console {
    /// Whether lines can be updated in place: on a terminal that supports it, without `-v` or `-q`.
    fn rolls(&self) -> bool {
        self.is_terminal() && self.level() == Level::Normal && !is_dumb()
    }
}

fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term == "dumb")
        || std::env::var_os("CI").is_some_and(|ci| !ci.is_empty())
}
