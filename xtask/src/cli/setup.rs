//! `setup`: installs what is missing on this host.

use super::console::Console;
use super::host::{self, Item, Use};
use super::judges;
use crate::error::Report;
use crate::tool::{self, PackageManager};
use xshell::{Shell, cmd};

/// Options of `setup`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask setup              everything, the tests' checkers included
  cargo xtask setup --no-tests   only what makes and boots images
  cargo xtask setup --print      only print the command")]
pub(super) struct Args {
    /// Leave out what only the project's tests need
    #[arg(long)]
    no_tests: bool,
    /// Also what builds and boots images for arm64, by emulation where this host is none
    #[arg(long)]
    arm64: bool,
    /// Print the command and run nothing
    #[arg(long)]
    print: bool,
}

pub(super) fn run(args: &Args, console: Console) -> anyhow::Result<()> {
    let result = packages(args, console);
    if !args.no_tests && !args.print && judges::spdx().is_err() && result.is_ok() {
        console.stage("installing the validator of package lists");
        judges::install()?;
    }
    result
}

/// Installs what the distribution's packages bring.
fn packages(args: &Args, console: Console) -> anyhow::Result<()> {
    let wanted = |i: &Item| {
        i.found.is_err() && i.name != judges::NAME && !(args.no_tests && i.matters == Use::Tests)
    };
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
        report_rest(&missing, console)?;
        console.stage("nothing to install");
        return Ok(());
    }
    let names = packages.join(" ");
    let manager = PackageManager::of_host().ok_or_else(|| {
        Report::failure("no package manager that is known here was found")
            .hint(format!("install these, or what brings the same: {names}"))
    })?;
    let command = manager.install(&names);
    if args.print {
        super::print(&command)?;
        return Ok(());
    }
    if manager != PackageManager::Apt {
        return Err(Report::failure(format!(
            "setup installs by itself on Debian and Ubuntu only; here {} missing",
            if missing.len() == 1 {
                "something is"
            } else {
                "some things are"
            }
        ))
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
    // What a package should have brought and did not is a failure of this verb.
    if let Some(item) = left.iter().find(|i| !i.packages.is_empty()) {
        return Err(Report::failure(format!(
            "{} is still missing after the installation",
            item.name
        ))
        .hint(format!("install {} by hand", item.packages.join(" ")))
        .into());
    }
    console.stage("everything is here");
    Ok(())
}

/// Tells what no package can mend. That is a failure only where no image can be made.
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

/// Tells the kernel which program starts those for arm64. The packages' own scripts do where an
/// init runs; in a container or a small machine nothing has mounted the list yet. What fails here
/// is found missing afterwards.
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

/// Installs packages with apt, by sudo where we are not root.
pub(super) fn apt(packages: &[&str], console: Console) -> anyhow::Result<()> {
    let failed = |e: xshell::Error, what: &str| {
        Report::failure(format!("installing packages: {what}"))
            .because(e)
            .hint("its output is above; run `cargo xtask setup --print` for the command alone")
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
        // apt's own words belong to stderr here: stdout is for results.
        tool::cleared(cmd!(sh, "{program} {rest...} {arguments...}"))
            .quiet()
            .ignore_stdout()
            .run()
    };
    run(&["update", "-qq"]).map_err(|e| failed(e, "apt-get update"))?;
    const INSTALL: [&str; 4] = ["install", "-y", "-qq", "--no-install-recommends"];
    // Left to itself apt resolves a conflict by removing what is there, qemu-img for one.
    if run(&[&INSTALL[..], &["--no-remove"], packages].concat()).is_ok() {
        return Ok(());
    }
    // A qemu-utils from backports does not go together with the release's own QEMU, and apt
    // takes no installed package back by itself.
    let release = crate::tool::os_release("VERSION_CODENAME").unwrap_or_default();
    let own_release = format!("qemu-utils/{release}");
    console.note(&format!("apt could not; trying again with {own_release}"));
    run(&[
        &INSTALL[..],
        &["--allow-downgrades", &own_release],
        packages,
    ]
    .concat())
    .map_err(|e| failed(e, "apt-get install"))?;
    Ok(())
}
