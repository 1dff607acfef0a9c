//! Static addresses and name servers.

use super::Means;
use crate::guest::LIMIT;
use crate::rootfs::Rootfs;

/// Whether a DHCP client will run with the root file system's configuration: it would fill
/// /etc/resolv.conf. Unconfigured networks use DHCP.
pub(super) fn asks_for_addresses(rootfs: &Rootfs, means: Means) -> bool {
    let (dirs, endings): (&[&str], &[&str]) = match means {
        Means::NetworkManager => (
            &["/etc/NetworkManager/system-connections"],
            &[".nmconnection", ""],
        ),
        Means::Networkd => (
            &["/etc/systemd/network", "/etc/netplan"],
            &[".network", ".yaml"],
        ),
        Means::Dhcpcd => (&["/etc/dhcpcd.conf"], &[""]),
        Means::Ifupdown => (
            &["/etc/network/interfaces", "/etc/network/interfaces.d"],
            &[""],
        ),
    };
    let mut files = Vec::new();
    for dir in dirs {
        let names: Vec<&str> = rootfs.tree.entries(dir).map(|(name, _)| name).collect();
        let fits = |name: &&str| endings.iter().any(|e| name.ends_with(e));
        files.extend(names.into_iter().filter(fits).map(|n| format!("{dir}/{n}")));
        files.push((*dir).to_owned());
    }
    let mut fixed = false;
    for file in files {
        let text = rootfs.read_text(&file, LIMIT).ok().flatten();
        for line in text.unwrap_or_default().lines() {
            match line_says(means, &line.to_ascii_lowercase()) {
                Some(true) => return true,
                Some(false) => fixed = true,
                None => {}
            }
        }
    }
    !fixed
}

/// Whether a line of a configuration enables DHCP, sets a static address, or neither.
fn line_says(means: Means, line: &str) -> Option<bool> {
    let words: Vec<&str> = line
        .split(|c: char| c.is_whitespace() || "=:".contains(c))
        .filter(|w| !w.is_empty())
        .collect();
    if words.first().is_none_or(|w| w.starts_with(['#', ';'])) {
        return None;
    }
    match (means, words.as_slice()) {
        // nm-settings-keyfile(5), `[ipv4] method=`
        (Means::NetworkManager, ["method", "auto", ..]) => Some(true),
        (Means::NetworkManager, ["method", "manual", ..]) => Some(false),
        // systemd.network(5), and netplan(5)
        (Means::Networkd, ["dhcp", "yes" | "true" | "1" | "on" | "ipv4" | "ipv6", ..]) => {
            Some(true)
        }
        (Means::Networkd, ["dhcp4" | "dhcp6", "yes" | "true" | "on", ..]) => Some(true),
        (Means::Networkd, ["address" | "addresses", ..]) => Some(false),
        // dhcpcd.conf(5)
        (Means::Dhcpcd, ["static", "ip_address", ..] | ["nodhcp" | "noipv4"]) => Some(false),
        // interfaces(5)
        (Means::Ifupdown, ["iface", name, _, "dhcp", ..]) if *name != "lo" => Some(true),
        (Means::Ifupdown, ["iface", name, _, "static", ..]) if *name != "lo" => Some(false),
        (Means::Ifupdown, ["use", "dhcp", ..]) => Some(true),
        (Means::Ifupdown, ["address", ..]) => Some(false),
        _ => None,
    }
}

/// Name servers that only the build host's programs and containers can reach.
const OF_HOSTS: [&str; 8] = [
    // Docker's in user-defined networks, and systemd-resolved's two.
    "127.0.0.11",
    "127.0.0.53",
    "127.0.0.54",
    // Docker Desktop's two, slirp4netns's (rootless engines) and gvisor-tap-vsock's (podman
    // machine). podman's own network, where aardvark-dns answers.
    "192.168.65.5",
    "192.168.65.7",
    "10.0.2.3",
    "192.168.127.1",
    "169.254.1.1",
];

/// Whether a resolv.conf(5) has usable name servers: neither an engine's nor the stub of the build
/// host's systemd-resolved, which the machine cannot reach.
pub(super) fn has_servers(text: &str) -> bool {
    let of_an_engine = text.lines().filter(|l| l.starts_with('#')).any(|l| {
        let l = l.to_ascii_lowercase();
        ["docker", "podman", "buildkit", "containerd", "aardvark"]
            .iter()
            .any(|engine| l.contains(engine))
    });
    !of_an_engine
        && text.lines().any(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some("nameserver")
                && words.next().is_some_and(|s| !OF_HOSTS.contains(&s))
        })
}
