//! `convert`: writes an existing raw image in other formats.

use super::choices;
use super::console::Console;
use super::files::Files;
use super::{inspect, live, print};
use crate::build::{self, Conversion};
use crate::model::{Compression, Format};
use camino::Utf8PathBuf;
use std::time::Instant;

/// Options of `convert`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask convert target/images/debian.img --format vdi,vmdk
  cargo xtask convert disk.img --format qcow2 --compression zstd --output out
  cargo xtask convert disk.img --format raw --compress zstd --split 1900M")]
pub(super) struct Args {
    /// A raw image
    image: Utf8PathBuf,
    /// Formats to write, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "FORMAT", required = true, value_parser = choices::of::<Format>())]
    format: Vec<Format>,
    /// How the clusters of qcow2 images are compressed
    #[arg(long, default_value = "none", value_name = "HOW", value_parser = choices::of::<Compression>())]
    compression: Compression,
    /// Name of the files, without extension [default: the image's]
    #[arg(long)]
    name: Option<String>,
    /// Folder for the files [default: the image's folder]
    #[arg(long, short, value_name = "DIR")]
    output: Option<Utf8PathBuf>,
    #[command(flatten)]
    files: Files,
}

pub(super) fn run(args: &Args, console: Console) -> anyhow::Result<()> {
    let begun = Instant::now();
    let wanted = Conversion {
        image: args.image.clone(),
        formats: args.format.clone(),
        compression: args.compression,
        name: args.name.clone(),
        output: args.output.clone(),
        files: args.files.wanted(),
    };
    let paths = live::show(console, "convert", |progress| {
        build::convert(&wanted, progress)
    })?;
    console.stage(&format!("done in {:.1} s", begun.elapsed().as_secs_f64()));
    for path in paths {
        print(path.as_str())?;
    }
    inspect::tell(&args.image, &console);
    Ok(())
}
