//! `--target`: an image for each platform, with the page that says how it is imported.

use crate::common::{self, Place, content, names, sums};
use docker_to_linux::deliver::manifest::Manifest;
use docker_to_linux::model::{Format, GIB, Size, Target};
use docker_to_linux::plan::targets::{ALL, Platform};
use docker_to_linux::tool::Tool;
use docker_to_linux::vm::ImageFormat;
use fs_err as fs;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

impl Place {
    /// Makes the image `box` for targets, with these options more.
    #[track_caller]
    fn for_targets(&self, targets: &str, more: &[&str]) -> String {
        content(&mut self.make(
            "box",
            "good",
            &[&["-q", "--target", targets], more].concat(),
        ))
    }

    /// What is said about a request that is refused before anything is written.
    #[track_caller]
    fn cannot_run(&self, recipe: &str, more: &[&str]) -> String {
        for verb in ["image", "plan"] {
            let mut command = self.make(recipe, "good", more);
            let out = match verb {
                "image" => command.output(),
                _ => command.arg("--plan").output(),
            };
            let out = out.unwrap();
            let said = common::said(&out);
            assert_eq!(out.status.code(), Some(2), "{said}");
            assert_eq!(said.lines().count(), 1, "{said}");
            assert_eq!(names(&self.out), [""; 0], "{said}");
            if verb == "plan" {
                return said;
            }
        }
        String::new()
    }

    fn box_manifest(&self) -> Manifest {
        Manifest::read(&self.out.join("box.manifest.json")).unwrap()
    }

    fn page(&self, target: Target) -> String {
        fs::read_to_string(self.out.join(target.page_name("box"))).unwrap()
    }
}

/// e2fsck finds nothing wrong in the file system in `file`.
fn check_ext4(file: &camino::Utf8Path) {
    if let Some(mut e2fsck) = common::checker(Tool::E2fsck) {
        content(e2fsck.arg("-fn").arg(file));
    }
}

/// Asks qemu-img whether `file` is in `format` and holds a disk of `size` bytes. Archives are for tar,
/// and a file system for e2fsck.
fn check_format(file: &camino::Utf8Path, format: Format, size: u64) {
    if format == Format::Rootfs {
        return check_ext4(file);
    }
    let Some(qemu) = ImageFormat::written(format) else {
        let list = content(Command::new("tar").arg("-tf").arg(file));
        let first = match format {
            Format::Gcp => "disk.raw",
            _ => "box.ovf",
        };
        assert_eq!(list.lines().next(), Some(first), "{list}");
        return;
    };
    let Some(mut checker) = common::checker(Tool::QemuImg) else {
        return;
    };
    let info = content(
        checker
            .args(["info", "--output=json", "-f", qemu.name()])
            .arg(file),
    );
    let info: serde_json::Value = serde_json::from_str(&info).unwrap();
    assert_eq!(info["format"], qemu.name(), "{info}");
    assert_eq!(info["virtual-size"], size, "{info}");
}

#[test]
fn every_target_makes_an_image_with_its_page() {
    let Some(p) = Place::new() else { return };
    for row in ALL {
        let target = row.target;
        let format = row.formats[0];
        let file = format.file_name("box");
        let printed = p.for_targets(target.name(), &[]);
        assert_eq!(printed, format!("out/{file}\n"));
        let page = target.page_name("box");
        let mut wanted = vec![
            "SHA256SUMS",
            "box.manifest.json",
            "box.spdx.json",
            &file,
            &page,
        ];
        if format == Format::Rootfs {
            wanted.extend(["box.initrd", "box.vmlinuz"]);
        }
        wanted.sort_unstable();
        assert_eq!(names(&p.out), wanted, "{target}");
        content(&mut p.xtask(&["-q", "verify", "out"]));

        let manifest = p.box_manifest();
        assert_eq!(manifest.targets, [target]);
        let size = manifest.disk.size;
        assert!(
            size.is_multiple_of(format.unit()) && size >= row.least,
            "{target}: {size}"
        );
        let [artifact] = &manifest.artifacts[..] else {
            panic!("{target}: {:?}", manifest.artifacts)
        };
        assert_eq!(artifact.format, format);
        check_format(&p.out.join(&file), format, size);
        for entry in &manifest.boot_entries {
            for argument in row.kernel_arguments {
                let mut given = entry.arguments.split(' ');
                assert!(
                    given.any(|a| a == *argument),
                    "{target}: {}",
                    entry.arguments
                );
            }
        }
        // The page has the names and sizes of what is there.
        let text = p.page(target);
        let holds = match format {
            Format::Rootfs => "the root file system; `box.vmlinuz` and `box.initrd` are its kernel and its initrd (amd64)".to_owned(),
            _ => format!(
                "a disk of {} that boots with BIOS and UEFI (amd64)",
                Size(size)
            ),
        };
        let head = format!("`{file}` ({}) holds {holds}.", Size(artifact.size));
        assert!(text.contains(&head), "{text}");
        let commands: Vec<&str> = text.split("```").skip(1).step_by(2).collect();
        let rest = text.replacen(&head, "", 1);
        assert!(rest.contains(&file), "{text}");
        assert!(!commands.is_empty() || target == Target::Utm, "{text}");
        if format == Format::VhdFixed {
            let bytes = fs::metadata(p.out.join(&file)).unwrap().len();
            let option = format!("--upload-size-bytes {bytes} ");
            assert!(text.contains(&option), "{option}: {text}");
        }
        fs::remove_dir_all(&p.out).unwrap();
    }
}

#[test]
fn several_targets_share_files_and_are_reproducible() {
    let Some(p) = Place::new() else { return };
    let targets = "azure,azure-gen1,libvirt,proxmox";
    let printed = p.for_targets(targets, &[]);
    assert_eq!(printed, "out/box.fixed.vhd\nout/box.qcow2\n");
    let first = sums(&p.out);
    let listed = fs::read_to_string(p.out.join("SHA256SUMS")).unwrap();
    for target in targets.split(',') {
        assert!(listed.contains(&format!("  box.{target}.md\n")), "{listed}");
    }
    fs::remove_dir_all(&p.out).unwrap();
    p.for_targets(targets, &[]);
    assert_eq!(sums(&p.out), first);
    // Formats of one's own, from which each target takes what it imports.
    p.for_targets("aws,proxmox", &["--format", "raw,vdi"]);
    assert!(p.page(Target::Aws).contains("S3Key=box.img"));
    assert!(
        p.page(Target::Proxmox)
            .contains("import-from=/root/box.img")
    );
    // The pages of the earlier image do not stay and lie.
    let pages = |p: &Place| -> Vec<String> {
        let all = names(&p.out).into_iter();
        all.filter(|name| name.ends_with(".md")).collect()
    };
    assert_eq!(pages(&p), ["box.aws.md", "box.proxmox.md"]);
    content(&mut p.xtask(&["-q", "verify", "out"]));
    // `convert` keeps them, and what it writes elsewhere does without.
    content(&mut p.xtask(&["-q", "convert", "out/box.img", "--format", "qcow2"]));
    content(&mut p.xtask(&[
        "-q",
        "convert",
        "out/box.img",
        "--format",
        "vdi",
        "--output",
        "other",
    ]));
    for folder in ["out", "other"] {
        content(&mut p.xtask(&["-q", "verify", folder]));
    }
    assert_eq!(pages(&p), ["box.aws.md", "box.proxmox.md"]);
    p.for_targets("aws", &["--no-metadata"]);
    assert_eq!(pages(&p), [""; 0]);
}

#[test]
fn google_gets_the_disk_in_a_tar() {
    let Some(p) = Place::new() else { return };
    p.for_targets("gcp", &["--format", "raw,gcp"]);
    let packed = p.out.join("box.gcp.tar.gz");
    content(
        Command::new("tar")
            .arg("-xSf")
            .arg(&packed)
            .current_dir(&p.tmp),
    );
    assert_eq!(names(&p.tmp), ["disk.raw"]);
    let disk = p.tmp.join("disk.raw");
    assert_eq!(fs::metadata(&disk).unwrap().len(), GIB);
    content(Command::new("cmp").arg(&disk).arg(p.out.join("box.img")));
    // The magic of the old GNU format.
    let script = "gzip -dc box.gcp.tar.gz | dd bs=1 skip=257 count=8 status=none";
    let magic = content(Command::new("sh").args(["-c", script]).current_dir(&p.out));
    assert_eq!(magic, "ustar  \0");
    // `inspect` finds the same in both, but for the name of the format.
    let look = |file: &str| -> serde_json::Value {
        let out = p
            .xtask(&["-q", "inspect", "--json", file])
            .output()
            .unwrap();
        serde_json::from_slice(&out.stdout).unwrap()
    };
    let (raw, tar) = (look("out/box.img"), look("out/box.gcp.tar.gz"));
    assert!(raw["partitions"].is_array(), "{raw}");
    assert_eq!(raw["partitions"], tar["partitions"]);
    // A size of one's own is rounded up, and a raw image that is not whole GiB is refused.
    p.for_targets("gcp", &["--size", "1100M"]);
    assert_eq!(p.box_manifest().disk.size, 2 * GIB);
    p.for_targets("usb", &[]);
    let out = p
        .xtask(&["-q", "convert", "out/box.img", "--format", "gcp"])
        .output()
        .unwrap();
    let said = common::said(&out);
    assert!(
        !out.status.success() && said.contains("whole GiB only"),
        "{said}"
    );
}

/// The root file system alone is the partition of the disk, byte for byte, whoever writes it and
/// however it is compressed; kernel and initrd are those in it, and go when they are out of date.
#[test]
fn the_root_file_system_alone() {
    let Some(p) = Place::new() else { return };
    p.for_targets("qemu-microvm", &["--format", "raw,rootfs"]);
    let manifest = p.box_manifest();
    let partitions = &manifest.disk.partitions;
    let root = partitions.iter().find(|p| p.role == "root").unwrap();
    let alone = p.out.join("box.rootfs.ext4");
    assert_eq!(fs::metadata(&alone).unwrap().len(), root.size);
    let skip = format!("--ignore-initial={}:0", root.offset);
    let bytes = format!("--bytes={}", root.size);
    content(
        Command::new("cmp")
            .args([skip, bytes])
            .arg(p.out.join("box.img"))
            .arg(&alone),
    );
    check_ext4(&alone);
    let entry = &manifest.boot_entries[0];
    for (file, at) in [("box.vmlinuz", &entry.linux), ("box.initrd", &entry.initrd)] {
        let wanted = common::machine();
        let wanted = wanted.iter().find(|e| format!("/{}", e.path) == *at);
        let common::Kind::File(wanted) = &wanted.unwrap().kind else {
            panic!("{at} is no file")
        };
        assert!(fs::read(p.out.join(file)).unwrap() == *wanted, "{file}");
    }
    let listed = fs::read_to_string(p.out.join("SHA256SUMS")).unwrap();
    assert!(listed.contains("  box.vmlinuz\n") && listed.contains("  box.initrd\n"));
    let sum = common::sha256(&alone);
    // The same from the raw image, and through a compressor.
    content(&mut p.xtask(&[
        "-q",
        "convert",
        "out/box.img",
        "--format",
        "rootfs",
        "--output",
        "other",
    ]));
    assert_eq!(common::sha256(&p.dir.join("other/box.rootfs.ext4")), sum);
    p.for_targets("qemu-microvm", &["--compress", "gzip"]);
    content(
        Command::new("gzip")
            .args(["-d", "-k", "-f"])
            .arg(p.out.join("box.rootfs.ext4.gz")),
    );
    assert_eq!(common::sha256(&alone), sum);
    // A disk without a partition table has no partition for it.
    let out = p
        .xtask(&["-q", "convert", "out/box.rootfs.ext4", "--format", "rootfs"])
        .output()
        .unwrap();
    let said = common::said(&out);
    assert!(
        !out.status.success() && said.contains("cannot be written alone"),
        "{said}"
    );
    p.for_targets("usb", &[]);
    let left = names(&p.out);
    assert!(
        !left.iter().any(|n| n == "box.vmlinuz" || n == "box.initrd"),
        "{left:?}"
    );
}

#[test]
fn a_missing_page_is_found() {
    let Some(p) = Place::new() else { return };
    p.for_targets("usb", &[]);
    fs::remove_file(p.out.join("box.usb.md")).unwrap();
    let out = p.xtask(&["-q", "verify", "out"]).output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    let said = common::said(&out);
    assert!(said.contains("box.usb.md is missing"), "{said}");
}

#[test]
fn a_page_tells_how_to_unpack() {
    let Some(p) = Place::new() else { return };
    p.for_targets("usb", &["--compress", "xz", "--split", "1M"]);
    let text = p.page(Target::Usb);
    let commands = "```sh\nsh box.img.xz.join.sh\nxz -d -k box.img.xz\n```";
    assert!(text.contains(commands), "{text}");
    assert!(text.contains("if=box.img "), "{text}");
    // They do.
    let script = "sh box.img.xz.join.sh && xz -d -k box.img.xz";
    content(Command::new("sh").args(["-c", script]).current_dir(&p.out));
    let size = fs::metadata(p.out.join("box.img")).unwrap().len();
    assert_eq!(size, p.box_manifest().disk.size);
}

#[test]
fn what_a_target_cannot_run_is_refused_in_one_line() {
    let Some(p) = Place::new() else { return };
    p.recipe("arm", "architectures: [arm64]\n");
    p.recipe("stored", "named-volumes: ['data:/srv/data']\n");
    p.recipe("gen2", "boot: bios\ntargets: [azure]\n");
    for (recipe, options, words) in [
        (
            "arm",
            "--target virtualbox",
            "the target virtualbox does not support arm64",
        ),
        (
            "arm",
            "--target azure-gen1",
            "the target azure-gen1 does not support arm64",
        ),
        (
            "box",
            "--target azure --boot bios",
            "azure does not support the boot mode bios",
        ),
        ("gen2", "", "azure does not support the boot mode bios"),
        (
            "box",
            "--target hyperv-gen1 --boot uefi",
            "hyperv-gen1 does not support the boot mode uefi",
        ),
        (
            "box",
            "--target azure --format qcow2",
            "azure imports vhd-fixed, but the image would be written as qcow2",
        ),
        ("box", "--target aws,aws", "the target aws is given twice"),
        (
            "box",
            "--target aws --name ab",
            "Amazon EC2 refuses the name \"ab\"",
        ),
        (
            "box",
            "--target proxmox --name my_box",
            "Proxmox VE refuses the name \"my_box\"",
        ),
        (
            "box",
            "--target gcp --name my_box",
            "Google Cloud refuses the name \"my_box\"",
        ),
        (
            "arm",
            "--target qemu-microvm",
            "the target qemu-microvm does not support arm64",
        ),
        ("box", "--target azure --size 19M", "needs at least 20 MiB"),
        ("box", "--target azure --size 3T", "needs at most 2040 GiB"),
        (
            "box",
            "--target digitalocean --size 200G",
            "needs at most 100 GiB",
        ),
        (
            "box",
            "--target aws --table mbr --size 3T",
            "an MBR can address at most 2 TiB",
        ),
        (
            "box",
            "--target qemu --boot uefi --sector-size 4096",
            "sectors of 4096 bytes",
        ),
        ("box", "--target azzure", "'azure'"),
    ] {
        let options: Vec<&str> = options.split_whitespace().collect();
        let said = p.cannot_run(recipe, &options);
        assert!(said.contains(words), "{options:?}: {said}");
    }
    // What the volumes are is only known once the container is read.
    let mut plan = p.make("stored", "good", &["--plan", "--target", "qemu-microvm"]);
    let out = plan.output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{said}");
    assert!(
        said.contains("the format rootfs has the root file system only"),
        "{said}"
    );
}

#[test]
fn flags_win_over_the_recipe() {
    let Some(p) = Place::new() else { return };
    p.recipe(
        "box",
        "root: {free: 16M}\ntargets: [azure, virtualbox]\nformats: [raw]\n",
    );
    let plan = |more: &[&str]| -> serde_json::Value {
        let more = [&["-q", "--plan"], more].concat();
        serde_json::from_str(&content(&mut p.make("box", "good", &more))).unwrap()
    };
    let own = plan(&[]);
    assert_eq!(own["targets"], serde_json::json!(["azure", "virtualbox"]));
    assert_eq!(own["formats"], serde_json::json!(["vhd-fixed", "ova"]));
    let other = plan(&["--target", "usb"]);
    assert_eq!(other["targets"], serde_json::json!(["usb"]));
    assert_eq!(other["formats"], serde_json::json!(["raw"]));
    // The disk stays that of the recipe's targets; only pages that would lie are left out.
    let raw = plan(&["--format", "raw"]);
    assert_eq!(raw["targets"], serde_json::Value::Null);
    assert_eq!(raw["formats"], serde_json::json!(["raw"]));
    assert_eq!(raw["entries"], own["entries"]);
    assert_eq!(raw["disk"], own["disk"]);
    assert_eq!(
        plan(&["--format", "vdi"])["targets"],
        serde_json::json!(["virtualbox"])
    );
    p.recipe("box", "targets: [moon]\n");
    let said = p.cannot_run("box", &[]);
    assert!(said.contains("recipe.yaml:1:"), "{said}");
    assert!(said.contains("moon"), "{said}");
}

#[test]
fn the_table_is_printed_and_documented() {
    let printed = content(common::xtask().args(["-q", "targets"]));
    let lines: Vec<&str> = printed.lines().skip(1).collect();
    assert_eq!(lines.len(), ALL.len(), "{printed}");
    let json = content(common::xtask().args(["-q", "targets", "--json"]));
    let json: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
    let docs = docker_to_linux::recipe::home().join(".github/docs/targets.md");
    let docs = fs::read_to_string(docs).unwrap();
    let rows: Vec<&str> = docs.lines().filter(|l| l.starts_with("| `")).collect();
    assert_eq!(rows.len(), ALL.len(), "{rows:#?}");
    for (n, row) in ALL.iter().enumerate() {
        let name = row.target.name();
        let first = lines[n].split_whitespace().next();
        assert_eq!(first, Some(name), "{}", lines[n]);
        assert_eq!(json[n]["target"], name);
        let cells: Vec<&str> = rows[n].split('|').map(str::trim).collect();
        assert_eq!(cells[1], format!("`{name}`"));
        let formats: Vec<String> = row
            .formats
            .iter()
            .map(|f| format!("`{}`", f.name()))
            .collect();
        let written = match &formats[..] {
            [only] => only.clone(),
            [first, others @ ..] => format!("{first}, or {}", others.join(", ")),
            [] => String::new(),
        };
        assert!(
            cells[2].starts_with(&written),
            "{name}: {} is not {written}",
            cells[2]
        );
        assert!(
            cells.len() == 7 && cells[3..6].iter().all(|c| c.len() > 4),
            "{cells:?}"
        );
    }
    assert_eq!(Platform::of(Target::Aws).target, Target::Aws);
}

/// The command on the page of an image starts it, in this QEMU, as far as the prompt.
#[test]
#[ignore = "boots a machine, which takes minutes without KVM"]
fn a_microvm_starts_by_the_command_of_its_page() {
    if common::machine::container("alpine").is_none() {
        return;
    }
    let (_keep, dir) = common::temp();
    content(common::xtask().args([
        "-q",
        "image",
        "alpine",
        "--target",
        "qemu-microvm",
        "--output",
        dir.as_str(),
    ]));
    let page = fs::read_to_string(dir.join("alpine.qemu-microvm.md")).unwrap();
    let command = page.split("```").nth(1).unwrap();
    let command = command.strip_prefix("sh\n").unwrap();
    // As the page says, for a machine without KVM.
    let command = command.replace("-append '", "-append 'tsc_early_khz=1000000 ");
    // `exec`, so that what is ended is QEMU.
    let mut child = Command::new("sh")
        .args(["-c", &format!("exec {command}")])
        .current_dir(&dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut serial = child.stdout.take().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut seen = String::new();
        let mut buf = [0; 4096];
        while let Ok(n @ 1..) = serial.read(&mut buf) {
            seen.push_str(&String::from_utf8_lossy(&buf[..n]));
            let _ = tell.send(seen.clone());
        }
    });
    let end = Instant::now() + Duration::from_secs(300);
    let mut seen = String::new();
    while !seen.contains("alpine login:") {
        match told.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(all) => seen = all,
            Err(_) => break,
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(seen.contains("alpine login:"), "{seen}");
    // The root is the bare file system, and the firmware is none that a PC has.
    assert!(!seen.contains("SeaBIOS"), "{seen}");
}
