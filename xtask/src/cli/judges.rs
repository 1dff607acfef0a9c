//! Programs that the tests judge by and that no distribution's package brings: Python's.

use crate::error::Report;
use crate::recipe;
use crate::tool::{self, Tool};
use camino::Utf8PathBuf;
use xshell::{Shell, cmd};

/// What `doctor` calls it.
pub(super) const NAME: &str = "spdx-tools";

/// The SPDX project's validator, from PyPI. Pinned: what it accepts is what the tests mean.
const SPDX: &str = "spdx-tools==0.8.5";

/// Where they lie: away from the host's own Python.
fn dir() -> Utf8PathBuf {
    recipe::home().join("target/judges")
}

/// Where the validator of package lists was found, or why it cannot be used.
pub(super) fn spdx() -> Result<String, String> {
    let asked = tool::command("python3")
        .args(["-c", "import spdx_tools"])
        .env("PYTHONPATH", dir())
        .output();
    match asked {
        Ok(out) if out.status.success() => Ok("installed".into()),
        _ => Err("not installed".into()),
    }
}

/// Installs it.
pub(super) fn install() -> anyhow::Result<()> {
    let pip = Tool::Pip.require()?;
    let sh = Shell::new()?;
    let dir = dir();
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
                .hint("the tests that judge package lists need it; --no-tests leaves it out")
        })?;
    Ok(())
}
