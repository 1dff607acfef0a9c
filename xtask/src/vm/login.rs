//! A shell over the serial console.

use super::session::Session;
use super::trouble::{self, Cause, Failed};
use crate::error::Report;
use std::time::{Duration, Instant};

/// A user who has logged in over the serial console.
#[derive(Debug)]
pub struct Login<'a> {
    session: &'a mut Session,
    commands: u32,
}

/// The result of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its exit status, 0 to 255.
    pub status: u8,
    /// Its standard output and standard error as plain text, without trailing blank lines.
    pub text: String,
}

/// How long to wait for a shell's answer before asking again: input may get lost while a shell
/// starts.
const AGAIN: Duration = Duration::from_secs(4);

/// How long a login program may need after its password prompt to disable the echo.
const ECHO_OFF: Duration = Duration::from_millis(300);

/// Longest input line of a terminal (Linux's N_TTY_BUF_SIZE less one).
const LINE: usize = 4095;

impl<'a> Login<'a> {
    /// Logs in at the `login:` prompt. Without `password`, the guest must not ask for one.
    ///
    /// From here on only a kernel panic counts as trouble, because a command may print anything
    /// else.
    pub fn open(
        session: &'a mut Session,
        user: &str,
        password: Option<&str>,
        deadline: Instant,
    ) -> Result<Login<'a>, Report> {
        session.watch_for(trouble::PANICS);
        session.send(user)?;
        if let Some(password) = password {
            session.expect(&["assword:"], deadline)?;
            // Some programs prompt first and then disable the echo: the password would be visible.
            std::thread::sleep(ECHO_OFF);
            session.send(password)?;
        }
        // The quotes distinguish the answer from the echo of the input. Kernel messages would
        // appear in the middle of answers (only root can disable them).
        let hello = "stty -echo cols 200; PS1=; PS2=; dmesg -n 1 2>/dev/null; echo d2l''-ready";
        loop {
            session.send(hello)?;
            let patience = deadline.min(Instant::now() + AGAIN);
            match session.expect(&["d2l-ready", "Login incorrect", "assword:"], patience) {
                Ok(0) => break,
                Ok(_) => {
                    return Err(Report::failure(format!(
                        "logging in as {user}: the guest refuses the user or the password"
                    )));
                }
                Err(e) if Instant::now() >= deadline || !timed_out(&e) => return Err(e),
                Err(_) => {}
            }
        }
        Ok(Login {
            session,
            commands: 0,
        })
    }

    /// Runs a command of one or more lines in `sh`.
    pub fn run(&mut self, command: &str, deadline: Instant) -> Result<Output, Report> {
        self.commands += 1;
        let n = self.commands;
        let line = format!(
            "echo d2l''-begin-{n}; sh -c \"$(printf %b '{}')\" 2>&1; s=$?; echo; echo d2l''-end-{n}-$s.",
            escape(command)
        );
        if line.len() > LINE {
            return Err(Report::failure(format!(
                "a command of {} bytes is too long for the serial console",
                command.len()
            )));
        }
        self.session.send(&line)?;
        let begin = format!("d2l-begin-{n}\n");
        let end = format!("d2l-end-{n}-");
        self.session.expect(&[&begin], deadline)?;
        let (_, text) = self.session.expect_text(&[&end], deadline)?;
        let (_, status) = self.session.expect_text(&["."], deadline)?;
        let status = status.trim().parse().map_err(|_| {
            Report::failure(format!(
                "the guest's shell returned {status:?} as an exit status"
            ))
        })?;
        Ok(Output {
            status,
            text: text.trim_end().to_owned(),
        })
    }
}

/// Encodes a command for `printf %b`. Characters that could confuse a line editor or a shell (tabs,
/// quotes, newlines, `!`) become octal escapes.
pub(super) fn escape(command: &str) -> String {
    let mut out = String::with_capacity(command.len());
    for b in command.bytes() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => out.push(char::from(b)),
            b' ' | b'.' | b'/' | b'-' | b'_' | b'=' | b':' | b',' => out.push(char::from(b)),
            _ => out.push_str(&format!("\\0{b:03o}")),
        }
    }
    out
}

fn timed_out(report: &Report) -> bool {
    Failed::of(report).is_some_and(|f| matches!(f.cause, Cause::TimedOut { .. }))
}
