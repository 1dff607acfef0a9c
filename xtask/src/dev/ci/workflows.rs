//! How `ci` checks the GitHub Action and the workflows: with linters, and by running the action
//! under `act`, which runs workflows on this machine.

use super::on_demand;
use camino::Utf8PathBuf;
use docker_to_linux::host::checkers;
use xshell::{Shell, cmd};

/// Checks the action and the workflows with linters. The exceptions and their reasons are in
/// `.github/zizmor.yml`.
pub(super) fn lint(sh: &Shell) -> anyhow::Result<()> {
    let bin = checkers::for_workflows()?;
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
    // It would use these two if they are installed; without them the result is the same everywhere.
    cmd!(sh, "{actionlint} -shellcheck= -pyflakes= {workflows...}").run()?;
    let zizmor = bin.join("zizmor");
    cmd!(
        sh,
        "{zizmor} --offline --pedantic --no-progress action.yml {workflows...}"
    )
    .run()?;
    Ok(())
}

/// Runs our own action in real workflows.
pub(super) fn act(sh: &Shell) -> anyhow::Result<()> {
    checkers::for_workflows()?;
    on_demand::run(sh, on_demand::ACT, 1)
}
