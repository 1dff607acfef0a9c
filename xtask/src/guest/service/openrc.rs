//! The service as an OpenRC script.

use super::super::{Report, Rootfs, edit};
use super::{CONSOLE, How, LAUNCHER, NAME, PROCESS_ONE, Way, write};
use crate::plan::{Container, Signal};

const CONSOLE_TEXT: &str = include_str!("../files/console-openrc.sh");

/// Exists while the service is being stopped; `process-1.sh` checks for it.
const STOPPING: &str = "/run/container/stopping";

pub(super) fn add(rootfs: &mut Rootfs, container: &Container, how: &How<'_>) -> Result<(), Report> {
    let epoch = rootfs.epoch;
    let script = format!("/etc/init.d/{NAME}");
    write(rootfs, CONSOLE, CONSOLE_TEXT.into(), 0o755)?;
    write(rootfs, &script, text(container, how), 0o755)?;
    let link = format!("/etc/runlevels/default/{NAME}");
    rootfs.tree.symlink(&link, &script, epoch).map_err(edit)?;
    Ok(())
}

/// The script (openrc-run(8), supervise-daemon(8)). The supervisor restarts the command whenever it
/// ends.
///
/// The output goes to a named pipe that belongs to the service's user, because many commands open
/// /dev/stdout. [`CONSOLE`] reads it as root.
fn text(container: &Container, how: &How<'_>) -> String {
    let account = how.account;
    let owner = format!("{}:{}", account.uid, account.gid);
    let mut command = format!("command={LAUNCHER}\n");
    let (mut begin, mut stop_pre) = (String::new(), String::new());
    let seconds = container.stop_seconds;
    let user = match &how.way {
        Way::ProcessOne(words) => {
            command = format!("command={PROCESS_ONE}\ncommand_args=\"run {words} {LAUNCHER}\"\n");
            begin = format!("    rm -f {STOPPING}\n");
            let number = container.stop_signal.number();
            // The supervisor would send the signal to unshare(1), which does not pass it on.
            stop_pre = format!(
                "stop_pre() {{\n    touch {STOPPING}\n    {PROCESS_ONE} \"$(cat /run/{NAME}.pid 2>/dev/null)\" {number} {seconds}\n    return 0\n}}\n\n"
            );
            // Only root can create namespaces.
            String::new()
        }
        Way::Launcher => String::new(),
        Way::Service if account.is_root() => String::new(),
        Way::Service => format!("command_user={owner}\n"),
    };
    let signal = stop_signal(container.stop_signal);
    format!(
        r#"#!/sbin/openrc-run
# Written by docker-to-linux: the container's command.
description="Command of the container"
supervisor=supervise-daemon
{command}{user}pidfile=/run/{NAME}.pid
output_log=/run/container/output
error_log=/run/container/output
retry="{signal}/{seconds}/SIGKILL/5"
respawn_delay=2
respawn_max=0

depend() {{
    need localmount
    want net
    after net firewall
    use dns logger
}}

start_pre() {{
{begin}    {CONSOLE} start {owner}
}}

{stop_pre}stop_post() {{
    {CONSOLE} stop
}}
"#
    )
}

/// A signal for supervise-daemon(8)'s schedule: it knows most names, and any number after a dash; a
/// plain number means seconds. (OpenRC, src/shared/schedules.c, `parse_schedule_item` and
/// `parse_signal`.)
fn stop_signal(signal: Signal) -> String {
    match signal.name() {
        Some(name) if name != "STKFLT" => format!("SIG{name}"),
        _ => format!("-{}", signal.number()),
    }
}
