//! Where an image is, in the notation of containers-transports(5).

use super::reference::{Reference, ReferenceError};
use crate::error::Report;
use camino::Utf8PathBuf;
use std::fmt;
use std::str::FromStr;

/// Where a root file system or a container image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// A file or a folder whose contents decide what it is, or `-` for stdin.
    Path(Utf8PathBuf),
    /// `docker://REFERENCE`: an image in a registry.
    Registry(Reference),
    /// `oci:DIR[:NAME]`: the folder of an OCI layout.
    OciDir(Utf8PathBuf, Option<String>),
    /// `oci-archive:FILE[:NAME]`: an OCI layout in a tar.
    OciArchive(Utf8PathBuf, Option<String>),
    /// `docker-archive:FILE[:NAME]`: what `docker save` writes.
    DockerArchive(Utf8PathBuf, Option<String>),
}

/// Why a text is not a [`Transport`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// `docker:` without the slashes.
    #[error("{0:?} lacks the slashes after `docker:`")]
    Slashes(String),
    /// Nothing follows the prefix.
    #[error("{0:?} has no path")]
    NoPath(String),
    /// A colon at the end, with no name after it.
    #[error("{0:?} has no name after the last colon")]
    NoName(String),
    /// A reference that no registry would accept.
    #[error("{text:?} is not the name of an image in a registry: {why}")]
    Reference {
        /// The text.
        text: String,
        /// What is wrong with it.
        why: ReferenceError,
    },
    /// A transport of other programs.
    #[error("{text:?}: the transport `{prefix}:` is not supported")]
    Unsupported {
        /// The text.
        text: String,
        /// Its prefix.
        prefix: &'static str,
    },
}

/// Transports of containers-transports(5) that this program does not read.
const UNSUPPORTED: [&str; 5] = [
    "containers-storage",
    "dir",
    "docker-daemon",
    "ostree",
    "sif",
];

impl TransportError {
    /// What the user can do about it.
    fn hint(&self) -> String {
        match self {
            TransportError::Slashes(text) => {
                let name = text.strip_prefix("docker:").unwrap_or(text);
                let name = name.trim_start_matches('/');
                format!("write docker://{name}, or ./{text} for a file of that name")
            }
            TransportError::NoPath(_) | TransportError::NoName(_) => {
                "write oci:DIR, oci-archive:FILE or docker-archive:FILE, each with an optional :NAME at its end".to_owned()
            }
            TransportError::Reference { why, .. } => match why {
                ReferenceError::Upper(name) => {
                    format!("write the repository in lower-case letters: {}", name.to_lowercase())
                }
                ReferenceError::Digest(_) => {
                    "after @, give the whole digest (sha256: and 64 lower-case digits); the name and password of a user do not belong here: use `docker login` or `podman login`".to_owned()
                }
                _ => "write docker://HOST/REPOSITORY:TAG or docker://HOST/REPOSITORY@sha256:DIGEST, e.g. docker://registry.example/team/web:v1".to_owned(),
            },
            TransportError::Unsupported { text, prefix } => {
                let instead = match *prefix {
                    "docker-daemon" | "containers-storage" => {
                        "save the image first (`docker save` or `podman save`), or use --container"
                    }
                    _ => "copy the image first: `skopeo copy SOURCE oci:DIR`",
                };
                format!("{instead}; for a file of that name write ./{text}")
            }
        }
    }
}

impl From<TransportError> for Report {
    fn from(error: TransportError) -> Report {
        let hint = error.hint();
        Report::mistake(format!("--from {error}")).hint(hint)
    }
}

impl Transport {
    /// The name of the image in a layout or an archive, if it is part of the text.
    pub fn name(&self) -> Option<&str> {
        match self {
            Transport::OciDir(_, name)
            | Transport::OciArchive(_, name)
            | Transport::DockerArchive(_, name) => name.as_deref(),
            Transport::Path(_) | Transport::Registry(_) => None,
        }
    }
}

impl FromStr for Transport {
    type Err = TransportError;

    fn from_str(text: &str) -> Result<Transport, TransportError> {
        if let Some(name) = text.strip_prefix("docker://") {
            let reference = name.parse().map_err(|why| TransportError::Reference {
                text: shown(text),
                why,
            });
            return reference.map(Transport::Registry);
        }
        let Some((prefix, rest)) = text.split_once(':') else {
            return Ok(Transport::Path(text.into()));
        };
        let make = match prefix {
            "oci" => Transport::OciDir,
            "oci-archive" => Transport::OciArchive,
            "docker-archive" => Transport::DockerArchive,
            "docker" => return Err(TransportError::Slashes(text.to_owned())),
            _ => {
                let known = UNSUPPORTED.into_iter().find(|known| *known == prefix);
                return match known {
                    Some(prefix) => Err(TransportError::Unsupported {
                        text: text.to_owned(),
                        prefix,
                    }),
                    None => Ok(Transport::Path(text.into())),
                };
            }
        };
        // As in containers/image (internal/paths: `SplitPathAndImage`), the path ends at the first
        // colon; names of images contain further ones.
        let (path, name) = match rest.split_once(':') {
            Some((path, name)) => (path, Some(name)),
            None => (rest, None),
        };
        if path.is_empty() {
            return Err(TransportError::NoPath(text.to_owned()));
        }
        if name == Some("") {
            return Err(TransportError::NoName(text.to_owned()));
        }
        Ok(make(path.into(), name.map(str::to_owned)))
    }
}

/// The text of a malformed reference for an error. What is before an `@` could be a password.
fn shown(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((before, after)) if before.contains(':') && after.contains('/') => {
            format!("docker://***@{after}")
        }
        _ => text.to_owned(),
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (prefix, path, name) = match self {
            Transport::Path(path) => return f.write_str(path.as_str()),
            Transport::Registry(reference) => return write!(f, "docker://{reference}"),
            Transport::OciDir(path, name) => ("oci", path, name),
            Transport::OciArchive(path, name) => ("oci-archive", path, name),
            Transport::DockerArchive(path, name) => ("docker-archive", path, name),
        };
        write!(f, "{prefix}:{path}")?;
        match name {
            Some(name) => write!(f, ":{name}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::error::describe;

    fn refused(text: &str) -> String {
        let error = text.parse::<Transport>().unwrap_err();
        describe(&Report::from(error).into()).0
    }

    #[test]
    fn each_transport_is_read() {
        let name = |name: &str| Some(name.to_owned());
        for (text, transport) in [
            ("-", Transport::Path("-".into())),
            ("a/b.tar", Transport::Path("a/b.tar".into())),
            ("./oci:dir", Transport::Path("./oci:dir".into())),
            ("C:x", Transport::Path("C:x".into())),
            ("oci:dir", Transport::OciDir("dir".into(), None)),
            (
                "oci:/a b/c:v1",
                Transport::OciDir("/a b/c".into(), name("v1")),
            ),
            (
                "oci-archive:x.tar:v1",
                Transport::OciArchive("x.tar".into(), name("v1")),
            ),
            (
                "docker-archive:x.tar:registry.example:5000/web:v1",
                Transport::DockerArchive("x.tar".into(), name("registry.example:5000/web:v1")),
            ),
        ] {
            let parsed: Transport = text.parse().unwrap();
            assert_eq!(parsed, transport);
            assert_eq!(parsed.to_string(), text);
        }
        let parsed: Transport = "docker://debian".parse().unwrap();
        assert_eq!(
            parsed.to_string(),
            "docker://docker.io/library/debian:latest"
        );
    }

    #[test]
    fn each_mistake_has_a_cure() {
        insta::assert_snapshot!(refused("docker:web"), @r#"--from "docker:web" lacks the slashes after `docker:`; hint: write docker://web, or ./docker:web for a file of that name"#);
        insta::assert_snapshot!(refused("oci:"), @r#"--from "oci:" has no path; hint: write oci:DIR, oci-archive:FILE or docker-archive:FILE, each with an optional :NAME at its end"#);
        insta::assert_snapshot!(refused("oci:x:"), @r#"--from "oci:x:" has no name after the last colon; hint: write oci:DIR, oci-archive:FILE or docker-archive:FILE, each with an optional :NAME at its end"#);
        insta::assert_snapshot!(refused("docker://registry.example/Web"), @r#"--from "docker://registry.example/Web" is not the name of an image in a registry: the repository "Web" has upper-case letters; hint: write the repository in lower-case letters: web"#);
        insta::assert_snapshot!(refused("docker-daemon:web"), @r#"--from "docker-daemon:web": the transport `docker-daemon:` is not supported; hint: save the image first (`docker save` or `podman save`), or use --container; for a file of that name write ./docker-daemon:web"#);
        let said = refused("docker://me:hunter2@registry.example/web");
        assert!(
            !said.contains("hunter2") && said.contains("docker login"),
            "{said}"
        );
    }
}
