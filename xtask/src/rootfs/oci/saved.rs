//! Finds the image in the output of any version of `docker save`.

use super::blobs::Blobs;
use super::config::Config;
use super::manifest::{Document, Image, Layer, diff_ids, parse};
use super::platform::{Platform, Wanted};
use super::{MAX_LAYERS, OciError};
use crate::model::Digest;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The list of images since Docker 1.10.
pub(super) const MANIFEST: &str = "manifest.json";

/// The list of names; before Docker 1.10, the only list.
pub(super) const REPOSITORIES: &str = "repositories";

/// Largest number of images in one archive.
const MAX_IMAGES: usize = 256;

/// An entry of `manifest.json` (Docker image specification 1.2, "Combined Image JSON +
/// Filesystem Changeset Format").
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Saved {
    fn names(&self) -> Vec<String> {
        self.repo_tags.clone().unwrap_or_default()
    }

    /// The digest of its configuration, which is the image's id and the name of its file.
    fn id(&self) -> Option<Digest> {
        let name = self.config.rsplit('/').next().unwrap_or_default();
        Digest::from_hex(name.strip_suffix(".json").unwrap_or(name))
    }

    fn document(&self, blobs: &Blobs) -> Result<Document, OciError> {
        let bytes = blobs.document(&self.config)?;
        let is = Digest::of(&bytes);
        match self.id() {
            Some(wanted) if wanted != is => Err(OciError::Digest {
                path: self.config.clone(),
                is: is.to_string(),
                wanted: wanted.to_string(),
            }),
            _ => parse(&self.config, &bytes),
        }
    }
}

/// Whether this is the start of the output of `docker save`, and not a file with that name in a
/// root file system.
pub(super) fn is_saved(bytes: &[u8]) -> bool {
    serde_json::from_slice::<Vec<Saved>>(bytes).is_ok_and(|all| !all.is_empty())
}

/// Finds the requested image in `manifest.json`.
pub(super) fn image(blobs: &Blobs, wanted: &Wanted) -> Result<Image, OciError> {
    let mut all: Vec<Saved> = parse(MANIFEST, &blobs.document(MANIFEST)?)?;
    if all.len() > MAX_IMAGES {
        return Err(OciError::TooMany("images"));
    }
    let name = |s: &Saved| s.names().first().unwrap_or(&s.config).clone();
    let names: Vec<String> = all.iter().map(name).collect();
    if wanted.name.is_some() {
        let id = |s: &Saved| s.id().map(|id| id.to_string()).unwrap_or_default();
        all.retain(|s| wanted.means(&s.names(), &id(s)));
    }
    if all.len() > 1 {
        return Err(OciError::Several(all.iter().map(name).collect()));
    }
    let Some(saved) = all.pop() else {
        return Err(match &wanted.name {
            Some(name) => OciError::NoneCalled {
                name: name.clone(),
                all: names,
            },
            None => none_for(wanted, Vec::new()),
        });
    };
    let document = saved.document(blobs)?;
    fits(document.platform(), wanted)?;
    let ids = diff_ids(&document, saved.layers.len())?;
    let id = saved.id();
    let layers = saved.layers.into_iter().zip(ids);
    let layers = layers
        .map(|(path, diff_id)| Layer {
            path,
            blob: None,
            diff_id: Some(diff_id),
        })
        .collect();
    Ok(Image::new(document, layers, id))
}

fn none_for(wanted: &Wanted, others: Vec<String>) -> OciError {
    let wanted = wanted.platform().to_string();
    OciError::NoneFor { wanted, others }
}

/// Accepts a single saved image that has no platform, or whose platform fits the machine.
fn fits(platform: Option<Platform>, wanted: &Wanted) -> Result<(), OciError> {
    let Some(platform) = platform.filter(|p| !p.is_empty()) else {
        return Ok(());
    };
    let version = wanted
        .version()
        .ok_or_else(|| OciError::Variant(wanted.variant.clone().unwrap_or_default()))?;
    match platform.fits(wanted.arch, version) {
        Some(_) => Ok(()),
        None => Err(none_for(wanted, vec![platform.to_string()])),
    }
}

/// Names, their tags, and the id of the topmost layer.
type Repositories = BTreeMap<String, BTreeMap<String, String>>;

/// The `json` of a layer (Docker image specification 1.0, "Image JSON Description").
#[derive(Deserialize)]
struct Old {
    parent: Option<String>,
    created: Option<String>,
    architecture: Option<String>,
    os: Option<String>,
    config: Option<Config>,
}

/// The names and topmost layers in `repositories`; `None` if it is not from `docker save`.
fn repositories(blobs: &Blobs) -> Option<Vec<(String, String)>> {
    let bytes = blobs.document(REPOSITORIES).ok()?;
    let all: Repositories = serde_json::from_slice(&bytes).ok()?;
    let all = all.into_iter().flat_map(|(name, tags)| {
        let tags = tags.into_iter();
        tags.map(move |(tag, id)| (format!("{name}:{tag}"), id))
    });
    Some(all.take(MAX_IMAGES).collect())
}

/// Whether this is the output of `docker save` before Docker 1.10.
pub(super) fn is_old(blobs: &Blobs) -> bool {
    repositories(blobs).is_some_and(|all| {
        let stored = |id: &str| blobs.has(&format!("{id}/json"));
        !all.is_empty() && all.iter().all(|(_, id)| stored(id))
    })
}

/// Finds the requested image in `repositories`. It contains no digests.
pub(super) fn old_image(blobs: &Blobs, wanted: &Wanted) -> Result<Image, OciError> {
    let mut all = repositories(blobs).unwrap_or_default();
    let names: Vec<String> = all.iter().map(|(name, _)| name.clone()).collect();
    all.retain(|(name, id)| wanted.means(std::slice::from_ref(name), &format!("sha256:{id}")));
    let Some((_, top)) = all.first().cloned() else {
        let name = wanted.name.clone().unwrap_or_default();
        return Err(OciError::NoneCalled { name, all: names });
    };
    if all.iter().any(|(_, id)| *id != top) {
        return Err(OciError::Several(
            all.into_iter().map(|(name, _)| name).collect(),
        ));
    }
    let read = |id: &str| -> Result<Old, OciError> {
        let path = format!("{id}/json");
        parse(&path, &blobs.document(&path)?)
    };
    let image = read(&top)?;
    fits(
        image.architecture.clone().map(|architecture| Platform {
            architecture,
            os: image.os.clone().unwrap_or_else(|| "linux".into()),
            variant: None,
        }),
        wanted,
    )?;
    let mut layers = Vec::new();
    let (mut id, mut parent) = (top, image.parent.clone());
    loop {
        layers.push(Layer {
            path: format!("{id}/layer.tar"),
            blob: None,
            diff_id: None,
        });
        // This also stops if a layer is its own ancestor.
        if layers.len() > MAX_LAYERS {
            return Err(OciError::ManyLayers(layers.len()));
        }
        let Some(next) = parent.filter(|p| !p.is_empty()) else {
            break;
        };
        parent = read(&next)?.parent;
        id = next;
    }
    layers.reverse();
    Ok(Image {
        layers,
        config: image.config.unwrap_or_default(),
        created: super::manifest::time(image.created.as_deref()),
        digest: None,
    })
}
