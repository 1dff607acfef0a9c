//! Boots images and gives a verdict on each: not only whether a prompt came, but whether the
//! machine behind it is well.
//!
//! A [`Job`] is one boot of one image. [`boot()`] does it and returns an [`Outcome`]; [`all`] does
//! several, some at once. [`report`] has the forms in which outcomes are told.

mod boot;
mod checks;
mod evidence;
pub mod report;
pub mod root;
mod verdict;

pub use boot::boot;
pub use checks::Check;
pub use verdict::{Findings, Hung, Verdict};

use crate::cleanup;
use crate::error::Report;
use crate::recipe::Smoke;
use crate::vm::accel::{self, Accel};
use crate::vm::stage::Stage;
use crate::vm::{DiskBus, Firmware, Machine, firmware};
use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// One boot of one image.
#[derive(Debug, Clone)]
pub struct Job {
    /// What the image is called in reports.
    pub name: String,
    /// The image; it is only read.
    pub image: Utf8PathBuf,
    /// Where its ext4 root file system lies, as (offset, length) in bytes, if it has one and is
    /// raw.
    pub root: Option<(u64, u64)>,
    /// The machine. Screen, snapshot and whether its network leads out are set by [`boot()`].
    pub machine: Machine,
    /// UEFI firmware that the command line names.
    pub firmware: firmware::Flags,
    /// What is tested, and what counts as a failure.
    pub smoke: Smoke,
    /// Who logs in. Left out: root, by a password that only a private copy of the image has.
    pub login: Option<Credentials>,
    /// Time until the prompt must be there, as it is; left out, the recipe's, scaled by the
    /// accelerator.
    pub timeout: Option<Duration>,
    /// Folder for what the boot leaves.
    pub evidence: Utf8PathBuf,
}

impl Job {
    /// What the boot is called: the image, the firmware and the disk.
    pub fn title(&self) -> String {
        let machine = &self.machine;
        format!(
            "{} by {} from {:?}",
            self.name, machine.firmware, machine.disk
        )
    }
}

/// A user of the guest.
#[derive(Clone)]
pub struct Credentials {
    /// Name.
    pub user: String,
    /// Password.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({})", self.user)
    }
}

/// How a boot went.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Outcome {
    /// What the image is called.
    pub name: String,
    /// The image.
    pub image: Utf8PathBuf,
    /// Firmware.
    pub firmware: Firmware,
    /// What the disk hung on.
    pub disk: DiskBus,
    /// The verdict.
    pub verdict: Verdict,
    /// For a timeout: what took too long.
    pub hung_in: Option<&'static str>,
    /// Whether it booted and nothing counts as a failure.
    pub passed: bool,
    /// What went wrong, and what to do about it.
    pub detail: Option<String>,
    /// What ran the guest's instructions (`kvm`, `tcg`, ...).
    pub accelerator: &'static str,
    /// How many starts it took: more than one if the emulator stumbled.
    pub attempts: u32,
    /// How long each stage took.
    pub stages: Vec<StageTime>,
    /// Seconds from the start of QEMU to the prompt, or to the failure.
    pub seconds: f64,
    /// Seconds from the power button to the end of the machine.
    pub power_off_seconds: Option<f64>,
    /// What speaks for and against it.
    #[serde(flatten)]
    pub findings: Findings,
    /// What was run in the guest.
    pub checks: Vec<Check>,
    /// Folder with logs and a picture of the screen.
    pub evidence: Utf8PathBuf,
    /// The last lines of the console.
    pub tail: Vec<String>,
}

/// How long a stage took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StageTime {
    /// The stage.
    pub stage: Stage,
    /// How long.
    pub seconds: f64,
}

/// What happens while jobs run.
#[derive(Debug)]
pub enum Event<'a> {
    /// A boot begins.
    Begin(&'a Job),
    /// A boot is over.
    End(&'a Outcome),
}

/// Does all jobs, `at_once` at a time. `tell` is told one thing after another. The outcomes are
/// in the order of the jobs; an error if one could not be tried at all.
pub fn all(
    jobs: &[Job],
    at_once: usize,
    tell: &(dyn Fn(&Event<'_>) + Sync),
) -> Result<Vec<Outcome>, Report> {
    let next = AtomicUsize::new(0);
    let telling = Mutex::new(());
    let say = |event: &Event<'_>| {
        // What fails because a signal ends us is nobody's news.
        cleanup::wait_if_signalled();
        let _one = telling.lock().unwrap_or_else(PoisonError::into_inner);
        tell(event);
    };
    let slots: Vec<Mutex<Option<Result<Outcome, Report>>>> =
        jobs.iter().map(|_| Mutex::new(None)).collect();
    std::thread::scope(|scope| {
        for _ in 0..at_once.clamp(1, jobs.len().max(1)) {
            scope.spawn(|| {
                while let Some((job, slot)) = {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    jobs.get(n).zip(slots.get(n))
                } {
                    say(&Event::Begin(job));
                    let outcome = boot(job);
                    if let Ok(outcome) = &outcome {
                        say(&Event::End(outcome));
                    }
                    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
                }
            });
        }
    });
    slots
        .into_iter()
        .filter_map(|slot| slot.into_inner().unwrap_or_else(PoisonError::into_inner))
        .collect()
}

/// The folder for what one boot leaves, below `dir`.
pub fn evidence_dir(dir: &Utf8Path, name: &str, firmware: Firmware, disk: DiskBus) -> Utf8PathBuf {
    let word = |w: &dyn std::fmt::Debug| format!("{w:?}").to_lowercase();
    dir.join(format!("{name}-{}-{}", word(&firmware), word(&disk)))
}

/// How many of these machines fit on this host at once: by its processors, and by its free
/// memory where that can be told (Linux).
pub fn at_once(machine: &Machine) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let accel = accel::choose(machine.arch).map_or(Accel::Tcg, |choice| choice.accel);
    let threads = accel.threads(machine.arch, machine.cpus);
    let by_cores = cores / usize::try_from(threads).unwrap_or(1).max(1);
    // QEMU itself needs some as well.
    let need = u64::from(machine.memory_mib) + 256;
    let by_memory = free_mib().map_or(1, |free| usize::try_from(free / need).unwrap_or(1));
    by_cores.min(by_memory).max(1)
}

/// How many of these jobs fit on this host at once, whichever they are.
pub fn jobs_at_once(jobs: &[Job]) -> usize {
    let fits = jobs.iter().map(|job| at_once(&job.machine));
    fits.min().unwrap_or(1)
}

fn free_mib() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib >> 10)
}
