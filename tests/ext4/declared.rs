//! A tree that is declared with wishes: what is stored first, and files with too many names.

use super::e2fsprogs::clean;
use crate::common;
use camino::Utf8Path;
use docker_to_linux::fs::ext4::{self, Need, Wishes};
use docker_to_linux::rootfs::{Content, Kind, Meta, Node, Stores, Tree};
use std::path::Path;
use std::process::Command;

fn file(bytes: &[u8]) -> Node {
    let content = Content::Bytes(bytes.into());
    Node::new(Kind::File(content), Meta::root(0o644, 0))
}

/// Writes the file system of a tree into `image`.
fn write(tree: &Tree, wishes: Wishes<'_>, image: &Path) {
    let image = Utf8Path::from_path(image).unwrap();
    common::ext4::smallest(tree.clone(), &Stores::default(), wishes, image).unwrap();
}

/// What debugfs says to a request.
fn asked(image: &Path, request: &str) -> String {
    let mut debugfs = Command::new("debugfs");
    common::content(debugfs.args(["-R", request]).arg(image))
}

/// The first block of a file.
fn first_block(image: &Path, path: &str) -> u64 {
    let said = asked(image, &format!("blocks {path}"));
    let number = said
        .lines()
        .find_map(|l| l.split_whitespace().next()?.parse().ok());
    number.unwrap_or_else(|| panic!("{path}: {said}"))
}

#[test]
fn files_are_stored_in_the_order_that_is_wished() {
    let mut tree = Tree::new(Meta::root(0o755, 0));
    for path in ["/a/1", "/a/2", "/a/3", "/b/sub/x", "/b/y", "/boot/k", "/z"] {
        tree.insert(path, file(&[1; 5000])).unwrap();
    }
    let temp = tempfile::tempdir().unwrap();
    let image = temp.path().join("image");
    let order = ["/z", "/b", "/not there", "/a/3", "/b/sub/x"].map(str::to_owned);
    let wishes = Wishes {
        dense: &["/boot/k"],
        order: &order,
        ..Wishes::default()
    };
    write(&tree, wishes, &image);
    if !clean(&image, "order") {
        return;
    }
    // A path of its own counts more than that of its directory.
    let wanted = ["/boot/k", "/z", "/b/y", "/a/3", "/b/sub/x", "/a/1", "/a/2"];
    let blocks: Vec<u64> = wanted.iter().map(|p| first_block(&image, p)).collect();
    assert!(blocks.is_sorted(), "{wanted:?} {blocks:?}");
}

#[test]
fn a_file_with_too_many_names_is_stored_several_times() {
    let mut tree = Tree::new(Meta::root(0o755, 0));
    let first = tree.insert("/d/0", file(b"many names\n")).unwrap();
    for n in 1..130_001 {
        tree.link(format!("/d/{n}"), first).unwrap();
    }
    let temp = tempfile::tempdir().unwrap();
    let image = temp.path().join("image");
    let need = Need::of(&tree, &[]);
    let wishes = Wishes {
        split_links: true,
        ..Wishes::default()
    };
    let split = Need::of(&tree, wishes);
    assert_eq!(split.inodes, need.inodes + 2);
    assert_eq!(split.content, 3 * need.content);
    let notes = ext4::split_links(&tree);
    assert_eq!(notes.len(), 1);
    assert!(
        notes[0].contains("130001 names") && notes[0].contains("3 times"),
        "{notes:?}"
    );
    write(&tree, wishes, &image);
    if !clean(&image, "many names") {
        return;
    }
    // The names of the tree are in the order of their bytes.
    let mut names: Vec<String> = (0..130_001).map(|n| n.to_string()).collect();
    names.sort();
    let mut inodes = Vec::new();
    for (name, links) in [
        (0, 65_000),
        (64_999, 65_000),
        (65_000, 65_000),
        (130_000, 1),
    ] {
        let path = format!("/d/{}", names[name]);
        let said = asked(&image, &format!("stat {path}"));
        assert!(said.contains(&format!("Links: {links} ")), "{path}: {said}");
        let read = asked(&image, &format!("cat {path}"));
        assert!(read.starts_with("many names\n"), "{path}: {read}");
        inodes.push(said.lines().next().unwrap().to_owned());
    }
    assert_eq!(inodes[0], inodes[1]);
    assert_ne!(inodes[1], inodes[2]);
    assert_ne!(inodes[2], inodes[3]);
}
