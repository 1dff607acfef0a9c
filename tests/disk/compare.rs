//! The root file system of the image, compared with what was put in.

use super::*;

/// The root file system: e2fsck finds nothing, and the kernel and GNU tar find in it what was
/// in the tar.
pub(super) fn root_is_as_wanted(made: &Made, wanted: &[Entry]) {
    let partition = made.plan.disk.root();
    if let Some(mut e2fsck) = common::checker(Tool::E2fsck) {
        let said = common::content(e2fsck.arg("-fn").arg(cut(made, partition)));
        for bad in ["Fix?", "rror", "WARNING"] {
            assert!(!said.contains(bad), "{said}");
        }
    }
    let options = "ro,noload";
    let Some(mounted) = Mounted::new(
        made.image.as_std_path(),
        partition.start,
        partition.len,
        options,
    ) else {
        return;
    };
    compare(wanted, mounted.path());
    gnu_tar(&made.tar, mounted.path());
    let conf = fs_err::read_to_string(mounted.path().join("boot/extlinux/extlinux.conf"));
    assert_eq!(conf.is_ok(), made.plan.boot != BootMode::Uefi);
}

/// What the tool itself makes or empties: everything else must be as it was in the tar.
pub(super) const OURS: [&str; 14] = [
    "boot/extlinux",
    "dev",
    "efi",
    "etc/docker-to-linux",
    "etc/fstab",
    "etc/hostname",
    "etc/hosts",
    "etc/resolv.conf",
    "lost+found",
    "proc",
    "run",
    "sys",
    "tmp",
    "usr/lib/docker-to-linux",
];

pub(super) fn is_ours(path: &str) -> bool {
    OURS.iter().any(|ours| {
        path.strip_prefix(ours)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// Compares everything that was put in with everything that the kernel shows.
pub(super) fn compare(wanted: &[Entry], mount: &Path) {
    let mut found = BTreeMap::new();
    walk(mount, "", &mut found);
    let by_path: BTreeMap<&str, &Entry> = wanted.iter().map(|e| (e.path.as_str(), e)).collect();
    for e in wanted {
        // A hard link is as what it links to.
        let target = match &e.kind {
            Kind::HardLink(to) => by_path[to.as_str()],
            _ => e,
        };
        let Some(meta) = found.remove(&e.path) else {
            panic!("{:?} is not in the image", e.path);
        };
        let path = mount.join(&e.path);
        same(target, &path, &meta);
        if let Kind::HardLink(to) = &e.kind {
            let first = fs_err::symlink_metadata(mount.join(to)).unwrap();
            assert_eq!(first.ino(), meta.ino(), "{:?}", e.path);
        }
        if meta.nlink() > 1 && !meta.is_dir() {
            let names = wanted
                .iter()
                .filter(|o| matches!(&o.kind, Kind::HardLink(to) if *to == target.path))
                .count();
            assert_eq!(meta.nlink(), names as u64 + 1, "{:?}", e.path);
        }
    }
    let extra: Vec<String> = found.into_keys().filter(|p| !is_ours(p)).collect();
    assert_eq!(extra, Vec::<String>::new(), "nobody asked for these");
}

pub(super) fn walk(mount: &Path, path: &str, found: &mut BTreeMap<String, std::fs::Metadata>) {
    let here = mount.join(path);
    let meta = fs_err::symlink_metadata(&here).unwrap();
    if meta.is_dir() {
        for entry in fs_err::read_dir(&here).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let below = if path.is_empty() {
                name
            } else {
                format!("{path}/{name}")
            };
            walk(mount, &below, found);
        }
    }
    found.insert(path.to_owned(), meta);
}

pub(super) fn same(want: &Entry, path: &Path, meta: &std::fs::Metadata) {
    let kind: u32 = match &want.kind {
        Kind::Dir => 0o040_000,
        Kind::File(_) | Kind::Sparse(..) => 0o100_000,
        Kind::Symlink(_) => 0o120_000,
        Kind::Char(..) => 0o020_000,
        Kind::Block(..) => 0o060_000,
        Kind::Fifo => 0o010_000,
        Kind::HardLink(_) => unreachable!(),
    };
    assert_eq!(meta.mode(), kind | want.mode, "mode of {path:?}");
    assert_eq!((meta.uid(), meta.gid()), (want.uid, want.gid), "{path:?}");
    let mtime = (meta.mtime(), u32::try_from(meta.mtime_nsec()).unwrap());
    assert_eq!(mtime, want.mtime, "time of {path:?}");
    assert_eq!(xattrs(path), want.xattrs, "attributes of {path:?}");
    match &want.kind {
        Kind::File(bytes) => assert!(fs_err::read(path).unwrap() == *bytes, "{path:?}"),
        Kind::Sparse(size, runs) => {
            let mut bytes = vec![0; usize::try_from(*size).unwrap()];
            let mut data = 0;
            for (at, run) in runs {
                let at = usize::try_from(*at).unwrap();
                bytes[at..at + run.len()].copy_from_slice(run);
                data += run.len() as u64 + 8192;
            }
            assert!(fs_err::read(path).unwrap() == bytes, "{path:?}");
            let taken = meta.blocks() * 512;
            assert!(
                taken <= data,
                "{path:?} takes {taken} bytes, {data} would do"
            );
        }
        Kind::Symlink(to) => {
            let found = fs_err::read_link(path).unwrap();
            assert_eq!(found.to_str(), Some(to.as_str()), "{path:?}");
        }
        Kind::Char(major, minor) | Kind::Block(major, minor) => {
            let found = (
                rustix::fs::major(meta.rdev()),
                rustix::fs::minor(meta.rdev()),
            );
            assert_eq!(found, (*major, *minor), "{path:?}");
        }
        Kind::Dir | Kind::Fifo | Kind::HardLink(_) => {}
    }
}

pub(super) fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0_u8; 65536];
    let n = rustix::fs::llistxattr(path, &mut names).unwrap();
    names[..n]
        .split(|b| *b == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let name = String::from_utf8(name.to_vec()).unwrap();
            let mut value = vec![0_u8; 65536];
            let n = rustix::fs::lgetxattr(path, name.as_str(), &mut value).unwrap();
            value.truncate(n);
            (name, value)
        })
        .collect()
}

/// GNU tar reads the tar its own way and compares it with what is mounted.
pub(super) fn gnu_tar(tar: &Utf8Path, mount: &Path) {
    let Some(mut compare) = common::program("tar", "tar") else {
        return;
    };
    let said = common::content(
        compare
            .args(["--compare", "--xattrs", "--numeric-owner", "-f"])
            .arg(tar)
            .arg("-C")
            .arg(mount),
    );
    assert_eq!(said, "");
}
