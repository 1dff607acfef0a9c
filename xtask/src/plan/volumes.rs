//! Which folders are volumes, and where they are stored.

use super::{Container, Ids};
use crate::error::Report;
use crate::model::{NamedVolume, VolumesOn, volume_path};
use crate::recipe::Recipe;
use serde::Serialize;
use std::fmt::Write;
use uuid::Uuid;

/// Where the machine mounts the file system with its volumes.
pub const VOLUMES_DIR: &str = "/var/lib/container/volumes";

/// The file system with the volumes. Each volume is a folder of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Volumes {
    /// UUID of the file system: the same for every image of this name and architecture.
    pub uuid: Uuid,
    /// Volume label.
    pub label: String,
    /// Number of inodes that the file system must have room for.
    pub inodes: u32,
    /// Free bytes when the image is new.
    pub free: u64,
    /// Whether they are those of an earlier image, with what was written to them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub kept: bool,
    /// The folder with the container's tree, whose paths the volumes' places are. Empty if it is
    /// the root folder.
    #[serde(skip)]
    pub root: String,
    /// The volumes, a folder before those that are inside of it.
    pub list: Vec<Volume>,
}

/// One volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Volume {
    /// Name of its folder on the file system with the volumes.
    pub name: String,
    /// Where it is mounted: a path of the machine.
    pub at: String,
    /// Whether it is mounted read-only.
    pub read_only: bool,
}

/// Decides which folders are volumes. Returns notes for the user as well. There are none if they are
/// all in the root file system. All paths are those of the container.
pub(super) fn volumes(
    recipe: &Recipe,
    container: Option<&Container>,
    ids: &Ids,
) -> Result<(Option<Volumes>, Vec<String>), Report> {
    let named = &recipe.named_volumes;
    if recipe.volumes == VolumesOn::Root {
        return match named.first() {
            None => Ok((None, Vec::new())),
            Some(volume) => Err(Report::mistake(format!(
                "the volume {volume} has no place: a volume with a name needs a partition, and the volumes are in the root file system"
            ))
            .hint("use `volumes: partition` (--volumes partition), or leave the volume out")),
        };
    }
    let root = container
        .and_then(|c| c.root.as_deref())
        .unwrap_or_default();
    let native = root.is_empty();
    let mut notes = Vec::new();
    let mut list: Vec<Volume> = Vec::new();
    for volume in named {
        if let Some(why) = occupied(&volume.path, native) {
            return Err(
                Report::mistake(format!("the volume {volume} cannot be mounted: {why}"))
                    .hint("choose another folder"),
            );
        }
        if list.iter().any(|v| v.at == volume.path) {
            return Err(Report::mistake(format!(
                "two volumes are to be mounted at {}",
                volume.path
            ))
            .hint("leave one of them out"));
        }
        list.push(of_named(volume));
    }
    for text in container.map_or(&[][..], |c| &c.volumes) {
        let path = volume_path(text).map_err(|e| {
            Report::mistake(format!("reading the container's VOLUMEs: {e}"))
                .hint("fix VOLUME in its Dockerfile, or use --volumes root, which ignores it")
        })?;
        if let Some(why) = occupied(&path, native) {
            notes.push(format!("the container's volume {path} is none: {why}"));
        } else if list.iter().all(|v| v.at != path) {
            list.push(Volume {
                name: folder_name(&path),
                at: path,
                read_only: false,
            });
        }
    }
    for volume in &mut list {
        volume.at = format!("{root}{}", volume.at);
    }
    list.sort_by(|a, b| a.at.cmp(&b.at));
    let volumes = Volumes {
        uuid: ids.volumes,
        label: "volumes".into(),
        inodes: 0,
        free: 0,
        kept: false,
        root: root.to_owned(),
        list,
    };
    Ok(((!volumes.list.is_empty()).then_some(volumes), notes))
}

fn of_named(volume: &NamedVolume) -> Volume {
    Volume {
        name: volume.name.clone(),
        at: volume.path.clone(),
        read_only: volume.read_only,
    }
}

/// Folders whose contents the machine makes at every start.
const MADE_UP: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Folders that the machine needs before its volumes are mounted.
const NEEDED: [&str; 11] = [
    "/bin", "/boot", "/efi", "/etc", "/lib", "/lib32", "/lib64", "/run", "/sbin", "/usr", "/var",
];

/// Why no volume can be mounted at a path of the container. `native`: whether its system is the
/// machine's own.
pub fn occupied(path: &str, native: bool) -> Option<String> {
    let below = |path: &str, dir: &str| {
        let rest = path.strip_prefix(dir);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if let Some(dir) = MADE_UP.into_iter().find(|dir| below(path, dir)) {
        return Some(format!("{dir} is made by the kernel at every start"));
    }
    if !native {
        return None;
    }
    if NEEDED.contains(&path) || below(path, "/boot") || below(path, "/efi") {
        return Some(format!("the machine needs {path} to start"));
    }
    if below(VOLUMES_DIR, path) || below(path, VOLUMES_DIR) {
        return Some(format!("the volumes themselves are in {VOLUMES_DIR}"));
    }
    None
}

/// Longest name of a folder that is made of a path, in bytes: ext4 allows 255.
const MOST_NAME: usize = 200;

/// The name of the folder for a volume without a name: `@` and its path, with `-` for slashes. All
/// characters but letters, digits, `_` and `.` are written as `%` and two hexadecimal digits. Of a
/// long path, only the start is written out, and `%%` and a UUID of the path follow. Different paths
/// have different names, and none of them is a name that people can give.
fn folder_name(path: &str) -> String {
    let mut name = String::from("@");
    for byte in path.trim_start_matches('/').bytes() {
        match byte {
            b'/' => name.push('-'),
            b if b.is_ascii_alphanumeric() || b"_.".contains(&b) => name.push(b.into()),
            b => {
                // Writing to a string cannot fail.
                let _ = write!(name, "%{b:02X}");
            }
        }
    }
    if name.len() > MOST_NAME {
        // All of it is ASCII.
        name.truncate(MOST_NAME / 2);
        let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, path.as_bytes());
        let _ = write!(name, "%%{}", id.simple());
    }
    name
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::Arch;
    use crate::plan::{Restart, Signal};

    fn container(volumes: &[&str]) -> Container {
        Container {
            root: None,
            restart: Some(Restart::OnFailure),
            command: vec!["/app".into()],
            env: Vec::new(),
            user: None,
            working_dir: "/".into(),
            stop_signal: Signal::TERM,
            exposed_ports: Vec::new(),
            volumes: volumes.iter().map(|v| (*v).to_owned()).collect(),
            healthcheck: None,
            health_schedule: None,
            stop_seconds: 30,
            privileged: false,
        }
    }

    type Decided = Result<(Option<Volumes>, Vec<String>), Report>;

    fn decide(named: &[&str], of_container: &[&str], on: VolumesOn) -> Decided {
        let recipe = Recipe {
            volumes: on,
            named_volumes: named.iter().map(|v| v.parse().unwrap()).collect(),
            ..Recipe::default()
        };
        let ids = Ids::new("box", Arch::Amd64, &[7; 32]);
        volumes(&recipe, Some(&container(of_container)), &ids)
    }

    fn listed(named: &[&str], of_container: &[&str]) -> Vec<(String, String)> {
        let (found, notes) = decide(named, of_container, VolumesOn::Partition).unwrap();
        assert!(notes.is_empty(), "{notes:?}");
        let list = found.map(|v| v.list).unwrap_or_default();
        list.into_iter().map(|v| (v.name, v.at)).collect()
    }

    #[test]
    fn a_folder_comes_before_what_is_in_it_and_a_given_name_counts() {
        let own = |pairs: &[(&str, &str)]| {
            let owned = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
            pairs.iter().map(owned).collect::<Vec<_>>()
        };
        assert_eq!(
            listed(&[], &["/data/x/", "/data", "/data"]),
            own(&[("@data", "/data"), ("@data-x", "/data/x")])
        );
        assert_eq!(
            listed(&["pg:/data", "all:/srv", "all:/opt"], &["//data/"]),
            own(&[("pg", "/data"), ("all", "/opt"), ("all", "/srv")])
        );
        assert!(listed(&[], &[]).is_empty());
        let (none, notes) = decide(&[], &["/data", "rel"], VolumesOn::Root).unwrap();
        assert!(none.is_none() && notes.is_empty());
    }

    #[test]
    fn what_cannot_be_a_volume_is_one_line() {
        let said = |named: &[&str], of_container: &[&str], on| {
            let e = decide(named, of_container, on).unwrap_err();
            assert!(e.hint.is_some() && !e.message.contains('\n'), "{e}");
            e.message
        };
        let on = VolumesOn::Partition;
        for (path, word) in [
            ("/proc/x", "made by the kernel"),
            ("/dev", "made by the kernel"),
            ("/etc", "needs /etc to start"),
            ("/boot/x", "needs /boot/x to start"),
            ("/var/lib", "the volumes themselves"),
            ("/var/lib/container/volumes/a", "the volumes themselves"),
        ] {
            let text = said(&[&format!("a:{path}")], &[], on);
            assert!(text.contains(word), "{path}: {text}");
        }
        assert!(said(&["a:/x", "b:/x"], &[], on).contains("two volumes"));
        assert!(said(&["a:/x"], &[], VolumesOn::Root).contains("needs a partition"));
        for path in ["data", "/a/../..", "/"] {
            assert!(said(&[], &[path], on).contains("VOLUMEs"), "{path}");
        }
        // Many images for containers say so, and mean nothing for a machine.
        let (none, notes) = decide(&[], &["/sys/fs/cgroup", "/run"], on).unwrap();
        assert!(none.is_none());
        assert_eq!(notes.len(), 2);
        assert!(occupied("/etc/app", true).is_none() && occupied("/device", true).is_none());
    }

    #[test]
    fn folders_have_names_of_their_own() {
        assert_eq!(folder_name("/var/lib/x_y.z"), "@var-lib-x_y.z");
        assert_eq!(folder_name("/a-b/c d"), "@a%2Db-c%20d");
        assert_ne!(folder_name("/a/b"), folder_name("/a-b"));
        let long = |end: &str| folder_name(&format!("/{}{end}", "é/".repeat(900)));
        assert!(long("a").len() <= MOST_NAME && long("a").is_ascii());
        assert_ne!(long("a"), long("b"));
    }
}
