//! The container configuration of an image: the command and what it needs.

use serde::Deserialize;
use std::collections::BTreeMap;

/// The `config` of an image (OCI image specification, config.md, "Properties"). `docker image
/// inspect` prints the same object as `Config`. Every member may be missing or `null`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Config {
    user: Option<String>,
    exposed_ports: Option<BTreeMap<String, serde_json::Value>>,
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    volumes: Option<BTreeMap<String, serde_json::Value>>,
    working_dir: Option<String>,
    stop_signal: Option<String>,
    healthcheck: Option<Box<Healthcheck>>,
    stop_timeout: Option<Box<serde_json::Value>>,
    // An extension of Docker, like the one above.
    on_build: Option<Vec<String>>,
    shell: Option<Vec<String>>,
    labels: Option<BTreeMap<String, String>>,
}

/// The `HEALTHCHECK` of a Dockerfile. It is not part of OCI, but of Docker and podman.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Healthcheck {
    test: Option<Vec<String>>,
    // In nanoseconds. Nothing but the test matters to other readers of the image, so any value is
    // read.
    interval: serde_json::Value,
    timeout: serde_json::Value,
    start_period: serde_json::Value,
    start_interval: serde_json::Value,
    retries: serde_json::Value,
}

/// When a health check runs, and when it counts. Defaults of Docker where the image says nothing
/// (Dockerfile reference, "HEALTHCHECK").
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Schedule {
    /// Time between two checks, in seconds.
    pub interval: u32,
    /// Time after which a check has failed, in seconds.
    pub timeout: u32,
    /// Time after the start in which a failure does not count, in seconds.
    pub start_period: u32,
    /// Time between two checks in that period, in seconds.
    pub start_interval: u32,
    /// The number of failures after which the container is not healthy.
    pub retries: u32,
}

impl Config {
    /// Names and values of all labels.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.labels.iter().flatten();
        all.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The whole command: entry point and arguments. Empty if the image has none.
    pub fn command(&self) -> Vec<String> {
        let parts = [&self.entrypoint, &self.cmd];
        parts.into_iter().flatten().flatten().cloned().collect()
    }

    /// The same configuration with another entry point or command. As in engines, a new entry point
    /// does not get the image's command as arguments (docker-run(1), "--entrypoint").
    pub fn started_by(mut self, entrypoint: Option<&[String]>, cmd: Option<&[String]>) -> Config {
        if let Some(words) = entrypoint {
            self.entrypoint = Some(words.to_vec());
            self.cmd = None;
        }
        if let Some(words) = cmd {
            self.cmd = Some(words.to_vec());
        }
        self
    }

    /// The entry point, which gets every command as arguments; empty if there is none.
    pub fn entrypoint(&self) -> &[String] {
        self.entrypoint.as_deref().unwrap_or_default()
    }

    /// The command, or the entry point's arguments; empty if there are none.
    pub fn cmd(&self) -> &[String] {
        self.cmd.as_deref().unwrap_or_default()
    }

    /// Environment variables in their order; entries without `=` are left out.
    pub fn env(&self) -> Vec<(&str, &str)> {
        let all = self.env.iter().flatten();
        all.filter_map(|e| e.split_once('='))
            .filter(|(name, _)| !name.is_empty())
            .collect()
    }

    /// `NAME`, `UID`, `NAME:GROUP`, ...; `None` for root.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref().filter(|u| !u.is_empty())
    }

    /// The folder in which the command starts, as an absolute path.
    pub fn working_dir(&self) -> String {
        let dir = self.working_dir.as_deref().unwrap_or_default();
        cleaned(&format!("/{}", dir.trim_start_matches('/')))
    }

    /// The signal that stops the command, as written in the image.
    pub fn stop_signal(&self) -> Option<&str> {
        self.stop_signal.as_deref().filter(|s| !s.is_empty())
    }

    /// How long the command may take to stop, in seconds; `None` if the image does not say.
    pub fn stop_timeout(&self) -> Option<u32> {
        self.stop_timeout.as_ref()?.as_u64()?.try_into().ok()
    }

    /// The ports that the command listens on, e.g. `80/tcp`.
    pub fn ports(&self) -> Vec<String> {
        self.exposed_ports
            .iter()
            .flat_map(|p| p.keys().cloned())
            .collect()
    }

    /// The folders that contain its data.
    pub fn volumes(&self) -> Vec<String> {
        self.volumes
            .iter()
            .flat_map(|v| v.keys().map(|path| cleaned(path)))
            .collect()
    }

    /// The same folders, with the paths as written in the image.
    pub fn volume_names(&self) -> impl Iterator<Item = &str> {
        self.volumes
            .iter()
            .flat_map(|v| v.keys().map(String::as_str))
    }

    /// Instructions that builds which start from the image run (`ONBUILD`).
    pub fn triggers(&self) -> &[String] {
        self.on_build.as_deref().unwrap_or_default()
    }

    /// The shell for the `RUN` lines of builds that start from the image (`SHELL`); `None` if not
    /// specified.
    pub fn shell(&self) -> Option<&[String]> {
        self.shell.as_deref().filter(|s| !s.is_empty())
    }

    /// When the health check runs. Whole seconds, at least one.
    pub fn schedule(&self) -> Schedule {
        let none = Healthcheck::default();
        let check = self.healthcheck.as_deref().unwrap_or(&none);
        let seconds = |value: &serde_json::Value, default: u32| {
            let given = value.as_u64().filter(|n| *n > 0);
            given.map_or(default, |n| {
                n.div_ceil(1_000_000_000).try_into().unwrap_or(u32::MAX)
            })
        };
        let retries = check.retries.as_u64().filter(|n| *n > 0).unwrap_or(3);
        Schedule {
            interval: seconds(&check.interval, 30),
            timeout: seconds(&check.timeout, 30),
            start_period: seconds(&check.start_period, 0),
            start_interval: seconds(&check.start_interval, 5),
            retries: retries.try_into().unwrap_or(u32::MAX),
        }
    }

    /// The health check as a command; `None` if there is no check.
    pub fn healthcheck(&self) -> Option<Vec<String>> {
        let test = self.healthcheck.as_ref()?.test.as_deref()?;
        match test {
            [kind, command] if kind == "CMD-SHELL" => {
                Some(["/bin/sh", "-c", command].map(str::to_owned).into())
            }
            [kind, command @ ..] if kind == "CMD" && !command.is_empty() => Some(command.to_vec()),
            _ => None,
        }
    }
}

/// Removes `..` from a path as engines do: by its components, without looking at links, and never
/// above the root folder (Go, path.Clean). Other paths stay as they are.
fn cleaned(path: &str) -> String {
    if path.split('/').all(|part| part != "..") {
        return path.to_owned();
    }
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn config(json: &str) -> Config {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn null_and_nothing_are_the_same() {
        assert_eq!(config("{}"), Config::default());
        let null = r#"{"Cmd": null, "Env": null, "User": null, "Volumes": null, "Labels": null}"#;
        assert_eq!(config(null), Config::default());
        assert_eq!(Config::default().working_dir(), "/");
        assert!(Config::default().command().is_empty());
    }

    #[test]
    fn folders_lead_nowhere_else() {
        for (given, wanted) in [
            ("/srv/x/../y", "/srv/y"),
            ("../..", "/"),
            ("a/./b/..", "/a"),
            ("/data/", "/data/"),
            ("/..data", "/..data"),
        ] {
            let c = config(&format!(
                r#"{{"WorkingDir": "{given}", "Volumes": {{"{given}": {{}}}}}}"#
            ));
            assert_eq!(c.working_dir(), wanted);
            assert_eq!(c.volumes(), [wanted]);
        }
    }

    #[test]
    fn everything_is_understood() {
        let c = config(
            r#"{"User": "app:www", "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
                "Env": ["A=b=c", "broken", "=x", "E="], "Entrypoint": ["/e", "x"], "Cmd": ["y"],
                "Volumes": {"/data": {}}, "WorkingDir": "srv", "StopSignal": "SIGQUIT",
                "Healthcheck": {"Test": ["CMD-SHELL", "curl -f http://localhost || exit 1"], "Interval": 5}}"#,
        );
        assert_eq!(c.command(), ["/e", "x", "y"]);
        assert_eq!(c.env(), [("A", "b=c"), ("E", "")]);
        assert_eq!(c.user(), Some("app:www"));
        assert_eq!(c.ports(), ["53/udp", "80/tcp"]);
        assert_eq!(c.volumes(), ["/data"]);
        assert_eq!(c.working_dir(), "/srv");
        assert_eq!(c.stop_signal(), Some("SIGQUIT"));
        assert_eq!(c.healthcheck().unwrap()[..2], ["/bin/sh", "-c"]);
        assert_eq!(c.schedule().interval, 1);
        let words = ["a".to_owned(), "b".to_owned()];
        let of = |e, c_| c.clone().started_by(e, c_).command();
        assert_eq!(of(Some(&words[..]), None), ["a", "b"]);
        assert_eq!(of(None, Some(&words[..])), ["/e", "x", "a", "b"]);
        assert_eq!(of(Some(&words[1..]), Some(&words[..1])), ["b", "a"]);
        let c = config(
            r#"{"Healthcheck": {"Interval": 90000000000, "Timeout": 1500000000, "StartPeriod": "no",
                "Retries": 0}, "StopTimeout": 90}"#,
        );
        let schedule = Schedule {
            interval: 90,
            timeout: 2,
            start_period: 0,
            start_interval: 5,
            retries: 3,
        };
        assert_eq!(c.schedule(), schedule);
        assert_eq!(c.stop_timeout(), Some(90));
        let none = config(r#"{"Healthcheck": {"Test": ["NONE"]}}"#);
        assert_eq!(none.healthcheck(), None);
    }
}
