//! The verdict on a boot, and the problems that led to it.

use crate::recipe::{Policy, Smoke};
use crate::vm::stage::Stage;
use crate::vm::trouble::{Cause, Failed, Part};
use serde::{Serialize, Serializer};

/// How a boot ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It booted, and powered off when asked to.
    Booted,
    /// The firmware found nothing to start.
    NoBootDevice,
    /// Boot code or boot loader found nothing to start next.
    LoaderFailed,
    /// The kernel panicked.
    KernelPanic,
    /// An initrd or an init gave up and started a shell.
    EmergencyShell,
    /// The init is missing or has ended, or something that it started has failed.
    InitFailed,
    /// The root file system is damaged, or was not unmounted.
    RootNotClean,
    /// It showed no sign of life any more.
    Hung(Stage),
    /// A time limit was exceeded.
    Timeout(Hung),
    /// QEMU failed.
    Qemu,
}

/// Where a time limit was exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hung {
    /// In a stage of the boot.
    In(Stage),
    /// In a command that ran in the guest.
    Checks,
    /// After the power button was pressed.
    PowerOff,
}

impl Verdict {
    /// Its name, which is the same for every timeout.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Booted => "booted",
            Verdict::NoBootDevice => "firmware found no boot device",
            Verdict::LoaderFailed => "boot loader failed",
            Verdict::KernelPanic => "kernel panic",
            Verdict::EmergencyShell => "emergency shell",
            Verdict::InitFailed => "init failed",
            Verdict::RootNotClean => "root file system not clean",
            Verdict::Hung(_) => "hung",
            Verdict::Timeout(_) => "timeout",
            Verdict::Qemu => "QEMU failed",
        }
    }

    /// For a timeout, and for a machine that hung: where it happened.
    pub fn hung_in(self) -> Option<&'static str> {
        match self {
            Verdict::Hung(stage) => Some(stage.name()),
            Verdict::Timeout(Hung::In(stage)) => Some(stage.name()),
            Verdict::Timeout(Hung::Checks) => Some("checks"),
            Verdict::Timeout(Hung::PowerOff) => Some("power-off"),
            _ => None,
        }
    }

    /// The verdict for the failure of a guest that got as far as `stage`.
    pub fn of(failed: &Failed, stage: Stage) -> Verdict {
        match &failed.cause {
            Cause::Said { trouble, .. } => match trouble.part {
                Part::Firmware => Verdict::NoBootDevice,
                Part::Loader => Verdict::LoaderFailed,
                Part::Kernel => Verdict::KernelPanic,
                Part::Shell => Verdict::EmergencyShell,
                Part::Init => Verdict::InitFailed,
                Part::Root => Verdict::RootNotClean,
            },
            Cause::Still { stage, .. } => Verdict::Hung(*stage),
            Cause::TimedOut { .. } => Verdict::Timeout(Hung::In(stage)),
            Cause::Qemu { .. } => Verdict::Qemu,
            // It powered off or restarted by itself, because of the stage that was running.
            Cause::Ended { .. } => match stage {
                Stage::Firmware => Verdict::NoBootDevice,
                Stage::Loader => Verdict::LoaderFailed,
                Stage::Kernel => Verdict::KernelPanic,
                Stage::Init | Stage::Login => Verdict::InitFailed,
            },
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.hung_in() {
            Some(stage) => write!(f, "{} in {stage}", self.name()),
            None => f.write_str(self.name()),
        }
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.name())
    }
}

/// A text on the console that shows a problem although the prompt appeared.
struct Sign {
    pattern: &'static str,
    what: What,
}

/// What such a text means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// A service failed. The recipe decides how this counts.
    FailedUnit,
    /// Something was not started because of something else. That counts as a warning: if it was
    /// needed, it shows in a line of its own or in an emergency shell. systemd also reports an
    /// optional mount (`nofail`) whose disk is missing like this.
    Dependency,
    /// The root file system is read-only. The recipe decides how this counts.
    ReadOnly,
    /// The root file system could not be checked. The recipe decides how this counts.
    NoFsck,
    /// A check of a file system failed.
    Unclean,
}

const fn sign(pattern: &'static str, what: What) -> Sign {
    Sign { pattern, what }
}

/// The texts, by the program that prints them.
const SIGNS: [Sign; 13] = [
    // systemd
    sign("[FAILED] Failed to start ", What::FailedUnit),
    sign("[FAILED] Failed to mount ", What::FailedUnit),
    sign("[DEPEND] Dependency failed for ", What::Dependency),
    // OpenRC
    sign(" failed to start", What::FailedUnit),
    // initramfs-tools, OpenRC
    sign("fsck not present", What::NoFsck),
    sign("fsck: not found", What::NoFsck),
    sign(
        "File system check of the root filesystem failed",
        What::Unclean,
    ),
    sign("File system check failed", What::Unclean),
    sign("Filesystem errors left uncorrected", What::Unclean),
    sign("Filesystems couldn't be fixed", What::Unclean),
    // Linux
    sign("mounting fs with errors", What::Unclean),
    sign("Remounting filesystem read-only", What::ReadOnly),
    sign("mounting unchecked fs", What::Unclean),
];

/// The problems of a boot: failures, which decide the verdict, and warnings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Each of these fails the boot.
    pub failures: Vec<String>,
    /// Worth knowing.
    pub warnings: Vec<String>,
    /// Checks that were skipped, and why.
    pub notes: Vec<String>,
}

impl Findings {
    /// Records something that counts as `policy` says. Returns whether it is a failure.
    pub(super) fn note(&mut self, policy: Policy, text: impl Into<String>) -> bool {
        let list = match policy {
            Policy::Fail => &mut self.failures,
            Policy::Warn => &mut self.warnings,
            Policy::Ignore => return false,
        };
        let text = text.into();
        if !list.contains(&text) {
            list.push(text);
        }
        policy == Policy::Fail
    }

    /// Records every known text on the console (plain text) according to the recipe. Returns the
    /// verdict that follows from them, or the given one.
    pub(super) fn read(&mut self, console: &str, smoke: &Smoke, verdict: Verdict) -> Verdict {
        let mut verdict = verdict;
        for line in console.lines() {
            let Some(sign) = SIGNS.iter().find(|s| line.contains(s.pattern)) else {
                continue;
            };
            let (policy, leads_to) = match sign.what {
                What::FailedUnit => (smoke.failed_units, Verdict::InitFailed),
                What::Dependency if smoke.failed_units == Policy::Ignore => continue,
                What::Dependency => (Policy::Warn, Verdict::Booted),
                What::ReadOnly => (smoke.read_only_root, Verdict::RootNotClean),
                What::NoFsck => (smoke.missing_fsck, Verdict::RootNotClean),
                What::Unclean => (Policy::Fail, Verdict::RootNotClean),
            };
            let fails = self.note(policy, format!("the console says {:?}", line.trim()));
            if fails && verdict == Verdict::Booted {
                verdict = leads_to;
            }
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(console: &str, smoke: &Smoke) -> (Verdict, Findings) {
        let mut findings = Findings::default();
        let verdict = findings.read(console, smoke, Verdict::Booted);
        (verdict, findings)
    }

    #[test]
    fn a_prompt_after_a_failure_is_a_failure_by_the_recipes_word() {
        let strict = Smoke {
            missing_fsck: Policy::Fail,
            ..Smoke::default()
        };
        let lax = Smoke {
            failed_units: Policy::Warn,
            read_only_root: Policy::Ignore,
            missing_fsck: Policy::Warn,
            ..Smoke::default()
        };
        for (line, hard, soft) in [
            (
                "[FAILED] Failed to start nginx.service - A web server.",
                Verdict::InitFailed,
                Verdict::Booted,
            ),
            (
                " * ERROR: networking failed to start",
                Verdict::InitFailed,
                Verdict::Booted,
            ),
            (
                "Warning: fsck not present, so skipping root file system",
                Verdict::RootNotClean,
                Verdict::Booted,
            ),
            (
                "[ 3.1] EXT4-fs (vda2): Remounting filesystem read-only",
                Verdict::RootNotClean,
                Verdict::Booted,
            ),
            (
                "[ 3.1] EXT4-fs (vda2): warning: mounting fs with errors, running e2fsck is recommended",
                Verdict::RootNotClean,
                Verdict::RootNotClean,
            ),
        ] {
            let console = format!("one\n{line}\nbox login: ");
            let (verdict, findings) = read(&console, &strict);
            assert_eq!(verdict, hard, "{line}");
            assert_eq!(findings.failures.len(), 1, "{findings:?}");
            let (verdict, findings) = read(&console, &lax);
            assert_eq!(verdict, soft, "{line}");
            assert_eq!(findings.failures.is_empty(), soft == Verdict::Booted);
        }
    }

    #[test]
    fn a_healthy_console_has_no_signs() {
        let (verdict, findings) = read(
            "Begin: Will now check root file system ... fsck from util-linux 2.41\n[  OK  ] Started x\n * Checking local filesystems  ... [ ok ]\nbox login: ",
            &Smoke::default(),
        );
        assert_eq!((verdict, findings), (Verdict::Booted, Findings::default()));
    }
}
