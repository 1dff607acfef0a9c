//! `boot`: an image in QEMU, with its serial console on this terminal.

use super::console::Console;
use crate::boot::{self, DiskBus, Firmware, Forward, ImageFormat, Machine, Network, firmware};
use crate::error::Report;
use crate::recipe::{self, Arch};
use camino::{Utf8Path, Utf8PathBuf};
use std::process::ExitCode;

/// Options of `boot`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Ctrl-A X ends the machine. What it writes is thrown away unless --persist is given.

Examples:
  cargo xtask boot debian
  cargo xtask boot target/images/debian.img --firmware uefi --disk nvme
  cargo xtask boot debian --forward 8080:80 --memory 2048"
)]
pub(super) struct Args {
    /// An image file, or a recipe whose image is in target/images
    image: String,
    /// Firmware [default: BIOS if the image has boot code for it]
    #[arg(long)]
    firmware: Option<Firmware>,
    /// What the disk hangs on
    #[arg(long, default_value = "virtio")]
    disk: DiskBus,
    /// Memory in MiB
    #[arg(long, default_value_t = 1024, value_name = "MIB")]
    memory: u32,
    /// Number of processors
    #[arg(long, default_value_t = 2)]
    cpus: u32,
    /// Lead a TCP port of this host into the guest
    #[arg(long, value_name = "HOST:GUEST", value_parser = forward)]
    forward: Vec<Forward>,
    /// Let the machine write to the image itself
    #[arg(long)]
    persist: bool,
    /// Architecture of the machine
    #[arg(long, default_value = "amd64")]
    arch: Arch,
    /// UEFI firmware: its code
    #[arg(long, value_name = "FILE")]
    ovmf_code: Option<Utf8PathBuf>,
    /// UEFI firmware: the template of its variables
    #[arg(long, value_name = "FILE")]
    ovmf_vars: Option<Utf8PathBuf>,
}

pub(super) fn run(args: &Args, _console: Console) -> anyhow::Result<ExitCode> {
    let image = image(&args.image)?;
    let firmware = match args.firmware {
        Some(firmware) => firmware,
        None => default_firmware(&image, args.arch)?,
    };
    let machine = Machine {
        disk: args.disk,
        format: ImageFormat::of(&image),
        memory_mib: args.memory,
        cpus: args.cpus,
        network: Network::User {
            forwards: args.forward.clone(),
        },
        snapshot: !args.persist,
        ..Machine::new(args.arch, firmware)
    };
    let flags = firmware::Flags {
        code: args.ovmf_code.clone(),
        vars: args.ovmf_vars.clone(),
    };
    boot::interactive(&machine, &image, &flags, &mut std::io::stderr())?;
    Ok(ExitCode::SUCCESS)
}

/// The image file that is meant.
fn image(named: &str) -> Result<Utf8PathBuf, Report> {
    let path = Utf8PathBuf::from(named);
    if path.is_file() {
        return Ok(path);
    }
    if named.contains('/') || path.extension().is_some() {
        return Err(Report::mistake(format!("there is no image at {named}"))
            .hint("`cargo xtask image RECIPE` makes one in target/images"));
    }
    let found = recipe::find(named)?;
    let path = Utf8PathBuf::from("target/images").join(format!("{}.img", found.name));
    if path.is_file() {
        return Ok(path);
    }
    Err(
        Report::mistake(format!("the recipe {named} has no image yet: no {path}"))
            .hint(format!("run `cargo xtask image {named}` first")),
    )
}

/// BIOS, if there is boot code at the very start of the disk.
fn default_firmware(image: &Utf8Path, arch: Arch) -> Result<Firmware, Report> {
    use std::io::Read;
    if arch == Arch::Arm64 || ImageFormat::of(image) != ImageFormat::Raw {
        return Ok(if arch == Arch::Arm64 {
            Firmware::Uefi
        } else {
            Firmware::Bios
        });
    }
    let mut start = [0; crate::disk::mbr::BOOT_CODE];
    fs_err::File::open(image)
        .and_then(|mut f| f.read_exact(&mut start))
        .map_err(|e| {
            Report::mistake(format!("{image} is no disk image"))
                .because(e)
                .hint("give an image that `cargo xtask image` made")
        })?;
    Ok(if start.iter().any(|b| *b != 0) {
        Firmware::Bios
    } else {
        Firmware::Uefi
    })
}

fn forward(text: &str) -> Result<Forward, String> {
    let parsed = text.split_once(':').and_then(|(host, guest)| {
        Some(Forward {
            host: host.parse().ok()?,
            guest: guest.parse().ok()?,
        })
    });
    parsed.ok_or_else(|| "write two ports with a colon between, as 2222:22".to_owned())
}
