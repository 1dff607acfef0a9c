//! Which certificate authorities are trusted (containers-certs.d(5), docker's
//! "Verify repository client with certificates").

use super::error::RegistryError;
use crate::plain;
use camino::{Utf8Path, Utf8PathBuf};
use std::io::{self, Read};
use ureq::tls::{Certificate, PemItem, RootCerts, parse_pem};

/// Largest file of certificates that is read, in bytes. The bundle of all public authorities has
/// 250 KiB.
const MAX_FILE: u64 = 4 << 20;

/// Most files in the folder of one registry.
const MAX_FILES: usize = 100;

/// The authorities for a registry (host and port): those in its folder; or else those in the file
/// that `SSL_CERT_FILE` names; or else the public ones.
pub(super) fn of(
    host: &str,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<RootCerts, RegistryError> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    for dir in folders(set("HOME")) {
        let files = certificates(&dir.join(host));
        if !files.is_empty() {
            return read(&files);
        }
    }
    match set("SSL_CERT_FILE") {
        Some(file) => read(&[file.into()]),
        None => Ok(RootCerts::WebPki),
    }
}

/// The folders that have one for each registry. The first one counts that has certificates for it.
fn folders(home: Option<String>) -> Vec<Utf8PathBuf> {
    let home = home.map(|home| Utf8PathBuf::from(home).join(".config/containers/certs.d"));
    let system = ["/etc/containers/certs.d", "/etc/docker/certs.d"];
    home.into_iter().chain(system.map(Into::into)).collect()
}

/// The files `*.crt` of a folder; none if it does not exist or may not be read.
fn certificates(dir: &Utf8Path) -> Vec<Utf8PathBuf> {
    let entries = dir.read_dir_utf8().into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.into_path());
    let mut files: Vec<Utf8PathBuf> = paths
        .filter(|path| path.extension() == Some("crt"))
        .take(MAX_FILES)
        .collect();
    files.sort();
    files
}

fn read(files: &[Utf8PathBuf]) -> Result<RootCerts, RegistryError> {
    let mut all: Vec<Certificate<'static>> = Vec::new();
    for file in files {
        let wrong = |why: String| RegistryError::Authorities {
            file: file.clone(),
            why,
        };
        let mut bytes = Vec::new();
        plain::open_followed(file)
            .and_then(|open| open.take(MAX_FILE).read_to_end(&mut bytes))
            .map_err(|e: io::Error| wrong(e.to_string()))?;
        let before = all.len();
        for item in parse_pem(&bytes) {
            if let PemItem::Certificate(certificate) = item.map_err(|e| wrong(e.to_string()))? {
                all.push(certificate);
            }
        }
        if all.len() == before {
            return Err(wrong("it has no certificate in PEM form".into()));
        }
    }
    Ok(RootCerts::from(all))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_folder_of_a_registry_comes_first() {
        let temp = tempfile::tempdir().unwrap();
        let home = Utf8Path::from_path(temp.path()).unwrap();
        let set = |bundle: Option<&str>| {
            let bundle = bundle.map(|name| home.join(name).into_string());
            move |name: &str| match name {
                "HOME" => Some(home.to_string()),
                "SSL_CERT_FILE" => bundle.clone(),
                _ => None,
            }
        };
        let host = "registry.example:5000";
        assert!(matches!(of(host, set(None)), Ok(RootCerts::WebPki)));
        let error = of(host, set(Some("none"))).unwrap_err().to_string();
        assert!(
            error.contains("/none cannot be used: No such file"),
            "{error}"
        );
        let dir = home.join(".config/containers/certs.d").join(host);
        std::fs::create_dir_all(&dir).unwrap();
        // The certificate of a client is not one of an authority.
        std::fs::write(dir.join("client.cert"), "x").unwrap();
        assert!(matches!(of(host, set(None)), Ok(RootCerts::WebPki)));
        let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        std::fs::write(dir.join("ca.crt"), pem).unwrap();
        assert!(
            matches!(of(host, set(Some("none"))), Ok(RootCerts::Specific(all)) if all.len() == 1)
        );
        assert!(matches!(
            of("registry.example", set(None)),
            Ok(RootCerts::WebPki)
        ));
        std::fs::write(dir.join("ca.crt"), "x").unwrap();
        let error = of(host, set(None)).unwrap_err().to_string();
        assert!(
            error.contains("ca.crt cannot be used: it has no certificate"),
            "{error}"
        );
    }
}
