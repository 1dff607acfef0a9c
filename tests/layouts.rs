//! Kernels in other places than in the recipes: machines in QEMU, with BIOS and UEFI.
//!
//! They need minutes and a container image that was already built, so they run on demand:
//! `cargo xtask image alpine`, then
//! `cargo test --release --test integration -- --ignored layouts::`, as `cargo xtask ci` does.

use crate::common::machine::{self, Guest, PASSWORD, off};
use crate::common::temp;
use docker_to_linux::model::Arch;
use docker_to_linux::rootfs::Tree;
use docker_to_linux::vm::{Firmware, Machine, PROMPT};

const KERNEL: &str = "/boot/vmlinuz-virt";
const INITRD: &str = "/boot/initramfs-virt";

fn move_file(tree: &mut Tree, from: &str, to: &str) {
    let file = tree.lookup(from).unwrap();
    tree.link(to, file).unwrap();
    assert!(tree.remove(from));
}

/// The only kernel's version: the name of the folder of its modules.
fn version(tree: &Tree) -> String {
    let versions: Vec<&str> = tree.entries("/lib/modules").map(|(name, _)| name).collect();
    assert_eq!(versions.len(), 1, "{versions:?}");
    versions[0].to_owned()
}

/// Boots an Alpine whose files `change` has moved, with BIOS and UEFI. `change` gets the version of
/// the kernel and returns the kernels that the loaders must offer, the default first. The machine's
/// own program for the boot loaders must agree.
fn boots(change: impl FnOnce(&mut Tree, &str) -> Vec<String>) {
    let (_keep, dir) = temp();
    let Some(container) = machine::container("alpine") else {
        return;
    };
    let recipe = machine::recipe("alpine");
    let login = machine::root_by_password(&dir);
    let mut offered = Vec::new();
    let disk = machine::make(&container, "alpine", recipe, login, &dir, |rootfs| {
        let version = version(&rootfs.tree);
        offered = change(&mut rootfs.tree, &version);
    });
    for firmware in [Firmware::Bios, Firmware::Uefi] {
        let machine = Machine {
            snapshot: false,
            ..Machine::new(Arch::Amd64, firmware)
        };
        let (mut session, _) = machine::up(&machine, &disk.image, &[PROMPT]);
        {
            let mut guest = Guest::open(&mut session, "root", PASSWORD);
            // It has nothing to do, and so nothing to say.
            let said = guest.run("/usr/lib/docker-to-linux/update-boot");
            assert_eq!(said, "", "{firmware}");
            let menu = guest.run("sed -n 's/^  LINUX //p' /boot/extlinux/extlinux.conf");
            assert_eq!(menu.lines().collect::<Vec<_>>(), offered, "{firmware}");
            let entries = guest.run("ls /efi/loader/entries | wc -l");
            assert_eq!(entries, offered.len().to_string(), "{firmware}");
        }
        off(session);
    }
}

/// Fedora has them next to the modules.
#[test]
#[ignore = "boots two machines, which takes minutes without KVM"]
fn alpine_boots_a_kernel_beside_its_modules() {
    boots(|tree, version| {
        let kernel = format!("/lib/modules/{version}/vmlinuz");
        move_file(tree, KERNEL, &kernel);
        move_file(
            tree,
            INITRD,
            &format!("/lib/modules/{version}/initramfs.img"),
        );
        vec![tree.canonical(&kernel).unwrap()]
    });
}

/// A folder that is a link, and files in it that are links out of it, to names with blanks.
#[test]
#[ignore = "boots two machines, which takes minutes without KVM"]
fn alpine_boots_by_links() {
    boots(|tree, version| {
        let names: Vec<String> = tree.entries("/boot").map(|(n, _)| n.to_owned()).collect();
        for name in names {
            move_file(tree, &format!("/boot/{name}"), &format!("/srv/boot/{name}"));
        }
        assert!(tree.remove("/boot"));
        tree.symlink("/boot", "srv/boot", 0).unwrap();
        move_file(tree, KERNEL, "/srv/my kernels/linux, new");
        move_file(tree, INITRD, "/srv/my kernels/initrd, new");
        tree.symlink(KERNEL, "../my kernels/linux, new", 0).unwrap();
        tree.symlink(INITRD, "/srv/my kernels/initrd, new", 0)
            .unwrap();
        vec![format!("/boot/extlinux/alpine-{version}.linux")]
    });
}

/// The older one of two could not start: only the newer one gets to the prompt.
#[test]
#[ignore = "boots two machines, which takes minutes without KVM"]
fn alpine_boots_the_newer_of_two_kernels() {
    boots(|tree, version| {
        // 6.9 for a 6.18: a text would be sorted the other way round.
        let (major, _) = version.split_once('.').unwrap();
        let kernel = format!("/boot/vmlinuz-{major}.9-0-virt");
        let initrd = format!("/boot/initramfs-{major}.9-0-virt");
        tree.write(&kernel, &b"\x01no kernel"[..], 0o644, 0)
            .unwrap();
        tree.write(&initrd, &b"\x01no initrd"[..], 0o644, 0)
            .unwrap();
        vec![KERNEL.to_owned(), kernel]
    });
}
