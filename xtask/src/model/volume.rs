//! Types for volumes: where they are stored, and which folders they are.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Where the volumes of a machine are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VolumesOn {
    /// A partition of their own, the last one of the disk.
    #[default]
    Partition,
    /// The root file system, as any other folder.
    Root,
}

/// A folder that is stored under a name of its own: `NAME:/path`, or `NAME:/path:ro` if the machine
/// may only read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedVolume {
    /// Its name: letters, digits, `.`, `-` and `_`, and a letter or digit first.
    pub name: String,
    /// Its path in the container, as [`volume_path`] returns it.
    pub path: String,
    /// Whether it is mounted read-only.
    pub read_only: bool,
}

/// Why something is not a volume.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VolumeError {
    /// The text has another form.
    #[error("the volume {0:?} is not of the form NAME:/path or NAME:/path:ro")]
    Form(String),
    /// The name has characters that it must not have.
    #[error(
        "the volume {0:?} has a wrong name: use letters, digits, `.`, `-` and `_`, start with a letter or digit, and use at most {MOST_NAME}"
    )]
    Name(String),
    /// The path is not absolute, or leads upwards.
    #[error("the volume {0:?} has no absolute path without `..`")]
    Path(String),
    /// The path is the root folder.
    #[error("the volume {0:?} is the root folder itself")]
    Root(String),
}

/// Longest name of a volume in bytes: a folder has this name, and 255 is the most that ext4 allows.
const MOST_NAME: usize = 200;

/// Longest path in bytes (Linux `PATH_MAX`, without its NUL).
const MOST_PATH: usize = 4095;

/// The path of a volume without superfluous slashes and dots, e.g. `/srv/data` for `/srv//data/`.
/// Fails if it is not absolute, leads upwards, is the root folder or has control characters.
pub fn volume_path(text: &str) -> Result<String, VolumeError> {
    let wrong = || VolumeError::Path(text.to_owned());
    if !text.starts_with('/') || text.len() > MOST_PATH || text.contains(char::is_control) {
        return Err(wrong());
    }
    let mut path = String::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err(wrong()),
            part => {
                path.push('/');
                path.push_str(part);
            }
        }
    }
    match path.is_empty() {
        true => Err(VolumeError::Root(text.to_owned())),
        false => Ok(path),
    }
}

impl FromStr for NamedVolume {
    type Err = VolumeError;

    fn from_str(text: &str) -> Result<NamedVolume, VolumeError> {
        let form = || VolumeError::Form(text.to_owned());
        let (name, rest) = text.split_once(':').ok_or_else(form)?;
        let (path, read_only) = match rest.rsplit_once(':') {
            Some((path, "ro")) => (path, true),
            Some((path, "rw")) => (path, false),
            Some(_) => return Err(form()),
            None => (rest, false),
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        if name.len() > MOST_NAME
            || !name.starts_with(|c: char| c.is_ascii_alphanumeric())
            || !name.chars().all(fits)
        {
            return Err(VolumeError::Name(text.to_owned()));
        }
        Ok(NamedVolume {
            name: name.to_owned(),
            path: volume_path(path)?,
            read_only,
        })
    }
}

impl fmt::Display for NamedVolume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ending = if self.read_only { ":ro" } else { "" };
        write!(f, "{}:{}{ending}", self.name, self.path)
    }
}

impl Serialize for NamedVolume {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NamedVolume {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<NamedVolume, D::Error> {
        String::deserialize(d)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for NamedVolume {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "NamedVolume".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "NAME:/path, or NAME:/path:ro for a volume that the machine may only read",
            "type": "string",
            "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*:/[^:]+(:r[ow])?$"
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_volume_has_a_name_and_a_path() {
        let parse = |text: &str| text.parse::<NamedVolume>();
        let v = parse("pg-data:/var/lib//postgresql/./data/").unwrap();
        assert_eq!((&*v.name, v.read_only), ("pg-data", false));
        assert_eq!(v.to_string(), "pg-data:/var/lib/postgresql/data");
        let v = parse("a:/a:ro").unwrap();
        assert!(v.read_only);
        assert_eq!(v.to_string(), "a:/a:ro");
        assert!(!parse("a:/a:rw").unwrap().read_only);
        for (text, word) in [
            ("/srv", "of the form"),
            ("a:/b:z", "of the form"),
            ("a b:/c", "wrong name"),
            (".new:/c", "wrong name"),
            (":/c", "wrong name"),
            ("a/b:/c", "wrong name"),
            ("a:b", "absolute"),
            ("a:/b/../c", "absolute"),
            ("a:/b\n", "absolute"),
            ("a:/", "root folder"),
            ("a://.", "root folder"),
        ] {
            let said = parse(text).unwrap_err().to_string();
            assert!(said.contains(word), "{text}: {said}");
        }
        assert!(parse(&format!("{}:/a", "n".repeat(201))).is_err());
    }
}
