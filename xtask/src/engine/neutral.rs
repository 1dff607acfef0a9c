//! An image that a build can start from, of one whose settings would get in its way.
//!
//! What an image says of its own containers holds for every build that starts from it as well:
//! `ONBUILD` triggers run, `SHELL` reads the `RUN` lines, `ENV` is the environment of all programs
//! and wins over `ARG`, and what is written below a `VOLUME` is lost. Such an image is exported and
//! imported again, which keeps its files and nothing else.

use super::held::Held;
use super::names::tag;
use super::{Engine, guarded, last_line};
use crate::error::Report;
use crate::model::Arch;
use crate::rootfs::oci::Config;

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

/// What in the settings of an image gets in the way of a build that has the arguments `arguments`;
/// nothing if nothing does.
fn in_the_way(config: &Config, arguments: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    if config.has_triggers() {
        found.push("ONBUILD".to_owned());
    }
    if config.shell().is_some_and(|s| s != ["/bin/sh", "-c"]) {
        found.push("SHELL".to_owned());
    }
    for (name, value) in config.env() {
        let lacks = |dir: &&str| !value.split(':').any(|d| d.trim_end_matches('/') == *dir);
        let wrong = match name {
            "PATH" => ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(lacks),
            _ => {
                VARIABLES.contains(&name)
                    || FAMILIES.iter().any(|f| name.starts_with(f))
                    || arguments.contains(&name)
            }
        };
        if wrong {
            found.push(format!("ENV {name}"));
        }
    }
    let written = |v: &String| WRITTEN.contains(&v.trim_end_matches('/'));
    found.extend(
        config
            .volumes()
            .into_iter()
            .filter(written)
            .map(|v| format!("VOLUME {v}")),
    );
    found
}

/// The name of an image with the files of `image` and without its settings, if some of them get in
/// the way of a build with these arguments. `called` is what people call the image; `say` is told
/// what happens.
pub fn neutral(
    engine: &Engine,
    image: &Held,
    called: &str,
    arch: Arch,
    arguments: &[&str],
    say: &dyn Fn(&str),
) -> Result<Option<String>, Report> {
    let config = engine.config(&image.id)?;
    let found = in_the_way(&config, arguments);
    if found.is_empty() {
        return Ok(None);
    }
    let id = image.id.trim_start_matches("sha256:");
    let id: String = id.chars().take(24).collect();
    let name = engine.local(&tag(&format!("neutral/{id}"), arch));
    // The same image has the same files: builds on it find what they did before.
    if !engine.has_image(&name) {
        say(&format!(
            "taking the files of {called} without its {}, which would get in the way of the build",
            found.join(", ")
        ));
        let doing = format!("copying the files of {called}");
        let copy = copy(engine, image, &doing, arch)?;
        engine.run(["tag", &copy, &name], &doing)?;
    }
    Ok(Some(name))
}

/// Exports the image and imports it again. Returns the id of the copy.
fn copy(engine: &Engine, image: &Held, doing: &str, arch: Arch) -> Result<String, Report> {
    let failed = |e: std::io::Error| Report::failure(doing.to_owned()).because(e);
    let container = super::export::make(engine, &image.id, "copy")?;
    let platform = format!("--platform=linux/{arch}");
    let path = format!("--change=ENV PATH={PATH}");
    let mut import = vec!["import", &path];
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
            in_the_way(&config, &["KERNEL"]).join(" ")
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
}
