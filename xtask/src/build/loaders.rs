//! The boot loaders' files for a request.

use super::{Request, loaders_folder};
use crate::bootloader::files::Loaders;
use crate::bootloader::provide;
use crate::engine::Engine;
use crate::error::Report;
use crate::model::{Arch, BootMode};
use crate::progress::Progress;

/// Whether the boot loaders' files are available without an engine.
pub(super) fn at_hand(request: &Request, boot: BootMode, arch: Arch) -> bool {
    let dir = request.bootloader_dir.as_deref();
    provide::at_hand(boot, arch, dir, &loaders_folder())
}

/// Finds or fetches the boot loaders' files.
pub(super) fn get(
    request: &Request,
    boot: BootMode,
    arch: Arch,
    engine: Option<&Engine>,
    progress: &dyn Progress,
) -> Result<Loaders, Report> {
    provide::loaders(&provide::Wanted {
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
