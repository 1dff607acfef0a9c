//! The stages of a boot, recognised from the output of firmware, boot loader, kernel and init.

use super::transcript::Transcript;
use std::time::{Duration, Instant};

/// A stage of a boot. Each lasts until the next one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// BIOS or UEFI.
    Firmware,
    /// Boot code and boot loader.
    Loader,
    /// The kernel, until it starts a program.
    Kernel,
    /// The initrd and the init, until the login prompt.
    Init,
    /// The prompt is there, and a user logs in.
    Login,
}

impl Stage {
    /// All stages in order.
    pub const ALL: [Stage; 5] = [
        Stage::Firmware,
        Stage::Loader,
        Stage::Kernel,
        Stage::Init,
        Stage::Login,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Firmware => "firmware",
            Stage::Loader => "loader",
            Stage::Kernel => "kernel",
            Stage::Init => "init",
            Stage::Login => "login",
        }
    }

    /// Texts that are printed when a stage begins, by the program that prints them.
    fn signs(self) -> &'static [&'static str] {
        match self {
            Stage::Firmware => &[],
            Stage::Loader => &[
                "Booting from ",         // SeaBIOS
                "BdsDxe: starting Boot", // OVMF
                "EXTLINUX ",
                "SYSLINUX ",
                "Welcome to GRUB",
            ],
            Stage::Kernel => &[
                "Probing EDD", // the kernel's own first steps on a PC with a BIOS
                "EFI stub: ",
                "Linux version ",
                "[    0.000000]",
            ],
            Stage::Init => &[
                " as init process",     // Linux: "Run /init as init process"
                "Loading, please wait", // initramfs-tools
                "Alpine Init ",         // mkinitfs
                "systemd[1]: ",
                "INIT: version",
            ],
            Stage::Login => &[super::PROMPT],
        }
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// When each stage began: the first of its texts after those of the stage before it.
pub(super) fn begun(
    console: &Transcript,
    screen: Option<&Transcript>,
    started: Instant,
) -> Vec<(Stage, Duration)> {
    let mut begun = vec![(Stage::Firmware, Duration::ZERO)];
    let mut latest = started;
    for stage in Stage::ALL {
        let first = |text: &Transcript| {
            let (_, place, _) = text.find(0, stage.signs().iter().copied())?;
            text.time_of(place)
        };
        let times = [first(console), screen.and_then(first)];
        if let Some(time) = times.into_iter().flatten().min().filter(|t| *t >= latest) {
            latest = time;
            begun.push((stage, time.duration_since(started)));
        }
    }
    begun
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_told_by_their_signs_in_their_order() {
        let started = Instant::now();
        let mut screen = Transcript::default();
        screen.push(b"SeaBIOS (version 1)\r\nBooting from Hard Disk...\r\n");
        let mut console = Transcript::default();
        console.push(b"[    0.000000] Linux version 6.1\r\n");
        console.push(b"[    1.0] Run /init as init process\r\nx login: ");
        let stages = |c: &Transcript, s| -> Vec<Stage> {
            begun(c, s, started).into_iter().map(|(s, _)| s).collect()
        };
        assert_eq!(stages(&console, Some(&screen)), Stage::ALL);
        let mut quiet = Transcript::default();
        quiet.push(b"box login: ");
        assert_eq!(stages(&quiet, None), [Stage::Firmware, Stage::Login]);
    }
}
