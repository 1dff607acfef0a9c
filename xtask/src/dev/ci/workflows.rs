//! What `ci` says of the GitHub Action and the workflows: other people's linters, and the
//! action itself under `act`, which runs workflows on this machine.

use super::on_demand;
use camino::Utf8PathBuf;
use docker_to_linux::cli::checkers;
use xshell::{Shell, cmd};

/// Lets the linters look at the action and the workflows. What they are told to overlook
/// stands, with its reason, in `.github/zizmor.yml`.
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
    checkers::for_workflows()?;
    on_demand::run(sh, on_demand::ACT, 1)
}
