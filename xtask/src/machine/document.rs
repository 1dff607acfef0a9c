//! The documents of a machine's layout: `index.json`, the manifest and the configuration (OCI image
//! specification, image-index.md, manifest.md and config.md).

use super::Machine;
use crate::model::{Arch, Digest};
use crate::recipe::{self, Recipe};
use camino::Utf8Path;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The name of an image in `index.json` (annotations.md).
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The label that says that an image is a machine: its name.
const NAME: &str = "io.docker-to-linux.machine.name";
/// The label with the name of its system.
const SYSTEM: &str = "io.docker-to-linux.machine.system";
/// The label with the versions of its kernels, separated by spaces.
const KERNELS: &str = "io.docker-to-linux.machine.kernels";
/// The label with its settings, as in recipe.yaml.
const SETTINGS: &str = "io.docker-to-linux.machine.settings";

const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";

/// Why a document is not that of a machine.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoMachine {
    #[error("it is an image, but not a machine: it has no label {NAME}")]
    Label,
    #[error("the name of the machine, {0:?}, is not a valid one")]
    Name(String),
    #[error("its architecture is {0:?}, which is not supported")]
    Arch(String),
    #[error("its settings: {0}")]
    Settings(String),
    #[error("it has no layers")]
    Layers,
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// `index.json`. Unknown members of entries are kept.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Index {
    pub(super) schema_version: u32,
    #[serde(default)]
    pub(super) media_type: String,
    #[serde(default)]
    pub(super) manifests: Vec<Descriptor>,
}

impl Default for Index {
    fn default() -> Index {
        Index {
            schema_version: 2,
            media_type: INDEX_TYPE.to_owned(),
            manifests: Vec::new(),
        }
    }
}

/// A descriptor (descriptor.md).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) digest: String,
    pub(super) size: u64,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
    #[serde(flatten)]
    pub(super) rest: BTreeMap<String, Value>,
}

impl Descriptor {
    /// The entry of a machine in `index.json`.
    pub(super) fn of(machine: &Machine, size: u64) -> Descriptor {
        let platform = json!({"architecture": machine.arch.to_string(), "os": "linux"});
        Descriptor {
            digest: machine.digest.to_string(),
            size,
            annotations: [(REF_NAME.to_owned(), machine.name.clone())].into(),
            rest: [
                ("mediaType".to_owned(), MANIFEST_TYPE.into()),
                ("platform".to_owned(), platform),
            ]
            .into(),
        }
    }
}

/// The manifest of an image.
#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    pub(super) config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Document {
    architecture: String,
    #[serde(default)]
    config: Option<Labels>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Labels {
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

/// The configuration of a machine with this layer, as JSON. `created` is in seconds since 1970.
pub(super) fn config(machine: &Machine, created: i64, layer: Digest) -> String {
    let time = chrono::DateTime::from_timestamp(created, 0).unwrap_or_default();
    let labels = json!({
        NAME: machine.name,
        SYSTEM: machine.system,
        KERNELS: machine.kernels.join(" "),
        SETTINGS: settings(&machine.recipe),
    });
    json!({
        "architecture": machine.arch.to_string(),
        "os": "linux",
        "created": time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        "config": {"Labels": labels},
        "rootfs": {"type": "layers", "diff_ids": [layer.to_string()]},
    })
    .to_string()
}

/// The manifest with this configuration and this layer of `size` bytes, as JSON.
pub(super) fn manifest(config: &str, layer: Digest, size: u64) -> String {
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {
            "mediaType": CONFIG_TYPE,
            "digest": Digest::of(config.as_bytes()).to_string(),
            "size": config.len(),
        },
        "layers": [{"mediaType": LAYER_TYPE, "digest": layer.to_string(), "size": size}],
    })
    .to_string()
}

/// The settings that belong to a machine, not to the image that is made with it.
fn settings(recipe: &Recipe) -> String {
    json!({
        "kernel-arguments": recipe.kernel_arguments,
        "serial-console": recipe.serial_console,
    })
    .to_string()
}

/// The machine with this manifest and configuration, in the layout `dir`.
pub(super) fn machine(
    dir: &Utf8Path,
    digest: Digest,
    manifest: &Manifest,
    config: &[u8],
) -> Result<Machine, NoMachine> {
    let document: Document = serde_json::from_slice(config)?;
    let labels = document.config.and_then(|c| c.labels).unwrap_or_default();
    let name = labels.get(NAME).ok_or(NoMachine::Label)?;
    if !recipe::is_name(name) {
        return Err(NoMachine::Name(name.clone()));
    }
    let arch = serde_json::from_value::<Arch>(document.architecture.clone().into())
        .map_err(|_| NoMachine::Arch(document.architecture))?;
    if manifest.layers.is_empty() {
        return Err(NoMachine::Layers);
    }
    let settings = labels.get(SETTINGS).map_or("{}", String::as_str);
    let mut recipe =
        recipe::parse(settings, SETTINGS).map_err(|e| NoMachine::Settings(e.to_string()))?;
    recipe.architectures = vec![arch];
    let text = |label: &str| labels.get(label).cloned().unwrap_or_default();
    let sizes = manifest.layers.iter().map(|layer| layer.size);
    Ok(Machine {
        name: name.clone(),
        arch,
        digest,
        size: sizes.fold(0, u64::saturating_add),
        system: text(SYSTEM),
        kernels: text(KERNELS)
            .split_whitespace()
            .map(str::to_owned)
            .collect(),
        newest: true,
        recipe,
        dir: dir.to_owned(),
    })
}
