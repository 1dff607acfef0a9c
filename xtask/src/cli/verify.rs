//! `verify`: checks the images in a folder against their metadata files.

use super::console::Console;
use super::inspect;
use crate::deliver::verify;
use crate::error::Report;
use crate::model::size::Size;
use crate::place;
use crate::progress::Progress;
use crate::vm::ImageFormat;
use camino::{Utf8Path, Utf8PathBuf};

/// Options of `verify`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Checks SHA256SUMS, the manifests, the joined parts, the partition tables of
raw images, and the lists of packages. The exit code is 1 if anything does not match. It also says
what `inspect` finds that stops an image from booting.

Examples:
  cargo xtask verify target/images"
)]
pub(super) struct Args {
    /// Folder with images and their metadata files
    #[arg(default_value_t = place::images())]
    dir: Utf8PathBuf,
}

pub(super) fn run(args: &Args, console: Console) -> anyhow::Result<()> {
    console.stage(&format!("checking {}", args.dir));
    let bar = console.bytes("reading", None);
    let outcome = verify::verify(&args.dir, &|n| bar.add(n))?;
    drop(bar);
    for problem in &outcome.problems {
        console.note(problem);
    }
    for image in images(&args.dir) {
        inspect::tell(&image, &console);
    }
    let Some(first) = outcome.problems.first() else {
        console.stage(&format!(
            "{} ({}) and {} match",
            counted(outcome.files, "file"),
            Size(outcome.bytes),
            counted(outcome.manifests, "manifest")
        ));
        return Ok(());
    };
    let more = match outcome.problems.len() {
        1 => String::new(),
        n => format!(" (and {} more)", n - 1),
    };
    Err(
        Report::failure(format!("checking {}: {first}{more}", args.dir))
            .hint("download the file again, or rebuild the image")
            .into(),
    )
}

/// The images in a folder that are not compressed, sorted.
fn images(dir: &Utf8Path) -> Vec<Utf8PathBuf> {
    let Ok(entries) = dir.read_dir_utf8() else {
        return Vec::new();
    };
    let paths = entries.filter_map(|e| e.ok().map(|e| e.into_path()));
    let mut paths: Vec<Utf8PathBuf> = paths
        .filter(|path| ImageFormat::known(path).is_some())
        .collect();
    paths.sort();
    paths
}

/// A number of things: `1 file`, `2 files`.
fn counted(number: u64, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}
