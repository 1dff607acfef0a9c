//! `doctor`.

use super::{print, table};
use crate::host::{self, Use};
use crate::printable;
use crate::tool::PackageManager;
use std::process::ExitCode;

/// Prints what is installed and what is missing. The exit code is 1 if images cannot be made.
pub(super) fn run() -> anyhow::Result<ExitCode> {
    let items = host::items();
    let mut table = table::new(["", "WHAT", "FOUND"]);
    for item in &items {
        let missing = |why: &str| format!("{why}; needed to {}", item.why);
        let (mark, found) = match (&item.found, item.matters) {
            (Ok(found), _) => ("ok", found.clone()),
            (Err(why), Use::Images) => ("FAIL", missing(why)),
            (Err(why), _) => ("-", missing(why)),
        };
        table.add_row([mark, &item.name, &found].map(printable::line));
    }
    print(&table.trim_fmt())?;
    let manager = PackageManager::of_host();
    for (what, wanted) in [
        ("make images", Use::Images),
        ("boot images", Use::Boots),
        ("make base images without a registry", Use::Bases),
        ("work on this project", Use::Dev),
    ] {
        let missing: Vec<&str> = items
            .iter()
            .filter(|i| i.matters == wanted && i.found.is_err())
            .flat_map(|i| i.packages.iter().copied())
            .collect();
        if let (Some(manager), false) = (manager, missing.is_empty()) {
            print(&format!(
                "to {what}: {}",
                manager.install(&missing.join(" "))
            ))?;
        }
    }
    let broken = items
        .iter()
        .any(|i| i.matters == Use::Images && i.found.is_err());
    Ok(ExitCode::from(u8::from(broken)))
}
