//! What executes the guest's instructions: the host's processor (KVM, HVF) or QEMU (TCG).
//!
//! The presence of a device node proves nothing. On some hosts with `/dev/kvm` a guest hangs
//! forever without an error, or runs ten times slower than with TCG. So we start a tiny guest and
//! see whether it answers.

use super::child::{Child, Group};
use crate::error::Report;
use crate::model::Arch;
use crate::tool::{self, Tool};
use std::io::Write;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The environment variable that sets the accelerator and disables the probe.
pub const VARIABLE: &str = "DOCKER_TO_LINUX_ACCEL";

/// How long the tiny guest may need. With hardware acceleration it needs 0.2 seconds.
const PATIENCE: Duration = Duration::from_secs(3);

/// An accelerator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Accel {
    /// Linux's hypervisor.
    Kvm,
    /// macOS's hypervisor.
    Hvf,
    /// No hypervisor: QEMU translates the guest's instructions.
    Tcg,
}

impl Accel {
    /// Its name in QEMU.
    pub fn name(self) -> &'static str {
        match self {
            Accel::Kvm => "kvm",
            Accel::Hvf => "hvf",
            Accel::Tcg => "tcg",
        }
    }

    /// The value of QEMU's `-accel` for a guest of this architecture.
    pub fn argument(self, guest: Arch) -> &'static str {
        match self {
            Accel::Kvm => "kvm",
            Accel::Hvf => "hvf",
            Accel::Tcg => match guest {
                // One thread for all virtual CPUs. With one thread each, a virtual CPU of a PC now
                // and then executes a breakpoint that another has just removed from the kernel's
                // code, and a healthy kernel panics ("int3", while patching a static key such as
                // sched_clock's): 1 of 24 boots on a busy host, and 0 of 40 with one thread. This
                // doubles Debian's time to the prompt, and costs Alpine nothing.
                Arch::Amd64 => "tcg,thread=single",
                Arch::Arm64 => "tcg,thread=multi",
            },
        }
    }

    /// The CPU model.
    pub fn cpu(self, guest: Arch) -> &'static str {
        match (self, guest) {
            (Accel::Kvm | Accel::Hvf, _) => "host",
            // Distributions need newer and newer CPUs (x86-64-v2, -v3). Enable everything that TCG
            // supports except fast string moves: with those the kernel copies pages byte by byte
            // with `rep movsb`, which is slow in TCG, and Alpine needs 50 % more time to its
            // prompt.
            (Accel::Tcg, Arch::Amd64) => "max,-erms,-fsrm",
            // Here "max" includes pointer authentication, which is expensive in TCG.
            (Accel::Tcg, Arch::Arm64) => "cortex-a72",
        }
    }

    /// How many of the host's processors a guest with `cpus` virtual CPUs keeps busy.
    pub fn threads(self, guest: Arch, cpus: u32) -> u32 {
        match self {
            Accel::Tcg if guest == Arch::Amd64 => 1,
            _ => cpus,
        }
    }

    /// The factor by which deadlines are longer than with hardware acceleration.
    pub fn slowness(self) -> u32 {
        match self {
            Accel::Kvm | Accel::Hvf => 1,
            Accel::Tcg => 5,
        }
    }
}

impl std::fmt::Display for Accel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// An accelerator and the reason for its choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The accelerator.
    pub accel: Accel,
    /// The reason: half a sentence for the log.
    pub why: String,
}

/// The architecture of this host, if it is supported.
pub fn host() -> Option<Arch> {
    match std::env::consts::ARCH {
        "x86_64" => Some(Arch::Amd64),
        "aarch64" => Some(Arch::Arm64),
        _ => None,
    }
}

/// The QEMU program for guests of this architecture.
pub fn qemu(guest: Arch) -> Tool {
    match guest {
        Arch::Amd64 => Tool::QemuX86,
        Arch::Arm64 => Tool::QemuAarch64,
    }
}

/// Returns the fastest accelerator for this guest architecture that works on this host.
///
/// Probes once per architecture and process.
pub fn choose(guest: Arch) -> Result<Choice, Report> {
    static KNOWN: Mutex<Vec<(Arch, Choice)>> = Mutex::new(Vec::new());
    let named = std::env::var(VARIABLE).unwrap_or_default();
    if !named.is_empty() {
        let accel = parse(&named)?;
        return Ok(Choice {
            accel,
            why: format!("set with {VARIABLE}"),
        });
    }
    // Hold the lock during the probe: two probes at once would only slow each other down.
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, choice)) = known.iter().find(|(arch, _)| *arch == guest) {
        return Ok(choice.clone());
    }
    let choice = probe_all(guest)?;
    tracing::debug!("accelerator {}: {}", choice.accel, choice.why);
    known.push((guest, choice.clone()));
    Ok(choice)
}

pub(super) fn parse(name: &str) -> Result<Accel, Report> {
    [Accel::Kvm, Accel::Hvf, Accel::Tcg]
        .into_iter()
        .find(|a| a.name() == name)
        .ok_or_else(|| {
            Report::mistake(format!(
                "{VARIABLE} is {name:?}, which is not an accelerator"
            ))
            .hint("set it to kvm, hvf or tcg, or unset it")
        })
}

fn probe_all(guest: Arch) -> Result<Choice, Report> {
    let tcg = |why: String| Choice {
        accel: Accel::Tcg,
        why,
    };
    if host() != Some(guest) {
        return Ok(tcg(
            "the guest and the host have different architectures".into()
        ));
    }
    let accel = match std::env::consts::OS {
        "linux" => {
            let node = std::path::Path::new("/dev/kvm");
            if !node.exists() {
                return Ok(tcg("/dev/kvm does not exist".into()));
            }
            use rustix::fs::Access;
            if rustix::fs::access(node, Access::READ_OK | Access::WRITE_OK).is_err() {
                return Ok(tcg(
                    "this user has no permission to open /dev/kvm (usually the group kvm has)"
                        .into(),
                ));
            }
            Accel::Kvm
        }
        "macos" => Accel::Hvf,
        os => return Ok(tcg(format!("{os} has no supported one"))),
    };
    Ok(match probe(accel, guest, PATIENCE)? {
        Ok(took) => Choice {
            accel,
            why: format!("a guest answered after {} ms", took.as_millis()),
        },
        Err(why) => tcg(format!("{accel} does not work here: {why}")),
    })
}

/// Starts a tiny guest under `accel`. Returns `Ok(Ok)` with the time to its answer, or `Ok(Err)`
/// with the reason why there was none.
pub fn probe(
    accel: Accel,
    guest: Arch,
    patience: Duration,
) -> Result<Result<Duration, String>, Report> {
    let report = |e: std::io::Error| {
        Report::failure(format!("starting a tiny guest to test {accel}")).because(e)
    };
    let program = qemu(guest).require()?;
    let mut file = tempfile::NamedTempFile::new().map_err(report)?;
    let (code, answer) = match guest {
        Arch::Amd64 => (boot_sector(), 2 * i32::from(ANSWER) + 1),
        Arch::Arm64 => (
            ARM_POWER_OFF.iter().flat_map(|w| w.to_le_bytes()).collect(),
            0,
        ),
    };
    file.write_all(&code).map_err(report)?;
    let path = file.path().to_string_lossy().into_owned();
    let mut command = tool::command(program);
    command
        .args(["-no-user-config", "-nodefaults", "-display", "none"])
        .args(["-accel", accel.argument(guest), "-cpu", accel.cpu(guest)])
        .args(["-m", "64M"]);
    match guest {
        Arch::Amd64 => {
            let drive = format!(
                "if=ide,format=raw,snapshot=on,file={}",
                path.replace(',', ",,")
            );
            command
                .args(["-machine", "pc", "-drive", &drive])
                .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=1"]);
        }
        Arch::Arm64 => {
            command.args(["-machine", "virt", "-kernel", &path]);
        }
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let started = Instant::now();
    let mut child = Child::spawn(&mut command, Group::Own, None).map_err(report)?;
    let status = child.wait_until(started + patience).map_err(report)?;
    Ok(match status {
        Some(s) if s.code() == Some(answer) => Ok(started.elapsed()),
        Some(s) => Err(format!("QEMU failed ({s})")),
        None => Err(format!(
            "a tiny guest did not answer within {} s",
            patience.as_secs_f32()
        )),
    })
}

/// The value that the tiny PC guest writes to QEMU's debug-exit device. QEMU then exits with twice
/// this value plus one.
const ANSWER: u8 = 0x10;

/// A boot sector that enables long mode like Linux, switches the address space five million times,
/// and answers.
///
/// It enters long mode because some hypervisors run the firmware and fail at the kernel. It
/// switches so often because a hypervisor that emulates page tables needs minutes for a kernel, or
/// never finishes: real hardware needs 0.1 seconds per million switches, such a hypervisor took 2.7
/// on an idle host and 5 on a busy one.
fn boot_sector() -> Vec<u8> {
    const CODE: [u8; 0x96] = [
        0xfa, //                                     cli
        0x31, 0xc0, //                               xor ax, ax
        0x8e, 0xd8, //                               mov ds, ax
        0x8e, 0xc0, //                               mov es, ax
        0x8e, 0xd0, //                               mov ss, ax
        0xbc, 0x00, 0x7c, //                         mov sp, 0x7c00
        // Page tables at 0x1000: the first 2 MiB map to themselves.
        0xbf, 0x00, 0x10, //                         mov di, 0x1000
        0xb9, 0x00, 0x18, //                         mov cx, 0x1800
        0xfc, //                                     cld
        0xf3, 0xab, //                               rep stosw
        0xc7, 0x06, 0x00, 0x10, 0x03, 0x20, //       mov word [0x1000], 0x2003
        0xc7, 0x06, 0x00, 0x20, 0x03, 0x30, //       mov word [0x2000], 0x3003
        0xc7, 0x06, 0x00, 0x30, 0x83, 0x00, //       mov word [0x3000], 0x0083
        0x66, 0xb8, 0x00, 0x10, 0x00, 0x00, //       mov eax, 0x1000
        0x0f, 0x22, 0xd8, //                         mov cr3, eax
        0x66, 0xb8, 0xa0, 0x00, 0x00, 0x00, //       mov eax, 0xa0        ; PAE, PGE
        0x0f, 0x22, 0xe0, //                         mov cr4, eax
        0x66, 0xb9, 0x80, 0x00, 0x00, 0xc0, //       mov ecx, 0xc0000080  ; EFER
        0x0f, 0x32, //                               rdmsr
        0x66, 0x0d, 0x00, 0x01, 0x00, 0x00, //       or eax, 0x100        ; long mode
        0x0f, 0x30, //                               wrmsr
        0x0f, 0x20, 0xc0, //                         mov eax, cr0
        0x66, 0x0d, 0x01, 0x00, 0x00, 0x80, //       or eax, 0x80000001   ; paging, protection
        0x66, 0x0f, 0x01, 0x16, 0x90, 0x7c, //       lgdt [0x7c90]
        0x0f, 0x22, 0xc0, //                         mov cr0, eax
        0x66, 0xea, 0x63, 0x7c, 0, 0, 0x08, 0, //    jmp 8:0x7c63
        // 64-bit code from here on.
        0xb9, 0x40, 0x4b, 0x4c, 0x00, //             mov ecx, 5000000
        0x0f, 0x20, 0xd8, //                   again: mov rax, cr3
        0x0f, 0x22, 0xd8, //                         mov cr3, rax
        0xe2, 0xf8, //                               loop again
        0xb0, ANSWER, //                             mov al, ANSWER
        0x66, 0xba, 0xf4, 0x00, //                   mov dx, 0xf4
        0xee, //                                     out dx, al
        0xf4, //                               stop:  hlt
        0xeb, 0xfd, //                               jmp stop
        0, 0, 0, 0, 0, 0, //                         (align 8)
        // Segments: none, 64-bit code; and where they are.
        0, 0, 0, 0, 0, 0, 0, 0, //                   dq 0
        0, 0, 0, 0, 0, 0x9a, 0x20, 0, //             dq 0x00209a0000000000
        0x0f, 0x00, 0x80, 0x7c, 0x00, 0x00, //       dw 15, dd 0x7c80
    ];
    let mut sector = vec![0; 512];
    sector[..CODE.len()].copy_from_slice(&CODE);
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

/// A guest that powers its machine off with `hvc`: PSCI's SYSTEM_OFF (Arm DEN0022, 0x84000008).
const ARM_POWER_OFF: [u32; 4] = [
    0x5280_0100, // mov w0, #0x0008
    0x72b0_8000, // movk w0, #0x8400, lsl #16
    0xd400_0002, // hvc #0
    0x1400_0000, // b .
];
