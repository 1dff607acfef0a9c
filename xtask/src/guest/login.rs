//! The users who can log in, according to the recipe and the command line. Read before anything is
//! built.
//!
//! Passwords and hashes go from here into the tree and nowhere else: they are in no plan, manifest
//! or container layer, and are never printed.

use super::accounts;
use super::accounts::hash::Secret;
use super::accounts::keys::{self, PublicKey};
use super::accounts::{Account, Password};
use super::{Report, Rootfs};
use crate::recipe::{PasswordHash, Recipe, User};
use crate::small;
use camino::{Utf8Path, Utf8PathBuf};
use uuid::Uuid;

/// Longest file with a password or keys, in bytes.
const LIMIT: u64 = 1 << 20;
/// Longest password that every crypt() supports, in bytes (musl: `KEY_MAX`).
const LONGEST: usize = 255;

/// The command-line options for root's login.
#[derive(Debug, Clone, Default)]
pub struct RootLogin {
    /// A file whose only line is the password.
    pub password_file: Option<Utf8PathBuf>,
    /// A password hash in the form of shadow(5).
    pub password_hash: Option<PasswordHash>,
    /// Files with public keys.
    pub ssh_keys: Vec<Utf8PathBuf>,
}

/// All users who can log in.
#[derive(Debug, Clone, Default)]
pub struct Logins(Vec<Account>);

impl Logins {
    /// Combines the users of the recipe in the folder `dir` with those of the command line. Reads
    /// the files that they refer to.
    pub fn read(recipe: &Recipe, dir: &Utf8Path, root: &RootLogin) -> Result<Logins, Report> {
        let mut accounts = recipe
            .users
            .iter()
            .map(|user| account(user, dir))
            .collect::<Result<Vec<Account>, Report>>()?;
        let password = match (&root.password_file, &root.password_hash) {
            (Some(file), _) => Some(Password::Plain(password(file)?)),
            (None, Some(hash)) => Some(Password::Hash(hash.clone())),
            (None, None) => None,
        };
        if password.is_none() && root.ssh_keys.is_empty() {
            return Ok(Logins(accounts));
        }
        let at = accounts
            .iter()
            .position(|a| a.name == "root")
            .unwrap_or(accounts.len());
        if at == accounts.len() {
            accounts.push(Account {
                name: "root".into(),
                ..Account::default()
            });
        }
        let account = &mut accounts[at];
        account.password = password.or(account.password.take());
        for file in &root.ssh_keys {
            account.keys.extend(key_file(file, small::given)?);
        }
        Ok(Logins(accounts))
    }

    /// Creates or updates the accounts. `image` is the image's ID, used for the salts of passwords.
    pub(super) fn apply(&self, rootfs: &mut Rootfs, image: Uuid) -> Result<(), Report> {
        for account in &self.0 {
            let home = accounts::add(rootfs, account, image)?;
            accounts::authorize(rootfs, account, &home)?;
            if account.sudo {
                accounts::let_be_root(rootfs, account)?;
            }
        }
        accounts::hide_passwords(rootfs)
    }

    /// The names of the users who have ssh keys.
    pub fn with_keys(&self) -> Vec<&str> {
        let with = self.0.iter().filter(|a| !a.keys.is_empty());
        with.map(|a| a.name.as_str()).collect()
    }
}

fn account(user: &User, dir: &Utf8Path) -> Result<Account, Report> {
    let mut all = Vec::new();
    for text in &user.ssh_keys {
        all.extend(if keys::is_meant_as_key(text) {
            keys::parse(text, &format!("an ssh key of {} in the recipe", user.name))?
        } else {
            // The recipe may be untrusted, so do not block on e.g. a pipe.
            key_file(&dir.join(text), small::regular)?
        });
    }
    Ok(Account {
        name: user.name.clone(),
        uid: user.uid,
        groups: user.groups.clone(),
        shell: user.shell.clone(),
        password: user.password_hash.clone().map(Password::Hash),
        keys: all,
        sudo: user.sudo,
    })
}

fn key_file(file: &Utf8Path, read: Reader) -> Result<Vec<PublicKey>, Report> {
    let text = small_text(file, "ssh key", read)?;
    keys::parse(&text, file.as_str())
}

/// Reads the only line of a file.
fn password(file: &Utf8Path) -> Result<Secret, Report> {
    let text = small_text(file, "password", small::given)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    let wrong = |why: &str| {
        Err(Report::mistake(format!("the password file {file} {why}"))
            .hint("it must contain only the password, on one line"))
    };
    if line.is_empty() {
        return wrong("is empty, so anyone could log in");
    }
    if line.contains('\n') {
        return wrong("has more than one line");
    }
    if line.chars().any(char::is_control) {
        return wrong("contains a control character, which cannot be typed");
    }
    if line.len() > LONGEST {
        return wrong("has more than 255 bytes, and some systems truncate longer passwords");
    }
    Ok(Secret::new(line.to_owned()))
}

/// How a small file is read: its path, and the size limit in bytes.
type Reader = fn(&Utf8Path, u64) -> std::io::Result<String>;

fn small_text(file: &Utf8Path, what: &str, read: Reader) -> Result<String, Report> {
    read(file, LIMIT).map_err(|e| {
        Report::mistake(format!("reading the {what} file {file}"))
            .because(e)
            .hint("use a readable file with UTF-8 text")
    })
}
