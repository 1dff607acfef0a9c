//! A running machine whose serial console we control.

use super::accel::{self, Accel, Choice};
use super::child::{Child, Group};
use super::console::{Heard, Tee, Watched, listen_to, search};
use super::dir::Dir;
use super::firmware;
use super::machine::{Console, Firmware, Machine, Screen, shell_words};
use super::picture;
use super::qmp::{self, Qmp};
use super::stage::{self, Stage};
use super::trouble::{Cause, Failed, SCREEN, Trouble};
use crate::error::Report;
use crate::tool;
use camino::Utf8Path;
use fs_err as fs;
use std::io::{self, Read, Seek, Write};
use std::process::{ChildStdin, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How many lines of the console an error shows.
const TAIL: usize = 20;
/// How often to check the screen and whether QEMU has ended.
const TICK: Duration = Duration::from_millis(100);
/// How long a failing guest may go on printing, so that the error can show more of it.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How often to press the power button: at its prompt a guest may not react to it yet.
const BUTTON: Duration = Duration::from_secs(5);

/// A running machine. It ends when this is dropped.
///
/// [`Session::expect`] searches the text that no earlier call has consumed. Each success consumes
/// the text up to the end of its match.
pub struct Session {
    what: String,
    child: Child,
    serial: Option<ChildStdin>,
    heard: Arc<Heard>,
    reader: Option<JoinHandle<()>>,
    qmp: Option<Qmp>,
    screen: Option<Watched>,
    /// The text before this offset was consumed.
    cursor: u64,
    /// The text before this offset was searched for troubles.
    searched: u64,
    troubles: &'static [Trouble],
    choice: Choice,
    command_line: String,
    started: Instant,
    dir: Dir,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("what", &self.what).finish()
    }
}

impl Session {
    /// Starts `machine` with the disk `image`.
    ///
    /// `troubles` are the texts that count as failures from now on, usually
    /// [`super::trouble::BOOT`]. `tee` receives a copy of the console.
    pub fn start(
        machine: &Machine,
        image: &Utf8Path,
        firmware: &firmware::Flags,
        troubles: &'static [Trouble],
        tee: Option<Tee>,
    ) -> Result<Session, Report> {
        machine.check()?;
        if !image.is_file() {
            return Err(Report::mistake(format!("there is no image at {image}")));
        }
        let program = accel::qemu(machine.arch).require()?;
        let choice = accel::choose(machine.arch)?;
        let uefi = match machine.firmware {
            Firmware::Bios => None,
            Firmware::Uefi => Some(firmware::find(machine.arch, firmware)?),
        };
        let what = format!("booting {image} with {}", machine.firmware);
        let report = |e: io::Error| Report::failure(what.clone()).because(e);

        let dir = Dir::new().map_err(report)?;
        let uefi = match uefi {
            None => None,
            Some(files) => Some(files.stage(machine.arch, &dir.path).map_err(report)?),
        };
        let socket = dir.path.join("qmp");
        let listener = qmp::listen(&socket).map_err(report)?;
        let screen = Screen {
            port: dir.path.join("sercon-port"),
            text: dir.path.join("screen"),
        };
        fs::write(&screen.port, Screen::PORT.to_le_bytes()).map_err(report)?;
        fs::write(&screen.text, b"").map_err(report)?;
        let log = fs::File::create(dir.path.join("stderr")).map_err(report)?;
        let watched = Watched::open(&screen.text).map_err(report)?;

        let console = Console::Pipes {
            qmp: socket,
            screen: Some(screen),
        };
        let arguments = machine.arguments(image, choice.accel, uefi.as_ref(), &console)?;
        let command_line = shell_words(&program, &arguments);
        tracing::debug!("{command_line}");
        let mut command = tool::command(&program);
        command
            .args(&arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log.into_parts().0);
        let started = Instant::now();
        let mut child = Child::spawn(&mut command, Group::Own, Some(&dir)).map_err(report)?;
        let heard = Arc::new(Heard::default());
        let reader = match child.stdout() {
            Some(out) => Some(listen_to(out, Arc::clone(&heard), tee).map_err(report)?),
            None => None,
        };
        let serial = child.stdin();
        let mut session = Session {
            what,
            child,
            serial,
            heard,
            reader,
            qmp: None,
            screen: (machine.firmware == Firmware::Bios).then_some(watched),
            cursor: 0,
            searched: 0,
            troubles,
            choice,
            command_line,
            started,
            dir,
        };
        let deadline = started + Duration::from_secs(30);
        session.qmp = match Qmp::accept(&listener, &mut session.child, deadline) {
            Ok(Some(qmp)) => Some(qmp),
            Ok(None) => return Err(session.ended("its control socket")),
            Err(e) => return Err(Report::failure(session.what.clone()).because(e)),
        };
        Ok(session)
    }

    /// The accelerator that it runs with.
    pub fn accel(&self) -> Accel {
        self.choice.accel
    }

    /// The command that started the machine, quoted for a shell.
    pub fn command_line(&self) -> &str {
        &self.command_line
    }

    /// When each stage of the boot began, since the start of the machine and in order. Stages that
    /// were not recognised are left out.
    pub fn stages(&mut self) -> Vec<(Stage, Duration)> {
        self.look();
        let heard = self.heard.lock();
        let screen = self.screen.as_ref().map(|s| &s.text);
        stage::begun(&heard.0, screen, self.started)
    }

    /// A screenshot as a PNG. `None` if the machine has no screen (see [`Machine::display`]).
    pub fn screenshot(&mut self) -> Result<Vec<u8>, Report> {
        let doing = format!("{}: taking a screenshot", self.what);
        let failed = |e: io::Error| Report::failure(doing.clone()).because(e);
        let file = self.dir.path.join("screen.ppm");
        let qmp = self
            .qmp
            .as_mut()
            .ok_or_else(|| failed(io::ErrorKind::NotConnected.into()))?;
        qmp.screendump(&file, Instant::now() + Duration::from_secs(30))
            .map_err(failed)?;
        let ppm = fs::read(&file).map_err(failed)?;
        picture::png_of_ppm(&ppm).map_err(failed)
    }

    /// Time since the machine was started.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// From now on, and from this point of the text, these texts count as failures.
    pub fn watch_for(&mut self, troubles: &'static [Trouble]) {
        self.troubles = troubles;
        self.searched = self.cursor;
    }

    /// The raw output of the serial console, at most the last 4 MiB.
    pub fn transcript(&self) -> String {
        self.heard.lock().0.raw()
    }

    /// The raw output of the BIOS and the boot loader. Empty with UEFI, where the firmware uses the
    /// serial console.
    pub fn screen(&mut self) -> String {
        self.look();
        self.screen
            .as_ref()
            .map(|s| s.text.raw())
            .unwrap_or_default()
    }

    /// Sends a line, ended like with the Enter key.
    pub fn send(&mut self, line: &str) -> Result<(), Report> {
        let doing = format!("{}: typing on the console", self.what);
        let Some(serial) = self.serial.as_mut() else {
            return Err(Report::failure(doing));
        };
        serial
            .write_all(format!("{line}\r").as_bytes())
            .and_then(|()| serial.flush())
            .map_err(|e| Report::failure(doing).because(e))
    }

    /// Waits until one of the patterns appears on the console, and returns the first one in the
    /// text. Patterns are texts without control characters.
    ///
    /// Fails as soon as the guest reports a failure, if the machine ends, or at the deadline. The
    /// cause is then a [`Failed`].
    pub fn expect(&mut self, patterns: &[&str], deadline: Instant) -> Result<usize, Report> {
        self.expect_text(patterns, deadline).map(|(which, _)| which)
    }

    /// Like [`Session::expect`], and also returns the text before the match.
    pub fn expect_text(
        &mut self,
        patterns: &[&str],
        deadline: Instant,
    ) -> Result<(usize, String), Report> {
        let begun = Instant::now();
        let waited_for = patterns
            .iter()
            .map(|p| format!("{:?}", p.trim()))
            .collect::<Vec<_>>()
            .join(" or ");
        let longest = patterns.iter().map(|p| p.len()).max().unwrap_or(0) as u64;
        let mut from = self.cursor;
        loop {
            // Check for the end before reading the text, so that the text is complete.
            let heard = self.heard.lock();
            let ended = heard.1;
            let found = heard.0.find(from, patterns.iter().copied());
            from = from.max((heard.0.end() + 1).saturating_sub(longest));
            drop(heard);
            let until = found.map(|(.., end)| end);
            if let Some(cause) = self.trouble(until) {
                return Err(self.failed(cause, &waited_for));
            }
            if let Some((which, at, end)) = found {
                let heard = self.heard.lock();
                let text = String::from_utf8_lossy(heard.0.between(self.cursor, at)).into_owned();
                drop(heard);
                self.cursor = end;
                self.searched = self.searched.max(end);
                return Ok((which, text));
            }
            if ended {
                return Err(self.ended(&waited_for));
            }
            let now = Instant::now();
            if now >= deadline {
                let seconds = deadline.saturating_duration_since(begun).as_secs();
                return Err(self.failed(Cause::TimedOut { seconds }, &waited_for));
            }
            self.heard.wait_for_news(TICK.min(deadline - now));
        }
    }

    /// Presses the power button until the guest powers off. At `deadline` the machine is killed.
    /// Returns whether the guest powered off.
    pub fn power_off(&mut self, deadline: Instant) -> Result<bool, Report> {
        let report = |what: &str, e: io::Error| {
            Report::failure(format!("{what}: powering the machine off")).because(e)
        };
        loop {
            let pressed = Instant::now();
            if let Some(qmp) = self.qmp.as_mut()
                && qmp.power_button().is_err()
            {
                tracing::debug!("QEMU closed its control socket: it is about to exit");
            }
            let status = self
                .child
                .wait_until(deadline.min(pressed + BUTTON))
                .map_err(|e| report(&self.what, e))?;
            if let Some(status) = status {
                self.join();
                let reason = self.end_reason();
                return Ok(status.success() && reason.as_deref() == Some("guest-shutdown"));
            }
            if Instant::now() >= deadline {
                self.end();
                return Ok(false);
            }
        }
    }

    /// Kills the machine, as if its plug were pulled. Does nothing if it has ended.
    pub fn end(&mut self) {
        self.child.kill();
        self.join();
    }

    fn end_reason(&mut self) -> Option<String> {
        self.qmp.as_mut().and_then(Qmp::end_reason)
    }

    fn join(&mut self) {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        self.look();
    }

    /// Reads new output of the screen.
    fn look(&mut self) {
        if let Some(screen) = self.screen.as_mut() {
            screen.look();
        }
    }

    /// Searches new output for troubles; on the console only the text before `until`.
    fn trouble(&mut self, until: Option<u64>) -> Option<Cause> {
        let on_screen = self.trouble_on_screen();
        let (trouble, place) = match on_screen {
            Some(hit) => hit,
            None => self.trouble_on_console(until)?,
        };
        // Give it time to finish its line and print a little more.
        std::thread::sleep(LAST_WORDS);
        self.look();
        // The line may have arrived in pieces: the same place may now match a more precise text.
        let again = match on_screen {
            Some(_) => self.trouble_on_screen(),
            None => self.trouble_on_console(until),
        };
        let trouble = again.map_or(trouble, |(trouble, _)| trouble);
        let line = match (&self.screen, on_screen) {
            (Some(screen), Some(_)) => screen.text.line_at(place),
            _ => self.heard.lock().0.line_at(place),
        };
        Some(Cause::Said { trouble, line })
    }

    fn trouble_on_screen(&mut self) -> Option<(&'static Trouble, u64)> {
        self.look();
        let screen = self.screen.as_mut()?;
        search(&screen.text, &mut screen.searched, SCREEN, None)
    }

    fn trouble_on_console(&mut self, until: Option<u64>) -> Option<(&'static Trouble, u64)> {
        let heard = self.heard.lock();
        search(&heard.0, &mut self.searched, self.troubles, until)
    }

    /// The error for a machine that has ended, or is about to.
    fn ended(&mut self, waited_for: &str) -> Report {
        let status = self
            .child
            .wait_until(Instant::now() + Duration::from_secs(5));
        self.join();
        let cause = match status {
            Ok(Some(status)) if !status.success() => {
                let stderr = self.stderr();
                let last = stderr.lines().rev().find(|l| !l.trim().is_empty());
                Cause::Qemu {
                    status: status.to_string(),
                    message: last.unwrap_or_default().trim().to_owned(),
                    stderr,
                }
            }
            _ => Cause::Ended {
                reason: self.end_reason(),
            },
        };
        self.failed(cause, waited_for)
    }

    /// QEMU's standard error; the last 4 KiB.
    pub fn stderr(&self) -> String {
        let mut text = Vec::new();
        if let Ok(mut file) = fs::File::open(self.dir.path.join("stderr")) {
            let len = file.metadata().map_or(0, |m| m.len());
            let _ = file.seek(io::SeekFrom::Start(len.saturating_sub(4096)));
            let _ = file.read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    fn failed(&mut self, cause: Cause, waited_for: &str) -> Report {
        self.look();
        let heard = self.heard.lock();
        let mut tail = heard.0.tail(TAIL);
        let transcript = heard.0.raw();
        drop(heard);
        // Before the kernel starts, only the screen shows what happened.
        if let Some(screen) = &self.screen
            && tail.len() < TAIL
        {
            let mut shown = screen.text.tail(TAIL - tail.len());
            shown.append(&mut tail);
            tail = shown;
        }
        let failed = Failed {
            seconds: self.elapsed().as_secs_f64(),
            accel: self.choice.accel,
            tail,
            transcript,
            cause,
        };
        Report::failure(format!("{}: {}", self.what, failed.cause.text(waited_for)))
            .hint(failed.cause.hint())
            .because(failed)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end();
    }
}
