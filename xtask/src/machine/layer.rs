//! Writes a root file system as a tar: the one layer of a machine. The same tree gives the same
//! bytes.
//!
//! The format is POSIX's (POSIX.1-2017, `pax`, "ustar Interchange Format" and "pax Extended
//! Header"), with extended attributes as `SCHILY.xattr.*`, as every container engine writes them.

use crate::rootfs::{Kind, Meta, NodeId, ROOT, Rootfs};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use tar::{Builder, EntryType, Header};

/// Bytes per read of a file's content.
const CHUNK: usize = 1 << 20;

/// Longest name or target in the header itself, in bytes.
const NAME: usize = 100;

/// Writes all of `rootfs` to `out`. Holes of sparse files become zeros. Sockets are left out: a tar
/// cannot have them.
pub(super) fn write(rootfs: &Rootfs, out: impl Write) -> io::Result<()> {
    let mut tar = Builder::new(out);
    let mut seen: HashMap<NodeId, Vec<u8>> = HashMap::new();
    entry(&mut tar, rootfs, b"./", ROOT, &mut seen)?;
    let mut walk = rootfs.tree.walk();
    while let Some((path, id)) = walk.step() {
        let path = path.strip_prefix(b"/").unwrap_or(path);
        entry(&mut tar, rootfs, path, id, &mut seen)?;
    }
    tar.into_inner()?.flush()
}

/// Writes one name of a node. Further names of a node are hard links to its first.
fn entry(
    tar: &mut Builder<impl Write>,
    rootfs: &Rootfs,
    path: &[u8],
    id: NodeId,
    seen: &mut HashMap<NodeId, Vec<u8>>,
) -> io::Result<()> {
    let node = rootfs.tree.node(id);
    let mut header = Header::new_ustar();
    let mut more: Vec<(String, Vec<u8>)> = Vec::new();
    meta(&mut header, &mut more, node.meta)?;
    header.set_size(0);
    let is_dir = matches!(node.kind, Kind::Dir(_));
    let mut name = path.to_vec();
    if is_dir && !name.ends_with(b"/") {
        name.push(b'/');
    }
    put(&mut header.as_old_mut().name, "path", &name, &mut more);
    if let Some(first) = seen.get(&id) {
        header.set_entry_type(EntryType::Link);
        put(
            &mut header.as_old_mut().linkname,
            "linkpath",
            first,
            &mut more,
        );
        return append(tar, &header, &more, io::empty());
    }
    if node.links() > 1 && !is_dir {
        seen.insert(id, name);
    }
    for (name, value) in node.xattrs.iter().flat_map(|x| x.iter()) {
        more.push((format!("SCHILY.xattr.{name}"), value.to_vec()));
    }
    let device = |header: &mut Header, kind, major, minor| {
        header.set_entry_type(kind);
        header.set_device_major(major)?;
        header.set_device_minor(minor)
    };
    match &node.kind {
        Kind::Dir(_) => header.set_entry_type(EntryType::Directory),
        Kind::Symlink(target) => {
            header.set_entry_type(EntryType::Symlink);
            put(
                &mut header.as_old_mut().linkname,
                "linkpath",
                target,
                &mut more,
            );
        }
        Kind::Char { major, minor } => device(&mut header, EntryType::Char, *major, *minor)?,
        Kind::Block { major, minor } => device(&mut header, EntryType::Block, *major, *minor)?,
        Kind::Fifo => header.set_entry_type(EntryType::Fifo),
        Kind::Socket => return Ok(()),
        Kind::File(content) => {
            header.set_entry_type(EntryType::Regular);
            header.set_size(content.len());
            return append(tar, &header, &more, rootfs.stores.reader(content));
        }
    }
    append(tar, &header, &more, io::empty())
}

fn meta(header: &mut Header, more: &mut Vec<(String, Vec<u8>)>, meta: Meta) -> io::Result<()> {
    header.set_mode(u32::from(meta.mode));
    header.set_uid(u64::from(meta.uid));
    header.set_gid(u64::from(meta.gid));
    let secs = u64::try_from(meta.mtime.secs);
    header.set_mtime(secs.unwrap_or(0));
    if meta.mtime.nanos > 0 || secs.is_err() {
        // Nanoseconds are always added, so before 1970 the fraction counts from the next second.
        let text = match (meta.mtime.secs, meta.mtime.nanos) {
            (secs, 0) => secs.to_string(),
            (secs @ 0.., nanos) => format!("{secs}.{nanos:09}"),
            (-1, nanos) => format!("-0.{:09}", 1_000_000_000 - nanos),
            (secs, nanos) => format!("{}.{:09}", secs + 1, 1_000_000_000 - nanos),
        };
        more.push(("mtime".to_owned(), text.into_bytes()));
    }
    Ok(())
}

/// Puts a name into its field, or into the extended header if it does not fit.
fn put(field: &mut [u8; NAME], key: &str, value: &[u8], more: &mut Vec<(String, Vec<u8>)>) {
    if value.len() > NAME {
        more.push((key.to_owned(), value.to_vec()));
    }
    let len = value.len().min(NAME);
    field[..len].copy_from_slice(&value[..len]);
}

fn append(
    tar: &mut Builder<impl Write>,
    header: &Header,
    more: &[(String, Vec<u8>)],
    content: impl Read,
) -> io::Result<()> {
    if !more.is_empty() {
        tar.append_pax_extensions(more.iter().map(|(k, v)| (k.as_str(), v.as_slice())))?;
    }
    let mut header = header.clone();
    header.set_cksum();
    tar.append(&header, io::BufReader::with_capacity(CHUNK, content))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::rootfs::{Node, Stores, Time, Tree, tar};
    use camino::Utf8Path;
    use proptest::prelude::*;

    fn rootfs() -> Rootfs {
        Rootfs {
            tree: Tree::new(Meta::root(0o750, 3)),
            stores: Stores::default(),
            epoch: 9,
            notes: Vec::new(),
        }
    }

    /// Reads what was written.
    fn again(rootfs: &Rootfs) -> Rootfs {
        let mut bytes = Vec::new();
        write(rootfs, &mut bytes).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(dir.path()).unwrap();
        tar::from_stream(io::Cursor::new(bytes), dir).unwrap()
    }

    /// Everything that the digest of a tree covers, and the contents.
    fn same(a: &Rootfs, b: &Rootfs) {
        let paths = |of: &Rootfs| of.tree.walk().map(|(p, _)| p).collect::<Vec<_>>();
        assert_eq!(paths(a), paths(b));
        for (path, id) in a.tree.walk().chain([("/".into(), ROOT)]) {
            let (one, other) = (a.tree.node(id), b.tree.lookup(&path).unwrap());
            let other = b.tree.node(other);
            assert_eq!(
                (one.meta, &one.xattrs),
                (other.meta, &other.xattrs),
                "{path}"
            );
            assert_eq!(one.links(), other.links(), "{path}");
            match (&one.kind, &other.kind) {
                (Kind::Dir(_), Kind::Dir(_)) => {}
                (Kind::File(x), Kind::File(y)) => {
                    let (x, y) = (a.head(x, 1 << 20).unwrap(), b.head(y, 1 << 20).unwrap());
                    assert_eq!(x, y, "{path}");
                }
                (one, other) => assert_eq!(one, other, "{path}"),
            }
        }
    }

    #[test]
    fn every_kind_comes_back() {
        let mut all = rootfs();
        let odd = |mode, secs, nanos| Meta {
            mode,
            uid: 4_000_000_000,
            gid: 5,
            mtime: Time { secs, nanos },
        };
        let tree = &mut all.tree;
        let mut file = Node::new(Kind::bytes(vec![7; 1000]), odd(0o4755, 12, 5));
        let xattrs = [
            ("security.capability".into(), [1, 0, b'\n', 255].into()),
            ("user.empty".into(), [].into()),
        ];
        file.xattrs = Some(Box::new(xattrs.into()));
        let file = tree.insert("/a/file", file).unwrap();
        tree.link("/z", file).unwrap();
        let long = format!("/{}/{}", "d".repeat(255), "f".repeat(255));
        tree.insert(&long, Node::new(Kind::bytes(*b"x"), odd(0o600, -3, 0)))
            .unwrap();
        tree.link("/a-link-to-a-long-name", tree.lookup(&long).unwrap())
            .unwrap();
        tree.insert(b"/\xff\n\xfe", Node::new(Kind::Fifo, odd(0o600, 0, 1)))
            .unwrap();
        let target = "t".repeat(300);
        tree.insert("/link", Node::new(Kind::symlink(target), odd(0o777, -1, 1)))
            .unwrap();
        for (path, kind) in [
            ("/null", Kind::Char { major: 1, minor: 3 }),
            ("/sda", Kind::Block { major: 8, minor: 0 }),
            ("/empty", Kind::bytes(*b"")),
            ("/folder", Kind::dir()),
        ] {
            tree.insert(path, Node::new(kind, odd(0o640, 1 << 33, 999_999_999)))
                .unwrap();
        }
        same(&all, &again(&all));
        let (mut one, mut two) = (Vec::new(), Vec::new());
        write(&all, &mut one).unwrap();
        write(&again(&all), &mut two).unwrap();
        assert!(one == two);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_name_and_time_comes_back(
            names in proptest::collection::vec(proptest::collection::vec(1u8.., 1..255), 1..12),
            secs in -9_000_000_000_i64..9_000_000_000, nanos in 0u32..1_000_000_000,
        ) {
            let mut all = rootfs();
            let meta = Meta { mode: 0o640, uid: 1, gid: 2, mtime: Time { secs, nanos } };
            for name in names {
                let name: Vec<u8> = name.into_iter().filter(|b| *b != b'/').collect();
                let dots = name.is_empty() || name == b"." || name == b"..";
                if !dots {
                    let path = [b"/d/", &name[..]].concat();
                    all.tree.insert(path, Node::new(Kind::bytes(name), meta)).unwrap();
                }
            }
            same(&all, &again(&all));
        }
    }
}
