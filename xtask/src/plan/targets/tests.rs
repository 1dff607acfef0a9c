#![allow(clippy::unwrap_used)]

use super::*;
use crate::model::{Packing, TableKind};

fn recipe(targets: &[Target]) -> Recipe {
    let mut recipe = Recipe {
        targets: targets.to_vec(),
        ..Recipe::default()
    };
    complete(&mut recipe, FormatsBy::Recipe);
    recipe
}

fn checked(recipe: &Recipe, arch: Arch) -> Result<(), String> {
    let boot = crate::plan::boot_mode(arch, recipe).unwrap();
    check("box", arch, boot, recipe)
        .map_err(|e| format!("{e}; {}", e.hint.clone().unwrap_or_default()))
}

/// The page about a hybrid (or, for arm64, UEFI) image with a disk of 640 MiB.
fn page_of(row: &Platform, arch: Arch, boot: BootMode, format: Format) -> String {
    let name = format.file_name("box");
    let file = ImageFile {
        format,
        name: &name,
        size: 123 * MIB,
        packing: None,
        join: None,
    };
    let disk = 640 * MIB;
    page(
        row,
        &Imported {
            name: "box",
            disk,
            boot,
            arch,
            arguments: "root=UUID=1 ro",
            kernel: "box.vmlinuz".into(),
            initrd: "box.initrd".into(),
            file,
        },
    )
}

/// The boot modes that a platform can start.
fn modes(row: &Platform, arch: Arch) -> Vec<BootMode> {
    let all = [BootMode::Bios, BootMode::Uefi, BootMode::Hybrid];
    let fits = |boot: &BootMode| match (row.firmware, boot) {
        (_, BootMode::Bios | BootMode::Hybrid) if arch == Arch::Arm64 => false,
        (BootMode::Bios, BootMode::Uefi) | (BootMode::Uefi, BootMode::Bios) => false,
        _ => true,
    };
    all.into_iter().filter(fits).collect()
}

#[test]
fn every_target_has_one_row_in_the_order_of_the_list() {
    let rows: Vec<Target> = ALL.iter().map(|row| row.target).collect();
    assert_eq!(rows, Target::ALL);
    for target in Target::ALL {
        assert_eq!(Platform::of(target).target, target);
    }
}

#[test]
fn every_row_can_be_made() {
    for row in ALL {
        let target = row.target;
        assert!(!row.formats.is_empty() && !row.archs.is_empty(), "{target}");
        assert!(row.least < row.most, "{target}");
        // ARM machines have no BIOS.
        let only_bios = row.firmware == BootMode::Bios;
        assert!(!(only_bios && row.archs.contains(&Arch::Arm64)), "{target}");
        let names = row.names.as_ref();
        assert!(names.is_none_or(|names| (names.fits)("box")), "{target}");
        let recipe = recipe(&[target]);
        assert_eq!(recipe.formats, [row.formats[0]], "{target}");
        for arch in row.archs {
            checked(&recipe, *arch).unwrap();
        }
        // A VHD of more than 2040 GiB cannot be written (format::vhd).
        if row.formats[0].extension().ends_with("vhd") {
            assert!(row.most <= 2040 << 30, "{target}");
        }
    }
}

/// Every page, for every image that the platform imports: no word is left, every command line that
/// goes on has a next line, and the page names the file.
#[test]
fn pages_are_complete() {
    for row in ALL {
        for (arch, format) in row
            .archs
            .iter()
            .flat_map(|a| row.formats.iter().map(move |f| (*a, *f)))
        {
            for boot in modes(row, arch) {
                let text = page_of(row, arch, boot, format);
                let what = format!("{} {arch} {boot:?} {format:?}:\n{text}", row.target);
                let rest = text.replace("user@", "");
                let words = [
                    "@name",
                    "@file",
                    "@format",
                    "@disk",
                    "@vhd",
                    "@machine",
                    "@arch",
                    "@kernel",
                    "@initrd",
                    "@arguments",
                ];
                assert!(words.iter().all(|word| !rest.contains(word)), "{what}");
                assert!(!text.contains("\n%"), "{what}");
                assert!(text.contains(&format.file_name("box")), "{what}");
                let size = match format {
                    Format::Rootfs => "123 MiB",
                    _ => "640 MiB",
                };
                assert!(text.contains(size), "{what}");
                let fences = text.lines().filter(|l| l.starts_with("```")).count();
                assert!(fences % 2 == 0, "{what}");
                assert!(text.contains("box"), "{what}");
                for block in text.split("```").skip(1).step_by(2) {
                    assert!(!block.trim_end().ends_with('\\'), "{what}");
                    let blank = |line: &str| line.trim().is_empty();
                    let commands: Vec<&str> = block.lines().skip(1).collect();
                    assert!(
                        !commands.is_empty() && !commands.iter().any(|l| blank(l)),
                        "{what}"
                    );
                    for pair in commands.windows(2) {
                        let goes_on = pair[0].ends_with('\\');
                        assert_eq!(goes_on, pair[1].starts_with("  "), "{what}");
                    }
                }
                assert!(!text.contains("\n\n\n") && !text.contains("  \n"), "{what}");
            }
        }
    }
}

#[test]
fn pages_say_what_the_image_needs() {
    let page = |target, boot, format| page_of(Platform::of(target), Arch::Amd64, boot, format);
    let azure = page(Target::Azure, BootMode::Hybrid, Format::VhdFixed);
    // 640 MiB and the footer.
    assert!(azure.contains("--upload-size-bytes 671089152"), "{azure}");
    assert!(azure.contains("--hyper-v-generation V2"), "{azure}");
    let gen1 = page(Target::AzureGen1, BootMode::Bios, Format::VhdFixed);
    assert!(gen1.contains("--hyper-v-generation V1"), "{gen1}");
    for (boot, mode) in [
        (BootMode::Bios, "legacy-bios"),
        (BootMode::Uefi, "uefi"),
        (BootMode::Hybrid, "uefi-preferred"),
    ] {
        let aws = page(Target::Aws, boot, Format::Raw);
        assert!(aws.contains(&format!("--boot-mode {mode} \\\n")), "{aws}");
        assert!(
            aws.contains("S3Key=box.img") && aws.contains("VolumeSize=1,"),
            "{aws}"
        );
    }
    let ova = page(Target::Virtualbox, BootMode::Uefi, Format::Ova);
    assert!(
        ova.contains("import box.ova") && ova.contains("--firmware efi"),
        "{ova}"
    );
    let vdi = page(Target::Virtualbox, BootMode::Bios, Format::Vdi);
    assert!(
        vdi.contains("--medium box.vdi") && !vdi.contains("efi"),
        "{vdi}"
    );
}

#[test]
fn a_page_begins_with_unpacking() {
    let file = ImageFile {
        format: Format::Raw,
        name: "box.img.zst",
        size: MIB,
        packing: Some(Packing::Zstd),
        join: Some("box.img.zst.join.sh".into()),
    };
    let image = Imported {
        name: "box",
        disk: 640 * MIB,
        boot: BootMode::Uefi,
        arch: Arch::Amd64,
        arguments: "",
        kernel: String::new(),
        initrd: String::new(),
        file,
    };
    let text = page(Platform::of(Target::Usb), &image);
    let unpack = "```sh\nsh box.img.zst.join.sh\nzstd -d -k box.img.zst\n```";
    assert!(text.contains(unpack), "{text}");
    assert!(text.contains("if=box.img of="), "{text}");
}

#[test]
fn formats_are_those_of_the_targets() {
    let both = recipe(&[Target::Azure, Target::AzureGen1, Target::Qemu]);
    assert_eq!(both.formats, [Format::VhdFixed, Format::Qcow2]);
    assert_eq!(both.kernel_arguments, ["rootdelay=300"]);
    // Each has its usual format, in any order.
    let usual = [Format::Raw, Format::Qcow2];
    assert_eq!(recipe(&[Target::Aws, Target::Proxmox]).formats, usual);
    let turned = recipe(&[Target::Proxmox, Target::Aws]);
    assert_eq!(turned.formats, [Format::Qcow2, Format::Raw]);
    let again = |recipe: &Recipe| {
        let mut again = recipe.clone();
        complete(&mut again, FormatsBy::Recipe);
        again
    };
    assert_eq!(again(&both), both);
    assert_eq!(again(&turned), turned);
    // More formats, one of which suits the target, and an argument of the user's own.
    let mut more = Recipe {
        targets: vec![Target::Azure, Target::Virtualbox],
        formats: vec![Format::Raw, Format::Vdi],
        kernel_arguments: vec!["rootdelay=5".into()],
        ..Recipe::default()
    };
    complete(&mut more, FormatsBy::Recipe);
    assert_eq!(more.formats, [Format::Raw, Format::Vdi, Format::VhdFixed]);
    assert_eq!(more.kernel_arguments, ["rootdelay=5"]);
    assert_eq!(again(&more), more);
    complete(&mut more, FormatsBy::Targets);
    assert_eq!(more.formats, [Format::VhdFixed, Format::Ova]);
    assert_eq!(recipe(&[]), Recipe::default());
}

#[test]
fn what_cannot_be_imported_is_refused() {
    let wrong = |target, change: fn(&mut Recipe)| {
        let mut recipe = recipe(&[target]);
        change(&mut recipe);
        checked(&recipe, Arch::Amd64).unwrap_err()
    };
    let bios = wrong(Target::Azure, |r| r.boot = BootMode::Bios);
    assert!(
        bios.contains("azure does not support the boot mode bios"),
        "{bios}"
    );
    assert!(bios.contains("or the target azure-gen1"), "{bios}");
    let uefi = wrong(Target::HypervGen1, |r| r.boot = BootMode::Uefi);
    assert!(
        uefi.contains("hyperv-gen1 does not support the boot mode uefi"),
        "{uefi}"
    );
    let format = wrong(Target::Vultr, |r| r.formats = vec![Format::Qcow2]);
    assert!(
        format.contains("vultr imports raw, but the image would be written as qcow2"),
        "{format}"
    );
    let twice = wrong(Target::Usb, |r| r.targets.push(Target::Usb));
    assert!(twice.contains("the target usb is given twice"), "{twice}");
    let sectors = wrong(Target::Qemu, |r| r.sector_size = SectorSize::B4096);
    assert!(sectors.contains("sectors of 4096 bytes"), "{sectors}");
    let small = wrong(Target::Azure, |r| r.size = DiskSize::Fixed(Size(19 * MIB)));
    assert!(
        small.contains(
            "a disk of 19 MiB does not fit the target azure, which needs at least 20 MiB"
        ),
        "{small}"
    );
    let large = wrong(Target::Digitalocean, |r| {
        r.size = DiskSize::Fixed(Size(101 << 30))
    });
    assert!(large.contains("at most 100 GiB"), "{large}");
    let arm = checked(&recipe(&[Target::Virtualbox]), Arch::Arm64).unwrap_err();
    assert!(arm.contains("virtualbox does not support arm64"), "{arm}");
    for (target, name) in [
        (Target::Gcp, "Box"),
        (Target::Gcp, "0box"),
        (Target::Aws, "ab"),
        (Target::Azure, "box-"),
        (Target::Proxmox, "my_box"),
    ] {
        let e = check(name, Arch::Amd64, BootMode::Hybrid, &recipe(&[target])).unwrap_err();
        assert!(
            e.message.contains(&format!("refuses the name {name:?}")),
            "{e}"
        );
    }
}

#[test]
fn a_disk_that_an_mbr_cannot_address_is_refused_before_the_build() {
    let recipe = Recipe {
        table: Some(TableKind::Mbr),
        size: DiskSize::Fixed(Size(3 << 40)),
        ..recipe(&[Target::Aws])
    };
    let e = crate::plan::check(Arch::Amd64, &recipe).unwrap_err();
    assert!(
        e.message.contains("an MBR can address at most 2 TiB"),
        "{e}"
    );
}
