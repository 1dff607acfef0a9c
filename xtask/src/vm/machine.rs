//! The virtual machine, and QEMU's arguments for it.

use super::accel::Accel;
use super::firmware::Files;
use super::image_format::ImageFormat;
use crate::error::Report;
use crate::model::Arch;
use crate::shell;
use camino::{Utf8Path, Utf8PathBuf};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The firmware that starts the machine.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Firmware {
    /// PC BIOS: SeaBIOS, which is part of QEMU.
    Bios,
    /// UEFI: OVMF on PCs, AAVMF on ARM.
    Uefi,
}

impl std::fmt::Display for Firmware {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Firmware::Bios => "BIOS",
            Firmware::Uefi => "UEFI",
        })
    }
}

/// The bus that the disk is attached to.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum DiskBus {
    /// virtio block device: `/dev/vda`.
    Virtio,
    /// SATA (AHCI): `/dev/sda`. PCs only: the firmware of ARM machines has no driver.
    Ahci,
    /// NVMe: `/dev/nvme0n1`.
    Nvme,
    /// SCSI with a virtio controller: `/dev/sda`.
    Scsi,
    /// Parallel ATA of an old PC (PIIX): `/dev/sda`. PCs only.
    Ide,
}

impl std::fmt::Display for DiskBus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            DiskBus::Virtio => "virtio",
            DiskBus::Ahci => "ahci",
            DiskBus::Nvme => "nvme",
            DiskBus::Scsi => "scsi",
            DiskBus::Ide => "ide",
        })
    }
}

/// A TCP port of the host that is forwarded to the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    /// Port on the host's loopback address.
    pub host: u16,
    /// Port of the guest.
    pub guest: u16,
}

/// The guest's network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// No network card.
    None,
    /// A card behind QEMU's built-in router (DHCP, DNS, NAT), which needs no privileges.
    User {
        /// Ports that are forwarded to the guest.
        forwards: Vec<Forward>,
        /// Whether the guest can reach only that router's DHCP server, and neither this host nor
        /// its networks. Forwarded ports still work.
        restricted: bool,
    },
}

impl Network {
    /// The same network, with access to the host's network only if `leads_out`.
    #[must_use]
    pub fn with_way_out(self, leads_out: bool) -> Network {
        match self {
            Network::None => Network::None,
            Network::User { forwards, .. } => Network::User {
                forwards,
                restricted: !leads_out,
            },
        }
    }

    /// Whether the guest can reach the host's network.
    pub fn leads_out(&self) -> bool {
        matches!(
            self,
            Network::User {
                restricted: false,
                ..
            }
        )
    }
}

/// The machine's screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Display {
    /// No graphics card.
    None,
    /// A graphics card without a window. Screenshots are possible.
    Hidden,
    /// A window.
    Window,
}

/// A virtual machine with one disk and a serial console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Architecture.
    pub arch: Arch,
    /// Firmware.
    pub firmware: Firmware,
    /// The bus of the disk.
    pub disk: DiskBus,
    /// Logical sector size of the disk in bytes: 512 or 4096.
    pub sector_size: u64,
    /// Format of the image file.
    pub format: ImageFormat,
    /// Memory in MiB, at least 64.
    pub memory_mib: u32,
    /// Number of virtual CPUs, 1 to 255.
    pub cpus: u32,
    /// Network.
    pub network: Network,
    /// Whether the guest's writes go to a temporary file instead of the image.
    pub snapshot: bool,
    /// Screen.
    pub display: Display,
    /// Additional arguments for QEMU, after all others.
    pub extra: Vec<String>,
}

/// What the machine's serial port is connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Console {
    /// QEMU's standard input and output, shared with QEMU's monitor (Ctrl-A C; Ctrl-A X quits).
    /// Ctrl-C goes to the guest.
    Terminal,
    /// QEMU's standard input and output, which are pipes. A reset ends QEMU.
    Pipes {
        /// A listening Unix socket for QEMU's control protocol.
        qmp: Utf8PathBuf,
        /// Captures what the BIOS and the boot loader show on a PC's screen.
        screen: Option<Screen>,
    },
}

/// What the BIOS and the boot loader show.
///
/// SeaBIOS copies its text screen, which boot loaders use too, to a serial port
/// (docs/Runtime_config.md of SeaBIOS, `etc/sercon-port`). This is the second port, because the
/// output of a boot loader that uses the first one itself would appear there twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Screen {
    /// A file that contains [`Screen::PORT`], little endian.
    pub port: Utf8PathBuf,
    /// The file that receives the text.
    pub text: Utf8PathBuf,
}

impl Screen {
    /// I/O port of a PC's second serial port.
    pub const PORT: u16 = 0x2f8;
}

impl Machine {
    /// A machine with a virtio disk from a raw image, 1 GiB of memory, two CPUs and a network. It
    /// does not modify the image.
    pub fn new(arch: Arch, firmware: Firmware) -> Machine {
        Machine {
            arch,
            firmware,
            disk: DiskBus::Virtio,
            sector_size: 512,
            format: ImageFormat::Raw,
            memory_mib: 1024,
            cpus: 2,
            network: Network::User {
                forwards: Vec::new(),
                restricted: false,
            },
            snapshot: true,
            display: Display::None,
            extra: Vec::new(),
        }
    }

    /// Refuses impossible combinations.
    pub fn check(&self) -> Result<(), Report> {
        if self.arch == Arch::Arm64 && self.firmware == Firmware::Bios {
            return Err(Report::mistake("an arm64 machine has no BIOS").hint("use UEFI instead"));
        }
        if self.arch == Arch::Arm64 && matches!(self.disk, DiskBus::Ide | DiskBus::Ahci) {
            return Err(Report::mistake(
                "an arm64 machine cannot boot from an IDE or SATA disk: its firmware has no driver",
            )
            .hint("choose virtio, nvme or scsi"));
        }
        if self.sector_size != 512 && matches!(self.disk, DiskBus::Ide | DiskBus::Ahci) {
            return Err(Report::mistake(format!(
                "the image needs a disk with sectors of {} bytes, but QEMU's IDE and SATA disks have 512",
                self.sector_size
            ))
            .hint("choose virtio, nvme or scsi"));
        }
        if self.memory_mib < 64 {
            return Err(Report::mistake(format!(
                "{} MiB of memory is too little to boot Linux",
                self.memory_mib
            ))
            .hint("use 64 MiB or more; 512 is enough for most machines"));
        }
        if !(1..=255).contains(&self.cpus) {
            return Err(
                Report::mistake(format!("a machine cannot have {} processors", self.cpus))
                    .hint("use 1 to 255"),
            );
        }
        Ok(())
    }

    /// QEMU's arguments for this machine. A pure function.
    ///
    /// `uefi` is required for UEFI and ignored for BIOS.
    pub fn arguments(
        &self,
        image: &Utf8Path,
        accel: Accel,
        uefi: Option<&Files>,
        console: &Console,
    ) -> Result<Vec<String>, Report> {
        self.check()?;
        let mut args = Args::default();
        // Only what is listed here: no VGA, no floppy, no user configuration.
        args.flag("-no-user-config");
        args.flag("-nodefaults");
        args.add("-machine", self.machine());
        args.add("-accel", accel.argument(self.arch));
        args.add("-cpu", accel.cpu(self.arch));
        args.add("-smp", self.cpus.to_string());
        args.add("-m", format!("{}M", self.memory_mib));
        // QEMU opens a window without this option.
        if self.display != Display::Window {
            args.add("-display", "none");
        }
        if self.firmware == Firmware::Uefi {
            let files =
                uefi.ok_or_else(|| Report::failure("a UEFI machine needs firmware files"))?;
            args.add(
                "-drive",
                format!(
                    "if=pflash,unit=0,format={},readonly=on,file={}",
                    files.code_format.name(),
                    file(&files.code)
                ),
            );
            args.add(
                "-drive",
                format!(
                    "if=pflash,unit=1,format={},file={}",
                    files.vars_format.name(),
                    file(&files.vars)
                ),
            );
        }
        args.add(
            "-drive",
            format!(
                "if=none,id=disk0,format={},snapshot={},file={}",
                self.format.name(),
                if self.snapshot { "on" } else { "off" },
                file(image)
            ),
        );
        for device in self.disk_devices() {
            let drive = device.contains("drive=disk0");
            let device = match self.sector_size {
                size if drive && size != 512 => {
                    format!("{device},logical_block_size={size},physical_block_size={size}")
                }
                _ => device.to_owned(),
            };
            args.add("-device", device);
        }
        // Only from this disk: firmware that tries the network next would hide the failure.
        args.add("-boot", "strict=on");
        match &self.network {
            Network::None => args.add("-nic", "none"),
            Network::User {
                forwards,
                restricted,
            } => {
                let mut netdev = "user,id=net0".to_owned();
                if *restricted {
                    netdev.push_str(",restrict=on");
                }
                for f in forwards {
                    netdev.push_str(&format!(",hostfwd=tcp:127.0.0.1:{}-:{}", f.host, f.guest));
                }
                args.add("-netdev", netdev);
                args.add("-device", "virtio-net-pci,netdev=net0,romfile=");
            }
        }
        // A guest without a source of randomness may wait for minutes.
        args.add("-device", "virtio-rng-pci");
        for device in self.display_devices() {
            args.add("-device", device);
        }
        match console {
            Console::Terminal => args.add("-serial", "mon:stdio"),
            Console::Pipes { qmp, screen } => {
                args.add("-chardev", "stdio,id=serial0,signal=off");
                args.add("-serial", "chardev:serial0");
                if let (Some(screen), Firmware::Bios) = (screen, self.firmware) {
                    args.add(
                        "-chardev",
                        format!("file,id=screen,path={}", escape(&screen.text)),
                    );
                    args.add("-serial", "chardev:screen");
                    args.add(
                        "-fw_cfg",
                        format!("name=etc/sercon-port,file={}", escape(&screen.port)),
                    );
                }
                args.add("-chardev", format!("socket,id=qmp,path={}", escape(qmp)));
                args.add("-mon", "chardev=qmp,mode=control");
                args.flag("-no-reboot");
            }
        }
        args.0.extend(self.extra.iter().cloned());
        Ok(args.0)
    }

    fn machine(&self) -> &'static str {
        match (self.arch, self.disk) {
            // The Q35 chipset has no parallel ATA.
            (Arch::Amd64, DiskBus::Ide) => "pc",
            (Arch::Amd64, _) => "q35",
            (Arch::Arm64, _) => "virt",
        }
    }

    fn display_devices(&self) -> Vec<&'static str> {
        match (self.display, self.arch) {
            (Display::None, _) => vec![],
            (_, Arch::Amd64) => vec!["VGA"],
            // A PC always has a keyboard.
            (_, Arch::Arm64) => vec!["virtio-gpu-pci", "qemu-xhci", "usb-kbd"],
        }
    }

    fn disk_devices(&self) -> Vec<&'static str> {
        match self.disk {
            DiskBus::Virtio => vec!["virtio-blk-pci,drive=disk0,bootindex=0"],
            DiskBus::Nvme => vec!["nvme,serial=disk0,drive=disk0,bootindex=0"],
            DiskBus::Scsi => vec![
                "virtio-scsi-pci,id=scsi0",
                "scsi-hd,bus=scsi0.0,drive=disk0,bootindex=0",
            ],
            // The bus has this name on both chipsets: AHCI on Q35, parallel ATA on the old PC.
            DiskBus::Ahci | DiskBus::Ide => vec!["ide-hd,bus=ide.0,drive=disk0,bootindex=0"],
        }
    }
}

/// The command that starts QEMU, quoted for a shell.
pub(super) fn shell_words(program: &Utf8Path, arguments: &[String]) -> String {
    let arguments = arguments.iter().map(String::as_str);
    shell::command_line(std::iter::once(program.as_str()).chain(arguments))
}

#[derive(Default)]
struct Args(Vec<String>);

impl Args {
    fn flag(&mut self, name: &str) {
        self.0.push(name.to_owned());
    }

    fn add(&mut self, name: &str, value: impl Into<String>) {
        self.0.push(name.to_owned());
        self.0.push(value.into());
    }
}

/// A value in an option. Commas are doubled, because a single one would end it.
fn escape(path: &Utf8Path) -> String {
    path.as_str().replace(',', ",,")
}

/// The path of a drive's file. QEMU reads the text before a colon as a protocol, unless a slash
/// precedes it.
fn file(path: &Utf8Path) -> String {
    if path.is_absolute() {
        escape(path)
    } else {
        format!("./{}", escape(path))
    }
}
