//! Types for the disk: its partition table, sectors and size.

use super::size::{Size, SizeError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Kind of partition table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TableKind {
    /// Master boot record.
    Mbr,
    /// GUID partition table.
    Gpt,
}

/// Size of a disk's logical sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "u32", try_from = "u32")]
pub enum SectorSize {
    /// 512 bytes: what nearly every disk has, virtual ones in particular.
    #[default]
    B512,
    /// 4096 bytes ("4K native"): such a disk boots with UEFI only.
    B4096,
}

impl SectorSize {
    /// The size in bytes.
    pub fn bytes(self) -> u64 {
        u32::from(self).into()
    }
}

impl From<SectorSize> for u32 {
    fn from(size: SectorSize) -> u32 {
        match size {
            SectorSize::B512 => 512,
            SectorSize::B4096 => 4096,
        }
    }
}

impl TryFrom<u32> for SectorSize {
    type Error = String;
    fn try_from(bytes: u32) -> Result<SectorSize, String> {
        match bytes {
            512 => Ok(SectorSize::B512),
            4096 => Ok(SectorSize::B4096),
            other => Err(format!("sectors have 512 or 4096 bytes, not {other}")),
        }
    }
}

impl std::str::FromStr for SectorSize {
    type Err = String;
    fn from_str(text: &str) -> Result<SectorSize, String> {
        let bytes: u32 = text
            .parse()
            .map_err(|_| "sectors have 512 or 4096 bytes".to_owned())?;
        SectorSize::try_from(bytes)
    }
}

impl JsonSchema for SectorSize {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SectorSize".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "Size of a disk's logical sectors in bytes.",
            "enum": [512, 4096]
        })
    }
}

/// Size of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum DiskSize {
    /// As large as the content needs, with some free space.
    #[serde(serialize_with = "auto")]
    Auto,
    /// Exactly this, rounded up to whole MiB.
    Fixed(Size),
}

fn auto<S: serde::Serializer>(s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str("auto")
}

impl std::str::FromStr for DiskSize {
    type Err = SizeError;
    fn from_str(text: &str) -> Result<DiskSize, Self::Err> {
        if text.trim() == "auto" {
            return Ok(DiskSize::Auto);
        }
        text.parse().map(DiskSize::Fixed)
    }
}

impl<'de> Deserialize<'de> for DiskSize {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<DiskSize, D::Error> {
        // Not an untagged enum: that loses the position in the file, which errors report.
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = DiskSize;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("`auto`, or a size, e.g. 512M, 4G or a number of bytes")
            }
            fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<DiskSize, E> {
                Ok(DiskSize::Fixed(Size(n)))
            }
            fn visit_str<E: serde::de::Error>(self, s: &str) -> Result<DiskSize, E> {
                s.parse().map_err(E::custom)
            }
        }
        d.deserialize_any(Visitor)
    }
}
