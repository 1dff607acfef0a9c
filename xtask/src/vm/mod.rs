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
mod retry;
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

/// The prompt that ends a boot. Both agetty's and busybox's getty's end so.
pub const PROMPT: &str = "login: ";

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
