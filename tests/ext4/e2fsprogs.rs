//! e2fsprogs' word on file systems of every kind.

use super::model::{self, MIB, Node, What, awkward, many};
use crate::common;
use docker_to_linux::fs::ext4::writer::{Error, Inodes, Journal, OnError, Options};
use docker_to_linux::tool::Tool;
use std::path::Path;

/// e2fsck finds nothing.
pub fn clean(image: &Path, what: &str) -> bool {
    let Some(mut e2fsck) = common::checker(Tool::E2fsck) else {
        return false;
    };
    let said = common::content(e2fsck.arg("-fn").arg(image));
    for bad in ["Fix?", "rror", "WARNING"] {
        assert!(!said.contains(bad), "{what}: {said}");
    }
    true
}

fn check(what: &str, options: Options, nodes: &[Node]) {
    let temp = tempfile::tempdir().unwrap();
    let image = temp.path().join("image");
    let size = options.size;
    let (volume, _) = model::lay_out(options, nodes).unwrap();
    model::write(&volume, nodes, size, &image);
    clean(&image, what);
}

#[test]
fn everything_with_blocks_of_every_size() {
    for block in [1024, 2048, 4096, 65536] {
        let mut nodes = awkward(block.into());
        many(&mut nodes, "indexed", 3000, &What::File(Vec::new()));
        many(&mut nodes, "subdirectories", 200, &What::Dir);
        for mib in [130, 600] {
            let mut options = model::options(if block == 65536 { 2 * mib } else { mib });
            options.block_size = block;
            options.inodes = Inodes::Count(9000);
            check(&format!("{block}, {mib} MiB"), options, &nodes);
        }
    }
}

/// A feature, and what switches it on.
pub type Set = (&'static str, fn(&mut Options));

#[test]
fn every_feature_alone_and_all_together() {
    let set: [Set; 15] = [
        ("64bit", |o| o.features.bits64 = true),
        ("fast_commit", |o| o.features.fast_commit = true),
        ("casefold", |o| o.features.casefold = true),
        ("project", |o| o.features.project = true),
        ("verity", |o| o.features.verity = true),
        ("ea_inode", |o| o.features.ea_inode = true),
        ("large_dir", |o| o.features.large_dir = true),
        ("metadata_csum_seed", |o| o.features.csum_seed = true),
        ("orphan_file", |o| o.features.orphan_file = true),
        ("inline_data", |o| o.features.inline_data = true),
        ("sparse_super2", |o| o.features.sparse_super2 = true),
        ("meta_bg", |o| {
            (o.features.meta_bg, o.grow_to) = (true, 0);
        }),
        ("no resize_inode", |o| o.grow_to = 0),
        ("no journal", |o| o.journal = Journal::None),
        ("errors", |o| o.on_error = OnError::ReadOnly),
    ];
    let mut nodes = awkward(4096);
    nodes.extend(model::below(model::small(), nodes.len()));
    for (what, set) in set {
        let mut options = model::options(200);
        set(&mut options);
        check(what, options, &nodes);
    }
    let mut options = model::options(200);
    set[..12].iter().for_each(|(_, set)| set(&mut options));
    check("all", options, &nodes);
}

#[test]
fn attributes_in_inodes_of_their_own() {
    let mut options = model::options(100);
    options.features.ea_inode = true;
    let mut nodes = Vec::new();
    for n in 0..3 {
        let name = format!("file {n}");
        nodes.push(
            model::node(0, name, What::File(vec![1]))
                .attribute("user.largest", &vec![b'q'; 65536])
                .attribute("user.large", &vec![b'r'; 5000])
                .attribute("user.n", &[n]),
        );
    }
    check("ea_inode", options, &nodes);
    let mut options = model::options(100);
    options.features.ea_inode = false;
    let refused = model::lay_out(options, &nodes).unwrap_err();
    assert!(matches!(refused, Error::Attributes { .. }), "{refused}");
}

#[test]
fn sizes_at_which_groups_begin_and_journals_grow() {
    let nodes = [model::node(0, "file", What::File(vec![3; 100_000]))];
    for size in [
        16 * MIB,
        128 * MIB,
        128 * MIB + 4096 * 60,
        129 * MIB,
        130 * MIB + 4096,
        2048 * MIB,
        2049 * MIB,
        2050 * MIB,
        16 * 1024 * MIB + 5 * MIB,
        200 * 1024 * MIB,
    ] {
        let mut options = model::options(1);
        options.size = size;
        options.grow_to = size * 1024;
        check(&format!("{size} bytes"), options, &nodes);
    }
}

/// A hash tree of two levels, and of three with blocks of 1 KiB; more directories than links
/// can be counted.
#[test]
fn large_directories() {
    let mut nodes = Vec::new();
    many(&mut nodes, "files", 200_000, &What::File(Vec::new()));
    many(&mut nodes, "directories", 65_500, &What::Dir);
    let mut options = model::options(2000);
    options.inodes = Inodes::Count(300_000);
    check("4096", options, &nodes);
    let mut nodes = Vec::new();
    many(&mut nodes, "files", 500_000, &What::File(Vec::new()));
    let mut options = model::options(1500);
    options.block_size = 1024;
    options.inodes = Inodes::Count(520_000);
    let refused = model::lay_out(options.clone(), &nodes).unwrap_err();
    assert!(
        matches!(&refused, Error::DirectoryTooLarge { path, .. } if path == b"/files"),
        "{refused}"
    );
    options.features.large_dir = true;
    check("1024", options, &nodes);
}
