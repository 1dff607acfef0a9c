//! An ESP on which not everything fits.

use super::*;

/// What a kernel needs on the ESP, including the program's reserve.
const PAIR: u64 = 140;
const SLACK: u64 = 270;

#[test]
fn an_old_kernel_makes_room_for_a_new_one() {
    for shell in &shells() {
        let mut machine = debian(&["6.1", "6.2"]);
        let before = machine.there();
        install(&mut machine, "6.3", 20);
        let said = machine.run(shell, 2 * PAIR + SLACK);
        assert!(said.contains("removed 6.1"), "{said}");
        assert!(said.contains("no room on /efi for 6.1"), "{said}");
        // All but the oldest is as it should be.
        let mut wanted = machine.wanted();
        wanted.retain(|path, _| !path.contains("6.1"));
        machine.has_the_same(&wanted, shell);
        assert_ne!(before, wanted);
        // And once there is room, the oldest comes back.
        machine.run(shell, ROOMY);
        machine.is_in_step(shell);
    }
}

#[test]
fn the_last_kernel_never_goes() {
    for shell in &shells() {
        let mut machine = debian(&["6.1"]);
        let before = machine.there();
        install(&mut machine, "6.2", 30);
        // Whether the old one is still installed or not.
        for step in 0..2 {
            let out = machine.run_on(shell, PAIR + SLACK);
            let said = said(&out);
            assert_eq!(out.status.code(), Some(1), "{said}");
            assert!(said.contains("no room on /efi for 6.2"), "{said}");
            let mut there = machine.there();
            there.insert(MENU.into(), before[MENU].clone());
            assert_eq!(
                there.keys().collect::<Vec<_>>(),
                before.keys().collect::<Vec<_>>()
            );
            assert!(there == before, "{}: step {step}: {said}", shell.name);
            if step == 0 {
                uninstall(&mut machine, "6.1");
            }
        }
        machine.run(shell, ROOMY);
        machine.is_in_step(shell);
    }
}

#[test]
fn its_own_old_copy_makes_room_while_another_starts() {
    for shell in &shells() {
        let mut machine = debian(&["6.1", "6.2"]);
        machine.add("/boot/initrd.img-6.1", kib(100, 40));
        machine.add("/boot/initrd.img-6.2", kib(100, 41));
        let said = machine.run(shell, 2 * PAIR + SLACK);
        assert!(said.contains("removed 6.1"), "{said}");
        machine.is_in_step(shell);
        // The older of two, which cannot both be there.
        machine.add("/boot/initrd.img-6.1", kib(100, 42));
        machine.run(shell, 2 * PAIR + SLACK);
        machine.is_in_step(shell);
    }
}
