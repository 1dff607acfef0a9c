//! Whole machines.

use super::*;

#[test]
#[ignore = "boots a machine, which takes a minute without KVM"]
fn a_healthy_machine_and_a_command_that_fails_in_it() {
    let yaml = "smoke:\n  memory: 512\n  run: [\"grep -q Alpine /etc/os-release\", \"echo nothing here; exit 3\"]\n";
    let Some(disk) = Disk::of_recipe("alpine", "", yaml) else {
        return;
    };
    let said = disk.smoke_of(
        &disk.place.dir.join(disk.image.file_stem().unwrap()),
        &["--firmware", "bios"],
    );
    let outcome = said.outcome();
    assert_eq!(outcome["verdict"], "booted", "{outcome}");
    assert_eq!(
        outcome["failures"],
        serde_json::json!(["`echo nothing here; exit 3` failed with exit code 3"])
    );
    assert_eq!(said.code, Some(1));
    assert!(outcome["power-off-seconds"].is_f64(), "{outcome}");
    let stages = outcome["stages"].as_array().unwrap();
    let names: Vec<&str> = stages
        .iter()
        .map(|s| s["stage"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["firmware", "loader", "kernel", "init", "login"]);
    let checks = outcome["checks"].as_array().unwrap();
    let check = |command: &str| {
        let found = checks
            .iter()
            .find(|c| c["command"].as_str().unwrap().contains(command));
        found.unwrap_or_else(|| panic!("no {command} in {outcome}"))
    };
    assert_eq!(check("os-release")["status"], 0);
    assert_eq!(check("nothing here")["output"], "nothing here");
    assert!(
        check("rc-status")["output"]
            .as_str()
            .unwrap()
            .contains("Runlevel: default")
    );
    assert!(
        check("/proc/mounts")["output"]
            .as_str()
            .unwrap()
            .contains(" / ext4 rw")
    );
}

#[test]
#[ignore = "boots a machine, which takes a minute without KVM"]
fn a_root_that_is_nowhere() {
    let Some(disk) = Disk::alpine() else {
        return;
    };
    disk.configure("root=UUID=", "root=LABEL");
    disk.smoke(&["--firmware", "bios"]).fails("emergency shell");
}

#[test]
#[ignore = "boots a machine, which takes a minute without KVM"]
fn an_init_that_is_not_there() {
    let Some(disk) = Disk::alpine() else {
        return;
    };
    disk.configure("console=tty0", "init=/nonexi");
    disk.smoke(&["--firmware", "bios"]).fails("init failed");
}

#[test]
#[ignore = "boots a machine, which takes a minute without KVM"]
fn a_kernel_that_finds_no_root() {
    let Some(disk) = Disk::alpine() else {
        return;
    };
    // Without its initrd it has no drivers.
    disk.configure("INITRD ", "#NITRD ");
    let said = disk.smoke(&["--firmware", "bios"]);
    let outcome = said.fails("kernel panic");
    assert!(
        outcome["detail"]
            .as_str()
            .unwrap()
            .contains("Kernel panic - not syncing: VFS"),
        "{outcome}"
    );
}

#[test]
#[ignore = "boots a machine, which takes a minute without KVM"]
fn a_damaged_superblock() {
    let Some(disk) = Disk::alpine() else {
        return;
    };
    // The volume's name: its checksum does not hold any more, all else does.
    let at = disk.root() + 1024 + 0x78;
    disk.file().write_all_at(b"damaged", at).unwrap();
    assert!(
        root::state(&disk.image, disk.root())
            .unwrap()
            .unclean
            .is_some()
    );
    disk.smoke(&["--firmware", "bios"])
        .fails("root file system not clean");
}

#[test]
#[ignore = "boots a machine, which takes a minute without KVM"]
fn a_damaged_root_directory() {
    let Some(disk) = Disk::alpine() else {
        return;
    };
    // The block of its names: the superblock knows nothing of it, and only the kernel will.
    // UEFI's loaders read the kernel from elsewhere.
    let name = b"lost+found";
    let bytes = fs_err::read(&disk.image).unwrap();
    let start = usize::try_from(disk.root()).unwrap();
    let at = start + find(&bytes[start..], name)[0];
    disk.file().write_all_at(b"lost-found", at as u64).unwrap();
    disk.smoke(&["--firmware", "uefi"])
        .fails("root file system not clean");
}

#[test]
#[ignore = "boots a machine, which takes minutes without KVM"]
fn a_unit_that_fails() {
    let dockerfile = "RUN printf '[Service]\\nType=oneshot\\nExecStart=/bin/false\\n[Install]\\nWantedBy=multi-user.target\\n' >/etc/systemd/system/broken.service && systemctl enable broken.service\n";
    let Some(disk) = Disk::of_recipe("debian", dockerfile, "") else {
        return;
    };
    let said = disk.smoke(&["--firmware", "bios"]);
    let outcome = said.fails("init failed");
    let failures = outcome["failures"].to_string();
    assert!(
        failures.contains("the unit broken.service failed"),
        "{outcome}"
    );
}
