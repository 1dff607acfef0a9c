//! A command that must be process 1 runs as process 1 of its own PID namespace.
//!
//! unshare(1) of util-linux and of busybox support this with the same options. Both keep running
//! next to the command, wait for it and exit with its status, but neither passes signals on:
//! [`PROCESS_ONE`] sends the stop signal to the command itself.

use super::super::{Report, Rootfs};
use super::program::base;
use super::{Account, PROCESS_ONE, write};

const TEXT: &str = include_str!("../files/process-1.sh");

/// The words that start the command after them as process 1, as the service's user. Fails if the
/// root file system lacks the programs.
pub(super) fn start(rootfs: &Rootfs, program: &str, account: &Account) -> Result<String, Report> {
    let tool = |name: &str| {
        let places = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"].map(|dir| format!("{dir}/{name}"));
        places
            .into_iter()
            .find(|p| rootfs.tree.resolve(p).is_some())
    };
    let missing = |tool: &str| {
        Report::mistake(format!(
            "the container's command starts {program}, which must be process 1, but the root file system has no suitable {tool}"
        ))
        .hint("install util-linux (on Alpine: util-linux-misc and setpriv) in its Dockerfile, or use --service off")
    };
    let unshare = tool("unshare").ok_or_else(|| missing("unshare"))?;
    let mut words = format!("{unshare} --mount-proc --mount --pid -f");
    if !account.is_root() {
        // busybox's setpriv(1) cannot change the user.
        let setpriv = tool("setpriv").filter(|p| {
            let real = rootfs.tree.canonical(p);
            real.is_some_and(|real| base(&real) != "busybox")
        });
        let setpriv = setpriv.ok_or_else(|| missing("setpriv"))?;
        let groups = match account.known.0 {
            true => "--init-groups",
            false => "--clear-groups",
        };
        let Account { uid, gid, .. } = account;
        words.push_str(&format!(" {setpriv} --reuid={uid} --regid={gid} {groups}"));
    }
    Ok(words)
}

/// Adds the script that asks the command to end.
pub(super) fn add(rootfs: &mut Rootfs) -> Result<(), Report> {
    write(rootfs, PROCESS_ONE, TEXT.into(), 0o755)
}
