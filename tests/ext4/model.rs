//! File systems for tests: nodes as a list, and the file that they are written into.

use docker_to_linux::fs::ext4::writer::{
    Builder, Error, Kind, Meta, NodeId, Options, Out, ROOT, Volume,
};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

pub const MIB: u64 = 1 << 20;

/// What a node is.
#[derive(Debug, Clone)]
pub enum What {
    Dir,
    File(Vec<u8>),
    /// A file whose bytes the writer is given.
    Small(Vec<u8>),
    /// Size, and the data outside of holes: offsets and bytes.
    Sparse(u64, Vec<(u64, Vec<u8>)>),
    Symlink(Vec<u8>),
    Char(u32, u32),
    Block(u32, u32),
    Fifo,
    Socket,
    /// A further name of the node of that number.
    Link(usize),
}

/// A node, with its directory's index in the list and its name; the root has the number 0 and is
/// not in the list.
#[derive(Debug, Clone)]
pub struct Node {
    pub dir: usize,
    pub name: Vec<u8>,
    pub what: What,
    pub meta: Meta,
    pub attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A node of root's.
pub fn node(dir: usize, name: impl AsRef<[u8]>, what: What) -> Node {
    Node {
        dir,
        name: name.as_ref().to_vec(),
        what,
        meta: Meta {
            mode: 0o644,
            uid: 0,
            gid: 0,
            secs: 1_600_000_000,
            nanos: 0,
        },
        attributes: Vec::new(),
    }
}

impl Node {
    pub fn attribute(mut self, name: &str, value: &[u8]) -> Node {
        self.attributes.push((name.into(), value.to_vec()));
        self
    }

    /// The bytes of a file, holes as zeros.
    pub fn bytes(&self) -> Vec<u8> {
        let size = match &self.what {
            What::File(bytes) | What::Small(bytes) => bytes.len() as u64,
            What::Sparse(size, _) => *size,
            _ => 0,
        };
        self.part(0, size)
    }

    /// `len` of those bytes, from byte `from` on.
    fn part(&self, from: u64, len: u64) -> Vec<u8> {
        let index = |n: u64| usize::try_from(n).unwrap();
        match &self.what {
            What::File(bytes) | What::Small(bytes) => {
                bytes[index(from)..index(from + len)].to_vec()
            }
            What::Sparse(_, runs) => {
                let mut part = vec![0; index(len)];
                for (at, run) in runs {
                    let start = (*at).max(from);
                    let end = (at + run.len() as u64).min(from + len);
                    if start < end {
                        part[index(start - from)..index(end - from)]
                            .copy_from_slice(&run[index(start - at)..index(end - at)]);
                    }
                }
                part
            }
            _ => Vec::new(),
        }
    }
}

/// The path of node number `n` (from 1), with a leading `/`.
pub fn path(nodes: &[Node], n: usize) -> Vec<u8> {
    let mut path = Vec::new();
    let mut at = n;
    while at > 0 {
        let node = &nodes[at - 1];
        let mut longer = vec![b'/'];
        longer.extend_from_slice(&node.name);
        longer.extend_from_slice(&path);
        (path, at) = (longer, node.dir);
    }
    path
}

/// Options of a file system of so many MiB, with a time and a seed.
pub fn options(mib: u64) -> Options {
    let mut options = Options::new(mib * MIB, *b"0123456789abcdef");
    options.time = 1_700_000_000;
    options.label = b"root".to_vec();
    options
}

/// Lays out nodes; the numbers of the writer for them, the root's first.
pub fn lay_out(options: Options, nodes: &[Node]) -> Result<(Volume, Vec<NodeId>), Error> {
    let mut builder = Builder::new(options)?;
    let mut ids = vec![ROOT];
    for (n, node) in nodes.iter().enumerate() {
        let dir = ids[node.dir];
        let handle = n as u64 + 1;
        let spans: Vec<(u64, u64)>;
        let kind = match &node.what {
            What::Dir => Kind::Dir,
            What::File(bytes) => Kind::File {
                size: bytes.len() as u64,
                handle,
            },
            What::Sparse(size, runs) => {
                spans = runs.iter().map(|(at, b)| (*at, b.len() as u64)).collect();
                Kind::Sparse {
                    size: *size,
                    handle,
                    runs: &spans,
                }
            }
            What::Small(bytes) => Kind::Small(bytes),
            What::Symlink(target) => Kind::Symlink(target),
            What::Char(major, minor) => Kind::Char(*major, *minor),
            What::Block(major, minor) => Kind::Block(*major, *minor),
            What::Fifo => Kind::Fifo,
            What::Socket => Kind::Socket,
            What::Link(to) => {
                builder.link(dir, &node.name, ids[*to])?;
                ids.push(ids[*to]);
                continue;
            }
        };
        let id = builder.add(dir, &node.name, &node.meta, kind)?;
        let attributes = node.attributes.iter().map(|(n, v)| (&n[..], &v[..]));
        builder.attributes(id, &path(nodes, n + 1), attributes)?;
        ids.push(id);
    }
    Ok((builder.lay_out()?, ids))
}

/// A file that a file system is written into.
struct ToFile<'a> {
    file: File,
    nodes: &'a [Node],
    /// Nothing is written twice, nor before what was written last.
    at: u64,
}

impl Out for ToFile<'_> {
    type Error = io::Error;

    fn metadata(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        assert!(at >= self.at, "{at} comes after {}", self.at);
        self.at = at + bytes.len() as u64;
        self.file.write_all_at(bytes, at)
    }

    fn content(&mut self, at: u64, handle: u64, from: u64, len: u64) -> io::Result<()> {
        let node = &self.nodes[usize::try_from(handle).unwrap() - 1];
        self.metadata(at, &node.part(from, len))
    }
}

/// Writes a file system into a new file.
pub fn write(volume: &Volume, nodes: &[Node], size: u64, at: &Path) {
    let file = File::create(at).unwrap();
    file.set_len(size).unwrap();
    let mut out = ToFile { file, nodes, at: 0 };
    volume.write(&mut out).unwrap();
    assert!(out.at <= volume.size());
}

/// Something of everything: what is awkward for blocks of that size.
pub fn awkward(block: u64) -> Vec<Node> {
    let bytes = |n: usize| crate::common::pattern(n as u32, n);
    let mut nodes = vec![
        node(0, "etc", What::Dir),
        node(1, "empty", What::File(Vec::new())),
        node(1, "one byte", What::File(vec![7])),
        node(1, b"\xff\xfe not UTF-8 \n", What::File(bytes(5000))),
        node(1, "second name", What::Link(4)),
        node(1, "short link", What::Symlink(vec![b's'; 59])),
        node(1, "long link", What::Symlink(vec![b'l'; 60])),
        node(
            1,
            "longest link",
            What::Symlink(vec![b'm'; usize::try_from(block).unwrap().min(4096) - 1]),
        ),
        node(1, "null", What::Char(1, 3)),
        node(1, "large number", What::Block(4095, 1_048_575)),
        node(1, "pipe", What::Fifo),
        node(1, "socket", What::Socket),
        node(1, "zeros", What::Sparse(3 * block + 5, Vec::new())),
        node(
            1,
            "holes",
            What::Sparse(
                100 * block + 1,
                vec![
                    (0, vec![1]),
                    (50 * block + 3, bytes(9999)),
                    (100 * block, vec![2]),
                ],
            ),
        ),
    ];
    // More runs than two levels of a tree of extents in blocks of 1 KiB lead to.
    let count = if block > 4096 { 1000 } else { 8000 };
    let runs = (0..count)
        .map(|n| (n * 2 * block, vec![n as u8 | 1; 3]))
        .collect();
    nodes.push(node(
        1,
        "fragments",
        What::Sparse(2 * count * block + 9, runs),
    ));
    // The earliest and the latest time, owners of 32 bits.
    for (n, secs) in [
        (-(1_i64 << 31)),
        -1,
        (1 << 31),
        (1 << 34) - (1 << 31) - 1,
        i64::MAX,
        i64::MIN,
    ]
    .into_iter()
    .enumerate()
    {
        let mut file = node(1, format!("time {n}"), What::File(Vec::new()));
        file.meta = Meta {
            mode: 0o7777,
            uid: u32::MAX - 1,
            gid: 100_000,
            secs,
            nanos: 999_999_999,
        };
        nodes.push(file);
    }
    // In the inode; in a block that more share than may; in both.
    nodes.push(
        node(1, "in the inode", What::File(bytes(9)))
            .attribute(
                "security.capability",
                b"\x01\0\0\x02\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            )
            .attribute("user.empty", b""),
    );
    for n in 0..1030 {
        nodes.push(
            node(1, format!("shared {n}"), What::File(Vec::new()))
                .attribute("user.some", &[b'x'; 300])
                .attribute("trusted.t", b"1"),
        );
    }
    let most = usize::try_from(block).unwrap() - 70;
    nodes.push(
        node(1, "full", What::Dir)
            .attribute("user.large", &vec![9; most])
            .attribute("user.small", &[8; 30]),
    );
    nodes
}

/// Nodes that follow so many others in a list.
pub fn below(mut nodes: Vec<Node>, others: usize) -> Vec<Node> {
    for node in nodes.iter_mut().filter(|n| n.dir > 0) {
        node.dir += others;
    }
    nodes
}

/// Files and directories that fit into an inode, and those that just do not.
pub fn small() -> Vec<Node> {
    let bytes = |n: usize| crate::common::pattern(n as u32, n);
    let mut nodes = vec![node(0, "small", What::Dir)];
    for len in [0, 1, 59, 60, 61, 63, 64, 100, 127, 128, 129, 132, 5000] {
        let file = |name: String| node(1, name, What::Small(bytes(len)));
        nodes.push(file(format!("file {len}")));
        for value in [0, 20, 40, 44, 45, 64, 200] {
            let name = format!("file {len} and {value}");
            nodes.push(file(name).attribute("user.a", &vec![3; value]));
        }
    }
    // Without and with one of its parts; names that only fit into one of them.
    for (count, len) in [
        (0, 1),
        (1, 1),
        (1, 48),
        (1, 49),
        (1, 60),
        (1, 61),
        (2, 20),
        (4, 6),
        (5, 6),
        (9, 6),
        (11, 4),
        (12, 4),
        (3, 48),
        (40, 40),
    ] {
        for value in [None, Some(30), Some(60), Some(300)] {
            let name = format!("{count} of {len}, {value:?}");
            let mut dir = node(1, name, What::Dir);
            if let Some(value) = value {
                dir = dir.attribute("trusted.b", &vec![4; value]);
            }
            nodes.push(dir);
            let dir = nodes.len();
            for n in 0..count {
                let name = format!("{n:>len$}");
                let what = match n % 3 {
                    0 => What::Dir,
                    1 => What::Small(bytes(n)),
                    _ => What::Symlink(name.clone().into()),
                };
                nodes.push(node(dir, name, what));
            }
        }
    }
    nodes
}

/// A directory `name` of so many empty files.
pub fn many(nodes: &mut Vec<Node>, name: &str, count: usize, what: &What) {
    nodes.push(node(0, name, What::Dir));
    let dir = nodes.len();
    for n in 0..count {
        nodes.push(node(
            dir,
            format!("a name with the number {n}"),
            what.clone(),
        ));
    }
}
