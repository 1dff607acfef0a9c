//! Volumes in machines: what is written to them stays, whatever happens to the machine.
//!
//! `cargo xtask image alpine debian`, then
//! `cargo test --release --test integration -- --ignored volumes::`.

mod database;
mod disk;
mod program;
mod starts;

use crate::common::machine::{self, Guest};
use crate::common::{checker, said};
use camino::Utf8Path;
use docker_to_linux::model::Arch;
use docker_to_linux::plan::Partition;
use docker_to_linux::tool::Tool;
use docker_to_linux::vm::{Firmware, Machine, PROMPT, Session};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

/// Starts the machine of a disk, which keeps what is written to it, until it asks for a login.
fn up(image: &Utf8Path) -> Session {
    let machine = Machine {
        snapshot: false,
        ..Machine::new(Arch::Amd64, Firmware::Bios)
    };
    machine::up(&machine, image, &[PROMPT]).0
}

fn login(session: &mut Session) -> Guest<'_> {
    Guest::open(session, "root", machine::PASSWORD)
}

/// e2fsck finds nothing wrong with a partition, whose last byte may be anywhere: it may have grown.
/// After a power cut (`replay`), it replays the journal first.
fn is_clean(image: &Utf8Path, partition: &Partition, replay: bool) {
    let Some(mut e2fsck) = checker(Tool::E2fsck) else {
        return;
    };
    let copy = image.with_extension("partition");
    let mut disk = File::open(image).unwrap();
    disk.seek(SeekFrom::Start(partition.start)).unwrap();
    let mut file = File::create(&copy).unwrap();
    let mut block = vec![0; 1 << 20];
    let mut len = 0;
    loop {
        let n = disk.read(&mut block).unwrap();
        if n == 0 {
            break;
        }
        len += n as u64;
        if block[..n].iter().any(|b| *b != 0) {
            file.write_all(&block[..n]).unwrap();
        } else {
            file.seek(SeekFrom::Current(n as i64)).unwrap();
        }
    }
    file.set_len(len).unwrap();
    drop(file);
    let mut run = |options: &str, most: i32| {
        let out = e2fsck.arg(options).arg(&copy).output().unwrap();
        assert!(
            out.status.code().is_some_and(|c| c <= most),
            "{}",
            said(&out)
        );
        eprintln!("# e2fsck {options}\n{}", said(&out));
    };
    if replay {
        run("-fp", 1);
    } else {
        run("-fn", 0);
    }
    std::fs::remove_file(copy).unwrap();
}
