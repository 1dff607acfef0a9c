//! Turns any container image into a machine.
//!
//! The image's os-release(5) says which system it is. The recipe that serves that system is built
//! with the image as its base.

use super::Request;
use super::from::Input;
use crate::engine::{self, Build, Engine, Files, Held, Seen, Starts};
use crate::error::Report;
use crate::model::{Arch, Join, Transport};
use crate::plan::ContainerFacts;
use crate::progress::Progress;
use crate::recipe::{self, Found, Labels, Recipe};
use crate::rootfs::oci::Config;
use camino::{Utf8Path, Utf8PathBuf};

/// A container, as the user gives it.
#[derive(Debug, Clone)]
pub enum Container {
    /// Name of an image in the engine or in a registry.
    Image(String),
    /// An image in files, or in a registry from which this program pulls it.
    Stored(Input),
    /// A Dockerfile that builds the image.
    Dockerfile {
        /// Path of the Dockerfile.
        file: Utf8PathBuf,
        /// Build context; by default the Dockerfile's folder.
        context: Option<Utf8PathBuf>,
    },
}

/// A container whose image exists, and the recipe that turns it into a machine.
pub(super) struct Prepared {
    /// The recipe, with the image as its base.
    pub(super) found: Found,
    /// Settings of the container.
    pub(super) facts: ContainerFacts,
    /// Keeps the tag that the recipe uses for the image until this is dropped.
    _image: Held,
}

impl Container {
    /// Fails if no engine would accept the name.
    pub(super) fn check(&self) -> Result<(), Report> {
        match self {
            Container::Image(image) => engine::check_image(image, "--container"),
            Container::Stored(input) => input.check("--container"),
            Container::Dockerfile { .. } => Ok(()),
        }
    }

    /// The container as it was given: its image or its Dockerfile.
    pub(super) fn named(&self) -> String {
        match self {
            Container::Image(image) => image.clone(),
            Container::Stored(input) => input.place.to_string(),
            Container::Dockerfile { file, .. } => file.to_string(),
        }
    }

    /// The name of the disk image that the request asks for.
    pub(super) fn name_for(&self, request: &Request) -> String {
        let given = request.overrides.name.clone();
        given.unwrap_or_else(|| self.image_name())
    }

    /// Prepares the build of a recipe whose base is the container's image.
    pub(super) fn native(
        &self,
        engine: &Engine,
        image: Held,
        family: Found,
        request: &Request,
        progress: &dyn Progress,
    ) -> Result<Prepared, Report> {
        let overrides = &request.overrides;
        let arch = overrides.arch.unwrap_or_else(engine::host_arch);
        let name = self.name_for(request);
        let shown = self.shown(&name);
        let config = engine.config(&image.id)?;
        let mut family = family;
        labels(&config, request, &shown, progress)?.apply(&mut family.recipe);
        let facts = ContainerFacts {
            config: Some(overrides.started_by(config)),
            given: true,
            join: Some(Join::Native),
            privileged: false,
        };
        let hostname = hostname(&name);
        let arguments = overrides.build_args.keys().map(String::as_str);
        let arguments: Vec<&str> = arguments.chain(ARGUMENTS).collect();
        let say = |text: &str| progress.stage(text);
        let names = (image.id.as_str(), shown.as_str());
        let starts = (Starts::Container, &arguments[..]);
        let base = engine::neutral(engine, names, arch, starts, &say)?;
        let recipe = Recipe {
            base: Some(base.unwrap_or_else(|| image.name.clone())),
            hostname: hostname.or(family.recipe.hostname),
            ..family.recipe
        };
        let dir = family.dir;
        Ok(Prepared {
            found: Found { name, dir, recipe },
            facts,
            _image: image,
        })
    }

    /// What messages call the image: the name of a Dockerfile says little.
    pub(super) fn shown(&self, name: &str) -> String {
        match self {
            Container::Dockerfile { .. } => name.to_owned(),
            _ => self.named(),
        }
    }

    /// The default name of the disk image, e.g. `nginx` for `ghcr.io/x/nginx:1.27`.
    pub(super) fn image_name(&self) -> String {
        let text = match self {
            Container::Stored(input) => stored_name(&input.place),
            Container::Image(image) => of_image(image),
            Container::Dockerfile { file, .. } => {
                let context = self.context(file);
                let real = context.canonicalize_utf8().unwrap_or(context);
                real.file_name().unwrap_or_default().to_owned()
            }
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

    /// The build context of a Dockerfile.
    fn context(&self, file: &Utf8Path) -> Utf8PathBuf {
        let given = match self {
            Container::Dockerfile { context, .. } => context.as_deref(),
            Container::Image(_) | Container::Stored(_) => None,
        };
        let own = || file.parent().filter(|d| !d.as_str().is_empty());
        given.or_else(own).unwrap_or(Utf8Path::new(".")).to_owned()
    }

    /// Builds the Dockerfile `file` for an image called `name`.
    pub(super) fn build(
        &self,
        file: &Utf8Path,
        name: &str,
        (engine, arch): (&Engine, Arch),
        request: &Request,
        progress: &dyn Progress,
    ) -> Result<Held, Report> {
        let context = self.context(file);
        let (what, wrong) = if file.is_file() {
            ("folder", (!context.is_dir()).then_some(context.as_path()))
        } else {
            ("Dockerfile", Some(file))
        };
        if let Some(path) = wrong {
            return Err(Report::mistake(format!("there is no {what} {path}"))
                .hint("write --dockerfile FILE, and --context DIR if it copies from elsewhere"));
        }
        progress.stage(&format!("building {file} with {}", engine.name()));
        let what = Build {
            context: &context,
            dockerfile: Some(file.to_owned()),
            args: request.overrides.build_args.clone(),
            platform: (arch != engine::host_arch()).then_some(arch),
            tag: engine::tag(&format!("container/{name}"), arch),
            network: request.network.as_deref(),
        };
        engine::build(engine, &what, &|line| progress.detail(line))
    }
}

/// The name of an image without registry, folder, tag and digest.
fn of_image(image: &str) -> String {
    let plain = image.split('@').next().unwrap_or_default();
    let last = plain.rsplit('/').next().unwrap_or_default();
    match last.split_once(':') {
        // An id: `sha256:0123...`.
        Some(("sha256", id)) => id.chars().take(12).collect(),
        Some((name, _tag)) => name.to_owned(),
        None => last.to_owned(),
    }
}

/// The name for an image in a layout or an archive: the image's own, if there is more than a tag;
/// else that of the folder or file.
fn stored_name(place: &Transport) -> String {
    let own = place.name().filter(|name| name.contains([':', '/']));
    match (place, own) {
        (Transport::Registry(reference), _) => of_image(reference.repository()),
        (_, Some(own)) => of_image(own),
        (
            Transport::Path(path)
            | Transport::OciDir(path, _)
            | Transport::OciArchive(path, _)
            | Transport::DockerArchive(path, _),
            None,
        ) => {
            let real = path.canonicalize_utf8().unwrap_or_else(|_| path.clone());
            let file = real.file_name().unwrap_or_default();
            let stem = file.split(".tar").next().unwrap_or_default();
            stem.to_owned()
        }
    }
}

/// The settings in the image's labels. A recipe that was named wins over all of them.
pub(super) fn labels(
    config: &Config,
    request: &Request,
    shown: &str,
    progress: &dyn Progress,
) -> Result<Labels, Report> {
    if request.recipe.is_some() {
        return Ok(Labels::default());
    }
    let labels = Labels::read(config.labels(), shown)?;
    labels.notes.iter().for_each(|text| progress.note(text));
    Ok(labels)
}

/// Makes sure that the engine has the image, and pulls it if it is missing.
pub(super) fn fetch(
    engine: &Engine,
    image: &str,
    arch: Arch,
    progress: &dyn Progress,
) -> Result<String, Report> {
    engine::ensure_base(engine, image, arch, None, &|t| progress.stage(t))
        .map(|base| base.name)
        .map_err(|mut report| {
            report.message = report.message.replacen("the base image", "the container image", 1);
            report.hint("check its name, --arch, and that you are logged in to its registry; use `docker load` or `docker import` for an image in a file")
        })
}

/// Build arguments of recipes. A variable of the image with the same name would override them.
pub(super) const ARGUMENTS: [&str; 2] = ["KERNEL", "BASE"];

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

/// Refuses a container in which no packages can be installed.
pub(super) fn has_package_manager(files: &Files<'_>, image: &str) -> Result<(), Report> {
    let has = |path: &str| files.look(path).is_some();
    if PACKAGE_MANAGERS.iter().any(|p| has(p)) && has("/bin/sh") {
        return Ok(());
    }
    Err(Report::mistake(format!(
        "{image} has no package manager (it is distroless, or made FROM scratch), so kernel and init cannot be installed in it"
    ))
    .hint("leave --as native out: then it is put into a ready machine"))
}

/// The recipe that serves the container's system.
pub(super) fn family(files: &Files<'_>, image: &str) -> Result<Found, Report> {
    let text = |path| match files.look(path) {
        Some(Seen::File(text)) => Some(text),
        _ => None,
    };
    // On nearly all systems the first is a link to the second.
    let os_release = text("/etc/os-release").or_else(|| text("/usr/lib/os-release"));
    let ids = os_release.as_deref().map(recipe::ids).unwrap_or_default();
    if ids.is_empty() {
        return Err(Report::mistake(format!(
            "the system in {image} is unknown: it has no /etc/os-release with an ID"
        ))
        .hint(
            "give a recipe whose Dockerfile fits: `cargo xtask image RECIPE --container IMAGE`",
        ));
    }
    recipe::serving(&ids)
}

pub(super) fn hostname(name: &str) -> Option<String> {
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
            assert_eq!(Container::Image(container.to_owned()).image_name(), name);
        }
        let dockerfile = Container::Dockerfile {
            file: "/srv/shop/Dockerfile".into(),
            context: None,
        };
        assert_eq!(dockerfile.image_name(), "shop");
        assert_eq!(hostname("web_app").as_deref(), Some("web-app"));
    }
}
