//! What only `cargo xtask ci --full` tests.

use super::*;

#[test]
#[ignore = "boots two machines, which takes minutes without KVM"]
fn debian_grows_to_40_gib_under_bios_from_an_mbr() {
    debian_grows(Firmware::Bios, BootMode::Bios, 40);
}

#[test]
#[ignore = "boots two machines, which takes minutes without KVM"]
fn debian_grows_to_40_gib_under_uefi() {
    debian_grows(Firmware::Uefi, BootMode::Uefi, 40);
}

#[test]
#[ignore = "boots two machines, which takes minutes without KVM"]
fn debian_grows_to_8_gib_under_bios() {
    debian_grows(Firmware::Bios, BootMode::Hybrid, 8);
}

#[test]
#[ignore = "boots two machines, which takes minutes without KVM"]
fn alpine_grows_to_8_gib_under_uefi() {
    alpine_grows(Firmware::Uefi, BootMode::Uefi, 8);
}

#[test]
#[ignore = "boots two machines, which takes minutes without KVM"]
fn alpine_grows_to_8_gib_under_bios_from_an_mbr() {
    alpine_grows(Firmware::Bios, BootMode::Bios, 8);
}

/// Two machines of one image are two machines.
#[test]
#[ignore = "boots two machines, which takes minutes without KVM"]
fn debian_keys_and_ids_are_each_machines_own() {
    let (_keep, dir) = temp();
    let Some(ssh) = Ssh::new(&dir) else { return };
    let login = RootLogin {
        ssh_keys: vec![ssh.key()],
        ..RootLogin::default()
    };
    let Some(container) = with_ssh("debian") else {
        return;
    };
    let made = make("debian", &container, &dir, &login, |_| ());
    let copy = Made {
        image: dir.join("copy.img"),
        root: made.root,
    };
    std::fs::copy(&made.image, &copy.image).unwrap();
    let identity = |made: &Made| {
        let _ = std::fs::remove_file(dir.join("known"));
        let session = made.boot(Firmware::Bios, Some(ssh.port));
        let out = ssh.when_up(&session, "root", "cat /etc/machine-id /etc/ssh/*.pub");
        off(session);
        assert!(out.status.success(), "{}", said(&out));
        String::from_utf8(out.stdout).unwrap()
    };
    let (one, two) = (identity(&made), identity(&copy));
    assert_eq!(one.lines().count(), 4, "{one}");
    for (a, b) in one.lines().zip(two.lines()) {
        assert_ne!(a, b);
    }
}
