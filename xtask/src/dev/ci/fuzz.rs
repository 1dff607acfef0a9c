//! Builds the fuzzer in `tests/fuzz` with coverage and runs it for a while.
//!
//! libFuzzer is a crate and LLVM's coverage is part of the pinned stable compiler, so only a C++
//! compiler has to be installed. A separate target folder avoids rebuilding everything else because
//! of the flags.

use anyhow::Context;
use camino::{Utf8Path, Utf8PathBuf};
use docker_to_linux::error::Report;
use docker_to_linux::recipe;
use docker_to_linux::tool::Tool;
use fs_err as fs;
use xshell::{Shell, cmd};

/// Coverage in libFuzzer's format (Clang documentation, "SanitizerCoverage"). These are only `-C`
/// options, which are stable.
const FLAGS: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];
/// The package of the fuzzer.
const PACKAGE: &str = "docker-to-linux-fuzz";
/// Time limit for one input, in seconds. Coverage and a busy machine make the readers slow.
const PATIENCE: u32 = 20;
/// Memory limit of the fuzzer, in MiB: the limit for hostile input, and its own memory.
const MEMORY: u32 = 1024;
/// Largest input in bytes.
const LARGEST: u32 = 256 << 10;
/// Minimum number of inputs in a run of any length. Fewer mean that the fuzzer does not work.
const LEAST: u64 = 1000;

/// Builds the fuzzer and runs it. Returns an error if it finds something, or does not really run.
pub(super) fn run(sh: &Shell, seconds: u64) -> anyhow::Result<()> {
    Tool::Cxx.require()?;
    let dir = recipe::home().join("target/fuzz");
    let program = build(sh, &dir)?;
    let (corpus, seeds, found) = (dir.join("corpus"), dir.join("seeds"), dir.join("found"));
    for dir in [&corpus, &seeds, &found] {
        fs::create_dir_all(dir)?;
    }
    let before = names(&found)?;
    let _seeds = sh.push_env("FUZZ_SEEDS", &seeds);
    let options = [
        format!("-max_total_time={seconds}"),
        format!("-timeout={PATIENCE}"),
        format!("-rss_limit_mb={MEMORY}"),
        format!("-max_len={LARGEST}"),
        format!("-artifact_prefix={found}/"),
        "-print_final_stats=1".to_owned(),
    ];
    // Every run includes the inputs of earlier findings.
    let cases = recipe::home().join("tests/fuzz/cases");
    let output = cmd!(sh, "{program} {options...} {corpus} {seeds} {cases}")
        .ignore_status()
        .output()?;
    let log = dir.join("log");
    fs::write(&log, &output.stderr)?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let new = names(&found)?.into_iter().find(|f| !before.contains(f));
        return Err(finding(&said, &program, new.as_deref(), &log).into());
    }
    let tried = tried(&said).unwrap_or(0);
    if tried < LEAST {
        return Err(Report::failure(format!(
            "the fuzzer tried {tried} inputs in {seconds} s, so it does not really run"
        ))
        .hint(format!("see its output in {log}"))
        .into());
    }
    Ok(())
}

/// Builds the fuzzer and returns the path of the program.
fn build(sh: &Shell, dir: &Utf8Path) -> anyhow::Result<Utf8PathBuf> {
    let version = cmd!(sh, "rustc --version --verbose").quiet().read()?;
    // With a target, cargo does not apply the flags to build scripts, which could not be linked
    // with them.
    let target = version
        .lines()
        .find_map(|l| l.strip_prefix("host: "))
        .context("asking rustc for this host's target")?;
    let _flags = sh.push_env("RUSTFLAGS", FLAGS.join(" "));
    cmd!(
        sh,
        "cargo build --release --locked --package {PACKAGE} --target {target} --target-dir {dir}"
    )
    .run()?;
    Ok(dir.join(target).join("release/fuzz"))
}

/// The error for a finding.
fn finding(said: &str, program: &Utf8Path, input: Option<&Utf8Path>, log: &Utf8Path) -> Report {
    // A panic prints its place on one line and its message on the next.
    let lines: Vec<&str> = said.lines().collect();
    let at = lines
        .iter()
        .position(|l| l.contains("panicked at") || l.contains("ERROR: libFuzzer"));
    let what = at.map_or_else(
        || "it failed".to_owned(),
        |at| {
            lines[at..]
                .iter()
                .take(2)
                .copied()
                .collect::<Vec<_>>()
                .join(" ")
        },
    );
    match input {
        Some(input) => Report::failure(format!("the fuzzer found {input}: {what}")).hint(format!(
            "replay it with `{program} {input}`; the log is {log}"
        )),
        None => Report::failure(format!("running the fuzzer: {what}"))
            .hint(format!("see its output in {log}")),
    }
}

/// The number of inputs that were tried.
fn tried(said: &str) -> Option<u64> {
    let line = |l: &str| {
        l.strip_prefix("stat::number_of_executed_units:")?
            .trim()
            .parse()
            .ok()
    };
    said.lines().find_map(line)
}

fn names(dir: &Utf8Path) -> anyhow::Result<Vec<Utf8PathBuf>> {
    let all = dir.read_dir_utf8()?;
    Ok(all.filter_map(Result::ok).map(|e| e.into_path()).collect())
}

#[cfg(test)]
mod tests {
    use super::{finding, tried};

    #[test]
    fn the_fuzzers_words_are_understood() {
        let said = "#2 INITED\nstat::number_of_executed_units: 4711\nstat::x: 1\n";
        assert_eq!(tried(said), Some(4711));
        assert_eq!(tried("nothing"), None);
        let said = "#2 x\nthread '<unnamed>' panicked at xtask/src/a.rs:1:2:\nattempt to add with overflow\nstack\n";
        let report = finding(said, "f".as_ref(), Some("crash-1".as_ref()), "log".as_ref());
        assert!(report.message.contains(
            "crash-1: thread '<unnamed>' panicked at xtask/src/a.rs:1:2: attempt to add"
        ));
        assert_eq!(
            report.hint.as_deref(),
            Some("replay it with `f crash-1`; the log is log")
        );
    }
}
