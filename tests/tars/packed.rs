//! Compression around a tar.

use super::blocks::Raw512;
use super::{line, load, note, text};
use crate::common::{self, program, with_input};
use std::process::Stdio;

/// Runs a filter on bytes; `None` where it is not installed.
fn filter(command: &[&str], bytes: &[u8]) -> Option<Vec<u8>> {
    let mut command_ = program(command[0], command[0])?;
    let out = with_input(command_.args(&command[1..]).stderr(Stdio::null()), bytes);
    assert!(out.status.success(), "{command:?}");
    Some(out.stdout)
}

/// Every compression that tar knows is read, or named with the command that unpacks it.
#[test]
fn compressions() {
    let mut tar = Raw512::default();
    tar.file("etc/motd", b"hello")
        .file("large", &common::pattern(5, 300_000));
    let tar = tar.end();
    let read: [&[&str]; 8] = [
        &["gzip", "-c"],
        &["pigz", "-c", "-b", "128", "-p", "2"],
        &["bzip2", "-c"],
        &["xz", "-c"],
        &["xz", "-c", "--block-size=65536", "-T", "2"],
        &["xz", "-c", "--format=lzma"],
        &["lzip", "-c"],
        &["zstd", "-c", "-q"],
    ];
    for command in read {
        let Some(packed) = filter(command, &tar) else {
            continue;
        };
        let (head, tail) = tar.split_at(70_000);
        let two = [
            filter(command, head).unwrap(),
            filter(command, tail).unwrap(),
        ]
        .concat();
        let padded = [&packed[..], &[0; 5000]].concat();
        let mut whole = vec![(packed.clone(), false), (padded, false)];
        // A .lzma file is one stream.
        if !command.contains(&"--format=lzma") {
            whole.push((two.clone(), false));
            whole.push(([&two[..], &[0; 7], b"left over"].concat(), true));
        }
        whole.push(([&packed[..], b"left over"].concat(), true));
        for (n, (packed, left_over)) in whole.iter().enumerate() {
            let rootfs = load(packed).unwrap_or_else(|e| panic!("{command:?} {n}: {e}"));
            assert_eq!(text(&rootfs, "etc/motd"), "hello", "{command:?} {n}");
            if *left_over {
                assert!(note(&rootfs).contains("behind the compressed tar"));
            } else {
                assert_eq!(rootfs.notes, [""; 0], "{command:?} {n}");
            }
        }
        // What is damaged or cut off is an error, not an end.
        let mut bad = packed.clone();
        let middle = bad.len() / 2;
        bad[middle] ^= 0x55;
        assert!(load(&bad).is_err(), "{command:?}");
        assert!(load(&packed[..packed.len() - 3]).is_err(), "{command:?}");
        assert!(load(&packed[..middle]).is_err(), "{command:?}");
    }
    // A frame that readers skip, as pzstd writes it first.
    if let Some(packed) = filter(&["zstd", "-c", "-q"], &tar) {
        let skip = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3], &packed[..]].concat();
        assert_eq!(text(&load(&skip).unwrap(), "etc/motd"), "hello");
    }
}

/// Other compressions and archives are named, with the command that makes a tar of them.
#[test]
fn what_is_no_tar_is_named_with_its_remedy() {
    let mut tar = Raw512::default();
    let tar = tar.file("etc/motd", b"hello").end();
    let commands: [&[&str]; 4] = [
        &["compress", "-c", "-f"],
        &["lzop", "-c"],
        &["lz4", "-c", "-q"],
        &["lz4", "-c", "-q", "-l"],
    ];
    let packed = commands.map(|command| filter(command, &tar));
    let Some(packed) = packed.into_iter().collect::<Option<Vec<_>>>() else {
        return;
    };
    let said = packed.iter().map(|packed| line(load(packed).unwrap_err()));
    insta::assert_snapshot!(said.collect::<String>(), @r"
    this is not a tar: it is compressed with compress; hint: unpack it on the way: `uncompress -c FILE | cargo xtask image RECIPE --from -`
    this is not a tar: it is compressed with lzop; hint: unpack it on the way: `lzop -dc FILE | cargo xtask image RECIPE --from -`
    this is not a tar: it is compressed with lz4; hint: unpack it on the way: `lz4 -dc FILE | cargo xtask image RECIPE --from -`
    this is not a tar: it is compressed with lz4; hint: unpack it on the way: `lz4 -dc FILE | cargo xtask image RECIPE --from -`
    ");
    // However much of them there is.
    let archives = [&b"PK\x03\x04"[..], b"070701", b"hsqs"].map(|start| {
        let [short, long] = [100, 2000].map(|len| {
            let mut bytes = start.to_vec();
            bytes.resize(len, 1);
            line(load(&bytes).unwrap_err())
        });
        assert_eq!(short, long);
        long
    });
    insta::assert_snapshot!(archives.concat(), @r"
    this is not a tar: it is a zip archive; hint: unpack it on the way: `bsdtar -cf - @FILE | cargo xtask image RECIPE --from -`
    this is not a tar: it is a cpio archive; hint: unpack it on the way: `bsdtar -cf - @FILE | cargo xtask image RECIPE --from -`
    this is not a tar: it is a squashfs; hint: unpack it on the way: `sqfs2tar FILE | cargo xtask image RECIPE --from -`
    ");
}
