//! One boot, from the copy of the image to the check of its root file system afterwards.

use super::checks::Inside;
use super::evidence::{self, Evidence};
use super::look::{self, Looked, look};
use super::verdict::{Hung, Verdict};
use super::{BootJob, BootOutcome, Credentials, StageTime, checks, root};
use crate::error::Report;
use crate::inspect::Severity;
use crate::printable::plain;
use crate::tool::Tool;
use crate::vm::accel::{self, Accel};
use crate::vm::copy::Copy;
use crate::vm::stage::Stage;
use crate::vm::throwaway;
use crate::vm::trouble::{self, Cause, Failed};
use crate::vm::{self, Display, ImageFormat, Login, Machine, Network, PROMPT, Patience, Session};
use camino::{Utf8Path, Utf8PathBuf};
use std::time::{Duration, Instant};

/// Maximum time from the power button to power-off with hardware acceleration.
const TO_END: Duration = Duration::from_secs(60);
/// Maximum time for a login with hardware acceleration.
const TO_LOGIN: Duration = Duration::from_secs(30);
/// How many lines of the console an outcome keeps.
const TAIL: usize = 12;

/// Boots the job's image and returns the outcome. Fails only if it could not be tried: no QEMU, no
/// such image, or no space for a copy.
pub fn boot(job: &BootJob) -> Result<BootOutcome, Report> {
    let looked = match job.look {
        true => look(job)?,
        false => Looked::Open(Vec::new()),
    };
    let found = match looked {
        Looked::Stopped(outcome) => return Ok(*outcome),
        Looked::Open(found) => found,
    };
    let by_emulator = |done: &Result<_, _>| matches!(done, Ok((_, true)));
    let ((mut outcome, _), attempts) = vm::retried(|| attempt(job), by_emulator)?;
    outcome.attempts = attempts;
    if attempts > 1 {
        outcome.findings.warnings.push(format!(
            "it needed {attempts} attempts: healthy kernels sometimes panic under emulation on a busy host"
        ));
    }
    if !outcome.passed {
        // They may be the cause.
        let warnings = found.iter().filter(|f| f.severity == Severity::Warning);
        outcome.findings.notes.extend(warnings.map(look::text));
    }
    evidence::outcome(&outcome)?;
    Ok(outcome)
}

/// A running boot.
struct Run<'a> {
    job: &'a BootJob,
    evidence: Evidence,
    accel: Accel,
    /// The user who can log in.
    login: Option<Credentials>,
    network: Network,
    verdict: Verdict,
    detail: Option<String>,
    by_emulator: bool,
    inside: Inside,
    /// When each stage began.
    stages: Vec<(Stage, Duration)>,
    /// When the wait for the prompt ended.
    waited: Duration,
    /// When the login succeeded.
    logged_in: Option<Duration>,
    power_off: Option<Duration>,
    /// The output of the console as plain text.
    console: String,
}

/// Runs one attempt. Also returns whether it failed because of the emulator.
fn attempt(job: &BootJob) -> Result<(BootOutcome, bool), Report> {
    job.machine.check()?;
    let mut run = Run {
        job,
        evidence: Evidence::new(&job.evidence)?,
        accel: accel::choose(job.machine.arch)?.accel,
        login: job.login.clone(),
        network: job.machine.network.clone().with_way_out(job.smoke.network),
        verdict: Verdict::Booted,
        detail: None,
        by_emulator: false,
        inside: Inside::default(),
        stages: Vec::new(),
        waited: Duration::ZERO,
        logged_in: None,
        power_off: None,
        console: String::new(),
    };
    // For other formats QEMU creates a temporary overlay, which cannot be edited.
    let copy = match job.machine.format {
        ImageFormat::Raw => Some(Copy::of(&job.image, &run.evidence.dir)?),
        _ => None,
    };
    let root = copy
        .as_ref()
        .zip(job.root)
        .map(|(c, (at, _))| (c.path().to_owned(), at));
    let before = match &root {
        Some((disk, at)) => Some(root::state(disk, *at)?),
        None => None,
    };
    let unclean = before.as_ref().and_then(|b| b.unclean);
    if unclean.is_none() {
        run.throwaway_login(root.as_ref())?;
    }
    let machine = Machine {
        snapshot: copy.is_none(),
        display: Display::Hidden,
        // The image may be untrusted, so a test gives it no network access unless asked to.
        network: run.network.clone(),
        ..job.machine.clone()
    };
    let disk = copy.as_ref().map_or(job.image.as_path(), Copy::path);
    match Session::start(&machine, disk, &job.firmware, trouble::BOOT, None) {
        Ok(session) => run.follow(session)?,
        Err(report) => run.judge(report)?,
    }
    run.verdict = run
        .inside
        .findings
        .read(&run.console, &job.smoke, run.verdict);
    if let (Some((disk, at)), Some(before)) = (&root, &before) {
        run.look_at_root(disk, *at, before)?;
    }
    let by_emulator = run.by_emulator && unclean.is_none();
    Ok((run.outcome(), by_emulator))
}

impl Run<'_> {
    /// Creates a login in the copy, unless the user gave one. `root` is the copy and the offset of
    /// the root file system in it.
    fn throwaway_login(&mut self, root: Option<&(Utf8PathBuf, u64)>) -> Result<(), Report> {
        if self.login.is_some() {
            return Ok(());
        }
        let made = match (root, self.job.machine.format) {
            (Some((copy, at)), _) => throwaway::add(copy, *at)?,
            (None, ImageFormat::Raw) => Err("the image has no ext4 file system".to_owned()),
            (None, format) => Err(format!("{} images are booted unmodified", format.name())),
        };
        match made {
            Ok(password) => {
                self.login = Some(Credentials {
                    user: "root".into(),
                    password,
                });
            }
            Err(why) => self.inside.findings.notes.push(format!(
                "the guest was not checked from inside: {why}; use --login with one of its users"
            )),
        }
        Ok(())
    }

    /// Runs a machine to its end, and keeps its output.
    fn follow(&mut self, mut session: Session) -> Result<(), Report> {
        let watched = self.watch(&mut session);
        self.stages = session.stages();
        if let Err(report) = watched {
            self.judge(report)?;
            // A screenshot of a hanging machine may show the reason.
            if let Ok(png) = session.screenshot() {
                self.evidence.picture(&png)?;
            }
        }
        session.end();
        let raw = self.without_password(session.transcript());
        self.console = plain(&raw);
        self.evidence.console(&raw, &session.screen())?;
        self.evidence
            .qemu(session.command_line(), &session.stderr())
    }

    /// The output of the console without the password: a login program that disables the echo only
    /// after its prompt may have shown it, or the beginning of it.
    fn without_password(&self, raw: String) -> String {
        let Some(Credentials { password, .. }) = &self.login else {
            return raw;
        };
        redact(&raw, password)
    }

    /// Runs the machine from start to end. An error is mostly a failure of the guest or of QEMU;
    /// see [`Run::judge`].
    fn watch(&mut self, session: &mut Session) -> Result<(), Report> {
        let scaled = Duration::from_secs(self.job.smoke.timeout.into()) * self.accel.slowness();
        let patience = self.job.timeout.unwrap_or(scaled);
        session.expect_life(Some(Patience::new(self.accel)));
        let prompt = session.expect(&[PROMPT], Instant::now() + patience);
        session.expect_life(None);
        self.waited = session.elapsed();
        prompt?;
        if let Some(who) = self.login.clone() {
            self.look_inside(session, &who, scaled)?;
        }
        match still_picture(session) {
            Ok(png) => self.evidence.picture(&png)?,
            Err(e) => {
                let (line, _) = crate::error::describe(&e.into());
                self.inside.findings.notes.push(line);
            }
        }
        let pressed = Instant::now();
        if session.power_off(pressed + TO_END * self.accel.slowness())? {
            self.power_off = Some(pressed.elapsed());
        } else {
            self.fail(
                Verdict::Timeout(Hung::PowerOff),
                "it did not power off after its power button was pressed; hint: install systemd-logind, acpid or similar",
            );
        }
        Ok(())
    }

    fn look_inside(
        &mut self,
        session: &mut Session,
        who: &Credentials,
        patience: Duration,
    ) -> Result<(), Report> {
        let now = Instant::now();
        let started = now.checked_sub(session.elapsed()).unwrap_or(now);
        let deadline = now + TO_LOGIN * self.accel.slowness();
        let timed_out =
            |e: &Report| Failed::of(e).is_some_and(|f| matches!(f.cause, Cause::TimedOut { .. }));
        let mut login = match Login::open(session, &who.user, Some(&who.password), deadline) {
            Ok(login) => login,
            Err(e) if Failed::of(&e).is_some() && !timed_out(&e) => return Err(e),
            Err(e) => {
                let findings = &mut self.inside.findings;
                let list = match self.job.login {
                    Some(_) => &mut findings.failures,
                    None => &mut findings.warnings,
                };
                list.push(format!(
                    "the guest was not checked from inside: {}",
                    e.message
                ));
                return Ok(());
            }
        };
        self.logged_in = Some(started.elapsed());
        match checks::run(
            &mut login,
            &self.job.smoke,
            &self.network,
            patience,
            &mut self.inside,
        ) {
            Err(e) if timed_out(&e) => {
                let text = format!("a command in the guest did not end: {}", e.message);
                self.fail(Verdict::Timeout(Hung::Checks), &text);
            }
            other => other?,
        }
        if self.inside.init_failed {
            self.fail(
                Verdict::InitFailed,
                "a service failed, or the root file system is read-only",
            );
        }
        Ok(())
    }

    /// Records a failure, unless there is one already.
    fn fail(&mut self, verdict: Verdict, detail: &str) {
        if self.verdict == Verdict::Booted {
            self.verdict = verdict;
            self.detail = Some(detail.to_owned());
        }
    }

    /// Turns the error of a guest into a verdict. Passes on any other error.
    fn judge(&mut self, report: Report) -> Result<(), Report> {
        let Some(failed) = Failed::of(&report) else {
            return Err(report);
        };
        let stage = self.stages.last().map_or(Stage::Firmware, |(s, _)| *s);
        let verdict = Verdict::of(failed, stage);
        self.by_emulator = failed.by_emulator();
        self.waited = self.waited.max(Duration::from_secs_f64(failed.seconds));
        let mut detail = report.message.clone();
        if let Cause::Qemu { stderr, .. } = &failed.cause {
            self.evidence.qemu("", stderr)?;
            if stderr.lines().count() > 1 {
                detail = format!("{detail}; its output: {}", stderr.trim());
            }
        }
        if let Some(hint) = &report.hint {
            detail = format!("{detail}; hint: {hint}");
        }
        self.fail(verdict, &detail);
        Ok(())
    }

    /// Checks the root file system that the machine left.
    fn look_at_root(
        &mut self,
        disk: &Utf8Path,
        at: u64,
        before: &root::State,
    ) -> Result<(), Report> {
        if let Some(why) = before.unclean {
            // Whatever the result was, this is the cause.
            self.verdict = Verdict::RootNotClean;
            let detail = self
                .detail
                .take()
                .map_or(String::new(), |d| format!("; {d}"));
            self.detail = Some(format!(
                "its root file system was damaged before it was booted: {why}{detail}"
            ));
            return Ok(());
        }
        // The state after a forced end says nothing.
        if self.power_off.is_none() {
            return Ok(());
        }
        let after = root::state(disk, at)?;
        if let Some(why) = after.unclean {
            self.fail(
                Verdict::RootNotClean,
                &format!("its root file system is not clean after the power-off: {why}"),
            );
            return Ok(());
        }
        if after.mounts == before.mounts {
            let policy = self.job.smoke.read_only_root;
            if self.inside.findings.note(policy, checks::READ_ONLY) {
                self.fail(
                    Verdict::InitFailed,
                    "its root file system was never mounted read-write",
                );
            }
        }
        match root::e2fsck(disk, at)? {
            Some(words) => self.fail(
                Verdict::RootNotClean,
                &format!("e2fsck finds its root file system not clean: {words}"),
            ),
            None if Tool::E2fsck.find().is_none() => self
                .inside
                .findings
                .notes
                .push("e2fsck is not installed: only the superblock was checked".into()),
            None => {}
        }
        Ok(())
    }

    fn outcome(self) -> BootOutcome {
        let seconds = self.waited.as_secs_f64();
        let ends = self.stages.iter().skip(1).map(|(_, begun)| Some(*begun));
        // The last stage: the prompt appeared, or the wait for it failed.
        let last = match self.stages.last() {
            Some((Stage::Login, _)) => self.logged_in,
            _ => Some(self.waited),
        };
        let stages =
            self.stages
                .iter()
                .zip(ends.chain([last]))
                .filter_map(|((stage, begun), end)| {
                    Some(StageTime {
                        stage: *stage,
                        seconds: end?.saturating_sub(*begun).as_secs_f64(),
                    })
                });
        let lines = self.console.lines().filter(|l| !l.trim().is_empty());
        let lines: Vec<&str> = lines.collect();
        let job = self.job;
        BootOutcome {
            name: job.name.clone(),
            image: job.image.clone(),
            firmware: job.machine.firmware,
            disk: job.machine.disk,
            verdict: self.verdict,
            hung_in: self.verdict.hung_in(),
            passed: self.verdict == Verdict::Booted && self.inside.findings.failures.is_empty(),
            detail: self.detail,
            accelerator: self.accel.name(),
            attempts: 1,
            stages: stages.collect(),
            seconds,
            power_off_seconds: self.power_off.map(|d| d.as_secs_f64()),
            findings: self.inside.findings,
            checks: self.inside.checks,
            evidence: job.evidence.clone(),
            tail: lines[lines.len().saturating_sub(TAIL)..]
                .iter()
                .map(|l| (*l).to_owned())
                .collect(),
        }
    }
}

/// Replaces a secret in `text` with stars, and a beginning of it after a password prompt.
fn redact(text: &str, secret: &str) -> String {
    const QUESTION: &str = "assword: ";
    if secret.is_empty() {
        return text.to_owned();
    }
    let text = text.replace(secret, "***");
    let mut parts = text.split(QUESTION);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let shown = part
            .chars()
            .zip(secret.chars())
            .take_while(|(a, b)| a == b)
            .map(|(a, _)| a.len_utf8())
            .sum::<usize>();
        out.push_str(QUESTION);
        if shown > 0 {
            out.push_str("***");
        }
        out.push_str(&part[shown..]);
    }
    out
}

/// Takes a screenshot once the screen stops changing, because the prompt may appear on the serial
/// console first. Gives up waiting after a while: cursors blink.
fn still_picture(session: &mut Session) -> Result<Vec<u8>, Report> {
    let mut last = session.screenshot()?;
    for _ in 0..10 {
        std::thread::sleep(Duration::from_millis(500));
        let next = session.screenshot()?;
        if next == last {
            break;
        }
        last = next;
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn a_password_leaves_no_trace() {
        assert_eq!(
            redact(
                "x login: root\r\nPassword: hunt\r\nhunter2 hunt\r\n",
                "hunter2"
            ),
            "x login: root\r\nPassword: ***\r\n*** hunt\r\n"
        );
        assert_eq!(redact("Password: \r\n", "hunter2"), "Password: \r\n");
        assert_eq!(redact("Password: x", ""), "Password: x");
    }
}
