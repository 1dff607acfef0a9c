//! The `#[ignore]`d tests of `tests/`, which run on demand: they need whole machines, or act.

use docker_to_linux::error::Report;
use xshell::{Shell, cmd};

/// Which runs of `ci` run some tests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    Always,
    Full,
}

/// The tests that need whole machines: their subject, the prefix of their names, and when they run.
pub(super) const MACHINES: [(&str, &str, When); 23] = [
    (
        "the same files from every form of an image",
        "oci::",
        When::Always,
    ),
    (
        "containers that serve as machines",
        "container::",
        When::Always,
    ),
    (
        "hosted commands beside an engine's",
        "hosted_runtime::",
        When::Always,
    ),
    (
        "a few containers in ready machines",
        "containers::few",
        When::Always,
    ),
    (
        "many kinds of containers in ready machines",
        "containers::table",
        When::Full,
    ),
    (
        "a look inside hosted containers",
        "containers::inside",
        When::Full,
    ),
    (
        "the program alone, from a layout to a prompt",
        "alone::",
        When::Always,
    ),
    ("facts of an old home", "old_home::", When::Always),
    ("verdicts on whole machines", "smoke::", When::Always),
    (
        "what inspect says of broken machines",
        "broken::real::",
        When::Full,
    ),
    ("a login for one boot", "boot_verb::", When::Always),
    (
        "logins, network and growth",
        "guest::telling::",
        When::Always,
    ),
    ("sectors of 4096 bytes", "sectors::", When::Always),
    (
        "a disk that was copied while it was written to",
        "ext4::power::",
        When::Always,
    ),
    (
        "volumes at the first starts",
        "volumes::starts::",
        When::Always,
    ),
    (
        "power cuts, and growth a thousandfold",
        "ext4::machine::",
        When::Full,
    ),
    (
        "a database on five images",
        "volumes::database::",
        When::Full,
    ),
    ("all options of ext4 together", "ext4::matrix::", When::Full),
    ("more logins and growth", "guest::all::", When::Full),
    ("a card without a cable", "guest::unplugged::", When::Full),
    ("kernels in other places", "layouts::", When::Full),
    ("a microVM", "targets::a_microvm", When::Full),
    ("upgrades in the guest", "upgrade::", When::Full),
];

/// The tests that run real workflows under act.
pub(super) const ACT: &str = "action::";

const CARGO: [&str; 6] = [
    "test",
    "--release",
    "--locked",
    "--test",
    "integration",
    "--",
];

/// Runs the tests whose names begin with `which`, `threads` at once.
///
/// # Errors
/// If a test fails, or if there is none: for cargo, a name without tests is a success.
pub(super) fn run(sh: &Shell, which: &str, threads: usize) -> anyhow::Result<()> {
    let names = list(sh)?;
    let names: Vec<_> = names.iter().filter(|n| n.starts_with(which)).collect();
    if names.is_empty() {
        return Err(Report::failure(format!(
            "no on-demand test has a name that begins with {which}"
        ))
        .into());
    }
    let threads = threads.to_string();
    Ok(cmd!(
        sh,
        "cargo {CARGO...} --ignored --exact --test-threads={threads} {names...}"
    )
    .run()?)
}

/// Checks that each of these tests belongs to a step.
///
/// # Errors
/// If a test belongs to no step and so would never run.
pub(super) fn check(sh: &Shell) -> anyhow::Result<()> {
    let mut forgotten = list(sh)?;
    forgotten.retain(|name| {
        let steps = MACHINES.iter().map(|(_, which, _)| *which);
        !steps.chain([ACT]).any(|which| name.starts_with(which))
    });
    if forgotten.is_empty() {
        return Ok(());
    }
    let names = forgotten.join(", ");
    Err(
        Report::failure(format!("no step of ci runs these on-demand tests: {names}"))
            .hint("add their module to MACHINES in dev/ci/on_demand.rs")
            .into(),
    )
}

/// The names of all on-demand tests.
fn list(sh: &Shell) -> anyhow::Result<Vec<String>> {
    let text = cmd!(sh, "cargo {CARGO...} --ignored --list --format=terse")
        .quiet()
        .read()?;
    let names = text.lines().filter_map(|l| l.strip_suffix(": test"));
    Ok(names.map(str::to_owned).collect())
}
