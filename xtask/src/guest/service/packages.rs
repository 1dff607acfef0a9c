//! Finds the package of a file in dpkg's lists.

use super::super::Rootfs;

/// Largest of dpkg's files that is read, in bytes.
const LIMIT: u64 = 64 << 20;

/// Whether one of the programs and the file come from the same source package, so that what the
/// program's package installs belongs to the program. `false` if there are no lists.
pub(super) fn share_source<'a>(
    rootfs: &Rootfs,
    programs: impl Iterator<Item = &'a str>,
    file: &str,
) -> bool {
    let file = owners(rootfs, file);
    if file.is_empty() {
        return false;
    }
    let mine: Vec<String> = programs.flat_map(|p| owners(rootfs, p)).collect();
    if mine.is_empty() {
        return false;
    }
    let status = rootfs.read_text("/var/lib/dpkg/status", LIMIT);
    let status = status.ok().flatten().unwrap_or_default();
    let source = |package: &String| source(&status, package);
    let mine: Vec<String> = mine.iter().map(source).collect();
    file.iter().map(source).any(|s| mine.contains(&s))
}

/// The packages that contain a file, with or without `/usr` before it: lists have the original
/// path, and the folders may have been merged later.
fn owners(rootfs: &Rootfs, path: &str) -> Vec<String> {
    const DIR: &str = "/var/lib/dpkg/info";
    let plain = path.strip_prefix("/usr").unwrap_or(path);
    let mut all = Vec::new();
    for (name, _) in rootfs.tree.entries(DIR) {
        let Some(package) = name.strip_suffix(".list") else {
            continue;
        };
        let list = rootfs.read_text(&format!("{DIR}/{name}"), LIMIT);
        let list = list.ok().flatten().unwrap_or_default();
        if list
            .lines()
            .any(|l| l.strip_prefix("/usr").unwrap_or(l) == plain)
        {
            // `libc6:amd64`
            all.push(package.split(':').next().unwrap_or(package).to_owned());
        }
    }
    all
}

/// The source of a package (deb-control(5), "Source"). Default: its own name.
fn source(status: &str, package: &str) -> String {
    let wanted = format!("Package: {package}\n");
    let stanzas = status.split("\n\n");
    let mut stanza = stanzas.filter(|s| format!("{s}\n").contains(&wanted));
    let source = stanza.next().and_then(|s| {
        let line = s.lines().find_map(|l| l.strip_prefix("Source: "))?;
        // `nginx (1.26-1)`
        line.split_whitespace().next().map(str::to_owned)
    });
    source.unwrap_or_else(|| package.to_owned())
}
