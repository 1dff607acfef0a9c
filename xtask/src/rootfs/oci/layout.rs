//! Finds the image in an OCI layout (OCI image specification, image-layout.md).

use super::OciError;
use super::blobs::{Blobs, INDEX};
use super::manifest::{Descriptor, Document, Image, Index, Manifest, parse};
use super::platform::{Platform, Version, Wanted};
use super::remote::Part;

/// Deepest nesting of indexes, and largest number of documents that are read.
const MAX_DEPTH: usize = 4;
const MAX_DOCUMENTS: usize = 256;

/// Most platforms that an error lists.
const MAX_LISTED: usize = 20;

/// An image that matches.
struct Found {
    /// The names of the entry of index.json that leads to it.
    names: Vec<String>,
    digest: String,
    version: Version,
    /// The index that lists it, if it is not index.json itself: there, the first one of two equally
    /// good images is used.
    within: Option<String>,
    manifest: Manifest,
    document: Document,
}

impl Found {
    fn name(&self) -> String {
        self.names.first().unwrap_or(&self.digest).clone()
    }
}

/// Looks through the indexes of a layout.
struct Search<'a> {
    blobs: &'a Blobs,
    wanted: &'a Wanted,
    version: Version,
    documents: usize,
    found: Vec<Found>,
    /// Platforms of images that do not match.
    others: Vec<String>,
    /// Something that is listed but not stored: a layout may contain only one platform of an index.
    missing: Option<OciError>,
}

/// Position of the search in a layout.
#[derive(Clone, Default)]
struct Way {
    names: Vec<String>,
    /// Digests of the indexes on the path.
    indexes: Vec<String>,
}

impl Search<'_> {
    fn index(&mut self, index: Index, way: &Way) -> Result<(), OciError> {
        for descriptor in index.manifests {
            if descriptor.is_artifact() {
                continue;
            }
            if let Some(platform) = descriptor.platform()
                && platform.fits(self.wanted.arch, self.version).is_none()
            {
                self.other(platform);
                continue;
            }
            let mut way = way.clone();
            if way.indexes.is_empty() {
                way.names = descriptor.names();
            }
            match self.entry(&descriptor, way) {
                Err(error @ OciError::Missing(_)) => {
                    self.missing.get_or_insert(error);
                }
                done => done?,
            }
        }
        Ok(())
    }

    fn entry(&mut self, descriptor: &Descriptor, mut way: Way) -> Result<(), OciError> {
        if descriptor.is_schema_1() {
            return Err(OciError::SchemaOne(descriptor.digest.clone()));
        }
        let same = |f: &Found| f.digest == descriptor.digest && f.names == way.names;
        if self.found.iter().any(same) {
            return Ok(());
        }
        self.documents += 1;
        if self.documents > MAX_DOCUMENTS || way.indexes.len() > MAX_DEPTH {
            return Err(OciError::TooMany("indexes and manifests"));
        }
        let (path, bytes) = descriptor.read(self.blobs, Part::Manifest)?;
        // The contents decide what it is: media types differ between Docker and OCI.
        if let Ok(index) = parse::<Index>(&path, &bytes) {
            way.indexes.push(descriptor.digest.clone());
            return self.index(index, &way);
        }
        if is_schema_1(&bytes) {
            return Err(OciError::SchemaOne(descriptor.digest.clone()));
        }
        let manifest: Manifest = parse(&path, &bytes)?;
        if manifest.is_artifact() {
            return Ok(());
        }
        let document = manifest.document(self.blobs)?;
        // If a configuration has no platform, that of its descriptor is used, or else the requested
        // one.
        let described = descriptor.platform();
        let mut platform = document.platform().unwrap_or_else(|| {
            let ours = || Wanted::from(self.wanted.arch).platform();
            described.cloned().unwrap_or_else(ours)
        });
        if let Some(variant) = described.and_then(|d| d.variant.clone()) {
            platform.variant = Some(variant);
        }
        match platform.fits(self.wanted.arch, self.version) {
            None => self.other(&platform),
            Some(version) => self.found.push(Found {
                names: way.names,
                digest: descriptor.digest.clone(),
                version,
                within: way.indexes.last().cloned(),
                manifest,
                document,
            }),
        }
        Ok(())
    }

    fn other(&mut self, platform: &Platform) {
        let name = platform.to_string();
        if !platform.is_empty() && self.others.len() < MAX_LISTED && !self.others.contains(&name) {
            self.others.push(name);
        }
    }
}

/// Whether a manifest has Docker's schema 1 (distribution, manifest/schema1), which has no
/// configuration.
fn is_schema_1(bytes: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Version {
        #[serde(rename = "schemaVersion")]
        version: u32,
    }
    serde_json::from_slice::<Version>(bytes).is_ok_and(|v| v.version == 1)
}

/// Finds the requested image of a layout.
pub(super) fn image(blobs: &Blobs, wanted: &Wanted) -> Result<Image, OciError> {
    let version = wanted
        .version()
        .ok_or_else(|| OciError::Variant(wanted.variant.clone().unwrap_or_default()))?;
    let bytes = blobs.document(INDEX)?;
    let index: Index = parse(INDEX, &bytes)?;
    let mut search = Search {
        blobs,
        wanted,
        version,
        documents: 0,
        found: Vec::new(),
        others: Vec::new(),
        missing: None,
    };
    search.index(index, &Way::default())?;
    let Search {
        found,
        others,
        missing,
        ..
    } = search;
    let found = chosen(found, wanted)?;
    let Some(found) = found else {
        return Err(missing.unwrap_or_else(|| OciError::NoneFor {
            wanted: wanted.platform().to_string(),
            others,
        }));
    };
    found.manifest.image(&found.digest, found.document, blobs)
}

/// Selects one image of all that match the machine.
fn chosen(mut found: Vec<Found>, wanted: &Wanted) -> Result<Option<Found>, OciError> {
    // An artifact that belongs to another image counts only if there is nothing else.
    if found.iter().any(|f| !f.manifest.has_subject()) {
        found.retain(|f| !f.manifest.has_subject());
    }
    let all: Vec<String> = distinct(&found);
    if wanted.name.is_some() && !found.is_empty() {
        found.retain(|f| wanted.means(&f.names, &f.digest));
        if found.is_empty() {
            return Err(OciError::NoneCalled {
                name: wanted.name.clone().unwrap_or_default(),
                all,
            });
        }
    }
    // The best variant for each name.
    let mut best: Vec<Found> = Vec::new();
    for next in found {
        let same = |f: &&mut Found| f.names == next.names;
        match best.iter_mut().find(same) {
            Some(old) if next.version > old.version => *old = next,
            Some(old) if next.version < old.version => {}
            Some(old) if next.within.is_some() && next.within == old.within => {}
            _ => best.push(next),
        }
    }
    let mut digests = std::collections::HashSet::new();
    best.retain(|f| digests.insert(f.digest.clone()));
    if best.len() > 1 {
        return Err(OciError::Several(distinct(&best)));
    }
    Ok(best.pop())
}

/// The names of images, each once.
fn distinct(found: &[Found]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in found.iter().map(Found::name) {
        if names.len() < MAX_LISTED && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}
