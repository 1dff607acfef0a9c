//! Container engines: docker and podman, through their command lines.
//!
//! Everything that is created in an engine has a unique name and a guard, so it is removed however
//! the program ends.

mod base;
mod build;
mod export;
mod held;
mod inspect;
mod names;
mod neutral;
mod owner;

pub use base::{Base, ensure_base, own_name};
pub use build::{Build, build, host_arch};
pub use export::{Exported, Saved, export, save};
pub use held::Held;
pub use inspect::{Files, Seen};
pub use names::{check_image, tag};
pub use neutral::{Starts, neutral};
pub use owner::remove_leftovers;

use crate::cleanup::Guard;
use crate::error::Report;
use crate::printable;
use crate::tool::{self, Tool};
use camino::{Utf8Path, Utf8PathBuf};
use duct::Expression;
use rustix::process::{Pid, Signal, kill_process};
use schemars::JsonSchema;
use serde::Deserialize;
use std::io;
use std::sync::Arc;

/// A kind of engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Docker, or a program that replaces it under its name.
    Docker,
    /// Podman.
    Podman,
}

/// An engine that is installed and answers.
#[derive(Debug, Clone)]
pub struct Engine {
    kind: Kind,
    path: Utf8PathBuf,
    version: String,
}

impl Engine {
    /// Returns the engine `wanted`, or else the first of docker and podman that is installed and
    /// answers.
    pub fn find(wanted: Option<Kind>) -> Result<Engine, Report> {
        let kinds = match wanted {
            Some(kind) => vec![kind],
            None => vec![Kind::Docker, Kind::Podman],
        };
        let mut silent = None;
        for kind in kinds {
            let Some(path) = kind.tool().find() else {
                continue;
            };
            match answer(kind, &path) {
                Ok(version) => {
                    return Ok(Engine {
                        kind,
                        path,
                        version,
                    });
                }
                Err(e) => silent = silent.or(Some(e)),
            }
        }
        if let Some(report) = silent {
            return Err(report);
        }
        match wanted {
            Some(kind) => Err(match kind.tool().require() {
                Err(report) => report,
                // It was installed between two checks, which is rare.
                Ok(_) => Report::failure("the container engine was installed just now; try again"),
            }),
            None => Err(Report::failure(
                "a container engine is needed to build and export containers, and neither docker nor podman is installed",
            )
            .hint("run `cargo xtask setup`, or use a root file system with --from rootfs.tar")),
        }
    }

    /// Its name and version.
    pub fn name(&self) -> String {
        format!("{} {}", self.kind.tool().name(), self.version)
    }

    /// The path of its program.
    pub fn path(&self) -> &str {
        self.path.as_str()
    }

    /// Which kind it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// A command of the engine.
    fn command<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Expression {
        client(&self.path, arguments)
    }

    /// Runs a command and returns its output without the last line feed. `doing` describes it in
    /// errors.
    fn run<'a>(
        &self,
        arguments: impl IntoIterator<Item = &'a str>,
        doing: &str,
    ) -> Result<String, Report> {
        let output = self
            .command(arguments)
            .stdin_null()
            .stdout_capture()
            .stderr_capture()
            .unchecked()
            .run()
            .map_err(|e| Report::failure(doing.to_owned()).because(e))?;
        if !output.status.success() {
            return Err(Report::failure(format!(
                "{doing}: {}",
                last_line(&output.stderr)
            )));
        }
        Ok(String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned())
    }

    /// The name under which a Dockerfile finds an image that was built here.
    fn local(&self, name: &str) -> String {
        match self.kind {
            Kind::Docker => name.to_owned(),
            // Without a host, podman would ask registries for it.
            Kind::Podman => format!("localhost/{name}"),
        }
    }

    /// Whether the engine has this image.
    pub fn has_image(&self, image: &str) -> bool {
        self.run(["image", "inspect", image], "looking for an image")
            .is_ok()
    }

    /// The engine's own ID of an image that it has.
    pub fn id(&self, image: &str) -> Result<String, Report> {
        let ask = ["image", "inspect", "--format", "{{.Id}}", image];
        self.run(ask, "asking for the ID of an image")
    }

    /// Identifies exactly this image: its digest in its registry, or the engine's own ID of it if
    /// it came from none. `None` if the engine does not report one.
    pub fn digest(&self, image: &str) -> Option<String> {
        let format = "{{if .RepoDigests}}{{index .RepoDigests 0}}{{else}}{{.Id}}{{end}}";
        let doing = "asking for an image's digest";
        let text = self
            .run(["image", "inspect", "--format", format, image], doing)
            .ok()?;
        // `name@sha256:...`; podman's ID lacks the algorithm.
        let digest = text.rsplit('@').next().unwrap_or_default();
        let digest = match digest.split_once(':') {
            Some(_) => digest.to_owned(),
            None => format!("sha256:{digest}"),
        };
        (digest.len() > "sha256:".len()).then_some(digest)
    }

    /// When the image was created, in seconds since 1970 (0 if the engine does not say).
    pub fn created(&self, image: &str) -> Result<i64, Report> {
        let text = self.run(
            ["image", "inspect", "--format", "{{.Created}}", image],
            &format!("asking for the creation time of {image}"),
        )?;
        // podman prints Go's form: `2024-05-01 10:00:00.5 +0000 UTC`.
        let text = text.trim_end_matches(" UTC");
        Ok(chrono::DateTime::parse_from_rfc3339(text)
            .or_else(|_| chrono::DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f %z"))
            .map_or(0, |t| t.timestamp().max(0)))
    }
}

impl Kind {
    /// Its program.
    pub fn tool(self) -> Tool {
        match self {
            Kind::Docker => Tool::Docker,
            Kind::Podman => Tool::Podman,
        }
    }
}

/// All images that were built from recipes.
pub fn own_images(engine: &Engine) -> Result<Vec<String>, Report> {
    let all = engine.run(
        ["images", "--format", "{{.Repository}}:{{.Tag}}"],
        "listing the engine's images",
    )?;
    Ok(all
        .lines()
        // podman adds `localhost/`.
        .filter(|l| l.trim_start_matches("localhost/").starts_with(names::TAGS))
        .map(str::to_owned)
        .collect())
}

/// Removes an image.
pub fn remove_image(engine: &Engine, image: &str) -> Result<(), Report> {
    engine
        .run(
            ["image", "rm", image],
            &format!("removing the image {image}"),
        )
        .map(drop)
}

/// A command of an engine's client.
fn client<'a>(path: &Utf8Path, arguments: impl IntoIterator<Item = &'a str>) -> Expression {
    // A server on another machine (DOCKER_HOST=ssh://...) may need an SSH agent.
    let agent = std::env::var_os("SSH_AUTH_SOCK");
    let more: Vec<_> = agent.iter().map(|a| ("SSH_AUTH_SOCK", &**a)).collect();
    tool::expression(path.as_std_path(), arguments, &more)
}

/// The version of the engine's server, or an error that says why it does not answer.
fn answer(kind: Kind, path: &Utf8Path) -> Result<String, Report> {
    let format = match kind {
        Kind::Docker => "{{.Server.Version}}",
        Kind::Podman => "{{.Client.Version}}",
    };
    let name = kind.tool().name();
    let output = client(path, ["version", "--format", format])
        .stdin_null()
        .stdout_capture()
        .stderr_capture()
        .unchecked()
        .run()
        .map_err(|e| Report::failure(format!("starting {path}")).because(e))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let said = last_line(&output.stderr);
    let hint = if said.contains("permission denied") {
        "your user has no access to the engine: `sudo usermod -aG docker $USER`, then log in again; or use --engine podman"
    } else {
        "start it, e.g. with `sudo systemctl start docker`, or choose another one with --engine"
    };
    Err(Report::failure(format!("{name} is installed but does not answer: {said}")).hint(hint))
}

/// The last line that is not empty: there engines say what went wrong.
fn last_line(text: &[u8]) -> String {
    text.rsplit(|b| *b == b'\n')
        .map(printable::output)
        .find(|l| !l.is_empty())
        .unwrap_or_else(|| "it printed nothing".to_owned())
        .trim_start()
        .to_owned()
}

/// Starts child processes, which `end` stops if a signal, an error or a panic comes before they are
/// done. `end` also runs when they are done, so it checks first. No child is missed: see
/// [`Guard::after`].
fn guarded<H: Send + Sync + 'static>(
    start: impl FnOnce() -> io::Result<H>,
    end: impl FnOnce(&H) + Send + 'static,
) -> io::Result<(Arc<H>, Guard)> {
    Guard::after(
        || start().map(Arc::new),
        |children| {
            let children = Arc::clone(children);
            move || end(&children)
        },
    )
}

/// Sends a signal to a child process.
fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// A name for something temporary in the engine, unique on this machine.
fn temporary_name(what: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("docker-to-linux-{what}-{}-{n}", std::process::id())
}
