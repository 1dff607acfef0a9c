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
        volumes: outline.volumes.as_ref().map(|_| VolumesFacts {
            need: Need {
                blocks: 2_000,
                inodes: 40,
                content: 7_000_000,
            },
            kept: None,
        }),
    }
}

/// A change of a recipe: one volume.
fn with_volume(recipe: &mut Recipe) {
    recipe.named_volumes = vec!["data:/srv/data".parse().unwrap()];
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
fn volumes_have_the_last_partition() {
    for boot in [BootMode::Bios, BootMode::Uefi, BootMode::Hybrid] {
        let without = plan(boot, |_| {}).unwrap();
        let with = plan(boot, with_volume).unwrap();
        let volumes = with.disk.volumes().unwrap();
        // The others stay what they are.
        let others = &with.disk.partitions[..with.disk.partitions.len() - 1];
        assert_eq!(without.disk.partitions, others, "{boot:?}");
        assert_eq!(with.root, without.root, "{boot:?}");
        assert_eq!(with.disk.size, without.disk.size + volumes.len);
        assert_eq!(volumes.start, with.disk.root().start + with.disk.root().len);
        // 256 MiB are free.
        assert!(volumes.len > 256 * MIB && volumes.len < 300 * MIB);
    }
    let p = plan(BootMode::Hybrid, with_volume).unwrap();
    insta::assert_json_snapshot!("volumes", (&p.volumes, p.disk.volumes()));
}

#[test]
fn sizes_of_disk_and_volumes_are_kept() {
    let sizes = |disk: Option<u64>, volumes: Option<u64>| {
        let fixed = |mib: Option<u64>| match mib {
            Some(mib) => DiskSize::Fixed(Size(mib * MIB)),
            None => DiskSize::Auto,
        };
        let p = plan(BootMode::Hybrid, |r| {
            with_volume(r);
            (r.size, r.volumes_size) = (fixed(disk), fixed(volumes));
        })?;
        let mib = |bytes: u64| bytes / MIB;
        let volumes = p.disk.volumes().unwrap().len;
        Ok((mib(p.disk.size), mib(p.disk.root().len), mib(volumes)))
    };
    let usual = plan(BootMode::Hybrid, |_| {}).unwrap();
    let (usual, around) = (
        usual.disk.root().len / MIB,
        (usual.disk.size - usual.disk.root().len) / MIB,
    );
    let ok = |result: Result<(u64, u64, u64), Report>| result.unwrap();
    assert_eq!(
        ok(sizes(None, Some(100))),
        (around + usual + 100, usual, 100)
    );
    // The rest is for the volumes.
    assert_eq!(
        ok(sizes(Some(9000), None)),
        (9000, usual, 9000 - around - usual)
    );
    // The rest is for the root.
    assert_eq!(
        ok(sizes(Some(9000), Some(100))),
        (9000, 9000 - around - 100, 100)
    );
    // There is less than either wants.
    let tight = around + usual - 100;
    let (size, root, volumes) = ok(sizes(Some(tight), None));
    assert!(size == tight && root < usual && volumes < 40, "{volumes}");
    for (disk, volumes, word) in [
        (Some(400), None, "too small for the root file system"),
        (Some(900), Some(800), "too small for the root file system"),
        (None, Some(2), "too small for what the image has in them"),
        (None, Some(200 << 20), "at most 128 TiB"),
        (Some(200 << 20), None, "at most 128 TiB"),
    ] {
        let e = sizes(disk, volumes).unwrap_err();
        assert_eq!(e.class, crate::error::Class::Mistake);
        assert!(e.message.contains(word), "{disk:?} {volumes:?}: {e}");
    }
    // An MBR ends sooner.
    let e = plan(BootMode::Bios, |r| {
        with_volume(r);
        r.volumes_size = DiskSize::Fixed(Size(3 << 40));
    });
    assert!(e.unwrap_err().message.contains("2 TiB"));
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
    // A new system finds the volumes of the old one; another machine's are others.
    let new = Ids::new("box", Arch::Amd64, &[8; 32]);
    assert_eq!(a.volumes, new.volumes);
    assert_eq!(a.volumes_partition, new.volumes_partition);
    assert_eq!(
        a.volumes.to_string(),
        "ab12ab0d-ccac-5c47-a94a-ff5546637386"
    );
    for other in [("bux", Arch::Amd64), ("box", Arch::Arm64)] {
        let other = Ids::new(other.0, other.1, &[7; 32]);
        assert_ne!(a.volumes, other.volumes);
        assert_ne!(a.volumes_partition, other.volumes_partition);
    }
}
