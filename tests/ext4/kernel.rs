//! The kernel reads what was written, adds files, fills the file system to its last block and deletes
//! everything, and e2fsck finds no error after each step.

use super::e2fsprogs::clean;
use super::model::{self, MIB, Node, What, awkward, many};
use crate::common::{self, Mounted};
use docker_to_linux::fs::ext4::writer::{Inodes, Options};
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

#[test]
fn it_reads_writes_fills_and_deletes() {
    if common::passed_as_root(module_path!(), "it_reads_writes_fills_and_deletes") {
        return;
    }
    // `project`, `verity` and `casefold` need a kernel that was built with them.
    let all = |o: &mut Options| {
        o.features.bits64 = true;
        o.features.ea_inode = true;
        o.features.fast_commit = true;
        o.features.large_dir = true;
        o.features.csum_seed = true;
        o.features.orphan_file = true;
    };
    let inline = |o: &mut Options| {
        o.features.inline_data = true;
        o.features.sparse_super2 = true;
    };
    let spread = |o: &mut Options| {
        (o.features.meta_bg, o.grow_to) = (true, 0);
        o.features.inline_data = true;
        o.features.bits64 = true;
    };
    for (block, set) in [
        (4096, None),
        (1024, None),
        (2048, None),
        (4096, Some(all as fn(&mut Options))),
        (1024, Some(inline)),
        (4096, Some(inline)),
        (1024, Some(spread)),
    ] {
        let mut nodes = awkward(block);
        many(&mut nodes, "indexed", 4000, &What::File(vec![5; 10]));
        nodes.extend(model::below(model::small(), nodes.len()));
        let mut options = model::options(100);
        options.block_size = u32::try_from(block).unwrap();
        options.inodes = Inodes::Count(14_000);
        if let Some(set) = set {
            set(&mut options);
        }
        if options.features.ea_inode {
            nodes.push(
                model::node(0, "outside", What::Fifo).attribute("trusted.large", &[b'a'; 20_000]),
            );
        }
        check(options, &nodes);
    }
}

/// The kernel reads everything, and writes into every directory and to the end of files; the image
/// as it is then, in its folder.
pub fn reads_and_writes(options: Options, nodes: &[Node]) -> Option<tempfile::TempDir> {
    let temp = tempfile::tempdir().unwrap();
    let image = temp.path().join("image");
    let size = options.size;
    let (volume, _) = model::lay_out(options, nodes).unwrap();
    model::write(&volume, nodes, size, &image);
    let mounted = Mounted::new(&image, 0, size, "rw")?;
    for (n, node) in nodes.iter().enumerate() {
        same(nodes, n, node, &place(&mounted, nodes, n));
    }
    // Into every directory, and over what is there.
    for (n, node) in nodes.iter().enumerate() {
        let here = place(&mounted, nodes, n);
        match node.what {
            What::Dir => {
                // In more blocks, or out of the inode.
                let count = if node.dir == 0 { 300 } else { 12 };
                for more in 0..count {
                    fs::write(here.join(format!("new {more}")), format!("{more}")).unwrap();
                }
            }
            What::Sparse(..) | What::File(_) | What::Small(_) if n % 3 == 0 => {
                let mut file = fs::OpenOptions::new().append(true).open(&here).unwrap();
                file.write_all(&[3; 5000]).unwrap();
            }
            _ => {}
        }
    }
    drop(mounted);
    clean(&image, "after writing");
    Some(temp)
}

fn check(options: Options, nodes: &[Node]) {
    let size = options.size;
    let Some(temp) = reads_and_writes(options, nodes) else {
        return;
    };
    let image = temp.path().join("image");
    let mount = |options| Mounted::new(&image, 0, size, options);
    let Some(mounted) = mount("rw") else { return };
    let mut filler = fs::File::create(mounted.path().join("filler")).unwrap();
    let chunk = vec![0xaa; MIB as usize / 4];
    while filler.write_all(&chunk).is_ok() {}
    drop((filler, mounted));
    clean(&image, "when it is full");
    let Some(mounted) = mount("rw") else { return };
    for entry in fs::read_dir(mounted.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }
    drop(mounted);
    clean(&image, "after everything was deleted");
}

fn place(mounted: &Mounted, nodes: &[Node], n: usize) -> PathBuf {
    let path = model::path(nodes, n + 1);
    mounted.path().join(OsStr::from_bytes(&path[1..]))
}

/// The kernel reads a node as it was specified.
fn same(nodes: &[Node], n: usize, node: &Node, path: &Path) {
    let wanted = match node.what {
        What::Link(to) => &nodes[to - 1],
        _ => node,
    };
    let found = fs::symlink_metadata(path).unwrap();
    let kind = found.file_type();
    assert_eq!(
        found.mode() & 0o7777,
        u32::from(wanted.meta.mode),
        "{path:?}"
    );
    assert_eq!(
        (found.uid(), found.gid()),
        (wanted.meta.uid, wanted.meta.gid)
    );
    let secs = wanted
        .meta
        .secs
        .clamp(-(1 << 31), (1 << 34) - (1 << 31) - 1);
    let nanos = i64::from(wanted.meta.nanos);
    assert_eq!(
        (found.mtime(), found.mtime_nsec()),
        (secs, nanos),
        "{path:?}"
    );
    let names = |to: usize| {
        let further = nodes
            .iter()
            .filter(|n| matches!(n.what, What::Link(t) if t == to));
        1 + further.count() as u64
    };
    let first = match node.what {
        What::Link(to) => to,
        _ => n + 1,
    };
    match &wanted.what {
        What::Dir => assert!(kind.is_dir()),
        What::File(_) | What::Small(_) | What::Sparse(..) => {
            assert_eq!(found.nlink(), names(first), "{path:?}");
            assert!(fs::read(path).unwrap() == wanted.bytes(), "{path:?}");
            if let What::Sparse(size, runs) = &wanted.what
                && runs.is_empty()
            {
                assert_eq!((found.size(), found.blocks()), (*size, 0));
            }
        }
        What::Symlink(target) => {
            let read = fs::read_link(path).unwrap();
            assert_eq!(read.as_os_str().as_bytes(), &target[..]);
        }
        What::Char(major, minor) | What::Block(major, minor) => {
            let device = rustix::fs::makedev(*major, *minor);
            assert_eq!(found.rdev(), device, "{path:?}");
            assert!(kind.is_char_device() || kind.is_block_device());
        }
        What::Fifo => assert!(kind.is_fifo()),
        What::Socket | What::Link(_) => assert!(kind.is_socket()),
    }
    for (name, value) in &wanted.attributes {
        let mut buf = vec![0; 70_000];
        let len = rustix::fs::lgetxattr(path, &name[..], &mut buf[..]).unwrap();
        assert!(buf[..len] == value[..], "{path:?}");
    }
}
