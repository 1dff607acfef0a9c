//! Decides how a container becomes part of a machine, and finds it.
//!
//! *Native* needs an engine, a package manager in the image, and a recipe that serves its system.
//! *Hosted* needs none of them, only a machine.

use super::Request;
use super::container::{self, Container, Prepared};
use super::from::Input;
use super::hosted::{Hosted, Origin};
use crate::engine::{self, Engine, Files, Held};
use crate::error::Report;
use crate::model::{Join, Reference, Transport};
use crate::progress::{Progress, Silent};
use crate::recipe::Found;

/// How the container becomes part of a machine.
pub(super) enum Way {
    Native(Box<Prepared>),
    Hosted(Box<Hosted>),
}

/// Finds or builds the container's image, decides, and says how and why.
pub(super) fn decide(
    container: &Container,
    request: &Request,
    progress: &dyn Progress,
) -> Result<Way, Report> {
    let shown = &container.named();
    let put = |origin: &Origin, engine: Option<&Engine>, why: &str| {
        progress.stage(&format!("{shown}: hosted, because {why}"));
        Hosted::new(origin, engine, container, request, progress).map(|h| Way::Hosted(Box::new(h)))
    };
    if let Container::Stored(input) = container {
        return match request.join {
            Some(Join::Native) => Err(Report::mistake(format!(
                "--as native needs an image in a container engine, but {shown} is not in one"
            ))
            .hint("put it into the engine first (`docker load`, `docker pull`), and give its name; or use --as hosted")),
            Some(Join::Hosted) => put(&Origin::Input(input.clone()), None, ASKED),
            None => {
                let why = "the image does not come from a container engine";
                put(&Origin::Input(input.clone()), None, why)
            }
        };
    }
    let engine = match Engine::find(request.engine) {
        Ok(engine) => engine,
        Err(e) => {
            let native = request.join == Some(Join::Native) || request.engine.is_some();
            let name = match container {
                Container::Image(name) if !native => name,
                _ => return Err(e),
            };
            let input = pulled(name).ok_or(e)?;
            progress.note(&format!(
                "no container engine answers, so {name} is pulled as {}",
                input.place
            ));
            let why = "no container engine answers";
            return put(&Origin::Input(input), None, why);
        }
    };
    let image = container.image(&engine, request, progress)?;
    let (join, asked) = match request.join {
        Some(join) => (Some(join), ASKED),
        None => {
            let config = engine.config(&image.id)?;
            let labels = container::labels(&config, request, shown, &Silent)?;
            (labels.join, "its label says so")
        }
    };
    if join == Some(Join::Hosted) {
        return put(&Origin::Saved(image), Some(&engine), asked);
    }
    match family(&engine, &image, container, request) {
        Ok(family) => {
            progress.stage(&format!(
                "{shown}: native, because it has a package manager: turning it into a machine with the recipe {}",
                family.name
            ));
            container
                .native(&engine, image, family, request, progress)
                .map(|p| Way::Native(Box::new(p)))
        }
        Err(Not::Possible(e)) if join == Some(Join::Native) => {
            let hint = e.hint.clone().unwrap_or_default();
            Err(e.hint(format!("{hint}; or use --as hosted")))
        }
        Err(Not::Possible(e)) => {
            let why = e.message.replacen(&format!("{shown} has"), "it has", 1);
            put(&Origin::Saved(image), Some(&engine), &why)
        }
        Err(Not::Asked(e)) => Err(e),
    }
}

const ASKED: &str = "--as hosted says so";

/// Why a container does not become a machine natively.
enum Not {
    /// It cannot.
    Possible(Report),
    /// The request is wrong.
    Asked(Report),
}

/// The recipe for a native machine: the request's, or the one that serves the container's system.
fn family(
    engine: &Engine,
    image: &Held,
    container: &Container,
    request: &Request,
) -> Result<Found, Not> {
    let files = Files::of(engine, &image.id).map_err(Not::Asked)?;
    let shown = &container.named();
    container::has_package_manager(&files, shown).map_err(Not::Possible)?;
    match &request.recipe {
        Some(found) => request.complete(found.clone()).map_err(Not::Asked),
        None => container::family(&files, shown).map_err(Not::Possible),
    }
}

/// The image of that name in a registry.
fn pulled(name: &str) -> Option<Input> {
    let reference: Reference = name.parse().ok()?;
    Some(Input::new(Transport::Registry(reference)))
}

impl Container {
    /// The image in the engine.
    fn image(
        &self,
        engine: &Engine,
        request: &Request,
        progress: &dyn Progress,
    ) -> Result<Held, Report> {
        let arch = request.overrides.arch.unwrap_or_else(engine::host_arch);
        match self {
            Container::Image(image) => {
                let fetched = container::fetch(engine, image, arch, progress)?;
                engine.hold(&fetched)
            }
            Container::Dockerfile { file, .. } => {
                let name = self.name_for(request);
                self.build(file, &name, (engine, arch), request, progress)
            }
            Container::Stored(input) => Err(Report::failure(format!(
                "{} is not in a container engine",
                input.place
            ))),
        }
    }
}
