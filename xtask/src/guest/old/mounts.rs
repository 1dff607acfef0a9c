//! What a line of fstab(5) needs, and whether the new machine has it.

use crate::rootfs::{Kind, Tree};

/// A mount, as described by fstab(5) or a systemd unit: what, where and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) what: &'a str,
    pub(super) at: &'a str,
    pub(super) kind: &'a str,
    pub(super) options: &'a str,
}

/// What to do with a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It works, or nothing waits for it.
    Keep,
    /// Make it optional: the machine starts without it.
    Optional,
    /// Remove it: it was part of the old disk.
    Gone,
}

/// Virtual and overlay file systems, which need no device.
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

/// Network file systems, which systemd and OpenRC can start without (systemd,
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

/// Mount points of firmware and boot loader files. The image has its own.
fn is_boot(at: &str) -> bool {
    ["/boot", "/efi"]
        .iter()
        .any(|boot| at == *boot || at.starts_with(&format!("{boot}/")))
}

impl Wanted<'_> {
    fn has(&self, option: &str) -> bool {
        self.options.split(',').any(|o| o == option)
    }

    /// Whether it names a device by its path or by its contents (`UUID=` etc.).
    fn is_device(&self) -> bool {
        let tag = self.what.split_once('=').map(|(tag, _)| tag);
        const TAGS: [&str; 5] = ["UUID", "LABEL", "PARTUUID", "PARTLABEL", "ID"];
        self.what.starts_with("/dev/") || tag.is_some_and(|tag| TAGS.contains(&tag))
    }

    /// Decides by the content of `tree`. `systemd`: whether systemd's options apply. `others` are
    /// the mount points of all other mounts.
    pub(super) fn fate(&self, tree: &Tree, systemd: bool, others: &[&str]) -> Fate {
        let network = NETWORK.contains(&self.kind.strip_prefix("fuse.").unwrap_or(self.kind));
        // Its memory is allocated when the machine starts.
        let zram = self.what.starts_with("/dev/zram");
        // Everything in it is in the root file system. An initramfs that mounts it
        // (initramfs-tools, init) ignores `nofail` and waits for the device forever.
        if self.at == "/usr" {
            return Fate::Gone;
        }
        if self.at == "/" || network || self.has("_netdev") || zram {
            return Fate::Keep;
        }
        // Even an optional one would hide the kernels when it is accessed.
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
            // A hypervisor's share or a pool's data set, about which nothing is known here.
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
