//! A root file system or a container image that is read, not built.

use super::input::{self, Read};
use super::{checked, pulled};
use crate::error::Report;
use crate::model::{Arch, Transport, is_host};
use crate::progress::Progress;
use crate::rootfs::oci::Wanted;
use crate::rootfs::{Budget, Limits};
use camino::{Utf8Path, Utf8PathBuf};

/// A root file system or a container image in files or in a registry.
#[derive(Debug, Clone)]
pub struct Input {
    /// Where it is.
    pub place: Transport,
    /// Which image to use if there are several: its name, tag or digest.
    pub image_name: Option<String>,
    /// Newest variant of the architecture that the machine supports, e.g. `v3`.
    pub variant: Option<String>,
    /// Folder with further blobs of an OCI layout.
    pub blob_dir: Option<Utf8PathBuf>,
    /// Registries, with their ports, to which plain HTTP is used.
    pub insecure_registries: Vec<String>,
}

impl Input {
    /// The input at this place, with nothing else specified.
    pub fn new(place: Transport) -> Input {
        Input {
            place,
            image_name: None,
            variant: None,
            blob_dir: None,
            insecure_registries: Vec::new(),
        }
    }

    /// Which image of it is meant, for a machine of this architecture.
    fn wanted(&self, arch: Arch) -> Wanted {
        let name = self.place.name().map(str::to_owned);
        Wanted {
            arch,
            variant: self.variant.clone(),
            name: self.image_name.clone().or(name),
            blob_dir: self.blob_dir.clone(),
            known: checked::known(),
        }
    }

    /// Reads it for a machine of this architecture. `spool` is as for [`input::read`].
    pub(super) fn read(
        &self,
        arch: Arch,
        limits: Limits,
        spool: &Utf8Path,
        progress: &dyn Progress,
    ) -> Result<Read, Report> {
        let wanted = self.wanted(arch);
        match &self.place {
            Transport::Registry(reference) => {
                let insecure = &self.insecure_registries;
                pulled::read(reference, insecure, &wanted, limits, spool, progress)
            }
            place => input::read(place, &wanted, Budget::new(limits), spool, progress),
        }
    }

    /// Fails if its parts contradict each other. `whose` is the option that names the place.
    pub(super) fn check(&self, whose: &str) -> Result<(), Report> {
        let place = &self.place;
        let conflict = |option: &str, why: &str, hint: &str| {
            Err(Report::mistake(format!("{option} does not fit {whose} {place}: {why}")).hint(hint))
        };
        let registry = matches!(place, Transport::Registry(_));
        if self.image_name.is_some() && (registry || place.name().is_some()) {
            return conflict(
                "--image-name",
                "that already names the image",
                "give the name once",
            );
        }
        if self.blob_dir.is_some() && registry {
            return conflict("--blob-dir", "that is a registry", "leave it out");
        }
        if !self.insecure_registries.is_empty() && !registry {
            return conflict(
                "--insecure-registry",
                "that is not a registry",
                "leave it out, or write docker://HOST/REPOSITORY:TAG",
            );
        }
        let wrong = self.insecure_registries.iter().find(|host| !is_host(host));
        match wrong {
            Some(host) => Err(Report::mistake(format!(
                "--insecure-registry {host:?} is not a host name with an optional port"
            ))
            .hint("write it as in the name of the image, e.g. localhost:5000")),
            None => Ok(()),
        }
    }
}
