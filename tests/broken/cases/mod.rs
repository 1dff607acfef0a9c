//! What is broken, and what must be said about it.

mod files;
mod inits;
mod loaders;
mod roots;
mod tables;

pub use files::FILES;
pub use inits::INITS;
pub use loaders::LOADERS;
pub use roots::ROOTS;
pub use tables::TABLES;

use super::edit::Broken;

/// Which machines the finding is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum For {
    Bios,
    Uefi,
    All,
}

/// One thing that is broken.
pub struct Case {
    pub name: &'static str,
    /// Code and severity of the finding that must be there.
    pub code: &'static str,
    pub severity: &'static str,
    /// A part of its cause.
    pub cause: &'static str,
    pub firmware: For,
    pub edit: fn(&mut Broken),
}

const fn case(
    name: &'static str,
    code: &'static str,
    cause: &'static str,
    firmware: For,
    edit: fn(&mut Broken),
) -> Case {
    Case {
        name,
        code,
        severity: "error",
        cause,
        firmware,
        edit,
    }
}

const fn lesser(
    name: &'static str,
    code: &'static str,
    cause: &'static str,
    firmware: For,
    edit: fn(&mut Broken),
) -> Case {
    Case {
        severity: "warning",
        ..case(name, code, cause, firmware, edit)
    }
}

/// The only place of the disk where a sector begins so.
fn place_of(b: &Broken, start: &[u8]) -> u64 {
    let bytes = std::fs::read(&b.image).unwrap();
    let mut sectors = bytes.chunks(512).enumerate();
    let found = sectors.find(|(n, s)| (*n as u64) * 512 > b.root && s.starts_with(start));
    found.unwrap().0 as u64 * 512
}
