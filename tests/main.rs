//! The integration tests, in one program: `cargo test --release --test integration cli::` runs
//! those of `tests/cli.rs`.
//!
//! They run in parallel in one process, so none of them may change what belongs to the whole process:
//! its environment, working directory, umask, limits and signals. Tests that need that start a
//! separate program.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    unreachable_pub
)]

mod common;
mod gpt;
mod release;
mod rooms;

// What Linux's own programs and kernel check is tested on Linux only.
#[cfg(target_os = "linux")]
mod action;
#[cfg(target_os = "linux")]
mod alone;
#[cfg(target_os = "linux")]
mod boot;
#[cfg(target_os = "linux")]
mod boot_verb;
#[cfg(target_os = "linux")]
mod broken;
#[cfg(target_os = "linux")]
mod children;
#[cfg(target_os = "linux")]
mod cli;
#[cfg(target_os = "linux")]
mod container;
#[cfg(target_os = "linux")]
mod containers;
#[cfg(target_os = "linux")]
mod disk;
#[cfg(target_os = "linux")]
mod docs;
#[cfg(target_os = "linux")]
mod ext4;
#[cfg(target_os = "linux")]
mod extlinux;
#[cfg(target_os = "linux")]
mod fat;
#[cfg(target_os = "linux")]
mod formats;
#[cfg(target_os = "linux")]
mod guest;
#[cfg(target_os = "linux")]
mod hosted;
#[cfg(target_os = "linux")]
mod hosted_runtime;
#[cfg(target_os = "linux")]
mod hostile;
#[cfg(target_os = "linux")]
mod layouts;
#[cfg(target_os = "linux")]
mod machine;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod metadata;
#[cfg(target_os = "linux")]
mod oci;
#[cfg(target_os = "linux")]
mod oci_choice;
#[cfg(target_os = "linux")]
mod old_home;
#[cfg(target_os = "linux")]
mod output;
#[cfg(target_os = "linux")]
mod printed;
#[cfg(target_os = "linux")]
mod registry;
#[cfg(target_os = "linux")]
mod reproduce;
#[cfg(target_os = "linux")]
mod sectors;
#[cfg(target_os = "linux")]
mod setup;
#[cfg(target_os = "linux")]
mod smoke;
#[cfg(target_os = "linux")]
mod targets;
#[cfg(target_os = "linux")]
mod tars;
#[cfg(target_os = "linux")]
mod terminal;
#[cfg(target_os = "linux")]
mod uki;
#[cfg(target_os = "linux")]
mod up_to_date;
#[cfg(target_os = "linux")]
mod update_boot;
#[cfg(target_os = "linux")]
mod upgrade;
#[cfg(target_os = "linux")]
mod volumes;

use camino::{Utf8Path, Utf8PathBuf};
use std::collections::BTreeSet;

/// A file of tests that no `mod` names would never be compiled.
#[test]
fn every_file_is_a_module() {
    let tests = docker_to_linux::recipe::home().join("tests");
    let mut named = BTreeSet::from([tests.join("main.rs")]);
    modules(&tests.join("main.rs"), &tests, &mut named);
    let mut there = BTreeSet::new();
    files(&tests, &mut there);
    // Programs of their own.
    for folder in ["fuzz", "containers/rust"] {
        there.retain(|file| !file.starts_with(tests.join(folder)));
    }
    let forgotten: Vec<_> = there.difference(&named).collect();
    assert_eq!(
        forgotten, [""; 0],
        "no `mod` line in tests/ names these files"
    );
    assert!(there.len() > 40, "{there:?}");
}

/// Adds the files of the modules that `file` names, and of theirs, which are in `folder`.
fn modules(file: &Utf8Path, folder: &Utf8Path, named: &mut BTreeSet<Utf8PathBuf>) {
    for line in fs_err::read_to_string(file).unwrap().lines() {
        let line = line.strip_prefix("pub ").unwrap_or(line);
        let name = line.strip_prefix("mod ").and_then(|l| l.strip_suffix(';'));
        let Some(name) = name else { continue };
        let inside = folder.join(name);
        let choice = [folder.join(format!("{name}.rs")), inside.join("mod.rs")];
        let file = choice.into_iter().find(|file| file.exists()).unwrap();
        modules(&file, &inside, named);
        named.insert(file);
    }
}

fn files(folder: &Utf8Path, there: &mut BTreeSet<Utf8PathBuf>) {
    for entry in folder.read_dir_utf8().unwrap() {
        let path = entry.unwrap().into_path();
        if path.is_dir() {
            files(&path, there);
        } else if path.extension() == Some("rs") {
            there.insert(path);
        }
    }
}
