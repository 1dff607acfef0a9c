//! What an image says of itself, and single files of it.

use super::Engine;
use super::export::{Made, make};
use crate::error::Report;
use crate::rootfs::oci::Config;
use std::io::Read;

/// Largest file that is looked at, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// Most names that are listed of one folder.
const MAX_NAMES: usize = 10_000;

impl Engine {
    /// The command of an image and what belongs to it.
    pub fn config(&self, image: &str) -> Result<Config, Report> {
        let doing = format!("asking for the configuration of {image}");
        let text = self.run(["image", "inspect", image], &doing)?;
        let failed = |e| Report::failure(doing.clone()).because(e);
        let all: serde_json::Value = serde_json::from_str(&text).map_err(failed)?;
        let mut config = all[0]["Config"].clone();
        // podman has it one level higher.
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

/// What lies at a path of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A regular file: its text, at most 1 MiB of it.
    File(String),
    /// A directory, a link, or something else.
    Other,
}

/// The files of an image, one by one. It is a container that is never started.
#[derive(Debug)]
pub struct Files<'a> {
    engine: &'a Engine,
    container: Made,
}

impl<'a> Files<'a> {
    /// Makes the container; it is removed when this is dropped.
    pub fn of(engine: &'a Engine, image: &str) -> Result<Files<'a>, Report> {
        let container = make(engine, image, "look")?;
        Ok(Files { engine, container })
    }

    /// A tar of what lies at `path`; nothing if nothing is there.
    fn tar(&self, path: &str) -> Option<duct::ReaderHandle> {
        let from = format!("{}:{path}", self.container.name);
        let copy = self.engine.command(["cp", &from, "-"]);
        copy.stdin_null().stderr_null().unchecked().reader().ok()
    }

    /// What is at `path`; nothing if nothing is there. Links are not followed.
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
