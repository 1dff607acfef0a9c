//! The manifest: everything that a program may want to know about an image, as JSON.
//!
//! It depends only on the plan and the files, not on the clock or on paths of the host. Its layout
//! is `manifest.schema.json`, which `cargo xtask schema --manifest` prints.

use super::artifact;
use crate::error::Report;
use crate::format::digest::sha256;
use crate::format::target::join_command;
use crate::model::partition::SECTOR;
use crate::model::{Arch, BootMode, Compression, Format, Packing, Target};
use crate::plain::{self, PlainName};
use crate::plan::{self, Plan};
use crate::recipe::{self, Found};
use camino::Utf8Path;
use fs_err as fs;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::io;

/// Largest manifest that is read, in bytes.
const MOST: u64 = 16 << 20;

/// Version of the layout.
pub const VERSION: u32 = 1;

/// `<name>.manifest.json`: an image and its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Manifest {
    /// Version of this layout: 1. New fields may be added to the same version, so readers must
    /// ignore fields that they do not know.
    pub manifest: u32,
    /// Name of the image, without an extension.
    pub name: String,
    /// UUID of the image. The same contents always have the same UUID.
    pub id: String,
    /// Architecture of the machine.
    pub arch: Arch,
    /// Firmware that it boots with.
    pub boot: BootMode,
    /// Time stamp of everything in the image, in seconds since 1970.
    pub epoch: i64,
    /// Program that made the image.
    pub tool: Tool,
    /// Recipe that the image was made from.
    pub recipe: Option<Recipe>,
    /// Container image that the recipe's Dockerfile is based on, or that was put into a machine.
    pub base: Option<Base>,
    /// Machine that the container image was put into as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<Machine>,
    /// Partition table, partitions and file systems.
    pub disk: Disk,
    /// Boot entries in the boot loaders' menus, the default first.
    pub boot_entries: Vec<BootEntry>,
    /// Volumes of the machine, if they have a file system of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// Settings that the machine takes over from its container, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// Platforms that the image was made for. `<name>.<target>.md` says how it is imported on each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
    /// The list of installed packages.
    pub packages: Option<Packages>,
    /// The files of the image, one for each format.
    pub artifacts: Vec<Artifact>,
}

/// The program that wrote the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tool {
    /// Name of the program: `docker-to-linux`.
    pub name: String,
    /// Version of the program, e.g. `0.1.0`.
    pub version: String,
}

/// A recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Recipe {
    /// Name of the image that it describes.
    pub name: String,
    /// SHA-256 of the output of `sha256sum` for its recipe.yaml, Dockerfile, bootstrap and all
    /// files in files/, sorted by name.
    pub sha256: String,
}

/// A container image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Base {
    /// Name in the recipe, e.g. `debian:trixie-slim`.
    pub name: String,
    /// Digest in its registry. For an image that did not come from a registry, its id in the
    /// engine.
    pub digest: Option<String>,
}

/// A ready machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Machine {
    /// Its name, e.g. `debian`.
    pub name: String,
    /// The digest of its manifest, `sha256:` and 64 digits.
    pub digest: String,
}

/// Settings that a machine takes over from its container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Container {
    /// Whether the container's command is a service of the machine.
    pub service: bool,
    /// Ports that the service listens on, e.g. `80/tcp`.
    pub exposed_ports: Vec<String>,
    /// Folders with its data.
    pub volumes: Vec<String>,
    /// Whether the machine has a health check: `/usr/lib/docker-to-linux/healthcheck`.
    pub healthcheck: bool,
}

/// A volume: a folder of the file system with the role `volumes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Volume {
    /// Name of the folder on that file system.
    pub name: String,
    /// Path at which the machine mounts it.
    pub at: String,
    /// Whether it is mounted read-only.
    pub read_only: bool,
}

/// A disk. All offsets and sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Disk {
    /// Its size.
    pub size: u64,
    /// Size of its logical sectors: 512 (the default if it is left out) or 4096.
    #[serde(default = "usual_sector", skip_serializing_if = "is_usual_sector")]
    pub sector_size: u64,
    /// Its partition table.
    pub table: Table,
    /// Partitions, in the order of their offsets.
    pub partitions: Vec<Partition>,
}

fn usual_sector() -> u64 {
    SECTOR
}

fn is_usual_sector(bytes: &u64) -> bool {
    *bytes == SECTOR
}

/// A partition table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", tag = "type")]
pub enum Table {
    /// Master boot record.
    Mbr {
        /// Disk signature, as eight hexadecimal digits.
        id: String,
    },
    /// GUID partition table.
    Gpt {
        /// GUID of the disk.
        id: String,
    },
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Partition {
    /// Partition number, from 1.
    pub number: u32,
    /// Purpose: `esp`, `root` or `volumes`.
    pub role: String,
    /// Offset of its first byte on the disk.
    pub offset: u64,
    /// Its size.
    pub size: u64,
    /// Partition type: a GUID in a GPT, two hexadecimal digits in an MBR.
    #[serde(rename = "type")]
    pub kind: String,
    /// GUID of the partition, in a GPT.
    pub id: Option<String>,
    /// Partition name, in a GPT.
    pub name: Option<String>,
    /// File system in the partition.
    pub file_system: FileSystem,
}

/// A file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileSystem {
    /// Type as in mount(8): `ext4` or `vfat`.
    #[serde(rename = "type")]
    pub kind: String,
    /// UUID of an ext4, or volume id of a FAT as `XXXX-XXXX`.
    pub uuid: String,
    /// Label of the file system.
    pub label: String,
}

/// A kernel with its initrd and arguments, as a boot loader's menu lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BootEntry {
    /// Id of the entry, which is also its file name.
    pub id: String,
    /// Title in the menu.
    pub title: String,
    /// Version of the kernel.
    pub version: String,
    /// Path of the kernel in the root file system.
    pub linux: String,
    /// Path of the initrd in the root file system.
    pub initrd: String,
    /// Kernel arguments.
    pub arguments: String,
}

/// A list of packages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Packages {
    /// Name of the file.
    pub file: PlainName,
    /// Its format: `SPDX-2.3`, as JSON.
    pub format: String,
    /// Number of packages in the list.
    pub count: u64,
}

/// An image in one format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Artifact {
    /// Name of the file. If there are `parts`, only they exist, and this is the name of the joined
    /// file.
    pub file: PlainName,
    /// Its format.
    pub format: Format,
    /// How the clusters are compressed, for qcow2.
    pub compression: Compression,
    /// How the file as a whole is compressed, if it is.
    pub packing: Option<Packing>,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256, in lower-case hexadecimal.
    pub sha256: String,
    /// Parts that the file was split into, in order; none if it was not split.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
    /// Command that joins the parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join: Option<String>,
    /// Name of the block map for bmaptool. It describes the uncompressed raw image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bmap: Option<PlainName>,
}

/// A part of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Part {
    /// Name of the file.
    pub file: PlainName,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256, in lower-case hexadecimal.
    pub sha256: String,
}

/// File name of the manifest of an image.
pub fn file_name(image: &str) -> String {
    format!("{image}{ENDING}")
}

/// Suffix of a manifest's file name, after the image's name.
pub const ENDING: &str = ".manifest.json";

/// File name of the package list of an image.
pub fn spdx_name(image: &str) -> String {
    format!("{image}.spdx.json")
}

/// The JSON Schema of the manifest, as text.
pub fn schema() -> String {
    let schema = schemars::schema_for!(Manifest);
    // A schema is already a JSON value, so converting it to text cannot fail.
    serde_json::to_string_pretty(&schema).unwrap_or_default()
}

impl Manifest {
    /// The manifest for a plan, without artifacts and packages.
    pub fn new(plan: &Plan, recipe: Option<Recipe>, base: Option<Base>) -> Manifest {
        Manifest {
            manifest: VERSION,
            name: plan.name.clone(),
            id: plan.id.to_string(),
            arch: plan.arch,
            boot: plan.boot,
            epoch: plan.epoch,
            tool: Tool {
                name: "docker-to-linux".into(),
                version: env!("CARGO_PKG_VERSION").into(),
            },
            recipe,
            base,
            machine: None,
            disk: disk(plan),
            boot_entries: plan.entries.iter().map(entry).collect(),
            volumes: volumes(plan),
            container: plan.container.as_ref().map(|c| Container {
                service: c.restart.is_some(),
                exposed_ports: c.exposed_ports.clone(),
                volumes: c.volumes.clone(),
                healthcheck: c.healthcheck.is_some(),
            }),
            targets: plan.targets.clone(),
            packages: None,
            artifacts: Vec::new(),
        }
    }

    /// Reads a manifest, which is not trusted: it must be a regular file of a limited size, and
    /// every name in it must be a plain file name.
    pub fn read(path: &Utf8Path) -> Result<Manifest, Report> {
        let failed = || Report::failure(format!("reading the manifest {path}"));
        let text = plain::read(path, MOST).map_err(|e| failed().because(e))?;
        let manifest: Manifest = serde_json::from_slice(&text).map_err(|e| {
            failed().because(e).hint(
                "it is damaged, or another version of this program wrote it: rebuild the image",
            )
        })?;
        if !recipe::is_name(&manifest.name) {
            let why = format!("{:?} is not a valid image name", manifest.name);
            return Err(failed().because(why).hint("rebuild the image"));
        }
        for artifact in &manifest.artifacts {
            // Users run this command in a shell.
            let join = (!artifact.parts.is_empty()).then(|| join_command(&artifact.file));
            if artifact.join != join {
                let why = format!(
                    "the join command of {} is not the expected one",
                    artifact.file
                );
                return Err(failed().because(why).hint("rebuild the image"));
            }
        }
        Ok(manifest)
    }

    /// The manifest as text.
    pub fn text(&self) -> Result<String, Report> {
        serde_json::to_string_pretty(self)
            .map(|text| text + "\n")
            .map_err(|e| Report::failure("writing the manifest").because(e))
    }

    /// Adds artifacts, replacing those with the same names.
    pub fn record(&mut self, artifacts: &[artifact::Artifact]) -> Result<(), Report> {
        self.artifacts
            .retain(|old| artifacts.iter().all(|new| new.file != *old.file));
        for artifact in artifacts {
            let new = Artifact::of(artifact)
                .map_err(|e| Report::failure("writing the manifest").because(e))?;
            self.artifacts.push(new);
        }
        self.artifacts.sort_by(|a, b| a.file.cmp(&b.file));
        Ok(())
    }
}

impl Artifact {
    fn of(artifact: &artifact::Artifact) -> io::Result<Artifact> {
        let part = |file: &crate::format::target::Written| {
            Ok(Part {
                file: plain::name_of(file.pending.path())?,
                size: file.size,
                sha256: file.sha256.clone(),
            })
        };
        Ok(Artifact {
            file: plain::name_of(Utf8Path::new(&artifact.file))?,
            format: artifact.format,
            compression: artifact.compression,
            packing: artifact.packing,
            size: artifact.size,
            sha256: artifact.sha256.clone(),
            parts: match artifact.is_split() {
                true => artifact.files.iter().map(part).collect::<io::Result<_>>()?,
                false => Vec::new(),
            },
            join: artifact.join_command(),
            bmap: match &artifact.map {
                Some(map) => Some(plain::name_of(map.pending.path())?),
                None => None,
            },
        })
    }

    /// The files that make up the artifact, in order.
    pub fn files(&self) -> Vec<Part> {
        if !self.parts.is_empty() {
            return self.parts.clone();
        }
        vec![Part {
            file: self.file.clone(),
            size: self.size,
            sha256: self.sha256.clone(),
        }]
    }
}

fn volumes(plan: &Plan) -> Vec<Volume> {
    let list = plan.volumes.iter().flat_map(|v| &v.list);
    list.map(|v| Volume {
        name: v.name.clone(),
        at: v.at.clone(),
        read_only: v.read_only,
    })
    .collect()
}

fn disk(plan: &Plan) -> Disk {
    let gpt = matches!(plan.disk.table, plan::Table::Gpt { .. });
    let partition = |p: &plan::Partition| Partition {
        number: p.number,
        role: match p.role {
            plan::Role::Esp => "esp".into(),
            plan::Role::Root => "root".into(),
            plan::Role::Volumes => "volumes".into(),
        },
        offset: p.start,
        size: p.len,
        kind: if gpt {
            p.gpt_type.to_string()
        } else {
            format!("{:02x}", p.mbr_type)
        },
        id: gpt.then(|| p.guid.to_string()),
        name: gpt.then(|| p.name.clone()),
        file_system: match (p.role, &plan.esp, &plan.volumes) {
            (plan::Role::Volumes, _, Some(volumes)) => FileSystem {
                kind: "ext4".into(),
                uuid: volumes.uuid.to_string(),
                label: volumes.label.clone(),
            },
            (plan::Role::Esp, Some(esp), _) => FileSystem {
                kind: "vfat".into(),
                uuid: format!("{:04X}-{:04X}", esp.volume_id >> 16, esp.volume_id & 0xffff),
                label: esp.label.clone(),
            },
            _ => FileSystem {
                kind: "ext4".into(),
                uuid: plan.root.uuid.to_string(),
                label: plan.root.label.clone(),
            },
        },
    };
    Disk {
        size: plan.disk.size,
        sector_size: plan.disk.sector_size,
        table: match plan.disk.table {
            plan::Table::Mbr { signature } => Table::Mbr {
                id: format!("{signature:08x}"),
            },
            plan::Table::Gpt { guid } => Table::Gpt {
                id: guid.to_string(),
            },
        },
        partitions: plan.disk.partitions.iter().map(partition).collect(),
    }
}

fn entry(entry: &plan::BootEntry) -> BootEntry {
    BootEntry {
        id: entry.id.clone(),
        title: entry.title.clone(),
        version: entry.version.clone(),
        linux: entry.linux.path.clone(),
        initrd: entry.initrd.path.clone(),
        arguments: entry.arguments.clone(),
    }
}

impl Recipe {
    /// Describes a recipe.
    pub fn of(found: &Found) -> Result<Recipe, Report> {
        let failed =
            |e: io::Error| Report::failure(format!("reading the recipe {}", found.dir)).because(e);
        let mut names = Vec::new();
        for name in ["Dockerfile", "bootstrap", "recipe.yaml"] {
            if found.dir.join(name).is_file() {
                names.push(name.to_owned());
            }
        }
        walk(&found.dir, "files", &mut names).map_err(failed)?;
        names.sort_unstable();
        let mut lines = String::new();
        for name in names {
            let path = found.dir.join(&name);
            // A link in files/ may be broken on this host, so the hash is that of its target's
            // path.
            let sum = match fs::symlink_metadata(&path).map_err(failed)?.is_symlink() {
                true => sha256(path.read_link_utf8().map_err(failed)?.as_str().as_bytes()),
                false => fs::File::open(&path).and_then(sha256),
            };
            lines.push_str(&format!("{}  {name}\n", sum.map_err(failed)?));
        }
        Ok(Recipe {
            name: found.name.clone(),
            sha256: sha256(lines.as_bytes()).map_err(failed)?,
        })
    }
}

/// Appends the names of all files in the folder `name` of `dir`, if it exists.
fn walk(dir: &Utf8Path, name: &str, names: &mut Vec<String>) -> io::Result<()> {
    let entries = match dir.join(name).read_dir_utf8() {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    for entry in entries {
        let entry = entry?;
        let name = format!("{name}/{}", entry.file_name());
        if entry.file_type()?.is_dir() {
            walk(dir, &name, names)?;
        } else {
            names.push(name);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Recipe, schema};
    use crate::format::digest::sha256;
    use crate::recipe::{Found, Recipe as Parsed};
    use camino::Utf8Path;
    use fs_err as fs;

    #[test]
    fn the_schema_is_fresh() {
        let stored = include_str!("manifest.schema.json");
        assert_eq!(
            stored.trim_end(),
            schema().trim_end(),
            "run `cargo xtask schema --manifest > xtask/src/deliver/manifest.schema.json`"
        );
    }

    #[test]
    fn the_hash_of_a_recipe_is_that_of_its_files() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap();
        fs::create_dir_all(dir.join("files/etc")).unwrap();
        fs::write(dir.join("recipe.yaml"), "").unwrap();
        fs::write(dir.join("Dockerfile"), "FROM x\n").unwrap();
        fs::write(dir.join("files/etc/motd"), "hi").unwrap();
        fs::write(dir.join("notes"), "not part of the hash").unwrap();
        let found = Found {
            name: "box".into(),
            dir: dir.to_owned(),
            recipe: Parsed::default(),
        };
        let sum = |text: &str| sha256(text.as_bytes()).unwrap();
        let lines = format!(
            "{}  Dockerfile\n{}  files/etc/motd\n{}  recipe.yaml\n",
            sum("FROM x\n"),
            sum("hi"),
            sum("")
        );
        let recipe = Recipe::of(&found).unwrap();
        assert_eq!(recipe.sha256, sum(&lines));
        fs::write(dir.join("notes"), "changed").unwrap();
        assert_eq!(Recipe::of(&found).unwrap(), recipe);
        fs::write(dir.join("files/etc/motd"), "ho").unwrap();
        assert_ne!(Recipe::of(&found).unwrap(), recipe);
    }
}
