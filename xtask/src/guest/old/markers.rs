//! Environment variables that mark a container.

use super::super::{Report, Rootfs, rewrite};
use super::glance;

/// Files with assignments that every session or service reads: environment(5), environment.d(5).
const ENVIRONMENTS: [&str; 1] = ["/etc/environment"];
const ENVIRONMENT_DIRS: [&str; 2] = ["/etc/environment.d", "/usr/lib/environment.d"];
/// Settings of systemd: systemd-system.conf(5).
const SETTINGS: [&str; 2] = ["/etc/systemd/system.conf", "/etc/systemd/user.conf"];
const SETTINGS_DIRS: [&str; 2] = ["/etc/systemd/system.conf.d", "/etc/systemd/user.conf.d"];

/// Removes `container=` from the environment of services and sessions.
pub(super) fn clean(rootfs: &mut Rootfs) -> Result<Option<String>, Report> {
    let mut mended = Vec::new();
    for file in files(rootfs, &ENVIRONMENTS, &ENVIRONMENT_DIRS, "") {
        mend(rootfs, file, &mut mended, |line| {
            let assignment = line.trim_start().trim_start_matches("export ");
            (!is_marker(assignment)).then(|| line.to_owned())
        })?;
    }
    for file in files(rootfs, &[], &["/etc/profile.d"], ".sh") {
        mend(rootfs, file, &mut mended, |line| {
            let set = line.trim_start().strip_prefix("export ");
            (!set.is_some_and(is_marker)).then(|| line.to_owned())
        })?;
    }
    for file in files(rootfs, &SETTINGS, &SETTINGS_DIRS, ".conf") {
        mend(rootfs, file, &mut mended, setting)?;
    }
    Ok((!mended.is_empty()).then(|| {
        format!(
            "removed container= from {}: programs would have treated the machine as a container",
            mended.join(", ")
        )
    }))
}

fn files(rootfs: &Rootfs, files: &[&str], dirs: &[&str], ending: &str) -> Vec<String> {
    let mut all: Vec<String> = files.iter().map(|f| (*f).to_owned()).collect();
    for dir in dirs {
        let named = rootfs.tree.entries(dir);
        let wanted = named.filter(|(name, _)| name.ends_with(ending));
        all.extend(wanted.map(|(name, _)| format!("{dir}/{name}")));
    }
    all
}

/// Whether an assignment sets the variable `container`.
fn is_marker(assignment: &str) -> bool {
    let assignment = assignment.trim_start_matches(['"', '\'']);
    assignment
        .strip_prefix("container")
        .is_some_and(|rest| rest.starts_with('='))
}

/// A line of systemd's settings without the variable. `None` if nothing else is left.
fn setting(line: &str) -> Option<String> {
    let Some((key, value)) = line.split_once('=') else {
        return Some(line.to_owned());
    };
    if !["DefaultEnvironment", "ManagerEnvironment"].contains(&key.trim()) {
        return Some(line.to_owned());
    }
    let words: Vec<&str> = value.split_whitespace().collect();
    if !words.iter().any(|word| is_marker(word)) {
        return Some(line.to_owned());
    }
    let rest: Vec<&str> = words.into_iter().filter(|word| !is_marker(word)).collect();
    (!rest.is_empty()).then(|| format!("{key}={}", rest.join(" ")))
}

/// Rewrites a file if `line` changes or drops one of its lines.
fn mend(
    rootfs: &mut Rootfs,
    file: String,
    mended: &mut Vec<String>,
    line: impl Fn(&str) -> Option<String>,
) -> Result<(), Report> {
    let old = glance(rootfs, &file)?;
    let mut changed = false;
    let mut text = String::new();
    for one in old.lines() {
        let new = line(one);
        changed |= new.as_deref() != Some(one);
        if let Some(new) = new {
            text.push_str(&new);
            text.push('\n');
        }
    }
    if changed {
        rewrite(rootfs, &file, text)?;
        mended.push(file);
    }
    Ok(())
}
