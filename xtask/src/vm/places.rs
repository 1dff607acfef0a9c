//! The paths of UEFI firmware in distributions.
use crate::model::Arch;

/// Code and variables per distribution. None enforces Secure Boot, because the boot loaders are
/// unsigned.
pub(super) fn places(arch: Arch) -> &'static [(&'static str, &'static str)] {
    match arch {
        Arch::Amd64 => &[
            // Debian, Ubuntu
            (
                "usr/share/OVMF/OVMF_CODE_4M.fd",
                "usr/share/OVMF/OVMF_VARS_4M.fd",
            ),
            // older Debian and Ubuntu; Fedora's compatibility links; Alpine
            ("usr/share/OVMF/OVMF_CODE.fd", "usr/share/OVMF/OVMF_VARS.fd"),
            // Fedora
            (
                "usr/share/edk2/ovmf/OVMF_CODE_4M.qcow2",
                "usr/share/edk2/ovmf/OVMF_VARS_4M.qcow2",
            ),
            (
                "usr/share/edk2/ovmf/OVMF_CODE.fd",
                "usr/share/edk2/ovmf/OVMF_VARS.fd",
            ),
            // Arch
            (
                "usr/share/edk2/x64/OVMF_CODE.4m.fd",
                "usr/share/edk2/x64/OVMF_VARS.4m.fd",
            ),
            (
                "usr/share/edk2-ovmf/x64/OVMF_CODE.fd",
                "usr/share/edk2-ovmf/x64/OVMF_VARS.fd",
            ),
            // Gentoo
            (
                "usr/share/edk2-ovmf/OVMF_CODE.fd",
                "usr/share/edk2-ovmf/OVMF_VARS.fd",
            ),
            // openSUSE
            (
                "usr/share/qemu/ovmf-x86_64-4m-code.bin",
                "usr/share/qemu/ovmf-x86_64-4m-vars.bin",
            ),
            // NixOS with libvirt
            (
                "run/libvirt/nix-ovmf/OVMF_CODE.fd",
                "run/libvirt/nix-ovmf/OVMF_VARS.fd",
            ),
            // Homebrew
            (
                "opt/homebrew/share/qemu/edk2-x86_64-code.fd",
                "opt/homebrew/share/qemu/edk2-i386-vars.fd",
            ),
            (
                "usr/local/share/qemu/edk2-x86_64-code.fd",
                "usr/local/share/qemu/edk2-i386-vars.fd",
            ),
            // what QEMU itself installs (Arch, Alpine, Nix)
            (
                "usr/share/qemu/edk2-x86_64-code.fd",
                "usr/share/qemu/edk2-i386-vars.fd",
            ),
        ],
        Arch::Arm64 => &[
            // Debian, Ubuntu
            (
                "usr/share/AAVMF/AAVMF_CODE.no-secboot.fd",
                "usr/share/AAVMF/AAVMF_VARS.fd",
            ),
            (
                "usr/share/AAVMF/AAVMF_CODE.fd",
                "usr/share/AAVMF/AAVMF_VARS.fd",
            ),
            // Fedora
            (
                "usr/share/edk2/aarch64/QEMU_EFI-pflash.qcow2",
                "usr/share/edk2/aarch64/vars-template-pflash.qcow2",
            ),
            (
                "usr/share/edk2/aarch64/QEMU_EFI-pflash.raw",
                "usr/share/edk2/aarch64/vars-template-pflash.raw",
            ),
            // Arch
            (
                "usr/share/edk2/aarch64/QEMU_CODE.fd",
                "usr/share/edk2/aarch64/QEMU_VARS.fd",
            ),
            // Alpine
            (
                "usr/share/AAVMF/QEMU_EFI.fd",
                "usr/share/AAVMF/QEMU_VARS.fd",
            ),
            // openSUSE
            (
                "usr/share/qemu/aavmf-aarch64-code.bin",
                "usr/share/qemu/aavmf-aarch64-vars.bin",
            ),
            // NixOS with libvirt
            (
                "run/libvirt/nix-ovmf/AAVMF_CODE.fd",
                "run/libvirt/nix-ovmf/AAVMF_VARS.fd",
            ),
            // Homebrew
            (
                "opt/homebrew/share/qemu/edk2-aarch64-code.fd",
                "opt/homebrew/share/qemu/edk2-arm-vars.fd",
            ),
            (
                "usr/local/share/qemu/edk2-aarch64-code.fd",
                "usr/local/share/qemu/edk2-arm-vars.fd",
            ),
            // what QEMU itself installs
            (
                "usr/share/qemu/edk2-aarch64-code.fd",
                "usr/share/qemu/edk2-arm-vars.fd",
            ),
        ],
    }
}
