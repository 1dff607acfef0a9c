//! The command of a container whose tree lies in a folder of the machine, as a service that is
//! confined to that folder.
//!
//! `container-run`, a program of the machine (`recipes/machine`), does what a container engine does
//! before it starts a command. Both inits only start it, so the command finds the same under both.

use super::super::{Init, Report, Rootfs};
use super::nature::{self, Nature};
use super::{
    Account, Finder, HEALTHCHECK, How, LAUNCHER, Way, account, health, launcher, no_program,
    openrc, systemd, write,
};
use crate::plan::{Container, Signal};
use crate::shell::quote;

/// The program of the machine that runs a command as engines do.
const RUN: &str = "/usr/lib/docker-to-linux/container-run";
/// The script with which people run a command in the container.
const ENTER: &str = "/usr/lib/docker-to-linux/enter";

/// What engines set in the network of a container (moby, daemon/daemon_unix.go, `defaultSysctls`).
const SYSCTL: &str = "/etc/sysctl.d/80-container.conf";
const SETTINGS: &str = "# Written by docker-to-linux: container engines allow every user to listen at ports\n\
    # below 1024, and to send echo requests.\n\
    net.ipv4.ip_unprivileged_port_start = 0\n\
    net.ipv4.ping_group_range = 0 2147483647\n";

/// Makes the command a service of the machine. `root` is the folder with the container's tree.
/// Returns notes for the user.
pub(in crate::guest) fn add(
    rootfs: &mut Rootfs,
    init: Init,
    container: &Container,
    root: &str,
    own_init: &str,
) -> Result<Vec<String>, Report> {
    let mut notes = Vec::new();
    let Some(inside) = rootfs.inside(root) else {
        return Err(Report::failure(format!(
            "the container's files are not in {root}"
        )));
    };
    let account = account::of(inside, container.user.as_deref())?;
    let Some(restart) = container.restart else {
        return Ok(notes);
    };
    if rootfs.tree.resolve(RUN).is_none() {
        return Err(Report::mistake(format!(
            "the machine has no {RUN}, which runs the command of a container"
        ))
        .hint("build the machine again: `cargo xtask machine build`"));
    }
    let finder = Finder::new(rootfs, container);
    let first = first(finder, container, own_init);
    if let Some(text) = no_program(finder, &container.command) {
        if !may_come(container) {
            return Err(Report::mistake(text));
        }
        notes.push(format!("{text}, unless a volume brings it"));
    }
    let mut container = container.clone();
    if first == First::Systemd {
        // Others than podman's users rarely say it, and SIGTERM makes systemd start itself again.
        if container.stop_signal == Signal::TERM {
            container.stop_signal = Signal::parse("RTMIN+3").unwrap_or(Signal::TERM);
        }
        let marked = container.env.iter().any(|(name, _)| name == "container");
        if !marked {
            let mark = ("container".to_owned(), "docker-to-linux".to_owned());
            container.env.push(mark);
        }
    }
    let how = How {
        account: &account,
        restart,
        way: Way::Launcher,
    };
    match init {
        Init::Systemd => systemd::add(rootfs, &container, &how)?,
        Init::OpenRc => openrc::add(rootfs, &container, &how)?,
        Init::Other => {
            return Err(Report::mistake(
                "the machine's init is neither systemd nor OpenRC, so it cannot start the container",
            )
            .hint("use one of the machines that `cargo xtask machine list` shows"));
        }
    }
    scripts(rootfs, &container, &account, root, first)?;
    if let Some(schedule) = container.health_schedule {
        health::add(rootfs, init, schedule)?;
    }
    // Its programs may be setuid, and are not for the users of the machine.
    if let Some((above, _)) = root.rsplit_once('/')
        && let Some(id) = rootfs.tree.resolve(above)
    {
        rootfs.tree.node_mut(id).meta.mode = 0o700;
    }
    write(rootfs, SYSCTL, SETTINGS.into(), 0o644)?;
    Ok(notes)
}

/// How the command is process 1 of the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    /// It is the child of a process 1 that takes care of what others leave behind.
    Reaped,
    /// It is process 1 itself.
    Itself,
    /// The same, and it is systemd.
    Systemd,
}

fn first(finder: Finder<'_>, container: &Container, own_init: &str) -> First {
    match nature::of(finder, &container.command, own_init) {
        Nature::Init(path) if nature::is_systemd(finder, &path) => First::Systemd,
        Nature::Init(_) | Nature::ProcessOne(_) => First::Itself,
        Nature::Application if nature::reaps(finder, &container.command) => First::Itself,
        Nature::Application => First::Reaped,
    }
}

/// Whether the command's program may be in a volume, which is not seen before the machine runs.
fn may_come(container: &Container) -> bool {
    let word = container.command.first().map_or("", String::as_str);
    let mut dirs = vec![container.working_dir.as_str()];
    if word.starts_with('/') {
        dirs = vec![word];
    } else if !word.contains('/') {
        let path = container.env.iter().rev().find(|(name, _)| name == "PATH");
        dirs = path
            .map_or(launcher::PATH, |(_, path)| path)
            .split(':')
            .collect();
    }
    let covers = |volume: &String| {
        let volume = camino::Utf8Path::new(volume);
        dirs.iter()
            .any(|dir| camino::Utf8Path::new(dir).starts_with(volume))
    };
    container.volumes.iter().any(covers)
}

/// The scripts that start something in the container. Only root can run them, and only root can read
/// them: images keep secrets in their environment.
fn scripts(
    rootfs: &mut Rootfs,
    container: &Container,
    account: &Account,
    root: &str,
    first: First,
) -> Result<(), Report> {
    const MODE: u16 = 0o700;
    let user = user(account);
    let common = |user: &str| {
        let mut words = format!(
            " \\\n    --user {user} --cwd {}",
            quote(&container.working_dir)
        );
        if container.privileged {
            words.push_str(" --privileged");
        }
        words
    };
    let environment = launcher::environment(container, account);
    let head = |what: &str| format!("#!/bin/sh\n# Written by docker-to-linux. {what}\n");
    let mut text = head("Starts what the container would start.");
    text.push_str(&format!(
        "{environment} \\\n    {RUN} --root {}",
        quote(root)
    ));
    text.push_str(match first {
        First::Reaped => "",
        First::Itself => " --process-1",
        First::Systemd => " --process-1 --systemd",
    });
    for volume in &container.volumes {
        text.push_str(&format!(" \\\n    --folder {}", quote(volume)));
    }
    text.push_str(&common(&user));
    text.push_str(" --");
    text.push_str(&launcher::words(&container.command));
    text.push('\n');
    write(rootfs, LAUNCHER, text, MODE)?;

    let join = format!("{environment} ${{term:+\"$term\"}} \\\n    {RUN} --join");
    let mut text = head("Runs a command in the container, by default a shell.");
    text.push_str(&format!(
        "#\n#   enter [-u UID[:GID]] [COMMAND [ARGUMENT...]]\nuser={user}\n\
         if [ \"$1\" = -u ]; then\n    user=$2\n    shift 2\nfi\n\
         [ $# -gt 0 ] || set -- /bin/sh\n\
         term=''\n[ ! -t 0 ] || term=\"TERM=$TERM\"\n{join}{} -- \"$@\"\n",
        common("\"$user\"")
    ));
    write(rootfs, ENTER, text, MODE)?;

    if let Some(check) = &container.healthcheck {
        let mut text = head("Tells whether the service is well.");
        text.push_str(&format!(
            "{environment} \\\n    {RUN} --join{} --",
            common(&user)
        ));
        text.push_str(&launcher::words(check));
        text.push('\n');
        write(rootfs, HEALTHCHECK, text, MODE)?;
    }
    Ok(())
}

/// `UID:GID` and all groups. As in engines, the user's own group is one of them.
fn user(account: &Account) -> String {
    let Account { uid, gid, .. } = account;
    let mut groups = vec![*gid];
    groups.extend(account.groups.iter().filter(|group| *group != gid));
    let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
    format!("{uid}:{gid}:{}", groups.join(","))
}
