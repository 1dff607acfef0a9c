//! Finds the login for a registry, in files or by a credential helper.

use super::credentials::{self, Held, Login, Logins};
use super::error::RegistryError;
use super::secret::Secret;
use crate::tool;
use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;
use std::io::{Read, Write};
use std::process::Stdio;

/// Largest answer of a helper that is read, in bytes.
const MAX_ANSWER: u64 = 1 << 20;

/// The user name with which a helper says that its secret is a refresh token (docker-credential-
/// helpers, README.md, "Identity tokens").
const TOKEN_USER: &str = "<token>";

/// A login and where it was found, for messages.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) login: Option<Login>,
    /// The file or the program that has it.
    pub(super) from: String,
    /// The files that were read.
    pub(super) looked: Vec<Utf8PathBuf>,
}

/// Looks for the login for a repository.
pub(super) fn find(host: &str, repository: &str) -> Result<Found, RegistryError> {
    let mut found = Found {
        login: None,
        from: String::new(),
        looked: Vec::new(),
    };
    for file in credentials::files(|name| std::env::var(name).ok()) {
        let Some(logins) = Logins::read(&file)? else {
            continue;
        };
        let held = logins.find(host, repository, &file)?;
        found.looked.push(file.clone());
        let (login, from) = match held {
            None => continue,
            Some(Held::Here(login)) => (Some(login), file.to_string()),
            Some(Held::Helper { name, key }) => {
                let program = format!("docker-credential-{name}");
                (ask(&name, &program, &key, &file)?, program)
            }
        };
        if login.is_some() {
            found.login = login;
            found.from = from;
            break;
        }
    }
    Ok(found)
}

/// What a helper answers (docker-credential-helpers, README.md).
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Asks a helper. The key goes to its standard input, the login comes from its standard output.
fn ask(
    name: &str,
    program: &str,
    key: &str,
    file: &Utf8Path,
) -> Result<Option<Login>, RegistryError> {
    let wrong = |why: String| RegistryError::Helper {
        program: program.to_owned(),
        file: file.to_owned(),
        why,
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || !name.chars().all(is_name) {
        return Err(wrong("is not the name of a program".into()));
    }
    let path = tool::on_path(program).ok_or_else(|| wrong("is not installed".into()))?;
    let failed = |e: std::io::Error| wrong(format!("cannot be run: {e}"));
    let mut child = tool::command(path)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that ends without reading it has its reasons, which its status tells.
        let _ = stdin.write_all(key.as_bytes());
    }
    let mut answer = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let read = stdout.take(MAX_ANSWER).read_to_end(&mut answer);
        read.map_err(failed)?;
    }
    let status = child.wait().map_err(failed)?;
    if !status.success() {
        // The text of docker-credential-helpers (credentials/error.go) for "there is none".
        let said = String::from_utf8_lossy(&answer);
        return match said.contains("credentials not found") {
            true => Ok(None),
            // What it printed may contain a secret.
            false => Err(wrong(format!("failed ({status})"))),
        };
    }
    let answer: Answer =
        serde_json::from_slice(&answer).map_err(|_| wrong("gave no login in JSON".into()))?;
    let secret = Secret::new(answer.secret);
    if secret.is_empty() {
        return Ok(None);
    }
    Ok(Some(match answer.username.as_str() {
        TOKEN_USER => Login::Identity(secret),
        user => Login::Basic(user.to_owned(), secret),
    }))
}
