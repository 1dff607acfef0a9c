//! Selects one of several images: platforms with their variants, and names.
use super::Known;
use crate::model::Arch;
use serde::Deserialize;

/// The platform of an image (OCI image specification, image-index.md, "platform").
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Platform {
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
    #[serde(default)]
    pub variant: Option<String>,
}

/// The version in a variant, e.g. (8, 1) in `v8.1`.
pub(super) type Version = (u32, u32);

/// The version of an architecture without a variant (containerd, platforms/database.go,
/// `normalizeArch`: amd64 is its v1, arm64 its v8).
fn baseline(arch: Arch) -> Version {
    match arch {
        Arch::Amd64 => (1, 0),
        Arch::Arm64 => (8, 0),
    }
}

/// The version in a variant; `None` if it is not a version.
pub(super) fn version(arch: Arch, variant: &str) -> Option<Version> {
    if variant.is_empty() {
        return Some(baseline(arch));
    }
    let digits = variant.strip_prefix('v').unwrap_or(variant);
    let (major, minor) = digits.split_once('.').unwrap_or((digits, "0"));
    Some((major.parse().ok()?, minor.parse().ok()?))
}

impl Platform {
    /// How well this matches a machine: the version, if the machine supports it; the highest one is
    /// best. As in containerd (platforms/compare.go), an image for a newer variant than requested
    /// does not match.
    pub(super) fn fits(&self, arch: Arch, asked: Version) -> Option<Version> {
        let same = match self.architecture.as_str() {
            "amd64" | "x86_64" | "x86-64" => arch == Arch::Amd64,
            "arm64" | "aarch64" => arch == Arch::Arm64,
            _ => false,
        };
        if !same || !self.os.eq_ignore_ascii_case("linux") {
            return None;
        }
        let variant = self.variant.as_deref().unwrap_or_default();
        version(arch, variant).filter(|is| *is <= asked)
    }

    /// BuildKit's platform for an attestation.
    pub(super) fn is_unknown(&self) -> bool {
        self.os == "unknown" || self.architecture == "unknown"
    }

    /// Whether no field is set.
    pub(super) fn is_empty(&self) -> bool {
        self.os.is_empty() && self.architecture.is_empty()
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match self.variant.as_deref() {
            None | Some("") => Ok(()),
            Some(variant) => write!(f, "/{variant}"),
        }
    }
}

/// Which of the stored images is requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Architecture of the machine.
    pub arch: Arch,
    /// Newest variant of the architecture that the machine supports, e.g. `v3`. Default: the oldest
    /// one, v1 for amd64 and v8 for arm64.
    pub variant: Option<String>,
    /// Name, tag or digest of the image.
    pub name: Option<String>,
    /// Another folder that may contain blobs: links into it are followed.
    pub blob_dir: Option<camino::Utf8PathBuf>,
    /// Layers that need not be hashed again.
    pub known: Known,
}

impl From<Arch> for Wanted {
    fn from(arch: Arch) -> Wanted {
        Wanted {
            arch,
            variant: None,
            name: None,
            blob_dir: None,
            known: Known::default(),
        }
    }
}

impl Wanted {
    /// The version of the requested variant; `None` if it is not valid.
    pub(super) fn version(&self) -> Option<Version> {
        version(self.arch, self.variant.as_deref().unwrap_or_default())
    }

    /// The platform as errors name it.
    pub(super) fn platform(&self) -> Platform {
        Platform {
            architecture: self.arch.to_string(),
            os: "linux".into(),
            variant: self.variant.clone(),
        }
    }

    /// Whether an image with these names and this digest is the requested one.
    pub(super) fn means(&self, names: &[String], digest: &str) -> bool {
        let Some(wanted) = &self.name else {
            return true;
        };
        let hex = wanted.strip_prefix("sha256:").unwrap_or(wanted);
        let by_digest = hex.len() >= 7
            && hex.bytes().all(|b| b.is_ascii_hexdigit())
            && digest
                .strip_prefix("sha256:")
                .is_some_and(|d| d.starts_with(hex));
        by_digest || names.iter().any(|name| is_name_of(wanted, name))
    }
}

/// Whether `wanted` matches the name of an image: exactly, without registry and folders, or without
/// the tag `latest`.
fn is_name_of(wanted: &str, name: &str) -> bool {
    let short = |text: &str| text.strip_suffix(":latest").unwrap_or(text).to_owned();
    let (wanted, name) = (short(wanted), short(name));
    name == wanted
        || name
            .strip_suffix(&wanted)
            .is_some_and(|rest| rest.ends_with('/'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn fits(arch: Arch, asked: &str, platform: &str) -> Option<Version> {
        let mut parts = platform.split('/').map(str::to_owned);
        let platform = Platform {
            os: parts.next().unwrap(),
            architecture: parts.next().unwrap(),
            variant: parts.next(),
        };
        platform.fits(arch, version(arch, asked).unwrap())
    }

    #[test]
    fn no_image_is_newer_than_the_machine() {
        use Arch::{Amd64, Arm64};
        for (arch, asked, platform, fit) in [
            (Amd64, "", "linux/amd64", Some((1, 0))),
            (Amd64, "", "linux/amd64/v1", Some((1, 0))),
            (Amd64, "", "linux/amd64/v2", None),
            (Amd64, "v3", "linux/amd64", Some((1, 0))),
            (Amd64, "v3", "linux/amd64/v2", Some((2, 0))),
            (Amd64, "v3", "linux/amd64/v4", None),
            (Amd64, "", "linux/x86_64", Some((1, 0))),
            (Amd64, "", "linux/386", None),
            (Amd64, "", "linux/arm64/v8", None),
            (Amd64, "", "windows/amd64", None),
            (Amd64, "", "linux/amd64/strange", None),
            (Arm64, "", "linux/arm64", Some((8, 0))),
            (Arm64, "", "linux/arm64/v8", Some((8, 0))),
            (Arm64, "", "linux/arm64/v9", None),
            (Arm64, "v8.2", "linux/arm64/v8.1", Some((8, 1))),
            (Arm64, "", "linux/arm/v7", None),
            (Arm64, "", "linux/aarch64", Some((8, 0))),
        ] {
            assert_eq!(fits(arch, asked, platform), fit, "{asked} {platform}");
        }
    }

    #[test]
    fn names_are_found_long_and_short() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let names = ["docker.io/library/app:v2".to_owned(), "v2".to_owned()];
        for (wanted, means) in [
            ("docker.io/library/app:v2", true),
            ("app:v2", true),
            ("library/app:v2", true),
            ("v2", true),
            ("pp:v2", false),
            ("app", false),
            ("v", false),
            (&digest, true),
            ("sha256:abababab", true),
            ("ababababab", true),
            ("abab", false),
            ("sha256:cdcdcdcd", false),
        ] {
            let wanted = Wanted {
                name: Some(wanted.to_owned()),
                ..Arch::Amd64.into()
            };
            assert_eq!(wanted.means(&names, &digest), means, "{wanted:?}");
        }
        assert!(is_name_of("app", "docker.io/library/app:latest"));
    }
}
