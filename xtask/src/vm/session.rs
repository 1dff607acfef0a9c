//! A running machine whose serial console we control.

use super::accel::{self, Accel, Choice};
use super::child::{Child, Group};
use super::console::{Heard, Tee, Watched, listen_to, search};
use super::dir::Dir;
use super::firmware;
use super::machine::{Console, Firmware, Machine, Screen, shell_words};
use super::picture;
use super::pulse::{self, Look, Patience, Pulse};
use super::qmp::{self, Qmp};
use super::stage::{self, Stage};
use super::still::{self, Seen};
use super::text_mode;
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
    /// What tells whether it lives, while that matters.
    life: Option<Life>,
    choice: Choice,
    command_line: String,
    started: Instant,
    dir: Dir,
}

/// Signs of life, and where the last look at them ended.
struct Life {
    pulse: Pulse,
    looked: Instant,
    worked: Option<Duration>,
    /// Places in the texts of the console and of the screen.
    console: u64,
    screen: u64,
    /// The screen in text mode.
    rows: Vec<String>,
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
            life: None,
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

    /// From now on a machine that shows no sign of life for too long counts as a failure
    /// ([`Cause::Still`]); not any more with `None`.
    pub fn expect_life(&mut self, patience: Option<Patience>) {
        self.life = patience.map(|patience| Life {
            pulse: Pulse::new(patience),
            looked: Instant::now(),
            worked: self.child.worked(),
            console: 0,
            screen: 0,
            rows: Vec::new(),
        });
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
            if let Some(cause) = self.check_life() {
                return Err(self.failed(cause, &waited_for));
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

    /// Looks for signs of life, if it is time to. A cause if there were none for too long, or if the
    /// screen shows a failure that no console tells.
    fn check_life(&mut self) -> Option<Cause> {
        let mut life = self
            .life
            .take_if(|life| life.looked.elapsed() >= pulse::EVERY)?;
        let cause = self.look_for_life(&mut life);
        self.life = Some(life);
        cause
    }

    fn look_for_life(&mut self, life: &mut Life) -> Option<Cause> {
        let (stage, _) = self.stages().last().copied()?;
        let worked = self.child.worked();
        let mut look = Look {
            passed: life.looked.elapsed(),
            worked: worked
                .zip(life.worked)
                .map(|(now, then)| now.saturating_sub(then)),
            ..Look::default()
        };
        life.looked = Instant::now();
        life.worked = worked;
        look.lines = self.new_lines(life);
        self.ask_qemu(life, &mut look);
        life.pulse.note(look);
        // Later these rows are of the kernel, which may say the same and mean something else.
        if stage <= Stage::Loader {
            let said = |t: &&Trouble| life.rows.iter().any(|row| row.contains(t.pattern));
            if let Some(trouble) = SCREEN.iter().find(said) {
                let line = life.rows.iter().rfind(|row| row.contains(trouble.pattern));
                return Some(Cause::Said {
                    trouble,
                    line: line.cloned().unwrap_or_default(),
                });
            }
        }
        if !life.pulse.is_over(stage) {
            return None;
        }
        let console = self.heard.lock().0.tail(TAIL);
        let bios = self.screen.as_ref().map(|s| s.text.tail(TAIL));
        let (why, hint) = still::likely(&Seen {
            stage,
            doing: life.pulse.doing(),
            still: life.pulse.still(),
            console: &console,
            bios: &bios.unwrap_or_default(),
            rows: &life.rows,
        });
        Some(Cause::Still { stage, why, hint })
    }

    /// What the consoles said since the last look.
    fn new_lines(&self, life: &mut Life) -> Vec<String> {
        let heard = self.heard.lock();
        let mut text = heard.0.between(life.console, heard.0.end()).to_vec();
        life.console = heard.0.end();
        drop(heard);
        if let Some(screen) = &self.screen {
            text.push(b'\n');
            text.extend(screen.text.between(life.screen, screen.text.end()));
            life.screen = screen.text.end();
        }
        let text = String::from_utf8_lossy(&text);
        let lines = text.lines().map(str::trim).filter(|l| !l.is_empty());
        lines.map(str::to_owned).collect()
    }

    /// Asks QEMU for the processors, the disk and the screen. What it does not answer stays unknown.
    fn ask_qemu(&mut self, life: &mut Life, look: &mut Look) {
        let deadline = Instant::now() + Duration::from_secs(10);
        let (memory, picture) = (self.dir.path.join("text"), self.dir.path.join("life.ppm"));
        let Some(qmp) = self.qmp.as_mut() else { return };
        let registers = serde_json::json!({ "command-line": "info registers -a" });
        if let Ok(answer) = qmp.ask("human-monitor-command", registers, deadline) {
            look.cpus = pulse::cpus(answer.as_str().unwrap_or_default());
        }
        let none = serde_json::json!({});
        if let Ok(serde_json::Value::Array(disks)) = qmp.ask("query-blockstats", none, deadline) {
            let count = |disk: &serde_json::Value, name: &str| disk["stats"][name].as_u64();
            let all = disks.iter().flat_map(|disk| {
                ["rd_operations", "wr_operations"].map(|name| count(disk, name).unwrap_or(0))
            });
            look.disk = Some(all.fold(0, u64::saturating_add));
        }
        let (place, len) = text_mode::PLACE;
        let arguments = serde_json::json!({ "val": place, "size": len, "filename": memory });
        life.rows.clear();
        if self.screen.is_some()
            && qmp.ask("pmemsave", arguments, deadline).is_ok()
            && let Ok(bytes) = fs::read(&memory)
        {
            life.rows = text_mode::rows(&bytes);
        }
        // Only what nothing else explains is worth a picture of some megabytes.
        look.picture = if life.rows.is_empty() {
            let done = qmp.screendump(&picture, deadline).is_ok();
            let bytes = done.then(|| fs::read(&picture).ok()).flatten();
            bytes.map(|bytes| pulse::hash(&bytes))
        } else {
            Some(pulse::hash(life.rows.join("\n").as_bytes()))
        };
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
