//! The documents of an OCI layout: the layers in order, and the configuration.

use super::blobs::Blobs;
use super::config::Config;
use super::platform::Platform;
use super::remote::Part;
use super::verify;
use super::{MAX_LAYERS, OciError};
use crate::model::Digest;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// One layer of an image. Lists start with the lowest one.
#[derive(Debug)]
pub(super) struct Layer {
    /// Path of its file.
    pub path: String,
    /// Expected digest and length of its file in bytes, if specified.
    pub blob: Option<(Digest, u64)>,
    /// Expected digest of its uncompressed tar, if specified.
    pub diff_id: Option<Digest>,
}

/// The parts of a stored image.
#[derive(Debug)]
pub(super) struct Image {
    pub layers: Vec<Layer>,
    pub config: Config,
    /// Creation time in seconds since 1970 (may be negative), if specified.
    pub created: Option<i64>,
    /// The digest of its manifest or configuration.
    pub digest: Option<Digest>,
}

impl Image {
    pub(super) fn new(document: Document, layers: Vec<Layer>, digest: Option<Digest>) -> Image {
        Image {
            layers,
            digest,
            config: document.config.unwrap_or_default(),
            created: time(document.created.as_deref()),
        }
    }
}

/// Parses a time in RFC 3339 form to seconds since 1970.
pub(super) fn time(text: Option<&str>) -> Option<i64> {
    let time = chrono::DateTime::parse_from_rfc3339(text?).ok()?;
    Some(time.timestamp())
}

#[derive(Deserialize)]
pub(super) struct Index {
    pub manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
    artifact_type: Option<String>,
    subject: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize, Clone)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    media_type: String,
    pub digest: String,
    size: u64,
    platform: Option<Platform>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
    artifact_type: Option<String>,
    #[serde(default)]
    urls: Option<Vec<String>>,
}

/// The configuration of an image (OCI image specification, config.md).
#[derive(Deserialize)]
pub(super) struct Document {
    architecture: Option<String>,
    os: Option<String>,
    variant: Option<String>,
    created: Option<String>,
    config: Option<Config>,
    rootfs: DiffIds,
}

#[derive(Deserialize)]
struct DiffIds {
    diff_ids: Vec<String>,
}

impl Document {
    /// The platform that it was built for; `None` if not specified.
    pub(super) fn platform(&self) -> Option<Platform> {
        Some(Platform {
            os: self.os.clone()?,
            architecture: self.architecture.clone()?,
            variant: self.variant.clone(),
        })
    }
}

pub(super) fn parse<T: DeserializeOwned>(path: &str, bytes: &[u8]) -> Result<T, OciError> {
    serde_json::from_slice(bytes).map_err(|e| OciError::Document(path.to_owned(), e))
}

/// Media types of indexes and manifests of images (OCI image specification, media-types.md, and
/// Docker's older names, distribution/manifest/schema2 and manifestlist).
const MANIFESTS: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// Media types of the configurations of images.
const CONFIGS: [&str; 2] = [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
];

/// Docker's first form, without a configuration; signed or not.
const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+";

/// Prefixes of the media types of layers: tars, compressed or not.
const LAYERS: [&str; 2] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.docker.image.rootfs.diff.tar",
];

/// Prefixes of those whose contents are stored elsewhere.
const FOREIGN: [&str; 2] = [
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
];

/// Whether a media type is definitely of another kind. A missing or malformed one decides nothing.
fn is_other(media_type: &str, known: &[&str]) -> bool {
    media_type.contains('/') && !known.contains(&media_type)
}

impl Descriptor {
    /// Reads the document that the descriptor points to, and checks its digest.
    pub(super) fn read(&self, blobs: &Blobs, part: Part) -> Result<(String, Vec<u8>), OciError> {
        let digest: Digest = self.digest.parse()?;
        let path = verify::path(digest);
        let bytes = blobs.part(part, digest, self.size)?;
        if bytes.len() as u64 != self.size {
            return Err(OciError::Size {
                path,
                is: bytes.len() as u64,
                wanted: self.size,
            });
        }
        let is = Digest::of(&bytes);
        if is != digest {
            return Err(OciError::Digest {
                path,
                is: is.to_string(),
                wanted: digest.to_string(),
            });
        }
        Ok((path, bytes))
    }

    /// The platform of the image according to the descriptor.
    pub(super) fn platform(&self) -> Option<&Platform> {
        self.platform.as_ref().filter(|p| !p.is_empty())
    }

    /// The names under which it was stored.
    pub(super) fn names(&self) -> Vec<String> {
        let all = self.annotations.iter().flatten();
        [
            "io.containerd.image.name",
            "org.opencontainers.image.ref.name",
        ]
        .iter()
        .filter_map(|wanted| all.clone().find(|(key, _)| key == wanted))
        .map(|(_, name)| name.clone())
        .collect()
    }

    /// Whether it describes something other than an image: a signature, a list of packages, an
    /// attestation of BuildKit.
    pub(super) fn is_artifact(&self) -> bool {
        let kind = self.artifact_type.as_deref().unwrap_or_default();
        is_other(kind, &CONFIGS)
            || is_other(&self.media_type, &MANIFESTS) && !self.is_schema_1()
            || self.platform.as_ref().is_some_and(Platform::is_unknown)
            || self
                .annotations
                .iter()
                .flatten()
                .any(|(key, _)| key == "vnd.docker.reference.type")
    }

    pub(super) fn is_schema_1(&self) -> bool {
        self.media_type.starts_with(SCHEMA_1)
    }

    /// The layer that it describes. Fails if that is not a tar or is not stored.
    fn layer(&self, blobs: &Blobs, diff_id: Digest) -> Result<Layer, OciError> {
        let begins = |with: &[&str]| with.iter().any(|b| self.media_type.starts_with(b));
        let digest: Digest = self.digest.parse()?;
        let path = verify::path(digest);
        if self.media_type.ends_with("+encrypted") {
            return Err(OciError::Encrypted(self.digest.clone()));
        }
        if begins(&FOREIGN) && !blobs.has(&path) {
            return Err(OciError::Foreign {
                digest: self.digest.clone(),
                url: self.urls.iter().flatten().next().cloned(),
            });
        }
        if self.media_type.contains('/') && !begins(&LAYERS) && !begins(&FOREIGN) {
            return Err(OciError::LayerType {
                digest: self.digest.clone(),
                kind: self.media_type.clone(),
            });
        }
        Ok(Layer {
            path,
            blob: Some((digest, self.size)),
            diff_id: Some(diff_id),
        })
    }
}

impl Manifest {
    /// Whether it is something other than an image, according to its own fields.
    pub(super) fn is_artifact(&self) -> bool {
        let kind = self.artifact_type.as_deref().unwrap_or_default();
        is_other(kind, &CONFIGS) || is_other(&self.config.media_type, &CONFIGS)
    }

    /// Whether it belongs to another image: signatures do, images hardly ever.
    pub(super) fn has_subject(&self) -> bool {
        self.subject.is_some()
    }

    pub(super) fn document(&self, blobs: &Blobs) -> Result<Document, OciError> {
        let (path, bytes) = self.config.read(blobs, Part::Config)?;
        parse(&path, &bytes)
    }

    /// The image with this manifest and its configuration.
    pub(super) fn image(
        &self,
        digest: &str,
        document: Document,
        blobs: &Blobs,
    ) -> Result<Image, OciError> {
        let ids = diff_ids(&document, self.layers.len())?;
        let layers = self.layers.iter().zip(ids);
        let layers = layers
            .map(|(layer, id)| layer.layer(blobs, id))
            .collect::<Result<_, OciError>>()?;
        Ok(Image::new(document, layers, digest.parse().ok()))
    }
}

pub(super) fn diff_ids(document: &Document, layers: usize) -> Result<Vec<Digest>, OciError> {
    let ids = &document.rootfs.diff_ids;
    if layers > MAX_LAYERS {
        return Err(OciError::ManyLayers(layers));
    }
    if ids.len() != layers {
        return Err(OciError::Layers {
            ids: ids.len(),
            layers,
        });
    }
    ids.iter().map(|id| Ok(id.parse()?)).collect()
}
