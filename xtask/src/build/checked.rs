//! Remembers which layers had the right digests, so that the same files are not hashed for each
//! image.

use crate::output;
use crate::place;
use crate::plain;
use crate::rootfs::oci::Known;
use camino::Utf8PathBuf;

/// Largest list that is read, in bytes.
const MOST: u64 = 1 << 20;

fn file() -> Utf8PathBuf {
    place::cache("checked").join("layers.json")
}

/// What is known. A list that cannot be read is as good as none: then everything is hashed.
pub(super) fn known() -> Known {
    plain::read(&file(), MOST).map_or_else(|_| Known::default(), |bytes| Known::from_json(&bytes))
}

/// Adds to what is known. Where nothing can be written, the files are hashed again the next time.
pub(super) fn remember(found: &Known) {
    if found.is_empty() {
        return;
    }
    let mut all = known();
    all.append(found);
    if let Ok(bytes) = all.to_json() {
        let _ = output::write(&file(), &bytes);
    }
}
