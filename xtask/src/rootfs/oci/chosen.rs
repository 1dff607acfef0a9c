//! The image in a remote source: first it is found, then its layers are read.

use super::blobs::Blobs;
use super::manifest::Image;
use super::remote::Remote;
use super::{OciError, Wanted, layout, read};
use crate::model::Digest;
use crate::rootfs::Budget;
use camino::Utf8Path;
use serde_json::json;
use std::rc::Rc;

/// The document at which the search for an image begins: an index or a manifest.
#[derive(Debug, Clone)]
pub struct Top {
    /// Digest of its bytes.
    pub digest: Digest,
    /// Number of its bytes.
    pub size: u64,
    /// Its media type, if the source says one.
    pub media_type: Option<String>,
}

/// An image that was found in a remote source, but whose layers have not been read yet.
#[derive(Debug)]
pub struct Chosen {
    blobs: Blobs,
    image: Image,
}

/// Finds the image for a machine in a remote source. Only the documents that this needs are
/// fetched.
pub fn choose(remote: Rc<dyn Remote>, top: &Top, wanted: &Wanted) -> Result<Chosen, OciError> {
    let index = json!({"schemaVersion": 2, "manifests": [{
        "mediaType": top.media_type.as_deref().unwrap_or_default(),
        "digest": top.digest.to_string(),
        "size": top.size,
    }]});
    let blobs = Blobs::Remote(remote, index.to_string().into_bytes());
    let image = layout::image(&blobs, wanted)?;
    Ok(Chosen { blobs, image })
}

impl Chosen {
    /// Digests and sizes in bytes of the layers, the lowest one first. A layer may be listed twice.
    pub fn layers(&self) -> Vec<(Digest, u64)> {
        let blobs = self.image.layers.iter().map(|layer| layer.blob);
        blobs.flatten().collect()
    }

    /// Reads the layers.
    pub fn read(
        self,
        budget: impl Into<Budget>,
        spool_dir: &Utf8Path,
    ) -> Result<super::Image, OciError> {
        // Its layers are checked while they arrive.
        let known = super::Known::default();
        read(&self.blobs, self.image, &budget.into(), spool_dir, &known)
    }
}
