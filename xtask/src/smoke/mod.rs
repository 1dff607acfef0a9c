//! Boots images and gives a verdict on each: whether the login prompt appeared, and whether the
//! machine behind it works.
//!
//! A [`BootJob`] is one boot of one image. [`boot()`] runs it and returns a [`BootOutcome`]; [`all`] runs
//! several, some in parallel. [`report`] formats outcomes.

mod boot;
mod checks;
mod evidence;
mod look;
pub mod report;
pub mod root;
mod verdict;

pub use boot::boot;
pub use checks::Check;
pub use look::NOT_BOOTED;
pub use verdict::{Findings, Hung, Verdict};

use crate::error::Report;
use crate::recipe::Smoke;
use crate::vm::accel::{self, Accel};
use crate::vm::stage::Stage;
use crate::vm::{DiskBus, Firmware, Machine, firmware};
use crate::{cleanup, processors};
use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// One boot of one image.
#[derive(Debug, Clone)]
pub struct BootJob {
    /// Name of the image in reports.
    pub name: String,
    /// The image. It is only read.
    pub image: Utf8PathBuf,
    /// The location of its ext4 root file system as (offset, length) in bytes, if it has one and is
    /// raw.
    pub root: Option<(u64, u64)>,
    /// The machine. [`boot()`] sets the screen, the snapshot mode and the network's isolation.
    pub machine: Machine,
    /// UEFI firmware from the command line.
    pub firmware: firmware::Flags,
    /// What is tested, and what counts as a failure.
    pub smoke: Smoke,
    /// The user who logs in. `None`: root, with a password that only a private copy of the image
    /// has.
    pub login: Option<Credentials>,
    /// Whether to look into the image first, and not to boot what cannot boot.
    pub look: bool,
    /// Time limit for the prompt. `None`: the recipe's limit, scaled by the accelerator.
    pub timeout: Option<Duration>,
    /// Folder for the logs and other files of the boot.
    pub evidence: Utf8PathBuf,
}

impl BootJob {
    /// Title of the boot: the image, the firmware and the disk.
    pub fn title(&self) -> String {
        title(&self.name, self.machine.firmware, self.machine.disk)
    }
}

/// E.g. `debian (BIOS, virtio)`.
fn title(name: &str, firmware: Firmware, disk: DiskBus) -> String {
    format!("{name} ({firmware}, {disk})")
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

/// The result of a boot.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct BootOutcome {
    /// Name of the image.
    pub name: String,
    /// The image.
    pub image: Utf8PathBuf,
    /// Firmware.
    pub firmware: Firmware,
    /// The bus of the disk.
    pub disk: DiskBus,
    /// The verdict.
    pub verdict: Verdict,
    /// For a timeout, and for a machine that hung: where it happened.
    pub hung_in: Option<&'static str>,
    /// Whether it booted and nothing counts as a failure.
    pub passed: bool,
    /// What went wrong, and what to do about it.
    pub detail: Option<String>,
    /// The accelerator (`kvm`, `tcg`, ...), or [`NOT_BOOTED`].
    pub accelerator: &'static str,
    /// The number of starts: more than one if the emulator was at fault, none if a look at the image
    /// was enough.
    pub attempts: u32,
    /// The duration of each stage.
    pub stages: Vec<StageTime>,
    /// Seconds from the start of QEMU to the prompt, or to the failure.
    pub seconds: f64,
    /// Seconds from the power button to power-off.
    pub power_off_seconds: Option<f64>,
    /// Failures, warnings and skipped checks.
    #[serde(flatten)]
    pub findings: Findings,
    /// The commands that ran in the guest.
    pub checks: Vec<Check>,
    /// Folder with the logs and a screenshot.
    pub evidence: Utf8PathBuf,
    /// The last lines of the console.
    pub tail: Vec<String>,
}

/// The duration of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StageTime {
    /// The stage.
    pub stage: Stage,
    /// Duration in seconds.
    pub seconds: f64,
}

/// Progress of the jobs.
#[derive(Debug)]
pub enum Event<'a> {
    /// A boot has started.
    Begin(&'a BootJob),
    /// A boot has ended.
    End(&'a BootOutcome),
}

/// Runs all jobs, `at_once` in parallel. Calls `tell` with one event at a time. The outcomes are in
/// the order of the jobs. Fails if a job could not be tried at all.
pub fn all(
    jobs: &[BootJob],
    at_once: usize,
    tell: &(dyn Fn(&Event<'_>) + Sync),
) -> Result<Vec<BootOutcome>, Report> {
    let next = AtomicUsize::new(0);
    let telling = Mutex::new(());
    let say = |event: &Event<'_>| {
        // Failures because of a signal are not reported.
        cleanup::wait_if_signalled();
        let _one = telling.lock().unwrap_or_else(PoisonError::into_inner);
        tell(event);
    };
    let slots: Vec<Mutex<Option<Result<BootOutcome, Report>>>> =
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

/// The folder for the files of one boot, below `dir`.
pub fn evidence_dir(dir: &Utf8Path, name: &str, firmware: Firmware, disk: DiskBus) -> Utf8PathBuf {
    let firmware = firmware.to_string().to_lowercase();
    dir.join(format!("{name}-{firmware}-{disk}"))
}

/// How many of these machines fit on this host in parallel, by its processors and, where known
/// (Linux), its free memory.
pub fn at_once(machine: &Machine) -> usize {
    let cores = processors::count();
    let accel = accel::choose(machine.arch).map_or(Accel::Tcg, |choice| choice.accel);
    let threads = accel.threads(machine.arch, machine.cpus);
    let by_cores = cores / usize::try_from(threads).unwrap_or(1).max(1);
    // QEMU itself needs memory too.
    let need = u64::from(machine.memory_mib) + 256;
    let by_memory = free_mib().map_or(1, |free| usize::try_from(free / need).unwrap_or(1));
    by_cores.min(by_memory).max(1)
}

/// How many of these jobs fit on this host in parallel, in any combination.
pub fn jobs_at_once(jobs: &[BootJob]) -> usize {
    let fits = jobs.iter().map(|job| at_once(&job.machine));
    fits.min().unwrap_or(1)
}

fn free_mib() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib >> 10)
}
