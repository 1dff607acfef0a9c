//! `boot`: boots an image in QEMU, with its serial console on this terminal.

use super::choices;
use super::console::Console;
use crate::error::Report;
use crate::model::{Arch, Format};
use crate::place;
use crate::recipe::{self, Found};
use crate::vm::claims::{self, Claims};
use crate::vm::copy::Copy;
use crate::vm::throwaway;
use crate::vm::{
    self, DiskBus, Display, Firmware, Forward, ImageFormat, Machine, Network, firmware,
};
use camino::{Utf8Path, Utf8PathBuf};
use std::process::ExitCode;

/// Options of `boot`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Press Ctrl-A X to stop the machine. Its changes to the disk are discarded unless --persist is given.

Examples:
  cargo xtask boot debian
  cargo xtask boot debian --root-login
  cargo xtask boot target/images/debian.img --firmware uefi --disk nvme
  cargo xtask boot debian --forward 8080:80 --memory 2048
  cargo xtask boot debian --gui --qemu-arg=-device --qemu-arg=usb-tablet --qemu-arg=-usb"
)]
pub(super) struct Args {
    /// Image file, or a recipe whose image is in the folder where `image` writes it
    image: String,
    /// Firmware [default: BIOS if the image supports it]
    #[arg(long, value_parser = choices::of::<Firmware>())]
    firmware: Option<Firmware>,
    /// Bus or controller that the disk is attached to
    #[arg(long, default_value = "virtio", value_parser = choices::of::<DiskBus>())]
    disk: DiskBus,
    /// Memory in MiB
    #[arg(long, default_value_t = 1024, value_name = "MIB")]
    memory: u32,
    /// Number of processors
    #[arg(long, default_value_t = 2)]
    cpus: u32,
    /// Forward a TCP port of this host to the guest; can be given several times
    #[arg(long, value_name = "HOST:GUEST", value_parser = forward)]
    forward: Vec<Forward>,
    /// Write the machine's changes to the image itself
    #[arg(long)]
    persist: bool,
    /// Let root log in with a password that is printed here. This uses a private copy of the image;
    /// the image itself is not changed
    #[arg(long, conflicts_with = "persist")]
    root_login: bool,
    /// Also open a window with the machine's screen
    #[arg(long)]
    gui: bool,
    /// Further argument for QEMU, after all others; one for each word
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    qemu_arg: Vec<String>,
    /// Architecture of the machine [default: that of the image's UEFI boot loader, or amd64]
    #[arg(long, value_parser = choices::of::<Arch>())]
    arch: Option<Arch>,
    #[command(flatten)]
    uefi: Uefi,
}

/// Files of the UEFI firmware.
#[derive(Debug, clap::Args)]
pub(super) struct Uefi {
    /// UEFI firmware: file with its code
    #[arg(long, value_name = "FILE")]
    ovmf_code: Option<Utf8PathBuf>,
    /// UEFI firmware: template of its variables
    #[arg(long, value_name = "FILE")]
    ovmf_vars: Option<Utf8PathBuf>,
}

impl Uefi {
    pub(super) fn flags(&self) -> firmware::Flags {
        firmware::Flags {
            code: self.ovmf_code.clone(),
            vars: self.ovmf_vars.clone(),
        }
    }
}

pub(super) fn run(args: &Args, console: Console) -> anyhow::Result<ExitCode> {
    let Named { image, .. } = named(&args.image)?;
    if let Some(text) = super::forwards::suggestion(&image, &args.forward) {
        console.note(&text);
    }
    let format = ImageFormat::of(&image);
    let claims = claims::of(&image, format)?;
    let arch = args.arch.unwrap_or_else(|| claims.arch());
    let machine = Machine {
        disk: args.disk,
        sector_size: claims.sector_size,
        format,
        memory_mib: args.memory,
        cpus: args.cpus,
        network: Network::User {
            forwards: args.forward.clone(),
            restricted: false,
        },
        snapshot: !args.persist,
        display: if args.gui {
            Display::Window
        } else {
            Display::None
        },
        extra: args.qemu_arg.clone(),
        ..Machine::new(arch, args.firmware.unwrap_or_else(|| guess(&claims, arch)))
    };
    let flags = args.uefi.flags();
    if args.root_login {
        let (copy, password) = with_root_login(&image, format, &claims)?;
        console.stage(&format!(
            "root's password, in this machine only: {password}"
        ));
        vm::interactive(&machine, copy.path(), &flags, &mut std::io::stderr())?;
    } else {
        vm::interactive(&machine, &image, &flags, &mut std::io::stderr())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A copy of the image in which root can log in, and the password.
fn with_root_login(
    image: &Utf8Path,
    format: ImageFormat,
    claims: &Claims,
) -> Result<(Copy, String), Report> {
    let cannot = |why: &str| {
        Report::mistake(format!("--root-login cannot add a login to {image}: {why}"))
            .hint("build the image with --root-password-file or --ssh-key instead")
    };
    let (ImageFormat::Raw, Some((root, _))) = (format, claims.root) else {
        return Err(cannot("it needs a raw image with an ext4 file system"));
    };
    let copy = Copy::of(image, &crate::plain::folder(image))?;
    let password = throwaway::add(copy.path(), root)?.map_err(|why| cannot(&why))?;
    Ok((copy, password))
}

/// The first firmware that the image supports. If it supports none, the usual one of the
/// architecture.
fn guess(claims: &Claims, arch: Arch) -> Firmware {
    match (arch, claims.firmwares().first()) {
        (Arch::Arm64, _) => Firmware::Uefi,
        (Arch::Amd64, claimed) => claimed.copied().unwrap_or(Firmware::Bios),
    }
}

/// An image on the command line.
pub(super) struct Named {
    /// Name for messages: the recipe's, or the file name without extension.
    pub(super) name: String,
    /// The image file.
    pub(super) image: Utf8PathBuf,
    /// The recipe, if one was named.
    pub(super) recipe: Option<Found>,
}

/// Finds the image file for `word`: the path of an image, or a recipe.
pub(super) fn named(word: &str) -> Result<Named, Report> {
    let path = Utf8PathBuf::from(word);
    if path.is_file() && path.file_name() != Some("recipe.yaml") {
        return Ok(Named {
            name: path.file_stem().unwrap_or(word).to_owned(),
            image: path,
            recipe: None,
        });
    }
    if !path.exists() && (word.contains('/') || path.extension().is_some()) {
        return Err(
            Report::mistake(format!("there is no image at {word}")).hint(format!(
                "`cargo xtask image RECIPE` makes one in {}",
                place::images()
            )),
        );
    }
    let found = recipe::find(word)?;
    let dir = place::images();
    let Some(image) = image_in(&dir, &found) else {
        let path = dir.join(Format::Raw.file_name(&found.name));
        return Err(
            Report::mistake(format!("the recipe {word} has no image yet: no {path}"))
                .hint(format!("run `cargo xtask image {word}` first")),
        );
    };
    Ok(Named {
        name: found.name.clone(),
        image,
        recipe: Some(found),
    })
}

/// The image of a recipe in a folder: its first format that exists. Others may have been written for
/// targets or with `--format`.
fn image_in(dir: &Utf8Path, found: &Found) -> Option<Utf8PathBuf> {
    let formats = found.recipe.formats.iter().copied();
    formats
        .chain(Format::ALL)
        .filter(|f| ImageFormat::written(*f).is_some())
        .map(|f| dir.join(f.file_name(&found.name)))
        .find(|f| f.is_file())
}

fn forward(text: &str) -> Result<Forward, String> {
    let parsed = text.split_once(':').and_then(|(host, guest)| {
        Some(Forward {
            host: host.parse().ok()?,
            guest: guest.parse().ok()?,
        })
    });
    parsed.ok_or_else(|| "write two ports separated by a colon, e.g. 2222:22".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::recipe::Recipe;

    #[test]
    fn the_image_of_a_recipe_may_be_in_a_format_of_its_targets() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap();
        let found = Found {
            name: "box".into(),
            dir: "recipes/box".into(),
            recipe: Recipe::default(),
        };
        let there = |name: &str| fs_err::write(dir.join(name), "").unwrap();
        let name = || image_in(dir, &found).map(|path| path.file_name().unwrap().to_owned());
        // QEMU opens no archive.
        there("box.ova");
        there("box.gcp.tar.gz");
        assert_eq!(name(), None);
        there("box.fixed.vhd");
        assert_eq!(name().as_deref(), Some("box.fixed.vhd"));
        there("box.img");
        assert_eq!(name().as_deref(), Some("box.img"));
    }
}
