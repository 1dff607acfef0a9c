//! Images under names that only one run knows.
//!
//! A tag can be given to another image at any time, e.g. by a second run whose image has the same
//! name. So a run goes on with the id of an image, and where an engine wants a name (`FROM`), with
//! one that nobody else uses.

use super::export::apart;
use super::owner::{self, OF_RUNS};
use super::{Engine, Kind};
use crate::cleanup::Guard;
use crate::error::Report;
use std::io;

/// Letters and digits that a name gets by chance.
const RANDOM: usize = 16;

/// An image that this run holds. Its name goes when this is dropped; the image stays if it has
/// another name.
#[derive(Debug)]
pub struct Held {
    /// What the engine calls it: by this it is the same image for ever.
    pub id: String,
    /// Its name for this run, which a Dockerfile's `FROM` finds.
    pub name: String,
    _guard: Guard,
}

/// A name that no image has yet, and the guard that removes it.
pub(super) struct Name {
    pub(super) name: String,
    guard: Guard,
}

impl Name {
    /// The name is free; whoever gives it to an image does so after this.
    pub(super) fn new(engine: &Engine) -> io::Result<Name> {
        // Only the name is wanted: nothing is made in the file system.
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
            // The old builder's cache is made of the image's untagged parents.
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

    /// The image that has the name now.
    pub(super) fn held(self, engine: &Engine) -> Result<Held, Report> {
        let Name { name, guard } = self;
        let id = engine.run(
            ["image", "inspect", "--format", "{{.Id}}", &name],
            "asking for the id of an image",
        )?;
        Ok(Held {
            id,
            name,
            _guard: guard,
        })
    }
}

impl Engine {
    /// Holds the image that is called `image` now.
    pub fn hold(&self, image: &str) -> Result<Held, Report> {
        let doing = format!("naming {image}");
        let name = Name::new(self).map_err(|e| Report::failure(doing.clone()).because(e))?;
        self.run(["tag", image, &name.name], &doing)?;
        name.held(self)
    }
}
