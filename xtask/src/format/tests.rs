//! Shared code of the formats' unit tests, and the tests of the contract.

#![allow(clippy::unwrap_used)]

use super::ova::Machine;
use super::{Checked, Compression, Options, Sink};
use std::fs::File;
use std::io::{Read, Seek};
use uuid::Uuid;

/// Options for a test.
pub(super) fn options() -> Options {
    Options {
        sector_size: 512,
        id: Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff),
        epoch: 1_700_000_000,
        name: "test".into(),
        compression: Compression::None,
        threads: 2,
        machine: Machine::default(),
        root: Some(1 << 20..3 << 20),
    }
}

/// The contents of the file after `fill` has passed a disk of `size` bytes to a sink.
pub(super) fn written<S: Sink>(
    size: u64,
    new: impl FnOnce(File, u64) -> S,
    fill: impl FnOnce(&mut dyn Sink),
) -> Vec<u8> {
    let mut file = tempfile::tempfile().unwrap();
    let mut sink = Checked::new(new(file.try_clone().unwrap(), size), size);
    fill(&mut sink);
    sink.finish().unwrap();
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_region_out_of_order_is_refused() {
    struct Nothing;
    impl Sink for Nothing {
        fn data(&mut self, _: u64, _: &[u8]) -> std::io::Result<()> {
            Ok(())
        }
        fn zeros(&mut self, _: u64, _: u64) -> std::io::Result<()> {
            Ok(())
        }
        fn finish(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut sink = Checked::new(Nothing, 100);
    sink.zeros(0, 10).unwrap();
    assert!(sink.data(9, &[1]).is_err());
    assert!(sink.data(11, &[1]).is_err());
    assert!(sink.zeros(10, 91).is_err());
    assert!(sink.finish().is_err());
    sink.data(10, &[1; 90]).unwrap();
    sink.finish().unwrap();
}
