//! `--container` and `--dockerfile`: somebody else's image becomes a machine.
//!
//! What it is says its os-release(5); the recipe that serves such systems is built with the
//! image as its base.

use super::choices;
use super::console::Console;
use crate::engine::{self, Build, Engine, Files, Held, Seen};
use crate::error::Report;
use crate::model::{Arch, Service};
use crate::plan::ContainerFacts;
use crate::recipe::{self, Found, Recipe};
use camino::{Utf8Path, Utf8PathBuf};
use std::collections::BTreeMap;

/// Options for what is made of a container.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Make a machine of this container image: the recipe that serves its system adds kernel,
    /// init and drivers, and its command becomes a service
    #[arg(long, value_name = "IMAGE", conflicts_with_all = ["from", "base"])]
    container: Option<String>,
    /// Build this Dockerfile, then go on as with --container
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "base", "container"])]
    dockerfile: Option<Utf8PathBuf>,
    /// Folder that the Dockerfile copies from [default: where it lies]
    #[arg(long, value_name = "DIR", requires = "dockerfile")]
    context: Option<Utf8PathBuf>,
    /// Name of the image file, without its ending
    #[arg(long)]
    name: Option<String>,
    /// Whether the container's command becomes a service of the machine
    #[arg(long, value_name = "WHEN", value_parser = choices::of::<Service>())]
    service: Option<Service>,
}

/// What the build of a container's image has to know besides.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around<'a> {
    pub engine: &'a Engine,
    pub arch: Arch,
    pub network: Option<&'a str>,
    pub build_args: &'a BTreeMap<String, String>,
}

impl Args {
    /// Whether a container is to become a machine.
    pub(super) fn is_given(&self) -> bool {
        self.container.is_some() || self.dockerfile.is_some()
    }

    /// Whether the image file is given a name.
    pub(super) fn has_name(&self) -> bool {
        self.name.is_some()
    }

    /// The recipe with what these options say instead.
    pub(super) fn apply(&self, found: &mut Found) -> Result<(), Report> {
        self.check()?;
        if let Some(name) = &self.name {
            found.name.clone_from(name);
        }
        found.recipe.service = self.service.or(found.recipe.service);
        Ok(())
    }

    fn check(&self) -> Result<(), Report> {
        match &self.name {
            Some(name) if !recipe::is_name(name) => Err(Report::mistake(format!(
                "--name {name:?} cannot name an image"
            ))
            .hint("use letters, digits, `.`, `-` and `_`, a letter or digit first")),
            _ => match &self.container {
                Some(image) => engine::check_image(image, "--container"),
                None => Ok(()),
            },
        }
    }

    /// The container as its user named it: its image, or the Dockerfile that makes it.
    pub(super) fn named(&self) -> Option<&str> {
        let dockerfile = self.dockerfile.as_deref().map(Utf8Path::as_str);
        self.container.as_deref().or(dockerfile)
    }

    /// Finds or builds the container's image and the recipe for it: `named`, or the one that
    /// serves its system. The recipe comes back with the image as its base, which has that name
    /// until the third is dropped.
    pub(super) fn prepare(
        &self,
        named: Option<Found>,
        around: Around<'_>,
        console: Console,
    ) -> Result<(Found, ContainerFacts, Held), Report> {
        self.check()?;
        let Around { engine, arch, .. } = around;
        let name = self.name.clone().unwrap_or_else(|| self.image_name());
        let shown = self.container.clone().unwrap_or_else(|| name.clone());
        let image = match &self.container {
            Some(image) => engine.hold(&fetch(engine, image, arch, console)?)?,
            None => self.build(&name, around, console)?,
        };
        let files = Files::of(engine, &image.id)?;
        has_package_manager(&files, &shown)?;
        let family = match named {
            Some(found) => found,
            None => family(&files, &shown)?,
        };
        console.stage(&format!(
            "{shown}: making a machine of it by the recipe {}",
            family.name
        ));
        let facts = ContainerFacts {
            config: Some(engine.config(&image.id)?),
            given: true,
        };
        let hostname = hostname(&name);
        let arguments: Vec<&str> = around.build_args.keys().map(String::as_str).collect();
        let arguments = [&arguments[..], &ARGUMENTS].concat();
        let say = |text: &str| console.stage(text);
        let base = engine::neutral(engine, &image, &shown, arch, &arguments, &say)?;
        let recipe = Recipe {
            base: Some(base.unwrap_or_else(|| image.name.clone())),
            hostname: hostname.or(family.recipe.hostname),
            ..family.recipe
        };
        let dir = family.dir;
        Ok((Found { name, dir, recipe }, facts, image))
    }

    /// The name that the container gives to the image: `nginx` for `ghcr.io/x/nginx:1.27`.
    fn image_name(&self) -> String {
        let text = match (&self.container, &self.dockerfile) {
            (Some(image), _) => {
                let plain = image.split('@').next().unwrap_or_default();
                let last = plain.rsplit('/').next().unwrap_or_default();
                match last.split_once(':') {
                    // An id: `sha256:0123...`.
                    Some(("sha256", id)) => id.chars().take(12).collect(),
                    Some((name, _tag)) => name.to_owned(),
                    None => last.to_owned(),
                }
            }
            (None, Some(file)) => {
                let context = self.context(file);
                let real = context.canonicalize_utf8().unwrap_or(context);
                real.file_name().unwrap_or_default().to_owned()
            }
            (None, None) => String::new(),
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        let text: String = text.chars().filter(|c| fits(*c)).take(64).collect();
        let text = text.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
        if text.is_empty() {
            "container".to_owned()
        } else {
            text.to_owned()
        }
    }

    fn context(&self, dockerfile: &Utf8Path) -> Utf8PathBuf {
        let beside = || dockerfile.parent().filter(|d| !d.as_str().is_empty());
        let context = self.context.as_deref().or_else(beside);
        context.unwrap_or(Utf8Path::new(".")).to_owned()
    }

    fn build(&self, name: &str, around: Around<'_>, console: Console) -> Result<Held, Report> {
        let dockerfile = self.dockerfile.clone().unwrap_or_default();
        let context = self.context(&dockerfile);
        let (what, wrong) = if dockerfile.is_file() {
            ("folder", (!context.is_dir()).then_some(&context))
        } else {
            ("Dockerfile", Some(&dockerfile))
        };
        if let Some(path) = wrong {
            return Err(Report::mistake(format!("there is no {what} {path}"))
                .hint("write --dockerfile FILE, and --context DIR if it copies from elsewhere"));
        }
        let engine = around.engine;
        console.stage(&format!("building {dockerfile} with {}", engine.name()));
        let what = Build {
            context: &context,
            dockerfile: Some(dockerfile),
            args: around.build_args.clone(),
            platform: (around.arch != engine::host_arch()).then_some(around.arch),
            tag: engine::tag(&format!("container/{name}"), around.arch),
            network: around.network,
        };
        engine::build(engine, &what, &|line| console.detail(line))
    }
}

/// Makes sure that the engine has the image.
fn fetch(engine: &Engine, image: &str, arch: Arch, console: Console) -> Result<String, Report> {
    engine::ensure_base(engine, image, arch, None, &|t| console.stage(t))
        .map(|base| base.name)
        .map_err(|mut report| {
            report.message = report.message.replacen("the base image", "the container image", 1);
            report.hint("check its name, that you are logged in to its registry, and --arch; `docker load` or `docker import` bring it from a file")
        })
}

/// Build arguments of recipes: a variable of the image with such a name would win over them.
const ARGUMENTS: [&str; 2] = ["KERNEL", "BASE"];

/// Programs that can install a kernel.
const PACKAGE_MANAGERS: [&str; 12] = [
    "/usr/bin/apt-get",
    "/sbin/apk",
    "/usr/sbin/apk",
    "/usr/bin/apk",
    "/usr/bin/dnf",
    "/usr/bin/dnf5",
    "/usr/bin/microdnf",
    "/usr/bin/yum",
    "/usr/bin/zypper",
    "/usr/bin/pacman",
    "/usr/bin/xbps-install",
    "/usr/bin/emerge",
];

/// Refuses a container to which nothing can be added.
fn has_package_manager(files: &Files<'_>, image: &str) -> Result<(), Report> {
    let has = |path: &str| files.look(path).is_some();
    if PACKAGE_MANAGERS.iter().any(|p| has(p)) && has("/bin/sh") {
        return Ok(());
    }
    Err(Report::mistake(format!(
        "{image} has no package manager (it is distroless, or made FROM scratch), so kernel and init cannot be installed in it"
    ))
    .hint(format!(
        "write a recipe that starts from a distribution and takes the program from there: `COPY --from={image} /app /app`; recipes/debian shows the rest"
    )))
}

/// The recipe for the system that the container is.
fn family(files: &Files<'_>, image: &str) -> Result<Found, Report> {
    let text = |path| match files.look(path) {
        Some(Seen::File(text)) => Some(text),
        _ => None,
    };
    // The first is a link to the second nearly everywhere.
    let os_release = text("/etc/os-release").or_else(|| text("/usr/lib/os-release"));
    let ids = os_release.as_deref().map(recipe::ids).unwrap_or_default();
    if ids.is_empty() {
        return Err(Report::mistake(format!(
            "{image} does not say what system it is: it has no /etc/os-release with an ID"
        ))
        .hint(
            "name a recipe whose Dockerfile fits: `cargo xtask image RECIPE --container IMAGE`",
        ));
    }
    recipe::serving(&ids)
}

fn hostname(name: &str) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let name: String = name
        .chars()
        .map(|c| if fits(c) { c } else { '-' })
        .collect();
    let name = name.trim_matches('-').to_owned();
    recipe::is_hostname(&name).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(container: Option<&str>, dockerfile: Option<&str>) -> Args {
        Args {
            container: container.map(str::to_owned),
            dockerfile: dockerfile.map(Utf8PathBuf::from),
            context: None,
            name: None,
            service: None,
        }
    }

    #[test]
    fn names_of_images() {
        for (container, name) in [
            ("nginx", "nginx"),
            ("nginx:1.27", "nginx"),
            ("registry.example:5000/team/web_app:v2", "web_app"),
            ("web@sha256:00", "web"),
            (
                "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
                "0123456789ab",
            ),
            (":", "container"),
        ] {
            assert_eq!(args(Some(container), None).image_name(), name);
        }
        assert_eq!(
            args(None, Some("/srv/shop/Dockerfile")).image_name(),
            "shop"
        );
        assert_eq!(hostname("web_app").as_deref(), Some("web-app"));
    }
}
