//! Checks digests of layers that are read in place, while the image is made of them.

use super::OciError;
use crate::model::Digest;
use crate::rootfs::Store;
use sha2::{Digest as _, Sha256};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;

/// Bytes per read.
const CHUNK: u64 = 1 << 20;

/// A part of a store, and the digests that it must have.
struct Check {
    path: String,
    store: Store,
    start: u64,
    len: u64,
    wanted: Vec<Digest>,
}

/// Digests that are still being computed, in a thread. Nothing that was made from the layers may be
/// used before [`Checks::wait`] says that they are right.
#[derive(Debug, Default)]
pub struct Checks(Option<Running>);

#[derive(Debug)]
struct Running {
    todo: Sender<Check>,
    thread: JoinHandle<Result<(), OciError>>,
    stop: Arc<AtomicBool>,
}

impl Checks {
    /// Begins to check `len` bytes of a store.
    pub(super) fn add(
        &mut self,
        path: &str,
        (store, start, len): (Store, u64, u64),
        wanted: Vec<Digest>,
    ) -> Result<(), OciError> {
        let path = path.to_owned();
        if wanted.is_empty() {
            return Ok(());
        }
        let check = Check {
            path: path.clone(),
            store,
            start,
            len,
            wanted,
        };
        if self.0.is_none() {
            let (todo, checks) = mpsc::channel::<Check>();
            let stop = Arc::new(AtomicBool::new(false));
            let stopped = Arc::clone(&stop);
            let thread = std::thread::Builder::new()
                .spawn(move || checks.into_iter().try_for_each(|c| c.run(&stopped)))
                .map_err(|e| OciError::Read(path, e))?;
            self.0 = Some(Running { todo, thread, stop });
        }
        if let Some(running) = &self.0 {
            // If the thread has ended with an error, waiting for it tells.
            let _ = running.todo.send(check);
        }
        Ok(())
    }

    /// Waits until all digests are computed. Fails with the first that is wrong.
    pub fn wait(&mut self) -> Result<(), OciError> {
        let Some(Running { todo, thread, .. }) = self.0.take() else {
            return Ok(());
        };
        drop(todo);
        let died = |_| {
            let e = io::Error::other("a thread that computes digests has panicked");
            Err(OciError::Read("a layer".to_owned(), e))
        };
        thread.join().unwrap_or_else(died)
    }
}

impl Drop for Checks {
    fn drop(&mut self) {
        if let Some(running) = &self.0 {
            running.stop.store(true, Relaxed);
        }
    }
}

impl Check {
    fn run(self, stop: &AtomicBool) -> Result<(), OciError> {
        let mut hash = Sha256::new();
        let mut buf = vec![0; usize::try_from(self.len.min(CHUNK)).unwrap_or(0)];
        let mut at = 0;
        while at < self.len {
            if stop.load(Relaxed) {
                return Ok(());
            }
            let n = usize::try_from(self.len - at).map_or(buf.len(), |n| n.min(buf.len()));
            self.store
                .read_exact_at(&mut buf[..n], self.start + at)
                .map_err(|e| OciError::Read(self.path.clone(), e))?;
            hash.update(&buf[..n]);
            at += n as u64;
        }
        let is = Digest::from(hash);
        match self.wanted.into_iter().find(|wanted| *wanted != is) {
            None => Ok(()),
            Some(wanted) => Err(OciError::Digest {
                path: self.path,
                is: is.to_string(),
                wanted: wanted.to_string(),
            }),
        }
    }
}
