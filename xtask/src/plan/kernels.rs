//! Which kernels a root file system holds, and which initrd belongs to which.

use crate::error::Report;
use crate::rootfs::{Kind, Rootfs, Tree};
use serde::Serialize;
use std::cmp::Ordering;
use uapi_version::Version;

/// A kernel with its initrd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// Its version, as in `/usr/lib/modules/VERSION`; the ending of its file name where no
    /// such folder tells more.
    pub version: String,
    /// The kernel.
    pub linux: BootFile,
    /// Its initrd.
    pub initrd: BootFile,
}

/// A file that a boot loader reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct BootFile {
    /// Canonical path in the root file system: no component of it is a link.
    pub path: String,
    /// A link to it that the distribution keeps pointing at its newest kernel (`/vmlinuz`), if
    /// there is one.
    pub link: Option<String>,
    /// Length in bytes.
    pub len: u64,
}

/// File names of a kernel, before a `-VERSION` that may follow.
const KERNELS: [&str; 4] = ["vmlinuz", "vmlinux", "bzImage", "Image"];

/// Where modules lie, one folder for each kernel version.
const MODULES: [&str; 2] = ["/usr/lib/modules", "/lib/modules"];

/// Finds every kernel and its initrd, the newest first by the order of versions of the UAPI
/// group's specification ("Version Format Specification"), which the Boot Loader Specification
/// sorts its entries by.
///
/// Kernels are looked for as `/boot/vmlinuz-VERSION` (Debian, Ubuntu, Fedora, Arch and Alpine
/// put them there) and as `/usr/lib/modules/VERSION/vmlinuz` (Fedora's image mode). A kernel
/// without an initrd is passed over if another has one; the second half of the answer says so.
pub fn find(rootfs: &Rootfs) -> Result<(Vec<Kernel>, Vec<String>), Report> {
    let tree = &rootfs.tree;
    let mut found: Vec<(String, String, String)> = Vec::new();
    for (name, _) in tree.entries("/boot") {
        let suffix = KERNELS.iter().find_map(|k| {
            let rest = name.strip_prefix(k)?;
            rest.strip_prefix('-').or(rest.is_empty().then_some(""))
        });
        if let Some(suffix) = suffix
            && let Some(path) = file(tree, &format!("/boot/{name}"))
        {
            found.push((path, version_of(tree, suffix), suffix.to_owned()));
        }
    }
    for dir in MODULES {
        for (version, _) in tree.entries(dir) {
            for kernel in KERNELS {
                if let Some(path) = file(tree, &format!("{dir}/{version}/{kernel}")) {
                    found.push((path, version.to_owned(), version.to_owned()));
                }
            }
        }
    }
    if found.is_empty() {
        return Err(Report::mistake(
            "the root file system holds no kernel: looked for /boot/vmlinuz* and /usr/lib/modules/*/vmlinuz",
        )
        .hint("install one in the Dockerfile, as `apt-get install linux-image-amd64` or `apk add linux-virt`; the recipes debian and alpine show how"));
    }
    // One kernel may have several names: a plain link to it, or one beside its modules. The
    // longest tells the version, and any of them may be the one that its initrd is named after.
    found.sort_by(|a, b| (&a.0, b.2.len()).cmp(&(&b.0, a.2.len())));
    let mut named: Vec<(String, String, Vec<String>)> = Vec::new();
    for (path, version, suffix) in found {
        match named.last_mut() {
            Some((last, _, suffixes)) if *last == path => suffixes.push(suffix),
            _ => named.push((path, version, vec![suffix])),
        }
    }

    let mut kernels: Vec<Kernel> = Vec::new();
    let mut without: Vec<(String, Vec<String>)> = Vec::new();
    for (path, version, suffixes) in named {
        let names = initrd_names(&version, &suffixes);
        match names.iter().find_map(|n| file(tree, n)) {
            Some(initrd) if kernels.iter().all(|k| k.version != version) => kernels.push(Kernel {
                linux: boot_file(tree, path, &["/vmlinuz", "/boot/vmlinuz"]),
                initrd: boot_file(tree, initrd, &["/initrd.img", "/boot/initrd.img"]),
                version,
            }),
            Some(_) => {}
            None => without.push((path, names)),
        }
    }
    if kernels.is_empty() {
        let (kernel, names) = without.swap_remove(0);
        return Err(Report::mistake(format!(
            "the kernel {kernel} has no initrd, without which it cannot find its root file system: looked for {}",
            names.join(", ")
        ))
        .hint("make one in the Dockerfile: Debian's initramfs-tools, Alpine's mkinitfs or dracut do"));
    }
    kernels.sort_by(|a, b| newest_first(&a.version, &b.version));
    let passed_over = |(kernel, names): (String, Vec<String>)| {
        format!(
            "the kernel {kernel} has no initrd, so no boot entry starts it: looked for {}",
            names.join(", ")
        )
    };
    Ok((kernels, without.into_iter().map(passed_over).collect()))
}

/// Orders versions, the newest first.
fn newest_first(a: &str, b: &str) -> Ordering {
    Version::from(b)
        .cmp(&Version::from(a))
        .then_with(|| a.cmp(b))
}

/// The canonical path of a regular file that is not empty.
fn file(tree: &Tree, path: &str) -> Option<String> {
    let id = tree.resolve(path)?;
    match &tree.node(id).kind {
        Kind::File(content) if !content.is_empty() => tree.canonical(path),
        _ => None,
    }
}

fn boot_file(tree: &Tree, path: String, links: &[&str]) -> BootFile {
    let len = match tree.resolve(&path).map(|id| &tree.node(id).kind) {
        Some(Kind::File(content)) => content.len(),
        _ => 0,
    };
    let is_link = |l: &&&str| {
        tree.lookup(l)
            .is_some_and(|id| matches!(tree.node(id).kind, Kind::Symlink(_)))
            && tree.canonical(l).as_deref() == Some(&path)
    };
    BootFile {
        link: links.iter().find(is_link).map(|l| (*l).to_owned()),
        path,
        len,
    }
}

/// The kernel version that the ending of a file name stands for: the name of its modules'
/// folder. Alpine's `virt` is a flavour that ends the folder's name (`6.18.2-0-virt`); a
/// kernel without an ending belongs to the newest folder.
fn version_of(tree: &Tree, suffix: &str) -> String {
    let mut versions: Vec<&str> = MODULES
        .iter()
        .flat_map(|dir| tree.entries(dir).map(|(name, _)| name))
        .collect();
    versions.sort_by(|a, b| newest_first(a, b));
    if versions.contains(&suffix) {
        return suffix.to_owned();
    }
    let flavour = format!("-{suffix}");
    versions
        .iter()
        .find(|v| suffix.is_empty() || v.ends_with(&flavour))
        .map_or_else(
            || if suffix.is_empty() { "linux" } else { suffix }.to_owned(),
            |v| (*v).to_owned(),
        )
}

/// Where the initrd of a kernel may lie, the likeliest first.
fn initrd_names(version: &str, suffixes: &[String]) -> Vec<String> {
    let mut names = Vec::new();
    let mut endings: Vec<&str> = suffixes.iter().map(String::as_str).collect();
    if !endings.contains(&version) {
        endings.push(version);
    }
    for ending in endings {
        let dashed = if ending.is_empty() {
            String::new()
        } else {
            format!("-{ending}")
        };
        names.extend([
            format!("/boot/initrd.img{dashed}"),
            format!("/boot/initramfs{dashed}.img"),
            format!("/boot/initramfs{dashed}"),
            format!("/boot/initrd{dashed}"),
        ]);
    }
    for dir in MODULES {
        for name in ["initramfs.img", "initrd.img", "initrd"] {
            names.push(format!("{dir}/{version}/{name}"));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::rootfs::{Meta, Stores};

    fn rootfs(files: &[&str], links: &[(&str, &str)]) -> Rootfs {
        let mut tree = Tree::new(Meta::root(0o755, 0));
        for (link, target) in links {
            tree.symlink(link, target, 0).unwrap();
        }
        for f in files {
            tree.write(f, &b"x"[..], 0o644, 0).unwrap();
        }
        Rootfs {
            tree,
            stores: Stores::default(),
            epoch: 0,
            notes: Vec::new(),
        }
    }

    fn found(rootfs: &Rootfs) -> Vec<(String, String, String)> {
        let (kernels, notes) = find(rootfs).unwrap();
        assert_eq!(notes, [""; 0]);
        let all = kernels.into_iter();
        all.map(|k| (k.version, k.linux.path, k.initrd.path))
            .collect()
    }

    fn row(a: &str, b: &str, c: &str) -> (String, String, String) {
        (a.to_owned(), b.to_owned(), c.to_owned())
    }

    #[test]
    fn debian_newest_first_by_version_not_by_text() {
        let r = rootfs(
            &[
                "/boot/vmlinuz-6.9.1-amd64",
                "/boot/initrd.img-6.9.1-amd64",
                "/boot/vmlinuz-6.12.10-amd64",
                "/boot/initrd.img-6.12.10-amd64",
                "/boot/config-6.12.10-amd64",
            ],
            &[
                ("/vmlinuz", "boot/vmlinuz-6.12.10-amd64"),
                ("/initrd.img", "boot/initrd.img-6.12.10-amd64"),
            ],
        );
        let (kernels, _) = find(&r).unwrap();
        assert_eq!(kernels[0].version, "6.12.10-amd64");
        assert_eq!(kernels[1].version, "6.9.1-amd64");
        assert_eq!(kernels[0].linux.link.as_deref(), Some("/vmlinuz"));
        assert_eq!(kernels[0].initrd.link.as_deref(), Some("/initrd.img"));
        assert_eq!(kernels[1].linux.link, None);
    }

    #[test]
    fn alpine_and_arch_name_flavours() {
        let r = rootfs(
            &[
                "/boot/vmlinuz-virt",
                "/boot/initramfs-virt",
                "/lib/modules/6.18.2-0-virt/modules.dep",
            ],
            &[],
        );
        let want = row(
            "6.18.2-0-virt",
            "/boot/vmlinuz-virt",
            "/boot/initramfs-virt",
        );
        assert_eq!(found(&r), [want]);
        let r = rootfs(&["/boot/vmlinuz-linux", "/boot/initramfs-linux.img"], &[]);
        let want = row("linux", "/boot/vmlinuz-linux", "/boot/initramfs-linux.img");
        assert_eq!(found(&r), [want]);
    }

    #[test]
    fn kernels_beside_their_modules_and_a_linked_boot() {
        let r = rootfs(
            &[
                "/usr/lib/modules/6.11.4-301.fc41.x86_64/vmlinuz",
                "/usr/lib/modules/6.11.4-301.fc41.x86_64/initramfs.img",
            ],
            &[("/lib", "usr/lib")],
        );
        let dir = "/usr/lib/modules/6.11.4-301.fc41.x86_64";
        let want = row(
            "6.11.4-301.fc41.x86_64",
            &format!("{dir}/vmlinuz"),
            &format!("{dir}/initramfs.img"),
        );
        assert_eq!(found(&r), [want]);
        let r = rootfs(
            &["/srv/boot/vmlinuz-1", "/srv/boot/initrd.img-1"],
            &[("/boot", "srv/boot")],
        );
        let want = row("1", "/srv/boot/vmlinuz-1", "/srv/boot/initrd.img-1");
        assert_eq!(found(&r), [want]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let e = find(&rootfs(&["/etc/motd"], &[])).unwrap_err();
        assert!(e.message.contains("no kernel"), "{e}");
        let e = find(&rootfs(&["/boot/vmlinuz-6.1"], &[])).unwrap_err();
        assert!(e.message.contains("/boot/initrd.img-6.1"), "{e}");
        // A second kernel that is complete is enough, and the first one gets a word.
        let r = rootfs(
            &[
                "/boot/vmlinuz-6.1",
                "/boot/vmlinuz-5.1",
                "/boot/initrd.img-5.1",
            ],
            &[],
        );
        let (kernels, notes) = find(&r).unwrap();
        assert_eq!(kernels.len(), 1);
        assert_eq!(notes.len(), 1);
        assert!(
            notes[0].starts_with("the kernel /boot/vmlinuz-6.1 has no initrd")
                && notes[0].contains("/boot/initrd.img-6.1"),
            "{notes:?}"
        );
    }
}
