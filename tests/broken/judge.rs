//! Breaks copies of a good image, and compares what is said about them.

use super::cases::{Case, For};
use super::edit::{Broken, Parts, copy};
use super::{LONGEST, errors, inspect};
use crate::common::xtask;
use camino::Utf8Path;
use serde_json::Value;
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// A good image, and where its parts are.
pub struct Good<'a> {
    pub image: &'a Utf8Path,
    pub dir: &'a Utf8Path,
    pub parts: Parts,
}

/// Breaks one thing and compares what is said. Returns what is wrong with that.
fn judge(good: &Good<'_>, case: &Case, n: usize, smoke: bool) -> Result<(), String> {
    let dir = good.dir.join(format!("{n}"));
    std::fs::create_dir(&dir).unwrap();
    let image = dir.join("box.img");
    copy(good.image, &image);
    let (seen, _) = inspect(&image);
    let place = |number: u64| {
        let partitions = seen["partitions"].as_array().unwrap().iter();
        let mut found = partitions.filter(|p| p["number"] == number);
        found.next().unwrap()["offset"].as_u64().unwrap()
    };
    let mut broken = Broken {
        esp: place(1),
        root: place(2),
        image,
        parts: good.parts.clone(),
    };
    (case.edit)(&mut broken);
    let (json, code) = inspect(&broken.image);
    let all = json["findings"].as_array().unwrap();
    let firmware = |f: &Value| match case.firmware {
        For::All => true,
        For::Bios => f["firmware"] == serde_json::json!(["bios"]),
        For::Uefi => f["firmware"] == serde_json::json!(["uefi"]),
    };
    let fits = |f: &&Value| {
        let cause = f["cause"].as_str().unwrap();
        f["code"] == case.code
            && f["severity"] == case.severity
            && cause.contains(case.cause)
            && firmware(f)
    };
    let Some(found) = all.iter().find(fits) else {
        return Err(format!("{}: not found in {all:#?}", case.name));
    };
    if found["cure"].as_str().unwrap().is_empty() {
        return Err(format!("{}: no cure", case.name));
    }
    let fatal = case.severity == "error";
    if code != i32::from(!errors(&json).is_empty()) || fatal != (code == 1) {
        return Err(format!("{}: exit code {code}: {all:#?}", case.name));
    }
    // What else is an error follows from the same cause, and is about the same thing.
    if fatal && errors(&json)[0] != found {
        return Err(format!(
            "{}: something else is named first: {all:#?}",
            case.name
        ));
    }
    let told = case.code != "format-name"
        && case.code != "format-damaged"
        && case.code != "disk-truncated"
        && case.code != "nothing-to-start"
        && case.code != "table-damaged";
    if smoke && told && (fatal || case.code == "console-missing") {
        let with = if case.firmware == For::Uefi {
            "uefi"
        } else {
            "bios"
        };
        let begun = Instant::now();
        let mut command = xtask();
        command.args([
            "smoke",
            "--json",
            "--firmware",
            with,
            broken.image.as_str(),
            "--evidence",
        ]);
        let out = command
            .arg(dir.join("evidence"))
            .env_remove("GITHUB_STEP_SUMMARY")
            .output()
            .unwrap();
        let json: Value = serde_json::from_slice(&out.stdout).unwrap_or_default();
        let outcome = &json[0];
        let detail = outcome["detail"].as_str().unwrap_or_default();
        if outcome["accelerator"] != "not booted"
            || !detail.contains(case.cause)
            || out.status.code() != Some(1)
        {
            let said = String::from_utf8_lossy(&out.stderr);
            return Err(format!("{}: smoke says {outcome:#?} {said}", case.name));
        }
        assert!(begun.elapsed() < LONGEST, "{}", case.name);
    }
    std::fs::remove_dir_all(&dir).unwrap();
    Ok(())
}

/// Judges all cases, a few at once.
pub fn judge_all(good: &Good<'_>, cases: &[&[Case]], smoke: bool) {
    let cases: Vec<&Case> = cases.iter().flat_map(|c| c.iter()).collect();
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((n, case)) = {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    cases.get(n).map(|c| (n, c))
                } {
                    let done =
                        std::panic::catch_unwind(AssertUnwindSafe(|| judge(good, case, n, smoke)));
                    match done
                        .unwrap_or_else(|_| Err(format!("{}: it cannot be broken so", case.name)))
                    {
                        Ok(()) => {}
                        Err(why) => wrong.lock().unwrap().push(why),
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(
        wrong.is_empty(),
        "{} of {} are wrong:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}
