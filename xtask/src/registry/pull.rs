//! One image of a registry.

use super::cache::Cache;
use super::client::Client;
use super::download::{Arriving, Download, Ending};
use super::error::RegistryError;
use super::http::Ask;
use super::wait::ATTEMPTS;
use crate::error::Report;
use crate::model::{Digest, Reference};
use crate::progress::Bytes;
use crate::rootfs::oci::{Opened, Part, Remote, Top};
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use ureq::Body;
use ureq::http::Response;

/// Largest manifest or configuration, in bytes (distribution specification, spec.md, "Pushing
/// Manifests").
const MAX_DOCUMENT: u64 = 4 << 20;

/// Number of layers that are downloaded at a time.
const PARALLEL: usize = 4;

/// Media types of indexes and manifests (OCI image specification, media-types.md, and Docker's older
/// ones). The last one is only accepted to say that it is not supported.
const MANIFESTS: [&str; 5] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
];

/// An image that is being pulled. When it is dropped, all downloads end, and what is incomplete is
/// removed.
pub struct Pull {
    reference: Reference,
    client: Arc<Client>,
    cache: Arc<Cache>,
    shared: Arc<Shared>,
    /// Sizes of all layers.
    sizes: Mutex<BTreeMap<Digest, u64>>,
}

/// What the threads share.
#[derive(Default)]
struct Shared {
    downloads: Mutex<BTreeMap<Digest, Arc<Download>>>,
    /// Those that have not begun.
    queue: Mutex<VecDeque<Arc<Download>>>,
    /// The first error.
    failure: Mutex<Option<RegistryError>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Keeps the first error; returns one for a reader.
    fn fail(&self, error: RegistryError) -> io::Error {
        lock(&self.failure).get_or_insert(error);
        io::Error::other("it cannot be pulled")
    }

    /// Ends all downloads, so that no reader waits for them.
    fn give_up(&self) {
        lock(&self.queue).clear();
        for download in lock(&self.downloads).values() {
            download.give_up();
        }
    }
}

impl Pull {
    /// Prepares to pull an image; nothing is sent yet. Plain HTTP is used for hosts in `insecure`
    /// (as in the reference, with their ports), and only for them.
    pub fn new(reference: Reference, insecure: &[String], cache: Cache) -> Pull {
        Pull {
            client: Arc::new(Client::new(&reference, insecure)),
            reference,
            cache: Arc::new(cache),
            shared: Arc::default(),
            sizes: Mutex::default(),
        }
    }

    /// The error for people: why pulling failed, if it did.
    pub fn failure(&self) -> Option<Report> {
        let failure = lock(&self.shared.failure).take()?;
        Some(self.report(failure))
    }

    fn report(&self, error: RegistryError) -> Report {
        error.report(&format!("docker://{}", self.reference))
    }

    /// Gets the manifest or the index that the reference names.
    pub fn top(&self) -> Result<Top, Report> {
        self.named().map_err(|error| self.report(error))
    }

    fn named(&self) -> Result<Top, RegistryError> {
        if let Some(digest) = self.reference.digest()
            && let Some(bytes) = self.cache.document(digest, MAX_DOCUMENT)
        {
            return Ok(top(digest, &bytes, None));
        }
        let what = "the manifest";
        let wanted = self.reference.wanted();
        let (bytes, answer) = self.fetch(&format!("manifests/{wanted}"), what, None)?;
        let is = Digest::of(&bytes);
        let header = |name: &str| {
            let value = answer.headers().get(name)?;
            Some(value.to_str().ok()?.to_owned())
        };
        let said = header("docker-content-digest").and_then(|digest| digest.parse().ok());
        for wanted in self.reference.digest().into_iter().chain(said) {
            same(what, is, wanted)?;
        }
        self.cache.store(is, &bytes)?;
        // Some registries send a general type.
        let kind = header("content-type").unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let known = MANIFESTS.contains(&kind).then(|| kind.to_owned());
        Ok(top(is, &bytes, known))
    }

    /// Reads a document of the repository; again if the connection breaks. `size` is its length in
    /// bytes, if it is known.
    fn fetch(
        &self,
        path: &str,
        what: &str,
        size: Option<u64>,
    ) -> Result<(Vec<u8>, Response<Body>), RegistryError> {
        let most = size.unwrap_or(MAX_DOCUMENT);
        let mut attempt = 1;
        loop {
            let mut answer = self.client.get(&Ask {
                path: path.to_owned(),
                accept: if path.starts_with("manifests/") {
                    &MANIFESTS
                } else {
                    &["*/*"]
                },
                range: None,
            })?;
            let mut bytes = Vec::new();
            let reader = answer.body_mut().as_reader();
            let why = match reader.take(most + 1).read_to_end(&mut bytes) {
                Ok(_) => {
                    let is = bytes.len() as u64;
                    return match size {
                        Some(wanted) if is != wanted => Err(RegistryError::Size {
                            what: what.to_owned(),
                            is,
                            wanted,
                        }),
                        None if is > most => Err(RegistryError::TooLarge {
                            what: what.to_owned(),
                            most,
                        }),
                        _ => Ok((bytes, answer)),
                    };
                }
                Err(e) => e.to_string(),
            };
            if attempt == ATTEMPTS {
                return Err(RegistryError::Broken {
                    host: self.client.host().to_owned(),
                    what: what.to_owned(),
                    times: attempt,
                    why,
                });
            }
            self.client.pause(attempt);
            attempt += 1;
        }
    }

    /// A document by its digest, from the cache or the registry.
    fn part(&self, part: Part, digest: Digest, size: u64) -> Result<Vec<u8>, RegistryError> {
        if let Some(bytes) = self.cache.document(digest, size) {
            return Ok(bytes);
        }
        let (folder, what) = match part {
            Part::Manifest => ("manifests", format!("the manifest {digest}")),
            Part::Config => ("blobs", format!("the configuration {digest}")),
        };
        let (bytes, _) = self.fetch(&format!("{folder}/{digest}"), &what, Some(size))?;
        same(&what, Digest::of(&bytes), digest)?;
        self.cache.store(digest, &bytes)?;
        Ok(bytes)
    }

    /// Digests and sizes of those layers that are not in the cache, each once.
    pub fn missing(&self, layers: &[(Digest, u64)]) -> Vec<(Digest, u64)> {
        let mut sizes = lock(&self.sizes);
        let mut missing = Vec::new();
        for (digest, size) in layers {
            if sizes.insert(*digest, *size).is_none()
                && self.cache.open_blob(*digest, *size).is_none()
            {
                missing.push((*digest, *size));
            }
        }
        missing
    }

    /// Begins to download layers, in this order. `bar` counts their bytes.
    pub fn start(&self, layers: &[(Digest, u64)], bar: Box<dyn Bytes>) -> Result<(), Report> {
        let bar: Arc<dyn Bytes> = Arc::from(bar);
        let total = layers.iter().map(|(_, size)| size);
        let total = total.fold(0, |sum: u64, size| sum.saturating_add(*size));
        self.cache.check_space(total).map_err(|e| self.report(e))?;
        for (digest, size) in layers {
            let download = Arc::new(Download::new(*digest, *size));
            lock(&self.shared.downloads).insert(*digest, Arc::clone(&download));
            lock(&self.shared.queue).push_back(download);
        }
        for _ in 0..PARALLEL.min(layers.len()) {
            let (client, cache) = (Arc::clone(&self.client), Arc::clone(&self.cache));
            let (shared, bar) = (Arc::clone(&self.shared), Arc::clone(&bar));
            std::thread::spawn(move || {
                // The lock must not be held while something is downloaded.
                let next = || lock(&shared.queue).pop_front();
                while let Some(download) = next() {
                    // Dropped last: readers then find the reason.
                    let _ending = Ending(&download);
                    if let Err(error) = download.run(&client, &cache, &*bar) {
                        shared.fail(error);
                        client.stop();
                        shared.give_up();
                    }
                }
            });
        }
        Ok(())
    }

    /// Waits until all layers are in the cache.
    pub fn finish(&self) {
        for download in lock(&self.shared.downloads).values() {
            download.wait();
        }
    }

    /// Removes layers from the cache, because one of them is not what it should be.
    pub fn forget(&self) {
        for digest in lock(&self.sizes).keys() {
            self.cache.remove(*digest);
        }
    }
}

fn top(digest: Digest, bytes: &[u8], media_type: Option<String>) -> Top {
    Top {
        digest,
        size: bytes.len() as u64,
        media_type,
    }
}

fn same(what: &str, is: Digest, wanted: Digest) -> Result<(), RegistryError> {
    if is == wanted {
        return Ok(());
    }
    Err(RegistryError::Digest {
        what: what.to_owned(),
        is,
        wanted,
    })
}

impl Remote for Pull {
    fn document(&self, part: Part, digest: Digest, size: u64) -> io::Result<Vec<u8>> {
        self.part(part, digest, size).map_err(|error| match error {
            // The index may list platforms that were never pushed.
            RegistryError::NoImage { .. } => io::ErrorKind::NotFound.into(),
            error => self.shared.fail(error),
        })
    }

    fn layer(&self, digest: Digest) -> io::Result<Opened> {
        let download = lock(&self.shared.downloads).get(&digest).cloned();
        if let Some(arriving) = download.as_ref().and_then(Arriving::new) {
            return Ok(Opened {
                bytes: Box::new(arriving),
                checked: true,
            });
        }
        if let Some(download) = download {
            download.wait();
        }
        let size = lock(&self.sizes).get(&digest).copied();
        let blob = size.and_then(|size| self.cache.open_blob(digest, size));
        match blob {
            Some(file) => Ok(Opened {
                bytes: Box::new(file),
                checked: false,
            }),
            None => Err(io::Error::other("it is not in the cache any more")),
        }
    }
}

impl Drop for Pull {
    fn drop(&mut self) {
        self.client.stop();
        self.shared.give_up();
        // The threads may hold the cache for a moment longer.
        self.cache.close();
    }
}

impl std::fmt::Debug for Pull {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("Pull");
        out.field("reference", &self.reference)
            .finish_non_exhaustive()
    }
}
