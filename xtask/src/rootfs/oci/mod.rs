//! Container images as files: OCI layouts (a folder or a tar) and what `docker save` writes.
//!
//! The layers are put one over the other here, so no container engine is needed. An image comes
//! from anywhere: every digest is checked, nothing outside of the image is ever named, and what
//! it unpacks to is bounded before memory, disk or time are.

mod blobs;
mod config;
mod manifest;
mod verify;

pub use config::Config;

use super::Rootfs;
use super::tar::{self, Layers, TarError};
use crate::error::Report;
use crate::recipe::Arch;
use crate::size::{GIB, Size};
use blobs::Blobs;
use camino::Utf8Path;
use manifest::Layer;
use std::io;
use verify::Hashed;

/// Most layers. Engines stop at 127, the kernel's overlays at 500.
const MAX_LAYERS: usize = 500;

/// A root file system and what its image says of containers made of it.
#[derive(Debug)]
pub struct Image {
    /// The root file system. Its `epoch` is when the image was made, if the image tells.
    pub rootfs: Rootfs,
    /// The command and what belongs to it.
    pub config: Config,
}

/// What was read: an image with a configuration, or a plain root file system.
#[derive(Debug)]
pub enum Input {
    /// A plain root file system.
    Rootfs(Rootfs),
    /// An image.
    Image(Box<Image>),
}

/// What an image may be.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// Most bytes that all layers together may unpack to. If not given: 1 GiB, and 256 bytes
    /// for each byte of the files. (What compresses better is made of zeros: a program that
    /// says so has to be asked first.)
    pub unpacked: Option<u64>,
}

/// What is wrong with a stored image.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // The messages say it.
pub enum OciError {
    #[error("it names the path {0:?}, which is not inside of it")]
    Outside(String),
    #[error("{0} is a symbolic link that leads out of it, to nothing, or in a circle")]
    Link(String),
    #[error("{0} is missing")]
    Missing(String),
    #[error("{0} is no file")]
    NoFile(String),
    #[error("{path} has {len} bytes, more than the {most} that make sense there")]
    Large { path: String, len: u64, most: u64 },
    #[error("{0} cannot be read: {1}")]
    Read(String, io::Error),
    #[error("{0} is not what it should be: {1}")]
    Document(String, serde_json::Error),
    #[error("{0:?} is no digest of the form sha256:<64 digits>")]
    NoDigest(String),
    #[error("{path} has {is} bytes, but the image says {wanted}")]
    Size { path: String, is: u64, wanted: u64 },
    #[error("{path} has the digest {is}, but the image says {wanted}")]
    Digest {
        path: String,
        is: String,
        wanted: String,
    },
    #[error("it has {ids} diff_ids for {layers} layers")]
    Layers { ids: usize, layers: usize },
    #[error("it has {0} layers; more than 500 make no sense")]
    ManyLayers(usize),
    #[error("it has more {0} than make sense")]
    TooMany(&'static str),
    #[error("it holds several images: {}", .0.join(", "))]
    Several(Vec<String>),
    #[error("it holds no image for linux/{arch}{}", only(.others))]
    NoneFor { arch: Arch, others: Vec<String> },
    #[error("its layers unpack to more than {}", Size(*.0))]
    Bomb(u64),
    #[error("the layer {0}: {1}")]
    Layer(String, TarError),
    #[error(transparent)]
    Tar(#[from] TarError),
}

fn only(others: &[String]) -> String {
    if others.is_empty() {
        String::new()
    } else {
        format!(", only for {}", others.join(", "))
    }
}

impl OciError {
    /// What to do about it.
    fn hint(&self) -> &'static str {
        match self {
            OciError::Several(_) => {
                "store one alone: `docker save IMAGE`, or `skopeo copy ... oci:DIR:TAG` into a new folder"
            }
            OciError::NoneFor { .. } => {
                "name the architecture by --arch, or fetch the image for this one"
            }
            OciError::Bomb(_) => {
                "if you trust the image, allow it by --max-unpacked, as --max-unpacked 64G"
            }
            OciError::Missing(_) | OciError::Size { .. } | OciError::Digest { .. } => {
                "the image is damaged, not complete, or was changed: fetch it again"
            }
            OciError::Read(..) => "make sure that you may read it",
            OciError::Layer(_, TarError::Io(e)) if e.kind() == io::ErrorKind::StorageFull => {
                "free some space where the image is written: the file contents wait there"
            }
            _ => "make it again by `docker save`, `podman save`, `skopeo copy` or `buildah push`",
        }
    }
}

impl From<OciError> for Report {
    fn from(error: OciError) -> Report {
        match error {
            OciError::Tar(error) => error.into(),
            error => Report::failure("reading the container image")
                .hint(error.hint())
                .because(error),
        }
    }
}

/// Whether a folder is a stored image.
pub fn is_image_dir(dir: &Utf8Path) -> bool {
    ["oci-layout", "manifest.json"]
        .iter()
        .any(|file| dir.join(file).is_file())
}

/// Reads the image for `arch` out of a folder.
pub fn from_dir(
    dir: &Utf8Path,
    arch: Arch,
    limits: Limits,
    spool_dir: &Utf8Path,
) -> Result<Image, OciError> {
    read(&Blobs::Dir(dir.to_owned()), arch, limits, spool_dir)
}

/// Takes what a tar held for what it is: an image for `arch`, which is unpacked, or a root file
/// system.
pub fn from_tar(
    rootfs: Rootfs,
    arch: Arch,
    limits: Limits,
    spool_dir: &Utf8Path,
) -> Result<Input, OciError> {
    let blobs = Blobs::Tar(Box::new(rootfs));
    let is_image = blobs.has("oci-layout") && blobs.has("index.json")
        || blobs.has("manifest.json")
            && blobs
                .document("manifest.json")
                .is_ok_and(|bytes| manifest::is_saved(&bytes));
    if is_image {
        let mut image = read(&blobs, arch, limits, spool_dir)?;
        if let Blobs::Tar(outer) = blobs {
            image.rootfs.notes.splice(0..0, outer.notes);
        }
        return Ok(Input::Image(Box::new(image)));
    }
    match blobs {
        Blobs::Tar(rootfs) => Ok(Input::Rootfs(*rootfs)),
        Blobs::Dir(dir) => Err(OciError::NoFile(dir.into_string())),
    }
}

fn read(
    blobs: &Blobs,
    arch: Arch,
    limits: Limits,
    spool_dir: &Utf8Path,
) -> Result<Image, OciError> {
    // Newer Dockers save both; only the layout has a digest for each file.
    let image = if blobs.has("oci-layout") && blobs.has("index.json") {
        manifest::of_layout(blobs, arch)?
    } else {
        manifest::of_saved(blobs, arch)?
    };
    let mut packed = 0_u64;
    for layer in &image.layers {
        packed = packed.saturating_add(blobs.open(&layer.path)?.len);
    }
    let most = limits
        .unpacked
        .unwrap_or(packed.saturating_mul(256).saturating_add(GIB));
    let mut layers = Layers::new(spool_dir, tar::Limits::default()).map_err(TarError::Io)?;
    let mut left = most;
    for layer in &image.layers {
        left -= apply(&mut layers, blobs, layer, left).map_err(|e| match e {
            OciError::Bomb(_) => OciError::Bomb(most),
            e => e,
        })?;
    }
    let mut rootfs = layers.finish().map_err(TarError::Io)?;
    if let Some(created) = image.created {
        rootfs.set_epoch(created);
    }
    Ok(Image {
        rootfs,
        config: image.config,
    })
}

/// Puts one layer over the others, `most` bytes of it; how many there were.
fn apply(layers: &mut Layers, blobs: &Blobs, layer: &Layer, most: u64) -> Result<u64, OciError> {
    let path = || layer.path.clone();
    let failed = |e: io::Error| OciError::Layer(path(), TarError::Io(e));
    let blob = blobs.open(&layer.path)?;
    if let Some((_, wanted)) = layer.blob
        && wanted != blob.len
    {
        return Err(OciError::Size {
            path: path(),
            is: blob.len,
            wanted,
        });
    }
    let mut packed = Hashed::new(blob.bytes, blob.len);
    let plain = tar::Unpacked::new(packed.clone()).map_err(failed)?;
    let left_over = plain.left_over();
    let mut plain = Hashed::new(Box::new(plain), most);
    let done = layers.apply(plain.clone());
    if plain.over() {
        return Err(OciError::Bomb(most));
    }
    // A changed file seldom is a good tar: what it really is comes first.
    if let Some((wanted, _)) = layer.blob {
        let is = packed.finish().map_err(failed)?;
        same(&layer.path, is, wanted)?;
    }
    let is = plain.finish();
    if plain.over() {
        return Err(OciError::Bomb(most));
    }
    if let Ok(is) = is {
        same(&layer.path, is, layer.diff_id)?;
    }
    done.map_err(|e| OciError::Layer(path(), e))?;
    is.map_err(failed)?;
    layers.passed_over(&left_over);
    Ok(plain.len())
}

fn same(path: &str, is: verify::Digest, wanted: verify::Digest) -> Result<(), OciError> {
    if is == wanted {
        return Ok(());
    }
    Err(OciError::Digest {
        path: path.to_owned(),
        is: is.to_string(),
        wanted: wanted.to_string(),
    })
}
