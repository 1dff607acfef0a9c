//! Pseudo-random disks, from a generator of our own with a seed.

use super::{GIB, KIB, MIB};
use docker_to_linux::format::Sink;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

/// A generator of pseudo-random numbers (SplitMix64).
#[derive(Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }
}

/// A disk: its size in bytes and what is not zero on it, in ascending order.
pub(crate) struct Disk {
    pub(crate) size: u64,
    pub(crate) extents: Vec<(u64, Vec<u8>)>,
}

impl Disk {
    /// Up to `count` extents anywhere on a disk of `size` bytes, some long, some of one byte,
    /// some that compress and some that do not, some with runs of zeros inside.
    pub(crate) fn random(size: u64, count: u64, longest: u64, seed: u64) -> Disk {
        let mut random = Random(seed);
        let mut places: Vec<u64> = (0..count).map(|_| random.below(size)).collect();
        if size > 0 && count > 0 {
            // The very ends of the disk are where mistakes are.
            places.push(0);
            places.push(size - 1);
        }
        places.sort_unstable();
        let mut extents = Vec::new();
        let mut at = 0;
        for (i, place) in places.iter().enumerate() {
            let end = places.get(i + 1).copied().unwrap_or(size);
            let start = (*place).max(at);
            let len = (1 + random.below(longest)).min(end.saturating_sub(start));
            if len == 0 {
                continue;
            }
            extents.push((start, content(&mut random, len)));
            at = start + len;
        }
        Disk { size, extents }
    }

    pub(crate) fn write_raw(&self, path: &Path) {
        let mut file = File::create(path).unwrap();
        file.set_len(self.size).unwrap();
        for (at, bytes) in &self.extents {
            file.seek(SeekFrom::Start(*at)).unwrap();
            file.write_all(bytes).unwrap();
        }
    }

    /// Gives the disk to a sink: in pieces as they are, or (`split`) cut at random places and
    /// with zeros as data now and then.
    pub(crate) fn emit(&self, sink: &mut dyn Sink, split: Option<u64>) {
        let mut random = split.map(Random);
        let mut at = 0;
        let mut zeros = |sink: &mut dyn Sink, from: u64, to: u64| {
            let mut from = from;
            while from < to {
                let (len, data) = match &mut random {
                    None => (to - from, false),
                    Some(r) => {
                        let data = r.below(2) == 0;
                        let most = if data { 3 * MIB } else { 20 * GIB };
                        ((1 + r.below(most)).min(to - from), data)
                    }
                };
                if data {
                    sink.data(from, &vec![0; len as usize]).unwrap();
                } else {
                    sink.zeros(from, len).unwrap();
                }
                from += len;
            }
        };
        for (start, bytes) in &self.extents {
            zeros(sink, at, *start);
            at = start + bytes.len() as u64;
            let mut random = split.map(|s| Random(s ^ start));
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let len = match &mut random {
                    None => rest.len(),
                    Some(r) => (1 + r.below(200 * KIB) as usize).min(rest.len()),
                };
                sink.data(at - rest.len() as u64, &rest[..len]).unwrap();
                rest = &rest[len..];
            }
        }
        zeros(sink, at, self.size);
        sink.finish().unwrap();
    }
}

/// `len` bytes of one of four kinds.
pub(crate) fn content(random: &mut Random, len: u64) -> Vec<u8> {
    let kind = random.below(4);
    let mut bytes = Vec::with_capacity(len as usize + 8);
    while (bytes.len() as u64) < len {
        match kind {
            // No compressor gains anything.
            0 => bytes.extend_from_slice(&random.next().to_le_bytes()),
            // Text-like.
            1 => bytes
                .extend_from_slice(format!("line {} of a file\n", random.below(500)).as_bytes()),
            // Data and zeros, in runs that cross every block border sooner or later.
            2 => {
                let run = 1 + random.below(90 * KIB) as usize;
                let byte = if random.below(2) == 0 { 0 } else { 0xa5 };
                bytes.resize(bytes.len() + run, byte);
            }
            _ => bytes.push(random.next() as u8 & 0x33),
        }
    }
    bytes.truncate(len as usize);
    bytes
}
