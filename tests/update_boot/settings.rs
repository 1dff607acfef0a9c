//! What belongs to others, and settings of the boot loaders.

use super::*;

#[test]
fn what_others_wrote_stays() {
    for shell in &shells() {
        let mut machine = debian(&["6.1"]);
        // Another system's, one whose name begins as ours, and a hand-made entry.
        let others = [
            ("/efi/loader/entries/abc-6.1.conf", "linux /abc/6.1/linux\n"),
            ("/efi/abc/6.1/linux", "kernel"),
            (
                "/efi/loader/entries/box-two-6.1.conf",
                "linux /box-two/6.1/linux\n",
            ),
            ("/efi/loader/entries/box-rescue.conf", "efi /rescue.efi\n"),
            (
                "/efi/loader/loader.conf",
                "timeout 9\ndefault @saved\neditor no\n",
            ),
            (MENU, "MENU TITLE mine\n"),
        ];
        for (path, text) in others {
            machine.put(path, text.as_bytes());
        }
        install(&mut machine, "6.2", 60);
        uninstall(&mut machine, "6.1");
        let said = machine.run(shell, ROOMY);
        assert!(said.contains("another default"), "{said}");
        assert!(said.contains("left as it is"), "{said}");
        for (path, text) in others {
            assert_eq!(machine.text(path), text, "{}: {path}", shell.name);
        }
        assert!(machine.at("/efi/box/6.2/initrd").is_file());
        assert!(!machine.at("/efi/box/6.1").exists());
    }
}

#[test]
fn settings_of_the_loaders_stay() {
    for shell in &shells() {
        let mut machine = debian(&["6.1"]);
        machine.put(
            "/efi/loader/loader.conf",
            b"timeout 9\ndefault box-6.1.conf\neditor no\n",
        );
        let menu = machine.text(MENU).replace("TIMEOUT 20", "TIMEOUT 99");
        machine.put(MENU, menu.as_bytes());
        let settings = machine.text(boot::SETTINGS)
            + "title='Rock '\\''n'\\'' roll'\narguments=\"$arguments extra\"\n";
        machine.put(boot::SETTINGS, settings.as_bytes());
        install(&mut machine, "6.2", 60);
        machine.run(shell, ROOMY);
        assert_eq!(
            machine.text("/efi/loader/loader.conf"),
            "timeout 9\ndefault box-6.2.conf\neditor no\n"
        );
        assert!(
            machine
                .text(MENU)
                .contains("TIMEOUT 99\nSAY Booting Rock 'n' roll (6.2);")
        );
        for v in ["6.1", "6.2"] {
            let entry = machine.text(&format!("/efi/loader/entries/box-{v}.conf"));
            assert!(
                entry.contains(&format!("title Rock 'n' roll ({v})\n")),
                "{entry}"
            );
            assert!(entry.contains("it's=\"a $test\""), "{entry}");
            assert!(entry.contains("extra\narchitecture"), "{entry}");
        }
        // A loader.conf that is gone is made.
        fs_err::remove_file(machine.at("/efi/loader/loader.conf")).unwrap();
        machine.run(shell, ROOMY);
        assert!(
            machine
                .text("/efi/loader/loader.conf")
                .contains("default box-6.2.conf")
        );
    }
}

#[test]
fn a_machine_without_its_esp_gets_its_menu() {
    for shell in &shells() {
        let mut machine = debian(&["6.1"]);
        fs_err::remove_dir_all(machine.at("/efi")).unwrap();
        install(&mut machine, "6.2", 60);
        machine.run(shell, ROOMY);
        assert!(!machine.at("/efi").exists());
        assert!(machine.text(MENU).contains("DEFAULT box-6.2\n"));
    }
}
