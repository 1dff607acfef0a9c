//! Why an image cannot be pulled.

use crate::error::{Class, Report};
use crate::model::Digest;
use crate::model::size::Size;
use camino::Utf8PathBuf;
use std::io;
use std::time::Duration;

/// Why an image cannot be pulled. No variant contains a password, a token or the query of a URL.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // The messages say it.
pub enum RegistryError {
    #[error("{host} cannot be reached: {why}")]
    Unreachable { host: String, why: String },
    #[error("{host} does not speak HTTPS: {why}")]
    PlainHttp { host: String, why: String },
    #[error("the registry refers to {host} over plain HTTP")]
    Insecure { host: String },
    #[error("the certificate of {host} was refused: {why}")]
    Certificate { host: String, why: String },
    #[error("{host} wants a login, and there is none for it{}", files(.looked))]
    NoLogin {
        host: String,
        looked: Vec<Utf8PathBuf>,
    },
    #[error("{host} refused the login{} from {from}", whose(.user))]
    Login {
        host: String,
        user: Option<String>,
        from: String,
    },
    #[error("{host} does not allow this user to pull it{}", quoted(.said))]
    Denied { host: String, said: String },
    #[error("{host} has no image of that name{}", quoted(.said))]
    NoImage {
        host: String,
        said: String,
        anonymous: bool,
    },
    #[error("the registry lists the blob {digest}, but does not have it")]
    NoBlob { digest: Digest },
    #[error("{host} limits the number of requests{}", pause(.wait))]
    Limited {
        host: String,
        wait: Option<Duration>,
        anonymous: bool,
    },
    #[error("{host} answered {status}{} ({attempts} attempts)", quoted(.said))]
    Status {
        host: String,
        status: u16,
        said: String,
        attempts: u32,
    },
    #[error("{host} answered something that is not part of the protocol of registries: {what}")]
    Protocol { host: String, what: String },
    #[error("the connection to {host} broke {times} times while {what} was read: {why}")]
    Broken {
        host: String,
        what: String,
        times: u32,
        why: String,
    },
    #[error("{what} has the digest {is}, but {wanted} was asked for")]
    Digest {
        what: String,
        is: Digest,
        wanted: Digest,
    },
    #[error("{what} has {is} bytes, but should have {wanted}")]
    Size { what: String, is: u64, wanted: u64 },
    #[error("{what} is larger than {}", Size(*.most))]
    TooLarge { what: String, most: u64 },
    #[error("its layers have {}, but only {} are free where {dir} is", Size(*.needed), Size(*.free))]
    Space {
        dir: Utf8PathBuf,
        needed: u64,
        free: u64,
    },
    #[error("storing its blobs in {dir}: {error}")]
    Cache { dir: Utf8PathBuf, error: io::Error },
    #[error("the logins in {file} cannot be read: {why}")]
    Logins { file: Utf8PathBuf, why: String },
    #[error("the certificates in {file} cannot be used: {why}")]
    Authorities { file: Utf8PathBuf, why: String },
    #[error("{program}, which {file} names for the login, {why}")]
    Helper {
        program: String,
        file: Utf8PathBuf,
        why: String,
    },
}

fn files(looked: &[Utf8PathBuf]) -> String {
    match looked {
        [] => String::new(),
        files => {
            let files: Vec<&str> = files.iter().map(|file| file.as_str()).collect();
            format!(" in {}", files.join(", "))
        }
    }
}

fn whose(user: &Option<String>) -> String {
    let user = user.as_ref();
    user.map(|user| format!(" of {user:?}")).unwrap_or_default()
}

fn quoted(text: &str) -> String {
    match text {
        "" => String::new(),
        text => format!(" ({text})"),
    }
}

fn pause(wait: &Option<Duration>) -> String {
    match wait {
        Some(wait) => format!(", and asks for a pause of {} s", wait.as_secs()),
        None => String::new(),
    }
}

impl RegistryError {
    fn hint(&self) -> String {
        match self {
            RegistryError::Unreachable { .. } => {
                "check the name of the registry and the network (and HTTPS_PROXY, if it is behind one)".into()
            }
            RegistryError::PlainHttp { host, .. } => {
                format!("if it only speaks plain HTTP and you trust the network, use --insecure-registry {host}")
            }
            RegistryError::Insecure { host } => {
                format!("if you trust the network, allow it with --insecure-registry {host}")
            }
            RegistryError::Certificate { host, .. } => format!(
                "if its authority is not a public one, put the certificate of the authority into ~/.config/containers/certs.d/{host}/ca.crt, or name a file with all authorities in SSL_CERT_FILE"
            ),
            RegistryError::Authorities { .. } => {
                "write the certificate of the authority there in PEM form, or remove the file".into()
            }
            RegistryError::NoLogin { host, .. } => {
                format!("log in with `docker login {host}` or `podman login {host}`")
            }
            RegistryError::Login { host, .. } => {
                format!("log in again with `docker login {host}` or `podman login {host}`")
            }
            RegistryError::Denied { host, .. } => format!(
                "check the name of the repository, and log in as a user who may read it: `docker login {host}` or `podman login {host}`"
            ),
            RegistryError::NoImage { host, anonymous: true, .. } => format!(
                "check the name and the tag; if the repository is private, log in first: `docker login {host}` or `podman login {host}`"
            ),
            RegistryError::NoImage { .. } => "check the name and the tag".into(),
            RegistryError::NoBlob { .. } | RegistryError::Digest { .. } | RegistryError::Size { .. } => {
                "the image in the registry is damaged, or something changes it on the way: push it again".into()
            }
            RegistryError::Limited { host, anonymous: true, .. } => format!(
                "registries allow more requests to known users: `docker login {host}`, or run it again later"
            ),
            RegistryError::Limited { .. } => "run it again later".into(),
            RegistryError::Status { .. } | RegistryError::Broken { .. } => {
                "run it again: blobs that are complete are kept in the cache".into()
            }
            RegistryError::Protocol { .. } => "check that it is a registry, and not e.g. its web page".into(),
            RegistryError::TooLarge { .. } => "no image needs that: do not trust this one".into(),
            RegistryError::Space { .. } => "free some space there".into(),
            RegistryError::Cache { error, .. } if error.kind() == io::ErrorKind::StorageFull => {
                "free some space there; `cargo xtask clean` empties the cache".into()
            }
            RegistryError::Cache { .. } => "check that you may write there".into(),
            RegistryError::Logins { .. } => "repair the file, or log in again with `docker login` or `podman login`".into(),
            RegistryError::Helper { .. } => format!(
                "install it, or remove it from that file and log in again; variables that it needs must be named in {}",
                crate::tool::PASS
            ),
        }
    }

    fn class(&self) -> Class {
        match self {
            RegistryError::PlainHttp { .. }
            | RegistryError::NoLogin { .. }
            | RegistryError::Login { .. }
            | RegistryError::Denied { .. }
            | RegistryError::NoImage { .. }
            | RegistryError::Logins { .. }
            | RegistryError::Authorities { .. }
            | RegistryError::Helper { .. } => Class::Mistake,
            _ => Class::Failure,
        }
    }

    /// The error for people, about the image `name`.
    pub fn report(self, name: &str) -> Report {
        Report {
            class: self.class(),
            ..Report::failure(format!("pulling {name}"))
                .hint(self.hint())
                .because(self)
        }
    }
}
