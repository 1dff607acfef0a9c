//! Which kernels a root file system holds, and which initrd belongs to which.

mod modules;
#[cfg(test)]
mod tests;

use super::file_name::file_name;
use super::kernel_file::{self, Refusal};
use crate::error::Report;
use crate::model::{Arch, BootMode};
use crate::rootfs::program::Machine;
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
    /// The processor that it is for, if it tells.
    pub machine: Option<Machine>,
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

/// Endings of copies that people and package managers keep: never the machine's own kernel.
const BACKUPS: [&str; 10] = [
    ".old",
    ".bak",
    ".backup",
    ".orig",
    ".save",
    "~",
    ".dpkg-old",
    ".dpkg-new",
    ".rpmsave",
    ".apk-new",
];

/// Endings of what accompanies a kernel: checksums and signatures.
const COMPANIONS: [&str; 9] = [
    ".hmac", ".sha1", ".sha256", ".sha512", ".md5", ".sig", ".sign", ".asc", ".p7s",
];

/// What [`find`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernels {
    /// Every kernel that can be started, the newest first.
    pub kernels: Vec<Kernel>,
    /// What people should know of those that cannot, a line each.
    pub notes: Vec<String>,
}

/// Finds every kernel and its initrd, the newest first by the order of versions of the UAPI
/// group's specification ("Version Format Specification"), which the Boot Loader Specification
/// sorts its entries by.
///
/// Looks for kernels as `/boot/vmlinuz-VERSION` (used by Debian, Ubuntu, Fedora, Arch and Alpine)
/// and `/usr/lib/modules/VERSION/vmlinuz` (Fedora's image mode). A file that is not a kernel for
/// `arch` and `boot`, or has no initrd, is skipped with a note if another kernel is usable.
/// Otherwise it is an error.
pub fn find(rootfs: &Rootfs, arch: Arch, boot: BootMode) -> Result<Kernels, Report> {
    let tree = &rootfs.tree;
    let mut refused: Vec<(String, Refusal)> = Vec::new();
    let mut found: Vec<Candidate> = Vec::new();
    for (name, suffix) in candidates(tree) {
        let version = match name.starts_with("/boot/") {
            true => version_of(tree, &suffix),
            false => suffix.clone(),
        };
        match kernel(rootfs, &name, arch, boot)? {
            Ok((path, machine)) => found.push(Candidate {
                path,
                version,
                suffix,
                machine,
            }),
            Err(refusal) => refused.push((name, refusal)),
        }
    }
    if found.is_empty() {
        return Err(no_kernel(&refused));
    }
    // One kernel may have several names: an unversioned link, or a copy next to its modules. The
    // longest name gives the version, and its initrd may be named after any of them.
    found.sort_by(|a, b| (&a.path, b.suffix.len()).cmp(&(&b.path, a.suffix.len())));
    let mut named: Vec<(Candidate, Vec<String>)> = Vec::new();
    for candidate in found {
        match named.last_mut() {
            Some((last, suffixes)) if last.path == candidate.path => {
                suffixes.push(candidate.suffix);
            }
            _ => {
                let suffixes = vec![candidate.suffix.clone()];
                named.push((candidate, suffixes));
            }
        }
    }

    let mut kernels: Vec<Kernel> = Vec::new();
    let mut without: Vec<String> = Vec::new();
    for (candidate, suffixes) in named {
        let Candidate {
            path,
            version,
            machine,
            ..
        } = candidate;
        let names = initrd_names(&version, &suffixes);
        let (initrd, spoilt) = initrd(rootfs, &names)?;
        match initrd {
            // Versions that map to the same file name cannot share an ESP.
            Some(initrd)
                if kernels
                    .iter()
                    .all(|k| file_name(&k.version) != file_name(&version)) =>
            {
                kernels.push(Kernel {
                    linux: boot_file(tree, path, &["/vmlinuz", "/boot/vmlinuz"]),
                    initrd: boot_file(tree, initrd, &["/initrd.img", "/boot/initrd.img"]),
                    version,
                    machine,
                });
            }
            Some(_) => {}
            None => without.push(format!("{path} has no initrd{}", missing(&names, &spoilt))),
        }
    }
    if kernels.is_empty() {
        let others: Vec<&str> = tree
            .entries("/boot")
            .map(|(name, _)| name)
            .filter(|name| name.starts_with("init"))
            .collect();
        let others = match others.as_slice() {
            [] => String::new(),
            some => format!(" (/boot has {} for other versions)", some.join(", ")),
        };
        return Err(Report::mistake(format!(
            "the kernel {}{others}; it needs one to find its root file system",
            without.swap_remove(0)
        ))
        .hint(
            "create one in the Dockerfile with Debian's initramfs-tools, Alpine's mkinitfs or dracut",
        ));
    }
    kernels.sort_by(|a, b| newest_first(&a.version, &b.version));
    for k in &kernels {
        let machine = k.machine.unwrap_or(kernel_file::machine(arch));
        modules::check(rootfs, &k.version, machine)?;
    }
    let mut notes: Vec<String> = without
        .into_iter()
        .map(|what| format!("the kernel {what}; it gets no boot entry"))
        .collect();
    let passed_over = |(name, refusal): (String, Refusal)| {
        format!("{} {}; it gets no boot entry", name, refusal.what)
    };
    notes.extend(refused.into_iter().map(passed_over));
    if let Some(kernel) = kernels.first()
        && kernel.machine == Some(Machine::X86)
    {
        notes.push(format!(
            "{} is a 32-bit kernel: the machine can run only 32-bit programs",
            kernel.linux.path
        ));
    }
    Ok(Kernels { kernels, notes })
}

/// A kernel file that was found.
struct Candidate {
    /// Its canonical path.
    path: String,
    /// Its version.
    version: String,
    /// The suffix of the name under which it was found.
    suffix: String,
    /// The processor that it is for, if known.
    machine: Option<Machine>,
}

/// Characters that a kernel's name must not contain, because names are written into configuration
/// files and into the guest's list of kernels.
fn unfit(c: char) -> bool {
    c.is_ascii_control() || c == '|'
}

/// Everything that is named like a kernel, as (path, suffix of its name).
fn candidates(tree: &Tree) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (name, _) in tree.entries("/boot") {
        let suffix = KERNELS.iter().find_map(|k| {
            let rest = name.strip_prefix(k)?;
            rest.strip_prefix('-').or(rest.is_empty().then_some(""))
        });
        let is = |endings: &[&str]| endings.iter().any(|e| name.ends_with(e));
        if let Some(suffix) = suffix
            && !is(&BACKUPS)
            && !is(&COMPANIONS)
        {
            all.push((format!("/boot/{name}"), suffix.to_owned()));
        }
    }
    for dir in MODULES {
        for (version, _) in tree.entries(dir) {
            for kernel in KERNELS {
                let path = format!("{dir}/{version}/{kernel}");
                if tree.exists(&path) {
                    all.push((path, version.to_owned()));
                }
            }
        }
    }
    all
}

/// The canonical path of the kernel at `path` and its processor, or why it is refused.
fn kernel(
    rootfs: &Rootfs,
    path: &str,
    arch: Arch,
    boot: BootMode,
) -> Result<Result<(String, Option<Machine>), Refusal>, Report> {
    let Regular {
        path: real,
        head,
        len,
    } = match file(rootfs, path)? {
        Ok(found) => found,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if path.contains(unfit) || real.contains(unfit) {
        return Ok(Err(Refusal::new(
            "has a control character or a `|` in its name",
            "rename the file in the Dockerfile",
        )));
    }
    Ok(kernel_file::kernel(&head, len, arch, boot).map(|machine| (real, machine)))
}

/// The canonical path of the first usable initrd of these names, and what is wrong with the
/// unusable ones.
fn initrd(rootfs: &Rootfs, names: &[String]) -> Result<(Option<String>, Vec<String>), Report> {
    let mut spoilt = Vec::new();
    for name in names.iter().filter(|n| rootfs.tree.exists(n)) {
        let judged = match file(rootfs, name)? {
            Ok(found) => kernel_file::initrd(&found.head).map(|()| found.path),
            Err(refusal) => Err(refusal),
        };
        match judged {
            Ok(real) => return Ok((Some(real), spoilt)),
            Err(refusal) => spoilt.push(format!("{} {}", name, refusal.what)),
        }
    }
    Ok((None, spoilt))
}

/// Why no initrd with these names was usable.
fn missing(names: &[String], spoilt: &[String]) -> String {
    let looked = format!(": looked for {}", names.join(", "));
    match spoilt {
        [] => looked,
        some => format!("{looked}; {}", some.join("; ")),
    }
}

/// The error for a root file system without a kernel.
fn no_kernel(refused: &[(String, Refusal)]) -> Report {
    let hint = "install one in the Dockerfile, e.g. `apt-get install linux-image-amd64` or `apk add linux-virt`; the recipes debian and alpine show how";
    match refused {
        [] => Report::mistake(
            "the root file system has no kernel: looked for /boot/vmlinuz* and /usr/lib/modules/*/vmlinuz",
        )
        .hint(hint),
        [(_, first), ..] => {
            let all: Vec<String> = refused
                .iter()
                .map(|(name, refusal)| format!("{} {}", name, refusal.what))
                .collect();
            Report::mistake(format!(
                "the root file system has no kernel that the machine can start: {}",
                all.join("; ")
            ))
            .hint(first.cure.clone())
        }
    }
}

/// Orders versions, the newest first.
fn newest_first(a: &str, b: &str) -> Ordering {
    Version::from(b)
        .cmp(&Version::from(a))
        .then_with(|| a.cmp(b))
}

/// A regular file.
struct Regular {
    /// Its canonical path.
    path: String,
    /// Its first bytes.
    head: Vec<u8>,
    /// Its length in bytes.
    len: u64,
}

/// The regular file at `path`, or why there is none.
fn file(rootfs: &Rootfs, path: &str) -> Result<Result<Regular, Refusal>, Report> {
    let tree = &rootfs.tree;
    let refused = |what: String| Ok(Err(Refusal::new(what, "replace it with a regular file")));
    let (Some(id), Some(real)) = (tree.resolve(path), tree.canonical(path)) else {
        return match tree.lookup(path).map(|id| &tree.node(id).kind) {
            Some(Kind::Symlink(to)) => refused(format!(
                "is a symbolic link to {}, which does not exist",
                to
            )),
            _ => refused("does not exist".to_owned()),
        };
    };
    let Kind::File(content) = &tree.node(id).kind else {
        return refused(format!("is a {}, not a file", tree.node(id).kind.name()));
    };
    let head = rootfs.head(content, kernel_file::HEAD);
    let head = head.map_err(|e| Report::failure(format!("reading {}", path)).because(e))?;
    Ok(Ok(Regular {
        path: real,
        head,
        len: content.len(),
    }))
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

/// The kernel version for the suffix of a file name: the name of its modules folder. Alpine's
/// `virt` is a flavour at the end of the folder's name (`6.18.2-0-virt`). A kernel without a suffix
/// belongs to the newest folder.
fn version_of(tree: &Tree, suffix: &str) -> String {
    let mut versions: Vec<&str> = MODULES
        .iter()
        .flat_map(|dir| tree.entries(dir).map(|(name, _)| name))
        .filter(|name| !name.contains(unfit))
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

/// Possible paths of a kernel's initrd, the likeliest first.
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
