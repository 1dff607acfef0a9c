#![allow(clippy::unwrap_used)]

use super::*;
use crate::fs::ext4::Need;
use crate::model::size::{MIB, Size};
use crate::model::{BootEntryKind, DiskSize, TableKind};
use crate::recipe::Recipe;

fn outline(recipe: &Recipe) -> Result<Outline, Report> {
    Outline::decide(&MachineFacts {
        name: "box",
        arch: Arch::Amd64,
        recipe,
        digest: [7; 32],
        container: &ContainerFacts::default(),
    })
}

fn facts(outline: &Outline) -> Facts {
    let file = |path: &str, len| BootFile {
        path: path.into(),
        link: None,
        len,
    };
    let kernels = [Kernel {
        machine: None,
        version: "6.12.1".into(),
        linux: file("/boot/vmlinuz-6.12.1", 12 * MIB),
        initrd: file("/boot/initrd.img-6.12.1", 30 * MIB),
    }];
    Facts {
        epoch: 1_700_000_000,
        entries: outline.entries("Box 1", &kernels),
        kernel_bytes: vec![42 * MIB],
        systemd_boot_bytes: 120_000,
        stub_bytes: 92_160,
        os_release: Some("/usr/lib/os-release".into()),
        need: Need {
            blocks: 100_000,
            inodes: 12_000,
            content: 390_000_000,
        },
    }
}

fn plan(boot: BootMode, change: impl FnOnce(&mut Recipe)) -> Result<Plan, Report> {
    let mut recipe = Recipe {
        boot,
        kernel_arguments: vec!["quiet".into()],
        ..Recipe::default()
    };
    change(&mut recipe);
    let outline = outline(&recipe)?;
    Plan::decide(&outline, &recipe, facts(&outline))
}

/// The whole plan as text: any changed decision shows up here.
#[test]
fn plans_are_as_they_were() {
    for (name, boot) in [
        ("bios", BootMode::Bios),
        ("uefi", BootMode::Uefi),
        ("hybrid", BootMode::Hybrid),
    ] {
        insta::assert_json_snapshot!(name, plan(boot, |_| {}).unwrap());
    }
}

#[test]
fn a_size_that_is_too_small_names_both() {
    let e = plan(BootMode::Bios, |r| {
        r.size = DiskSize::Fixed(Size(200 * MIB));
    })
    .unwrap_err();
    assert_eq!(e.class, crate::error::Class::Mistake);
    assert!(e.message.contains("200 MiB"), "{e}");
    assert!(e.message.contains("at least 4"), "{e}");
}

#[test]
fn a_fixed_size_is_the_size_of_the_disk() {
    for boot in [BootMode::Bios, BootMode::Uefi, BootMode::Hybrid] {
        let p = plan(boot, |r| r.size = DiskSize::Fixed(Size(2048 * MIB - 5))).unwrap();
        assert_eq!(p.disk.size, 2048 * MIB, "{boot:?}");
    }
}

#[test]
fn what_an_architecture_cannot_boot_is_refused() {
    let recipe = Recipe {
        boot: BootMode::Bios,
        ..Recipe::default()
    };
    let arm = MachineFacts {
        name: "box",
        arch: Arch::Arm64,
        recipe: &recipe,
        digest: [7; 32],
        container: &ContainerFacts::default(),
    };
    let e = Outline::decide(&arm).unwrap_err();
    assert!(e.message.contains("no BIOS"), "{e}");
    let e = plan(BootMode::Uefi, |r| r.table = Some(TableKind::Mbr)).unwrap_err();
    assert!(e.message.contains("MBR"), "{e}");
    let hybrid = plan(BootMode::Hybrid, |r| r.table = Some(TableKind::Mbr)).unwrap();
    assert!(matches!(hybrid.disk.table, Table::Mbr { .. }));
}

#[test]
fn a_unified_kernel_image_takes_the_place_of_the_entries() {
    let uki = |boot| plan(boot, |r| r.boot_entry = BootEntryKind::Uki);
    let esp = uki(BootMode::Hybrid).unwrap().esp.unwrap();
    insta::assert_json_snapshot!("uki", esp);
    let recipe = Recipe {
        boot: BootMode::Bios,
        boot_entry: BootEntryKind::Uki,
        ..Recipe::default()
    };
    let e = check(Arch::Amd64, &recipe).unwrap_err();
    assert!(e.message.contains("only UEFI can start one"), "{e}");
    let recipe = Recipe {
        boot: BootMode::Uefi,
        ..recipe
    };
    let outline = outline(&recipe).unwrap();
    let nameless = Facts {
        os_release: None,
        ..facts(&outline)
    };
    let e = Plan::decide(&outline, &recipe, nameless).unwrap_err();
    assert!(e.message.contains("/etc/os-release"), "{e}");
}

#[test]
fn ids_are_stable_and_differ() {
    let a = Ids::new("box", Arch::Amd64, &[7; 32]);
    assert_eq!(a, Ids::new("box", Arch::Amd64, &[7; 32]));
    assert_eq!(a.root.to_string(), "1bc17efc-c7f6-5f2c-b2da-f125093a96b5");
    for other in [
        Ids::new("bux", Arch::Amd64, &[7; 32]),
        Ids::new("box", Arch::Arm64, &[7; 32]),
        Ids::new("box", Arch::Amd64, &[8; 32]),
    ] {
        assert_ne!(a.root, other.root);
        assert_ne!(a.signature, other.signature);
    }
}
