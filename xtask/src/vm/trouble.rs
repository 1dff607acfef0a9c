//! The messages of a machine that will never come up, and what errors say about them.

use super::accel::Accel;
use super::stage::Stage;
use crate::error::Report;
use std::fmt;

/// The part of the system that a trouble belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Firmware that found nothing to start.
    Firmware,
    /// Boot code or boot loader.
    Loader,
    /// The kernel.
    Kernel,
    /// An initrd or an init that gave up and started a shell.
    Shell,
    /// The init: it is missing, or it ended.
    Init,
    /// The root file system: it is damaged.
    Root,
}

/// A text on the console that means failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trouble {
    /// The text as it appears on the console.
    pub pattern: &'static str,
    /// What is at fault.
    pub part: Part,
    /// What happened. Completes "booting x: ".
    pub cause: &'static str,
    /// What to do about it.
    pub hint: &'static str,
}

/// The part at fault, and what to do about it.
type Advice = (Part, &'static str);

const KERNEL: Advice = (
    Part::Kernel,
    "the lines above show the cause: usually a wrong root= argument, an initrd without the disk's driver, or a missing init",
);
const FIRMWARE: Advice = (
    Part::Firmware,
    "check that the image's boot mode and partition table match the firmware (BIOS or UEFI)",
);
const TABLE: Advice = (Part::Loader, FIRMWARE.1);
const LOADER: Advice = (
    Part::Loader,
    "check that the kernel and the initrd in the boot loader's configuration exist",
);
const INITRD: Advice = (
    Part::Shell,
    "check root= in the kernel arguments and that the initrd has the drivers of this disk (try another disk bus)",
);
const INIT: Advice = (
    Part::Init,
    "check init= in the kernel arguments, and that /sbin/init exists and is executable",
);
const SERVICES: Advice = (
    Part::Shell,
    "the lines above name the unit that failed: usually an entry in /etc/fstab for a missing disk",
);
const FSCK: Advice = (
    Part::Root,
    "the root file system is damaged; build the image again",
);

const fn trouble(pattern: &'static str, cause: &'static str, advice: Advice) -> Trouble {
    Trouble {
        pattern,
        part: advice.0,
        cause,
        hint: advice.1,
    }
}

/// Texts of a dead kernel. Nothing else may print them.
pub const PANICS: &[Trouble] = &[
    // The kernel's main.c and exit.c: the kernel works, but the init does not.
    trouble(
        "Kernel panic - not syncing: Requested init",
        "the kernel could not start the init",
        INIT,
    ),
    trouble(
        "Kernel panic - not syncing: No working init found",
        "the kernel found no init",
        INIT,
    ),
    trouble(
        "Kernel panic - not syncing: Attempted to kill init",
        "the init ended",
        INIT,
    ),
    trouble("Kernel panic - not syncing", "the kernel panicked", KERNEL),
];

/// Texts on the screen of a PC with BIOS that mean a failed boot, by the program that prints them.
pub const SCREEN: &[Trouble] = &[
    // SeaBIOS
    trouble(
        "Boot failed: ",
        "the BIOS could not start the disk",
        FIRMWARE,
    ),
    trouble(
        "No bootable device",
        "the BIOS found nothing to start",
        FIRMWARE,
    ),
    // Boot code of Syslinux in the MBR (mbr/mbr.S, gptmbr.S) and in the partition
    trouble(
        "Missing operating system",
        "the MBR found no active partition, or no boot sector in it",
        TABLE,
    ),
    trouble(
        "Missing OS",
        "the MBR found no partition that is marked as bootable by BIOS, or no boot sector in it",
        TABLE,
    ),
    trouble(
        "Multiple active partitions",
        "the MBR found several active partitions",
        TABLE,
    ),
    trouble(
        "Operating system load error",
        "the MBR could not read the boot sector of the partition",
        TABLE,
    ),
    trouble(
        "Boot error",
        "the boot sector could not read the boot loader",
        LOADER,
    ),
    trouble(
        "Failed to load ldlinux.c32",
        "EXTLINUX did not find ldlinux.c32",
        LOADER,
    ),
    trouble(
        "Failed to load COM32 file",
        "EXTLINUX did not find one of its modules",
        LOADER,
    ),
    trouble(
        "No DEFAULT or UI configuration directive found",
        "EXTLINUX found no configuration",
        LOADER,
    ),
    trouble(
        "No configuration file found",
        "EXTLINUX found no configuration",
        LOADER,
    ),
    trouble(
        "... failed: ",
        "EXTLINUX could not load the kernel or the initrd",
        LOADER,
    ),
    trouble(
        "Booting kernel failed",
        "EXTLINUX found that the kernel file is not a kernel",
        LOADER,
    ),
    // GRUB
    trouble("grub rescue>", "GRUB found none of its modules", LOADER),
];

/// Texts on the serial console that mean a failed boot, by the program that prints them.
pub const BOOT: &[Trouble] = &[
    // Linux
    PANICS[0],
    PANICS[1],
    PANICS[2],
    PANICS[3],
    trouble(
        "EXT4-fs error (device",
        "the kernel found the file system damaged",
        FSCK,
    ),
    // OVMF (MdeModulePkg/Universal/BdsDxe, ShellPkg)
    trouble(
        "No bootable option or device was found",
        "the UEFI firmware found nothing to start",
        FIRMWARE,
    ),
    trouble(
        "UEFI Interactive Shell",
        "the UEFI firmware found nothing to start but its own shell",
        FIRMWARE,
    ),
    // systemd-boot
    trouble(
        "No loader found. Configuration files in",
        "systemd-boot found no boot entry",
        LOADER,
    ),
    trouble(
        "Error loading \\",
        "systemd-boot could not load the kernel",
        LOADER,
    ),
    trouble(
        "Error preparing initrd",
        "systemd-boot could not load the initrd",
        LOADER,
    ),
    // GRUB
    trouble("grub rescue>", "GRUB found none of its modules", LOADER),
    // fsck, and the programs that run it: initramfs-tools, systemd
    trouble(
        "UNEXPECTED INCONSISTENCY",
        "fsck found the file system damaged",
        FSCK,
    ),
    trouble(
        "requires a manual fsck",
        "fsck found the root file system damaged",
        FSCK,
    ),
    trouble(
        "Failed to start File System Check",
        "fsck found a file system damaged",
        FSCK,
    ),
    trouble(
        "Failed to start systemd-fsck",
        "fsck found a file system damaged",
        FSCK,
    ),
    // The same initrds without an init on the root file system: initramfs-tools, mkinitfs
    trouble(
        "No init found. Try passing init=",
        "the initrd found no init",
        INIT,
    ),
    trouble("not found in new root", "the initrd found no init", INIT),
    // Initrds: initramfs-tools, dracut, mkinitfs (Alpine), mkinitcpio (Arch)
    trouble(
        "Gave up waiting for root",
        "the initrd did not find the root file system in time",
        INITRD,
    ),
    trouble(
        "Dropping to a shell!",
        "the initrd gave up and started a shell",
        INITRD,
    ),
    trouble(
        "(initramfs) ",
        "the initrd gave up and started a shell",
        INITRD,
    ),
    trouble(
        "Entering emergency mode",
        "the initrd gave up and started a shell",
        INITRD,
    ),
    trouble(
        "initramfs emergency recovery shell",
        "the initrd gave up and started a shell",
        INITRD,
    ),
    trouble(
        "You are now being dropped into an emergency shell",
        "the initrd gave up and started a shell",
        INITRD,
    ),
    // systemd, and sulogin which it starts
    trouble(
        "You are in emergency mode",
        "the system started in emergency mode",
        SERVICES,
    ),
    trouble(
        "You are in rescue mode",
        "the system started in rescue mode",
        SERVICES,
    ),
    trouble(
        "Cannot open access to console, the root account is locked",
        "the system started in emergency mode",
        SERVICES,
    ),
    trouble(
        "Give root password for maintenance",
        "the system started in emergency mode",
        SERVICES,
    ),
    trouble(
        "Reached target emergency.target",
        "the system started in emergency mode",
        SERVICES,
    ),
];

/// Why a guest did not do what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// It reported a failure.
    Said {
        /// The message that was recognised.
        trouble: &'static Trouble,
        /// The whole line.
        line: String,
    },
    /// The time limit was exceeded.
    TimedOut {
        /// The time limit, in seconds.
        seconds: u64,
    },
    /// It shows no sign of life any more.
    Still {
        /// The stage that it is in.
        stage: Stage,
        /// What is likely the cause, what it does, and what it showed last.
        why: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// The machine ended early.
    Ended {
        /// The reason in QEMU's terms (`guest-shutdown`, `guest-reset`, ...), if known.
        reason: Option<String>,
    },
    /// QEMU itself failed.
    Qemu {
        /// How it ended.
        status: String,
        /// The last line of its standard error.
        message: String,
        /// Its standard error; the last 4 KiB.
        stderr: String,
    },
}

/// A guest that did not do what was expected: the cause of the error, with the whole transcript.
/// Its text is the last lines of the console.
#[derive(Debug, Clone, PartialEq)]
pub struct Failed {
    /// The reason.
    pub cause: Cause,
    /// Seconds from the start of the machine.
    pub seconds: f64,
    /// The accelerator that it ran with.
    pub accel: Accel,
    /// The last lines of the console, as plain text.
    pub tail: Vec<String>,
    /// The raw output of the console.
    pub transcript: String,
}

/// Panics of healthy kernels under emulation.
///
/// The first: the kernel counts timer interrupts while it spins for 40 ms or more
/// (`timer_irq_works` in arch/x86/kernel/apic/io_apic.c), and the QEMU thread that generates them
/// got no processor time meanwhile. It was seen once in about sixty boots on a host with two
/// processors and a load of five. The second: `Accel::argument` tries to prevent it.
const BY_EMULATOR: [&str; 2] = [
    "IO-APIC + timer doesn't work",
    "Fatal exception in interrupt",
];

impl Failed {
    /// The failed guest behind an error, if that is its cause.
    pub fn of(report: &Report) -> Option<&Failed> {
        report.source.as_ref()?.downcast_ref()
    }

    /// Whether this looks like the emulator's fault, so that a retry makes sense.
    pub fn by_emulator(&self) -> bool {
        self.accel == Accel::Tcg
            && matches!(&self.cause, Cause::Said { line, .. }
                if BY_EMULATOR.iter().any(|text| line.contains(text)))
    }
}

impl Cause {
    /// What happened. Completes "booting x: ".
    pub fn text(&self, waited_for: &str) -> String {
        match self {
            // The trouble's own text would only repeat the cause.
            Cause::Said { trouble, line } => format!("{} ({line:?})", trouble.cause),
            Cause::TimedOut { seconds } => {
                format!("no {waited_for} appeared within {seconds} s")
            }
            Cause::Still { stage, why, .. } => format!("it hangs in the {stage}: {why}"),
            Cause::Ended { reason } => match reason.as_deref() {
                Some("guest-reset") => format!("it restarted before {waited_for} appeared"),
                Some("guest-shutdown") => {
                    format!("it powered off before {waited_for} appeared")
                }
                Some("guest-panic") => format!("it crashed before {waited_for} appeared"),
                Some(other) => format!("it ended before {waited_for} appeared ({other})"),
                None => format!("it ended before {waited_for} appeared"),
            },
            Cause::Qemu {
                status, message, ..
            } if message.is_empty() => {
                format!("QEMU failed ({status})")
            }
            Cause::Qemu {
                status, message, ..
            } => format!("QEMU failed ({status}): {message}"),
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Cause::Said { trouble, .. } => trouble.hint,
            Cause::TimedOut { .. } => {
                "on a slow host, use a longer --timeout; if the console stays silent, add a console= kernel argument for the serial port"
            }
            Cause::Still { hint, .. } => hint,
            Cause::Ended { reason } if reason.as_deref() == Some("guest-reset") => {
                "systemd-boot restarts into the firmware if no boot entry has a kernel; a kernel restarts if it has too little memory or panicked (panic=0 keeps it)"
            }
            Cause::Ended { .. } => "see the last lines of its console",
            Cause::Qemu { .. } => {
                "check that no other program uses the image, and that the ports are free"
            }
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tail.is_empty() {
            return f.write_str("its console printed nothing");
        }
        f.write_str("its console ended with\n")?;
        for line in &self.tail {
            writeln!(f, "    | {line}")?;
        }
        f.write_str("(end of the console)")
    }
}

impl std::error::Error for Failed {}
