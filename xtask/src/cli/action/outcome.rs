//! The result of a run of the action: its outputs, its summary, and the file for the nightly
//! report.

use crate::github::commands::{code_block, markdown, output};
use crate::github::issue::{self, NightlyOutcome};
use crate::github::release::Published;
use crate::model::size::Size;
use crate::smoke::{BootOutcome as Boot, Verdict, report};
use camino::{Utf8Path, Utf8PathBuf};
use std::fmt::Write;

/// Everything that is known when the action ends, successfully or not.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// What is built, for titles.
    pub(super) subject: String,
    pub(super) images: Vec<ImageFile>,
    pub(super) manifest: Option<Utf8PathBuf>,
    pub(super) sbom: Option<Utf8PathBuf>,
    /// The pages that say how the images are imported.
    pub(super) pages: Vec<Utf8PathBuf>,
    pub(super) boots: Vec<Boot>,
    /// Whether a boot was requested.
    pub(super) smoke: bool,
    pub(super) published: Option<Published>,
    /// The errors, each on one line.
    pub(super) errors: Vec<String>,
}

/// A file of an image.
#[derive(Debug)]
pub(super) struct ImageFile {
    pub(super) path: Utf8PathBuf,
    /// In bytes.
    pub(super) size: u64,
    pub(super) sha256: String,
}

impl Run {
    /// `passed`, the verdict of the first boot that failed, `error` if nothing was booted, or
    /// `skipped` if no boot was requested.
    pub(super) fn verdict(&self) -> &str {
        if let Some(bad) = self.boots.iter().find(|b| !b.passed) {
            return match bad.verdict {
                Verdict::Booted => "booted, with failures",
                verdict => verdict.name(),
            };
        }
        match (self.errors.is_empty(), self.smoke) {
            (false, _) => "error",
            (true, true) => "passed",
            (true, false) => "skipped",
        }
    }

    /// Time of the slowest boot, in seconds.
    fn seconds(&self) -> Option<f64> {
        let seconds = self.boots.iter().filter(|b| b.passed).map(|b| b.seconds);
        seconds.max_by(f64::total_cmp)
    }

    /// The lines for the file at `GITHUB_OUTPUT`. Every output is written, even if it is empty.
    pub(super) fn outputs(&self) -> String {
        let paths: Vec<&str> = self.images.iter().map(|i| i.path.as_str()).collect();
        let path = |p: &Option<Utf8PathBuf>| p.as_ref().map(ToString::to_string);
        let first = self.images.first();
        let values = [
            ("images", Some(serde_json::json!(paths).to_string())),
            ("image", first.map(|i| i.path.to_string())),
            ("sha256", first.map(|i| i.sha256.clone())),
            ("manifest", path(&self.manifest)),
            ("sbom", path(&self.sbom)),
            ("verdict", Some(self.verdict().to_owned())),
            ("boot-seconds", self.seconds().map(|s| format!("{s:.1}"))),
            (
                "release-url",
                self.published.as_ref().map(|p| p.url.clone()),
            ),
            // For the attestation step, which expects one path per line.
            ("subjects", Some(paths.join("\n"))),
        ];
        let line = |(name, value): (&str, Option<String>)| output(name, &value.unwrap_or_default());
        values.into_iter().map(line).collect()
    }

    /// The summary of the step, in Markdown.
    pub(super) fn summary(&self) -> String {
        let mark = if self.errors.is_empty() { "✅" } else { "❌" };
        let subject = match self.subject.as_str() {
            "" => "docker-to-linux",
            subject => subject,
        };
        let mut text = format!("### {mark} {}\n\n", markdown(subject));
        for error in &self.errors {
            let _ = writeln!(text, "**Error:** {}\n", markdown(error));
        }
        if !self.images.is_empty() {
            text.push_str("| image | size | SHA-256 |\n|---|---:|---|\n");
            for i in &self.images {
                let (path, size) = (markdown(i.path.as_str()), Size(i.size));
                let _ = writeln!(text, "| {path} | {size} | `{}` |", i.sha256);
            }
            text.push('\n');
        }
        if !self.boots.is_empty() {
            text.push_str(&report::markdown(&self.boots));
            let evidence: Vec<String> = self
                .boots
                .iter()
                .map(|b| markdown(b.evidence.as_str()))
                .collect();
            // Files on the runner have no URL; the workflow has to upload them.
            let _ = writeln!(
                text,
                "\nLogs and a screenshot of each boot are in {}.\n",
                evidence.join(", ")
            );
        }
        if let Some(p) = &self.published {
            let draft = if p.draft { " (still a draft)" } else { "" };
            let assets: Vec<String> = p.assets.iter().map(|a| markdown(a)).collect();
            let _ = writeln!(
                text,
                "Published{draft}: [{}]({}) with {}\n",
                markdown(&p.url),
                p.url,
                assets.join(", ")
            );
            if !p.joins.is_empty() {
                let _ = writeln!(
                    text,
                    "Too large for one asset. After the download, join the parts with:\n\n{}",
                    code_block(&p.joins.join("\n"))
                );
            }
        }
        text
    }

    /// The result for the nightly report.
    pub(super) fn for_nightly(&self) -> NightlyOutcome {
        let bad = self.boots.iter().find(|b| !b.passed);
        let reasons = bad.map(|b| report::reasons(b).join("; "));
        let log = bad.map(|b| {
            let whole = fs_err::read_to_string(b.evidence.join("console.log"));
            let whole = whole.unwrap_or_else(|_| b.tail.join("\n"));
            issue::tail(&whole).to_owned()
        });
        NightlyOutcome {
            // The report uses the name of the folder that the file is in.
            id: String::new(),
            verdict: match self.verdict() {
                // Only a build was requested, and it succeeded.
                "skipped" => "passed".into(),
                verdict => verdict.to_owned(),
            },
            error: reasons
                .filter(|r| !r.is_empty())
                .or_else(|| self.errors.first().cloned())
                .unwrap_or_default(),
            log: log.unwrap_or_default(),
            screenshot: bad.is_some_and(|b| b.evidence.join("screen.png").is_file()),
        }
    }
}

/// Name of the file for the nightly report, in the output folder.
pub const RESULT: &str = "action.result.json";

/// Appends text to one of the files that the runner reads after a step. Does nothing if the
/// variable that names the file is not set.
pub(super) fn append(variable: &str, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    let Some(path) = std::env::var_os(variable).filter(|p| !p.is_empty()) else {
        return Ok(());
    };
    let mut file = fs_err::OpenOptions::new()
        .append(true)
        .create(true)
        .open(std::path::PathBuf::from(path))?;
    file.write_all(text.as_bytes())
}

/// A path relative to the root of the repository, for annotations.
pub(super) fn in_repository(file: &str) -> String {
    let path = Utf8Path::new(file);
    let root = std::env::var("GITHUB_WORKSPACE").unwrap_or_default();
    let inside = path.canonicalize_utf8().ok().and_then(|whole| {
        let root = Utf8Path::new(&root).canonicalize_utf8().ok()?;
        Some(whole.strip_prefix(root).ok()?.to_string())
    });
    inside.unwrap_or_else(|| file.strip_prefix("./").unwrap_or(file).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smoke::Findings;
    use crate::vm::{DiskBus, Firmware};

    fn boot(firmware: Firmware, seconds: f64) -> Boot {
        Boot {
            name: "debian".into(),
            image: "out/debian.img".into(),
            firmware,
            disk: DiskBus::Virtio,
            verdict: Verdict::Booted,
            hung_in: None,
            passed: true,
            detail: None,
            accelerator: "tcg",
            attempts: 1,
            stages: Vec::new(),
            seconds,
            power_off_seconds: Some(2.0),
            findings: Findings::default(),
            checks: Vec::new(),
            evidence: "nowhere".into(),
            tail: vec!["the last line".into()],
        }
    }

    #[test]
    fn the_verdict_is_that_of_the_first_bad_boot() {
        let mut run = Run {
            subject: "debian".into(),
            smoke: true,
            images: vec![ImageFile {
                path: "out/debian.img".into(),
                size: 1 << 30,
                sha256: "ab".repeat(32),
            }],
            boots: vec![boot(Firmware::Bios, 31.04), boot(Firmware::Uefi, 29.0)],
            ..Run::default()
        };
        assert_eq!(run.verdict(), "passed");
        assert!(run.outputs().contains("boot-seconds<<END\n31.0\nEND\n"));
        run.boots[1].passed = false;
        assert_eq!(run.verdict(), "booted, with failures");
        run.boots[1].verdict = Verdict::KernelPanic;
        run.boots[1].detail = Some("VFS: no root".into());
        assert_eq!(run.verdict(), "kernel panic");
        assert!(run.summary().contains("kernel panic"), "{}", run.summary());
        let told = run.for_nightly();
        assert_eq!(told.verdict, "kernel panic");
        assert_eq!(told.error, "VFS: no root");
        assert_eq!(told.log, "the last line");
    }

    #[test]
    fn what_never_came_to_a_boot_is_an_error() {
        let broken = Run {
            errors: vec!["no Dockerfile".into()],
            smoke: true,
            ..Run::default()
        };
        assert_eq!(broken.verdict(), "error");
        assert_eq!(broken.for_nightly().error, "no Dockerfile");
        assert_eq!(Run::default().verdict(), "skipped");
        assert!(Run::default().for_nightly().passed());
    }
}
