//! `inspect`: looks into an image without booting it.

use super::console::Console;
use super::{print, print_json, table};
use crate::error::Report;
use crate::inspect::{self, Severity};
use camino::{Utf8Path, Utf8PathBuf};

/// Options of `inspect`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Reads a raw image or one in another format, compressed or not, also of other people, and changes
nothing. It prints a picture of the disk, and findings: each has a severity, a name, a cause and what
to do. An error means that the image cannot boot. The exit code is 1 if there is one.

Examples:
  cargo xtask inspect target/images/debian.img
  cargo xtask inspect disk.qcow2 --json"
)]
pub(super) struct Args {
    /// An image file, in any format that `image` writes
    #[arg(value_name = "IMAGE")]
    image: Utf8PathBuf,
    /// Print everything as JSON; `cargo xtask schema --inspection` prints the schema
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let seen = inspect::inspect(&args.image)?;
    match args.json {
        true => print_json(&seen)?,
        false => print(&inspect::picture(&seen, table::width()))?,
    }
    let mut errors = seen
        .findings
        .iter()
        .filter(|f| f.severity == Severity::Error);
    let Some(first) = errors.next() else {
        return Ok(());
    };
    let more = match errors.count() {
        0 => String::new(),
        n => format!(" (and {n} more)"),
    };
    let report = Report::failure(format!("{} cannot boot: {}{more}", args.image, first.cause));
    Err(report.hint(&first.cure).into())
}

/// Says what stops an image from booting, if anything does. For commands about other things: what
/// cannot be looked into is their own business.
pub(super) fn tell(image: &Utf8Path, console: &Console) {
    let Ok(seen) = inspect::inspect(image) else {
        return;
    };
    for finding in &seen.findings {
        if finding.severity == Severity::Error {
            console.note(&format!("{image} cannot boot: {}", finding.cause));
        }
    }
}
