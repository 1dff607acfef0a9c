//! Checks digests of layers that are read in place, while the image is made of them.

use super::{Known, OciError};
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
pub struct Checks {
    running: Option<Running>,
    /// Files that are not hashed.
    known: Known,
    /// Files that were hashed, and were right.
    found: Known,
}

#[derive(Debug)]
struct Running {
    todo: Sender<Check>,
    thread: JoinHandle<Result<Known, OciError>>,
    stop: Arc<AtomicBool>,
}

impl Checks {
    /// Checks everything but the files that are known.
    pub(super) fn but(known: Known) -> Checks {
        Checks {
            running: None,
            known,
            found: Known::default(),
        }
    }

    /// After [`Checks::wait`]: the files that were hashed. They need not be hashed another time.
    pub fn found(&self) -> &Known {
        &self.found
    }

    /// Begins to check `len` bytes of a store.
    pub(super) fn add(
        &mut self,
        path: &str,
        (store, start, len): (Store, u64, u64),
        wanted: Vec<Digest>,
    ) -> Result<(), OciError> {
        let path = path.to_owned();
        if wanted.is_empty() || start == 0 && self.known.has(&store, len, &wanted) {
            return Ok(());
        }
        let check = Check {
            path: path.clone(),
            store,
            start,
            len,
            wanted,
        };
        if self.running.is_none() {
            let (todo, checks) = mpsc::channel::<Check>();
            let stop = Arc::new(AtomicBool::new(false));
            let stopped = Arc::clone(&stop);
            let thread = std::thread::Builder::new()
                .spawn(move || {
                    let mut found = Known::default();
                    for check in checks {
                        check.run(&stopped, &mut found)?;
                    }
                    Ok(found)
                })
                .map_err(|e| OciError::Read(path, e))?;
            self.running = Some(Running { todo, thread, stop });
        }
        if let Some(running) = &self.running {
            // If the thread has ended with an error, waiting for it tells.
            let _ = running.todo.send(check);
        }
        Ok(())
    }

    /// Waits until all digests are computed. Fails with the first that is wrong.
    pub fn wait(&mut self) -> Result<(), OciError> {
        let Some(Running { todo, thread, .. }) = self.running.take() else {
            return Ok(());
        };
        drop(todo);
        let died = |_| {
            let e = io::Error::other("a thread that computes digests has panicked");
            Err(OciError::Read("a layer".to_owned(), e))
        };
        self.found.append(&thread.join().unwrap_or_else(died)?);
        Ok(())
    }
}

impl Drop for Checks {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.stop.store(true, Relaxed);
        }
    }
}

impl Check {
    fn run(self, stop: &AtomicBool, found: &mut Known) -> Result<(), OciError> {
        let before = Known::before(&self.store, self.start + self.len);
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
            None => {
                if self.start == 0 {
                    found.add(before, &self.store, is);
                }
                Ok(())
            }
            Some(wanted) => Err(OciError::Digest {
                path: self.path,
                is: is.to_string(),
                wanted: wanted.to_string(),
            }),
        }
    }
}
