//! The container's command as a service of the machine.
//!
//! All quoting is done in one place: a small shell script, [`LAUNCHER`], holds the environment and
//! the arguments in single quotes and starts the command like an engine. The systemd unit or the
//! OpenRC script only calls it.

mod account;
mod environment;
mod health;
mod hosted;
mod launcher;
mod nature;
mod openrc;
mod packages;
mod process_one;
mod program;
mod rivals;
mod systemd;
#[cfg(test)]
mod tests;

use super::{Init, Report, Rootfs, edit};
use crate::plan::{Container, Restart};
use crate::shell::command_line;
use account::Account;
pub(super) use hosted::add as host;
use nature::Nature;
use program::Finder;

/// Name of the service.
pub const NAME: &str = "container";
/// The script that starts the command.
pub const LAUNCHER: &str = "/usr/lib/docker-to-linux/service";
/// The script of the image's health check, if it has one. It exits with 0 if the service is
/// healthy.
pub const HEALTHCHECK: &str = "/usr/lib/docker-to-linux/healthcheck";
/// The script that stops a command in its own PID namespace.
const PROCESS_ONE: &str = "/usr/lib/docker-to-linux/process-1";
/// The script that copies the command's output to the log and the console.
const CONSOLE: &str = "/usr/lib/docker-to-linux/console";

/// The path of the machine's init, which a kernel argument may set.
pub(super) fn own_init(kernel_arguments: &[String]) -> String {
    let mut named = kernel_arguments.iter().rev();
    let named = named.find_map(|a| a.strip_prefix("init="));
    named.unwrap_or("/sbin/init").to_owned()
}

/// Disables the units and services that conflict with the container's command. Returns a note with
/// their names. Runs before the network manager is chosen, so that a disabled one is not chosen.
pub(super) fn disable_rivals(
    rootfs: &mut Rootfs,
    init: Init,
    container: &Container,
    own_init: &str,
) -> Result<Option<String>, Report> {
    let finder = Finder::new(rootfs, container);
    let nature = nature::of(finder, &container.command, own_init);
    if container.restart.is_none() || matches!(nature, Nature::Init(_)) {
        return Ok(None);
    }
    rivals::disable(rootfs, init, container)
}

/// How the command is started.
struct How<'a> {
    account: &'a Account,
    restart: Restart,
    way: Way,
}

/// Who gives the command its user and what else it needs.
enum Way {
    /// The service manager.
    Service,
    /// These words before the launcher, which make it process 1 of a PID namespace, as the service's
    /// user. The service itself runs as root.
    ProcessOne(String),
    /// The launcher. The service itself runs as root.
    Launcher,
}

/// Makes the container's command a service, adds its environment to login shells, and creates its
/// folders. Returns notes for the user.
pub(super) fn add(
    rootfs: &mut Rootfs,
    init: Init,
    container: &Container,
    own_init: &str,
) -> Result<Vec<String>, Report> {
    let mut notes = Vec::new();
    folders(rootfs, container)?;
    environment::add(rootfs, &container.env)?;
    let account = account::of(rootfs.whole(), container.user.as_deref())?;
    if let Some(check) = &container.healthcheck {
        let text = launcher::script(
            "Tells whether the service is well.",
            container,
            check,
            &account,
        );
        write(rootfs, HEALTHCHECK, text, 0o755)?;
    }
    let Some(restart) = container.restart else {
        return Ok(notes);
    };
    let finder = Finder::new(rootfs, container);
    let way = match nature::of(finder, &container.command, own_init) {
        Nature::Application => {
            notes.extend(no_program(finder, &container.command));
            Way::Service
        }
        Nature::Init(program) => {
            notes.push(format!(
                "no service for the container's command ({}): it starts {program}, but the machine has its own init, which starts the enabled units and services",
                command_line(container.command.iter().map(String::as_str)),
            ));
            return Ok(notes);
        }
        Nature::ProcessOne(program) => {
            let start = process_one::start(rootfs, &program, &account)?;
            process_one::add(rootfs)?;
            notes.push(format!(
                "{program} of the container's command must be process 1, so the service runs in its own PID namespace"
            ));
            Way::ProcessOne(start)
        }
    };
    let how = How {
        account: &account,
        restart,
        way,
    };
    let what = "Starts what the container would start.";
    let text = launcher::script(what, container, &container.command, &account);
    match init {
        Init::Systemd => {
            systemd::add(rootfs, container, &how)?;
        }
        Init::OpenRc => {
            account::add_missing(rootfs, &account)?;
            openrc::add(rootfs, container, &how)?;
        }
        Init::Other => {
            notes.push(format!(
                "the init of this root file system is neither systemd nor OpenRC: let it start {LAUNCHER}, which starts the container's command"
            ));
        }
    }
    write(rootfs, LAUNCHER, text, 0o755)?;
    low_ports(rootfs, container, &account)?;
    Ok(notes)
}

/// The note about a command whose program, or its interpreter, does not exist: the service would
/// fail at every start.
fn no_program(finder: Finder<'_>, command: &[String]) -> Option<String> {
    let word = command.first()?;
    if let Some(program) = finder.find(word) {
        let text = finder.script(&program.real)?;
        // The kernel opens it itself, without a PATH (Linux fs/binfmt_script.c).
        let line = text.split('\n').next()?.strip_prefix("#!")?;
        let interpreter = line.split([' ', '\t']).find(|word| !word.is_empty())?;
        let ends = if line.ends_with('\r') {
            "; it has Windows line endings"
        } else {
            ""
        };
        return finder.interpreter(interpreter).is_none().then(|| {
            format!(
                "the container's command starts the script {word:?}, whose interpreter {interpreter:?} is not an executable file in the root file system{ends}, so the service cannot start; install it, or fix the script's first line"
            )
        });
    }
    Some(format!(
        "the container's command starts {word:?}, which is not an executable file in the root file system, so the service cannot start; fix CMD or ENTRYPOINT in its Dockerfile"
    ))
}

/// The folders that an engine creates together with a container.
fn folders(rootfs: &mut Rootfs, container: &Container) -> Result<(), Report> {
    let epoch = rootfs.epoch;
    for dir in container.volumes.iter().chain([&container.working_dir]) {
        if rootfs.tree.resolve(dir).is_none() {
            rootfs.tree.mkdir(dir, 0o755, epoch).map_err(edit)?;
        }
    }
    Ok(())
}

/// In engines every user can listen on every port, so images with other users than root rely on it.
fn low_ports(rootfs: &mut Rootfs, container: &Container, account: &Account) -> Result<(), Report> {
    // For a range such as `8000-8010/tcp`, the first port counts.
    let low = |port: &String| {
        let digits: String = port.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u32>().is_ok_and(|n| n < 1024)
    };
    if account.uid == 0 || !container.exposed_ports.iter().any(low) {
        return Ok(());
    }
    let text = "# Written by docker-to-linux: the container's service is not root and listens at a\n\
                # port below 1024, which container engines allow.\n\
                net.ipv4.ip_unprivileged_port_start = 0\n";
    write(
        rootfs,
        "/etc/sysctl.d/80-container.conf",
        text.into(),
        0o644,
    )
}

fn write(rootfs: &mut Rootfs, path: &str, text: String, mode: u16) -> Result<(), Report> {
    let epoch = rootfs.epoch;
    rootfs
        .tree
        .write(path, text.into_bytes(), mode, epoch)
        .map_err(edit)?;
    Ok(())
}
