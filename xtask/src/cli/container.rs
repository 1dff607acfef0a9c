//! `--container` and `--dockerfile`: somebody else's image becomes a machine.
//!
//! What it is says its os-release(5); the recipe that serves such systems is built with the
//! image as its base.

use super::choices;
use crate::build::Container;
use crate::model::Service;
use camino::Utf8PathBuf;

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
    pub(super) name: Option<String>,
    /// Whether the container's command becomes a service of the machine
    #[arg(long, value_name = "WHEN", value_parser = choices::of::<Service>())]
    pub(super) service: Option<Service>,
}

impl Args {
    /// The container that is to become a machine.
    pub(super) fn wanted(&self) -> Option<Container> {
        match (&self.container, &self.dockerfile) {
            (Some(image), _) => Some(Container::Image(image.clone())),
            (None, Some(file)) => Some(Container::Dockerfile {
                file: file.clone(),
                context: self.context.clone(),
            }),
            (None, None) => None,
        }
    }
}
