//! Reads the headers of a tar file in a second thread, while the first one builds the tree. Measured
//! with 300,000 small files: both take about as long, and together they are half of what is done
//! before an image is written.

use super::header::{self, Entry};
use super::input::InFile;
use super::notes::Notes;
use super::{Found, TarError, Tree};
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Entries that are handed over at once.
const BATCH: usize = 256;

/// Batches that may wait. It limits the memory that is used.
const WAITING: usize = 4;

/// Reads all entries into `tree`. Returns their newest time as [`Found::end`] does.
pub(super) fn read_into(
    tree: &mut Tree,
    store: u32,
    input: &mut InFile,
    notes: &mut Notes,
) -> Result<i64, TarError> {
    let mut found = Found::default();
    let (send, receive) = sync_channel(WAITING);
    std::thread::scope(|scope| {
        let reader = std::thread::Builder::new().name("headers".into());
        let (input, notes) = (&mut *input, &mut *notes);
        let reader = reader.spawn_scoped(scope, move || headers(input, notes, &send))?;
        let built = build(tree, store, &mut found, receive);
        let died = |_| io::Error::other("the thread that reads the headers of a tar has panicked");
        let read = reader.join().map_err(died)?;
        // What is wrong with an entry comes before what is wrong further on.
        built.and(read)
    })?;
    found.end(input, notes)
}

/// Sends all entries until there are no more, one is wrong, or nobody wants them.
fn headers(
    input: &mut InFile,
    notes: &mut Notes,
    send: &SyncSender<Vec<Entry>>,
) -> Result<(), TarError> {
    let mut state = header::Globals::default();
    loop {
        let mut batch = Vec::with_capacity(BATCH);
        let end = loop {
            match header::next(input, &mut state, notes) {
                Ok(Some(entry)) => batch.push(entry),
                Ok(None) => break Some(Ok(())),
                Err(error) => break Some(Err(error)),
            }
            if batch.len() == BATCH {
                break None;
            }
        };
        if send.send(batch).is_err() {
            return Ok(());
        }
        if let Some(end) = end {
            return end;
        }
    }
}

/// Adds the entries to the tree. After an error, nobody wants any more.
fn build(
    tree: &mut Tree,
    store: u32,
    found: &mut Found,
    entries: Receiver<Vec<Entry>>,
) -> Result<(), TarError> {
    for batch in entries {
        for entry in batch {
            found.add(tree, store, entry)?;
        }
    }
    Ok(())
}
