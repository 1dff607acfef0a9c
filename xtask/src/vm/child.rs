//! A child process that ends whenever this process ends, however it ends.

use super::dir::Dir;
use crate::cleanup::Guard;
use crate::tool;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often to poll for the end of a child.
const TICK: Duration = Duration::from_millis(10);

/// The process group of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    /// Its own process group: Ctrl-C in the terminal reaches us but not the child.
    Own,
    /// Our process group, which the child needs to read from the terminal.
    Ours,
}

/// A running child. It is killed when this is dropped, when a signal ends us, and even when we are
/// killed.
///
/// The last case needs help from outside, because then our code does not run: a shell blocks in
/// `read` on a pipe whose other end only we hold. When we are gone the pipe closes, and the shell
/// kills its own process group, which is the child's. (Linux's `PR_SET_PDEATHSIG` could only be set
/// between fork and exec, where safe Rust is not possible, and macOS has no equivalent.)
#[derive(Debug)]
pub(super) struct Child {
    inner: std::process::Child,
    group: Group,
    /// The process to kill. Cleared once it was reaped, because its ID may then be reused.
    alive: Arc<Mutex<Option<Pid>>>,
    watchdog: Option<std::process::Child>,
    guard: Option<Guard>,
}

fn lock(slot: &Mutex<Option<Pid>>) -> MutexGuard<'_, Option<Pid>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

fn kill(slot: &Mutex<Option<Pid>>, group: Group) {
    if let Some(pid) = *lock(slot) {
        // It may have ended in the meantime.
        let _ = match group {
            Group::Own => kill_process_group(pid, Signal::KILL),
            Group::Ours => kill_process(pid, Signal::KILL),
        };
    }
}

impl Child {
    /// Starts `command`. If we are killed, `dir` is removed as well.
    pub(super) fn spawn(
        command: &mut Command,
        group: Group,
        dir: Option<&Dir>,
    ) -> io::Result<Child> {
        if group == Group::Own {
            command.process_group(0);
        }
        let alive = Arc::new(Mutex::new(None));
        let (inner, guard) = Guard::after(
            || command.spawn(),
            |inner| {
                *lock(&alive) = Some(Pid::from_child(inner));
                let doomed = Arc::clone(&alive);
                move || kill(&doomed, group)
            },
        )?;
        let watchdog = watch(inner.id(), group, dir)
            .inspect_err(|e| tracing::debug!("no watchdog for process {}: {e}", inner.id()))
            .ok();
        Ok(Child {
            inner,
            group,
            alive,
            watchdog,
            guard: Some(guard),
        })
    }

    /// The pipe to its standard input. Returns it once.
    pub(super) fn stdin(&mut self) -> Option<ChildStdin> {
        self.inner.stdin.take()
    }

    /// The pipe from its standard output. Returns it once.
    pub(super) fn stdout(&mut self) -> Option<ChildStdout> {
        self.inner.stdout.take()
    }

    /// How long processors have worked for it, if this system tells (proc_pid_stat(5): `utime` and
    /// `stime` in ticks, of which Linux has 100 a second).
    pub(super) fn worked(&self) -> Option<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.inner.id())).ok()?;
        // The name before it may have blanks and parentheses.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks: u64 = fields.get(11)?.parse().ok()?;
        let in_kernel: u64 = fields.get(12)?.parse().ok()?;
        Some(Duration::from_millis(10 * ticks.saturating_add(in_kernel)))
    }

    /// Its exit status, if it has ended.
    pub(super) fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        let mut slot = lock(&self.alive);
        let status = self.inner.try_wait()?;
        if status.is_some() {
            *slot = None;
        }
        Ok(status)
    }

    /// Waits for its end until `deadline`.
    pub(super) fn wait_until(&mut self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            std::thread::sleep(TICK);
        }
    }

    /// Waits for its end without a deadline.
    pub(super) fn wait(&mut self) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = self.wait_until(Instant::now() + Duration::from_secs(3600))? {
                return Ok(status);
            }
        }
    }

    /// Kills it. Does nothing if it has already ended.
    pub(super) fn kill(&mut self) {
        kill(&self.alive, self.group);
        // Reaping a killed process is immediate; a process that the kernel cannot end is not waited
        // for.
        let _ = self.wait_until(Instant::now() + Duration::from_secs(5));
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
        if let Some(guard) = self.guard.take() {
            guard.disarm();
        }
        if let Some(mut watchdog) = self.watchdog.take() {
            let _ = watchdog.kill();
            let _ = watchdog.wait();
        }
    }
}

fn watch(pid: u32, group: Group, dir: Option<&Dir>) -> io::Result<std::process::Child> {
    const SCRIPT: &str =
        r#"trap '' HUP INT TERM; read _; kill -9 "$1"; [ -z "$2" ] || rm -rf "$2""#;
    let own = i32::try_from(pid).map_err(io::Error::other)?;
    let mut command = tool::command("/bin/sh");
    command
        .args(["-c", SCRIPT, "watchdog"])
        .arg(pid.to_string())
        .arg(dir.map_or("", |d| d.path.as_str()))
        // While it has a member, the group's ID is not reused.
        .process_group(if group == Group::Own { own } else { 0 });
    // No other child inherits our end of the pipe (close-on-exec). It lives in the returned value.
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}
