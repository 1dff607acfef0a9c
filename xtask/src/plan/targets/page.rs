//! The page next to an image that says how it is imported.
//!
//! A row of the table has a text for it. A line of the text that begins with `%WORD ` is for images
//! to which the word applies, and one with `%!WORD ` for all others; there may be several. Words:
//! `bios`, `uefi` and `hybrid` (the boot mode); `amd64` and `arm64`; the name of the target; the name
//! of the file's format. `@WORD@` is replaced, see [`replaced`].

use super::Platform;
use crate::model::size::{GIB, MIB, Size};
use crate::model::{Arch, BootMode, Format, Packing};
use crate::shell::quote;

/// The image that a page is about.
#[derive(Debug, Clone)]
pub struct Imported<'a> {
    /// Name of the image.
    pub name: &'a str,
    /// Size of the disk in bytes, a multiple of 1 MiB.
    pub disk: u64,
    /// The firmware that it boots with.
    pub boot: BootMode,
    /// Architecture of the machine.
    pub arch: Arch,
    /// Kernel arguments of the default boot entry.
    pub arguments: &'a str,
    /// Name of the kernel's file, which is there if the format is [`Format::Rootfs`].
    pub kernel: String,
    /// Name of the initrd's file, as the kernel's.
    pub initrd: String,
    /// Its file.
    pub file: ImageFile<'a>,
}

/// A file of an image.
#[derive(Debug, Clone)]
pub struct ImageFile<'a> {
    /// Its format.
    pub format: Format,
    /// Its name, or that of the file that its parts make together.
    pub name: &'a str,
    /// Its size in bytes.
    pub size: u64,
    /// How it is compressed as a whole.
    pub packing: Option<Packing>,
    /// Name of the script that joins its parts, if it was split.
    pub join: Option<String>,
}

/// The page about importing an image on a platform, as Markdown.
pub fn page(row: &Platform, image: &Imported<'_>) -> String {
    let file = &image.file;
    let holds = match file.format {
        Format::Rootfs => format!(
            "holds the root file system; `{}` and `{}` are its kernel and its initrd ({})",
            image.kernel, image.initrd, image.arch
        ),
        _ => format!(
            "holds a disk of {} that boots with {} ({})",
            Size(image.disk),
            image.boot.firmware(),
            image.arch
        ),
    };
    let mut text = format!(
        "# {} for {}\n\n`{}` ({}) {holds}.\n\n",
        image.name,
        row.title,
        file.name,
        Size(file.size),
    );
    let mut first = Vec::new();
    if let Some(script) = &file.join {
        first.push(format!("sh {script}"));
    }
    if let Some(packing) = file.packing {
        let program = match packing {
            Packing::Zstd => "zstd",
            Packing::Xz => "xz",
            Packing::Gzip => "gzip",
        };
        first.push(format!("{program} -d -k {}", file.name));
    }
    if !first.is_empty() {
        let what = match (&file.join, file.packing) {
            (Some(_), None) => "Join its parts first:",
            _ => "Unpack it first:",
        };
        text.push_str(&format!("{what}\n\n```sh\n{}\n```\n\n", first.join("\n")));
    }
    for line in row.import.lines() {
        if let Some(line) = chosen(line, row, image) {
            text.push_str(&replaced(line, image));
            text.push('\n');
        }
    }
    text
}

/// The line without its words, if all of them apply.
fn chosen<'a>(mut line: &'a str, row: &Platform, image: &Imported<'_>) -> Option<&'a str> {
    while let Some(rest) = line.strip_prefix('%') {
        // A condition alone stands for an empty line.
        let (word, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let (word, wanted) = match word.strip_prefix('!') {
            Some(word) => (word, false),
            None => (word, true),
        };
        if applies(word, row, image) != wanted {
            return None;
        }
        line = rest;
    }
    Some(line)
}

fn applies(word: &str, row: &Platform, image: &Imported<'_>) -> bool {
    match word {
        "bios" => image.boot == BootMode::Bios,
        "uefi" => image.boot == BootMode::Uefi,
        "hybrid" => image.boot == BootMode::Hybrid,
        "amd64" => image.arch == Arch::Amd64,
        "arm64" => image.arch == Arch::Arm64,
        _ => word == row.target.name() || word == image.file.format.name(),
    }
}

/// A line with the image's own names and sizes.
fn replaced(line: &str, image: &Imported<'_>) -> String {
    let file = &image.file;
    let plain = match file.packing {
        Some(packing) => {
            let end = format!(".{}", packing.extension());
            file.name.strip_suffix(&end).unwrap_or(file.name)
        }
        None => file.name,
    };
    let machine = match image.arch {
        Arch::Amd64 => "x86_64",
        Arch::Arm64 => "aarch64",
    };
    // A fixed VHD is the disk and a footer of 512 bytes.
    let vhd = image.disk + 512;
    let words = [
        // Name of the image.
        ("@name@", image.name.to_owned()),
        // Name of the uncompressed file.
        ("@file@", plain.to_owned()),
        // The format as the program calls it.
        ("@format@", file.format.name().to_owned()),
        // Size of the disk.
        ("@disk@", Size(image.disk).to_string()),
        ("@disk-mib@", image.disk.div_ceil(MIB).to_string()),
        ("@disk-gib@", image.disk.div_ceil(GIB).to_string()),
        ("@vhd-bytes@", vhd.to_string()),
        // Architecture as Linux and QEMU call it, and as Debian does.
        ("@machine@", machine.to_owned()),
        ("@arch@", image.arch.to_string()),
        // What is loaded without firmware.
        ("@kernel@", image.kernel.clone()),
        ("@initrd@", image.initrd.clone()),
        ("@arguments@", quote(image.arguments)),
    ];
    let all = words.iter();
    all.fold(line.to_owned(), |line, (word, value)| {
        line.replace(word, value)
    })
}
