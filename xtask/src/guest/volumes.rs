//! Volumes: folders of a file system of their own, mounted at their places when the machine starts.
//!
//! A small program does this. What it does, and why a power cut may come at any moment, is described
//! in it. Nothing that uses a volume is started without it: systemd and OpenRC start it with the
//! file systems, and the container's service needs it.

use super::{Init, Report, Rootfs, edit, units};
use crate::plan::{self, Volume, Volumes};
use crate::rootfs::{Inside, Kind};

const PROGRAM: &str = "/usr/lib/docker-to-linux/volumes";
const PROGRAM_TEXT: &str = include_str!("files/volumes.sh");
const LIST: &str = "/usr/lib/docker-to-linux/volumes.list";
const UNIT_TEXT: &str = include_str!("files/volumes.service");
const SERVICE_TEXT: &str = include_str!("files/volumes.initd");

/// What makes the container's service need the volumes, whatever its own file says: a drop-in
/// (systemd.unit(5)), and OpenRC's setting for a service (its conf.d).
const NEEDS: [(&str, &str); 2] = [
    (
        "/etc/systemd/system/container.service.d/volumes.conf",
        "# Written by docker-to-linux.\n[Unit]\nRequires=volumes.service\nAfter=volumes.service\n",
    ),
    (
        "/etc/conf.d/container",
        "# Written by docker-to-linux.\nrc_need=\"volumes\"\n",
    ),
];

/// Follows the links in the places of the volumes, because a mount would follow them too, and checks
/// that they are folders.
pub fn resolve(rootfs: &Rootfs, volumes: &mut Volumes) -> Result<(), Report> {
    let root = volumes.root.clone();
    let wrong = |at: &str, why: &str| {
        Report::mistake(format!("the volume at {at} cannot be mounted: {why}"))
            .hint("choose another folder for it, or use --volumes root")
    };
    let inside = rootfs.inside(if root.is_empty() { "/" } else { &root });
    let inside = inside.ok_or_else(|| {
        Report::failure(format!("looking for the volumes: {root} is not a folder"))
    })?;
    for volume in &mut volumes.list {
        let path = volume.at.strip_prefix(&root).unwrap_or(&volume.at);
        let real = folder(inside, path).map_err(|why| wrong(path, &why))?;
        // Only its links may lead there: the path itself is checked already.
        if let Some(why) = plan::occupied(&real, root.is_empty()).filter(|_| real != path) {
            return Err(wrong(path, &format!("it leads to {real}, and {why}")));
        }
        volume.at = format!("{root}{real}");
    }
    let list = &mut volumes.list;
    list.sort_by(|a, b| a.at.cmp(&b.at));
    match list.windows(2).find(|pair| pair[0].at == pair[1].at) {
        None => Ok(()),
        Some(pair) => Err(wrong(&pair[0].at, "links lead another volume there too")),
    }
}

/// The real path of a folder, which may not exist yet, or why there can be none.
fn folder(inside: Inside<'_>, path: &str) -> Result<String, String> {
    let mut rest = String::new();
    let mut there = path;
    while !there.is_empty() {
        if inside.lookup(there).is_some() {
            let id = inside.resolve(there);
            let kind = id.map(|id| &inside.tree().node(id).kind);
            return match (kind, inside.canonical(there)) {
                (Some(Kind::Dir(_)), Some(real)) => Ok(format!("{real}{rest}")),
                (Some(kind), _) => Err(format!("{there} is a {}", kind.name())),
                (None, _) => Err(format!("{there} is a link that leads to nothing")),
            };
        }
        let (parent, name) = there.rsplit_once('/').unwrap_or_default();
        rest.insert_str(0, &format!("/{name}"));
        there = parent;
    }
    Ok(rest)
}

/// Adds the program, its service, and the folders. Returns a note if a volume would lose something
/// when it is filled.
pub(super) fn add(
    rootfs: &mut Rootfs,
    init: Init,
    volumes: &Volumes,
) -> Result<Option<String>, Report> {
    let (file, text, mode, name, at, (needs, needs_text)) = match init {
        Init::Systemd => (
            "/etc/systemd/system/volumes.service",
            UNIT_TEXT,
            0o644,
            "volumes.service",
            "local-fs.target",
            NEEDS[0],
        ),
        Init::OpenRc => (
            "/etc/init.d/volumes",
            SERVICE_TEXT,
            0o755,
            "volumes",
            "boot",
            NEEDS[1],
        ),
        Init::Other => {
            return Err(Report::mistake(
                "nothing would mount the volumes: that needs systemd or OpenRC, and the root file system has another init",
            )
            .hint("use --volumes root, which leaves them in the root file system"));
        }
    };
    let epoch = rootfs.epoch;
    let note = loses_attributes(rootfs, volumes);
    let tree = &mut rootfs.tree;
    for volume in &volumes.list {
        if tree.resolve(&volume.at).is_none() {
            tree.mkdir(&volume.at, 0o755, epoch).map_err(edit)?;
        }
    }
    let list: String = volumes.list.iter().map(line).collect();
    for (path, text, mode) in [
        (PROGRAM, PROGRAM_TEXT, 0o755),
        (LIST, &list, 0o644),
        (file, text, mode),
        (needs, needs_text, 0o644),
    ] {
        tree.write(path, text.as_bytes(), mode, epoch)
            .map_err(edit)?;
    }
    units::enable(rootfs, init, name, at)?;
    Ok(note)
}

/// The line of the program's list for a volume. Neither a name nor a path has control characters.
fn line(volume: &Volume) -> String {
    let mode = if volume.read_only { "ro" } else { "rw" };
    format!("{mode}\t{}\t{}\n", volume.name, volume.at)
}

/// The note if a volume is filled by busybox, whose cp copies no extended attributes, and has some.
fn loses_attributes(rootfs: &Rootfs, volumes: &Volumes) -> Option<String> {
    let tree = &rootfs.tree;
    let cp = ["/bin/cp", "/usr/bin/cp"];
    let cp = cp.iter().find_map(|path| tree.canonical(path))?;
    if !cp.ends_with("/busybox") {
        return None;
    }
    let mut walk = tree.walk();
    while let Some((path, id)) = walk.step() {
        let inside = |v: &&Volume| {
            let rest = path.strip_prefix(v.at.as_bytes());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        };
        if tree.node(id).xattrs.is_some()
            && let Some(volume) = volumes.list.iter().find(inside)
        {
            return Some(format!(
                "the volume {} is filled without the extended attributes of \"{}\", because busybox's cp does not copy them; install coreutils in the Dockerfile to keep them",
                volume.at,
                path.escape_ascii()
            ));
        }
    }
    None
}
