//! Formats outcomes: a table for terminals, JUnit XML, and Markdown.

use super::{BootOutcome, NOT_BOOTED, Verdict, title};
use crate::error;
use crate::github::commands::{code_block, markdown as cell};
use crate::printable::{line, lines};
use crate::progress::Progress;
use crate::vm::stage::Stage;
use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};
use std::time::Duration;

/// The result of an outcome for the table and the summary.
pub fn result(outcome: &BootOutcome) -> String {
    match (outcome.verdict, outcome.passed) {
        (Verdict::Booted, false) => "booted, with failures".to_owned(),
        (verdict, _) => verdict.to_string(),
    }
}

fn seconds_of(outcome: &BootOutcome, stage: Stage) -> Option<f64> {
    let found = outcome.stages.iter().find(|s| s.stage == stage);
    found.map(|s| s.seconds)
}

fn seconds(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |s| format!("{s:.1}"))
}

/// A table with one line per outcome. Times are in seconds. Where `width` columns are too few, it is
/// without the times of the stages.
pub fn table(outcomes: &[BootOutcome], width: Option<u16>) -> String {
    let whole = table_with(outcomes, &Stage::ALL);
    let widest = whole.lines().map(|line| line.chars().count()).max();
    match width {
        Some(width) if widest > Some(width.into()) => table_with(outcomes, &[]),
        _ => whole,
    }
}

fn table_with(outcomes: &[BootOutcome], stages: &[Stage]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    let mut header = vec![String::new(), "BOOT".into(), "VERDICT".into()];
    header.extend(stages.iter().map(|s| s.name().to_uppercase()));
    header.extend(["OFF".to_owned(), "WARNINGS".to_owned()]);
    table.set_header(header);
    for o in outcomes {
        let mut row = vec![
            if o.passed { "ok" } else { "FAIL" }.to_owned(),
            title(&line(&o.name), o.firmware, o.disk),
            result(o),
        ];
        row.extend(stages.iter().map(|s| seconds(seconds_of(o, *s))));
        row.push(seconds(o.power_off_seconds));
        row.push(o.findings.warnings.len().to_string());
        table.add_row(row);
    }
    table.trim_fmt()
}

/// All messages about a failure, one per line.
pub fn reasons(outcome: &BootOutcome) -> Vec<String> {
    let detail = outcome.detail.iter().cloned();
    detail
        .chain(outcome.findings.failures.iter().cloned())
        .collect()
}

/// The error for boots of which at least one failed.
pub fn failure(outcomes: &[BootOutcome]) -> error::Report {
    let failed: Vec<&BootOutcome> = outcomes.iter().filter(|o| !o.passed).collect();
    let names: Vec<String> = failed
        .iter()
        .map(|o| format!("{} with {}: {}", o.name, o.firmware, result(o)))
        .collect();
    if failed.iter().all(|o| o.accelerator == NOT_BOOTED) {
        let first = failed.first().map(|o| reasons(o)).unwrap_or_default();
        let why = first.first().map_or("", String::as_str);
        let why = why.split("; hint: ").next().unwrap_or_default();
        return error::Report::failure(format!(
            "{} of {} boots failed: {}: {why}",
            failed.len(),
            outcomes.len(),
            names.join("; ")
        ))
        .hint("`cargo xtask inspect IMAGE` shows what is in an image; --anyway boots it");
    }
    let folders: Vec<&str> = failed.iter().map(|o| o.evidence.as_str()).collect();
    error::Report::failure(format!(
        "{} of {} boots failed: {}",
        failed.len(),
        outcomes.len(),
        names.join("; ")
    ))
    .hint(format!(
        "see the logs and screenshots in {}",
        folders.join(", ")
    ))
}

/// Tells how a boot went.
pub fn tell(outcome: &BootOutcome, progress: &dyn Progress) {
    let inside = match outcome.checks.len() {
        0 => String::new(),
        n => format!(", {n} checks"),
    };
    if outcome.accelerator == NOT_BOOTED {
        let title = title(&outcome.name, outcome.firmware, outcome.disk);
        progress.note(&format!(
            "{title}: not booted, because it cannot: {}",
            result(outcome)
        ));
        for reason in reasons(outcome) {
            progress.note(&reason);
        }
        return;
    }
    let what = format!(
        "{}: {} after {:.1} s ({}{inside})",
        title(&outcome.name, outcome.firmware, outcome.disk),
        result(outcome),
        outcome.seconds,
        outcome.accelerator
    );
    if outcome.passed {
        progress.detail(&what);
    } else {
        progress.note(&what);
        for line in &outcome.tail {
            progress.detail(&format!("| {line}"));
        }
        for reason in reasons(outcome) {
            progress.note(&reason);
        }
    }
    for warning in &outcome.findings.warnings {
        progress.note(&format!("warning: {warning}"));
    }
    for note in &outcome.findings.notes {
        progress.detail(note);
    }
}

/// JUnit XML: one test case per boot.
pub fn junit(outcomes: &[BootOutcome]) -> Result<String, error::Report> {
    let mut suite = TestSuite::new("smoke");
    for o in outcomes {
        let status = if o.passed {
            TestCaseStatus::success()
        } else {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_type(o.verdict.name());
            status.set_message(result(o));
            status.set_description(&*lines(&reasons(o).join("\n")));
            status
        };
        let shown = line(&o.name);
        let name = title(&shown, o.firmware, o.disk);
        let mut case = TestCase::new(name, status);
        case.set_classname(format!("smoke.{shown}"));
        case.set_time(Duration::from_secs_f64(o.seconds));
        case.add_property(Property::new("verdict", o.verdict.name()));
        case.add_property(Property::new("accelerator", o.accelerator));
        for s in &o.stages {
            case.add_property(Property::new(s.stage.name(), format!("{:.3}", s.seconds)));
        }
        for warning in &o.findings.warnings {
            case.add_property(Property::new("warning", &*line(warning)));
        }
        case.set_system_out_lossy(&*lines(&o.tail.join("\n")));
        suite.add_test_case(case);
    }
    let mut report = Report::new("docker-to-linux");
    report.add_test_suite(suite);
    report
        .to_string()
        .map_err(|e| error::Report::failure("writing JUnit XML").because(e))
}

/// How wide the longest bar of the summary is, in characters.
const BAR: f64 = 40.0;

/// The character for a stage in a bar.
const fn fill(stage: Stage) -> &'static str {
    match stage {
        Stage::Firmware => "░",
        Stage::Loader => "▒",
        Stage::Kernel => "▓",
        Stage::Init => "█",
        Stage::Login => "▚",
    }
}

/// Markdown: a table, the stages as bars, and the messages of each outcome.
pub fn markdown(outcomes: &[BootOutcome]) -> String {
    let passed = outcomes.iter().filter(|o| o.passed).count();
    let mut text = format!("### Boots: {passed} of {} passed\n\n", outcomes.len());
    text.push_str("| | image | firmware | disk | verdict | prompt after | power-off | accelerator |\n|---|---|---|---|---|--:|--:|---|\n");
    for o in outcomes {
        let mark = if o.passed { "✅" } else { "❌" };
        let prompt = seconds_of(o, Stage::Init).map(|_| o.seconds);
        text.push_str(&format!(
            "| {mark} | {} | {} | {} | {} | {} s | {} s | {} |\n",
            cell(&o.name),
            o.firmware,
            o.disk,
            cell(&result(o)),
            seconds(prompt),
            seconds(o.power_off_seconds),
            o.accelerator
        ));
    }
    let legend = Stage::ALL
        .map(|s| format!("{} {}", fill(s), s.name()))
        .join("  ");
    let mut bars = format!("{legend}\n");
    let total = |o: &BootOutcome| o.stages.iter().map(|s| s.seconds).sum::<f64>();
    let longest = outcomes.iter().map(total).fold(1.0, f64::max);
    let label = |o: &BootOutcome| format!("{} {} {}", line(&o.name), o.firmware, o.disk);
    let width = outcomes
        .iter()
        .map(|o| label(o).chars().count())
        .max()
        .unwrap_or(0);
    for o in outcomes {
        let bar: String = o
            .stages
            .iter()
            .map(|s| {
                // A stage is never shorter than one character.
                let cells = (s.seconds / longest * BAR).round().max(1.0);
                fill(s.stage).repeat(cells as usize)
            })
            .collect();
        bars.push_str(&format!("{:width$} {bar} {:.1} s\n", label(o), total(o)));
    }
    text.push('\n');
    text.push_str(&code_block(&bars));
    for o in outcomes {
        let lists = [
            ("failure", reasons(o)),
            ("warning", o.findings.warnings.clone()),
            ("note", o.findings.notes.clone()),
        ];
        for (kind, lines) in lists {
            for line in lines {
                text.push_str(&format!(
                    "- **{}**: {kind}: {}\n",
                    cell(&label(o)),
                    cell(&line)
                ));
            }
        }
        if !o.passed && !o.tail.is_empty() {
            text.push_str(&format!(
                "\n<details><summary>the last lines of {}</summary>\n\n{}</details>\n\n",
                cell(&label(o)),
                code_block(&o.tail.join("\n"))
            ));
        }
    }
    text
}
