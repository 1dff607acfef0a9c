//! `ci`: everything that must hold before a change lands. It is what CI runs, and what a
//! contributor runs.

mod fuzz;
mod matrix;
mod on_demand;
mod steps;
mod workflows;

use super::console::Console;
use crate::error::Report;
use crate::format::digest;
use crate::model::Arch;
use crate::recipe::{self};
use crate::smoke::{self, Job};
use crate::tool::Tool;
use crate::vm::{Firmware, ImageFormat, Machine, claims};
use anyhow::Context;
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use matrix::{Cell, Image};
use on_demand::When;
use std::time::Instant;
use steps::Steps;
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
    /// Only fuzz what reads other people's input
    #[arg(long, conflicts_with_all = ["boots_only", "workflows_only", "full"])]
    fuzz_only: bool,
    /// Seconds that the fuzzer runs
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    fuzz_seconds: u64,
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
    let mut steps = Steps::new(console);
    if args.fuzz_only {
        steps.run("fuzzing", || fuzz::run(&sh, args.fuzz_seconds));
        return steps.report(begun.elapsed());
    }
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
        steps.run("tests on demand have a step", || on_demand::check(&sh));
        steps.run("fuzzing", || fuzz::run(&sh, args.fuzz_seconds));
    }
    if !args.boots_only {
        steps.run("workflows", || workflows::lint(&sh));
        steps.run("our action under act", || workflows::act(&sh));
    }
    if args.workflows_only {
        return steps.report(begun.elapsed());
    }
    images_and_boots(args, &sh, &own, &mut steps);
    let has = |name: &str| args.recipe.iter().any(|r| r == name);
    // The images' containers and their bases are there now, which these tests start from.
    if has("debian") && has("alpine") {
        machine_tests(args.full, &sh, &mut steps);
    }
    steps.report(begun.elapsed())
}

/// Makes the images as users do, and boots them.
fn images_and_boots(args: &Args, sh: &Shell, own: &std::path::Path, steps: &mut Steps) {
    for recipe in &args.recipe {
        steps.run(&format!("image of {recipe}"), || build(sh, own, recipe));
    }
    let cells = matrix::cells(&args.recipe, args.full);
    for recipe in &args.recipe {
        for image in Image::OTHERS {
            if cells.iter().any(|c| c.recipe == recipe && c.image == image) {
                let name = format!("{} image of {recipe}", image.name());
                steps.run(&name, || build_other(sh, own, recipe, image));
            }
        }
    }
    let mut boots = Vec::new();
    for cell in &cells {
        steps.job(&mut boots, &cell_name(cell), || cell_job(cell));
    }
    let formats = Utf8Path::new(DIR).join("formats");
    if let Some(recipe) = args.recipe.iter().find(|r| *r == "alpine") {
        let some = if args.full { FORMS.len() } else { 2 };
        for form in &FORMS[..some] {
            let what = format!("{recipe} as {}", form.0);
            steps.job(&mut boots, &what, || {
                form_job(sh, own, recipe, form, &formats)
            });
        }
    }
    steps.boots(&boots);
    if args.arm64 {
        steps.run("image of debian for arm64", || build_arm64(sh, own));
        let mut boots = Vec::new();
        steps.job(&mut boots, "debian-arm64", arm64_job);
        steps.boots(&boots);
    }
    steps.run("papers", || {
        for dir in [Utf8Path::new(DIR), &formats] {
            if dir.is_dir() {
                cmd!(sh, "{own} verify {dir}").run()?;
            }
        }
        if formats.is_dir() {
            fs::remove_dir_all(&formats)?;
        }
        Ok(())
    });
}

/// Runs the tests that need whole machines.
fn machine_tests(full: bool, sh: &Shell, steps: &mut Steps) {
    for (name, which, when) in on_demand::MACHINES {
        if full || when == When::Always {
            // As many at once as machines of theirs fit on this host.
            let threads = smoke::at_once(&Machine::new(Arch::Amd64, Firmware::Bios));
            steps.run(name, || on_demand::run(sh, which, threads));
        }
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

fn arm64_job() -> anyhow::Result<Job> {
    let machine = Machine::new(Arch::Arm64, Firmware::Uefi);
    let path = Utf8Path::new(ARM64).join("debian.img");
    job("debian", "debian-arm64", path, machine)
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

/// What the image of a cell is called.
fn cell_name(cell: &Cell) -> String {
    match cell.image {
        Image::Hybrid => cell.recipe.to_owned(),
        other => format!("{}-{}", cell.recipe, other.name()),
    }
}

fn cell_job(cell: &Cell) -> anyhow::Result<Job> {
    let machine = Machine {
        disk: cell.disk,
        ..Machine::new(Arch::Amd64, cell.firmware)
    };
    let image = cell.image.path(DIR, cell.recipe);
    job(cell.recipe, &cell_name(cell), image, machine)
}

/// One boot, as `smoke` does it.
fn job(recipe: &str, name: &str, image: Utf8PathBuf, machine: Machine) -> anyhow::Result<Job> {
    let evidence = Utf8Path::new(DIR).join("smoke");
    let claims = claims::of(&image, machine.format)?;
    let machine = Machine {
        sector_size: claims.sector_size,
        ..machine
    };
    Ok(Job {
        name: name.to_owned(),
        root: claims.root,
        firmware: Default::default(),
        smoke: recipe::find(recipe)?.recipe.smoke,
        login: None,
        timeout: None,
        evidence: smoke::evidence_dir(&evidence, name, machine.firmware, machine.disk),
        image,
        machine,
    })
}

/// What is appended to a recipe's name, how `convert` is asked for it, and the ending of the file.
type Form = (&'static str, &'static [&'static str], &'static str);

/// Every format that QEMU opens. A plain run boots the first two only: `tests/formats.rs`
/// compares the contents of all.
const FORMS: [Form; 8] = [
    ("qcow2-zstd", &["qcow2", "--compression=zstd"], "qcow2"),
    ("vdi", &["vdi"], "vdi"),
    ("qcow2", &["qcow2", "--compression=none"], "qcow2"),
    ("vmdk", &["vmdk"], "vmdk"),
    ("vmdk-stream", &["vmdk-stream"], "stream.vmdk"),
    ("vhd", &["vhd"], "vhd"),
    ("vhd-fixed", &["vhd-fixed"], "fixed.vhd"),
    ("vhdx", &["vhdx"], "vhdx"),
];

/// Makes the recipe's image in another format, and its boot by QEMU's own driver.
fn form_job(
    sh: &Shell,
    own: &std::path::Path,
    recipe: &str,
    &(form, options, ending): &Form,
    dir: &Utf8Path,
) -> anyhow::Result<Job> {
    let (name, from) = (format!("{recipe}-{form}"), image(recipe));
    cmd!(
        sh,
        "{own} --quiet convert {from} --name {name} --output {dir} --format {options...}"
    )
    .ignore_stdout()
    .run()?;
    let file = dir.join(format!("{name}.{ending}"));
    let machine = Machine {
        format: ImageFormat::of(&file),
        ..Machine::new(Arch::Amd64, Firmware::Bios)
    };
    job(recipe, &name, file, machine)
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
