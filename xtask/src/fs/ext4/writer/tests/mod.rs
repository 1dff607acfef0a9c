//! Tests of the writer alone: with any input, it returns an error or a file system whose pieces are
//! in order. tests/ext4 compares it with other programs.
#![allow(clippy::unwrap_used)]

use super::{
    Builder, Error, Features, Inodes, Journal, Kind, Meta, NodeId, OnError, Options, Out, ROOT,
};
use proptest::prelude::*;

/// Checks that pieces are ascending, disjoint and inside, and keeps those of a window.
struct Seen {
    at: u64,
    size: u64,
    from: u64,
    window: Vec<u8>,
}

impl Seen {
    fn new(size: u64, from: u64, len: usize) -> Seen {
        Seen {
            at: 0,
            size,
            from,
            window: vec![0; len],
        }
    }

    fn piece(&mut self, at: u64, len: u64) {
        assert!(at >= self.at, "{at} comes after {}", self.at);
        assert!(len > 0 && at + len <= self.size, "{len} at {at}");
        self.at = at + len;
    }
}

impl Out for Seen {
    type Error = ();

    fn metadata(&mut self, at: u64, bytes: &[u8]) -> Result<(), ()> {
        self.piece(at, bytes.len() as u64);
        for (n, byte) in bytes.iter().enumerate() {
            let place = (at + n as u64).checked_sub(self.from);
            if let Some(here) = place.and_then(|p| self.window.get_mut(p as usize)) {
                *here = *byte;
            }
        }
        Ok(())
    }

    fn content(&mut self, at: u64, _: u64, _: u64, len: u64) -> Result<(), ()> {
        self.piece(at, len);
        Ok(())
    }
}

/// A step of building: an action, and numbers that choose its target and its parameters.
type Step = (u8, u32, Vec<u8>, u64, u64);

fn meta(a: u64, b: u64) -> Meta {
    Meta {
        mode: a as u16,
        uid: b as u32,
        gid: (b >> 32) as u32,
        secs: a.cast_signed(),
        nanos: b as u32,
    }
}

fn step(builder: &mut Builder, ids: &mut Vec<NodeId>, step: &Step) -> Result<(), Error> {
    let (what, to, bytes, a, b) = step;
    let dir = ids[*to as usize % ids.len()];
    let meta = meta(*a, *b);
    let runs = [
        (a % 5000, b % 70_000),
        (a % 100_000_000, b % 5_000_000),
        (*a, *b),
    ];
    let size = a.rotate_left(9) % 200_000_000;
    let kind = match what % 13 {
        0..=2 => Kind::Dir,
        3 => Kind::File {
            size: *b,
            handle: 0,
        },
        4 | 5 => Kind::File {
            size: b % 3_000_000,
            handle: *a,
        },
        6 => Kind::Sparse {
            size,
            handle: 0,
            runs: &runs[..*b as usize % 4],
        },
        7 => Kind::Symlink(bytes),
        12 => Kind::Small(bytes),
        8 => Kind::Char(*a as u32, *b as u32),
        9 => Kind::Block(*a as u32 % 5000, *b as u32 % 2_000_000),
        10 => {
            let value = vec![7; (b % 70_000) as usize];
            let name = [&b"user."[..], bytes].concat();
            return builder.attributes(dir, b"/x", [(&name[..], &value[..]), (bytes, b"")]);
        }
        _ => {
            builder.early(dir);
            return builder.link(ids[*a as usize % ids.len()], bytes, dir);
        }
    };
    ids.push(builder.add(dir, bytes, &meta, kind)?);
    Ok(())
}

fn options() -> impl Strategy<Value = Options> {
    let numbers = (
        0..9_u32,
        any::<u64>(),
        any::<u32>(),
        any::<u8>(),
        any::<u16>(),
        any::<u64>(),
    );
    (numbers, any::<bool>()).prop_map(|((shift, size, count, percent, bits, other), sane)| {
        let mut o = Options::new(size >> (other % 40), [9; 16]);
        o.block_size = if sane {
            1024 << (shift % 3)
        } else {
            256 << shift
        };
        let bit = |n: u32| bits >> n & 1 == 1;
        if sane {
            o.size = size % (3 << 30);
            o.inodes = Inodes::BytesEach(16384);
        } else {
            o.inodes = if bit(0) {
                Inodes::Count(count)
            } else {
                Inodes::BytesEach(count)
            };
            o.reserved_percent = percent;
            o.leaf_fill = percent;
            o.time = other.cast_signed();
            o.grow_to = other;
            o.journal = if bit(1) {
                Journal::Blocks(count)
            } else {
                Journal::None
            };
        }
        o.on_error = OnError::Panic;
        if bit(12) && sane {
            o.grow_to = 0;
        }
        o.features = Features {
            bits64: bit(2),
            orphan_file: bit(3),
            fast_commit: bit(4),
            casefold: bit(5),
            project: bit(6),
            verity: bit(7),
            ea_inode: bit(8),
            large_dir: bit(9),
            csum_seed: bit(10),
            inline_data: bit(11),
            meta_bg: bit(12),
            sparse_super2: bit(13),
        };
        o
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn it_never_panics(
        options in options(),
        steps in proptest::collection::vec(
            (any::<u8>(), any::<u32>(), proptest::collection::vec(any::<u8>(), 0..300), any::<u64>(), any::<u64>()),
            0..60,
        ),
        window in any::<u64>(),
    ) {
        // Sizes that take minutes prove no more than the others.
        prop_assume!(options.size < 1 << 45);
        let Ok(mut builder) = Builder::new(options) else { return Ok(()) };
        let mut ids = vec![ROOT];
        for s in &steps {
            let _ = step(&mut builder, &mut ids, s);
        }
        let Ok(volume) = builder.lay_out() else { return Ok(()) };
        let from = window % volume.size();
        let len = 100_000.min(volume.size() - from);
        let mut all = Seen::new(volume.size(), from, len as usize);
        volume.write(&mut all).unwrap();
        let mut part = Seen::new(volume.size(), from, len as usize);
        volume.write_range(from..from + len, &mut part).unwrap();
        prop_assert!(all.window == part.window);
        let free: Vec<_> = volume.free().collect();
        prop_assert!(free.iter().all(|r| r.start < r.end && r.end <= volume.size()));
        prop_assert!(free.windows(2).all(|w| w[0].end < w[1].start));
        for id in ids {
            let _ = volume.extents(id);
        }
    }
}

/// The bytes of a file system do not depend on the order in which names are added, if there are no
/// contents.
#[test]
fn names_in_any_order_give_one_directory() {
    let image = |names: &mut dyn Iterator<Item = u32>| {
        let mut builder = Builder::new(Options::new(64 << 20, [1; 16])).unwrap();
        for n in names {
            let name = format!("name {n}");
            let kind = Kind::Fifo;
            builder
                .add(ROOT, name.as_bytes(), &meta(1, 1), kind)
                .unwrap();
        }
        let volume = builder.lay_out().unwrap();
        let mut seen = Seen::new(volume.size(), 0, 30 << 20);
        volume.write(&mut seen).unwrap();
        seen.window
    };
    assert!(image(&mut (0..3000)) == image(&mut (0..3000).rev()));
}

#[test]
fn errors_have_the_path_and_the_limit() {
    let mut builder = Builder::new(Options::new(64 << 20, [1; 16])).unwrap();
    let meta = meta(0o755, 0);
    let dir = builder.add(ROOT, b"dir", &meta, Kind::Dir).unwrap();
    let file = Kind::File { size: 1, handle: 0 };
    let node = builder.add(dir, b"file", &meta, file).unwrap();
    let mut text =
        |dir, name: &[u8], kind| builder.add(dir, name, &meta, kind).unwrap_err().to_string();
    assert_eq!(
        text(dir, b"a/b", Kind::Fifo),
        r#""/dir/a/b" cannot be a file name"#
    );
    assert_eq!(
        text(dir, b"", Kind::Fifo),
        r#""/dir/" cannot be a file name"#
    );
    assert!(
        text(dir, &[b'n'; 256], Kind::Fifo).contains("256 bytes, but a file name has at most 255")
    );
    assert!(text(node, b"x", Kind::Fifo).contains(r#""/dir/file/x" is not"#));
    let large = Kind::File {
        size: 1 << 44,
        handle: 0,
    };
    assert!(
        text(dir, b"large", large)
            .contains("but a file with this block size has at most 17592186040320")
    );
    let most = Kind::File {
        size: (1 << 44) - 4096,
        handle: 0,
    };
    let holes = Kind::Sparse {
        size: (1 << 44) - 4096,
        handle: 0,
        runs: &[(0, 1)],
    };
    builder.add(dir, b"sparse", &meta, holes).unwrap();
    builder.add(dir, b"most", &meta, most).unwrap();
    assert!(matches!(
        builder.lay_out().unwrap_err(),
        Error::NoSpace { .. }
    ));

    let mut builder = Builder::new(Options::new(64 << 20, [1; 16])).unwrap();
    builder.add(ROOT, b"twice", &meta, Kind::Fifo).unwrap();
    builder.add(ROOT, b"twice", &meta, Kind::Fifo).unwrap();
    let refused = builder.lay_out().unwrap_err();
    assert_eq!(
        refused,
        Error::Duplicate {
            path: b"/twice".to_vec()
        }
    );

    let mut builder = Builder::new(Options::new(64 << 20, [1; 16])).unwrap();
    let file = builder.add(ROOT, b"f", &meta, Kind::Fifo).unwrap();
    for n in 1..65_000 {
        builder.link(ROOT, format!("{n}").as_bytes(), file).unwrap();
    }
    let refused = builder.link(ROOT, b"more", file).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("65001 names, but ext4 allows at most 65000"),
        "{refused}"
    );
}
