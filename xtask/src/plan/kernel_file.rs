//! Checks what a file that is named like a kernel or an initrd contains, and whether the boot
//! loaders can start it.
//!
//! Only what is certainly not a bootable kernel is refused: another kind of file, a truncated
//! kernel, a kernel for another processor. An unknown format may still be a kernel.
//!
//! Format facts: Linux Documentation/arch/x86/boot.rst, Documentation/arch/arm64/booting.rst,
//! Documentation/arch/riscv/boot-image-header.rst, drivers/firmware/efi/libstub/zboot-header.S;
//! Microsoft, "PE Format".
use crate::model::{Arch, BootMode};
use crate::rootfs::program::{ELF, Machine, compressor, is_text};

/// How much of a file [`kernel`] and [`initrd`] need, in bytes.
pub(crate) const HEAD: usize = 4096;

/// Why a file is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What is wrong with it, e.g. `is empty`.
    pub(crate) what: String,
    /// What to do.
    pub(crate) cure: String,
}

impl Refusal {
    /// A refusal: `what` is wrong, and how to fix it.
    pub(super) fn new(what: impl Into<String>, cure: impl Into<String>) -> Refusal {
        Refusal {
            what: what.into(),
            cure: cure.into(),
        }
    }
}

/// The hint for a file that is not a kernel.
const INSTALL: &str = "install the kernel's package in the Dockerfile, e.g. `apt-get install linux-image-amd64` or `apk add linux-virt`";

/// The hint for a truncated file.
const AGAIN: &str = "reinstall its package: the file was not written or copied completely";

/// The processor that an architecture's kernels run on.
pub fn machine(arch: Arch) -> Machine {
    match arch {
        Arch::Amd64 => Machine::X86_64,
        Arch::Arm64 => Machine::Arm64,
    }
}

/// Whether a file that starts with `head` (its first [`HEAD`] bytes) and has `len` bytes can be the
/// machine's kernel. Returns the processor that it is for, if its header says so.
pub(crate) fn kernel(
    head: &[u8],
    len: u64,
    arch: Arch,
    boot: BootMode,
) -> Result<Option<Machine>, Refusal> {
    if let Some(refusal) = no_boot_file(head) {
        return Err(refusal);
    }
    if head.starts_with(ELF) {
        return Err(Refusal::new(
            "is an ELF file (an unpacked vmlinux), which neither EXTLINUX nor UEFI can start",
            "install the kernel's package: it contains a bootable vmlinuz (bzImage, or Image on arm64)",
        ));
    }
    if let Some(with) = compressor(head) {
        return Err(Refusal::new(
            format!("is compressed with {with}, which neither EXTLINUX nor UEFI can unpack"),
            "if it is an arm64 Image, unpack it in the Dockerfile, e.g. `zcat IMAGE.gz > IMAGE`; otherwise install the kernel's package",
        ));
    }
    if let Some(what) = foreign_format(head) {
        return Err(Refusal::new(format!("is {what}"), INSTALL));
    }
    let pe = Pe::read(head, len);
    if let Some(pe) = &pe
        && pe.unified
    {
        return Err(Refusal::new(
            "is a unified kernel image, which has its own initrd and kernel arguments",
            "install the plain kernel and its initrd; `boot-entry: uki` builds a unified kernel image from them",
        ));
    }
    let linux = linux(head, len);
    let zboot = zboot(head).filter(|_| pe.is_some());
    let lengths = [
        linux.as_ref().map(|l| l.whole),
        pe.as_ref().map(|p| p.whole),
        zboot,
    ];
    let whole = lengths.into_iter().flatten().max().unwrap_or(0);
    if whole > len {
        return Err(Refusal::new(
            format!("is truncated: its header says {whole} bytes, but it has {len}"),
            AGAIN,
        ));
    }
    let machines = [
        linux.and_then(|l| l.machine),
        pe.as_ref().and_then(|p| p.machine),
    ];
    let Some(is) = machines.into_iter().flatten().next() else {
        return Ok(None);
    };
    let wanted = machine(arch);
    // A 64-bit PC with BIOS can start 32-bit kernels.
    if is != wanted && !(is == Machine::X86 && arch == Arch::Amd64 && boot == BootMode::Bios) {
        let cure = match is {
            Machine::X86 if arch == Arch::Amd64 => {
                "install a 64-bit kernel, or use `boot: bios`: only BIOS starts 32-bit kernels"
                    .to_owned()
            }
            Machine::X86_64 => install_or("amd64", arch),
            Machine::Arm64 => install_or("arm64", arch),
            _ => format!("install a kernel for {}", name(arch)),
        };
        return Err(Refusal::new(
            format!("is a kernel for {is}, but the image is for {}", name(arch)),
            cure,
        ));
    }
    if boot != BootMode::Uefi && zboot.is_some() {
        return Err(Refusal::new(
            "is an EFI zboot kernel, which only UEFI can start",
            "use `boot: uefi`",
        ));
    }
    if boot != BootMode::Bios && pe.is_none() {
        return Err(Refusal::new(
            "is a kernel without CONFIG_EFI_STUB, which UEFI cannot start",
            "install a distribution's kernel, or use `boot: bios`",
        ));
    }
    Ok(Some(is))
}

/// Whether a file that starts with `head` can be an initrd.
pub(crate) fn initrd(head: &[u8]) -> Result<(), Refusal> {
    const MAKE: &str = "rebuild it in the Dockerfile, e.g. with `update-initramfs -c -k all`, `mkinitfs` or `dracut --regenerate-all`";
    if let Some(Refusal { what, .. }) = no_boot_file(head) {
        return Err(Refusal::new(what, MAKE));
    }
    if head.starts_with(ELF) || head.starts_with(b"MZ") {
        return Err(Refusal::new("is a program, not an initrd", MAKE));
    }
    Ok(())
}

fn name(arch: Arch) -> &'static str {
    match arch {
        Arch::Amd64 => "amd64",
        Arch::Arm64 => "arm64",
    }
}

fn install_or(other: &str, arch: Arch) -> String {
    format!(
        "install a kernel for {}, or build an image for {other} with --arch {other}",
        name(arch)
    )
}

/// Files that can be neither a kernel nor an initrd.
fn no_boot_file(head: &[u8]) -> Option<Refusal> {
    if head.is_empty() {
        return Some(Refusal::new("is empty", AGAIN));
    }
    if head.iter().all(|b| *b == 0) {
        return Some(Refusal::new("starts with only zero bytes", AGAIN));
    }
    is_text(head).then(|| Refusal::new("is a text file", INSTALL))
}

/// Kinds of files that are mistaken for a kernel, with the offset of their magic number.
fn foreign_format(head: &[u8]) -> Option<&'static str> {
    const KINDS: [(usize, &[u8], &str); 6] = [
        (
            0,
            b"!<arch>\n",
            "a package or an archive of ar(1), not a kernel",
        ),
        (0, b"\xed\xab\xee\xdb", "an rpm package, not a kernel"),
        (0, b"PK\x03\x04", "a zip archive, not a kernel"),
        (
            0,
            b"\x27\x05\x19\x56",
            "an image for U-Boot, not a plain kernel",
        ),
        (
            0,
            b"\xd0\x0d\xfe\xed",
            "a device tree or a FIT image, not a plain kernel",
        ),
        (257, b"ustar", "a tar archive, not a kernel"),
    ];
    let there = |at: usize, magic: &[u8]| head.get(at..at + magic.len()) == Some(magic);
    let found = KINDS.iter().find(|(at, magic, _)| there(*at, magic));
    found.map(|(_, _, what)| *what)
}

/// A little-endian number of at most eight bytes.
fn at(head: &[u8], at: usize, len: usize) -> Option<u64> {
    let bytes = head.get(at..at.checked_add(len)?)?;
    Some(bytes.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)))
}

/// The minimum length in bytes of a self-decompressing EFI kernel, if it is one (`zimg`: the offset
/// and length of its payload).
fn zboot(head: &[u8]) -> Option<u64> {
    at(head, 4, 4).filter(|magic| *magic == 0x676d_697a)?;
    Some(at(head, 8, 4)? + at(head, 12, 4)?)
}

/// A kernel identified by Linux's own headers.
struct Linux {
    machine: Option<Machine>,
    /// The minimum length of the file in bytes; 0 if the header does not say.
    whole: u64,
}

fn linux(head: &[u8], len: u64) -> Option<Linux> {
    let simple = |machine| Some(Linux { machine, whole: 0 });
    // x86: the signature of boot protocol 2.00 and later, after that of a boot sector.
    if head.get(0x202..0x206) == Some(b"HdrS") && at(head, 0x1fe, 2) == Some(0xaa55) {
        let version = at(head, 0x206, 2)?;
        let machine = match at(head, 0x236, 2) {
            // `XLF_KERNEL_64`.
            Some(flags) if version >= 0x20c && flags & 1 != 0 => Some(Machine::X86_64),
            Some(_) if version >= 0x20c => Some(Machine::X86),
            // Older protocols do not say.
            _ => None,
        };
        // A field of 0 means four setup sectors. `syssize` counts units of 16 bytes, and the last
        // ones may be missing from the file. It has 32 bits since protocol 2.04.
        let setup = match at(head, 0x1f1, 1)? {
            0 => 4,
            n => n,
        };
        let whole = match version {
            0x204.. => ((setup + 1) * 512 + at(head, 0x1f4, 4)? * 16).saturating_sub(15),
            _ => 0,
        };
        return Some(Linux { machine, whole });
    }
    match head.get(0x38..0x3c) {
        Some(b"ARM\x64") => return simple(Some(Machine::Arm64)),
        Some(b"RSC\x05") => return simple(Some(Machine::Other("RISC-V"))),
        _ => {}
    }
    // A 32-bit ARM zImage.
    if at(head, 0x24, 4) == Some(0x016f_2818) {
        return simple(Some(Machine::Arm));
    }
    // The start of a kernel that was truncated before its header.
    (head.starts_with(b"MZ") && len < 0x40).then_some(Linux {
        machine: None,
        whole: 0x40,
    })
}

/// An EFI program.
struct Pe {
    machine: Option<Machine>,
    /// The minimum length of the file in bytes.
    whole: u64,
    /// Whether it is a unified kernel image: it has a kernel for a section (UAPI group, "Unified
    /// Kernel Image").
    unified: bool,
}

impl Pe {
    fn read(head: &[u8], len: u64) -> Option<Pe> {
        if !head.starts_with(b"MZ") {
            return None;
        }
        let start = at(head, 60, 4)?;
        if start >= 64 && start + 24 > len {
            // An arm64 Image and a zboot kernel have it in their first page, and x86 kernels, too.
            return (start < HEAD as u64).then_some(Pe {
                machine: None,
                whole: start + 24,
                unified: false,
            });
        }
        let pe = usize::try_from(start).ok()?;
        if head.get(pe..pe.checked_add(4)?) != Some(b"PE\0\0") {
            return None;
        }
        let mut found = Pe {
            machine: Machine::of_pe(at(head, pe + 4, 2)? as u16),
            whole: 0,
            unified: false,
        };
        let sections = at(head, pe + 6, 2)? as usize;
        let table = pe + 24 + at(head, pe + 20, 2)? as usize;
        for section in (0..sections).map(|n| table + n * 40) {
            let Some(name) = head.get(section..section + 8) else {
                break;
            };
            found.unified |= name.starts_with(b".linux\0");
            let (size, place) = (at(head, section + 16, 4)?, at(head, section + 20, 4)?);
            if size > 0 && place > 0 {
                found.whole = found.whole.max(size + place);
            }
        }
        Some(found)
    }
}
