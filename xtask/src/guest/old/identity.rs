//! Data of a single machine: seeds, leases, logs, and the state of its first start.

use super::super::{Report, Rootfs, edit};
use super::{glance, some};
use crate::rootfs::Kind;
use bstr::ByteSlice;

/// Files that are never meant to be copied. Most of them are recreated when missing.
const PRIVATE: [&str; 17] = [
    // Seeds of the random number generator: systemd, sysvinit, OpenRC and boot loaders.
    "/var/lib/systemd/random-seed",
    "/var/lib/systemd/credential.secret",
    "/var/lib/systemd/timesync/clock",
    "/var/lib/urandom/random-seed",
    "/var/lib/misc/random-seed",
    "/var/lib/random-seed",
    "/var/lib/seedrng",
    "/boot/loader/random-seed",
    // A machine's identity for DHCP servers, and secrets.
    "/var/lib/dhcpcd/duid",
    "/var/lib/dhcpcd/secret",
    "/etc/dhcpcd.duid",
    "/etc/dhcpcd.secret",
    "/var/lib/NetworkManager/secret_key",
    // Requests for the next start of the old machine.
    "/forcefsck",
    "/fastboot",
    "/forcequotacheck",
    "/halt",
];

/// Folders with leases, and the prefixes and suffixes of the leases' names.
const LEASES: [(&str, &str, &str); 10] = [
    ("/var/lib/dhcp", "", ".leases"),
    ("/var/lib/dhclient", "", ".leases"),
    ("/var/lib/dhclient", "", ".lease"),
    ("/var/lib/dhcpcd", "", ".lease"),
    ("/var/lib/dhcpcd", "", ".lease6"),
    ("/var/lib/dhcpcd5", "", ".lease"),
    ("/var/lib/NetworkManager", "", ".lease"),
    ("/var/lib/NetworkManager", "dhclient-", ".conf"),
    ("/var/lib/wicked", "lease-", ".xml"),
    ("/var/lib/systemd/network", "", ""),
];

/// Locks of account files that contain a process ID: if a process of the new machine has the same,
/// low ID, nobody can change a password (shadow's lib/commonio.c).
const LOCKS: [&str; 6] = ["passwd", "shadow", "group", "gshadow", "subuid", "subgid"];

/// Files that udev 53 to 208 wrote about the network cards and drives that it found.
const CARDS: [&str; 3] = [
    "70-persistent-net.rules",
    "70-persistent-cd.rules",
    "z25_persistent-net.rules",
];

pub(super) fn clean(rootfs: &mut Rootfs) -> Result<Vec<String>, Report> {
    let mut notes = Vec::new();
    let tree = &mut rootfs.tree;
    for path in PRIVATE {
        tree.remove(path);
    }
    for name in LOCKS {
        tree.remove(format!("/etc/{name}.lock"));
    }
    for (dir, begins, ends) in LEASES {
        remove_all(rootfs, dir, |n| n.starts_with(begins) && n.ends_with(ends));
    }
    for path in ["/etc/nologin", "/var/run/nologin"] {
        if rootfs.tree.remove(path) {
            notes.push(format!("removed {path}: only root could have logged in"));
        }
    }
    let cards = remove_all(rootfs, "/etc/udev/rules.d", |name| CARDS.contains(&name));
    if !cards.is_empty() {
        notes.push(format!(
            "removed {}: they give names to the network cards or drives of another machine",
            cards.join(", ")
        ));
    }
    notes.extend(journals(rootfs));
    notes.extend(cloud_init(rootfs)?);
    notes.extend(mtab(rootfs)?);
    resolv_conf(rootfs);
    stale_state(rootfs);
    Ok(notes)
}

/// Removes the entries of a folder whose names match `which`, and returns their paths.
fn remove_all(rootfs: &mut Rootfs, dir: &str, which: impl Fn(&str) -> bool) -> Vec<String> {
    let tree = &mut rootfs.tree;
    let found: Vec<String> = tree
        .entries(dir)
        .filter(|(name, _)| which(name))
        .map(|(name, _)| format!("{dir}/{name}"))
        .collect();
    for path in &found {
        tree.remove(path);
    }
    found
}

/// Removes old journals. systemd-journald keeps each machine's journal in a folder named by its ID,
/// and shows only its own.
fn journals(rootfs: &mut Rootfs) -> Option<String> {
    let is_id = |name: &str| name.len() == 32 && name.bytes().all(|b| b.is_ascii_hexdigit());
    let gone = remove_all(rootfs, "/var/log/journal", is_id);
    (!gone.is_empty()).then(|| {
        format!(
            "removed the journal of another machine: {}",
            gone.join(", ")
        )
    })
}

/// Removes cloud-init's state, which makes it skip a machine's setup. The same as `cloud-init clean
/// --configs network`, except for scripts and seeds.
fn cloud_init(rootfs: &mut Rootfs) -> Result<Option<String>, Report> {
    let mut gone = Vec::new();
    let state = |name: &str| ["data", "instance", "instances", "sem"].contains(&name);
    let has_run = rootfs
        .tree
        .entries("/var/lib/cloud/instances")
        .next()
        .is_some()
        || rootfs.tree.exists("/var/lib/cloud/instance");
    if has_run {
        gone.extend(remove_all(rootfs, "/var/lib/cloud", state));
        remove_all(rootfs, "/var/log", |name| {
            ["cloud-init.log", "cloud-init-output.log"].contains(&name)
        });
    }
    // A disabled part of cloud-init means that the files are now maintained by hand.
    let own = rootfs
        .tree
        .entries("/etc/cloud/cloud.cfg.d")
        .any(|(name, _)| name.contains("disable-network-config"));
    if !own {
        for (dir, name) in [
            ("/etc/netplan", "50-cloud-init"),
            ("/etc/network/interfaces.d", "50-cloud-init"),
            ("/etc/systemd/network", "10-cloud-init-"),
            ("/etc/NetworkManager/system-connections", "cloud-init-"),
            ("/etc/sysconfig/network-scripts", "ifcfg-"),
        ] {
            let files: Vec<String> = rootfs
                .tree
                .entries(dir)
                .filter(|(n, _)| n.starts_with(name))
                .map(|(n, _)| format!("{dir}/{n}"))
                .collect();
            for file in files {
                // Other files with such a name are not cloud-init's.
                let text = glance(rootfs, &file)?.to_lowercase();
                let written = text.contains("cloud-init") || !name.starts_with("ifcfg-");
                if written && names_a_card(&text) {
                    rootfs.tree.remove(&file);
                    gone.push(file);
                }
            }
        }
    }
    Ok((!gone.is_empty()).then(|| {
        format!(
            "removed cloud-init's state from another machine, so that it sets up this one: {}",
            some(&gone)
        )
    }))
}

/// Whether a network configuration, in lower case, is bound to a single card's address.
fn names_a_card(text: &str) -> bool {
    ["macaddress", "mac-address", "hwaddr", "hwaddress"]
        .iter()
        .any(|key| text.contains(key))
}

/// Replaces an obsolete list of mounts (mount(8), "/etc/mtab and /proc/mounts").
fn mtab(rootfs: &mut Rootfs) -> Result<Option<String>, Report> {
    const FILE: &str = "/etc/mtab";
    let epoch = rootfs.epoch;
    let tree = &mut rootfs.tree;
    let Some(id) = tree.lookup(FILE) else {
        return Ok(None);
    };
    let Kind::File(content) = &tree.node(id).kind else {
        return Ok(None);
    };
    let empty = content.is_empty();
    tree.symlink(FILE, "../proc/self/mounts", epoch)
        .map_err(edit)?;
    Ok((!empty).then(|| {
        format!(
            "{FILE} listed the mounts of another machine; it is now a link to /proc/self/mounts"
        )
    }))
}

/// A link to a file of the build host, created by the Windows Subsystem for Linux.
fn resolv_conf(rootfs: &mut Rootfs) {
    const FILE: &str = "/etc/resolv.conf";
    let tree = &mut rootfs.tree;
    let of_host = tree
        .lookup(FILE)
        .is_some_and(|id| match &tree.node(id).kind {
            Kind::Symlink(target) => target.contains_str("/mnt/wsl/"),
            _ => false,
        });
    if of_host {
        tree.remove(FILE);
    }
}

/// If /var/run is a folder on the disk, leftovers of old processes survive: process IDs, sockets,
/// locks.
fn stale_state(rootfs: &mut Rootfs) {
    let tree = &mut rootfs.tree;
    for path in ["/var/run", "/var/lock"] {
        let Some(dir) = tree.lookup(path) else {
            continue;
        };
        let mut stale = Vec::new();
        let mut todo = vec![dir];
        while let Some(dir) = todo.pop() {
            if let Kind::Dir(children) = &tree.node(dir).kind {
                for (name, id) in children {
                    match tree.node(*id).kind {
                        Kind::Dir(_) => todo.push(*id),
                        Kind::Socket => stale.push(*id),
                        Kind::File(_) if name.ends_with(b".pid") || path == "/var/lock" => {
                            stale.push(*id);
                        }
                        _ => {}
                    }
                }
            }
        }
        use crate::rootfs::tree::Prune;
        tree.prune(dir, |_, _, id| match stale.contains(&id) {
            true => Prune::Remove,
            false => Prune::Enter,
        });
    }
}
