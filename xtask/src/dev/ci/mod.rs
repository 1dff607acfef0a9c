//! `ci`: all checks that a change must pass before it lands. CI and contributors run the same
//! command.

mod fuzz;
mod matrix;
mod on_demand;
mod steps;
mod workflows;

use anyhow::Context;
use camino::{Utf8Path, Utf8PathBuf};
use docker_to_linux::cli::Console;
use docker_to_linux::error::Report;
use docker_to_linux::format::digest;
use docker_to_linux::model::{Arch, BootMode};
use docker_to_linux::recipe::{self, Found};
use docker_to_linux::smoke::{self, BootJob};
use docker_to_linux::tool::Tool;
use docker_to_linux::vm::{Firmware, ImageFormat, Machine, claims};
use fs_err as fs;
use matrix::{Cell, Image, Subject};
use on_demand::When;
use std::time::Instant;
use steps::Steps;
use xshell::{Shell, cmd};

/// Options of `ci`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Boot every combination of image, firmware and disk, instead of a selection, and upgrade
    /// machines
    #[arg(long)]
    full: bool,
    /// Build and boot only these recipes, and skip the tests on whole machines. By default all
    /// recipes without `ci: {when: nightly}` are built and booted
    #[arg(long, value_name = "NAME")]
    recipe: Vec<String>,
    /// Only build and boot; skip formatting, lints and tests
    #[arg(long)]
    boots_only: bool,
    /// Only check the action and the workflows, with linters and with real runs under act
    #[arg(long, conflicts_with_all = ["boots_only", "full"])]
    workflows_only: bool,
    /// Only fuzz the code that reads untrusted input
    #[arg(long, conflicts_with_all = ["boots_only", "workflows_only", "full"])]
    fuzz_only: bool,
    /// Number of seconds to run the fuzzer
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    fuzz_seconds: u64,
    /// Also build and boot the recipes for arm64. This needs `setup --arm64`, and takes many
    /// minutes with emulation
    #[arg(long)]
    arm64: bool,
}

/// Folder for the tested images.
const DIR: &str = "target/ci";

pub(super) fn run(args: &Args, console: Console) -> anyhow::Result<()> {
    let begun = Instant::now();
    let sh = Shell::new()?;
    // Ask now, because the tests link this program again, and afterwards the result would be the
    // old file, which no longer exists.
    let own = std::env::current_exe().context("finding this program's own file")?;
    // From here on, every test that needs something that is missing fails instead of being skipped.
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
    let (subjects, left) = matrix::subjects(recipe::all()?, &args.recipe);
    for name in &args.recipe {
        let known = |s: &Subject| s.found.dir.file_name() == Some(name) || s.found.name == *name;
        if !subjects.iter().any(known) {
            return Err(Report::mistake(format!("there is no recipe {name}"))
                .hint("`cargo xtask list` lists the recipes")
                .into());
        }
    }
    for name in &left {
        console.note(&format!(
            "{name} is left to the nightly run, as its recipe requests"
        ));
    }
    images_and_boots(args, &subjects, &sh, &own, &mut steps);
    // Now the images' containers and their bases exist, which these tests need. A test fails with a
    // message if the one it needs is missing.
    if args.recipe.is_empty() {
        machine_tests(args.full, &sh, &mut steps);
    }
    steps.report(begun.elapsed())
}

/// Makes the images as users do, and boots them.
fn images_and_boots(
    args: &Args,
    subjects: &[Subject],
    sh: &Shell,
    own: &std::path::Path,
    steps: &mut Steps,
) {
    let pc = |s: &&Subject| s.found.recipe.architectures.contains(&Arch::Amd64);
    for subject in subjects.iter().filter(pc) {
        let name = format!("image of {}", subject.found.name);
        steps.run(&name, || build(sh, own, &subject.found));
    }
    let smallest = subjects
        .iter()
        .filter(pc)
        .min_by_key(|s| blocks(&image(&s.found)));
    let is_smallest = |s: &Subject| smallest.is_some_and(|other| other.turn == s.turn);
    let mut cells = Vec::new();
    let mut boots = Vec::new();
    for subject in subjects {
        let some = matrix::cells(subject, is_smallest(subject), args.full);
        for image in Image::OTHERS {
            if some.iter().any(|c| c.image == image) {
                let name = format!("{} image of {}", image.name(), subject.found.name);
                steps.run(&name, || build_other(sh, own, &subject.found, image));
            }
        }
        for cell in &some {
            steps.job(&mut boots, &cell_name(cell), || {
                cell_job(&subject.found, cell)
            });
        }
        cells.extend(some);
    }
    for name in matrix::unbooted(subjects, &cells, args.arm64) {
        steps.run(&format!("boot of {name}"), || {
            Err(
                Report::failure(format!("no machine boots the recipe {name}"))
                    .hint("use `ci --arm64` to boot recipes for arm64")
                    .into(),
            )
        });
    }
    let formats = Utf8Path::new(DIR).join("formats");
    if let Some(Subject { found, .. }) = smallest {
        let some = if args.full { FORMS.len() } else { 2 };
        for form in &FORMS[..some] {
            let what = format!("{} as {}", found.name, form.0);
            steps.job(&mut boots, &what, || {
                form_job(sh, own, found, form, &formats)
            });
        }
    }
    steps.boots(&boots);
    if args.arm64 {
        let mut boots = Vec::new();
        for Subject { found, .. } in subjects {
            if found.recipe.architectures.contains(&Arch::Arm64) {
                let name = format!("image of {} for arm64", found.name);
                steps.run(&name, || build_arm64(sh, own, found));
                let name = format!("{}-arm64", found.name);
                steps.job(&mut boots, &name, || arm64_job(found));
            }
        }
        steps.boots(&boots);
    }
    steps.run("metadata files", || {
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

/// Size of a file on the disk, in blocks of 512 bytes. The maximum if the file does not exist.
fn blocks(path: &Utf8Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).map_or(u64::MAX, |m| m.blocks())
}

/// Runs the tests that need whole machines.
fn machine_tests(full: bool, sh: &Shell, steps: &mut Steps) {
    for (name, which, when) in on_demand::MACHINES {
        if full || when == When::Always {
            // As many at once as their machines fit on this host.
            let threads = smoke::at_once(&Machine::new(Arch::Amd64, Firmware::Bios));
            steps.run(name, || on_demand::run(sh, which, threads));
        }
    }
}

fn image(found: &Found) -> Utf8PathBuf {
    Image::Own.path(DIR, &found.name)
}

/// The options for the build arguments in the recipe's `ci:`.
fn build_args(found: &Found, arch: Arch) -> Vec<String> {
    let given = found.recipe.ci.build_args.get(&arch).into_iter().flatten();
    given
        .map(|(name, value)| format!("--build-arg={name}={value}"))
        .collect()
}

/// Makes another image from the same container, whose layers the engine already has.
fn build_other(
    sh: &Shell,
    own: &std::path::Path,
    found: &Found,
    image: Image,
) -> anyhow::Result<()> {
    let path = image.path(DIR, &found.name);
    let dir = path.parent().unwrap_or(Utf8Path::new(DIR));
    let (recipe, options) = (&found.dir, image.options());
    let given = build_args(found, Arch::Amd64);
    cmd!(
        sh,
        "{own} --quiet image --force {recipe} {options...} {given...} --output {dir}"
    )
    .ignore_stdout()
    .run()?;
    matrix::check(&path)?;
    check_root(&path)
}

/// Folder for the images for arm64.
const ARM64: &str = "target/ci/arm64";

fn build_arm64(sh: &Shell, own: &std::path::Path, found: &Found) -> anyhow::Result<()> {
    let (recipe, given) = (&found.dir, build_args(found, Arch::Arm64));
    cmd!(
        sh,
        "{own} image --force {recipe} --arch arm64 {given...} --output {ARM64}"
    )
    .ignore_stdout()
    .run()?;
    let path = Image::Own.path(ARM64, &found.name);
    matrix::check(&path)?;
    check_root(&path)
}

fn arm64_job(found: &Found) -> anyhow::Result<BootJob> {
    let machine = Machine::new(Arch::Arm64, Firmware::Uefi);
    let path = Image::Own.path(ARM64, &found.name);
    job(found, &format!("{}-arm64", found.name), path, machine)
}

/// Builds the image as a user does, twice. The second one is made from the same container image and
/// must be identical, byte for byte.
fn build(sh: &Shell, own: &std::path::Path, found: &Found) -> anyhow::Result<()> {
    let recipe = &found.dir;
    let given = &build_args(found, Arch::Amd64);
    cmd!(sh, "{own} image --force {recipe} {given...} --output {DIR}")
        .ignore_stdout()
        .run()?;
    let image = image(found);
    matrix::check(&image)?;
    check_root(&image)?;
    let again = format!("{DIR}/again");
    cmd!(
        sh,
        "{own} --quiet image --force {recipe} {given...} --output {again}"
    )
    .ignore_stdout()
    .run()?;
    let other = Image::Own.path(&again, &found.name);
    if sha256(&image)? != sha256(&other)? {
        return Err(Report::failure(format!(
            "two images of {} differ: {image} and {other}",
            found.name
        ))
        .into());
    }
    fs::remove_dir_all(&again)?;
    Ok(())
}

fn sha256(path: &Utf8Path) -> anyhow::Result<String> {
    Ok(digest::sha256(fs::File::open(path)?)?)
}

/// The name of a cell's image.
fn cell_name(cell: &Cell) -> String {
    match cell.image {
        Image::Own => cell.recipe.clone(),
        other => format!("{}-{}", cell.recipe, other.name()),
    }
}

fn cell_job(found: &Found, cell: &Cell) -> anyhow::Result<BootJob> {
    let machine = Machine {
        disk: cell.disk,
        ..Machine::new(Arch::Amd64, cell.firmware)
    };
    let image = cell.image.path(DIR, &cell.recipe);
    job(found, &cell_name(cell), image, machine)
}

/// One boot, as `smoke` does it.
fn job(found: &Found, name: &str, image: Utf8PathBuf, machine: Machine) -> anyhow::Result<BootJob> {
    let evidence = Utf8Path::new(DIR).join("smoke");
    let claims = claims::of(&image, machine.format)?;
    let machine = Machine {
        sector_size: claims.sector_size,
        ..machine
    };
    Ok(BootJob {
        name: name.to_owned(),
        root: claims.root,
        firmware: Default::default(),
        smoke: found.recipe.smoke.clone(),
        login: None,
        look: true,
        timeout: None,
        evidence: smoke::evidence_dir(&evidence, name, machine.firmware, machine.disk),
        image,
        machine,
    })
}

/// The suffix for the recipe's name, the options of `convert`, and the extension of the file.
type Form = (&'static str, &'static [&'static str], &'static str);

/// All formats that QEMU can open. A normal run boots only the first two: `tests/formats.rs`
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

/// Makes the recipe's image in another format, and a boot of it with QEMU's driver for the format.
fn form_job(
    sh: &Shell,
    own: &std::path::Path,
    found: &Found,
    &(form, options, ending): &Form,
    dir: &Utf8Path,
) -> anyhow::Result<BootJob> {
    let (name, from) = (format!("{}-{form}", found.name), image(found));
    cmd!(
        sh,
        "{own} --quiet convert {from} --name {name} --output {dir} --format {options...}"
    )
    .ignore_stdout()
    .run()?;
    let file = dir.join(format!("{name}.{ending}"));
    let firmware = match found.recipe.boot {
        BootMode::Bios | BootMode::Hybrid => Firmware::Bios,
        BootMode::Uefi => Firmware::Uefi,
    };
    let machine = Machine {
        format: ImageFormat::of(&file),
        ..Machine::new(Arch::Amd64, firmware)
    };
    job(found, &name, file, machine)
}

/// Checks the root file system with e2fsck, without changing it.
fn check_root(image: &Utf8Path) -> anyhow::Result<()> {
    Tool::E2fsck.require()?;
    let (start, _) = claims::of(image, ImageFormat::Raw)?
        .root
        .with_context(|| format!("{image} has no ext4 file system"))?;
    if let Some(words) = smoke::root::e2fsck(image, start)? {
        return Err(Report::failure(format!(
            "e2fsck reports that the root file system of {image} is not clean: {words}"
        ))
        .into());
    }
    Ok(())
}
