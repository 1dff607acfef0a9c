//! Other programs that make file systems, and the manual way.

use super::{DIR, Way};
use docker_to_linux::shell::quote;
use docker_to_linux::tool::on_path;

/// Unpacks the tar into a folder, for programs that do not read one. Not measured.
const UNPACK: &str = "mkdir {dir}/tree && tar -x -p -C {dir}/tree -f {tar}";

/// genext2fs looks for each new block and inode from the start: 300,000 files take ten minutes.
const MOST_OF_GENEXT2FS: u64 = 50_000;

/// Their ways to make a file system of `size` MiB with at most `files` inodes from the tar `q`,
/// which is quoted for the shell.
pub(super) fn ways(q: &str, size: u64, files: u64, root: bool) -> Vec<Way> {
    let missing = |program: &str| on_path(program).is_none();
    let blocks = size << 10;
    // The inodes of its own directories, and those that mke2fs reserves.
    let inodes = files + 1000;
    vec![
        Way::new(
            "`tar -x` alone",
            format!("tar -x --numeric-owner -p -C {DIR}/work -f {q}"),
        ),
        Way {
            skipped: missing("bsdtar").then_some("no bsdtar"),
            ..Way::new(
                "`bsdtar -x` alone",
                format!("bsdtar -x --numeric-owner -p -C {DIR}/work -f {q}"),
            )
        },
        Way {
            prepare: Some(UNPACK),
            skipped: missing("mke2fs").then_some("no mke2fs"),
            ..Way::new(
                "`mke2fs -d` from an existing folder",
                format!(
                    "mke2fs -q -t ext4 -N {inodes} -d {DIR}/work/tree {DIR}/work/file {size}m >/dev/null"
                ),
            )
        },
        Way {
            prepare: Some(UNPACK),
            skipped: if missing("genext2fs") {
                Some("no genext2fs")
            } else {
                (files > MOST_OF_GENEXT2FS).then_some("it takes minutes for so many files")
            },
            ..Way::new(
                "`genext2fs -d` from an existing folder (ext2)",
                format!(
                    "genext2fs -B 4096 -b {} -N {inodes} -d {DIR}/work/tree {DIR}/work/file",
                    blocks / 4
                ),
            )
        },
        Way {
            skipped: erofs_from_a_tar(),
            ..Way::new(
                "`mkfs.erofs --tar` (read-only)",
                format!("mkfs.erofs --quiet --tar=f {DIR}/work/file {q} >/dev/null"),
            )
        },
        Way {
            skipped: (!root).then_some("needs root"),
            ..Way::new(
                "by hand: dd, sfdisk, loop, mkfs.ext3, mount, tar, umount",
                article(q, size, inodes),
            )
        },
    ]
}

/// Why mkfs.erofs cannot make a file system from a tar here, if so. It learned that in version 1.7.
fn erofs_from_a_tar() -> Option<&'static str> {
    let Some(path) = on_path("mkfs.erofs") else {
        return Some("no mkfs.erofs");
    };
    let help = super::shell(&format!("{} --help 2>&1", quote(path.as_str()))).output();
    let knows = help.is_ok_and(|out| String::from_utf8_lossy(&out.stdout).contains("--tar"));
    (!knows).then_some("this mkfs.erofs has no --tar")
}

/// The manual way, without the boot loader.
fn article(q: &str, size: u64, inodes: u64) -> String {
    format!(
        "set -e; cd {DIR}/work; dd if=/dev/zero of=file bs=1M count={size} status=none; \
         echo 'start=2048, type=83, bootable' | sfdisk -q file; \
         loop=$(losetup -f --show -o 1048576 file); trap 'umount mnt 2>/dev/null || true; losetup -d $loop' EXIT; \
         mkfs.ext3 -q -N {inodes} $loop; mkdir mnt; mount $loop mnt; tar -x --numeric-owner -p -C mnt -f {q}; umount mnt"
    )
}
