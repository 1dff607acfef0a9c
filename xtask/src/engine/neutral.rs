//! An image that a build can start from, of one whose settings would get in its way.
//!
//! What an image says of its own containers holds for every build that starts from it as well:
//! `ONBUILD` triggers run, `SHELL` reads the `RUN` lines, `ENV` is the environment of all programs
//! and wins over `ARG`, and what is written below a `VOLUME` is lost. Such an image is exported and
//! imported again with its files and what is not in the way.

use super::names::tag;
use super::{Engine, Kind, guarded, last_line};
use crate::error::Report;
use crate::hex::hex;
use crate::model::Arch;
use crate::rootfs::oci::Config;
use sha2::{Digest, Sha256};

/// Environment variables that change how the programs of a build work, by their names.
const VARIABLES: [&str; 21] = [
    "ENV",
    "BASH_ENV",
    "SHELLOPTS",
    "BASHOPTS",
    "CDPATH",
    "GLOBIGNORE",
    "TMPDIR",
    "TMP",
    "TEMP",
    "TAR_OPTIONS",
    "GZIP",
    "XZ_OPT",
    "XZ_DEFAULTS",
    "GREP_OPTIONS",
    "POSIXLY_CORRECT",
    "APT_CONFIG",
    "PYTHONHOME",
    "PYTHONPATH",
    "DEBIAN_FRONTEND",
    "SOURCE_DATE_EPOCH",
    "USER",
];
/// The same, by how their names begin.
const FAMILIES: [&str; 6] = ["LD_", "PERL5", "DPKG_", "APT_", "APK_", "DEB_"];
/// Folders that a build writes into: what it writes below a volume is lost.
const WRITTEN: [&str; 12] = [
    "/boot",
    "/etc",
    "/usr",
    "/lib",
    "/bin",
    "/sbin",
    "/var",
    "/var/lib",
    "/var/cache",
    "/var/log",
    "/var/lib/dpkg",
    "/root",
];
/// The folders that package managers want in PATH; `/usr` in front serves as well.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Whose build starts from an image. It tells which settings of the image get in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Starts {
    /// A recipe's, from somebody's container (`--container`). The machine knows the image's settings
    /// already, so none of them is kept.
    Container,
    /// A recipe's, from another image than its own base (`--base`). The recipe sets `PATH` and
    /// `SHELL`, but was not written for the rest.
    OtherBase,
    /// A recipe's, from its own base: only what nobody can mean is in the way.
    OwnBase,
}

/// A setting that gets in the way of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Setting<'a> {
    OnBuild,
    Shell,
    Env(&'a str),
    Volume(&'a str),
}

impl std::fmt::Display for Setting<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Setting::OnBuild => write!(f, "ONBUILD"),
            Setting::Shell => write!(f, "SHELL"),
            Setting::Env(name) => write!(f, "ENV {name}"),
            Setting::Volume(path) => write!(f, "VOLUME {path}"),
        }
    }
}

/// What in the settings of an image gets in the way of a build that has the arguments `arguments`;
/// nothing if nothing does.
fn in_the_way<'a>(config: &'a Config, starts: Starts, arguments: &[&str]) -> Vec<Setting<'a>> {
    let mut found = Vec::new();
    if !config.triggers().is_empty() && starts != Starts::OwnBase {
        found.push(Setting::OnBuild);
    }
    let shell = config.shell().is_some_and(|s| s != ["/bin/sh", "-c"]);
    if shell && starts == Starts::Container {
        found.push(Setting::Shell);
    }
    for (name, value) in config.env() {
        let lacks = |dir: &&str| !value.split(':').any(|d| d.trim_end_matches('/') == *dir);
        let wrong = match name {
            "PATH" => {
                starts == Starts::Container
                    && ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(lacks)
            }
            _ if arguments.contains(&name) => true,
            _ => {
                starts != Starts::OwnBase
                    && (VARIABLES.contains(&name) || FAMILIES.iter().any(|f| name.starts_with(f)))
            }
        };
        if wrong {
            found.push(Setting::Env(name));
        }
    }
    let written = |v: &&str| WRITTEN.contains(&v.trim_end_matches('/'));
    found.extend(config.volume_names().filter(written).map(Setting::Volume));
    found
}

/// The name of an image with the files of `image` and without those of its settings that get in the
/// way of a build with these arguments; nothing if there are none. `called` is what people call the
/// image; `say` is told what happens.
///
/// It costs one question to the engine where nothing is in the way.
pub fn neutral(
    engine: &Engine,
    (image, called): (&str, &str),
    arch: Arch,
    (starts, arguments): (Starts, &[&str]),
    say: &dyn Fn(&str),
) -> Result<Option<String>, Report> {
    let config = engine.config(image)?;
    let found = in_the_way(&config, starts, arguments);
    if found.is_empty() {
        return Ok(None);
    }
    let id = engine.run(
        ["image", "inspect", "--format", "{{.Id}}", image],
        &format!("asking for the id of {called}"),
    )?;
    let short: String = id.trim_start_matches("sha256:").chars().take(24).collect();
    // What is kept is a part of what the copy is; a container's keeps nothing.
    let (kept, name) = match starts {
        Starts::Container => (vec![format!("ENV PATH={PATH}")], short),
        Starts::OtherBase | Starts::OwnBase => {
            let kept = kept(&config, &found, engine.kind());
            let digest = Sha256::digest(kept.join("\n"));
            let digest = hex(&digest[..6]);
            (kept, format!("{short}-{digest}"))
        }
    };
    let name = engine.local(&tag(&format!("neutral/{name}"), arch));
    // The same image has the same files: builds on it find what they did before.
    if !engine.has_image(&name) {
        let found: Vec<String> = found.iter().map(Setting::to_string).collect();
        say(&format!(
            "taking the files of {called} without its {}, which would get in the way of the build",
            found.join(", ")
        ));
        let doing = format!("copying the files of {called}");
        let copy = copy(engine, &id, &doing, &kept, arch)?;
        engine.run(["tag", &copy, &name], &doing)?;
    }
    Ok(Some(name))
}

/// The settings of an image that are not in the way, as instructions for `import --change`.
fn kept(config: &Config, found: &[Setting<'_>], kind: Kind) -> Vec<String> {
    let mut kept = Vec::new();
    for (name, value) in config.env() {
        // A line feed would end the instruction.
        if found.contains(&Setting::Env(name)) || value.contains('\n') {
            continue;
        }
        kept.push(match kind {
            // A word of a Dockerfile, in which these characters mean something else.
            Kind::Docker => {
                let quoted: String = value
                    .chars()
                    .flat_map(|c| {
                        let escape = matches!(c, '"' | '\\' | '$').then_some('\\');
                        escape.into_iter().chain([c])
                    })
                    .collect();
                format!("ENV {name}=\"{quoted}\"")
            }
            // All up to the end, as it is.
            Kind::Podman => format!("ENV {name}={value}"),
        });
    }
    let json = |words: &[String]| serde_json::Value::from(words.to_vec()).to_string();
    // In this order: an entry point removes the command.
    for (instruction, words) in [("ENTRYPOINT", config.entrypoint()), ("CMD", config.cmd())] {
        if !words.is_empty() {
            kept.push(format!("{instruction} {}", json(words)));
        }
    }
    let stays = |v: &&str| !found.contains(&Setting::Volume(v));
    let volumes = config.volume_names().filter(stays);
    kept.extend(volumes.map(|v| format!("VOLUME {}", json(&[v.to_owned()]))));
    kept.extend(config.ports().iter().map(|p| format!("EXPOSE {p}")));
    kept.extend(config.user().map(|u| format!("USER {u}")));
    kept.push(format!("WORKDIR {}", config.working_dir()));
    kept.extend(config.stop_signal().map(|s| format!("STOPSIGNAL {s}")));
    if !found.contains(&Setting::OnBuild) {
        kept.extend(config.triggers().iter().map(|t| format!("ONBUILD {t}")));
    }
    // podman's import does not know it.
    let check = config.healthcheck().filter(|_| kind == Kind::Docker);
    kept.extend(check.map(|c| format!("HEALTHCHECK CMD {}", json(&c))));
    kept.retain(|line| !line.contains('\n'));
    kept
}

/// Exports the image and imports it again. Returns the id of the copy.
fn copy(
    engine: &Engine,
    image: &str,
    doing: &str,
    changes: &[String],
    arch: Arch,
) -> Result<String, Report> {
    let failed = |e: std::io::Error| Report::failure(doing.to_owned()).because(e);
    let container = super::export::make(engine, image, "copy")?;
    let platform = format!("--platform=linux/{arch}");
    let mut import = vec!["import"];
    for change in changes {
        import.extend(["--change", change]);
    }
    if arch != super::host_arch() {
        import.push(&platform);
    }
    // Without a name: another run must never take half a copy for a whole one.
    import.push("-");
    let import = engine.command(import).stdout_capture().stderr_capture();
    let export = engine.command(["export", &container.name]).stdin_null();
    let both = export.pipe(import).unchecked();
    let (running, _guard) = guarded(
        || both.start(),
        |running| {
            let _ = running.kill();
        },
    )
    .map_err(failed)?;
    let output = running.wait().map_err(failed)?;
    let id = last_line(&output.stdout);
    if output.status.success() {
        return Ok(id);
    }
    if !output.stdout.is_empty() {
        let _ = engine.run(["image", "rm", &id], "removing half an image");
    }
    Err(Report::failure(format!(
        "{doing}: {}",
        last_line(&output.stderr)
    )))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_gets_in_the_way_of_a_build() {
        let found = |json: &str| {
            let config: Config = serde_json::from_str(json).unwrap();
            let found = in_the_way(&config, Starts::Container, &["KERNEL"]);
            let found: Vec<String> = found.iter().map(Setting::to_string).collect();
            found.join(" ")
        };
        for json in [
            "{}",
            r#"{"Env": ["PATH=/usr/local/bin:/usr/sbin/:/usr/bin:/sbin:/bin", "NGINX_VERSION=1", "http_proxy=x"]}"#,
            r#"{"Shell": ["/bin/sh", "-c"], "OnBuild": [], "Volumes": {"/var/lib/mysql": {}}, "User": "app"}"#,
        ] {
            assert_eq!(found(json), "", "{json}");
        }
        for (json, wanted) in [
            (r#"{"OnBuild": ["RUN false"]}"#, "ONBUILD"),
            (r#"{"Shell": ["/bin/powershell"]}"#, "SHELL"),
            (
                r#"{"Env": ["PATH=/usr/local/bin:/usr/bin:/bin"]}"#,
                "ENV PATH",
            ),
            (r#"{"Env": ["PATH="]}"#, "ENV PATH"),
            (
                r#"{"Env": ["LD_PRELOAD=/x.so", "KERNEL=5"]}"#,
                "ENV LD_PRELOAD ENV KERNEL",
            ),
            (r#"{"Volumes": {"/var/lib/": {}}}"#, "VOLUME /var/lib/"),
        ] {
            assert_eq!(found(json), wanted, "{json}");
        }
    }
    /// What a recipe's build of its own base may mean, `--base` does not, and what nobody does.
    #[test]
    fn a_base_keeps_what_is_not_in_the_way() {
        let config: Config = serde_json::from_str(
            r#"{"OnBuild": ["RUN false"], "Shell": ["/bin/bash", "-c"], "User": "app",
                "Env": ["PATH=/bin", "KERNEL=5", "LD_PRELOAD=/x", "A=b \"$c\\d\"", "L=1\n2"],
                "Volumes": {"/etc": {}, "/data": {}}, "ExposedPorts": {"80/tcp": {}},
                "Entrypoint": ["/e", "a \"b\""], "Cmd": ["c"], "StopSignal": "SIGQUIT"}"#,
        )
        .unwrap();
        let arguments = ["KERNEL"];
        let own = in_the_way(&config, Starts::OwnBase, &arguments);
        assert_eq!(own, [Setting::Env("KERNEL"), Setting::Volume("/etc")]);
        let other = in_the_way(&config, Starts::OtherBase, &arguments);
        let more = [Setting::OnBuild, own[0], Setting::Env("LD_PRELOAD"), own[1]];
        assert_eq!(other, more);
        let docker = kept(&config, &other, Kind::Docker);
        assert_eq!(
            docker,
            [
                r#"ENV PATH="/bin""#,
                r#"ENV A="b \"\$c\\d\"""#,
                r#"ENTRYPOINT ["/e","a \"b\""]"#,
                r#"CMD ["c"]"#,
                r#"VOLUME ["/data"]"#,
                "EXPOSE 80/tcp",
                "USER app",
                "WORKDIR /",
                "STOPSIGNAL SIGQUIT",
            ]
        );
        let docker = kept(&config, &own, Kind::Docker);
        assert_eq!(docker[docker.len() - 1], "ONBUILD RUN false");
        let podman = kept(&config, &other, Kind::Podman);
        assert_eq!(podman[1], r#"ENV A=b "$c\d""#);
        assert!(in_the_way(&Config::default(), Starts::Container, &arguments).is_empty());
    }
}
