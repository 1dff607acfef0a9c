//! What a root file system says about the machine that it will be: its init's family, services,
//! consoles, logins, and what should be unique.

use super::entries::argument;
use super::files::{Files, Root};
use super::finding::{Code, Findings};
use crate::guest::hashes;
use crate::os_release;
use schemars::JsonSchema;
use serde::Serialize;

/// Family of the init.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// systemd.
    Systemd,
    /// OpenRC, started by any init.
    Openrc,
    /// An init with an /etc/inittab.
    Inittab,
    /// Another one.
    Unknown,
}

/// The machine in a root file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Guest {
    /// Name of the system, from os-release.
    pub os: Option<String>,
    /// Path of the init, without links.
    pub init: Option<String>,
    /// Its family.
    pub family: Family,
    /// systemd's default target, or OpenRC's runlevel `default`.
    pub target: Option<String>,
    /// Services that are enabled, sorted.
    pub services: Vec<String>,
    /// Whether a login prompt appears on the serial console, if that is known.
    pub serial_console: Option<bool>,
    /// Users who can log in with a password, or without one.
    pub passwords: Vec<String>,
    /// Users with keys for SSH.
    pub keys: Vec<String>,
    /// What should be unique, and is already there: paths.
    pub identities: Vec<String>,
}

/// Most users whose keys are looked for.
const MOST_USERS: usize = 256;

/// Reads all of it. `arguments` are the kernel's; `serial` says whether they must name the serial
/// console, as on a PC.
pub(super) fn look(
    root: &Root,
    init: Option<String>,
    arguments: &str,
    serial: bool,
    found: &mut Findings,
) -> Guest {
    let family = family(root, init.as_deref());
    let os = ["/etc/os-release", "/usr/lib/os-release"]
        .iter()
        .find_map(|p| root.text(p));
    let os = os.and_then(|text| os_release::value(&text, "PRETTY_NAME"));
    let (target, services) = services(root, family);
    let mut guest = Guest {
        os,
        init,
        family,
        target,
        services,
        serial_console: None,
        passwords: Vec::new(),
        keys: keys(root),
        identities: identities(root),
    };
    if serial {
        console(root, &mut guest, arguments, found);
    }
    logins(root, &mut guest, found);
    for path in &guest.identities {
        found.warning(
            Code::Identity,
            format!("every machine of this image gets the same {path}"),
            "delete it (empty /etc/machine-id) before the image is copied: a machine makes its own",
        );
    }
    guest
}

fn family(root: &Root, init: Option<&str>) -> Family {
    let init = init.unwrap_or_default();
    let name = init.rsplit('/').next().unwrap_or_default();
    let inittab = root.text("/etc/inittab");
    if name == "systemd" {
        Family::Systemd
    } else if name == "openrc-init" || inittab.as_ref().is_some_and(|t| t.contains("openrc")) {
        Family::Openrc
    } else if inittab.is_some() && matches!(name, "busybox" | "init" | "bb" | "sysvinit") {
        Family::Inittab
    } else {
        Family::Unknown
    }
}

/// Default target and enabled services.
fn services(root: &Root, family: Family) -> (Option<String>, Vec<String>) {
    let mut all = Vec::new();
    match family {
        Family::Systemd => {
            let places = [
                "/etc/systemd/system",
                "/usr/lib/systemd/system",
                "/lib/systemd/system",
            ];
            let mut links = places.iter().map(|p| format!("{p}/default.target"));
            let target = links.find_map(|path| root.link(&path));
            let target = target.and_then(|t| t.rsplit('/').next().map(str::to_owned));
            for wants in root.names(places[0]) {
                if wants.ends_with(".wants") || wants.ends_with(".requires") {
                    all.extend(root.names(&format!("{}/{wants}", places[0])));
                }
            }
            all.sort();
            all.dedup();
            (target, all)
        }
        Family::Openrc => {
            for level in root.names("/etc/runlevels") {
                all.extend(root.names(&format!("/etc/runlevels/{level}")));
            }
            all.sort();
            all.dedup();
            (Some("default".into()), all)
        }
        Family::Inittab | Family::Unknown => (None, all),
    }
}

/// The serial port that `smoke` and most clouds watch, and others like it.
fn is_serial(word: &str) -> bool {
    ["ttyS", "ttyAMA", "hvc"]
        .iter()
        .any(|name| word.contains(name))
}

fn console(root: &Root, guest: &mut Guest, arguments: &str, found: &mut Findings) {
    let argument = arguments
        .split_whitespace()
        .filter_map(|w| w.strip_prefix("console="))
        .any(is_serial);
    let by_service = || {
        guest
            .services
            .iter()
            .any(|s| is_serial(s) && s.contains("getty"))
    };
    let lines = root.text("/etc/inittab").unwrap_or_default();
    let by_inittab = || {
        lines.lines().map(str::trim).any(|l| {
            let own = is_serial(l) || l.starts_with("::askfirst") || l.starts_with("::respawn");
            !l.starts_with('#') && (own || l.starts_with("console:"))
        })
    };
    let cure = "add `console=ttyS0` to the kernel's arguments (systemd), or a getty for ttyS0 in /etc/inittab";
    let (there, why) = match guest.family {
        Family::Systemd => {
            let masked = ["serial-getty@ttyS0.service", "serial-getty@.service"]
                .iter()
                .any(|u| {
                    root.link(&format!("/etc/systemd/system/{u}")).as_deref() == Some("/dev/null")
                });
            let getty = [
                "/sbin/agetty",
                "/usr/sbin/agetty",
                "/bin/agetty",
                "/usr/bin/agetty",
            ];
            if masked {
                (false, "serial-getty is masked")
            } else if !getty.iter().any(|p| root.stat(p).is_some()) {
                (false, "the program agetty is missing")
            } else {
                (
                    argument || by_service(),
                    "no kernel argument names a serial console, and no serial-getty is enabled",
                )
            }
        }
        Family::Openrc | Family::Inittab => (
            by_inittab() || by_service(),
            "/etc/inittab has no getty for a serial console",
        ),
        Family::Unknown => return,
    };
    guest.serial_console = Some(there);
    if !there {
        found.warning(
            Code::ConsoleMissing,
            format!("no login prompt appears on the serial console: {why}"),
            cure,
        );
    }
}

/// Users of /etc/passwd with their homes.
fn users(root: &Root) -> Vec<(String, String)> {
    let text = root.text("/etc/passwd").unwrap_or_default();
    let users = text.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let home = fields.get(5).filter(|h| h.starts_with('/'))?;
        Some((fields[0].to_owned(), (*home).to_owned()))
    });
    users.take(MOST_USERS).collect()
}

fn keys(root: &Root) -> Vec<String> {
    let has = |(_, home): &(String, String)| {
        let text = root.text(&format!("{home}/.ssh/authorized_keys"));
        text.is_some_and(|t| {
            t.lines()
                .any(|l| !l.trim().is_empty() && !l.starts_with('#'))
        })
    };
    let with = users(root).into_iter().filter(has);
    with.map(|(name, _)| name).collect()
}

fn logins(root: &Root, guest: &mut Guest, found: &mut Findings) {
    let passwords = hashes::find(|path| {
        let small = root.stat(path).filter(|s| s.len <= hashes::LARGEST);
        Ok(small.and_then(|s| root.head(path, s.len).ok()))
    });
    guest.passwords = passwords.users;
    let shadow = root.text("/etc/shadow").unwrap_or_default();
    let open = shadow.lines().filter_map(|l| {
        let mut fields = l.split(':');
        let name = fields.next()?;
        fields.next()?.is_empty().then_some(name)
    });
    let open: Vec<&str> = open.collect();
    if !open.is_empty() {
        found.warning(
            Code::Login,
            format!(
                "anybody can log in without a password as {}",
                open.join(", ")
            ),
            "lock the account with `passwd -l`, or give it a password",
        );
    }
    let cloud = guest.services.iter().any(|s| s.starts_with("cloud-"));
    if guest.passwords.is_empty() && guest.keys.is_empty() && !cloud {
        found.note(
            Code::Login,
            "nobody can log in: no account has a password or a key",
            "give one when the image is made, e.g. with --root-password-file or --ssh-key",
        );
    }
}

/// What a machine makes at its first start.
fn identities(root: &Root) -> Vec<String> {
    let mut all = Vec::new();
    let id = root.text("/etc/machine-id").unwrap_or_default();
    if !matches!(id.trim(), "" | "uninitialized") {
        all.push("/etc/machine-id".to_owned());
    }
    let keys = root.names("/etc/ssh").into_iter();
    let keys = keys.filter(|n| n.starts_with("ssh_host_") && n.ends_with("_key"));
    all.extend(keys.map(|n| format!("/etc/ssh/{n}")));
    for seed in [
        "/var/lib/systemd/random-seed",
        "/var/lib/seedrng/seed.credit",
    ] {
        if root.stat(seed).is_some_and(|s| s.len > 0) {
            all.push(seed.to_owned());
        }
    }
    all
}

/// Reports a kernel without modules. `version` is the kernel's.
pub(super) fn modules(root: &Root, version: &str, found: &mut Findings) {
    let mut all = root.names("/lib/modules");
    all.truncate(100);
    if all.is_empty() || all.iter().any(|n| n == version) {
        return;
    }
    found.warning(
        Code::ModulesMissing,
        format!(
            "the kernel {version} has no modules in /lib/modules, which has those of {}",
            all.join(", ")
        ),
        "install the package of the kernel that is started",
    );
}

/// The version in the header of an x86 kernel (Linux, Documentation/arch/x86/boot.rst,
/// `kernel_version`), from the start of the file.
pub(super) fn version(head: &[u8]) -> Option<String> {
    if head.get(0x202..0x206) != Some(b"HdrS") {
        return None;
    }
    let at = usize::from(u16::from_le_bytes([*head.get(0x20e)?, *head.get(0x20f)?])) + 0x200;
    let text = head.get(at..)?.split(|b| *b == 0).next()?;
    let text = std::str::from_utf8(text).ok()?;
    text.split(' ')
        .next()
        .filter(|v| !v.is_empty() && v.len() < 100)
        .map(str::to_owned)
}

/// Whether the kernel is told where its init is by something other than this root.
pub(super) fn is_elsewhere(arguments: &str) -> bool {
    [
        "rd.live",
        "boot=live",
        "overlayroot",
        "systemd.volatile",
        "rdinit",
        "nfsroot",
        "ostree=",
        "mount.usr",
        "usrhash",
        "roothash",
        "subvol",
    ]
    .iter()
    .any(|word| arguments.contains(word))
        || argument(arguments, "root").is_some_and(|r| r.starts_with("live:"))
}
