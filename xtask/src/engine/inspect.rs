//! An image's configuration, and single files from it.

use super::Engine;
use super::export::{Made, make};
use crate::error::Report;
use crate::rootfs::oci::Config;
use std::io::Read;

/// Largest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// Maximum number of names that are listed from one folder.
const MAX_NAMES: usize = 10_000;

impl Engine {
    /// The command of an image and the settings that belong to it.
    pub fn config(&self, image: &str) -> Result<Config, Report> {
        let doing = format!("asking for the configuration of {image}");
        let text = self.run(["image", "inspect", image], &doing)?;
        let failed = |e| Report::failure(doing.clone()).because(e);
        let all: serde_json::Value = serde_json::from_str(&text).map_err(failed)?;
        let mut config = all[0]["Config"].clone();
        // podman stores it one level higher.
        for name in ["Healthcheck", "HealthCheck"] {
            let check = &all[0][name];
            if check.is_object() && config["Healthcheck"].is_null() {
                config["Healthcheck"] = check.clone();
            }
        }
        if config.is_null() {
            return Ok(Config::default());
        }
        serde_json::from_value(config).map_err(failed)
    }
}

/// The kind of file at a path of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A regular file: at most the first 1 MiB of its text.
    File(String),
    /// A directory, a link, or something else.
    Other,
}

/// Reads single files of an image, from a container that is never started.
#[derive(Debug)]
pub struct Files<'a> {
    engine: &'a Engine,
    container: Made,
}

impl<'a> Files<'a> {
    /// Creates the container, which is removed when this is dropped.
    pub fn of(engine: &'a Engine, image: &str) -> Result<Files<'a>, Report> {
        let container = make(engine, image, "look")?;
        Ok(Files { engine, container })
    }

    /// A tar of the file or folder at `path`. `None` if it does not exist.
    fn tar(&self, path: &str) -> Option<duct::ReaderHandle> {
        let from = format!("{}:{path}", self.container.name);
        let copy = self.engine.command(["cp", &from, "-"]);
        copy.stdin_null().stderr_null().unchecked().reader().ok()
    }

    /// The file at `path`. `None` if it does not exist. Does not follow links.
    pub fn look(&self, path: &str) -> Option<Seen> {
        let mut archive = tar::Archive::new(self.tar(path)?);
        let entry = archive.entries().ok()?.next()?.ok()?;
        if !entry.header().entry_type().is_file() {
            return Some(Seen::Other);
        }
        let mut text = Vec::new();
        entry.take(MAX_FILE).read_to_end(&mut text).ok()?;
        Some(Seen::File(String::from_utf8_lossy(&text).into_owned()))
    }

    /// The paths of everything below `dir`, without `dir` itself.
    pub fn below(&self, dir: &str) -> Vec<String> {
        let Some(tar) = self.tar(dir) else {
            return Vec::new();
        };
        let mut archive = tar::Archive::new(tar);
        let Ok(all) = archive.entries() else {
            return Vec::new();
        };
        all.filter_map(Result::ok)
            .filter_map(|e| Some(e.path().ok()?.to_str()?.to_owned()))
            // The first component is the name of the folder itself.
            .filter_map(|p| Some(p.split_once('/')?.1.trim_end_matches('/').to_owned()))
            .filter(|p| !p.is_empty())
            .take(MAX_NAMES)
            .collect()
    }
}
