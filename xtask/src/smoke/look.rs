//! A look at an image before it is booted: what certainly stops it is told at once.

use super::evidence::{self, Evidence};
use super::verdict::{Findings, Verdict};
use super::{BootJob, BootOutcome};
use crate::error::Report;
use crate::inspect::{self, Code, Finding, Part};

/// The accelerator in the outcome of an image that was not booted.
pub const NOT_BOOTED: &str = "not booted";

/// What was found.
pub(super) enum Looked {
    /// The outcome of an image that cannot boot.
    Stopped(Box<BootOutcome>),
    /// It may boot. What was found is a hint if it does not.
    Open(Vec<Finding>),
}

/// Looks into the job's image, and decides whether to boot it.
pub(super) fn look(job: &BootJob) -> Result<Looked, Report> {
    let seen = inspect::inspect(&job.image)?;
    let firmware = job.machine.firmware;
    // The test watches the serial console, so a machine without one fails it although it boots.
    let stops = |f: &&Finding| f.stops(firmware) || f.code == Code::ConsoleMissing;
    let stopping: Vec<&Finding> = seen.findings.iter().filter(stops).collect();
    let Some(first) = stopping.first() else {
        return Ok(Looked::Open(seen.findings));
    };
    let more = stopping.iter().skip(1);
    let outcome = BootOutcome {
        name: job.name.clone(),
        image: job.image.clone(),
        firmware,
        disk: job.machine.disk,
        verdict: verdict(first),
        hung_in: None,
        passed: false,
        detail: Some(text(first)),
        accelerator: NOT_BOOTED,
        attempts: 0,
        stages: Vec::new(),
        seconds: 0.0,
        power_off_seconds: None,
        findings: Findings {
            failures: more.map(|f| text(f)).collect(),
            ..Findings::default()
        },
        checks: Vec::new(),
        evidence: job.evidence.clone(),
        tail: Vec::new(),
    };
    Evidence::new(&job.evidence)?;
    evidence::outcome(&outcome)?;
    Ok(Looked::Stopped(Box::new(outcome)))
}

/// A finding in one line.
pub(super) fn text(finding: &Finding) -> String {
    format!(
        "{}: {}; hint: {}",
        finding.code.name(),
        finding.cause,
        finding.cure
    )
}

/// The verdict that a boot would end with.
fn verdict(finding: &Finding) -> Verdict {
    match finding.code.part() {
        Part::File | Part::Firmware => Verdict::NoBootDevice,
        Part::Loader => Verdict::LoaderFailed,
        Part::Kernel => Verdict::KernelPanic,
        Part::Root => Verdict::RootNotClean,
        Part::Init => Verdict::InitFailed,
    }
}
