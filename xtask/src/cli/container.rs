//! `--container` and `--dockerfile`: turn any container image into a machine.
//!
//! The image's os-release(5) says which system it is. The recipe that serves that system is built
//! with the image as its base.

use super::choices;
use crate::build::Container;
use crate::model::Service;
use camino::Utf8PathBuf;

/// Options for making a machine from a container.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Turn this container image into a machine: the recipe that serves its system adds the kernel,
    /// init and drivers, and its command becomes a service
    #[arg(long, value_name = "IMAGE", conflicts_with_all = ["from", "base"])]
    container: Option<String>,
    /// Build this Dockerfile and turn the result into a machine, as --container does
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "base", "container"])]
    dockerfile: Option<Utf8PathBuf>,
    /// Build context: the folder that the Dockerfile copies from [default: the Dockerfile's folder]
    #[arg(long, value_name = "DIR", requires = "dockerfile")]
    context: Option<Utf8PathBuf>,
    /// Name of the image file, without its extension
    #[arg(long)]
    pub(super) name: Option<String>,
    /// Whether the container's command becomes a service of the machine
    #[arg(long, value_name = "WHEN", value_parser = choices::of::<Service>())]
    pub(super) service: Option<Service>,
}

impl Args {
    /// The container to turn into a machine, if one was given.
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
