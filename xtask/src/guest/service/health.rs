//! The service that runs a hosted container's health check again and again.

use super::super::{Init, Report, Rootfs, edit};
use super::write;
use crate::rootfs::oci::Schedule;

const SCRIPT: &str = "/usr/lib/docker-to-linux/health";
const TEXT: &str = include_str!("../files/health.sh");
const NAME: &str = "container-health";

pub(super) fn add(rootfs: &mut Rootfs, init: Init, schedule: Schedule) -> Result<(), Report> {
    let Schedule {
        interval,
        timeout,
        start_period,
        start_interval,
        retries,
    } = schedule;
    let arguments = format!("{interval} {timeout} {start_period} {start_interval} {retries}");
    write(rootfs, SCRIPT, TEXT.into(), 0o755)?;
    let (file, text, mode, link) = match init {
        Init::Systemd => (
            format!("/etc/systemd/system/{NAME}.service"),
            format!(
                "# Written by docker-to-linux: the container's health check.\n\
                 [Unit]\n\
                 Description=Health of the container\n\
                 After=container.service\n\
                 \n\
                 [Service]\n\
                 ExecStart={SCRIPT} {arguments}\n\
                 Restart=on-failure\n\
                 \n\
                 [Install]\n\
                 WantedBy=multi-user.target\n"
            ),
            0o644,
            format!("/etc/systemd/system/multi-user.target.wants/{NAME}.service"),
        ),
        Init::OpenRc | Init::Other => (
            format!("/etc/init.d/{NAME}"),
            format!(
                r#"#!/sbin/openrc-run
# Written by docker-to-linux: the container's health check.
description="Health of the container"
supervisor=supervise-daemon
command={SCRIPT}
command_args="{arguments}"
pidfile=/run/{NAME}.pid

depend() {{
    after container
}}
"#
            ),
            0o755,
            format!("/etc/runlevels/default/{NAME}"),
        ),
    };
    write(rootfs, &file, text, mode)?;
    let epoch = rootfs.epoch;
    rootfs.tree.symlink(&link, &file, epoch).map_err(edit)?;
    Ok(())
}
