#![allow(clippy::unwrap_used)]

use super::{Packing, pack};
use std::io::{Read, Write};
use std::process::{Command, Stdio};

const ALL: [Packing; 3] = [Packing::Zstd, Packing::Xz, Packing::Gzip];

/// Some text with an odd length, 20 MiB of zeros, and a little more.
fn content() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut n = 1_u32;
    while bytes.len() < 3 << 19 {
        n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        writeln!(bytes, "{} lines of {}", n >> 20, n >> 8).unwrap();
    }
    bytes.resize(bytes.len() + (20 << 20), 0);
    bytes.extend_from_slice(b"the end");
    bytes
}

/// Unpacks with the crates: they check sums and sizes.
fn unpacked(how: Packing, packed: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match how {
        Packing::Zstd => zstd::stream::copy_decode(packed, &mut plain).map(|()| 0),
        Packing::Xz => liblzma::read::XzDecoder::new(packed).read_to_end(&mut plain),
        // One member, not several.
        Packing::Gzip => flate2::read::GzDecoder::new(packed).read_to_end(&mut plain),
    }
    .unwrap();
    plain
}

#[test]
fn what_is_packed_comes_out_again_whatever_the_number_of_threads() {
    let plain = content();
    for how in ALL {
        let mut one = Vec::new();
        pack(&plain[..], &mut one, how, 1).unwrap();
        assert!(one.len() < plain.len() / 8, "{how:?}: {}", one.len());
        assert!(unpacked(how, &one) == plain, "{how:?}");
        let mut three = Vec::new();
        pack(&plain[..], &mut three, how, 3).unwrap();
        assert!(one == three, "{how:?} depends on the number of threads");
    }
}

#[test]
fn nothing_is_packed_as_nothing() {
    for how in ALL {
        let mut packed = Vec::new();
        pack(&[][..], &mut packed, how, 2).unwrap();
        assert_eq!(unpacked(how, &packed), b"", "{how:?}");
    }
}

/// Unpacks with the programs that people use.
#[test]
fn the_programs_of_the_formats_accept_it() {
    let plain = content();
    for (how, program, tests) in [
        (Packing::Zstd, "zstd", &[&["-t", "-q"][..]][..]),
        (
            Packing::Xz,
            "xz",
            &[&["-t", "-q"], &["-t", "-q", "--single-stream"]],
        ),
        (Packing::Gzip, "gzip", &[&["-t"]]),
    ] {
        let mut packed = Vec::new();
        pack(&plain[..], &mut packed, how, 2).unwrap();
        for test in tests {
            let child = Command::new(program)
                .args(*test)
                .stdin(Stdio::piped())
                .spawn();
            let Ok(mut child) = child else {
                assert!(
                    std::env::var_os("CI").is_none(),
                    "{program} is missing in CI"
                );
                continue;
            };
            let mut stdin = child.stdin.take().unwrap();
            stdin.write_all(&packed).unwrap();
            drop(stdin);
            assert!(child.wait().unwrap().success(), "{program} {test:?}");
        }
    }
}
