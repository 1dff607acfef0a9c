//! `--container` and `--dockerfile`: turn any container image into a machine.
//!
//! Native: the image's os-release(5) says which system it is. The recipe that serves that system is
//! built with the image as its base. Hosted: the image's files are put into a ready machine.

use super::{choices, from};
use crate::build::Container;
use crate::error::Report;
use crate::machine::Choice;
use crate::model::{Join, Service};
use camino::Utf8PathBuf;

/// Options for making a machine from a container.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Turn this container image into a machine, with its command as a service: the name of an image
    /// in the container engine, or docker://HOST/REPOSITORY:TAG, oci:DIR[:NAME],
    /// oci-archive:FILE[:NAME] or docker-archive:FILE[:NAME], which need no engine
    #[arg(long, value_name = "IMAGE", group = "input", conflicts_with_all = ["from", "base"])]
    container: Option<String>,
    /// Build this Dockerfile and turn the result into a machine, as --container does
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "base", "container"])]
    dockerfile: Option<Utf8PathBuf>,
    /// Build context: the folder that the Dockerfile copies from [default: the Dockerfile's folder]
    #[arg(long, value_name = "DIR", requires = "dockerfile")]
    context: Option<Utf8PathBuf>,
    /// How the container becomes part of the machine [default: native if the image is in an engine
    /// and has a package manager that a recipe serves, else hosted]
    #[arg(long = "as", value_name = "HOW", value_parser = choices::of::<Join>())]
    pub(super) join: Option<Join>,
    /// The machine that a hosted container is put into: NAME, NAME@sha256:DIGEST, or oci:DIR
    #[arg(long, value_name = "MACHINE")]
    machine: Option<String>,
    /// Name of the image file, without its extension
    #[arg(long)]
    pub(super) name: Option<String>,
    /// Whether the container's command becomes a service of the machine
    #[arg(long, value_name = "WHEN", value_parser = choices::of::<Service>())]
    pub(super) service: Option<Service>,
    /// Start this instead of the container's entry point: words as in a shell, or a JSON list. The
    /// container's command is then left out, as in engines
    #[arg(long, value_name = "WORDS")]
    entrypoint: Option<String>,
    /// Start this instead of the container's command: words as in a shell, or a JSON list
    #[arg(long, value_name = "WORDS")]
    cmd: Option<String>,
    /// Let a hosted container's command do everything that root may, with all devices
    #[arg(long)]
    pub(super) privileged: bool,
}

impl Args {
    /// The container to turn into a machine, if one was given.
    pub(super) fn wanted(&self, image: &from::Args) -> Result<Option<Container>, Report> {
        if self.container.is_none() && self.dockerfile.is_none() {
            let given = [
                ("--as", self.join.is_some()),
                ("--machine", self.machine.is_some()),
                ("--entrypoint", self.entrypoint.is_some()),
                ("--cmd", self.cmd.is_some()),
                ("--privileged", self.privileged),
            ];
            if let Some((option, _)) = given.into_iter().find(|(_, given)| *given) {
                return Err(Report::mistake(format!(
                    "{option} is about a container, but none is given"
                ))
                .hint("give one with --container or --dockerfile"));
            }
        }
        if self.join == Some(Join::Native) && self.machine.is_some() {
            return Err(Report::mistake(
                "--machine does not fit --as native: then the container's own system is the machine",
            )
            .hint("use --as hosted, or leave --machine out"));
        }
        if self.join != Some(Join::Hosted) && self.privileged {
            return Err(Report::mistake(
                "--privileged is about a hosted container: nothing is taken away from others",
            )
            .hint("add --as hosted, or leave --privileged out"));
        }
        Ok(match (&self.container, &self.dockerfile) {
            (Some(name), _) => Some(image.container(name)?),
            (None, Some(file)) => Some(Container::Dockerfile {
                file: file.clone(),
                context: self.context.clone(),
            }),
            (None, None) => None,
        })
    }

    /// The entry point that replaces the container's.
    pub(super) fn entrypoint(&self) -> Result<Option<Vec<String>>, Report> {
        let given = self.entrypoint.as_deref();
        given.map(|text| words("--entrypoint", text)).transpose()
    }

    /// The command that replaces the container's.
    pub(super) fn cmd(&self) -> Result<Option<Vec<String>>, Report> {
        let given = self.cmd.as_deref();
        given.map(|text| words("--cmd", text)).transpose()
    }

    /// The machine that was chosen, if any.
    pub(super) fn machine(&self) -> Result<Option<Choice>, Report> {
        self.machine.as_deref().map(str::parse).transpose()
    }
}

/// The words of a command: a JSON list, as in Dockerfiles, or a text with a shell's quotes.
fn words(option: &str, text: &str) -> Result<Vec<String>, Report> {
    let list = text.trim_start().starts_with('[');
    let words = match list {
        true => serde_json::from_str(text).ok(),
        false => shlex::split(text),
    };
    words.ok_or_else(|| {
        Report::mistake(match list {
            true => format!("{option} {text:?} is not a JSON list of texts"),
            false => format!("{option} {text:?} has a quote without an end"),
        })
        .hint("write it as in a Dockerfile, e.g. '[\"/app\", \"an argument\"]'")
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::words;

    #[test]
    fn both_forms_of_a_command() {
        for (text, wanted) in [
            ("/app 'a b' c\\ d", &["/app", "a b", "c d"] as &[&str]),
            (" [\"/app\", \"it's\"]", &["/app", "it's"]),
            ("", &[]),
            ("[]", &[]),
        ] {
            assert_eq!(words("--cmd", text).unwrap(), wanted, "{text}");
        }
        for text in ["'a", "[1]", "[\"a\""] {
            let e = words("--cmd", text).unwrap_err();
            assert!(e.message.contains("--cmd"), "{e}");
        }
    }
}
