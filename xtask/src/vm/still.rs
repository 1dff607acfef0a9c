//! Why a machine that shows no sign of life has stopped, as far as that can be seen.

use super::pulse::Doing;
use super::stage::Stage;
use std::time::Duration;

/// What was seen of a machine that has stopped.
pub(super) struct Seen<'a> {
    /// The stage that it is in.
    pub(super) stage: Stage,
    /// What its processors do.
    pub(super) doing: Doing,
    /// How long nothing was new.
    pub(super) still: Duration,
    /// The last lines of the serial console.
    pub(super) console: &'a [String],
    /// The last lines of the BIOS and the boot loader.
    pub(super) bios: &'a [String],
    /// The screen in text mode.
    pub(super) rows: &'a [String],
}

/// How many lines at the end may tell what a machine waits for.
const LAST: usize = 4;

/// What a machine says while it waits: the text, what it waits for, and what to do about it.
const WAITS: [(&str, &str, &str); 11] = [
    (
        "grub>",
        "GRUB waits at its prompt, because it found no configuration",
        LOADER,
    ),
    (
        "Waiting for root device",
        "the kernel waits for a root device that does not appear",
        ROOT,
    ),
    (
        "Waiting for root file system",
        "the initrd waits for a root file system that does not appear",
        ROOT,
    ),
    (
        "local-block",
        "the initrd waits for a root file system that does not appear",
        ROOT,
    ),
    (
        "Mounting root",
        "the initrd does not get its root file system, or what it starts there shows nothing",
        ROOT,
    ),
    (
        "dracut-initqueue",
        "the initrd waits for a device that does not appear",
        ROOT,
    ),
    (
        "Please unlock disk",
        "it waits for the passphrase of a disk",
        TYPED,
    ),
    (
        "nter passphrase",
        "it waits for the passphrase of a disk",
        TYPED,
    ),
    ("Press any key", "it waits for a key", TYPED),
    ("press any key", "it waits for a key", TYPED),
    ("PRESS ANY KEY", "it waits for a key", TYPED),
];

const LOADER: &str =
    "check the boot loader's configuration, and that the files that it names exist";
const ROOT: &str = "check root= in the kernel arguments, and that the initrd has the drivers of this disk (try another disk bus)";
const TYPED: &str = "a machine that waits for somebody cannot be tested";
const CONSOLE: &str =
    "add console=ttyS0 to the kernel arguments, and a login prompt (getty) on that console";
const CODE: &str = "check that the boot code fits the firmware and the partition table; `cargo xtask inspect IMAGE` looks at both";
const KERNEL: &str = "try another kernel, or the kernel argument `earlycon` to see more";
const INIT: &str = "see the last lines of its console: what was started last waits for something";

/// The likely cause with all that was seen, and what to do about it.
pub(super) fn likely(seen: &Seen<'_>) -> (String, &'static str) {
    let (cause, hint) = cause(seen);
    let seconds = seen.still.as_secs();
    let doing = seen.doing;
    let early = seen.stage <= Stage::Loader;
    let sources = match early && !seen.rows.is_empty() {
        true => [seen.rows, seen.bios, seen.console],
        false => [seen.console, seen.bios, seen.rows],
    };
    let last = sources.into_iter().find_map(<[String]>::last);
    let last = last.map_or_else(
        || "nothing was ever shown".to_owned(),
        |line| format!("last seen: {:?}", line.trim()),
    );
    (
        format!("{cause} (nothing new for {seconds} s, the processor is {doing}; {last})"),
        hint,
    )
}

fn cause(seen: &Seen<'_>) -> (&'static str, &'static str) {
    let lasts = |lines: &[String]| lines[lines.len().saturating_sub(LAST)..].join("\n");
    let mut last = lasts(seen.console);
    if seen.stage <= Stage::Kernel {
        last = [lasts(seen.bios), lasts(seen.rows), last].join("\n");
    }
    if let Some((_, cause, hint)) = WAITS.iter().find(|(text, ..)| last.contains(text)) {
        return (cause, hint);
    }
    if seen.stage >= Stage::Kernel && seen.rows.iter().any(|row| row.contains(super::PROMPT)) {
        return (
            "the login prompt is on the screen, and not on the serial console",
            CONSOLE,
        );
    }
    let place = seen.doing.place();
    // Kernels have the upper half of the addresses.
    let kernel = place.is_some_and(|at| at >= 1 << 63);
    match seen.stage {
        Stage::Firmware if kernel => (
            "a kernel runs, and nothing of it reaches the serial console",
            CONSOLE,
        ),
        Stage::Firmware => ("the firmware started nothing", CODE),
        Stage::Loader if kernel => (
            "a kernel runs, and nothing of it reaches the serial console",
            CONSOLE,
        ),
        // A BIOS loads boot sectors to 0x7c00, and most code of an MBR moves itself to 0x600.
        Stage::Loader
            if place.is_some_and(|at| {
                (0x7c00..0x7e00).contains(&at) || (0x600..0x800).contains(&at)
            }) =>
        {
            ("the boot sector was never left", CODE)
        }
        Stage::Loader
            if [seen.rows, seen.bios]
                .iter()
                .any(|l| l.last().is_some_and(|l| l.trim() == "boot:")) =>
        {
            ("EXTLINUX waits at its prompt", LOADER)
        }
        Stage::Loader => ("the boot loader does not go on", LOADER),
        Stage::Kernel => ("the kernel does not go on", KERNEL),
        Stage::Init | Stage::Login
            if seen.console.last().is_some_and(|l| {
                l.contains(" as init process")
                    || l.contains("with arguments:")
                    || l.contains("with environment:")
                    || l.trim().starts_with("HOME=")
                    || l.contains("TERM=linux")
            }) =>
        {
            ("what the kernel started first hangs without a word", INIT)
        }
        Stage::Init | Stage::Login if matches!(seen.doing, Doing::Idle { .. }) => (
            "it waits for something, and no login prompt appeared on the serial console",
            INIT,
        ),
        Stage::Init | Stage::Login => ("it does not come to a login prompt", INIT),
    }
}
