//! `ci`: everything that must hold before a change lands. It is what CI runs, and what a
//! contributor runs.

use super::console::Console;
use super::matrix::{self, Cell, Image};
use super::workflows;
use crate::boot::{Firmware, ImageFormat, Machine, claims};
use crate::error::Report;
use crate::format::digest;
use crate::recipe::{self, Arch};
use crate::smoke::{self, Job, Outcome};
use crate::tool::Tool;
use anyhow::Context;
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use std::time::{Duration, Instant};
use xshell::{Shell, cmd};

/// Options of `ci`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Boot every combination of image, firmware and disk, not only the telling ones, and
    /// upgrade machines
    #[arg(long)]
    full: bool,
    /// Only these recipes
    #[arg(long, value_name = "NAME", default_values = ["debian", "alpine"])]
    recipe: Vec<String>,
    /// Leave out formatting, lints and tests: only build and boot
    #[arg(long)]
    boots_only: bool,
    /// Only check the action and the workflows: linters, and real runs under act
    #[arg(long, conflicts_with_all = ["boots_only", "full"])]
    workflows_only: bool,
    /// Build Debian for arm64 and boot it, too: by emulation that takes many minutes, and what
    /// `setup --arm64` installs
    #[arg(long)]
    arm64: bool,
}

/// Where the images that are tested lie.
const DIR: &str = "target/ci";

pub(super) fn run(args: &Args, console: Console) -> anyhow::Result<()> {
    let begun = Instant::now();
    let sh = Shell::new()?;
    // Asked now: once the tests have linked this program anew, the answer would be the old file,
    // which is gone.
    let own = std::env::current_exe().context("looking for this program's own file")?;
    // Every test that lacks something fails from here on instead of passing it over.
    let _ci = sh.push_env("CI", "1");
    let mut steps = Steps {
        console,
        done: Vec::new(),
        failed: Vec::new(),
    };
    if !args.boots_only && !args.workflows_only {
        steps.run("format", || Ok(cmd!(sh, "cargo fmt --all --check").run()?));
        steps.run("lints", || {
            Ok(cmd!(
                sh,
                "cargo clippy --release --locked --workspace --all-targets -- -D warnings"
            )
            .run()?)
        });
        steps.run("tests", || {
            Ok(cmd!(
                sh,
                "cargo test --release --locked --workspace --no-fail-fast"
            )
            .run()?)
        });
    }
    if !args.boots_only {
        steps.run("workflows", || workflows::lint(&sh));
        steps.run("our action under act", || workflows::act(&sh));
    }
    if args.workflows_only {
        return steps.report(begun.elapsed());
    }
    for recipe in &args.recipe {
        steps.run(&format!("image of {recipe}"), || build(&sh, &own, recipe));
    }
    let cells = matrix::cells(&args.recipe, args.full);
    for recipe in &args.recipe {
        for image in Image::OTHERS {
            if cells.iter().any(|c| c.recipe == recipe && c.image == image) {
                let name = format!("{} image of {recipe}", image.name());
                steps.run(&name, || build_other(&sh, &own, recipe, image));
            }
        }
    }
    for cell in &cells {
        let name = format!(
            "boot of {} ({}) by {} from {:?}",
            cell.recipe,
            cell.image.name(),
            cell.firmware,
            cell.disk
        );
        steps.run(&name, || boot_cell(cell, console));
    }
    if args.arm64 {
        steps.run("image of debian for arm64", || build_arm64(&sh, &own));
        steps.run("boot of debian on arm64", || boot_arm64(console));
    }
    if let Some(recipe) = args.recipe.iter().find(|r| *r == "alpine") {
        let formats = if args.full {
            &FORMATS[..]
        } else {
            &FORMATS[..2]
        };
        boot_formats(&mut steps, &sh, &own, recipe, formats);
    }
    // The images' containers and their bases are there now, which these tests start from.
    if args.recipe.iter().any(|r| r == "debian") && args.recipe.iter().any(|r| r == "alpine") {
        for (name, test) in [
            ("the same files by every form of an image", "oci"),
            ("containers that serve as machines", "container"),
            ("verdicts on whole machines", "smoke"),
        ] {
            steps.run(name, || ignored_tests(&sh, test, &[]));
        }
    }
    for recipe in args
        .recipe
        .iter()
        .filter(|r| ["debian", "alpine"].contains(&r.as_str()))
    {
        steps.run(&format!("logins, network and growth of {recipe}"), || {
            let which = if args.full { "" } else { "telling::" };
            ignored_tests(&sh, "guest", &[&format!("{which}{recipe}_")])
        });
    }
    if args.full {
        for (name, test) in [
            ("kernels in other places", "layouts"),
            ("upgrades in the guest", "upgrade"),
        ] {
            steps.run(name, || ignored_tests(&sh, test, &[]));
        }
    }
    steps.report(begun.elapsed())
}

/// Runs the tests in `tests/` of that name that run on demand, one at a time: they boot whole
/// machines. `which` is a part of their names.
fn ignored_tests(sh: &Shell, test: &str, which: &[&str]) -> anyhow::Result<()> {
    let tests = ["test", "--release", "--locked", "--test", test, "--"];
    Ok(cmd!(sh, "cargo {tests...} --ignored --test-threads=1 {which...}").run()?)
}

/// What was run, and how long it took.
struct Steps {
    console: Console,
    done: Vec<(String, Duration)>,
    failed: Vec<String>,
}

impl Steps {
    /// Runs a step. One that fails is told at once and fails the whole in the end: the others
    /// tell more, and a run takes long.
    fn run(&mut self, name: &str, step: impl FnOnce() -> anyhow::Result<()>) {
        self.console.stage(&format!("ci: {name}"));
        let begun = Instant::now();
        let result = step();
        self.done.push((name.to_owned(), begun.elapsed()));
        if let Err(e) = result {
            let (line, _) = crate::error::describe(&e);
            self.console.note(&format!("FAILED: {name}: {line}"));
            self.failed.push(name.to_owned());
        }
    }

    /// Tells what was run; an error that names what failed.
    fn report(&self, all: Duration) -> anyhow::Result<()> {
        for (name, took) in &self.done {
            self.console
                .detail(&format!("{:7.1} s  {name}", took.as_secs_f64()));
        }
        if !self.failed.is_empty() {
            return Err(Report::failure(format!(
                "{} of {} steps of ci failed: {}",
                self.failed.len(),
                self.done.len(),
                self.failed.join("; ")
            ))
            .hint("each is told above, behind its own heading and `FAILED:`")
            .into());
        }
        self.console
            .stage(&format!("ci: all passed in {:.0} s", all.as_secs_f64()));
        Ok(())
    }
}

fn image(recipe: &str) -> Utf8PathBuf {
    Image::Hybrid.path(DIR, recipe)
}

/// Makes another image of the same container: the engine has all of its layers.
fn build_other(
    sh: &Shell,
    own: &std::path::Path,
    recipe: &str,
    image: Image,
) -> anyhow::Result<()> {
    let path = image.path(DIR, recipe);
    let dir = path.parent().unwrap_or(Utf8Path::new(DIR));
    let options = image.options();
    cmd!(
        sh,
        "{own} --quiet image {recipe} {options...} --output {dir}"
    )
    .ignore_stdout()
    .run()?;
    matrix::check(&path)?;
    check_root(&path)
}

/// Where the image for arm64 lies.
const ARM64: &str = "target/ci/arm64";

/// Debian for arm64, with the kernel for virtual machines: making its initrd is what takes the
/// time.
fn build_arm64(sh: &Shell, own: &std::path::Path) -> anyhow::Result<()> {
    let kernel = "KERNEL=linux-image-cloud-arm64";
    cmd!(
        sh,
        "{own} image debian --arch arm64 --build-arg {kernel} --output {ARM64}"
    )
    .ignore_stdout()
    .run()?;
    let path = Utf8Path::new(ARM64).join("debian.img");
    matrix::check(&path)?;
    check_root(&path)
}

fn boot_arm64(console: Console) -> anyhow::Result<()> {
    let machine = Machine::new(Arch::Arm64, Firmware::Uefi);
    let path = Utf8Path::new(ARM64).join("debian.img");
    boot("debian", "debian-arm64", path, machine, console).map(drop)
}

/// Builds the image as a user does, twice: the second one comes from the same container image
/// and must be the same, byte for byte.
fn build(sh: &Shell, own: &std::path::Path, recipe: &str) -> anyhow::Result<()> {
    cmd!(sh, "{own} image {recipe} --output {DIR}")
        .ignore_stdout()
        .run()?;
    let image = image(recipe);
    matrix::check(&image)?;
    check_root(&image)?;
    let again = format!("{DIR}/again");
    cmd!(sh, "{own} --quiet image {recipe} --output {again}")
        .ignore_stdout()
        .run()?;
    let other = Utf8Path::new(&again).join(format!("{recipe}.img"));
    if sha256(&image)? != sha256(&other)? {
        return Err(Report::failure(format!(
            "two images of {recipe} differ: {image} and {other}"
        ))
        .into());
    }
    fs::remove_dir_all(&again)?;
    Ok(())
}

fn sha256(path: &Utf8Path) -> anyhow::Result<String> {
    Ok(digest::sha256(fs::File::open(path)?)?)
}

/// Boots the image as `smoke` does, looks inside, and fails where that does.
fn boot_cell(cell: &Cell, console: Console) -> anyhow::Result<()> {
    let machine = Machine {
        disk: cell.disk,
        ..Machine::new(Arch::Amd64, cell.firmware)
    };
    let recipe = cell.recipe;
    let name = match cell.image {
        Image::Hybrid => recipe.to_owned(),
        other => format!("{recipe}-{}", other.name()),
    };
    let image = cell.image.path(DIR, recipe);
    let outcome = boot(recipe, &name, image, machine, console)?;
    // Each of these images has a place to look inside.
    if outcome.checks.is_empty() {
        return Err(Report::failure(format!(
            "nobody looked inside of {recipe}: {}",
            outcome.findings.warnings.join("; ")
        ))
        .into());
    }
    Ok(())
}

/// One boot, as `smoke` does it; an error unless it passes.
fn boot(
    recipe: &str,
    name: &str,
    image: Utf8PathBuf,
    machine: Machine,
    console: Console,
) -> anyhow::Result<Outcome> {
    let evidence = Utf8Path::new(DIR).join("smoke");
    let outcome = smoke::boot(&Job {
        name: name.to_owned(),
        root: claims::of(&image, machine.format)?.root,
        firmware: Default::default(),
        smoke: recipe::find(recipe)?.recipe.smoke,
        login: None,
        timeout: None,
        evidence: smoke::evidence_dir(&evidence, name, machine.firmware, machine.disk),
        image,
        machine,
    })?;
    super::smoke::tell(&outcome, console);
    if !outcome.passed {
        return Err(super::smoke::failed(&[outcome]).into());
    }
    Ok(outcome)
}

/// Every format that QEMU opens, as it is told to `convert`, and the options that go with it. A
/// plain run boots the first two only: `tests/formats.rs` compares the contents of all.
const FORMATS: [(&str, &str, &[&str]); 8] = [
    ("qcow2", "qcow2", &["--compression=zstd"]),
    ("vdi", "vdi", &[]),
    ("qcow2", "qcow2", &["--compression=none"]),
    ("vmdk", "vmdk", &[]),
    ("vmdk-stream", "stream.vmdk", &[]),
    ("vhd", "vhd", &[]),
    ("vhd-fixed", "fixed.vhd", &[]),
    ("vhdx", "vhdx", &[]),
];

/// Boots the image in every other format, read by QEMU's own drivers, and checks the papers of
/// all of them.
fn boot_formats(
    steps: &mut Steps,
    sh: &Shell,
    own: &std::path::Path,
    recipe: &str,
    formats: &[(&str, &str, &[&str])],
) {
    let dir = Utf8Path::new(DIR).join("formats");
    let from = image(recipe);
    for &(format, ending, more) in formats {
        let what = [&[format], more].concat().join(" ");
        let console = steps.console;
        steps.run(&format!("boot of {recipe} as {what}"), || {
            cmd!(
                sh,
                "{own} --quiet convert {from} --format {format} {more...} --output {dir}"
            )
            .ignore_stdout()
            .run()?;
            let file = dir.join(format!("{recipe}.{ending}"));
            let machine = Machine {
                format: ImageFormat::of(&file),
                ..Machine::new(Arch::Amd64, Firmware::Bios)
            };
            boot(
                recipe,
                &format!("{recipe}-{format}"),
                file,
                machine,
                console,
            )
            .map(drop)
        });
    }
    steps.run("papers", || {
        for dir in [Utf8Path::new(DIR), &dir] {
            cmd!(sh, "{own} verify {dir}").run()?;
        }
        Ok(fs::remove_dir_all(&dir)?)
    });
}

/// Lets e2fsck look at the root file system, changing nothing.
fn check_root(image: &Utf8Path) -> anyhow::Result<()> {
    Tool::E2fsck.require()?;
    let (start, _) = claims::of(image, ImageFormat::Raw)?
        .root
        .with_context(|| format!("{image} has no ext4 file system"))?;
    if let Some(words) = smoke::root::e2fsck(image, start)? {
        return Err(Report::failure(format!(
            "e2fsck finds the root file system of {image} not clean: {words}"
        ))
        .into());
    }
    Ok(())
}
