#![allow(clippy::unwrap_used)]

use super::{CLUSTER, COPIED, Qcow2, Qcow2Compressed};
use crate::format::tests::{options, written};
use crate::format::{Options, Sink};
use crate::model::Compression;
use std::io::Read;

const C: usize = CLUSTER as usize;

fn u64_at(file: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(file[at..at + 8].try_into().unwrap())
}

/// The L2 entry of a cluster of the disk, or 0 if there is no L2 table.
fn entry(file: &[u8], cluster: usize) -> u64 {
    let l1 = u64_at(file, 40) as usize;
    let l2 = (u64_at(file, l1 + cluster / 8192 * 8) & !COPIED) as usize;
    if l2 == 0 {
        0
    } else {
        u64_at(file, l2 + cluster % 8192 * 8)
    }
}

/// Refcount of the cluster at offset `at` of the file.
fn uses(file: &[u8], at: usize) -> u16 {
    let table = u64_at(file, 48) as usize;
    let block = u64_at(file, table) as usize;
    let n = block + at / C * 2;
    u16::from_be_bytes(file[n..n + 2].try_into().unwrap())
}

#[test]
fn clusters_lie_one_behind_another_and_their_table_behind_them() {
    // The second L2 table maps the disk from 512 MiB on.
    let far = 8192 * CLUSTER;
    let new = |f, size| Qcow2::new(f, size, &options()).unwrap();
    let file = written(far + 1, new, |sink| {
        sink.zeros(0, CLUSTER).unwrap();
        sink.data(CLUSTER, &vec![3; 2 * C]).unwrap();
        sink.zeros(3 * CLUSTER, far - 3 * CLUSTER).unwrap();
        sink.data(far, &[4]).unwrap();
    });
    // Header, refcount table, L1 table; 2 clusters, L2; 1 cluster, L2; refcount block.
    assert_eq!(file.len(), 9 * C);
    assert_eq!(entry(&file, 0), 0);
    assert_eq!(entry(&file, 1), 3 * CLUSTER + COPIED);
    assert_eq!(entry(&file, 2), 4 * CLUSTER + COPIED);
    assert_eq!(entry(&file, 8192), 6 * CLUSTER + COPIED);
    assert_eq!(file[3 * C..5 * C], vec![3; 2 * C]);
    assert_eq!(file[6 * C], 4);
    assert!((0..9).all(|n| uses(&file, n * C) == 1));
    assert_eq!(uses(&file, 9 * C), 0);
}

#[test]
fn compressed_clusters_share_clusters_of_the_file() {
    // Noise does not compress: it is stored uncompressed, between the others.
    let mut n = 1_u32;
    let noise: Vec<u8> = (0..C)
        .map(|_| {
            n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            n.to_be_bytes()[0]
        })
        .collect();
    let plain = [vec![1; C], vec![2; C], noise.clone(), vec![3; C]].concat();
    for compression in [Compression::Zstd, Compression::Zlib] {
        let options = Options {
            compression,
            ..options()
        };
        let new = |f, size| Qcow2Compressed::new(f, size, &options).unwrap();
        let file = written(4 * CLUSTER, new, |sink: &mut dyn Sink| {
            sink.data(0, &plain).unwrap();
        });
        assert_eq!(file[104], u8::from(compression == Compression::Zstd));
        assert_eq!(entry(&file, 2), 4 * CLUSTER + COPIED);
        assert_eq!(file[4 * C..5 * C], noise);
        assert_eq!(uses(&file, 3 * C), 3);
        for (cluster, byte) in [(0, 1), (1, 2), (3, 3)] {
            let entry = entry(&file, cluster);
            assert_eq!(entry >> 62, 1, "compressed, and not \"copied\"");
            let at = (entry & ((1 << 54) - 1)) as usize;
            let sectors = (entry >> 54 & 0xff) as usize + 1;
            let packed = &file[at..at / 512 * 512 + sectors * 512];
            let mut out = Vec::new();
            match compression {
                Compression::Zstd => zstd::Decoder::new(packed)
                    .unwrap()
                    .single_frame()
                    .read_to_end(&mut out),
                _ => flate2::read::DeflateDecoder::new(packed).read_to_end(&mut out),
            }
            .unwrap();
            assert!(out == vec![byte; C], "cluster {cluster}");
        }
    }
}

#[test]
fn a_disk_of_many_tebibytes_has_a_refcount_table_of_its_size() {
    let new = |f, size| Qcow2::new(f, size, &options()).unwrap();
    let size = 40 << 40;
    let file = written(size, new, |sink| sink.zeros(0, size).unwrap());
    let clusters = u32::from_be_bytes(file[56..60].try_into().unwrap());
    // 40 TiB need 20,480 refcount blocks; a cluster holds the offsets of 8,192.
    assert_eq!(clusters, 3);
    assert_eq!(u64_at(&file, 40), 4 * CLUSTER);
}
