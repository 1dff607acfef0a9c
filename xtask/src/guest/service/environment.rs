//! The container's environment in login shells, like in `docker exec`.

use super::super::{Report, Rootfs, read, rewrite};
use super::write;
use crate::shell::quote;

/// Variables that a login sets for each user.
const OF_THE_LOGIN: [&str; 8] = [
    "HOME", "HOSTNAME", "LOGNAME", "MAIL", "PWD", "SHELL", "TERM", "USER",
];

const PROFILE: &str = "/etc/profile.d/container.sh";
const ENVIRONMENT: &str = "/etc/environment";

pub(super) fn add(rootfs: &mut Rootfs, env: &[(String, String)]) -> Result<(), Report> {
    let mut shell = String::new();
    let mut pam = String::new();
    for (name, value) in env {
        if !is_variable(name) || OF_THE_LOGIN.contains(&name.as_str()) {
            continue;
        }
        shell.push_str(&format!("export {name}={}\n", quote(value)));
        if is_plain(value) {
            pam.push_str(&format!("{name}={value}\n"));
        }
    }
    if shell.is_empty() {
        return Ok(());
    }
    const SAYS: &str = "# Written by docker-to-linux: the environment of the container.\n";
    write(rootfs, PROFILE, format!("{SAYS}{shell}"), 0o644)?;
    // Read by pam_env(8), which supports neither quotes in a value nor escapes. It covers sessions
    // without a login shell, e.g. a command run with ssh.
    if rootfs.tree.resolve("/etc/pam.d").is_some() && !pam.is_empty() {
        let mut text = read(rootfs, ENVIRONMENT)?;
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        rewrite(rootfs, ENVIRONMENT, format!("{text}{SAYS}{pam}"))?;
    }
    Ok(())
}

/// Whether a shell can have a variable with this name (POSIX, "Name").
fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether pam_env(8) reads a value unchanged.
fn is_plain(value: &str) -> bool {
    let special = |c: char| c.is_control() || "#\\\"'".contains(c);
    !value.is_empty() && value.len() < 512 && value.trim() == value && !value.contains(special)
}
