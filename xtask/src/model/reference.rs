//! Names of images in registries.

use super::digest::{Digest, NotDigest};
use std::fmt;
use std::str::FromStr;

/// The registry of names without a host.
const DEFAULT_HOST: &str = "docker.io";

/// Folder of its names without one.
const DEFAULT_FOLDER: &str = "library/";

/// Longest repository and longest tag, in characters (distribution, reference/regexp.go and
/// reference/reference.go).
const MAX_REPOSITORY: usize = 255;
const MAX_TAG: usize = 128;

/// The name of an image in a registry: `HOST/REPOSITORY[:TAG][@DIGEST]` (distribution's reference
/// grammar, reference/reference.go).
///
/// As in container engines, a name without a host is one of Docker Hub, and a name there without a
/// folder is in `library`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    host: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is not a [`Reference`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing is left for the name.
    #[error("it has no repository")]
    NoName,
    /// The part before the first slash has a dot or a colon, but is not a host.
    #[error("{0:?} is not a host name with an optional port")]
    Host(String),
    /// The grammar allows lower-case letters only.
    #[error("the repository {0:?} has upper-case letters")]
    Upper(String),
    /// A part between slashes has another character, or begins or ends with a separator.
    #[error("the repository {0:?} has characters that are not allowed there")]
    Name(String),
    /// The repository is too long.
    #[error("its repository has {0} characters; at most {MAX_REPOSITORY} are allowed")]
    Long(usize),
    /// The tag has other characters, or is empty or too long.
    #[error("{0:?} is not a tag: letters, digits, `_`, `.` and `-`, at most {MAX_TAG}")]
    Tag(String),
    /// The part after `@`.
    #[error(transparent)]
    Digest(#[from] NotDigest),
}

impl Reference {
    /// Host and port of the registry, as they were given; `docker.io` for Docker Hub.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Name of the repository in the registry, e.g. `library/debian`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The digest of the manifest or index, if it was given. It decides then; the tag is ignored.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// What to ask the registry for: the digest, or else the tag, or else `latest`.
    pub fn wanted(&self) -> String {
        match (self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }

    /// Whether it is an image of Docker Hub.
    pub fn is_hub(&self) -> bool {
        self.host == DEFAULT_HOST
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Reference, ReferenceError> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (text, None),
        };
        let (host, rest) = match rest.split_once('/') {
            Some((first, rest)) if is_host_like(first) => (Some(first), rest),
            _ => (None, rest),
        };
        let (name, tag) = match rest.split_once(':') {
            Some((name, tag)) => (name, Some(tag)),
            None => (rest, None),
        };
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(ReferenceError::Tag(short(tag)));
        }
        if let Some(host) = host.filter(|host| !is_host(host)) {
            return Err(ReferenceError::Host(short(host)));
        }
        check_name(name)?;
        // Older names of Docker Hub are still in use.
        let host = match host {
            None | Some("index.docker.io" | "registry-1.docker.io") => DEFAULT_HOST,
            Some(host) => host,
        };
        let folder = match host == DEFAULT_HOST && !name.contains('/') {
            true => DEFAULT_FOLDER,
            false => "",
        };
        Ok(Reference {
            host: host.to_owned(),
            repository: format!("{folder}{name}"),
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.repository)?;
        match (&self.tag, self.digest) {
            (Some(tag), None) => write!(f, ":{tag}"),
            (Some(tag), Some(digest)) => write!(f, ":{tag}@{digest}"),
            (None, Some(digest)) => write!(f, "@{digest}"),
            (None, None) => write!(f, ":latest"),
        }
    }
}

/// The start of a text, for errors.
fn short(text: &str) -> String {
    text.chars().take(100).collect()
}

/// Whether the part before the first slash is meant as a host (distribution,
/// reference/normalize.go, `splitDockerDomain`).
fn is_host_like(text: &str) -> bool {
    text.contains(['.', ':']) || text == "localhost" || text.contains(|c: char| c.is_uppercase())
}

/// Whether a text is a host name or an address, with an optional port.
pub fn is_host(text: &str) -> bool {
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => {
                let port = port.strip_prefix(':').or(port.is_empty().then_some("1"));
                return port.is_some_and(is_port);
            }
            _ => return false,
        },
        None => match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        },
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    name.len() <= 253 && name.split('.').all(is_label) && port.is_none_or(is_port)
}

fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=MAX_TAG).contains(&text.len())
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

/// Checks the name of a repository: parts of lower-case letters and digits, and between them one
/// `.`, one or two `_`, or any number of `-` (distribution, reference/regexp.go, "path-component").
fn check_name(name: &str) -> Result<(), ReferenceError> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_component = |text: &str| {
        text.starts_with(plain)
            && text.ends_with(plain)
            && text
                .split(plain)
                .filter(|between| !between.is_empty())
                .all(|b| matches!(b, "." | "_" | "__") || b.bytes().all(|b| b == b'-'))
    };
    if name.is_empty() {
        Err(ReferenceError::NoName)
    } else if name.len() > MAX_REPOSITORY {
        Err(ReferenceError::Long(name.len()))
    } else if name.split('/').all(is_component) {
        Ok(())
    } else if name.to_lowercase().split('/').all(is_component) {
        Err(ReferenceError::Upper(short(name)))
    } else {
        Err(ReferenceError::Name(short(name)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn names_are_completed_as_engines_do() {
        let digest = format!("web:v1@{DIGEST}");
        for (text, host, repository, wanted) in [
            ("debian", "docker.io", "library/debian", "latest"),
            ("team/web:v1", "docker.io", "team/web", "v1"),
            (
                "index.docker.io/debian",
                "docker.io",
                "library/debian",
                "latest",
            ),
            ("localhost/web", "localhost", "web", "latest"),
            ("Localhost/web", "Localhost", "web", "latest"),
            (
                "registry.example:5000/a/b__c/d-e.f:V_1.0-x",
                "registry.example:5000",
                "a/b__c/d-e.f",
                "V_1.0-x",
            ),
            ("127.0.0.1:5000/web", "127.0.0.1:5000", "web", "latest"),
            ("[::1]:5000/web", "[::1]:5000", "web", "latest"),
            (digest.as_str(), "docker.io", "library/web", DIGEST),
        ] {
            let parsed: Reference = text.parse().unwrap();
            let is = (parsed.host(), parsed.repository(), parsed.wanted());
            assert_eq!(is, (host, repository, wanted.to_owned()), "{text}");
            assert_eq!(
                parsed.to_string().parse::<Reference>().unwrap().wanted(),
                wanted
            );
        }
    }

    #[test]
    fn what_is_malformed_says_what_is_wrong() {
        let long = format!("registry.example/{}", "a".repeat(256));
        let upper_digest = DIGEST.to_uppercase();
        for (text, why) in [
            ("", "no repository"),
            (":v1", "no repository"),
            ("registry.example/", "no repository"),
            ("registry.example/Web", "upper-case"),
            ("registry.example/web/", "characters"),
            ("a//b", "characters"),
            ("a..b", "characters"),
            ("-a", "characters"),
            ("żółw", "characters"),
            ("web:", "not a tag"),
            ("web:-x", "not a tag"),
            ("web:a/b", "not a host"),
            ("web:v1 ", "not a tag"),
            ("web@sha256:01", "not a digest"),
            ("web@sha512:01", "not a digest"),
            ("user:secret@registry.example/web", "not a digest"),
            ("registry.example:0/web", "not a host"),
            ("registry.example:99999/web", "not a host"),
            ("-x.example/web", "not a host"),
            ("[::1/web", "not a host"),
            (&format!("web@{upper_digest}"), "not a digest"),
            (&long, "256 characters"),
        ] {
            let error = text.parse::<Reference>().unwrap_err().to_string();
            assert!(error.contains(why), "{text:?}: {error}");
        }
    }
}
