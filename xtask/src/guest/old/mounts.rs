//! What a line of fstab(5) needs, and whether the new machine has it.

use crate::rootfs::{Kind, Tree};

/// What is to be mounted, where and how, as fstab(5) or a unit of systemd has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) what: &'a str,
    pub(super) at: &'a str,
    pub(super) kind: &'a str,
    pub(super) options: &'a str,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It works, or nothing waits for it.
    Keep,
    /// It may come: the machine starts without it.
    Optional,
    /// It was a part of the old disk, which is another now.
    Gone,
}

/// File systems that the kernel makes up, and those that lie over others: they need no device.
const MADE_UP: [&str; 27] = [
    "aufs",
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nfsd",
    "overlay",
    "proc",
    "pstore",
    "ramfs",
    "rootfs",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "sysfs",
    "tmpfs",
    "tracefs",
    "usbfs",
];

/// Those that come over the network; systemd and OpenRC start without them (systemd,
/// src/basic/mountpoint-util.c, `fstype_is_network`, without those that a hypervisor shares).
const NETWORK: [&str; 17] = [
    "afs",
    "ceph",
    "cifs",
    "davfs",
    "gfs",
    "gfs2",
    "glusterfs",
    "lustre",
    "ncp",
    "ncpfs",
    "nfs",
    "nfs4",
    "ocfs2",
    "pvfs2",
    "smb3",
    "smbfs",
    "sshfs",
];

/// Where the firmware's and the boot loader's files lie. The image has its own.
fn is_boot(at: &str) -> bool {
    ["/boot", "/efi"]
        .iter()
        .any(|boot| at == *boot || at.starts_with(&format!("{boot}/")))
}

impl Wanted<'_> {
    fn has(&self, option: &str) -> bool {
        self.options.split(',').any(|o| o == option)
    }

    /// Whether it is a device by its name, or by what it has: `UUID=` and its like.
    fn is_device(&self) -> bool {
        let tag = self.what.split_once('=').map(|(tag, _)| tag);
        const TAGS: [&str; 5] = ["UUID", "LABEL", "PARTUUID", "PARTLABEL", "ID"];
        self.what.starts_with("/dev/") || tag.is_some_and(|tag| TAGS.contains(&tag))
    }

    /// Judges it by what `tree` has. `systemd`: options of systemd count. `others` are the places
    /// of everything else that is mounted.
    pub(super) fn fate(&self, tree: &Tree, systemd: bool, others: &[&str]) -> Fate {
        let network = NETWORK.contains(&self.kind.strip_prefix("fuse.").unwrap_or(self.kind));
        // Its memory is made when the machine starts.
        let zram = self.what.starts_with("/dev/zram");
        // Everything in it is in the root file system. An initramfs that mounts it (initramfs-tools,
        // init) knows no `nofail` and waits for the device without an end.
        if self.at == "/usr" {
            return Fate::Gone;
        }
        if self.at == "/" || network || self.has("_netdev") || zram {
            return Fate::Keep;
        }
        // Even one that waits for nobody would hide the kernels when somebody looks there.
        let automount = systemd && self.has("x-systemd.automount");
        if is_boot(self.at) && self.is_device() {
            let waits = !self.has("noauto") && !self.has("nofail");
            return if waits || automount {
                Fate::Gone
            } else {
                Fate::Keep
            };
        }
        if self.has("noauto") || self.has("nofail") || automount {
            return Fate::Keep;
        }
        if self.kind == "swap" {
            let is_file = || {
                matches!(
                    tree.resolve(self.what).map(|id| &tree.node(id).kind),
                    Some(Kind::File(_))
                )
            };
            return if !self.is_device() && is_file() {
                Fate::Keep
            } else {
                Fate::Gone
            };
        }
        if MADE_UP.contains(&self.kind) {
            return Fate::Keep;
        }
        if self.is_device() && !self.has("bind") && !self.has("rbind") {
            return Fate::Optional;
        }
        if !self.what.starts_with('/') {
            // A share of a hypervisor, a data set of a pool: nobody here knows.
            return Fate::Optional;
        }
        let below = |at: &str| self.what == at || self.what.starts_with(&format!("{at}/"));
        if tree.resolve(self.what).is_some()
            || ["/dev", "/proc", "/run", "/sys", "/tmp"]
                .iter()
                .any(|at| below(at))
        {
            Fate::Keep
        } else if others.iter().any(|at| *at != "/" && below(at)) {
            Fate::Optional
        } else {
            Fate::Gone
        }
    }
}
