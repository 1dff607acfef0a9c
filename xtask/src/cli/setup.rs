//! `setup`: installs what is missing on this host.

use super::checkers;
use super::console::Console;
use super::host::{self, Item, Use};
use crate::engine::{self, Engine};
use crate::error::Report;
use crate::recipe;
use crate::tool::{self, PackageManager};
use xshell::{Shell, cmd};

/// Options of `setup`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask setup              what is needed to make and boot images
  cargo xtask setup --dev        also what is needed for `cargo xtask ci`
  cargo xtask setup --print      only print the command")]
pub(super) struct Args {
    /// Also install what is needed to work on this project: external checkers, mmdebstrap, act
    #[arg(long)]
    dev: bool,
    /// Also install what is needed to build and boot images for arm64 with emulation
    #[arg(long)]
    arm64: bool,
    /// Print the command without running it
    #[arg(long)]
    print: bool,
}

pub(super) fn run(args: &Args, console: Console) -> anyhow::Result<()> {
    let mut wanted = vec![Use::Images, Use::Boots];
    if args.dev {
        wanted.extend([Use::Bases, Use::Dev]);
    }
    packages(args, &wanted, console)?;
    if args.print {
        return Ok(());
    }
    if args.dev {
        if checkers::spdx().is_err() {
            console.stage("installing the SPDX validator");
            checkers::install_spdx()?;
        }
        if checkers::workflows().is_err() {
            console.stage("installing the workflow checkers and act");
            checkers::for_workflows()?;
        }
    } else if needs_bootstraps(console) {
        console.note("the recipes' base images cannot be pulled; installing what is needed to make them here");
        packages(args, &[Use::Bases], console)?;
    }
    console.stage("everything is installed");
    Ok(())
}

/// Whether a bootstrap has to make a base image of the recipes, because the image is missing and
/// the engine cannot pull it. This asks the engine itself, which may use a mirror, and tries one
/// base, which is enough to see whether a registry answers.
fn needs_bootstraps(console: Console) -> bool {
    let Ok(engine) = Engine::find(None) else {
        return false;
    };
    let recipes = recipe::all().unwrap_or_default();
    let missing = recipes
        .iter()
        .filter(|found| found.dir.join(recipe::BOOTSTRAP).is_file())
        .filter_map(|found| found.recipe.base.as_deref())
        .find(|base| !engine.has_image(base));
    let say = |text: &str| console.stage(text);
    missing.is_some_and(|base| {
        engine::ensure_base(&engine, base, engine::host_arch(), None, &say).is_err()
    })
}

/// Installs the missing items that the distribution has packages for.
fn packages(args: &Args, wanted: &[Use], console: Console) -> anyhow::Result<()> {
    let wanted = |i: &Item| i.found.is_err() && wanted.contains(&i.matters);
    let items = || {
        let arm64 = if args.arm64 {
            host::arm64()
        } else {
            Vec::new()
        };
        host::items().into_iter().chain(arm64).filter(wanted)
    };
    let missing: Vec<Item> = items().collect();
    let mut packages: Vec<&str> = missing
        .iter()
        .flat_map(|i| i.packages.iter().copied())
        .collect();
    packages.sort_unstable();
    packages.dedup();
    if packages.is_empty() {
        if args.print {
            console.stage("nothing to install");
        }
        return Ok(report_rest(&missing, console)?);
    }
    let names = packages.join(" ");
    let manager = PackageManager::of_host().ok_or_else(|| {
        Report::failure("setup does not support this host's package manager").hint(format!(
            "install these packages or their equivalents: {names}"
        ))
    })?;
    let command = manager.install(&names);
    if args.print {
        super::print(&command)?;
        return Ok(());
    }
    if manager != PackageManager::Apt {
        return Err(Report::failure(
            "setup can install packages on Debian and Ubuntu only, and some are missing",
        )
        .hint(format!("run `{command}`"))
        .into());
    }
    console.stage(&format!("installing {names}"));
    apt(&packages, console)?;
    if args.arm64 && !host::runs_arm64() {
        register_arm64(console);
    }
    let left: Vec<Item> = items().collect();
    report_rest(&left, console)?;
    // An item that its package did not provide is a failure of this command.
    if let Some(item) = left.iter().find(|i| !i.packages.is_empty()) {
        return Err(Report::failure(format!(
            "{} is still missing after the installation",
            item.name
        ))
        .hint(format!("install {} manually", item.packages.join(" ")))
        .into());
    }
    Ok(())
}

/// Reports items that no package provides. This is a failure only if no image can be made.
fn report_rest(left: &[Item], console: Console) -> Result<(), Report> {
    for item in left {
        let why = item.found.as_ref().err().cloned().unwrap_or_default();
        if item.matters == Use::Images {
            return Err(Report::failure(why));
        }
        console.note(&format!("{}: {why}", item.name));
    }
    Ok(())
}

/// Registers the emulator that runs programs for arm64 with the kernel. With an init system, the
/// packages' own scripts do this; in a container or a minimal machine, binfmt_misc is not mounted
/// yet. A failure here is found by the check that follows.
fn register_arm64(console: Console) {
    let sudo = (!rustix::process::geteuid().is_root()).then_some("sudo");
    for command in [
        [
            "mount",
            "-t",
            "binfmt_misc",
            "binfmt_misc",
            "/proc/sys/fs/binfmt_misc",
        ]
        .as_slice(),
        &["update-binfmts", "--enable", "qemu-aarch64"],
    ] {
        let mut words = sudo.iter().chain(command).copied();
        let program = words.next().unwrap_or_default();
        let run = |sh: Shell| {
            tool::cleared(cmd!(sh, "{program} {words...}"))
                .quiet()
                .run()
        };
        if let Err(e) = Shell::new().and_then(run) {
            console.note(&e.to_string());
        }
    }
}

/// Installs packages with apt, using sudo if not running as root.
pub(super) fn apt(packages: &[&str], console: Console) -> anyhow::Result<()> {
    let failed = |e: xshell::Error, what: &str| {
        Report::failure(format!("installing packages: {what}"))
            .because(e)
            .hint("see its output above; `cargo xtask setup --print` prints the command")
    };
    let sh = Shell::new()?;
    let sudo: &[&str] = if rustix::process::geteuid().is_root() {
        &[]
    } else {
        &["sudo"]
    };
    let run = |arguments: &[&str]| {
        let env = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"];
        let (program, rest) = match sudo.first() {
            Some(sudo) => (*sudo, &env[..]),
            None => (env[0], &env[1..]),
        };
        // apt's output is not a result, so it must not go to stdout.
        tool::cleared(cmd!(sh, "{program} {rest...} {arguments...}"))
            .quiet()
            .ignore_stdout()
            .run()
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
    console.note(&format!("apt failed; trying again with {own_release}"));
    run(&[
        &INSTALL[..],
        &["--allow-downgrades", &own_release],
        packages,
    ]
    .concat())
    .map_err(|e| failed(e, "apt-get install"))?;
    Ok(())
}
