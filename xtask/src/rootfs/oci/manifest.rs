//! The documents of a stored image: which layers in which order, and the configuration.

use super::blobs::Blobs;
use super::config::Config;
use super::verify::Digest;
use super::{MAX_LAYERS, OciError};
use crate::recipe::Arch;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// How deep indexes may lie in indexes, and how many documents are looked at.
const MAX_DEPTH: usize = 4;
const MAX_DOCUMENTS: usize = 256;

/// One layer of an image, the lowest first.
#[derive(Debug)]
pub(super) struct Layer {
    /// Where it lies.
    pub path: String,
    /// What its file must be, if something says so: digest and length in bytes.
    pub blob: Option<(Digest, u64)>,
    /// What its tar must be, uncompressed.
    pub diff_id: Digest,
}

/// What a stored image is made of.
#[derive(Debug)]
pub(super) struct Image {
    pub layers: Vec<Layer>,
    pub config: Config,
    /// Seconds since 1970, if the image tells.
    pub created: Option<i64>,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Deserialize, Clone)]
struct Descriptor {
    digest: String,
    size: u64,
    platform: Option<Platform>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize, Clone)]
struct Platform {
    architecture: String,
    os: String,
}

/// The configuration of an image (OCI image specification, config.md).
#[derive(Deserialize)]
struct Document {
    architecture: Option<String>,
    os: Option<String>,
    created: Option<String>,
    config: Option<Config>,
    rootfs: DiffIds,
}

#[derive(Deserialize)]
struct DiffIds {
    diff_ids: Vec<String>,
}

/// An entry of the `manifest.json` that `docker save` writes (Docker image specification 1.2,
/// "Combined Image JSON + Filesystem Changeset Format").
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

fn parse<T: DeserializeOwned>(path: &str, bytes: &[u8]) -> Result<T, OciError> {
    serde_json::from_slice(bytes).map_err(|e| OciError::Document(path.to_owned(), e))
}

impl Descriptor {
    /// Reads the document that it names, and checks that it is that one.
    fn read(&self, blobs: &Blobs) -> Result<(String, Vec<u8>), OciError> {
        let digest = Digest::parse(&self.digest)?;
        let path = digest.path();
        let bytes = blobs.document(&path)?;
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

    /// The name that it was stored under, or its digest.
    fn name(&self) -> String {
        let all = self.annotations.iter().flatten();
        let name = |wanted: &str| {
            let mut all = all.clone();
            all.find(|(k, _)| *k == wanted).map(|(_, v)| v.clone())
        };
        name("io.containerd.image.name")
            .or_else(|| name("org.opencontainers.image.ref.name"))
            .unwrap_or_else(|| self.digest.clone())
    }
}

/// Looks through the indexes of a layout for the image of one architecture.
struct Search<'a> {
    blobs: &'a Blobs,
    arch: Arch,
    documents: usize,
    /// Names of what fits, with manifest and configuration, each manifest once.
    found: Vec<(Descriptor, Manifest, Document)>,
    /// Platforms of what does not.
    others: Vec<String>,
}

impl Search<'_> {
    fn index(&mut self, index: Index, depth: usize) -> Result<(), OciError> {
        for descriptor in index.manifests {
            // Attestations of BuildKit call themselves `unknown`.
            if let Some(p) = &descriptor.platform
                && (p.os != "linux" || p.architecture != self.arch.to_string())
            {
                self.other(&p.os, &p.architecture);
                continue;
            }
            if self.found.iter().any(|f| f.0.digest == descriptor.digest) {
                continue;
            }
            self.documents += 1;
            if self.documents > MAX_DOCUMENTS || depth > MAX_DEPTH {
                return Err(OciError::TooMany("indexes and manifests"));
            }
            let (path, bytes) = descriptor.read(self.blobs)?;
            // What it is says its content: media types differ between Docker and OCI.
            if let Ok(index) = parse::<Index>(&path, &bytes) {
                self.index(index, depth + 1)?;
                continue;
            }
            let manifest: Manifest = parse(&path, &bytes)?;
            let (path, bytes) = manifest.config.read(self.blobs)?;
            let document: Document = parse(&path, &bytes)?;
            match (&document.os, &document.architecture) {
                (Some(os), Some(arch)) if os != "linux" || *arch != self.arch.to_string() => {
                    self.other(os, arch);
                }
                _ => self.found.push((descriptor, manifest, document)),
            }
        }
        Ok(())
    }

    fn other(&mut self, os: &str, architecture: &str) {
        let name = format!("{os}/{architecture}");
        if os != "unknown" && !self.others.contains(&name) {
            self.others.push(name);
        }
    }
}

/// The image for `arch` in an OCI layout (OCI image specification, image-layout.md).
pub(super) fn of_layout(blobs: &Blobs, arch: Arch) -> Result<Image, OciError> {
    const INDEX: &str = "index.json";
    let index: Index = parse(INDEX, &blobs.document(INDEX)?)?;
    let mut search = Search {
        blobs,
        arch,
        documents: 0,
        found: Vec::new(),
        others: Vec::new(),
    };
    search.index(index, 0)?;
    let Search {
        mut found, others, ..
    } = search;
    if found.len() > 1 {
        return Err(OciError::Several(
            found.iter().map(|f| f.0.name()).collect(),
        ));
    }
    let Some((_, manifest, document)) = found.pop() else {
        return Err(OciError::NoneFor { arch, others });
    };
    let ids = diff_ids(&document, manifest.layers.len())?;
    let layers = manifest
        .layers
        .iter()
        .zip(ids)
        .map(|(layer, diff_id)| {
            let digest = Digest::parse(&layer.digest)?;
            Ok(Layer {
                path: digest.path(),
                blob: Some((digest, layer.size)),
                diff_id,
            })
        })
        .collect::<Result<_, OciError>>()?;
    Ok(image(document, layers))
}

/// The image in what `docker save` wrote.
pub(super) fn of_saved(blobs: &Blobs, arch: Arch) -> Result<Image, OciError> {
    const MANIFEST: &str = "manifest.json";
    let mut all: Vec<Saved> = parse(MANIFEST, &blobs.document(MANIFEST)?)?;
    if all.len() > 1 {
        let name = |s: &Saved| {
            let tags = s.repo_tags.iter().flatten().next();
            tags.unwrap_or(&s.config).clone()
        };
        return Err(OciError::Several(all.iter().map(name).collect()));
    }
    let Some(saved) = all.pop() else {
        return Err(OciError::NoneFor {
            arch,
            others: Vec::new(),
        });
    };
    let bytes = blobs.document(&saved.config)?;
    // Its name is its digest.
    let name = saved.config.rsplit('/').next().unwrap_or_default();
    let hex = name.strip_suffix(".json").unwrap_or(name);
    if let Some(wanted) = Digest::from_hex(hex)
        && wanted != Digest::of(&bytes)
    {
        return Err(OciError::Digest {
            path: saved.config,
            is: Digest::of(&bytes).to_string(),
            wanted: wanted.to_string(),
        });
    }
    let document: Document = parse(&saved.config, &bytes)?;
    if let (Some(os), Some(is)) = (&document.os, &document.architecture)
        && (os != "linux" || *is != arch.to_string())
    {
        let others = vec![format!("{os}/{is}")];
        return Err(OciError::NoneFor { arch, others });
    }
    let ids = diff_ids(&document, saved.layers.len())?;
    let layers = saved.layers.into_iter().zip(ids);
    let layers = layers
        .map(|(path, diff_id)| Layer {
            path,
            blob: None,
            diff_id,
        })
        .collect();
    Ok(image(document, layers))
}

/// Whether this is the beginning of what `docker save` writes, and not a file of that name in a
/// root file system.
pub(super) fn is_saved(bytes: &[u8]) -> bool {
    serde_json::from_slice::<Vec<Saved>>(bytes).is_ok_and(|all| !all.is_empty())
}

fn diff_ids(document: &Document, layers: usize) -> Result<Vec<Digest>, OciError> {
    let ids = &document.rootfs.diff_ids;
    if ids.len() != layers {
        return Err(OciError::Layers {
            ids: ids.len(),
            layers,
        });
    }
    if layers > MAX_LAYERS {
        return Err(OciError::ManyLayers(layers));
    }
    ids.iter().map(|id| Digest::parse(id)).collect()
}

fn image(document: Document, layers: Vec<Layer>) -> Image {
    let created = document.created.as_deref();
    Image {
        layers,
        config: document.config.unwrap_or_default(),
        created: created
            .and_then(|t| chrono::DateTime::parse_from_rfc3339(t).ok())
            .map(|t| t.timestamp().max(0)),
    }
}
