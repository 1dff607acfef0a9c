//! One layer on its way: it is written to the cache by one thread and read by another at the same
//! time.

use super::cache::Cache;
use super::client::Client;
use super::error::RegistryError;
use super::http::Ask;
use super::wait::ATTEMPTS;
use crate::model::Digest;
use crate::output::Pending;
use crate::progress::Bytes;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes that are read at once.
const CHUNK: usize = 256 << 10;

/// A connection that broke after fewer bytes counts as a failed attempt.
const WORTH: u64 = 1 << 20;

/// Most times that a download goes on after a broken connection.
const MAX_BREAKS: u32 = 100;

/// A blob that is being downloaded.
pub(super) struct Download {
    pub(super) digest: Digest,
    /// Its length in bytes.
    pub(super) len: u64,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// The file, until it is in the cache.
    pending: Option<Pending>,
    /// Bytes that have been written.
    have: u64,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Others come first.
    Waiting,
    /// Bytes arrive.
    Running,
    /// All bytes are there and have the digest.
    Whole,
    /// It is whole, and in the cache if that was possible.
    Stored,
    Failed,
}

impl State {
    fn is_unfinished(&self) -> bool {
        matches!(self.phase, Phase::Waiting | Phase::Running)
    }
}

/// Gives a download up when it is dropped, if it is not finished then: whatever happens, nobody must
/// wait for it for ever.
pub(super) struct Ending<'a>(pub(super) &'a Download);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

impl Download {
    /// A download that has not begun.
    pub(super) fn new(digest: Digest, len: u64) -> Download {
        Download {
            digest,
            len,
            state: Mutex::new(State {
                pending: None,
                have: 0,
                phase: Phase::Waiting,
            }),
            changed: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and wakes whoever waits for it.
    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    /// Downloads it. After an error, the caller must give it up.
    pub(super) fn run(
        &self,
        client: &Client,
        cache: &Cache,
        bar: &dyn Bytes,
    ) -> Result<(), RegistryError> {
        self.fetch(client, cache, bar)?;
        let mut pending = None;
        self.set(|state| {
            if state.phase == Phase::Running {
                state.phase = Phase::Whole;
                pending = state.pending.take();
            }
        });
        if let Some(Err(e)) = pending.map(Pending::commit_unsynced) {
            // The image can be made without the cache.
            tracing::debug!("{} is not in the cache: {e}", self.digest);
        }
        self.set(|state| {
            if state.phase == Phase::Whole {
                state.phase = Phase::Stored;
            }
        });
        Ok(())
    }

    /// Ends it, and removes what has arrived.
    pub(super) fn give_up(&self) {
        let mut state = self.state();
        let pending = state.pending.take();
        if state.is_unfinished() {
            state.phase = Phase::Failed;
        }
        drop(state);
        drop(pending);
        self.changed.notify_all();
    }

    /// Waits until it is in the cache, or has failed.
    pub(super) fn wait(&self) {
        let state = self.state();
        let busy = |state: &mut State| state.is_unfinished() || state.phase == Phase::Whole;
        drop(self.changed.wait_while(state, busy));
    }

    fn what(&self) -> String {
        format!("the layer {}", self.digest)
    }

    fn fetch(&self, client: &Client, cache: &Cache, bar: &dyn Bytes) -> Result<(), RegistryError> {
        let pending = cache.begin(self.digest)?;
        let file = pending.file().map_err(|e| cache.error(e))?;
        self.set(|state| {
            // It may have been given up in the meantime.
            if state.phase == Phase::Waiting {
                state.pending = Some(pending);
                state.phase = Phase::Running;
            }
        });
        let mut target = Target {
            file,
            hash: Sha256::new(),
            have: 0,
            shown: 0,
        };
        let (mut failed, mut breaks) = (0, 0);
        // Registries that ignore ranges send it from the start again.
        while target.have < self.len || breaks == 0 && self.len == 0 {
            let before = target.have;
            let why = match self.part(client, cache, &mut target, bar)? {
                None => break,
                Some(why) => why,
            };
            breaks += 1;
            failed = match target.have.saturating_sub(before) >= WORTH {
                true => 0,
                false => failed + 1,
            };
            if failed == ATTEMPTS || breaks == MAX_BREAKS || client.is_stopped() {
                return Err(RegistryError::Broken {
                    host: client.host().to_owned(),
                    what: self.what(),
                    times: breaks,
                    why,
                });
            }
            tracing::debug!(
                "{}: {why} after {} bytes; going on",
                self.what(),
                target.have
            );
            client.pause(failed.max(1));
        }
        let is = Digest::from(target.hash);
        if is != self.digest {
            return Err(RegistryError::Digest {
                what: self.what(),
                is,
                wanted: self.digest,
            });
        }
        Ok(())
    }

    /// Reads what one request brings. Returns why it ended early, if it did.
    fn part(
        &self,
        client: &Client,
        cache: &Cache,
        target: &mut Target,
        bar: &dyn Bytes,
    ) -> Result<Option<String>, RegistryError> {
        let range = (target.have > 0).then(|| (target.have, self.len - 1));
        let answer = client.get(&Ask {
            path: format!("blobs/{}", self.digest),
            accept: &["*/*"],
            range,
        });
        let answer = match answer {
            Err(RegistryError::NoImage { .. }) => {
                return Err(RegistryError::NoBlob {
                    digest: self.digest,
                });
            }
            answer => answer?,
        };
        if range.is_some() && !is_rest(&answer, target.have, self.len) {
            target.restart();
            if answer.status() != 200 {
                return Ok(Some(
                    "the registry sent another part than it was asked for".into(),
                ));
            }
        }
        let left = self.len - target.have;
        let length = answer.headers().get("content-length");
        let length = length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if let Some(length) = length.filter(|length| *length != left) {
            return Err(RegistryError::Size {
                what: self.what(),
                is: target.have + length,
                wanted: self.len,
            });
        }
        let mut body = answer.into_body().into_reader();
        let mut chunk = vec![0; CHUNK];
        loop {
            if client.is_stopped() {
                return Ok(Some("it was stopped".into()));
            }
            let n = match body.read(&mut chunk) {
                Ok(0) if target.have == self.len => return Ok(None),
                Ok(0) => return Ok(Some("the connection ended early".into())),
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Ok(Some(e.to_string())),
            };
            if n as u64 > self.len - target.have {
                return Err(RegistryError::Size {
                    what: self.what(),
                    is: target.have + n as u64,
                    wanted: self.len,
                });
            }
            target.add(&chunk[..n], bar).map_err(|e| cache.error(e))?;
            self.set(|state| state.have = state.have.max(target.have));
        }
    }
}

/// Where the bytes of one blob go.
struct Target {
    file: File,
    hash: Sha256,
    /// Bytes that were written.
    have: u64,
    /// Bytes that were reported as progress.
    shown: u64,
}

impl Target {
    fn restart(&mut self) {
        self.hash = Sha256::new();
        self.have = 0;
    }

    fn add(&mut self, bytes: &[u8], bar: &dyn Bytes) -> io::Result<()> {
        self.file.write_all_at(bytes, self.have)?;
        self.hash.update(bytes);
        self.have += bytes.len() as u64;
        bar.add(self.have.saturating_sub(self.shown));
        self.shown = self.shown.max(self.have);
        Ok(())
    }
}

/// Whether an answer has the bytes from `start` to the end of `len` bytes (RFC 9110, 14.4).
fn is_rest(answer: &ureq::http::Response<ureq::Body>, start: u64, len: u64) -> bool {
    let range = answer.headers().get("content-range");
    let range = range
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let range = range.strip_prefix("bytes ").unwrap_or_default();
    let (range, _) = range.split_once('/').unwrap_or_default();
    answer.status() == 206 && range == format!("{start}-{}", len - 1)
}

/// Reads a blob while it is downloaded.
pub(super) struct Arriving {
    download: Arc<Download>,
    file: File,
    at: u64,
}

impl Arriving {
    /// Waits until it has begun. `None` if it has ended: then it is in the cache, or has failed.
    pub(super) fn new(download: &Arc<Download>) -> Option<Arriving> {
        let waits = |state: &mut State| state.phase == Phase::Waiting;
        let state = download.changed.wait_while(download.state(), waits);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        Some(Arriving {
            file: state.pending.as_ref()?.file().ok()?,
            download: Arc::clone(download),
            at: 0,
        })
    }
}

impl Read for Arriving {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let state = self.download.state();
        let (at, len) = (self.at, self.download.len);
        // Its end is not told before the digest of the whole is known.
        let busy =
            |state: &mut State| state.phase == Phase::Running && (state.have <= at || at == len);
        let state = self.download.changed.wait_while(state, busy);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        if state.phase == Phase::Failed {
            return Err(io::Error::other("its download failed"));
        }
        let left = state.have - at;
        drop(state);
        let n = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
        let n = self.file.read_at(&mut buf[..n], at)?;
        self.at += n as u64;
        Ok(n)
    }
}
