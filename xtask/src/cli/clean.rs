//! `clean`.

use super::console::Console;
use crate::engine::{self, Engine};
use anyhow::Context;
use camino::Utf8Path;
use fs_err as fs;

/// Options of `clean`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Also remove the container images that recipes were built into
    #[arg(long)]
    engine: bool,
}

/// What this program makes below `target`; the rest of it is cargo's.
const FOLDERS: [&str; 4] = [
    "target/images",
    "target/bootloader",
    "target/bench",
    "target/smoke",
];

pub(super) fn run(args: &Args, console: Console) -> anyhow::Result<()> {
    for folder in FOLDERS.map(Utf8Path::new) {
        if folder.exists() {
            console.stage(&format!("removing {folder}"));
            fs::remove_dir_all(folder).context("removing what was made")?;
        }
    }
    // Where there is no engine, there are no containers.
    if let Ok(engine) = Engine::find(None) {
        let removed = engine::remove_leftovers(&engine);
        if removed > 0 {
            console.stage(&format!(
                "removed {removed} containers of runs of this program that were killed"
            ));
        }
    }
    if args.engine {
        let engine = Engine::find(None)?;
        for image in engine::own_images(&engine)? {
            console.stage(&format!("removing the container image {image}"));
            engine::remove_image(&engine, &image)?;
        }
    }
    Ok(())
}
