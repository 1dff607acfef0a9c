//! Actions that run however the program ends: success, error, panic or signal.
//!
//! A [`Guard`] runs its action when it is dropped. If a signal arrives first, the signal thread
//! runs the actions of all existing guards, newest first, and ends the process. So no container,
//! child process or incomplete file outlives the program.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

type Action = Box<dyn FnOnce() + Send>;

static ACTIONS: Mutex<Vec<(u64, Action)>> = Mutex::new(Vec::new());
static NEXT: AtomicU64 = AtomicU64::new(0);

fn next_id() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A panic in an action must not keep the others from running.
fn actions() -> MutexGuard<'static, Vec<(u64, Action)>> {
    ACTIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs an action when dropped, or when a signal ends the program before that.
#[derive(Debug)]
#[must_use = "the action runs as soon as the guard is dropped"]
pub struct Guard(u64);

impl Guard {
    /// Registers `action`. It must not block for long and must not panic.
    pub fn new(action: impl FnOnce() + Send + 'static) -> Guard {
        let id = next_id();
        actions().push((id, Box::new(action)));
        Guard(id)
    }

    /// Makes something and registers the action that `undo` returns for it, in one step: a signal
    /// comes either before (then it is never made) or after (then it is undone), but never in
    /// between.
    ///
    /// `make` must be quick and must not register guards itself.
    pub fn after<T, E, A: FnOnce() + Send + 'static>(
        make: impl FnOnce() -> Result<T, E>,
        undo: impl FnOnce(&T) -> A,
    ) -> Result<(T, Guard), E> {
        // The signal thread waits for this lock, or holds it until the program ends.
        let mut all = actions();
        let made = make()?;
        let id = next_id();
        all.push((id, Box::new(undo(&made))));
        Ok((made, Guard(id)))
    }

    /// Cancels the action, because there is nothing left to undo.
    pub fn disarm(self) {
        let action = take_from(&mut actions(), self.0);
        drop(action);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut all = actions();
        if let Some(action) = take_from(&mut all, self.0) {
            let _running = Running::new();
            // Run it without the lock, so that others do not wait for it.
            drop(all);
            action();
        }
    }
}

/// Actions of dropped guards that have not finished yet.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// How long a signal waits for these actions.
const PATIENCE: Duration = Duration::from_secs(10);

struct Running;

impl Running {
    fn new() -> Running {
        RUNNING.fetch_add(1, Ordering::SeqCst);
        Running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Runs a step that must not be interrupted: a signal comes before it or after it. If it succeeds,
/// `guards` are cancelled; if it fails, they undo their work.
///
/// `step` must be quick and must not make or drop guards.
pub fn settle<T, E>(guards: Vec<Guard>, step: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    // See `Guard::after`.
    let mut all = actions();
    let done = step();
    if done.is_ok() {
        all.retain(|(id, _)| !guards.iter().any(|guard| guard.0 == *id));
    }
    drop(all);
    done
}

fn take_from(all: &mut Vec<(u64, Action)>, id: u64) -> Option<Action> {
    let place = all.iter().position(|(i, _)| *i == id)?;
    Some(all.swap_remove(place).1)
}

static SIGNALLED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Does not return if a signal has arrived: the signal thread is cleaning up and will end the
/// process.
pub fn wait_if_signalled() {
    while SIGNALLED.load(Ordering::SeqCst) {
        std::thread::park();
    }
}

/// Installs handlers: SIGINT, SIGTERM and SIGHUP run every registered action and then end the
/// process with exit code 128 + signal, as a shell would report it.
pub fn on_signals() -> io::Result<()> {
    const ALL: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];
    for signal in ALL {
        // The handler itself sets this, so it is set before any effect of the signal is visible.
        signal_hook::flag::register(signal, Arc::clone(&SIGNALLED))?;
    }
    // With this, a write beyond `ulimit -f` fails with EFBIG instead of killing the program without
    // cleanup. It is a handler because children would inherit SIG_IGN.
    signal_hook::flag::register(rustix::process::Signal::XFSZ.as_raw(), Arc::default())?;
    let mut signals = Signals::new(ALL)?;
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            if let Some(signal) = signals.forever().next() {
                // The lock is never released: from now on nothing may be registered or undone
                // elsewhere.
                let mut all = actions();
                all.sort_by_key(|(id, _)| *id);
                while let Some((_, action)) = all.pop() {
                    action();
                }
                // Actions that began before the signal are allowed to finish.
                let begun = Instant::now();
                while RUNNING.load(Ordering::SeqCst) > 0 && begun.elapsed() < PATIENCE {
                    std::thread::sleep(Duration::from_millis(1));
                }
                let name = signal_hook::low_level::signal_name(signal).unwrap_or("a signal");
                let _ = writeln!(
                    io::stderr(),
                    "error: interrupted by {name}; incomplete files were removed"
                );
                std::process::exit(128 + signal);
            }
        })?;
    Ok(())
}
