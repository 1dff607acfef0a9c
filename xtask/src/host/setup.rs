//! Installs what is missing on this host.

use super::command::{self, sudo};
use super::items::{self, Item, Use};
use super::{arm64, checkers};
use crate::engine::{self, Engine};
use crate::error::Report;
use crate::progress::Progress;
use crate::recipe;
use crate::tool::{self, PackageManager};

/// What to install in addition to what is needed to make and boot images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    /// What is needed to work on this project.
    pub dev: bool,
    /// What is needed to build and boot images for arm64 with emulation.
    pub arm64: bool,
}

impl Wanted {
    fn uses(self) -> Vec<Use> {
        let mut uses = vec![Use::Images, Use::Boots];
        if self.dev {
            uses.extend([Use::Bases, Use::Dev]);
        }
        uses
    }

    /// What is missing for these uses.
    fn missing(self, uses: &[Use]) -> Vec<Item> {
        let arm64 = self.arm64.then(arm64::items).into_iter().flatten();
        let all = items::items().into_iter().chain(arm64);
        all.filter(|i| i.found.is_err() && uses.contains(&i.matters))
            .collect()
    }
}

/// The commands that would install what is missing, in order. Empty if nothing is.
///
/// # Errors
/// If packages are missing and this host's package manager is not known.
pub fn commands(wanted: Wanted) -> Result<Vec<String>, Report> {
    let packages = packages_of(&wanted.missing(&wanted.uses()));
    let mut commands = Vec::new();
    if !packages.is_empty() {
        commands.push(manager(&packages)?.install(&packages.join(" ")));
    }
    if wanted.dev {
        commands.extend(checkers::install().iter().map(command::Command::shown));
    }
    Ok(commands)
}

/// Installs what is missing.
///
/// # Errors
/// If something cannot be installed without which the rest is of no use.
pub fn install(wanted: Wanted, progress: &dyn Progress) -> Result<(), Report> {
    install_packages(wanted, &wanted.uses(), progress)?;
    if wanted.dev {
        command::all(&checkers::install(), &|what| progress.stage(what))?;
    } else if needs_bootstraps(progress) {
        progress.note("the recipes' base images cannot be pulled; installing what is needed to make them here");
        install_packages(wanted, &[Use::Bases], progress)?;
    }
    Ok(())
}

/// Whether a bootstrap has to make a base image of the recipes, because the image is missing and
/// the engine cannot pull it. This asks the engine itself, which may use a mirror, and tries one
/// base, which is enough to see whether a registry answers.
fn needs_bootstraps(progress: &dyn Progress) -> bool {
    let Ok(engine) = Engine::find(None) else {
        return false;
    };
    let recipes = recipe::all().unwrap_or_default();
    let missing = recipes
        .iter()
        .filter(|found| found.dir.join(recipe::BOOTSTRAP).is_file())
        .filter_map(|found| found.recipe.base.as_deref())
        .find(|base| !engine.has_image(base));
    let say = |text: &str| progress.stage(text);
    missing.is_some_and(|base| {
        engine::ensure_base(&engine, base, engine::host_arch(), None, &say).is_err()
    })
}

/// The packages that provide these items, each once.
fn packages_of(items: &[Item]) -> Vec<&'static str> {
    let packages = items.iter().flat_map(|i| i.packages.iter().copied());
    let mut packages: Vec<&str> = packages.collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

fn manager(packages: &[&str]) -> Result<PackageManager, Report> {
    PackageManager::of_host().ok_or_else(|| {
        Report::failure("setup does not support this host's package manager").hint(format!(
            "install these packages or their equivalents: {}",
            packages.join(" ")
        ))
    })
}

/// Installs the missing items that the distribution has packages for.
fn install_packages(wanted: Wanted, uses: &[Use], progress: &dyn Progress) -> Result<(), Report> {
    let missing = wanted.missing(uses);
    let packages = packages_of(&missing);
    if packages.is_empty() {
        return report_rest(&missing, progress);
    }
    let names = packages.join(" ");
    let manager = manager(&packages)?;
    if manager != PackageManager::Apt {
        return Err(Report::failure(
            "setup can install packages on Debian and Ubuntu only, and some are missing",
        )
        .hint(format!("run `{}`", manager.install(&names))));
    }
    progress.stage(&format!("installing {names}"));
    apt(&packages, progress)?;
    if wanted.arm64 && !arm64::runs_here() {
        arm64::register(progress);
    }
    let left = wanted.missing(uses);
    report_rest(&left, progress)?;
    // An item that its package did not provide is a failure of this command.
    if let Some(item) = left.iter().find(|i| !i.packages.is_empty()) {
        return Err(Report::failure(format!(
            "{} is still missing after the installation",
            item.name
        ))
        .hint(format!("install {} manually", item.packages.join(" "))));
    }
    Ok(())
}

/// Reports items that no package provides. This is a failure only if no image can be made.
fn report_rest(left: &[Item], progress: &dyn Progress) -> Result<(), Report> {
    for item in left {
        let why = item.found.as_ref().err().cloned().unwrap_or_default();
        if item.matters == Use::Images {
            return Err(Report::failure(why));
        }
        progress.note(&format!("{}: {why}", item.name));
    }
    Ok(())
}

/// Installs packages with apt.
pub(super) fn apt(packages: &[&str], progress: &dyn Progress) -> Result<(), Report> {
    let failed = |e: xshell::Error, what: &str| {
        Report::failure(format!("installing packages: {what}"))
            .because(e)
            .hint("see its output above; `cargo xtask setup --print` prints the command")
    };
    let run = |arguments: &[&str]| {
        let apt = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"];
        let words: Vec<&str> = sudo().into_iter().chain(apt).collect();
        command::run(&[&words, arguments].concat())
    };
    run(&["update", "-qq"]).map_err(|e| failed(e, "apt-get update"))?;
    const INSTALL: [&str; 4] = ["install", "-y", "-qq", "--no-install-recommends"];
    // Without --no-remove, apt may resolve a conflict by removing installed packages, e.g.
    // qemu-img.
    if run(&[&INSTALL[..], &["--no-remove"], packages].concat()).is_ok() {
        return Ok(());
    }
    // A qemu-utils from backports conflicts with the release's own QEMU, and apt does not downgrade
    // installed packages by itself.
    let release = tool::os_release("VERSION_CODENAME").unwrap_or_default();
    let own_release = format!("qemu-utils/{release}");
    progress.note(&format!("apt failed; trying again with {own_release}"));
    run(&[
        &INSTALL[..],
        &["--allow-downgrades", &own_release],
        packages,
    ]
    .concat())
    .map_err(|e| failed(e, "apt-get install"))
}
