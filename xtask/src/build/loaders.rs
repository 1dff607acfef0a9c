//! The boot loaders' files for a request.

use super::{Request, loaders_folder};
use crate::bootloader::files::{From, Loaders};
use crate::bootloader::provide;
use crate::engine::Engine;
use crate::error::Report;
use crate::model::{Arch, BootMode};
use crate::progress::Progress;
use crate::rootfs::Rootfs;

/// The engine, if one answers and the boot loaders' files are not available without it.
pub(super) fn engine(request: &Request, boot: BootMode, arch: Arch) -> Option<Engine> {
    let dir = request.bootloader_dir.as_deref();
    match provide::at_hand(boot, arch, dir, &loaders_folder()) {
        true => None,
        false => Engine::find(request.engine).ok(),
    }
}

/// Finds or fetches the boot loaders' files.
pub(super) fn get(
    request: &Request,
    boot: BootMode,
    arch: Arch,
    engine: Option<&Engine>,
    progress: &dyn Progress,
) -> Result<Loaders, Report> {
    place(request, boot, arch, engine, progress)?.load(boot, arch)
}

/// Finds or fetches them, and tells where they are.
pub(super) fn place(
    request: &Request,
    boot: BootMode,
    arch: Arch,
    engine: Option<&Engine>,
    progress: &dyn Progress,
) -> Result<From<'static>, Report> {
    provide::place(&provide::Wanted {
        boot,
        arch,
        dir: request.bootloader_dir.as_deref(),
        cache: &loaders_folder(),
        engine,
        network: request.network.as_deref(),
        say: &|text| progress.stage(text),
        show: &|line| progress.detail(line),
    })
}

/// The boot loaders' files that a machine brings along, unless the user names a folder with others.
pub(super) fn of_machine(
    machine: &Rootfs,
    request: &Request,
    boot: BootMode,
    arch: Arch,
) -> Result<Option<Loaders>, Report> {
    let from = From::Machine(machine);
    let usable = request.bootloader_dir.is_none() && from.missing(boot, arch).is_empty();
    usable.then(|| from.load(boot, arch)).transpose()
}
