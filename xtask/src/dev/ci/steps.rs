//! The steps of a run of `ci`: what was done, how long it took, and what failed.

use docker_to_linux::cli::Console;
use docker_to_linux::error::Report;
use docker_to_linux::smoke::{self, BootJob, Event};
use docker_to_linux::vm::ImageFormat;
use std::time::{Duration, Instant};

/// The steps that were run, and how long each took.
pub(super) struct Steps {
    console: Console,
    done: Vec<(String, Duration)>,
    failed: Vec<String>,
}

impl Steps {
    /// No steps yet.
    pub(super) fn new(console: Console) -> Steps {
        Steps {
            console,
            done: Vec::new(),
            failed: Vec::new(),
        }
    }

    /// Runs a step. A failure is reported at once, but the run continues and fails at the end,
    /// because the other steps give more information and a run takes long.
    pub(super) fn run(&mut self, name: &str, step: impl FnOnce() -> anyhow::Result<()>) {
        self.console.stage(&format!("ci: {name}"));
        let begun = Instant::now();
        let result = step();
        self.done.push((name.to_owned(), begun.elapsed()));
        if let Err(e) = result {
            let (line, _) = docker_to_linux::error::describe(&e);
            self.console.note(&format!("FAILED: {name}: {line}"));
            self.failed.push(name.to_owned());
        }
    }

    /// Adds a boot to `boots`. If it cannot be prepared, this counts as a failed step.
    pub(super) fn job(
        &mut self,
        boots: &mut Vec<BootJob>,
        name: &str,
        job: impl FnOnce() -> anyhow::Result<BootJob>,
    ) {
        match job() {
            Ok(job) => boots.push(job),
            Err(e) => self.run(&format!("boot of {name}"), || Err(e)),
        }
    }

    /// Boots all jobs, as many at once as fit on this host. Each counts as a step.
    pub(super) fn boots(&mut self, jobs: &[BootJob]) {
        let at_once = smoke::jobs_at_once(jobs);
        self.console
            .stage(&format!("ci: {} boots, {at_once} at once", jobs.len()));
        let console = self.console;
        let begun = Instant::now();
        let outcomes = smoke::all(jobs, at_once, &|event| match event {
            Event::Begin(job) => console.stage(&format!("booting {}", job.title())),
            Event::End(outcome) => smoke::report::tell(outcome, &console),
        });
        let outcomes = match outcomes {
            Ok(outcomes) => outcomes,
            Err(e) => return self.run("boots", || Err(e.into())),
        };
        for (job, outcome) in jobs.iter().zip(outcomes) {
            let took = outcome.seconds + outcome.power_off_seconds.unwrap_or_default();
            let name = format!("boot of {}", job.title());
            self.done
                .push((name.clone(), Duration::from_secs_f64(took)));
            // The inside of a raw image can be checked.
            let blind = outcome.checks.is_empty() && job.machine.format == ImageFormat::Raw;
            if outcome.passed && !blind {
                continue;
            }
            let why = match outcome.passed {
                true => format!(
                    "the guest was not checked from inside: {}",
                    outcome.findings.warnings.join("; ")
                ),
                false => {
                    docker_to_linux::error::describe(&smoke::report::failure(&[outcome]).into()).0
                }
            };
            self.console.note(&format!("FAILED: {name}: {why}"));
            self.failed.push(name);
        }
        self.done.push(("all boots".into(), begun.elapsed()));
    }

    /// Prints the steps. Returns an error with the names of those that failed.
    pub(super) fn report(&self, all: Duration) -> anyhow::Result<()> {
        for (name, took) in &self.done {
            self.console
                .detail(&format!("{:7.1} s  {name}", took.as_secs_f64()));
        }
        if !self.failed.is_empty() {
            return Err(Report::failure(format!(
                "{} of {} steps of ci failed: {}",
                self.failed.len(),
                self.done.len(),
                self.failed.join("; ")
            ))
            .hint("see above, under the heading of each step and after `FAILED:`")
            .into());
        }
        self.console
            .stage(&format!("ci: all passed in {:.0} s", all.as_secs_f64()));
        Ok(())
    }
}
