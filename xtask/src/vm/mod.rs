//! Boots images in QEMU and watches them.
//!
//! [`interactive`] gives the console to the user; `smoke` tests images. Both use a [`Machine`] (the
//! configuration of QEMU, a pure value), [`accel`] (what works on this host), [`firmware`] (the
//! paths of UEFI firmware) and a running QEMU. [`Session`] is a running machine with its serial
//! console, and [`Login`] runs commands in the guest.
//!
//! [`trouble`] recognises the messages of a failing guest, so no test has to wait for its deadline
//! after e.g. a kernel panic. However this program ends, QEMU ends with it.

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
mod pulse;
mod qmp;
mod retry;
mod session;
pub mod stage;
mod still;
mod text_mode;
pub(crate) mod throwaway;
mod transcript;
pub mod trouble;

#[cfg(test)]
mod tests;

pub use console::Tee;
pub use image_format::ImageFormat;
pub use login::{Login, Output};
pub use machine::{Console, DiskBus, Display, Firmware, Forward, Machine, Network, Screen};
pub use pulse::Patience;
pub use retry::{ATTEMPTS, is_emulators_fault, retried};
pub use session::Session;

use crate::cleanup::Guard;
use crate::error::Report;
use crate::printable;
use crate::tool;
use camino::Utf8Path;
use child::{Child, Group};
use dir::Dir;
use rustix::termios::{OptionalActions, isatty, tcgetattr, tcsetattr};
use std::io::{self, Write};

/// The prompt that ends a boot, both for agetty and for busybox's getty.
pub const PROMPT: &str = "login: ";

/// Boots `image` with its serial console on the user's terminal, until the guest powers off or the
/// user quits with Ctrl-A X. Prints a short help to `out`.
///
/// The guest's output is not filtered: it needs its terminal for editors and menus.
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
    let what = format!("booting {image} with {}", machine.firmware);
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
        "booting {name} ({}, {}); Ctrl-A X quits, Ctrl-A H shows help",
        machine.firmware, choice.accel
    )
    .map_err(report)?;
    // QEMU puts the terminal into raw mode and restores it when it exits, but not if it is killed.
    // The user would then not see their input.
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

/// Restores the current terminal modes in every case, including signals.
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
