//! Images under names that are private to one run.
//!
//! A tag can be moved to another image at any time, e.g. by a second run whose image has the same
//! name. So a run uses the ID of an image, and a private name where an engine needs a name
//! (`FROM`).

use super::export::apart;
use super::owner::{self, OF_RUNS};
use super::{Engine, Kind};
use crate::cleanup::Guard;
use crate::error::Report;
use std::io;

/// Number of random characters in a name.
const RANDOM: usize = 16;

/// An image that this run holds. Dropping it removes the name; the image stays if it has another
/// name.
#[derive(Debug)]
pub struct Held {
    /// Its ID in the engine, which never refers to another image.
    pub id: String,
    /// Its private name, which a Dockerfile's `FROM` can use.
    pub name: String,
    _guard: Guard,
}

/// A name that no image has yet, with the guard that removes it.
pub(super) struct Name {
    pub(super) name: String,
    guard: Guard,
}

impl Name {
    /// Returns an unused name for the caller to give to an image.
    pub(super) fn new(engine: &Engine) -> io::Result<Name> {
        // Only the name is needed: no file is created.
        let random = tempfile::Builder::new()
            .prefix("")
            .rand_bytes(RANDOM)
            .make(|path| Ok(path.to_owned()))?;
        let (path, _) = random.keep().map_err(|e| e.error)?;
        let random = path.file_name().unwrap_or_default().to_string_lossy();
        let tag = owner::tag(&random.to_ascii_lowercase());
        let name = engine.local(&format!("{OF_RUNS}{tag}"));
        let mut remove = vec!["image", "rm"];
        if engine.kind == Kind::Docker {
            // The old builder's cache consists of the image's untagged parents.
            remove.push("--no-prune");
        }
        remove.push(&name);
        let remove = engine.command(remove).stdin_null().unchecked();
        let remove = apart(remove.stdout_null().stderr_null());
        let guard = Guard::new(move || {
            let _ = remove.run();
        });
        Ok(Name { name, guard })
    }

    /// The image that has this name now.
    pub(super) fn held(self, engine: &Engine) -> Result<Held, Report> {
        let Name { name, guard } = self;
        let id = engine.id(&name)?;
        Ok(Held {
            id,
            name,
            _guard: guard,
        })
    }
}

impl Engine {
    /// Holds the image that currently has the name `image`.
    pub fn hold(&self, image: &str) -> Result<Held, Report> {
        let doing = format!("naming {image}");
        let name = Name::new(self).map_err(|e| Report::failure(doing.clone()).because(e))?;
        self.run(["tag", image, &name.name], &doing)?;
        name.held(self)
    }
}
