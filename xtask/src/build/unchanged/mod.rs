//! Nothing is made twice: an image is up to date if nothing that it was made from has changed, and
//! its files are as they were.
//!
//! Like make(1), this trusts what is here: a newer image in a registry or newer packages in a
//! distribution's archive are seen when the image is made, as by the engine's own cache.

mod dockerfile;
mod folder;
mod inputs;
mod record;

use super::Request;
use crate::deliver::{direct, manifest, pages};
use crate::error::Report;
use crate::progress::Progress;
use camino::Utf8PathBuf;
use inputs::Inputs;
use record::Record;

/// An image that need not be made again.
#[derive(Debug)]
pub struct UpToDate {
    /// Its name.
    pub name: String,
    /// Its files, without the metadata files.
    pub files: Vec<Utf8PathBuf>,
}

/// Looks whether making this image would give what is already there. Tells why not, if it was made
/// before.
pub fn up_to_date(request: &Request, progress: &dyn Progress) -> Result<Option<UpToDate>, Report> {
    request.check()?;
    let name = request.title();
    let Some(record) = Record::read(&request.output, &name) else {
        return Ok(None);
    };
    // The files come first: asking for the inputs takes longer.
    let why = match record.touched() {
        Some(file) => format!("{file} is not the file that was made"),
        None => match Inputs::of(request).map(|now| record.inputs.changed(&now)) {
            Err(unknown) => unknown.to_string(),
            Ok(Some(what)) => format!("{what} changed"),
            Ok(None) => {
                let files = record.images;
                return Ok(Some(UpToDate { name, files }));
            }
        },
    };
    progress.detail(&format!("{name} is made again, because {why}"));
    Ok(None)
}

/// The inputs of an image that is being made.
pub(super) struct Watch(Option<Inputs>);

impl Watch {
    /// Looks at the inputs before they are read.
    pub(super) fn begin(request: &Request) -> Watch {
        let inputs = Inputs::of(request);
        Watch(
            inputs
                .inspect_err(|unknown| forgotten(request, unknown))
                .ok(),
        )
    }

    /// Remembers the image and its inputs. `request` is what `begin` got, and `files` are the
    /// image's.
    pub(super) fn end(self, request: &Request, name: &str, files: &[Utf8PathBuf]) {
        let Some(inputs) = self.0 else { return };
        let inputs = match inputs.after(request) {
            Ok(inputs) => inputs,
            Err(unknown) => return forgotten(request, &unknown),
        };
        let targets = pages::names(name);
        let metadata = [manifest::file_name(name), manifest::spdx_name(name)];
        let others = metadata.into_iter().chain(targets);
        let others = others.chain(direct::names(name));
        let others = others.map(|other| request.output.join(other));
        let others = others.filter(|path| path.is_file()).collect();
        if let Ok(record) = Record::new(inputs, files.to_vec(), others) {
            record.write(&request.output, name);
        }
    }
}

fn forgotten(request: &Request, unknown: &inputs::Unknown) {
    tracing::debug!("{} is always made: {unknown}", request.title());
}
