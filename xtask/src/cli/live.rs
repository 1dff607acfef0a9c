//! Progress on a terminal: the running stage with its time, and below it the last lines of another
//! program's output.
//!
//! The whole output goes to a log file. If the stage fails, its output is shown in full. If stderr
//! is not a terminal, and with `-v` and `-q`, [`Console`] prints everything instead.

use super::console::{Console, Level};
use crate::cleanup::Guard;
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

/// Folder of the log files.
const LOGS: &str = "target/logs";

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

/// The log file, or nothing if it cannot be written.
struct Log {
    path: Utf8PathBuf,
    file: Mutex<Option<BufWriter<File>>>,
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
    /// The lines below it.
    lines: Vec<ProgressBar>,
    /// What was printed during the stage.
    printed: VecDeque<String>,
}

/// Lines of a stage's output that are kept to show if it fails.
const MOST_KEPT: usize = 5000;

impl Live {
    /// Progress for the work called `name`, or `None` if this terminal can show only plain lines.
    pub(super) fn new(console: Console, name: &str) -> Option<Live> {
        if !console.rolls() {
            return None;
        }
        let multi = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        let log = Arc::new(Log::new(&Utf8Path::new(LOGS).join(format!("{name}.log"))));
        // A signal ends the program: the moving lines go first, and the log is complete.
        let (screen, file) = (multi.clone(), Arc::clone(&log));
        let interrupted = Guard::new(move || {
            let _ = screen.clear();
            screen.set_draw_target(ProgressDrawTarget::hidden());
            file.finish();
        });
        Some(Live {
            console,
            multi,
            log,
            state: Mutex::default(),
            interrupted: Some(interrupted),
        })
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
    pub(super) fn failed(&self) {
        let mut state = self.state();
        let printed = state.stage.as_mut().map(|s| std::mem::take(&mut s.printed));
        self.end(&mut state);
        for line in printed.into_iter().flatten() {
            self.console.detail(&line);
        }
        if let Some(path) = self.log.finish() {
            self.console.note(&format!("the full output is in {path}"));
        }
    }

    /// The work has succeeded.
    pub(super) fn done(&self) {
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
        head.enable_steady_tick(Duration::from_millis(200));
        state.stage = Some(Stage {
            text: text.to_owned(),
            begun: Instant::now(),
            head,
            lines: Vec::new(),
            printed: VecDeque::new(),
        });
    }

    fn note(&self, text: &str) {
        self.log.write(&format!("  ! {text}"));
        self.multi.suspend(|| self.console.note(text));
    }

    fn detail(&self, text: &str) {
        self.log.write(text);
        let mut state = self.state();
        let Some(stage) = &mut state.stage else {
            return;
        };
        if stage.printed.len() == MOST_KEPT {
            stage.printed.pop_front();
        }
        stage.printed.push_back(text.to_owned());
        if stage.lines.len() < LINES {
            let line = self.multi.add(ProgressBar::new_spinner());
            line.set_style(style(self.console.colours(), "    {wide_msg:.dim}"));
            stage.lines.push(line);
        }
        let shown = stage.printed.iter().rev().take(stage.lines.len()).rev();
        for (line, text) in stage.lines.iter().zip(shown) {
            line.set_message(printable::line(text).into_owned());
        }
    }

    fn bytes(&self, what: &str, total: Option<u64>) -> Box<dyn Bytes> {
        let bar = self.console.bar(what, total);
        Box::new(super::console::Bar(self.multi.add(bar)))
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
    fn new(path: &Utf8Path) -> Log {
        let folder = path.parent().unwrap_or(Utf8Path::new("."));
        let file = fs_err::create_dir_all(folder).and_then(|()| File::create(path));
        Log {
            path: path.to_owned(),
            file: Mutex::new(file.ok().map(BufWriter::new)),
        }
    }

    fn file(&self) -> MutexGuard<'_, Option<BufWriter<File>>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A log that cannot be written is not an error.
    fn write(&self, text: &str) {
        if let Some(file) = &mut *self.file() {
            let _ = writeln!(file, "{}", printable::line(text));
        }
    }

    /// Flushes the log and returns its path, if there is one.
    fn finish(&self) -> Option<&Utf8Path> {
        let mut file = self.file().take()?;
        file.flush().ok().map(|()| self.path.as_path())
    }
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").finish_non_exhaustive()
    }
}

/// Runs `work` and shows its progress as well as this terminal can.
pub(super) fn show<T, E>(
    console: Console,
    name: &str,
    work: impl FnOnce(&dyn Progress) -> Result<T, E>,
) -> Result<T, E> {
    let Some(live) = Live::new(console, name) else {
        return work(&console);
    };
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
