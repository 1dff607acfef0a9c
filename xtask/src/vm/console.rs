//! Captures the output of the serial console and the screen while a machine runs.

use super::transcript::Transcript;
use super::trouble::Trouble;
use camino::Utf8Path;
use fs_err as fs;
use std::io::{self, Read, Write};
use std::process::ChildStdout;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Receives a copy of everything that the serial console prints.
pub type Tee = Box<dyn Write + Send>;

/// State shared with the reader thread.
#[derive(Default)]
pub(super) struct Heard {
    state: Mutex<(Transcript, bool)>,
    news: Condvar,
}

impl Heard {
    /// The transcript, and whether it is complete because QEMU has ended.
    pub(super) fn lock(&self) -> MutexGuard<'_, (Transcript, bool)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits briefly for new output.
    pub(super) fn wait_for_news(&self, at_most: Duration) {
        let heard = self.lock();
        if !heard.1 {
            drop(
                self.news
                    .wait_timeout(heard, at_most)
                    .unwrap_or_else(PoisonError::into_inner),
            );
        }
    }
}

/// A file that QEMU writes.
pub(super) struct Watched {
    file: fs::File,
    /// The text so far.
    pub(super) text: Transcript,
    /// The text before this offset was searched for troubles.
    pub(super) searched: u64,
}

impl Watched {
    /// Opens the file, which must exist.
    pub(super) fn open(path: &Utf8Path) -> io::Result<Watched> {
        Ok(Watched {
            file: fs::File::open(path)?,
            text: Transcript::default(),
            searched: 0,
        })
    }

    /// Reads new text.
    pub(super) fn look(&mut self) {
        let mut new = Vec::new();
        // Reading at the end of the file returns nothing, and continues once it has grown.
        if self.file.read_to_end(&mut new).is_ok() {
            self.text.push(&new);
        }
    }
}

/// Returns the first of `troubles` in the text between `searched` and `until`, with its offset.
/// Moves `searched` past everything that cannot be part of a match.
pub(super) fn search(
    text: &Transcript,
    searched: &mut u64,
    troubles: &'static [Trouble],
    until: Option<u64>,
) -> Option<(&'static Trouble, u64)> {
    let patterns = troubles.iter().map(|t| t.pattern);
    let longest = patterns.clone().map(str::len).max().unwrap_or(0) as u64;
    let hit = text
        .find(*searched, patterns)
        .filter(|&(_, at, _)| until.is_none_or(|end| at < end));
    if let Some((which, at, _)) = hit {
        return Some((troubles.get(which)?, at));
    }
    let end = until.unwrap_or_else(|| text.end());
    *searched = (*searched).max((end + 1).saturating_sub(longest));
    None
}

/// Starts the thread that reads the serial console.
pub(super) fn listen_to(
    mut out: ChildStdout,
    heard: Arc<Heard>,
    mut tee: Option<Tee>,
) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("serial console".into())
        .spawn(move || {
            let mut buf = vec![0; 16 << 10];
            loop {
                let n = match out.read(&mut buf) {
                    Ok(n) => n,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                    Err(_) => 0,
                };
                if let Some(w) = tee.as_mut()
                    && w.write_all(&buf[..n]).and_then(|()| w.flush()).is_err()
                {
                    // The copy has no reader any more, but the boot continues.
                    tee = None;
                }
                let mut state = heard.lock();
                state.0.push(&buf[..n]);
                state.1 = n == 0;
                heard.news.notify_all();
                if n == 0 {
                    return;
                }
            }
        })
}
