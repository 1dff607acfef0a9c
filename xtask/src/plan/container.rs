//! What a machine keeps of its container: the command as a service, and its settings.

use super::Signal;
use crate::error::Report;
use crate::model::{Join, Service};
use crate::rootfs::oci::{Config, Schedule};
use serde::Serialize;

/// The folder of a machine that holds the whole tree of a hosted container. The machine's own
/// programs must not look at it as if it were theirs.
pub const HOSTED_ROOT: &str = "/var/lib/container/root";

/// What a machine keeps of its container. The environment is not serialised because images keep
/// secrets in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Container {
    /// The folder with the container's tree, in which its command runs: [`HOSTED_ROOT`]. `None` if
    /// the container's system is the machine's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// When the command is restarted. `None` if the machine does not start it at all.
    pub restart: Option<Restart>,
    /// Entry point and arguments.
    pub command: Vec<String>,
    /// Environment variables: names and values.
    #[serde(skip)]
    pub env: Vec<(String, String)>,
    /// `NAME`, `UID`, `NAME:GROUP` etc. as in the image. `None` for root.
    pub user: Option<String>,
    /// The working directory of the command.
    pub working_dir: String,
    /// The signal that asks the command to stop.
    pub stop_signal: Signal,
    /// The ports that it listens on, e.g. `80/tcp`.
    pub exposed_ports: Vec<String>,
    /// The folders that hold its data.
    pub volumes: Vec<String>,
    /// The command that checks whether it is healthy.
    pub healthcheck: Option<Vec<String>>,
    /// When that command runs, if a service runs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_schedule: Option<Schedule>,
    /// How long the command may take to stop, in seconds.
    pub stop_seconds: u32,
    /// Whether a hosted command may do everything that root may.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub privileged: bool,
}

/// When a service is restarted after it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// If it failed.
    OnFailure,
    /// Always.
    Always,
}

/// How long a command may take to stop if the image does not say, in seconds. Engines give it 10, a
/// machine that is turned off has more time.
const STOP_SECONDS: u32 = 30;

/// The image's configuration, and how the image was obtained.
#[derive(Debug, Clone, Default)]
pub struct ContainerFacts {
    /// The configuration of the image. `None` if there is only a root file system.
    pub config: Option<Config>,
    /// Whether the image was given to become a machine (`--container`). Its command then becomes a
    /// service unless the recipe says otherwise. A recipe's own image gets one only if the recipe
    /// asks for it.
    pub given: bool,
    /// How the container becomes part of the machine. `None` if there is no container, only a root
    /// file system.
    pub join: Option<Join>,
    /// Whether a hosted command may do everything that root may.
    pub privileged: bool,
}

/// Variables that tell programs that they run in a container (systemd's CONTAINER_INTERFACE). The
/// machine removes them, because there it is not true, unless it hosts the container.
const OF_A_CONTAINER: [&str; 2] = ["container", "container_uuid"];

/// Decides what the machine keeps. Returns notes for the user as well.
pub(super) fn container(
    facts: &ContainerFacts,
    wanted: Option<Service>,
) -> Result<(Option<Container>, Vec<String>), Report> {
    let mut notes = Vec::new();
    let wanted = match (wanted, facts.given) {
        (Some(wanted), _) => wanted,
        (None, true) => Service::Auto,
        (None, false) => return Ok((None, notes)),
    };
    let Some(config) = &facts.config else {
        return if wanted == Service::Off {
            Ok((None, notes))
        } else {
            Err(Report::mistake(
                "a service was requested, but a plain root file system has no container command",
            )
            .hint("use an image: `docker save IMAGE | cargo xtask image RECIPE --from -`, or leave --service out"))
        };
    };
    if wanted == Service::Off && !facts.given {
        return Ok((None, notes));
    }
    let command = config.command();
    let restart = match wanted {
        Service::Off => None,
        _ if command.is_empty() => {
            notes.push("the container has no command, so there is no service".to_owned());
            None
        }
        _ if is_shell(&command) => {
            notes.push(format!(
                "the container's command is the shell {}, which needs a terminal, so there is no service",
                command.join(" ")
            ));
            None
        }
        Service::Auto => Some(Restart::OnFailure),
        Service::Always => Some(Restart::Always),
    };
    let hosted = facts.join == Some(Join::Hosted);
    let env: Vec<(String, String)> = config
        .env()
        .into_iter()
        .filter(|(name, _)| hosted || !OF_A_CONTAINER.contains(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let healthcheck = config.healthcheck();
    let hosted_check = hosted && healthcheck.is_some();
    let working_dir = config.working_dir();
    let env_texts = env.iter().flat_map(|(name, value)| [name, value]);
    let texts = command.iter().chain(healthcheck.iter().flatten());
    if texts
        .chain(env_texts)
        .chain([&working_dir])
        .any(|t| t.contains('\0'))
    {
        return Err(Report::mistake(
            "the container's configuration contains a NUL byte, which no process argument or variable can hold",
        )
        .hint("rebuild the container image without it"));
    }
    let container = Container {
        root: hosted.then(|| HOSTED_ROOT.to_owned()),
        restart,
        command,
        env,
        user: config.user().map(str::to_owned),
        working_dir,
        stop_signal: match config.stop_signal() {
            None => Signal::TERM,
            // The signal is never used in this case.
            Some(text) if wanted == Service::Off => Signal::parse(text).unwrap_or(Signal::TERM),
            Some(text) => Signal::parse(text).ok_or_else(|| {
                Report::mistake(format!(
                    "the container's stop signal {text:?} is not a Linux signal"
                ))
                .hint("fix STOPSIGNAL in its Dockerfile, e.g. STOPSIGNAL SIGTERM, or use --service off")
            })?,
        },
        exposed_ports: config.ports(),
        volumes: config.volumes(),
        healthcheck,
        health_schedule: hosted_check.then(|| config.schedule()),
        stop_seconds: config.stop_timeout().unwrap_or(STOP_SECONDS),
        privileged: hosted && facts.privileged,
    };
    Ok((Some(container), notes))
}

/// Whether a command only waits for input on a terminal, as in base images.
fn is_shell(command: &[String]) -> bool {
    const SHELLS: [&str; 6] = ["sh", "bash", "ash", "dash", "zsh", "busybox"];
    match command {
        [one] => SHELLS.contains(&one.rsplit('/').next().unwrap_or_default()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn facts(json: &str, given: bool) -> ContainerFacts {
        ContainerFacts {
            config: Some(serde_json::from_str(json).unwrap()),
            given,
            join: None,
            privileged: false,
        }
    }

    #[test]
    fn who_gets_a_service() {
        let nginx = r#"{"Cmd": ["nginx", "-g", "daemon off;"], "StopSignal": "quit"}"#;
        let kept = |given, wanted| {
            let (c, _) = container(&facts(nginx, given), wanted).unwrap();
            c.map(|c| c.restart)
        };
        assert_eq!(kept(true, None), Some(Some(Restart::OnFailure)));
        assert_eq!(kept(true, Some(Service::Off)), Some(None));
        assert_eq!(kept(false, None), None);
        assert_eq!(kept(false, Some(Service::Off)), None);
        let always = Some(Some(Restart::Always));
        assert_eq!(kept(false, Some(Service::Always)), always);
        let (c, _) = container(&facts(nginx, true), None).unwrap();
        assert_eq!(c.unwrap().stop_signal.number(), 3);
        let env = r#"{"Env": ["container=docker", "container_name=x"]}"#;
        let (c, _) = container(&facts(env, true), None).unwrap();
        let kept = [("container_name".to_owned(), "x".to_owned())];
        assert_eq!(c.unwrap().env, kept);
    }

    #[test]
    fn a_shell_or_nothing_is_no_service() {
        for json in [r#"{"Cmd": ["/bin/bash"]}"#, r#"{"Cmd": ["sh"]}"#, "{}"] {
            let (c, notes) = container(&facts(json, true), None).unwrap();
            assert_eq!(c.unwrap().restart, None, "{json}");
            assert_eq!(notes.len(), 1, "{json}");
        }
        let (c, _) = container(&facts(r#"{"Cmd": ["sh", "/run.sh"]}"#, true), None).unwrap();
        assert!(c.unwrap().restart.is_some());
    }

    #[test]
    fn what_cannot_be_is_a_mistake() {
        let none = ContainerFacts::default();
        let e = container(&none, Some(Service::Auto)).unwrap_err();
        assert!(e.message.contains("has no container command"), "{e}");
        assert_eq!(container(&none, None).unwrap().0, None);
        let foo = facts(r#"{"StopSignal": "SIGFOO"}"#, true);
        let e = container(&foo, None).unwrap_err();
        assert!(
            e.message.contains("\"SIGFOO\" is not a Linux signal"),
            "{e}"
        );
        // Nobody sends it.
        assert!(container(&foo, Some(Service::Off)).is_ok());
        assert!(container(&facts(r#"{"Cmd": ["a\u0000b"]}"#, true), None).is_err());
        let e = container(&facts(r#"{"Env": ["A=\u0000"]}"#, true), None).unwrap_err();
        assert!(e.message.contains("NUL"), "{e}");
    }
}
