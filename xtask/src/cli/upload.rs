//! `upload`: uploads files to a GitHub release.

use super::console::Console;
use super::print;
use crate::error::Report;
use crate::github::release::{self, Published, Wanted};
use crate::github::{Client, Repository, Token};
use camino::Utf8PathBuf;

/// Options of `upload`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Reads GITHUB_TOKEN, GITHUB_REPOSITORY and GITHUB_API_URL, which a workflow sets.

Example:
  cargo xtask upload --tag v1.2.0 target/images/debian.qcow2"
)]
pub(super) struct Args {
    /// Tag of the release; a missing release is created, and stays a draft until all files are
    /// uploaded
    #[arg(long)]
    tag: String,
    /// Files to upload; files of the same names in the release are replaced
    #[arg(required = true, value_name = "FILE")]
    files: Vec<Utf8PathBuf>,
}

pub(super) fn run(args: &Args, console: Console) -> anyhow::Result<()> {
    let token = Token::new(&variable("GITHUB_TOKEN")?)?;
    let published = publish(&args.tag, token, &args.files, console)?;
    print(&published.url)
}

/// Value of an environment variable that a GitHub workflow sets.
///
/// # Errors
/// If it is unset or empty, which is a user's mistake.
pub fn variable(name: &str) -> Result<String, Report> {
    std::env::var(name)
        .ok()
        .filter(|value| !value.is_empty())
        .ok_or_else(|| {
            Report::mistake(format!("{name} is not set"))
                .hint("run this in a GitHub workflow, which sets it")
        })
}

/// Publishes files to the repository that the workflow runs in.
pub(super) fn publish(
    tag: &str,
    token: Token,
    files: &[Utf8PathBuf],
    console: Console,
) -> Result<Published, Report> {
    let client = Client::new(&variable("GITHUB_API_URL")?, token)?;
    let repository = Repository::new(&variable("GITHUB_REPOSITORY")?)?;
    let commit = variable("GITHUB_SHA").ok();
    let wanted = Wanted {
        tag,
        commit: commit.as_deref(),
        files,
        largest: release::LARGEST,
    };
    let published = release::publish(&client, &repository, &wanted, &|text| console.stage(text))?;
    if published.draft {
        console.note("the release already existed as a draft, and it is still a draft");
    }
    Ok(published)
}
