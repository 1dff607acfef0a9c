//! Whole machines: a root file system edited, planned and laid out, and its disk written to
//! nowhere.

use crate::{checked, parts, scratch, seeds, tars};
use docker_to_linux::bootloader::files::Loaders;
use docker_to_linux::build::{Assembly, MachineSpec};
use docker_to_linux::format::Sink;
use docker_to_linux::guest::Given;
use docker_to_linux::model::{Arch, BootMode};
use docker_to_linux::plan::ContainerFacts;
use docker_to_linux::recipe::{self};
use docker_to_linux::rootfs::Budget;
use docker_to_linux::rootfs::tar::Layers;
use std::io::{self, Cursor};

/// The parts: a recipe, the configuration of a container as JSON, and tars that are laid over a
/// small machine.
pub(crate) fn whole(switches: u8, data: &[u8]) {
    if let Some(assembly) = assembled(switches, data) {
        let _ = assembly.free();
        let mut sink = Nowhere(0);
        if assembly.write(&mut sink, &|_| ()).is_ok() {
            assert!(sink.0 <= assembly.plan.disk.size);
        }
    }
}

/// The machine, laid out.
pub(crate) fn assembled(switches: u8, data: &[u8]) -> Option<Assembly> {
    let all = parts::split(data);
    let text = String::from_utf8_lossy(all.first().copied().unwrap_or_default());
    let mut recipe = checked(recipe::parse(&text, "recipe.yaml"))?;
    recipe.boot = BootMode::Uefi;
    recipe.table = None;
    let config = serde_json::from_slice(all.get(1).copied().unwrap_or_default()).ok();
    let mut layers = Layers::new(&scratch(), &Budget::default()).ok()?;
    checked(layers.apply(Cursor::new(seeds::machine())))?;
    for part in all.iter().skip(2) {
        checked(layers.apply(Cursor::new(tars::mended(switches, part))))?;
    }
    let wanted = MachineSpec {
        name: "box".into(),
        arch: Arch::Amd64,
        recipe,
        given: Given::default(),
        container: ContainerFacts {
            given: config.is_some(),
            config,
            ..ContainerFacts::default()
        },
        kept: None,
    };
    let loaders = Loaders {
        bios: None,
        systemd_boot: Some(seeds::pe(0x8664).into()),
        stub: None,
    };
    checked(Assembly::new(layers.finish().ok()?, &wanted, &loaders))
}

/// Takes a disk and keeps how far it came.
struct Nowhere(u64);

impl Sink for Nowhere {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.zeros(offset, bytes.len() as u64)
    }

    fn zeros(&mut self, offset: u64, len: u64) -> io::Result<()> {
        assert!(offset >= self.0, "a disk is written in ascending order");
        self.0 = offset + len;
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}
