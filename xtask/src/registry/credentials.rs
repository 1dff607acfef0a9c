//! The files in which docker and podman keep logins (docker's config.json, containers-auth.json(5)).

use super::error::RegistryError;
use super::secret::Secret;
use crate::plain;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::{self, Read};

/// Largest file of logins that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// A login for a registry.
#[derive(Debug, Clone)]
pub(super) enum Login {
    /// User and password.
    Basic(String, Secret),
    /// A refresh token for the registry's token server (OAuth 2), called `identitytoken`.
    Identity(Secret),
    /// A token for the registry itself.
    Registry(Secret),
}

impl Login {
    /// The user's name, if the login has one.
    pub(super) fn user(&self) -> Option<String> {
        match self {
            Login::Basic(user, _) => Some(user.clone()),
            Login::Identity(_) | Login::Registry(_) => None,
        }
    }
}

/// Where a file says that the login for a registry is.
#[derive(Debug)]
pub(super) enum Held {
    /// In the file itself.
    Here(Login),
    /// In the program `docker-credential-<name>`, under this key.
    Helper { name: String, key: String },
}

/// A file of logins. Unknown fields are those of other settings.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Logins {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    /// Base64 of `user:password`.
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

/// Docker Hub's key in docker's file.
const HUB: &str = "https://index.docker.io/v1/";

/// The files in which logins are looked for, the most important one first. An explicit
/// `REGISTRY_AUTH_FILE` is the only one, as for podman.
pub(super) fn files(variable: impl Fn(&str) -> Option<String>) -> Vec<Utf8PathBuf> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    if let Some(file) = set("REGISTRY_AUTH_FILE") {
        return vec![file.into()];
    }
    let home = set("HOME").map(Utf8PathBuf::from);
    let below = |dir: Option<Utf8PathBuf>, file: &str| dir.map(|dir| dir.join(file));
    let dir = |name: &str| set(name).map(Utf8PathBuf::from);
    let config = dir("XDG_CONFIG_HOME").or_else(|| below(home.clone(), ".config"));
    let docker = dir("DOCKER_CONFIG").or_else(|| below(home, ".docker"));
    let all = [
        below(dir("XDG_RUNTIME_DIR"), "containers/auth.json"),
        below(config, "containers/auth.json"),
        below(docker, "config.json"),
    ];
    all.into_iter().flatten().collect()
}

impl Logins {
    /// Reads a file. `None` if it does not exist, or if it belongs to another user: then it is as
    /// good as missing.
    pub(super) fn read(file: &Utf8Path) -> Result<Option<Logins>, RegistryError> {
        let wrong = |why: String| RegistryError::Logins {
            file: file.to_owned(),
            why,
        };
        let mut bytes = Vec::new();
        let read = plain::open_followed(file)
            .and_then(|open| open.take(MAX_FILE + 1).read_to_end(&mut bytes));
        match read {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                tracing::debug!("{file} may not be read: {e}");
                return Ok(None);
            }
            Err(e) => return Err(wrong(e.to_string())),
        }
        if bytes.len() as u64 > MAX_FILE {
            return Err(wrong("it is larger than 1 MiB".into()));
        }
        // The library's own message could quote a password.
        let parsed = serde_json::from_slice(&bytes).map_err(|e| {
            wrong(format!(
                "it is not the JSON of a file of logins (line {}, column {})",
                e.line(),
                e.column()
            ))
        });
        parsed.map(Some)
    }

    /// Where the login for a repository is; `None` if there is none for it.
    pub(super) fn find(
        &self,
        host: &str,
        repository: &str,
        file: &Utf8Path,
    ) -> Result<Option<Held>, RegistryError> {
        let is_hub = host == "docker.io";
        let key = if is_hub { HUB } else { host };
        let of_helper = |name: &str, key: &str| {
            Ok(Some(Held::Helper {
                name: name.to_owned(),
                key: key.to_owned(),
            }))
        };
        for known in [host, key] {
            if let Some(name) = self.cred_helpers.get(known) {
                return of_helper(name, key);
            }
        }
        // podman's keys may end with folders; the longest one that fits is used.
        let mut scope = format!("{host}/{repository}");
        loop {
            let fits = |(known, _): &(&String, &Entry)| named(known, is_hub) == scope;
            let entry = self.auths.iter().find(fits);
            if let Some((known, entry)) = entry
                && let Some(login) = entry.login().map_err(|why| RegistryError::Logins {
                    file: file.to_owned(),
                    why: format!("the entry for {known:?} {why}"),
                })?
            {
                return Ok(Some(Held::Here(login)));
            }
            match scope.rfind('/') {
                Some(slash) => scope.truncate(slash),
                None => break,
            }
        }
        match &self.creds_store {
            Some(name) if !name.is_empty() => of_helper(name, key),
            _ => Ok(None),
        }
    }
}

/// The host and the folders that a key means. Old keys of docker's are URLs, of which only the host
/// counts.
fn named(key: &str, is_hub: bool) -> String {
    if is_hub && key == HUB {
        return "docker.io".to_owned();
    }
    let url = key.strip_prefix("https://").or(key.strip_prefix("http://"));
    let plain = match url {
        Some(url) => url.split('/').next().unwrap_or_default(),
        None => key.trim_end_matches('/'),
    };
    plain.to_owned()
}

impl Entry {
    fn login(&self) -> Result<Option<Login>, String> {
        let some = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(token) = some(&self.registrytoken) {
            return Ok(Some(Login::Registry(Secret::new(token))));
        }
        if let Some(token) = some(&self.identitytoken) {
            return Ok(Some(Login::Identity(Secret::new(token))));
        }
        if let (Some(user), Some(password)) = (some(&self.username), some(&self.password)) {
            return Ok(Some(Login::Basic(user, Secret::new(password))));
        }
        let Some(auth) = some(&self.auth) else {
            return Ok(None);
        };
        let wrong = || "is not the base64 of user:password".to_owned();
        let plain = STANDARD.decode(auth.trim()).map_err(|_| wrong())?;
        let plain = String::from_utf8(plain).map_err(|_| wrong())?;
        let (user, password) = plain.split_once(':').ok_or_else(wrong)?;
        // Docker trims them as well: some programs pad the text.
        let password = Secret::new(password.trim_end_matches('\0'));
        Ok(Some(Login::Basic(user.to_owned(), password)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn found(json: &str, host: &str, repository: &str) -> String {
        let logins: Logins = serde_json::from_str(json).unwrap();
        match logins.find(host, repository, Utf8Path::new("f")) {
            Ok(None) => "none".into(),
            Ok(Some(Held::Here(Login::Basic(user, password)))) => {
                format!("{user} {}", password.reveal())
            }
            Ok(Some(Held::Here(login))) => format!("{login:?}"),
            Ok(Some(Held::Helper { name, key })) => format!("{name} for {key}"),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn the_login_of_the_longest_name_is_used() {
        let json = r#"{"auths": {
            "registry.example": {"auth": "YTpiOmM="},
            "registry.example/team": {"auth": "dGVhbTp4AAA="},
            "https://old.example/v1/": {"username": "u", "password": "p"},
            "https://index.docker.io/v1/": {"auth": "aHViOmh1Yg=="},
            "token.example": {"auth": "eDp5", "identitytoken": "secret"},
            "empty.example": {}, "bad.example": {"auth": "c2VjcmV0"}},
            "HttpHeaders": {"User-Agent": "x"}}"#;
        for (host, repository, login) in [
            ("registry.example", "web", "a b:c"),
            ("registry.example", "team/web", "team x"),
            ("registry.example", "teamwork/web", "a b:c"),
            ("registry.example:5000", "web", "none"),
            ("old.example", "web", "u p"),
            ("docker.io", "library/debian", "hub hub"),
            ("token.example", "web", "Identity(***)"),
            ("empty.example", "web", "none"),
        ] {
            assert_eq!(found(json, host, repository), login, "{host}/{repository}");
        }
        let said = found(json, "bad.example", "web");
        assert!(
            said.contains("is not the base64") && !said.contains("c2Vj"),
            "{said}"
        );
    }

    #[test]
    fn helpers_come_before_and_the_store_after_the_entries() {
        let json = r#"{"auths": {"here.example": {"auth": "YTpi"}, "away.example": {}},
            "credHelpers": {"helped.example": "ecr-login", "docker.io": "hub"}, "credsStore": "pass"}"#;
        assert_eq!(found(json, "here.example", "x"), "a b");
        assert_eq!(found(json, "away.example", "x"), "pass for away.example");
        assert_eq!(
            found(json, "helped.example", "x"),
            "ecr-login for helped.example"
        );
        assert_eq!(
            found(json, "docker.io", "x"),
            "hub for https://index.docker.io/v1/"
        );
        assert_eq!(found("{}", "away.example", "x"), "none");
    }

    #[test]
    fn files_are_found_as_podman_and_docker_find_them() {
        let of = |set: &[(&str, &str)]| {
            let get = |name: &str| {
                let found = set.iter().find(|(n, _)| *n == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            files(get)
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(of(&[]), "");
        assert_eq!(
            of(&[("HOME", "/h")]),
            "/h/.config/containers/auth.json /h/.docker/config.json"
        );
        let all = [
            ("HOME", "/h"),
            ("XDG_RUNTIME_DIR", "/r"),
            ("XDG_CONFIG_HOME", "/c"),
            ("DOCKER_CONFIG", "/d"),
        ];
        assert_eq!(
            of(&all),
            "/r/containers/auth.json /c/containers/auth.json /d/config.json"
        );
        assert_eq!(of(&[("HOME", "/h"), ("REGISTRY_AUTH_FILE", "/x")]), "/x");
    }

    #[test]
    fn a_broken_file_is_not_quoted() {
        let temp = tempfile::tempdir().unwrap();
        let file = Utf8Path::from_path(temp.path())
            .unwrap()
            .join("config.json");
        assert!(Logins::read(&file).unwrap().is_none());
        std::fs::write(&file, r#"{"auths": {"x": "hunter2"}}"#).unwrap();
        let Err(error) = Logins::read(&file) else {
            unreachable!()
        };
        let error = error.to_string();
        assert!(
            error.contains("line 1") && !error.contains("hunter2"),
            "{error}"
        );
    }
}
