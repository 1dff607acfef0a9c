//! OCI layouts. Documents name the blob that part N became: `@N` is its digest, `%N` the same
//! without its algorithm, `~N` the digest of what it unpacks to, and `"#N"` its size.

use crate::{checked, parts, scratch, tars};
use docker_to_linux::machine::Store;
use docker_to_linux::model::Arch;
use docker_to_linux::rootfs::{Budget, Limits, oci};
use sha2::{Digest, Sha256};

/// Switch: layers are compressed.
const GZIP: u8 = 4;
/// Most bytes that an image may unpack to here.
const UNPACKED: u64 = 64 << 20;

/// A layout in a folder: every part but the last is a blob, the last is the index.
pub(crate) fn layout(switches: u8, data: &[u8]) {
    let Ok(temp) = tempfile::tempdir_in(scratch()) else {
        return;
    };
    let Some(dir) = camino::Utf8Path::from_path(temp.path()) else {
        return;
    };
    let blobs = dir.join("blobs/sha256");
    if std::fs::create_dir_all(&blobs).is_err() {
        return;
    }
    let mut known: Vec<Known> = Vec::new();
    let all = parts::split(data);
    for (n, part) in all.iter().enumerate() {
        // What begins as JSON is a document, anything else a layer.
        let plain = match part.first() {
            Some(b'{') => filled(part, &known),
            _ => tars::mended(switches, part),
        };
        let bytes = match switches & GZIP != 0 && part.first() != Some(&b'{') {
            true => tars::gzip(&plain),
            false => plain.clone(),
        };
        let blob = Known::new(&bytes, &plain);
        let file = match n + 1 == all.len() {
            true => dir.join("index.json"),
            false => blobs.join(&blob.digest),
        };
        if std::fs::write(file, &bytes).is_err() {
            return;
        }
        known.push(blob);
    }
    let _ = std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#);
    let budget = Budget::new(Limits {
        unpacked: Some(UNPACKED),
        ..Limits::default()
    });
    // It may be a machine as well.
    let _ = checked(Store::at(&dir.join("store")).import(dir));
    if let Some(image) = checked(oci::from_dir(dir, &Arch::Amd64.into(), budget, &scratch())) {
        tars::read_all(&image.rootfs);
    }
}

/// What documents say of a blob.
pub(crate) struct Known {
    digest: String,
    len: usize,
    /// The digest of what it unpacks to.
    plain: String,
}

impl Known {
    pub(crate) fn new(bytes: &[u8], plain: &[u8]) -> Known {
        Known {
            digest: digest(bytes),
            len: bytes.len(),
            plain: digest(plain),
        }
    }
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    let hex = |b: &u8| format!("{b:02x}");
    Sha256::digest(bytes).iter().map(hex).collect()
}

/// The document with the digests and sizes of the parts before it.
pub(crate) fn filled(text: &[u8], known: &[Known]) -> Vec<u8> {
    let mut text = String::from_utf8_lossy(text).into_owned();
    for (n, blob) in known.iter().enumerate() {
        text = text.replace(&format!("@{n}"), &format!("sha256:{}", blob.digest));
        text = text.replace(&format!("~{n}"), &format!("sha256:{}", blob.plain));
        text = text.replace(&format!("%{n}"), &blob.digest);
        text = text.replace(&format!("\"#{n}\""), &blob.len.to_string());
    }
    text.into_bytes()
}
