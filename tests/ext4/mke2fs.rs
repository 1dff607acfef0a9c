//! Compares each field with the output of mke2fs for the same tree (`mke2fs -d`).

use super::model::{self, MIB, Node, What, node};
use crate::common;
use docker_to_linux::fs::ext4::writer::{Inodes, Options};
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::Path;
use std::process::Command;

/// Fields of the superblock that both decide alike, as (offset, bytes, name). The others are
/// how much was written, and which block has the journal's extents.
const FIELDS: [(u64, usize, &str); 35] = [
    (0x00, 4, "inodes"),
    (0x04, 4, "blocks"),
    (0x08, 4, "reserved blocks"),
    (0x0c, 4, "free blocks"),
    (0x10, 4, "free inodes"),
    (0x14, 4, "first block"),
    (0x18, 8, "sizes of blocks and clusters"),
    (0x20, 12, "blocks, clusters and inodes of a group"),
    (0x2c, 8, "times"),
    (0x34, 4, "mounts"),
    (0x38, 8, "magic, state, errors, revision"),
    (0x40, 8, "checked"),
    (0x48, 12, "creator, revision, owner"),
    (0x54, 8, "first inode, its size, group"),
    (0x5c, 4, "compatible features"),
    (0x60, 4, "incompatible features"),
    (0x64, 4, "read-only features"),
    (0x68, 16, "UUID"),
    (0x78, 16, "label"),
    (0x88, 64, "last mounted"),
    (0xc8, 8, "reserved descriptors"),
    (0xd0, 28, "journal"),
    (0xec, 16, "hash seed"),
    (0xfc, 2, "hash, journal's backup"),
    (0xfe, 2, "size of descriptors"),
    (0x100, 4, "mount options"),
    (0x108, 4, "made"),
    (0x14c, 4, "journal's size"),
    (0x150, 12, "high halves of counts"),
    (0x15c, 4, "extra sizes"),
    (0x160, 4, "flags"),
    (0x174, 2, "groups together, checksum"),
    (0x248, 4, "overhead"),
    (0x270, 4, "seed of checksums"),
    (0x274, 12, "more of the times"),
];

fn tree(dir: &Path) -> Vec<Node> {
    fs::create_dir(dir.join("sub")).unwrap();
    fs::write(dir.join("empty"), "").unwrap();
    fs::write(dir.join("file"), common::pattern(1, 100_000)).unwrap();
    fs::write(dir.join("sub/other"), common::pattern(2, 5_000)).unwrap();
    fs::hard_link(dir.join("file"), dir.join("sub/second name")).unwrap();
    symlink("x".repeat(59), dir.join("short")).unwrap();
    symlink("y".repeat(60), dir.join("long")).unwrap();
    let path = |name: &str| dir.join(name);
    let file = |name: &str| What::File(fs::read(path(name)).unwrap());
    let mut nodes = vec![
        node(0, "sub", What::Dir),
        node(0, "empty", file("empty")),
        node(0, "file", file("file")),
        node(1, "other", file("sub/other")),
        node(1, "second name", What::Link(3)),
        node(0, "short", What::Symlink(vec![b'x'; 59])),
        node(0, "long", What::Symlink(vec![b'y'; 60])),
    ];
    for n in 0..nodes.len() {
        let at = String::from_utf8(model::path(&nodes, n + 1)).unwrap();
        let found = fs::symlink_metadata(dir.join(&at[1..])).unwrap();
        let meta = &mut nodes[n].meta;
        meta.mode = (found.mode() & 0o7777) as u16;
        (meta.uid, meta.gid) = (found.uid(), found.gid());
        // mke2fs drops what is less than a second.
        (meta.secs, meta.nanos) = (found.mtime(), 0);
    }
    nodes
}

#[test]
fn fields_are_those_of_mke2fs() {
    let Some(_) = common::program("mke2fs", "e2fsprogs") else {
        return;
    };
    for (block, mib) in [(4096, 100), (4096, 700), (1024, 100), (2048, 300)] {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("tree");
        fs::create_dir(&dir).unwrap();
        let nodes = tree(&dir);
        let (theirs, ours) = (temp.path().join("theirs"), temp.path().join("ours"));
        let mut mke2fs = Command::new("mke2fs");
        mke2fs
            .env("E2FSPROGS_FAKE_TIME", "1700000000")
            .env("MKE2FS_CONFIG", "/dev/null")
            .args(["-q", "-F", "-t", "ext4", "-L", "root", "-N", "8000", "-I", "256"])
            .args(["-U", "30313233-3435-3637-3839-616263646566"])
            .args(["-O", "has_journal,ext_attr,resize_inode,dir_index,filetype,extent,flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum,^64bit,^orphan_file"])
            .args(["-E", "hash_seed=30313233-3435-3637-3839-616263646566,lazy_itable_init=0"])
            .arg("-b")
            .arg(block.to_string())
            .arg("-d")
            .arg(&dir)
            .arg(&theirs)
            .arg(format!("{mib}M"));
        common::content(&mut mke2fs);
        let mut options: Options = model::options(mib);
        options.block_size = block;
        options.inodes = Inodes::Count(8000);
        let (volume, _) = model::lay_out(options, &nodes).unwrap();
        model::write(&volume, &nodes, mib * MIB, &ours);
        superblocks(&theirs, &ours, block);
        for n in 0..nodes.len() {
            let path = String::from_utf8(model::path(&nodes, n + 1)).unwrap();
            assert_eq!(inode(&ours, &path), inode(&theirs, &path), "{path}");
        }
        for special in ["<7>", "<8>", "<11>"] {
            let fields = |image| inode(image, special);
            assert_eq!(fields(&ours), fields(&theirs), "{special}");
        }
    }
}

fn superblocks(theirs: &Path, ours: &Path, block: u32) {
    let read = |path: &Path, at: u64, len: usize| {
        let mut buf = vec![0; len];
        let file = fs::File::open(path).unwrap();
        file.read_exact_at(&mut buf, at).unwrap();
        buf
    };
    for (at, len, what) in FIELDS {
        let at = 1024 + at;
        assert_eq!(
            read(ours, at, len),
            read(theirs, at, len),
            "{what}, {block}"
        );
    }
}

/// What debugfs says of an inode, but for its number, its checksum, its blocks, and times that
/// mke2fs takes from elsewhere.
fn inode(image: &Path, path: &str) -> Vec<String> {
    let mut debugfs = Command::new("debugfs");
    debugfs.arg("-R").arg(format!("stat \"{path}\"")).arg(image);
    let said = common::content(&mut debugfs);
    let after = |line: &str, mark: &str| line.find(mark).map(|at| line[at..].trim_end().to_owned());
    said.lines()
        .filter_map(|l| {
            [
                "Type:",
                "User:",
                "Links:",
                " mtime:",
                "Size of extra",
                "Fast link",
            ]
            .iter()
            .find_map(|mark| after(l, mark))
        })
        .collect()
}
