//! OpenSSH's server: a machine's own host keys, and root's login with a key.

use super::{Init, Report, Rootfs, Settings, edit, read, units};

/// Creates missing host keys.
const KEYS_UNIT: &str = "docker-to-linux-ssh-keys.service";
const KEYS_TEXT: &str = include_str!("files/ssh-keys.service");

/// Whether there is an ssh server.
pub fn is_there(rootfs: &Rootfs) -> bool {
    let sshd = ["/usr/sbin/sshd", "/usr/bin/sshd"];
    sshd.iter().any(|p| rootfs.tree.resolve(p).is_some())
}

/// Removes the container's host keys, and makes sure that the first boot creates new ones. Enables
/// the server for users with keys. Returns notes for the user.
pub(super) fn prepare(
    rootfs: &mut Rootfs,
    init: Init,
    settings: &Settings,
) -> Result<Vec<String>, Report> {
    let mut notes = Vec::new();
    let people = settings.given.logins.with_keys();
    if !is_there(rootfs) {
        if !people.is_empty() {
            notes.push(format!(
                "the ssh keys of {} have no effect yet: the root file system has no ssh server; install openssh-server (on Alpine openssh) in the Dockerfile",
                people.join(", ")
            ));
        }
        return Ok(notes);
    }
    notes.extend(own_host_keys(rootfs, init, settings)?);
    if people.is_empty() {
        return Ok(notes);
    }
    if people.contains(&"root") {
        notes.extend(let_root_in(rootfs)?);
    }
    let services: &[(&str, &str)] = match init {
        Init::Systemd => &[
            ("ssh.socket", "sockets.target"),
            ("ssh.service", "multi-user.target"),
            ("sshd.service", "multi-user.target"),
        ],
        _ => &[("sshd", "default")],
    };
    // Any existing way of starting it is fine.
    let on = services
        .iter()
        .any(|(name, _)| units::is_enabled(rootfs, init, name));
    if !on {
        let mut enabled = false;
        for (name, at) in services
            .iter()
            .filter(|(name, _)| !name.ends_with("socket"))
        {
            enabled = enabled || units::enable(rootfs, init, name, at)?;
        }
        if !enabled {
            notes.push("nothing in this root file system starts its ssh server".into());
        }
    }
    Ok(notes)
}

/// Machines must not share a host key: the owner of one could impersonate the other.
fn own_host_keys(
    rootfs: &mut Rootfs,
    init: Init,
    settings: &Settings,
) -> Result<Option<String>, Report> {
    let keys: Vec<String> = rootfs
        .tree
        .entries("/etc/ssh")
        .map(|(name, _)| name)
        .filter(|name| name.starts_with("ssh_host_"))
        .filter(|name| name.ends_with("_key") || name.ends_with("_key.pub"))
        .map(|name| format!("/etc/ssh/{name}"))
        // Keys in files/ are intentional.
        .filter(|path| !settings.given.overlay.has(path))
        .collect();
    for key in keys {
        rootfs.tree.remove(&key);
    }
    if init == Init::Systemd {
        let epoch = rootfs.epoch;
        let file = format!("/etc/systemd/system/{KEYS_UNIT}");
        rootfs
            .tree
            .write(&file, KEYS_TEXT.as_bytes(), 0o644, epoch)
            .map_err(edit)?;
        units::enable(rootfs, init, KEYS_UNIT, "multi-user.target")?;
        return Ok(None);
    }
    // The script of OpenRC's distributions creates missing keys itself.
    let makes_them = read(rootfs, "/etc/init.d/sshd")?.contains("ssh-keygen");
    Ok((!makes_them).then(|| {
        "the ssh server's keys were removed, because machines must not share them: run `ssh-keygen -A` when the machine starts".into()
    }))
}

/// Lets root log in with a key, but never with a password.
fn let_root_in(rootfs: &mut Rootfs) -> Result<Option<String>, Report> {
    const DIR: &str = "/etc/ssh/sshd_config.d";
    let config = read(rootfs, "/etc/ssh/sshd_config")?;
    let setting = |line: &str| {
        let mut words = line.split_whitespace().map(str::to_ascii_lowercase);
        Some((words.next()?, words.next()?))
    };
    let mut settings = config.lines().filter_map(setting);
    let includes = |(key, value): (String, String)| key == "include" && value.starts_with(DIR);
    if config.lines().filter_map(setting).any(includes) {
        let epoch = rootfs.epoch;
        // sshd uses the first value that it reads for each setting.
        rootfs
            .tree
            .write(
                &format!("{DIR}/00-docker-to-linux.conf"),
                &b"# Written by docker-to-linux: root has a key.\nPermitRootLogin prohibit-password\n"[..],
                0o644,
                epoch,
            )
            .map_err(edit)?;
        return Ok(None);
    }
    // Without the line this is sshd's default.
    let other = settings.find(|(key, _)| key == "permitrootlogin");
    Ok(other.filter(|(_, value)| value == "no").map(|_| {
        format!(
            "root's ssh key has no effect: /etc/ssh/sshd_config says PermitRootLogin no, and it does not read {DIR}"
        )
    }))
}
