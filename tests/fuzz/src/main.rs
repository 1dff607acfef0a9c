//! A fuzzer for everything that reads what others wrote. libFuzzer mutates inputs and keeps those
//! that reach new code; `cargo xtask ci` builds it with coverage and runs it for a minute.
//!
//! The first byte of an input chooses the reader, the next holds switches, and the rest is what is
//! read: parts with [`parts::MARK`] between. Whatever guards an input (checksums of tar headers,
//! lengths of PAX records, digests of images, sums of partition tables) is computed here, so that
//! mutations get past it.
//!
//! A finding is a panic, an input that takes longer or more memory than libFuzzer is told to
//! allow, or one of the assertions here. With a file as its argument the program reads only that.
#![no_main]
#![allow(unsafe_code, reason = "libFuzzer calls its target by a name of C's")]
#![allow(
    clippy::needless_update,
    reason = "what is filled in here may get more fields"
)]
#![allow(clippy::panic, reason = "that is how a finding is told")]

mod disk;
mod machine;
mod oci;
mod parts;
mod seeds;
mod tars;
mod texts;

use docker_to_linux::{error, printable};
use libfuzzer_sys::fuzz_target;

/// A reader: it takes the switches and what is to be read.
type Reader = fn(u8, &[u8]);

/// Every reader. The order is that of the seeds, too.
const READERS: [Reader; 7] = [
    tars::plain,
    tars::layers,
    oci::layout,
    texts::recipe,
    texts::manifest,
    disk::readers,
    machine::whole,
];

/// Names a folder that gets the seeds before the fuzzing begins.
const SEEDS: &str = "FUZZ_SEEDS";

fuzz_target!(
    init: {
        if let Some(dir) = std::env::var_os(SEEDS) {
            seeds::write(std::path::Path::new(&dir));
        }
    },
    |data: &[u8]| {
        if let [reader, switches, rest @ ..] = data {
            READERS[usize::from(*reader) % READERS.len()](*switches, rest);
        }
    }
);

/// The value. An error is checked: it must be one line without anything that a terminal obeys.
fn checked<T, E: Into<error::Report>>(result: Result<T, E>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(e) => {
            let (line, _) = error::describe(&anyhow::Error::from(e.into()));
            assert_eq!(printable::line(&line), line);
            assert!(!line.is_empty());
            None
        }
    }
}

/// A folder in memory where there is one: contents that go through a pipe are spooled to it.
fn scratch() -> camino::Utf8PathBuf {
    match std::path::Path::new("/dev/shm").is_dir() {
        true => "/dev/shm".into(),
        false => std::env::temp_dir().to_string_lossy().into_owned().into(),
    }
}
