//! Booting images in QEMU, and the verdict.
//!
//! [`to_login`] is the smoke test: it boots an image to its `login:` prompt, presses the power
//! button and waits for a clean end. [`interactive`] gives the console to the user. Both are
//! made of a [`Machine`] (what QEMU is to be, a pure value), [`accel`] (what really works on
//! this host), [`firmware`] (where UEFI lies) and a [`Session`] (a running machine and its
//! serial console); [`Login`] runs commands in the guest.
//!
//! A guest that fails says so, and [`trouble`] knows how: no test waits for its deadline to
//! learn that the kernel panicked. However this program ends, QEMU ends with it.

pub mod accel;
mod child;
pub mod claims;
mod console;
pub(crate) mod copy;
mod dir;
pub mod firmware;
mod image_format;
mod login;
mod machine;
mod picture;
mod places;
mod qmp;
mod session;
pub mod stage;
pub(crate) mod throwaway;
mod transcript;
pub mod trouble;

#[cfg(test)]
mod tests;

pub use console::Tee;
pub use image_format::ImageFormat;
pub use login::{Login, Output};
pub use machine::{Console, DiskBus, Display, Firmware, Forward, Machine, Network, Screen};
pub use session::Session;

use crate::cleanup::Guard;
use crate::error::Report;
use crate::printable;
use crate::tool;
use accel::Accel;
use camino::Utf8Path;
use child::{Child, Group};
use dir::Dir;
use rustix::termios::{OptionalActions, isatty, tcgetattr, tcsetattr};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use trouble::Failed;

/// Time to the prompt on real hardware, at most. Emulation gets a multiple of it.
const TO_PROMPT: Duration = Duration::from_secs(120);
/// Time from the power button to the end, likewise.
const TO_END: Duration = Duration::from_secs(30);

/// How to test a boot.
#[derive(Default)]
pub struct Options {
    /// UEFI firmware that the command line names.
    pub firmware: firmware::Flags,
    /// Time until the prompt must be there. Left out: 2 minutes, 10 under emulation.
    pub timeout: Option<Duration>,
    /// Time from the power button to the end. Left out: 30 seconds, 150 under emulation.
    pub power_off: Option<Duration>,
    /// Takes a copy of everything that the serial console says, while it does.
    pub tee: Option<Tee>,
}

/// What a boot test found.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Seconds from the start of QEMU to the `login:` prompt.
    pub seconds: f64,
    /// Whether the guest turned the machine off when the power button was pressed. It was
    /// ended by force otherwise.
    pub powered_off: bool,
    /// What it ran on.
    pub accel: Accel,
    /// How many starts it took: more than one if the emulator stumbled (see [`to_login`]).
    pub attempts: u32,
    /// Everything that the serial console said, as it came (the last 4 MiB); [`crate::printable::plain`] makes
    /// plain text of it.
    pub transcript: String,
}

/// The prompt that ends a boot. Both agetty's and busybox's getty's end so.
pub const PROMPT: &str = "login: ";

/// How often a boot is tried that fails by the emulator's fault.
const ATTEMPTS: u32 = 3;

/// Boots `image` to its prompt, presses the power button and waits for the end.
///
/// An error, with [`trouble::Failed`] as its cause, if no prompt comes. A guest that does not
/// care for the power button is no error: see [`Verdict::powered_off`].
///
/// An emulator that gets too little of a busy host lets healthy kernels panic now and then;
/// such a boot ([`trouble::Failed::by_emulator`]) is tried up to three times.
pub fn to_login(
    machine: &Machine,
    image: &Utf8Path,
    mut options: Options,
) -> Result<Verdict, Report> {
    let tee = options.tee.take().map(|t| Shared(Arc::new(Mutex::new(t))));
    let mut attempts = 1;
    loop {
        let tee = tee.clone().map(|t| Box::new(t) as Tee);
        match try_to_login(machine, image, &options, tee, attempts) {
            Err(report)
                if attempts < ATTEMPTS && Failed::of(&report).is_some_and(Failed::by_emulator) =>
            {
                tracing::warn!(
                    "{report}; trying again, since emulation on a busy host does that to healthy kernels"
                );
                attempts += 1;
            }
            done => return done,
        }
    }
}

fn try_to_login(
    machine: &Machine,
    image: &Utf8Path,
    options: &Options,
    tee: Option<Tee>,
    attempts: u32,
) -> Result<Verdict, Report> {
    let mut session = Session::start(machine, image, &options.firmware, trouble::BOOT, tee)?;
    let accel = session.accel();
    let timeout = options.timeout.unwrap_or(TO_PROMPT * accel.slowness());
    session.expect(&[PROMPT], Instant::now() + timeout)?;
    let seconds = session.elapsed().as_secs_f64();
    let patience = options.power_off.unwrap_or(TO_END * accel.slowness());
    let powered_off = session.power_off(Instant::now() + patience)?;
    Ok(Verdict {
        seconds,
        powered_off,
        accel,
        attempts,
        transcript: session.transcript(),
    })
}

/// One writer for several machines, one after the other.
#[derive(Clone)]
struct Shared(Arc<Mutex<Tee>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .flush()
    }
}

/// Boots `image` with its serial console at the user's terminal, until the guest turns itself
/// off or the user ends it by Ctrl-A X. `out` is told how.
///
/// What the guest says is not filtered: this is its own terminal, with its editors and menus.
pub fn interactive(
    machine: &Machine,
    image: &Utf8Path,
    firmware: &firmware::Flags,
    out: &mut dyn Write,
) -> Result<(), Report> {
    machine.check()?;
    if !image.is_file() {
        return Err(Report::mistake(format!("there is no image at {image}")));
    }
    let what = format!("booting {image} by {}", machine.firmware);
    let report = |e: io::Error| Report::failure(what.clone()).because(e);
    let program = accel::qemu(machine.arch).require()?;
    let choice = accel::choose(machine.arch)?;
    let dir = Dir::new().map_err(report)?;
    let uefi = match machine.firmware {
        Firmware::Bios => None,
        Firmware::Uefi => Some(
            firmware::find(machine.arch, firmware)?
                .stage(machine.arch, &dir.path)
                .map_err(report)?,
        ),
    };
    let arguments = machine.arguments(image, choice.accel, uefi.as_ref(), &Console::Terminal)?;
    tracing::debug!("{}", machine::shell_words(&program, &arguments));
    let name = printable::line(image.as_str());
    writeln!(
        out,
        "booting {name} ({}, {}); Ctrl-A X ends it, Ctrl-A H shows more",
        machine.firmware, choice.accel
    )
    .map_err(report)?;
    // QEMU makes the terminal raw, and gives it back when it ends by itself. It does not when
    // it is killed, and then nobody would see what they type.
    let _terminal = Terminal::keep();
    let mut command = tool::command(&program);
    command.args(&arguments);
    let mut child = Child::spawn(&mut command, Group::Ours, Some(&dir)).map_err(report)?;
    let status = child.wait().map_err(report)?;
    if status.success() {
        Ok(())
    } else {
        Err(Report::failure(format!("{what}: QEMU failed ({status})")))
    }
}

/// Gives the terminal the modes back that it has now, at any end.
struct Terminal {
    _guard: Option<Guard>,
}

impl Terminal {
    fn keep() -> Terminal {
        let stdin = io::stdin();
        let modes = isatty(&stdin).then(|| tcgetattr(&stdin).ok()).flatten();
        Terminal {
            _guard: modes.map(|modes| {
                Guard::new(move || {
                    let _ = tcsetattr(io::stdin(), OptionalActions::Now, &modes);
                })
            }),
        }
    }
}
