//! Container images as files: OCI layouts (a folder or a tar) and the output of `docker save`.
//!
//! The layers are applied here, so no container engine is needed. Images are not trusted: every
//! digest is checked, no file outside the image is accessed, and the unpacked size is limited
//! before memory, disk or time are used.

mod blobs;
mod checks;
mod chosen;
mod config;
mod known;
mod layout;
mod manifest;
mod platform;
mod remote;
mod saved;
mod verify;

pub use checks::Checks;
pub use chosen::{Chosen, Top, choose};
pub use config::{Config, Schedule};
pub use known::Known;
pub use platform::Wanted;
pub use remote::{Opened, Part, Remote};

use super::budget::Exceeded;
pub use super::budget::Limits;
use super::tar::{self, Layers, TarError};
use super::{Budget, Rootfs, Store};
use crate::error::Report;
use crate::model::size::Size;
use crate::model::{Digest, NotDigest};
use blobs::Blobs;
use camino::Utf8Path;
use manifest::Layer;
use std::io;
use verify::Hashed;

/// Largest number of layers. The limit of engines is 127, that of the kernel's overlays 500.
const MAX_LAYERS: usize = 500;

/// A root file system and its container configuration.
#[derive(Debug)]
pub struct Image {
    /// The root file system. Its `epoch` is the creation time of the image, if specified.
    pub rootfs: Rootfs,
    /// The command and its environment.
    pub config: Config,
    /// The digest of its manifest, or of its configuration if it has no manifest. `None` for what
    /// Docker saved before 1.10.
    pub digest: Option<Digest>,
    /// The digests that are still being computed.
    pub checks: Checks,
}

/// Result of reading: an image with a configuration, or a plain root file system.
#[derive(Debug)]
pub enum Input {
    /// A plain root file system.
    Rootfs(Rootfs),
    /// An image.
    Image(Box<Image>),
}

/// Why a stored image cannot be read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // The messages say it.
pub enum OciError {
    #[error("it names the path {0:?}, which is outside it")]
    Outside(String),
    #[error("{0} is a symbolic link that leads out of it, to nothing, or in a circle")]
    Link(String),
    #[error("{0:?} is not a variant of an architecture")]
    Variant(String),
    #[error("none of its images is called {name:?}; there are: {}", .all.join(", "))]
    NoneCalled { name: String, all: Vec<String> },
    #[error("the manifest {0} is of Docker's schema 1, which has no configuration of its image")]
    SchemaOne(String),
    #[error(
        "the content of the foreign layer {digest} is not in the image{}",
        .url.as_ref().map(|url| format!("; it is at {url:?}")).unwrap_or_default()
    )]
    Foreign { digest: String, url: Option<String> },
    #[error("the layer {0} is encrypted")]
    Encrypted(String),
    #[error("the layer {digest} is of the type {kind:?}, which is not a tar")]
    LayerType { digest: String, kind: String },
    #[error("{0} is missing")]
    Missing(String),
    #[error("{0} is not a file")]
    NoFile(String),
    #[error("{path} has {len} bytes, more than the {most} that make sense there")]
    Large { path: String, len: u64, most: u64 },
    #[error("{0} cannot be read: {1}")]
    Read(String, io::Error),
    #[error("{0} is not what it should be: {1}")]
    Document(String, serde_json::Error),
    #[error(transparent)]
    NoDigest(#[from] NotDigest),
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
    #[error("it has {0} layers, but at most 500 are supported")]
    ManyLayers(usize),
    #[error("it has more {0} than make sense")]
    TooMany(&'static str),
    #[error("it holds several images: {}", .0.join(", "))]
    Several(Vec<String>),
    #[error("it holds no image for {wanted}{}", only(.others))]
    NoneFor { wanted: String, others: Vec<String> },
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
    /// What the user can do about it.
    fn hint(&self) -> &'static str {
        match self {
            OciError::Several(_) | OciError::NoneCalled { .. } => {
                "pick one with --image-name NAME: its name, tag or digest"
            }
            OciError::NoneFor { .. } => {
                "give the architecture with --arch and a newer variant of it with --variant, or fetch the image for this one"
            }
            OciError::Variant(_) => "use e.g. v2 or v8.1",
            OciError::Link(_) => {
                "if the blobs are in a folder that you trust, give it with --blob-dir DIR"
            }
            OciError::SchemaOne(_) => {
                "convert it: pull it with a container engine and `docker save` it, or `skopeo copy --format oci`"
            }
            OciError::Foreign { .. } => {
                "pull the image with an engine that fetches foreign layers, and `docker save` it"
            }
            OciError::Encrypted(_) => "decrypt it first, e.g. with `skopeo copy --decryption-key`",
            OciError::Bomb(most) => Exceeded::Unpacked(*most).hint(),
            OciError::Layer(_, error) if let Some(exceeded) = error.exceeded() => exceeded.hint(),
            OciError::Missing(_) | OciError::Size { .. } | OciError::Digest { .. } => {
                "the image is damaged, incomplete, or was changed: fetch it again"
            }
            OciError::Read(..) => "make sure that you may read it",
            OciError::Layer(_, TarError::Io(e)) if e.kind() == io::ErrorKind::StorageFull => {
                "free some space where the image is written: the file contents wait there"
            }
            _ => "make it again with `docker save`, `podman save`, `skopeo copy` or `buildah push`",
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
    Form::of(&Blobs::Dir(dir.to_owned(), None)).is_some()
}

/// Reads the requested image from a folder.
pub fn from_dir(
    dir: &Utf8Path,
    wanted: &Wanted,
    budget: impl Into<Budget>,
    spool_dir: &Utf8Path,
) -> Result<Image, OciError> {
    let mut image = open_dir(dir, wanted, budget, spool_dir)?;
    image.checks.wait()?;
    Ok(image)
}

/// Like [`from_dir`], but returns while digests are still being computed: see [`Image::checks`].
pub fn open_dir(
    dir: &Utf8Path,
    wanted: &Wanted,
    budget: impl Into<Budget>,
    spool_dir: &Utf8Path,
) -> Result<Image, OciError> {
    let blobs = Blobs::Dir(dir.to_owned(), wanted.blob_dir.clone());
    // If it is not an image, the error says what is missing.
    let form = Form::of(&blobs).unwrap_or(Form::Layout);
    read(
        &blobs,
        form.image(&blobs, wanted)?,
        &budget.into(),
        spool_dir,
        &wanted.known,
    )
}

/// Decides what a tar contains: an image, which is unpacked, or a root file system. `budget` is the
/// one with which the tar was read.
pub fn from_tar(
    rootfs: Rootfs,
    wanted: &Wanted,
    budget: impl Into<Budget>,
    spool_dir: &Utf8Path,
) -> Result<Input, OciError> {
    let mut input = open_tar(rootfs, wanted, budget, spool_dir)?;
    if let Input::Image(image) = &mut input {
        image.checks.wait()?;
    }
    Ok(input)
}

/// Like [`from_tar`], but returns while digests are still being computed: see [`Image::checks`].
pub fn open_tar(
    rootfs: Rootfs,
    wanted: &Wanted,
    budget: impl Into<Budget>,
    spool_dir: &Utf8Path,
) -> Result<Input, OciError> {
    let budget = budget.into();
    let blobs = Blobs::Tar(Box::new(rootfs));
    if let Some(form) = Form::of(&blobs) {
        let found = form.image(&blobs, wanted)?;
        let mut image = read(&blobs, found, &budget, spool_dir, &wanted.known)?;
        if let Blobs::Tar(outer) = blobs {
            image.rootfs.notes.splice(0..0, outer.notes);
        }
        return Ok(Input::Image(Box::new(image)));
    }
    budget.check_plain().map_err(|e| TarError::Io(e.into()))?;
    match blobs {
        Blobs::Tar(rootfs) => Ok(Input::Rootfs(*rootfs)),
        // Only a tar was made into blobs here.
        other => Err(OciError::NoFile(format!("{other:?}"))),
    }
}

/// Storage format of an image.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// An OCI layout.
    Layout,
    /// The output of `docker save`.
    Saved,
    /// Its output before Docker 1.10.
    Old,
}

impl Form {
    /// Detects the format; `None` if the files are not those of an image.
    fn of(blobs: &Blobs) -> Option<Form> {
        // Newer versions of Docker save both; only the layout has a digest for each file. Some
        // programs leave out the file oci-layout.
        let layout = blobs.has(blobs::INDEX) && (blobs.has("oci-layout") || blobs.has("blobs"));
        let saved = || {
            let bytes = blobs.document(saved::MANIFEST);
            // If an index or a manifest cannot be read, an error is better than ignoring it.
            match blobs {
                Blobs::Dir(..) => blobs.has(saved::MANIFEST),
                _ => bytes.is_ok_and(|bytes| saved::is_saved(&bytes)),
            }
        };
        if layout {
            Some(Form::Layout)
        } else if saved() {
            Some(Form::Saved)
        } else if saved::is_old(blobs) {
            Some(Form::Old)
        } else {
            None
        }
    }

    /// Finds the requested image.
    fn image(self, blobs: &Blobs, wanted: &Wanted) -> Result<manifest::Image, OciError> {
        match self {
            Form::Layout => layout::image(blobs, wanted),
            Form::Saved => saved::image(blobs, wanted),
            Form::Old => saved::old_image(blobs, wanted),
        }
    }
}

/// Merges the layers of an image.
fn read(
    blobs: &Blobs,
    image: manifest::Image,
    budget: &Budget,
    spool_dir: &Utf8Path,
    known: &Known,
) -> Result<Image, OciError> {
    if let Blobs::Dir(..) = blobs {
        // The size of a tar is already known, and that of a remote layer is only a claim.
        for layer in &image.layers {
            budget.add_packed(blobs.open(&layer.path)?.stored);
        }
    }
    let mut layers = Layers::new(spool_dir, budget).map_err(TarError::Io)?;
    let mut checks = Checks::but(known.clone());
    for layer in &image.layers {
        apply(&mut layers, blobs, layer, budget, &mut checks).map_err(bomb)?;
    }
    let mut rootfs = layers.finish().map_err(TarError::Io)?;
    // Otherwise the newest time in the layers is used as "now", and no file's time is changed.
    if let Some(created) = image.created.filter(|c| rootfs.may_be_of(*c)) {
        rootfs.set_epoch(created);
    }
    Ok(Image {
        rootfs,
        config: image.config,
        digest: image.digest,
        checks,
    })
}

/// A limit for all layers together is not an error of one of them.
fn bomb(error: OciError) -> OciError {
    match &error {
        OciError::Layer(_, inner) => match inner.exceeded() {
            Some(Exceeded::Unpacked(most)) => OciError::Bomb(*most),
            _ => error,
        },
        _ => error,
    }
}

/// Applies one layer.
fn apply(
    layers: &mut Layers,
    blobs: &Blobs,
    layer: &Layer,
    budget: &Budget,
    checks: &mut Checks,
) -> Result<(), OciError> {
    let path = || layer.path.clone();
    let failed = |e: io::Error| OciError::Layer(path(), TarError::Io(e));
    let blob = blobs.layer(&layer.path, layer.blob, budget)?;
    if let Some((store, start)) = &blob.place
        && !is_packed(store, *start, blob.len).map_err(failed)?
    {
        let place = (store.clone(), *start, blob.len);
        return apply_in_place(layers, layer, place, budget, checks);
    }
    let of_blob = layer.blob.is_some() && !blob.checked;
    let mut packed = Hashed::new(blob.bytes, of_blob).map_err(failed)?;
    let plain = tar::Unpacked::new(packed.clone()).map_err(failed)?;
    let left_over = plain.left_over();
    let plain = Box::new(budget.unpacked(plain));
    let mut plain = Hashed::new(plain, layer.diff_id.is_some()).map_err(failed)?;
    let mut done = layers.apply(plain.clone());
    // If a limit is exceeded, nothing more is read, not even for the digest.
    if let Err(error) = &done
        && error.exceeded().is_some()
    {
        return done.map_err(|e| OciError::Layer(path(), e));
    }
    // A changed file is rarely a valid tar: its digest is reported first.
    if let Some((wanted, _)) = layer.blob
        && let Some(is) = packed.finish().map_err(failed)?
    {
        same(&layer.path, is, wanted)?;
    }
    match (plain.finish(), layer.diff_id) {
        (Ok(Some(is)), Some(wanted)) => same(&layer.path, is, wanted)?,
        (Ok(_), _) => {}
        (Err(e), _) => done = done.and(Err(TarError::Io(e))),
    }
    done.map_err(|e| OciError::Layer(path(), e))?;
    layers.passed_over(&left_over);
    Ok(())
}

/// Whether the `len` bytes at `start` are compressed.
fn is_packed(store: &Store, start: u64, len: u64) -> io::Result<bool> {
    let mut head = [0; 64];
    let n = usize::try_from(len).map_or(head.len(), |len| len.min(head.len()));
    store.read_exact_at(&mut head[..n], start)?;
    Ok(tar::is_packed(&head[..n]))
}

/// Applies a layer that is not compressed: its contents stay where they are.
fn apply_in_place(
    layers: &mut Layers,
    layer: &Layer,
    (store, start, len): (Store, u64, u64),
    budget: &Budget,
    checks: &mut Checks,
) -> Result<(), OciError> {
    let failed = |e: TarError| OciError::Layer(layer.path.clone(), e);
    budget
        .unpack(len)
        .map_err(|e| failed(TarError::Io(e.into())))?;
    // It is the blob and its own tar.
    let digests = layer.blob.map(|(digest, _)| digest).into_iter();
    let mut digests: Vec<Digest> = digests.chain(layer.diff_id).collect();
    digests.dedup();
    checks.add(&layer.path, (store.clone(), start, len), digests)?;
    match layers.apply_in_place(store, start, len) {
        Ok(()) => Ok(()),
        Err(error) if error.exceeded().is_some() => Err(failed(error)),
        // A changed file is rarely a valid tar: its digest is reported first.
        Err(error) => checks.wait().and(Err(failed(error))),
    }
}

fn same(path: &str, is: Digest, wanted: Digest) -> Result<(), OciError> {
    if is == wanted {
        return Ok(());
    }
    Err(OciError::Digest {
        path: path.to_owned(),
        is: is.to_string(),
        wanted: wanted.to_string(),
    })
}
