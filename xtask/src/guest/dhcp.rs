//! How the machine gets its addresses: with DHCP and router advertisements on every wired
//! interface, using a network manager of the root file system. Existing configuration stays.
//!
//! Wired interfaces are named `en*` if udev assigns predictable names
//! (systemd.net-naming-scheme(7)), and `eth*` if the kernel's names stay.

use super::{Init, Report, Rootfs, Settings, edit, read, rewrite, units};
use crate::rootfs::Kind;

mod ifupdown;
mod static_config;

/// A network manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Means {
    NetworkManager,
    Networkd,
    Dhcpcd,
    Ifupdown,
}

/// Its service in systemd and OpenRC, and the runlevel in OpenRC.
fn service(means: Means, init: Init) -> (&'static str, &'static str) {
    match (means, init) {
        (Means::NetworkManager, Init::Systemd) => ("NetworkManager.service", "multi-user.target"),
        (Means::NetworkManager, _) => ("networkmanager", "default"),
        (Means::Networkd, _) => ("systemd-networkd.service", "multi-user.target"),
        (Means::Dhcpcd, Init::Systemd) => ("dhcpcd.service", "multi-user.target"),
        (Means::Dhcpcd, _) => ("dhcpcd", "default"),
        (Means::Ifupdown, Init::Systemd) => ("networking.service", "multi-user.target"),
        (Means::Ifupdown, _) => ("networking", "boot"),
    }
}

/// In order of preference: the first two and dhcpcd handle every interface, including future ones.
const ALL: [Means; 4] = [
    Means::NetworkManager,
    Means::Networkd,
    Means::Dhcpcd,
    Means::Ifupdown,
];

/// Configures the network, unless it is already configured. Returns notes for the user.
pub(super) fn configure(
    rootfs: &mut Rootfs,
    init: Init,
    settings: &Settings,
) -> Result<Vec<String>, Report> {
    let mut notes = Vec::new();
    let means = ALL.into_iter().find(|m| is_on(rootfs, init, *m));
    let means = match means {
        Some(means) => Some(means),
        // Nothing is enabled: the existing configuration shows which one it is for.
        None => ALL
            .into_iter()
            .find(|m| is_there(rootfs, init, *m) && is_configured(rootfs, *m))
            .or_else(|| ALL.into_iter().find(|m| is_there(rootfs, init, *m))),
    };
    match means {
        Some(means) => set_up(rootfs, init, means)?,
        None => notes.push(
            "nothing in this root file system sets up the network: install dhcpcd, or systemd-networkd, in the Dockerfile".into(),
        ),
    }
    notes.extend(resolv_conf(rootfs, init, settings, means)?);
    Ok(notes)
}

fn is_there(rootfs: &Rootfs, init: Init, means: Means) -> bool {
    let (name, _) = service(means, init);
    let right_init = means != Means::Networkd || init == Init::Systemd;
    right_init
        && units::find(rootfs, init, name).is_some()
        && !(init == Init::Systemd && units::is_masked(rootfs, name))
}

/// Whether it starts by itself. `networking` alone is not enough, because it brings up the loopback
/// interface for every other network manager.
fn is_on(rootfs: &Rootfs, init: Init, means: Means) -> bool {
    let (name, _) = service(means, init);
    is_there(rootfs, init, means)
        && units::is_enabled(rootfs, init, name)
        && (means != Means::Ifupdown || is_configured(rootfs, means))
}

/// Whether it is configured.
fn is_configured(rootfs: &Rootfs, means: Means) -> bool {
    let holds = |dir: &str, ending: &str| {
        rootfs
            .tree
            .entries(dir)
            .any(|(name, _)| name.ends_with(ending))
    };
    match means {
        Means::NetworkManager => holds("/etc/NetworkManager/system-connections", ""),
        Means::Networkd => {
            holds("/etc/systemd/network", ".network") || holds("/etc/netplan", ".yaml")
        }
        // It works without configuration.
        Means::Dhcpcd => false,
        Means::Ifupdown => {
            let mut files = vec!["/etc/network/interfaces".to_owned()];
            let more = rootfs.tree.entries("/etc/network/interfaces.d");
            files.extend(more.map(|(name, _)| format!("/etc/network/interfaces.d/{name}")));
            files.iter().any(|file| {
                let text = rootfs.read_text(file, super::LIMIT).ok().flatten();
                text.unwrap_or_default().lines().any(|line| {
                    let mut words = line.split_whitespace();
                    words.next() == Some("iface") && words.next().is_some_and(|name| name != "lo")
                })
            })
        }
    }
}

fn set_up(rootfs: &mut Rootfs, init: Init, means: Means) -> Result<(), Report> {
    match means {
        // By default, both use DHCP on every wired interface.
        Means::NetworkManager => {}
        Means::Dhcpcd => loopback(rootfs, init)?,
        Means::Networkd => networkd(rootfs)?,
        Means::Ifupdown if !is_configured(rootfs, means) => ifupdown::wired(rootfs, init)?,
        Means::Ifupdown => {}
    }
    let (name, at) = service(means, init);
    units::enable(rootfs, init, name, at).map(drop)
}

/// DHCPv4, and for IPv6 whatever the routers announce: SLAAC or DHCPv6.
fn networkd(rootfs: &mut Rootfs) -> Result<(), Report> {
    if !is_configured(rootfs, Means::Networkd) {
        rewrite(
            rootfs,
            "/etc/systemd/network/80-dhcp.network",
            "# Written by docker-to-linux; see systemd.network(5).\n[Match]\nName=en* eth*\n\n[Network]\nDHCP=yes\nIPv6AcceptRA=yes\n".into(),
        )?;
    }
    // The other links of `systemctl enable`.
    let epoch = rootfs.epoch;
    for (name, at) in [
        ("systemd-networkd.socket", "sockets.target"),
        ("systemd-network-generator.service", "sysinit.target"),
        (
            "systemd-networkd-wait-online.service",
            "network-online.target",
        ),
    ] {
        units::enable(rootfs, Init::Systemd, name, at)?;
    }
    let alias = "/etc/systemd/system/dbus-org.freedesktop.network1.service";
    alias_of(rootfs, alias, "systemd-networkd.service", epoch)?;
    online_by_one(rootfs)
}

/// The machine is online when one of its interfaces is. Without this, an interface without a cable
/// delays everything that waits for the network by two minutes (systemd-networkd-wait-online(8),
/// "--any"). NetworkManager and dhcpcd behave like this by default. An existing change of the unit
/// stays.
fn online_by_one(rootfs: &mut Rootfs) -> Result<(), Report> {
    const UNIT: &str = "systemd-networkd-wait-online.service";
    let own = format!("/etc/systemd/system/{UNIT}");
    let Some(file) = units::find(rootfs, Init::Systemd, UNIT) else {
        return Ok(());
    };
    if file == own || rootfs.tree.exists(format!("{own}.d")) {
        return Ok(());
    }
    let text = read(rootfs, &file)?;
    let start = text.lines().find_map(|l| l.strip_prefix("ExecStart="));
    // The path differs if /lib is not part of /usr.
    let Some(program) = start.and_then(|s| s.split_whitespace().next()) else {
        return Ok(());
    };
    rewrite(
        rootfs,
        &format!("{own}.d/10-any.conf"),
        format!(
            "# Written by docker-to-linux: online is a machine with one interface that is.\n[Service]\nExecStart=\nExecStart={program} --any --timeout=60\n"
        ),
    )
}

fn alias_of(rootfs: &mut Rootfs, alias: &str, unit: &str, epoch: i64) -> Result<(), Report> {
    if let Some(file) = units::find(rootfs, Init::Systemd, unit)
        && !rootfs.tree.exists(alias)
    {
        rootfs.tree.symlink(alias, &file, epoch).map_err(edit)?;
    }
    Ok(())
}

/// OpenRC's `networking` brings up the loopback interface, which dhcpcd does not.
fn loopback(rootfs: &mut Rootfs, init: Init) -> Result<(), Report> {
    if init != Init::OpenRc {
        return Ok(());
    }
    if read(rootfs, "/etc/network/interfaces")?.is_empty() {
        ifupdown::loopback(rootfs)?;
    }
    if !units::enable(rootfs, init, "networking", "boot")? {
        units::enable(rootfs, init, "loopback", "boot")?;
    }
    Ok(())
}

/// Sets up /etc/resolv.conf: a link to systemd-resolved's stub if that runs, else a file that the
/// DHCP client fills. An existing link stays, as do the recipe's files. An existing file stays if
/// nothing would fill it again and it has usable servers; otherwise it may be the build host's and
/// is replaced.
fn resolv_conf(
    rootfs: &mut Rootfs,
    init: Init,
    settings: &Settings,
    means: Option<Means>,
) -> Result<Option<String>, Report> {
    const FILE: &str = "/etc/resolv.conf";
    const RESOLVED: &str = "systemd-resolved.service";
    let epoch = rootfs.epoch;
    let resolved = init == Init::Systemd && units::find(rootfs, init, RESOLVED).is_some();
    // networkd passes its name servers only to resolved.
    if resolved && means == Some(Means::Networkd) {
        units::enable(rootfs, init, RESOLVED, "multi-user.target")?;
        let alias = "/etc/systemd/system/dbus-org.freedesktop.resolve1.service";
        alias_of(rootfs, alias, RESOLVED, epoch)?;
    }
    let runs = resolved
        && units::is_enabled(rootfs, init, RESOLVED)
        && !units::is_masked(rootfs, RESOLVED);
    let is_link = rootfs
        .tree
        .lookup(FILE)
        .is_some_and(|id| matches!(rootfs.tree.node(id).kind, Kind::Symlink(_)));
    if is_link || settings.given.overlay.has(FILE) {
        return Ok(None);
    }
    let asks = means.is_some_and(|means| static_config::asks_for_addresses(rootfs, means));
    // systemd-resolved uses the servers of a foreign file (resolved.conf(5)).
    if !asks && static_config::has_servers(&read(rootfs, FILE)?) {
        return Ok(None);
    }
    let tree = &mut rootfs.tree;
    if runs {
        let stub = "../run/systemd/resolve/stub-resolv.conf";
        tree.symlink(FILE, stub, epoch).map_err(edit)?;
        return Ok(None);
    }
    let (text, note) = match (means, asks) {
        (Some(Means::Networkd), _) => (
            FILLED,
            Some(
                "nothing fills /etc/resolv.conf in this root file system: install systemd-resolved in the Dockerfile, or put an etc/resolv.conf into files/",
            ),
        ),
        (Some(_), false) => (
            EMPTY,
            Some(
                "the addresses of this root file system are fixed, and it has no name servers: write them into /etc/resolv.conf in the Dockerfile, or put an etc/resolv.conf into files/",
            ),
        ),
        _ => (FILLED, None),
    };
    tree.write(FILE, text.as_bytes(), 0o644, epoch)
        .map_err(edit)?;
    Ok(note.map(str::to_owned))
}

const FILLED: &str = "# Filled by the DHCP client.\n";
const EMPTY: &str = "# No name servers are configured.\n";
