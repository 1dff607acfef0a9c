//! The service as a systemd unit.

use super::super::{Report, Rootfs, edit};
use super::{Account, CONSOLE, How, LAUNCHER, NAME, PROCESS_ONE, Way, write};
use crate::plan::{Container, Restart};

const DIR: &str = "/etc/systemd/system";
const CONSOLE_TEXT: &str = include_str!("../files/console-systemd.sh");

pub(super) fn add(rootfs: &mut Rootfs, container: &Container, how: &How<'_>) -> Result<(), Report> {
    let epoch = rootfs.epoch;
    write(rootfs, CONSOLE, CONSOLE_TEXT.into(), 0o755)?;
    let path = format!("{DIR}/{NAME}.service");
    write(rootfs, &path, unit(container, how), 0o644)?;
    let link = format!("{DIR}/multi-user.target.wants/{NAME}.service");
    rootfs
        .tree
        .symlink(&link, &format!("../{NAME}.service"), epoch)
        .map_err(edit)?;
    Ok(())
}

/// The unit (systemd.service(5), systemd.exec(5), systemd.kill(5)). Like engines, it sends the stop
/// signal only to the command, and kills what is left once that has ended.
fn unit(container: &Container, how: &How<'_>) -> String {
    let restart = match how.restart {
        Restart::OnFailure => "on-failure",
        Restart::Always => "always",
    };
    let Account { uid, gid, .. } = how.account;
    let (signal, mut start, mut stop) = (container.stop_signal, LAUNCHER.to_owned(), String::new());
    let mut kill = signal.to_string();
    let seconds = container.stop_seconds;
    let user = match &how.way {
        Way::ProcessOne(words) => {
            start = format!("{words} {LAUNCHER}");
            let number = signal.number();
            stop = format!("ExecStop=-{PROCESS_ONE} ${{MAINPID}} {number} {seconds}\n");
            // ExecStop= sends the stop signal. What remains afterwards ignored it.
            kill = "SIGKILL".to_owned();
            // Only root can create namespaces.
            format!("Environment=CONSOLE_OWNER={uid}:{gid}\n")
        }
        // The launcher makes a control group of the container's own. Engines neither count its
        // processes nor end all of them when the kernel had to kill one.
        Way::Launcher => format!(
            "Environment=CONSOLE_OWNER={uid}:{gid}\nDelegate=yes\nTasksMax=infinity\nOOMPolicy=continue\n"
        ),
        Way::Service if how.account.is_root() => String::new(),
        Way::Service => format!("User={uid}\nGroup={gid}\n"),
    };
    format!(
        "# Written by docker-to-linux: the container's command.\n\
         [Unit]\n\
         Description=Command of the container\n\
         Wants=network-online.target\n\
         After=network-online.target\n\
         # It is tried again for ever.\n\
         StartLimitIntervalSec=0\n\
         \n\
         [Service]\n\
         ExecStart={CONSOLE} {start}\n\
         {stop}\
         ExecStopPost=-{CONSOLE} --drain\n\
         {user}\
         RuntimeDirectory=container\n\
         RuntimeDirectoryMode=0700\n\
         StandardOutput=journal+console\n\
         SyslogIdentifier={NAME}\n\
         KillMode=mixed\n\
         KillSignal={kill}\n\
         TimeoutStopSec={seconds}\n\
         Restart={restart}\n\
         RestartSec=2\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n"
    )
}
