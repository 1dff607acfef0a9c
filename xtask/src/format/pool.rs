//! Runs jobs on all cores and returns their results in the order of the jobs.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Jobs per thread: one that it works on, and one that waits, so that the thread never does.
const PER_THREAD: usize = 2;

type Queued<I, O> = (I, SyncSender<O>);

/// Threads that turn each `I` into an `O`. The number of jobs in progress is limited, so memory is
/// bounded by the number of threads.
#[derive(Debug)]
pub(super) struct Pool<I, O> {
    /// `None` after the last job.
    jobs: Option<SyncSender<Queued<I, O>>>,
    /// The receivers of the results, in the order of the jobs.
    results: VecDeque<Receiver<O>>,
    limit: usize,
    threads: Vec<JoinHandle<()>>,
}

impl<I: Send + 'static, O: Send + 'static> Pool<I, O> {
    /// Starts `threads` threads (at least one). `worker` makes the function that each of them runs.
    pub(super) fn new<W>(threads: usize, worker: impl Fn() -> io::Result<W>) -> io::Result<Self>
    where
        W: FnMut(I) -> O + Send + 'static,
    {
        let threads = threads.max(1);
        let limit = threads * PER_THREAD;
        let (jobs, queue) = sync_channel::<Queued<I, O>>(limit);
        let queue = Arc::new(Mutex::new(queue));
        let mut pool = Pool {
            jobs: Some(jobs),
            results: VecDeque::with_capacity(limit),
            limit,
            threads: Vec::with_capacity(threads),
        };
        for _ in 0..threads {
            let mut work = worker()?;
            let queue = Arc::clone(&queue);
            let run = move || {
                loop {
                    let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((input, result)) = job else { break };
                    // The receiver may be gone if the image failed meanwhile.
                    let _ = result.send(work(input));
                }
            };
            let thread = std::thread::Builder::new().name("compress".into());
            pool.threads.push(thread.spawn(run)?);
        }
        Ok(pool)
    }

    /// Hands out a job. If the limit of jobs in progress is reached, first waits for the oldest one
    /// and returns its result.
    pub(super) fn submit(&mut self, job: I) -> io::Result<Option<O>> {
        let done = if self.results.len() == self.limit {
            self.next()?
        } else {
            None
        };
        let (sender, receiver) = sync_channel(1);
        let jobs = self.jobs.as_ref().ok_or_else(died)?;
        jobs.send((job, sender)).map_err(|_| died())?;
        self.results.push_back(receiver);
        Ok(done)
    }

    /// Waits for the oldest result. `None` if no job is in progress.
    pub(super) fn next(&mut self) -> io::Result<Option<O>> {
        match self.results.pop_front() {
            None => Ok(None),
            Some(result) => result.recv().map(Some).map_err(|_| died()),
        }
    }
}

fn died() -> io::Error {
    io::Error::other("a thread that compresses stopped unexpectedly")
}

impl<I, O> Drop for Pool<I, O> {
    fn drop(&mut self) {
        self.jobs = None;
        self.results.clear();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::Pool;
    use std::io;

    #[test]
    fn results_come_in_the_order_of_the_jobs() {
        let worker = || {
            Ok(|n: u64| {
                // The first jobs take longest.
                std::thread::sleep(std::time::Duration::from_micros(2000 / (n + 1)));
                n * n
            })
        };
        let mut pool = Pool::new(3, worker).unwrap();
        let mut results = Vec::new();
        for n in 0..200 {
            results.extend(pool.submit(n).unwrap());
            assert!(pool.results.len() <= 6);
        }
        while let Some(result) = pool.next().unwrap() {
            results.push(result);
        }
        let wanted: Vec<u64> = (0..200).map(|n| n * n).collect();
        assert_eq!(results, wanted);
    }

    #[test]
    fn a_thread_that_dies_is_an_error_and_not_a_hang() {
        let worker = || Ok(|n: u64| if n == 3 { panic!("on purpose") } else { n });
        let mut pool = Pool::new(1, worker).unwrap();
        let outcome: io::Result<()> = (0..10).try_for_each(|n| pool.submit(n).map(|_| ()));
        assert!(outcome.is_err());
    }

    #[test]
    fn work_that_nobody_waits_for_is_dropped() {
        let mut pool = Pool::new(2, || Ok(|n: u64| n)).unwrap();
        for n in 0..4 {
            pool.submit(n).unwrap();
        }
        drop(pool);
    }
}
