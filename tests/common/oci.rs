//! OCI layouts, made by hand.

use super::{Entry, content, write_tar};
use camino::{Utf8Path, Utf8PathBuf};
use docker_to_linux::model::Arch;
use docker_to_linux::rootfs::oci::{self, Image, Limits, OciError, Wanted};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::process::Command;

/// The digest of bytes, as OCI writes it.
pub fn sha256(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    format!(
        "sha256:{}",
        hash.iter().map(|b| format!("{b:02x}")).collect::<String>()
    )
}

/// How a layer is compressed.
#[derive(Clone, Copy)]
pub enum Squeeze {
    No,
    Gzip,
    Zstd,
}

impl Squeeze {
    /// The bytes, compressed.
    pub fn bytes(self, plain: &[u8]) -> Vec<u8> {
        match self {
            Squeeze::No => plain.to_vec(),
            Squeeze::Gzip => {
                let mut out = flate2::write::GzEncoder::new(Vec::new(), Default::default());
                out.write_all(plain).unwrap();
                out.finish().unwrap()
            }
            Squeeze::Zstd => zstd::encode_all(plain, 3).unwrap(),
        }
    }
}

/// An OCI layout in a folder.
pub struct Layout(pub Utf8PathBuf);

impl Layout {
    pub fn new(dir: &Utf8Path) -> Layout {
        fs_err::create_dir_all(dir.join("blobs/sha256")).unwrap();
        fs_err::write(dir.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
        Layout(dir.to_owned())
    }

    /// Stores bytes; returns their descriptor.
    pub fn blob(&self, bytes: &[u8]) -> Value {
        let digest = sha256(bytes);
        let name = digest.strip_prefix("sha256:").unwrap();
        fs_err::write(self.0.join("blobs/sha256").join(name), bytes).unwrap();
        json!({"mediaType": "x", "digest": digest, "size": bytes.len()})
    }

    pub fn document(&self, value: &Value) -> Value {
        self.blob(value.to_string().as_bytes())
    }

    /// Stores an image of these layers; returns its manifest's descriptor.
    pub fn image(&self, arch: &str, layers: &[(Vec<u8>, Squeeze)], config: &Value) -> Value {
        self.image_of(arch, "2024-05-01T10:00:00.5Z", layers, config)
    }

    /// An image that was created then: no file in it is newer.
    pub fn image_of(
        &self,
        arch: &str,
        created: &str,
        layers: &[(Vec<u8>, Squeeze)],
        config: &Value,
    ) -> Value {
        let ids: Vec<String> = layers.iter().map(|(tar, _)| sha256(tar)).collect();
        let config = self.document(&json!({
            "architecture": arch, "os": "linux", "created": created,
            "config": config, "rootfs": {"type": "layers", "diff_ids": ids},
        }));
        let layers: Vec<Value> = layers
            .iter()
            .map(|(tar, s)| self.blob(&s.bytes(tar)))
            .collect();
        self.document(&json!({"schemaVersion": 2, "config": config, "layers": layers}))
    }

    pub fn index(&self, manifests: &[Value]) {
        let index = json!({"schemaVersion": 2, "manifests": manifests});
        fs_err::write(self.0.join("index.json"), index.to_string()).unwrap();
    }

    pub fn read(&self) -> Result<Image, OciError> {
        self.read_for(Arch::Amd64, Limits::default())
    }

    pub fn read_for(&self, arch: Arch, limits: Limits) -> Result<Image, OciError> {
        oci::from_dir(&self.0, &arch.into(), limits, &self.0.join("spool"))
    }

    pub fn read_wanted(&self, wanted: &Wanted) -> Result<Image, OciError> {
        oci::from_dir(&self.0, wanted, Limits::default(), &self.0.join("spool"))
    }

    /// The same as a tar.
    pub fn tar(&self) -> Utf8PathBuf {
        let at = Utf8PathBuf::from(format!("{}.tar", self.0));
        content(Command::new("tar").args(["-C", self.0.as_str(), "-cf", at.as_str(), "."]));
        at
    }
}

/// A tar of these entries.
pub fn tar_of(entries: &[Entry]) -> Vec<u8> {
    let mut tar = Vec::new();
    write_tar(entries, &mut tar);
    tar
}

/// A layout of one image with these layers.
pub fn layout(at: &Utf8Path, layers: &[Vec<u8>]) -> Layout {
    let layout = Layout::new(at);
    let layers: Vec<_> = layers.iter().map(|l| (l.clone(), Squeeze::Gzip)).collect();
    let manifest = layout.image("amd64", &layers, &json!({}));
    layout.index(&[manifest]);
    layout
}
