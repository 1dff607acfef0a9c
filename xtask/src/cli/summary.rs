//! The summary that `image` prints at the end: what was made, and the next command to run.

use crate::build::Built;
use crate::model::Size;
use crate::place;
use crate::shell;
use crate::vm::ImageFormat;
use camino::{Utf8Path, Utf8PathBuf};
use std::os::unix::fs::MetadataExt;

/// A few lines about an image. `recipe` is the recipe's name as given by the user, if there was
/// one.
pub(super) fn of(built: &Built, recipe: Option<&str>) -> Vec<String> {
    let plan = &built.plan;
    let mut lines: Vec<String> = built.files.iter().map(|path| file(path)).collect();
    let mut row = |name: &str, value: String| lines.push(format!("{name:<9}{value}"));
    row(
        "disk",
        format!("{}, {} free", Size(plan.disk.size), Size(plan.root.free)),
    );
    if let (Some(volumes), Some(partition)) = (&plan.volumes, plan.disk.volumes()) {
        let folders: Vec<&str> = volumes.list.iter().map(|v| v.at.as_str()).collect();
        let size = Size(partition.len);
        row(
            "volumes",
            format!("{} on a partition of {size}", folders.join(", ")),
        );
    }
    row(
        "firmware",
        format!("{} ({})", plan.boot.firmware(), plan.arch),
    );
    let service = plan.container.as_ref().filter(|c| c.restart.is_some());
    if let Some(container) = service {
        row(
            "service",
            shell::command_line(container.command.iter().map(String::as_str)),
        );
    }
    row("login", logins(&built.logins));
    for page in pages(built) {
        row("import", format!("see {page}"));
    }
    if let Some(next) = next(built, recipe) {
        row("next", next);
    }
    lines
}

/// The pages that say how the image is imported, if they were written.
pub(super) fn pages(built: &Built) -> Vec<Utf8PathBuf> {
    let Some(dir) = built.files.first().and_then(|file| file.parent()) else {
        return Vec::new();
    };
    let plan = &built.plan;
    let pages = plan.targets.iter();
    let pages = pages.map(|target| dir.join(target.page_name(&plan.name)));
    pages.filter(|page| page.is_file()).collect()
}

fn file(path: &Utf8Path) -> String {
    let Ok(meta) = path.metadata() else {
        return path.to_string();
    };
    // st_blocks is in units of 512 bytes, whatever the file system (stat(2)).
    let on_disk = Size(meta.blocks() * 512);
    match meta.len() > meta.blocks() * 512 {
        true => format!("{path}: {on_disk} on disk, {} nominal", Size(meta.len())),
        false => format!("{path}: {on_disk}"),
    }
}

fn logins(logins: &[String]) -> String {
    match logins {
        [] => {
            "nobody; use --ssh-key FILE or --root-password-file FILE to let root log in".to_owned()
        }
        names => names.join(", "),
    }
}

/// The command that boots the image here.
fn next(built: &Built, recipe: Option<&str>) -> Option<String> {
    let image = built.files.first()?;
    ImageFormat::known(image)?;
    let default = place::images();
    let by_name = recipe.filter(|r| !r.contains('/') && image.parent() == Some(&default));
    let word = by_name.filter(|r| **r == built.plan.name);
    let word = word.map_or_else(|| shell::command_line([image.as_str()]), str::to_owned);
    let more = if built.logins.is_empty() {
        " --root-login"
    } else {
        ""
    };
    Some(format!("cargo xtask boot {word}{more}"))
}
