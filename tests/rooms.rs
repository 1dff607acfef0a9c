//! The rooms of the library (its modules) and the arrows between them: as ARCHITECTURE.md draws
//! them, and without circles.

use camino::{Utf8Path, Utf8PathBuf};
use std::collections::{BTreeMap, BTreeSet};

fn source() -> Utf8PathBuf {
    docker_to_linux::recipe::home().join("xtask/src")
}

/// All `.rs` files of a folder but those of tests.
fn files(dir: &Utf8Path) -> Vec<Utf8PathBuf> {
    let mut all = Vec::new();
    for entry in dir.read_dir_utf8().unwrap() {
        let path = entry.unwrap().into_path();
        match path.file_name().unwrap() {
            "tests" | "tests.rs" => {}
            _ if path.is_dir() => all.extend(files(&path)),
            name if name.ends_with(".rs") => all.push(path),
            _ => {}
        }
    }
    all
}

/// The code of a file, without comments and without its module of tests.
fn code(path: &Utf8Path) -> String {
    let text = fs_err::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = text.lines().map(|l| l.split("//").next().unwrap());
    lines.collect::<Vec<_>>().join("\n")
}

/// The names that follow `prefix` in the code: `prefix::a`, and `prefix::{a, b::c}`.
fn named(code: &str, prefix: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let word = |text: &str| -> String {
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
        text[..end.unwrap_or(text.len())].to_owned()
    };
    for (at, _) in code.match_indices(prefix) {
        let before = code[..at].chars().next_back().unwrap_or(' ');
        if before == ':' || before.is_alphanumeric() || before == '_' {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        if !rest.starts_with('{') {
            names.insert(word(rest));
            continue;
        }
        let (mut depth, mut fresh) = (0, false);
        for (at, c) in rest.char_indices() {
            match c {
                '{' => (depth, fresh) = (depth + 1, depth == 0),
                '}' if depth == 1 => break,
                '}' => depth -= 1,
                ',' if depth == 1 => fresh = true,
                c if fresh && !c.is_whitespace() => {
                    names.insert(word(&rest[at..]));
                    fresh = false;
                }
                _ => {}
            }
        }
    }
    names
}

/// Who uses whom.
type Arrows = BTreeMap<String, BTreeSet<String>>;

/// The name of a module by its file or folder.
fn module(path: &Utf8Path) -> String {
    path.file_stem().unwrap().to_owned()
}

/// The arrows between the rooms.
fn rooms() -> Arrows {
    let source = source();
    let mut arrows = Arrows::new();
    for path in files(&source) {
        let inside = path.strip_prefix(&source).unwrap();
        let room = module(inside.components().next().unwrap().as_str().into());
        if room != "lib" && room != "main" {
            let code = code(&path);
            let mut used = named(&code, "crate::");
            // The developers' commands are in the program and see the library from outside.
            used.extend(named(&code, "docker_to_linux::"));
            arrows.entry(room).or_default().extend(used);
        }
    }
    let known: BTreeSet<String> = arrows.keys().cloned().collect();
    for (room, used) in &mut arrows {
        used.retain(|other| known.contains(other) && other != room);
    }
    arrows
}

/// The lines of the picture in ARCHITECTURE.md, the top one first: each has a few rooms and says
/// what they are for.
fn picture() -> Vec<Vec<String>> {
    let path = docker_to_linux::recipe::home().join("ARCHITECTURE.md");
    let text = fs_err::read_to_string(path).unwrap();
    let picture = text.split("## Rooms").nth(1).unwrap();
    let picture = picture.split("##").next().unwrap();
    let lines = picture.lines().filter_map(|l| l.strip_prefix("    "));
    lines
        .map(|l| l.split("  ").next().unwrap())
        .map(|rooms| rooms.split(' ').map(str::to_owned).collect())
        .collect()
}

#[test]
fn arrows_point_down_in_the_picture() {
    let picture = picture();
    let rooms = rooms();
    let level = |room: &str| {
        picture
            .iter()
            .position(|line| line.iter().any(|r| r == room))
    };
    for (room, used) in &rooms {
        let here = level(room).unwrap_or_else(|| panic!("ARCHITECTURE.md has no room {room}"));
        for other in used {
            let there = level(other);
            assert!(
                there > Some(here),
                "{room} uses {other}, which is not below it"
            );
        }
    }
    for room in picture.iter().flatten() {
        assert!(rooms.contains_key(room), "there is no room {room}");
    }
}

/// The arrows between the modules of one folder.
fn siblings(dir: &Utf8Path) -> Arrows {
    let room = dir
        .strip_prefix(source())
        .unwrap()
        .as_str()
        .replace('/', "::");
    let mut arrows = Arrows::new();
    for entry in dir.read_dir_utf8().unwrap() {
        let path = entry.unwrap().into_path();
        let inside = if path.is_dir() {
            files(&path)
        } else {
            vec![path.clone()]
        };
        let name = module(&path);
        if matches!(name.as_str(), "mod" | "tests") || inside.is_empty() {
            continue;
        }
        for file in inside.iter().filter(|f| f.extension() == Some("rs")) {
            // How deep the file is below the folder tells how many steps up lead to it.
            let below = file.strip_prefix(dir).unwrap().components().count();
            let steps = below - usize::from(file.file_name() == Some("mod.rs"));
            let code = code(file);
            let mut used = named(&code, &"super::".repeat(steps));
            used.extend(named(&code, &format!("crate::{room}::")));
            arrows.entry(name.clone()).or_default().extend(used);
        }
    }
    let known: BTreeSet<String> = arrows.keys().cloned().collect();
    for (name, used) in &mut arrows {
        used.retain(|other| known.contains(other) && other != name);
    }
    arrows
}

/// What can be reached from `from`.
fn reached(arrows: &Arrows, from: &str) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut todo = vec![from.to_owned()];
    while let Some(next) = todo.pop() {
        for other in arrows.get(&next).into_iter().flatten() {
            if seen.insert(other.clone()) {
                todo.push(other.clone());
            }
        }
    }
    seen
}

#[test]
fn no_folder_has_a_circle() {
    let mut folders = vec![source()];
    let mut looked_at = 0;
    while let Some(dir) = folders.pop() {
        let entries = dir.read_dir_utf8().unwrap();
        let below = entries.map(|e| e.unwrap().into_path());
        folders.extend(below.filter(|p| p.is_dir() && p.file_name() != Some("tests")));
        if dir == source() {
            continue;
        }
        let arrows = siblings(&dir);
        looked_at += arrows.values().map(BTreeSet::len).sum::<usize>();
        for name in arrows.keys() {
            let circle = reached(&arrows, name);
            assert!(
                !circle.contains(name),
                "{dir}: {name} is in a circle: {arrows:#?}"
            );
        }
    }
    assert!(looked_at > 200, "only {looked_at} arrows were found");
}

#[test]
fn names_are_found_in_paths_and_groups() {
    let code = "use super::{a, b::{c, d}, e as f};\nuse super::g::h;\nlet x = super::super::i;";
    let names: Vec<String> = named(code, "super::").into_iter().collect();
    assert_eq!(names, ["a", "b", "e", "g", "super"]);
    assert_eq!(named("my_crate::a; crate::b;", "crate::").len(), 1);
}
