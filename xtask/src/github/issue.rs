//! The issue that lists which nightly boots fail.

use super::client::{Client, Sent, Trouble};
use super::commands::{code_block, markdown};
use super::{Repository, encode};
use crate::error::Report;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt::Write;
use ureq::http::Method;

/// Label that identifies the issue.
pub const LABEL: &str = "nightly-boots";

/// Start of the line that lists the failures of the last night.
const MARK: &str = "<!-- docker-to-linux nightly:";

/// How much of the end of each log is included, in bytes. The text of an issue may have 65,536
/// characters.
const TAIL: usize = 3_000;
/// The longest text of an issue that is sent, in bytes.
const LONGEST: usize = 60_000;

/// The result for one image of the matrix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NightlyOutcome {
    /// Its id in the matrix, e.g. `debian-uefi-amd64`.
    pub id: String,
    /// `passed`, or another verdict.
    pub verdict: String,
    /// The error, in one line.
    #[serde(default)]
    pub error: String,
    /// The end of the serial console's log.
    #[serde(default)]
    pub log: String,
    /// Whether the artifacts contain a screenshot.
    #[serde(default)]
    pub screenshot: bool,
}

impl NightlyOutcome {
    /// Whether the image boots.
    pub fn passed(&self) -> bool {
        self.verdict == "passed"
    }
}

/// What was done with the issue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// Nothing fails, and no issue was open.
    Nothing,
    /// A new issue was opened.
    Opened(u64),
    /// The open issue was updated.
    Updated(u64),
    /// The issue was closed, because nothing fails any more.
    Closed(u64),
}

/// Opens, updates or closes the issue. `run` is the URL of the workflow's run, which has the logs
/// and screenshots as artifacts.
pub fn report(
    client: &Client,
    repository: &Repository,
    outcomes: &[NightlyOutcome],
    run: &str,
) -> Result<Done, Report> {
    if outcomes.is_empty() {
        return Err(Report::mistake("no results of boots were found")
            .hint("give the folder that the artifacts were downloaded to"));
    }
    let failed: Vec<&NightlyOutcome> = outcomes.iter().filter(|o| !o.passed()).collect();
    let open = find(client, repository)?;
    match (open, failed.is_empty()) {
        (None, true) => Ok(Done::Nothing),
        (Some((number, _)), true) => {
            let text = format!("Every image boots again: {run}");
            comment(client, repository, number, &text)?;
            let ask = json!({ "state": "closed", "state_reason": "completed" });
            edit(client, repository, number, &ask)?;
            Ok(Done::Closed(number))
        }
        (Some((number, before)), false) => {
            let text = text(&failed, outcomes.len(), run);
            let ask = json!({ "title": title(&failed), "body": text });
            edit(client, repository, number, &ask)?;
            // People who watch the issue are notified of new failures only.
            if mark_of(&before) != mark_of(&text) {
                let names: Vec<String> = failed.iter().map(|o| markdown(&o.id)).collect();
                let text = format!("Now failing: {}; see {run}", names.join(", "));
                comment(client, repository, number, &text)?;
            }
            Ok(Done::Updated(number))
        }
        (None, false) => {
            let ask = json!({
                "title": title(&failed),
                "body": text(&failed, outcomes.len(), run),
                "labels": [LABEL],
            });
            let url = client.url(&format!("/repos/{repository}/issues"));
            let number = client.patiently("opening an issue", |attempt| {
                // An earlier attempt may have succeeded and its response been lost.
                if attempt > 1
                    && let Some((number, _)) = try_find(client, repository)?
                {
                    return Ok(number);
                }
                let made = client.call(Method::POST, &url, Sent::Json(&ask))?.json()?;
                made["number"].as_u64().ok_or_else(|| {
                    Trouble::Final(Report::failure("GitHub's response has no issue number"))
                })
            })?;
            Ok(Done::Opened(number))
        }
    }
}

/// Number and text of the open issue, if there is one.
fn find(client: &Client, repository: &Repository) -> Result<Option<(u64, String)>, Report> {
    client.patiently("looking for the open issue", |_| {
        try_find(client, repository)
    })
}

fn try_find(client: &Client, repository: &Repository) -> Result<Option<(u64, String)>, Trouble> {
    let path = format!(
        "/repos/{repository}/issues?state=open&labels={}&per_page=100",
        encode(LABEL)
    );
    let open = client.list(&client.url(&path))?;
    Ok(open
        .iter()
        .filter(|issue| issue["pull_request"].is_null())
        .filter_map(|issue| {
            let body = issue["body"].as_str()?;
            body.contains(MARK)
                .then(|| Some((issue["number"].as_u64()?, body.to_owned())))?
        })
        .min_by_key(|(number, _)| *number))
}

fn edit(client: &Client, repository: &Repository, number: u64, ask: &Value) -> Result<(), Report> {
    let url = client.url(&format!("/repos/{repository}/issues/{number}"));
    client
        .patiently(&format!("updating issue {number}"), |_| {
            client.call(Method::PATCH, &url, Sent::Json(ask))
        })
        .map(|_| ())
}

fn comment(
    client: &Client,
    repository: &Repository,
    number: u64,
    text: &str,
) -> Result<(), Report> {
    let url = client.url(&format!("/repos/{repository}/issues/{number}/comments"));
    let ask = json!({ "body": text });
    client
        .patiently(&format!("commenting on issue {number}"), |_| {
            client.call(Method::POST, &url, Sent::Json(&ask))
        })
        .map(|_| ())
}

fn title(failed: &[&NightlyOutcome]) -> String {
    match failed {
        [one] => format!("Nightly: {} does not boot", one.id),
        many => format!("Nightly: {} images do not boot", many.len()),
    }
}

/// The line that lists the failures.
fn mark_of(text: &str) -> Option<&str> {
    text.lines().find(|line| line.starts_with(MARK))
}

fn text(failed: &[&NightlyOutcome], of: usize, run: &str) -> String {
    // `--` would end the comment.
    let ids: Vec<String> = failed
        .iter()
        .map(|o| format!("{}={}", o.id, o.verdict).replace("--", "- -"))
        .collect();
    let mut text = format!("{MARK} {} -->\n", ids.join(" "));
    let _ = writeln!(
        text,
        "{} of {of} images do not boot. Logs and screenshots are artifacts of [the run]({run}). \
         This issue is kept up to date every night, and closed when all boot.\n\n\
         | image | verdict | what | screenshot |\n|---|---|---|---|",
        failed.len()
    );
    for o in failed {
        let shot = if o.screenshot {
            format!("[artifact]({run})")
        } else {
            "none".into()
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {shot} |",
            markdown(&o.id),
            markdown(&o.verdict),
            markdown(&o.error)
        );
    }
    for o in failed.iter().filter(|o| !o.log.is_empty()) {
        let more = format!(
            "\n<details><summary>{}: the end of its serial console</summary>\n\n{}\n</details>\n",
            markdown(&o.id),
            code_block(tail(&o.log))
        );
        if text.len() + more.len() > LONGEST {
            let _ = writeln!(text, "\nThe other logs are in the artifacts.");
            break;
        }
        text.push_str(&more);
    }
    text
}

/// The last lines of a log.
pub fn tail(log: &str) -> &str {
    let log = log.trim_end();
    let mut start = log.len().saturating_sub(TAIL);
    while !log.is_char_boundary(start) {
        start += 1;
    }
    let cut = &log[start..];
    match cut.split_once('\n') {
        // Drop a line that is only partly included.
        Some((_, rest)) if start > 0 => rest,
        _ => cut,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_fits_and_its_mark_names_what_fails() {
        let long = "x".repeat(500) + "\n";
        let outcome = |id: &str| NightlyOutcome {
            id: id.into(),
            verdict: "panic".into(),
            error: "a | b -->".into(),
            log: long.repeat(100),
            screenshot: true,
        };
        let many: Vec<NightlyOutcome> = (0..50).map(|n| outcome(&format!("r-{n}"))).collect();
        let failed: Vec<&NightlyOutcome> = many.iter().collect();
        let all = text(&failed, 60, "https://x/run");
        assert!(all.len() < 65_536, "{}", all.len());
        assert!(mark_of(&all).is_some_and(|m| m.ends_with("r-49=panic -->")));
        assert!(all.contains("a &#124; b --&gt;"));
        assert_ne!(mark_of(&all), mark_of(&text(&failed[1..], 60, "r")));
        assert_eq!(title(&failed[..1]), "Nightly: r-0 does not boot");
    }

    #[test]
    fn a_tail_is_whole_lines() {
        assert_eq!(tail("a\nb\n"), "a\nb");
        let log = "ä".repeat(2_000) + "\nlast\n";
        assert_eq!(tail(&log), "last");
    }
}
