//! The manifest: everything that a program may want to know of an image, as JSON.
//!
//! It is a pure function of the plan and of the files: no clock, no path of the host. Its
//! layout is `manifest.schema.json`, which `cargo xtask schema --manifest` prints.

use super::artifact;
use crate::error::Report;
use crate::format::digest::sha256;
use crate::format::target::join_command;
use crate::model::partition::SECTOR;
use crate::model::{Arch, BootMode, Compression, Format, Packing};
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

/// `<name>.manifest.json`: an image, and the files that it comes in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Manifest {
    /// Version of this layout: 1. A reader that knows it may meet fields that it does not.
    pub manifest: u32,
    /// Name of the image, without an ending.
    pub name: String,
    /// UUID of the image: the same content gives the same one.
    pub id: String,
    /// Architecture of the machine.
    pub arch: Arch,
    /// What firmware it boots on.
    pub boot: BootMode,
    /// The time that everything in the image was made at, in seconds since 1970.
    pub epoch: i64,
    /// What made it.
    pub tool: Tool,
    /// The recipe that it was made from.
    pub recipe: Option<Recipe>,
    /// The container image that the recipe's Dockerfile started from.
    pub base: Option<Base>,
    /// The disk.
    pub disk: Disk,
    /// What the boot loaders offer, the default first.
    pub boot_entries: Vec<BootEntry>,
    /// What the machine keeps of its container, if it keeps anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// The list of installed packages.
    pub packages: Option<Packages>,
    /// The files of the image, one for each format.
    pub artifacts: Vec<Artifact>,
}

/// A program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// A recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Recipe {
    /// Name of the image that it describes.
    pub name: String,
    /// SHA-256 of the output of `sha256sum` for its recipe.yaml, Dockerfile, bootstrap and all
    /// files below files/, in the order of their names.
    pub sha256: String,
}

/// A container image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Base {
    /// Its name, as the recipe gives it.
    pub name: String,
    /// Its digest in its registry; for an image that came from none, the engine's id of it.
    pub digest: Option<String>,
}

/// What a machine keeps of its container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Container {
    /// Whether its command is a service of the machine.
    pub service: bool,
    /// The ports that it listens at, as `80/tcp`.
    pub exposed_ports: Vec<String>,
    /// The folders of its data.
    pub volumes: Vec<String>,
    /// Whether the machine has a check of its own: `/usr/lib/docker-to-linux/healthcheck`.
    pub healthcheck: bool,
}

/// A disk. All places and sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Disk {
    /// Its size.
    pub size: u64,
    /// Size of its logical sectors: 512, where it is left out, or 4096.
    #[serde(default = "usual_sector", skip_serializing_if = "is_usual_sector")]
    pub sector_size: u64,
    /// Its partition table.
    pub table: Table,
    /// Its partitions, in the order of their places.
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
        /// The disk signature, as eight hexadecimal digits.
        id: String,
    },
    /// GUID partition table.
    Gpt {
        /// The GUID of the disk.
        id: String,
    },
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Partition {
    /// Its number, from 1.
    pub number: u32,
    /// What it is for: `esp` or `root`.
    pub role: String,
    /// Where it begins.
    pub offset: u64,
    /// Its size.
    pub size: u64,
    /// Its type: a GUID in a GPT, two hexadecimal digits in an MBR.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its GUID, in a GPT.
    pub id: Option<String>,
    /// What the firmware calls it, in a GPT.
    pub name: Option<String>,
    /// Its file system.
    pub file_system: FileSystem,
}

/// A file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileSystem {
    /// `ext4` or `vfat`, as mount(8) calls it.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its UUID, or the volume id of FAT as `XXXX-XXXX`.
    pub uuid: String,
    /// Its label.
    pub label: String,
}

/// What a boot loader can start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BootEntry {
    /// Its id: the file name of the entry.
    pub id: String,
    /// What the menu shows.
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
    /// How many packages it lists.
    pub count: u64,
}

/// An image in one format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Artifact {
    /// Name of the file. If there are `parts`, only those exist, and joined they make it.
    pub file: PlainName,
    /// Its format.
    pub format: Format,
    /// How the clusters in it are compressed, for qcow2.
    pub compression: Compression,
    /// How the file as a whole is compressed.
    pub packing: Option<Packing>,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256, in lower-case hexadecimal.
    pub sha256: String,
    /// The parts that it was cut into, in their order; none if it is whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
    /// The command that joins them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join: Option<String>,
    /// Name of the block map for bmaptool, of the raw image as it is uncompressed.
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

/// Name of the manifest of an image.
pub fn file_name(image: &str) -> String {
    format!("{image}{ENDING}")
}

/// What follows the image's name in the name of its manifest.
pub const ENDING: &str = ".manifest.json";

/// Name of the package list of an image.
pub fn spdx_name(image: &str) -> String {
    format!("{image}.spdx.json")
}

/// The JSON Schema of the manifest, as text.
pub fn schema() -> String {
    let schema = schemars::schema_for!(Manifest);
    // A schema is a JSON value already: turning it into text cannot fail.
    serde_json::to_string_pretty(&schema).unwrap_or_default()
}

impl Manifest {
    /// What a plan says; without artifacts and packages.
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
            disk: disk(plan),
            boot_entries: plan.entries.iter().map(entry).collect(),
            container: plan.container.as_ref().map(|c| Container {
                service: c.restart.is_some(),
                exposed_ports: c.exposed_ports.clone(),
                volumes: c.volumes.clone(),
                healthcheck: c.healthcheck.is_some(),
            }),
            packages: None,
            artifacts: Vec::new(),
        }
    }

    /// Reads a manifest. It may be anybody's: it is a regular file of a bounded size, and every
    /// name in it is a plain file name.
    pub fn read(path: &Utf8Path) -> Result<Manifest, Report> {
        let failed = || Report::failure(format!("reading the manifest {path}"));
        let text = plain::read(path, MOST).map_err(|e| failed().because(e))?;
        let manifest: Manifest = serde_json::from_slice(&text).map_err(|e| {
            failed()
                .because(e)
                .hint("it is damaged, or of another version of this program: make the image anew")
        })?;
        if !recipe::is_name(&manifest.name) {
            let why = format!("{:?} cannot be a name of images", manifest.name);
            return Err(failed().because(why).hint("make the image anew"));
        }
        for artifact in &manifest.artifacts {
            // Somebody runs it in a shell.
            let join = (!artifact.parts.is_empty()).then(|| join_command(&artifact.file));
            if artifact.join != join {
                let why = format!("{} has another command that joins its parts", artifact.file);
                return Err(failed().because(why).hint("make the image anew"));
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

    /// Takes up artifacts, in the place of those of the same names.
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

    /// The files that it lies in, in their order.
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

fn disk(plan: &Plan) -> Disk {
    let gpt = matches!(plan.disk.table, plan::Table::Gpt { .. });
    let partition = |p: &plan::Partition| Partition {
        number: p.number,
        role: match p.role {
            plan::Role::Esp => "esp".into(),
            plan::Role::Root => "root".into(),
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
        file_system: match (p.role, &plan.esp) {
            (plan::Role::Esp, Some(esp)) => FileSystem {
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
    /// The recipe that was found.
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
            // A link in files/ may lead nowhere on this host: where it leads is what it is.
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

/// Appends the names of all files below the folder `name` of `dir`, if there is one.
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
        fs::write(dir.join("notes"), "of no account").unwrap();
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
