//! Tells the program which commit it is built from, if that is certain: in a release, and where
//! `cargo install --git` checks a commit out. In a developer's checkout the name of the last commit
//! would be wrong as soon as a file is changed.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let released = std::env::var_os("CARGO_FEATURE_DEV").is_none();
    let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let installed = folder.contains("/git/checkouts/");
    let commit = (released || installed).then(commit).flatten();
    println!(
        "cargo::rustc-env=DOCKER_TO_LINUX_COMMIT={}",
        commit.unwrap_or_default()
    );
}

/// ` (0123abcd 2026-01-31)`: the commit and the day on which it was made.
fn commit() -> Option<String> {
    println!("cargo::rerun-if-changed=../.git/HEAD");
    let mut git = Command::new("git");
    git.args(["log", "-1", "--abbrev=8", "--format= (%h %cs)"]);
    let out = git.output().ok().filter(|out| out.status.success())?;
    let text = String::from_utf8(out.stdout).ok()?;
    Some(text.trim_end().to_owned())
}
