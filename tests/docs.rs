//! The documentation against the project: links lead somewhere, and the commands and options it
//! names exist.

use crate::common;
use camino::{Utf8Path, Utf8PathBuf};
use std::collections::BTreeMap;

/// Every page of the documentation.
fn pages() -> Vec<Utf8PathBuf> {
    let home = docker_to_linux::recipe::home();
    let folders = [".", ".github", ".github/docs", "recipes"];
    let mut pages: Vec<Utf8PathBuf> = folders
        .iter()
        .flat_map(|folder| home.join(folder).read_dir_utf8().unwrap())
        .map(|entry| entry.unwrap().into_path())
        .filter(|path| path.extension() == Some("md"))
        .collect();
    pages.sort();
    assert!(pages.len() > 10, "{pages:?}");
    pages
}

#[test]
fn links_lead_somewhere() {
    for page in pages() {
        let text = fs_err::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1) {
            let target = link.split([')', '#']).next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let file = page.parent().unwrap().join(target);
            assert!(file.exists(), "{page}: {target} does not exist");
        }
    }
}

fn help(command: &str) -> Option<String> {
    let out = common::xtask().args([command, "--help"]).output().unwrap();
    out.status.success().then(|| common::said(&out))
}

/// What follows `cargo xtask` in a page, up to the end of the command.
fn commands(text: &str) -> impl Iterator<Item = &str> {
    let ends = ['\n', '`', '|', '&', '#', ')'];
    text.split("cargo xtask ")
        .skip(1)
        .map(move |rest| rest.split(ends).next().unwrap_or_default())
}

#[test]
fn commands_and_options_exist() {
    let mut helps: BTreeMap<String, String> = BTreeMap::new();
    let mut seen = 0;
    for page in pages() {
        let text = fs_err::read_to_string(&page).unwrap();
        for line in commands(&text) {
            let mut words = line.split_whitespace();
            let Some(command) = words.next().filter(|w| w.starts_with(char::is_alphabetic)) else {
                continue;
            };
            if !helps.contains_key(command) {
                let help =
                    help(command).unwrap_or_else(|| panic!("{page}: {command:?} in {line:?}"));
                helps.insert(command.to_owned(), help);
            }
            for option in words.filter(|word| word.starts_with("--")) {
                let name = option.split('=').next().unwrap();
                assert!(
                    helps[command].contains(name) || name == "--help",
                    "{page}: {command} has no option {name}: {line:?}"
                );
                seen += 1;
            }
        }
    }
    assert!(helps.len() > 8 && seen > 20, "{helps:?}");
}

#[test]
fn the_readme_is_for_people_who_arrive() {
    let home = docker_to_linux::recipe::home();
    let readme = fs_err::read_to_string(home.join(Utf8Path::new("README.md"))).unwrap();
    assert!(
        readme.lines().count() <= 200,
        "details belong into .github/docs"
    );
    // What CI runs is the second of its two commands.
    assert!(readme.contains("cargo xtask setup --dev && cargo xtask ci\n"));
}
