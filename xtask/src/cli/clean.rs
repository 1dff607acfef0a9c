//! `clean`.

use super::console::Console;
use crate::engine::{self, Engine};
use crate::error::Report;
use crate::machine::Store;
use crate::output::Folder;
use crate::place;
use anyhow::Context;
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;

/// Options of `clean`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folders in which to look for temporary files of killed runs; nothing else in them is removed
    #[arg(value_name = "DIR")]
    dirs: Vec<Utf8PathBuf>,
    /// Also remove all machines; else only those that newer ones replaced
    #[arg(long)]
    machines: bool,
    /// Also remove the container images that recipes were built into
    #[arg(long)]
    engine: bool,
}

/// The folders that belong to this program. In a checkout, images are among them, and the other
/// folders in `target` belong to cargo.
fn folders() -> Vec<Utf8PathBuf> {
    let caches = [
        "bootloader",
        "recipes",
        "registry",
        "bench",
        "checked",
        "exports",
        "made",
    ];
    let mut folders: Vec<_> = caches.into_iter().map(place::cache).collect();
    folders.push(place::state("smoke"));
    if place::in_checkout() {
        folders.insert(0, place::images());
    }
    folders
}

/// Whether another run is writing to a folder or to one of its subfolders.
fn in_use(folder: &Utf8Path) -> anyhow::Result<bool> {
    let mut folders = vec![folder.to_owned()];
    for entry in folder.read_dir_utf8()? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            folders.push(entry.into_path());
        }
    }
    for folder in folders {
        if Folder::lock(&folder)?.is_in_use()? {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) fn run(args: &Args, console: Console) -> anyhow::Result<()> {
    for folder in folders() {
        if folder.exists() {
            if in_use(&folder)? {
                console.note(&format!(
                    "{folder} was not removed: another run is writing to it"
                ));
                continue;
            }
            console.stage(&format!("removing {folder}"));
            fs::remove_dir_all(&folder).context("removing old files")?;
        }
    }
    let store = Store::default();
    if args.machines && store.dir().exists() {
        console.stage(&format!("removing {}", store.dir()));
        fs::remove_dir_all(store.dir()).context("removing the machines")?;
    }
    let replaced = store.prune()?;
    if replaced > 0 {
        console.stage(&format!(
            "removed {replaced} machines that newer ones of the same name replaced"
        ));
    }
    for dir in &args.dirs {
        let failed =
            |e| Report::failure(format!("looking for temporary files in {dir}")).because(e);
        if !dir.is_dir() {
            return Err(Report::mistake(format!("{dir} is not a folder")).into());
        }
        let swept = Folder::lock(dir)
            .and_then(|folder| folder.sweep())
            .map_err(failed)?;
        console.stage(&format!("{dir}: {swept}"));
    }
    // Without an engine there are no containers.
    if let Ok(engine) = Engine::find(None) {
        let removed = engine::remove_leftovers(&engine);
        if removed > 0 {
            console.stage(&format!(
                "removed {removed} containers that killed runs of this program left"
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
