//! How the firmware is found, and what a guest gets of it.

use super::*;

fn touch(path: &Utf8Path) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, b"firmware").unwrap();
}

fn temp() -> (tempfile::TempDir, Utf8PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::try_from(dir.path().to_path_buf()).unwrap();
    (dir, path)
}

#[test]
fn firmware_is_found_where_distributions_put_it() {
    let (_dir, root) = temp();
    let mut looked = Vec::new();
    assert_eq!(
        firmware::search(
            &root,
            Some(&root.join("nix/share")),
            Arch::Amd64,
            &mut looked
        ),
        None
    );
    for place in [
        "usr/share/OVMF/OVMF_CODE_4M.fd",
        "usr/share/edk2/x64/OVMF_CODE.4m.fd",
        "nix/share/qemu/edk2-x86_64-code.fd",
        "usr/share/qemu/firmware/*.json",
    ] {
        assert!(looked.contains(&root.join(place).to_string()), "{looked:?}");
    }
    // Code alone is not enough.
    touch(&root.join("usr/share/OVMF/OVMF_CODE_4M.fd"));
    assert_eq!(
        firmware::search(&root, None, Arch::Amd64, &mut looked),
        None
    );
    touch(&root.join("nix/share/qemu/edk2-x86_64-code.fd"));
    touch(&root.join("nix/share/qemu/edk2-i386-vars.fd"));
    let share = root.join("nix/share");
    let found = firmware::search(&root, Some(&share), Arch::Amd64, &mut looked).unwrap();
    assert_eq!(found.code, share.join("qemu/edk2-x86_64-code.fd"));
    // A distribution's own comes before QEMU's.
    touch(&root.join("usr/share/edk2/ovmf/OVMF_CODE_4M.qcow2"));
    touch(&root.join("usr/share/edk2/ovmf/OVMF_VARS_4M.qcow2"));
    let found = firmware::search(&root, Some(&share), Arch::Amd64, &mut looked).unwrap();
    assert_eq!(found.code_format, ImageFormat::Qcow2);
    assert_eq!(
        firmware::search(&root, None, Arch::Arm64, &mut looked),
        None
    );
}

#[test]
fn firmware_that_is_nowhere_is_told_with_every_place() {
    let (_dir, root) = temp();
    let offline = |_| Err(Report::failure("downloading OVMF: no network"));
    for (arch, places, package) in [
        (
            Arch::Amd64,
            ["usr/share/OVMF/OVMF_CODE_4M.fd", "etc/qemu/firmware/*.json"],
            "install ovmf ",
        ),
        (
            Arch::Arm64,
            [
                "usr/share/AAVMF/AAVMF_CODE.fd",
                "usr/share/qemu/firmware/*.json",
            ],
            "install qemu-efi-aarch64 ",
        ),
    ] {
        let e = firmware::search_or(&root, None, arch, offline).unwrap_err();
        for place in places {
            assert!(e.message.contains(root.join(place).as_str()), "{e}");
        }
        assert!(e.hint.as_ref().unwrap().starts_with(package), "{e:?}");
        assert!(e.source.unwrap().to_string().contains("no network"));
    }
    // What is there makes the last resort needless.
    touch(&root.join("usr/share/OVMF/OVMF_CODE_4M.fd"));
    touch(&root.join("usr/share/OVMF/OVMF_VARS_4M.fd"));
    firmware::search_or(&root, None, Arch::Amd64, offline).unwrap();
}

fn descriptor(dir: &Utf8Path, features: &str) -> String {
    format!(
        r#"{{"interface-types": ["uefi"], "features": [{features}], "tags": [],
        "mapping": {{"device": "flash",
            "executable": {{"filename": "{dir}/code", "format": "qcow2"}},
            "nvram-template": {{"filename": "{dir}/vars", "format": "raw"}}}},
        "targets": [{{"architecture": "x86_64", "machines": ["pc-i440fx-*", "pc-q35-*"]}}]}}"#
    )
}

#[test]
fn firmware_descriptors_are_read_and_secure_boot_is_left_alone() {
    let (_dir, root) = temp();
    touch(&root.join("code"));
    touch(&root.join("vars"));
    let folder = root.join("usr/share/qemu/firmware");
    let secure = descriptor(&root, r#""secure-boot", "enrolled-keys""#);
    let plain = descriptor(&root, r#""acpi-s3""#);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("10-secure.json"), &secure).unwrap();
    let search = || firmware::search(&root, None, Arch::Amd64, &mut Vec::new());
    assert_eq!(search(), None);
    std::fs::write(folder.join("20-plain.json"), &plain).unwrap();
    std::fs::write(folder.join("00-broken.json"), "{").unwrap();
    let found = search().unwrap();
    assert_eq!(
        (found.code, found.code_format),
        (root.join("code"), ImageFormat::Qcow2)
    );
    assert_eq!(
        (found.vars, found.vars_format),
        (root.join("vars"), ImageFormat::Raw)
    );
    assert_eq!(firmware::from_descriptor(&plain, Arch::Arm64), None);
    assert_eq!(firmware::from_descriptor("[]", Arch::Amd64), None);
}

#[test]
fn firmware_that_is_named_must_be_there() {
    let (_dir, root) = temp();
    let flags = |code: &str| Flags {
        code: Some(root.join(code)),
        vars: None,
    };
    let report = firmware::find(Arch::Amd64, &flags("X_CODE.fd")).unwrap_err();
    assert_eq!(report.class, Class::Mistake);
    assert!(report.message.contains("set by the command line"));
    touch(&root.join("X_CODE.fd"));
    let report = firmware::find(Arch::Amd64, &flags("X_CODE.fd")).unwrap_err();
    assert!(report.message.contains("no template"), "{report}");
    touch(&root.join("X_VARS.fd"));
    let found = firmware::find(Arch::Amd64, &flags("X_CODE.fd")).unwrap();
    assert_eq!(found.vars, root.join("X_VARS.fd"));
}

#[test]
fn a_guest_gets_its_own_variables_and_arm_its_size() {
    let (_dir, root) = temp();
    touch(&root.join("X_CODE.fd"));
    touch(&root.join("X_VARS.fd"));
    let mut permissions = std::fs::metadata(root.join("X_VARS.fd"))
        .unwrap()
        .permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(root.join("X_VARS.fd"), permissions).unwrap();
    let flags = Flags {
        code: Some(root.join("X_CODE.fd")),
        vars: None,
    };
    let found = firmware::find(Arch::Amd64, &flags).unwrap();
    let (_staged, dir) = temp();
    let pc = found.stage(Arch::Amd64, &dir).unwrap();
    assert_eq!(pc.code, found.code);
    assert_eq!(std::fs::read(&pc.vars).unwrap(), b"firmware");
    assert!(
        !std::fs::metadata(&pc.vars)
            .unwrap()
            .permissions()
            .readonly()
    );
    let arm = found.stage(Arch::Arm64, &dir).unwrap();
    for file in [&arm.code, &arm.vars] {
        assert!(file.starts_with(&dir));
        assert_eq!(std::fs::metadata(file).unwrap().len(), 64 << 20);
    }
}
