//! Makes a copy of an image without the settings that would interfere with a build.
//!
//! Settings of an image affect every build that starts from it: `ONBUILD` triggers run, `SHELL`
//! interprets the `RUN` lines, `ENV` is the environment of all programs and overrides `ARG`, and
//! files written below a `VOLUME` are lost. Such an image is exported and imported again with its
//! files and the harmless settings.

use super::names::tag;
use super::{Engine, Kind, guarded, last_line};
use crate::error::Report;
use crate::hex::hex;
use crate::model::Arch;
use crate::rootfs::oci::Config;
use sha2::{Digest, Sha256};

/// Environment variables that change how programs of a build work.
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
/// The same, as prefixes of names.
const FAMILIES: [&str; 6] = ["LD_", "PERL5", "DPKG_", "APT_", "APK_", "DEB_"];
/// Folders that a build writes into: writes below a volume are lost.
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
/// The folders that package managers need in PATH; the same folders below `/usr` also count.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What kind of build starts from an image. It decides which settings of the image interfere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Starts {
    /// A recipe's build from a given container (`--container`). No settings are kept, because the
    /// machine's plan already has them.
    Container,
    /// A recipe's build from another image than its own base (`--base`). The recipe sets `PATH` and
    /// `SHELL`, but does not expect other settings.
    OtherBase,
    /// A recipe's build from its own base. Only settings that cannot be intended interfere.
    OwnBase,
}

/// A setting that interferes with a build.
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

/// The settings of an image that interfere with a build with the arguments `arguments`.
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

/// Returns the name of an image with the files of `image`, but without the settings that interfere
/// with a build with these arguments. `None` if there are none. `called` is the image's name for
/// messages; progress is reported to `say`.
///
/// Needs only one query to the engine if nothing interferes.
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
        &format!("asking for the ID of {called}"),
    )?;
    let short: String = id.trim_start_matches("sha256:").chars().take(24).collect();
    // The kept settings are part of the copy's identity; a container's copy keeps none.
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
    // The same image has the same files, so builds find their cache again.
    if !engine.has_image(&name) {
        let found: Vec<String> = found.iter().map(Setting::to_string).collect();
        say(&format!(
            "using the files of {called} without its {}, which would interfere with the build",
            found.join(", ")
        ));
        let doing = format!("copying the files of {called}");
        let copy = copy(engine, &id, &doing, &kept, arch)?;
        engine.run(["tag", &copy, &name], &doing)?;
    }
    Ok(Some(name))
}

/// The harmless settings of an image, as instructions for `import --change`.
fn kept(config: &Config, found: &[Setting<'_>], kind: Kind) -> Vec<String> {
    let mut kept = Vec::new();
    for (name, value) in config.env() {
        // A line feed would end the instruction.
        if found.contains(&Setting::Env(name)) || value.contains('\n') {
            continue;
        }
        kept.push(match kind {
            // A word of a Dockerfile, where these characters have a meaning.
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
            // Everything up to the end, unquoted.
            Kind::Podman => format!("ENV {name}={value}"),
        });
    }
    let json = |words: &[String]| serde_json::Value::from(words.to_vec()).to_string();
    // In this order, because setting an entry point removes the command.
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
    // podman's import does not support it.
    let check = config.healthcheck().filter(|_| kind == Kind::Docker);
    kept.extend(check.map(|c| format!("HEALTHCHECK CMD {}", json(&c))));
    kept.retain(|line| !line.contains('\n'));
    kept
}

/// Exports the image and imports it again. Returns the ID of the copy.
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
    // Imported without a name, so that another run never uses an incomplete copy.
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
        let _ = engine.run(["image", "rm", &id], "removing an incomplete image");
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
    /// Settings that a recipe may want from its own base, those that `--base` drops, and those that
    /// are never wanted.
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
