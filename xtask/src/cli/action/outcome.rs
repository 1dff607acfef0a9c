//! What a run of the action came to: its outputs, its summary, the file for the nightly.

use crate::github::commands::{code_block, markdown, output};
use crate::github::issue::{self, Outcome};
use crate::github::release::Published;
use crate::model::size::Size;
use crate::smoke::{Outcome as Boot, Verdict, report};
use camino::{Utf8Path, Utf8PathBuf};
use std::fmt::Write;

/// Everything that is known when the action ends, well or not.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// What was to be built.
    pub(super) subject: String,
    pub(super) images: Vec<Image>,
    pub(super) manifest: Option<Utf8PathBuf>,
    pub(super) sbom: Option<Utf8PathBuf>,
    pub(super) boots: Vec<Boot>,
    /// Whether booting was asked for.
    pub(super) smoke: bool,
    pub(super) published: Option<Published>,
    /// What went wrong, each in one line.
    pub(super) errors: Vec<String>,
}

/// A file of an image.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) path: Utf8PathBuf,
    /// In bytes.
    pub(super) size: u64,
    pub(super) sha256: String,
}

impl Run {
    /// `passed`, the first bad verdict of a boot, `error` where it did not come to a boot, or
    /// `skipped` where none was asked for.
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

    /// The slowest boot, in seconds.
    fn seconds(&self) -> Option<f64> {
        let seconds = self.boots.iter().filter(|b| b.passed).map(|b| b.seconds);
        seconds.max_by(f64::total_cmp)
    }

    /// The lines for the file at `GITHUB_OUTPUT`. Every output is given, also empty.
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
            // For the attesting step, which takes a path on each line.
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
            // A file of the runner has no address: uploading it is the workflow's affair.
            let _ = writeln!(
                text,
                "\nLogs and a picture of the screen of each boot are in {}.\n",
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
                    "Too large for one asset, so joined after the download by:\n\n{}",
                    code_block(&p.joins.join("\n"))
                );
            }
        }
        text
    }

    /// What the nightly's report reads.
    pub(super) fn for_nightly(&self) -> Outcome {
        let bad = self.boots.iter().find(|b| !b.passed);
        let reasons = bad.map(|b| report::reasons(b).join("; "));
        let log = bad.map(|b| {
            let whole = fs_err::read_to_string(b.evidence.join("console.log"));
            let whole = whole.unwrap_or_else(|_| b.tail.join("\n"));
            issue::tail(&whole).to_owned()
        });
        Outcome {
            // The report names it by the folder it finds it in.
            id: String::new(),
            verdict: match self.verdict() {
                // It was built, and that was all that was asked for.
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

/// Name of the nightly's file in the output folder.
pub const RESULT: &str = "action.result.json";

/// Adds text to one of the files by which a step tells the runner something. Nothing is done
/// where no runner named it.
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

/// A path as the root of the repository sees it, for annotations.
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
            images: vec![Image {
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
