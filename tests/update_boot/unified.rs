//! Unified kernel images.

use super::*;

/// The kernel of a machine with unified kernel images.
fn efi_kernel(seed: u32) -> Thing {
    File(common::efi_program(&common::pattern(seed, 40_000)))
}

#[test]
fn unified_kernel_images_stay_until_something_is_new() {
    for shell in &shells() {
        let mut machine = Machine::of(
            BootEntryKind::Uki,
            &[
                ("/boot/vmlinuz-6.9", efi_kernel(1)),
                ("/boot/initrd.img-6.9", kib(100, 2)),
                ("/boot/vmlinuz-6.10", efi_kernel(3)),
                ("/boot/initrd.img-6.10", kib(100, 4)),
            ],
        );
        let default = |m: &Machine| m.text("/efi/loader/loader.conf");
        let there = |m: &Machine, path: &str| m.at(path).exists();
        assert!(there(&machine, "/efi/EFI/Linux/box-6.9.efi"));
        assert!(default(&machine).contains("default box-6.10.efi\n"));
        machine.is_in_step(shell);
        // A new initrd: a separate entry replaces the image.
        machine.add("/boot/initrd.img-6.10", kib(100, 5));
        let said = machine.run(shell, ROOMY);
        assert!(
            said.contains("removed /efi/EFI/Linux/box-6.10.efi"),
            "{said}"
        );
        assert!(default(&machine).contains("default box-6.10.conf\n"));
        assert!(there(&machine, "/efi/box/6.10/initrd"));
        assert!(there(&machine, "/efi/EFI/Linux/box-6.9.efi"));
        assert_eq!(machine.run(shell, ROOMY), "", "{}", shell.name);
        // The new one goes: the image of the old one is what starts.
        uninstall(&mut machine, "6.10");
        machine.run(shell, ROOMY);
        assert!(default(&machine).contains("default box-6.9.efi\n"));
        assert!(!there(&machine, "/efi/box/6.10"));
        // A new kernel is there before the old one's image goes.
        machine.add("/boot/vmlinuz-6.11", efi_kernel(6));
        machine.add("/boot/initrd.img-6.11", kib(100, 7));
        uninstall(&mut machine, "6.9");
        let said = machine.run(shell, ROOMY);
        assert!(said.contains("removed 6.9 from /efi"), "{said}");
        assert!(!there(&machine, "/efi/EFI/Linux/box-6.9.efi"));
        assert!(default(&machine).contains("default box-6.11.conf\n"));
        assert_eq!(machine.run(shell, ROOMY), "", "{}", shell.name);
    }
}

#[test]
fn an_old_unified_kernel_image_makes_room() {
    for shell in &shells() {
        let mut machine = Machine::of(
            BootEntryKind::Uki,
            &[
                ("/boot/vmlinuz-6.9", efi_kernel(1)),
                ("/boot/initrd.img-6.9", kib(100, 2)),
            ],
        );
        machine.add("/boot/vmlinuz-6.10", efi_kernel(3));
        machine.add("/boot/initrd.img-6.10", kib(100, 4));
        // Not both fit, and the last one that can be started never goes.
        let said = common::said(&machine.run_on(shell, 400));
        assert!(said.contains("no room on /efi for 6.10"), "{said}");
        assert!(machine.at("/efi/EFI/Linux/box-6.9.efi").exists());
        assert!(
            machine
                .text("/efi/loader/loader.conf")
                .contains("default box-6.9.efi\n")
        );
    }
}
