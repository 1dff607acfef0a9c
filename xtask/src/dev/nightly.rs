//! `nightly`: reports the results of the nightly boots in an issue.

use camino::{Utf8Path, Utf8PathBuf};
use docker_to_linux::cli::Console;
use docker_to_linux::cli::RESULT;
use docker_to_linux::cli::variable;
use docker_to_linux::error::Report;
use docker_to_linux::github::issue::{self, Done, NightlyOutcome};
use docker_to_linux::github::{Client, Repository, Token};
use fs_err as fs;

/// Options of `nightly`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder with the artifacts of the boots, each in a subfolder `nightly-ID`
    #[arg(value_name = "DIR")]
    results: Utf8PathBuf,
    /// The matrix that was run, as printed by `list --json --matrix`: an image without a result
    /// counts as failed
    #[arg(long, env = "MATRIX", hide_env_values = true, value_name = "JSON")]
    matrix: String,
    /// URL of the run, for the issue
    #[arg(long, env = "RUN_URL", value_name = "URL")]
    run: String,
}

pub(super) fn run(args: &Args, console: Console) -> anyhow::Result<()> {
    let outcomes = outcomes(&args.matrix, &args.results)?;
    for o in &outcomes {
        console.stage(&format!("{}: {} {}", o.id, o.verdict, o.error));
    }
    // From the environment, because everybody on the machine can see arguments.
    let token = Token::new(&variable("GITHUB_TOKEN")?)?;
    let client = Client::new(&variable("GITHUB_API_URL")?, token)?;
    let repository = Repository::new(&variable("GITHUB_REPOSITORY")?)?;
    console.stage(
        &match issue::report(&client, &repository, &outcomes, &args.run)? {
            Done::Nothing => "everything boots; no issue is open".to_owned(),
            Done::Opened(n) => format!("opened issue {n}"),
            Done::Updated(n) => format!("updated issue {n}"),
            Done::Closed(n) => format!("closed issue {n}: everything boots again"),
        },
    );
    Ok(())
}

/// The result for each entry of the matrix.
fn outcomes(matrix: &str, dir: &Utf8Path) -> Result<Vec<NightlyOutcome>, Report> {
    let wrong = || {
        Report::mistake("the matrix is not in the format of `list --json --matrix`")
            .hint("use --matrix \"$(cargo xtask list --json --matrix)\"")
    };
    let json: serde_json::Value = serde_json::from_str(matrix).map_err(|e| wrong().because(e))?;
    let cells = json["include"].as_array().ok_or_else(wrong)?;
    cells
        .iter()
        .map(|cell| {
            let id = cell["id"].as_str().ok_or_else(wrong)?;
            Ok(outcome(id, &dir.join(format!("nightly-{id}"))))
        })
        .collect()
}

/// Reads the result of one boot. A job that ended without a result counts as failed.
fn outcome(id: &str, dir: &Utf8Path) -> NightlyOutcome {
    let path = dir.join(RESULT);
    let read = fs::read_to_string(&path)
        .map_err(|e| e.to_string())
        .and_then(|text| serde_json::from_str::<NightlyOutcome>(&text).map_err(|e| e.to_string()));
    match read {
        Ok(outcome) => NightlyOutcome {
            id: id.to_owned(),
            ..outcome
        },
        Err(why) => NightlyOutcome {
            id: id.to_owned(),
            verdict: "no-result".into(),
            error: format!("the job ended before there was a verdict ({why})"),
            log: String::new(),
            screenshot: false,
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_job_that_left_nothing_failed() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap();
        fs::create_dir(dir.join("nightly-a")).unwrap();
        let good = r#"{"id": "", "verdict": "passed"}"#;
        fs::write(dir.join("nightly-a").join(RESULT), good).unwrap();
        let matrix = r#"{"include": [{"id": "a"}, {"id": "b"}]}"#;
        let outcomes = outcomes(matrix, dir).unwrap();
        assert!(outcomes[0].passed() && outcomes[0].id == "a");
        assert_eq!(outcomes[1].verdict, "no-result");
        assert!(super::outcomes("[]", dir).is_err());
    }
}
