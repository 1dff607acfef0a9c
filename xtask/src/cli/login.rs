//! Options of `image` that decide who can log in.

use crate::error::Report;
use crate::guest::RootLogin;
use crate::recipe::{HashError, PasswordHash};
use camino::Utf8PathBuf;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Logging in (by default nobody can)")]
pub(super) struct Args {
    /// File with a password for root, as its only line
    #[arg(long, value_name = "FILE", conflicts_with = "password_hash")]
    root_password_file: Option<Utf8PathBuf>,
    /// Hash of a password for root, as `openssl passwd -6` prints it
    #[arg(long, value_name = "HASH", value_parser = hash)]
    password_hash: Option<Hash>,
    /// File with a public SSH key for root; can be given several times
    #[arg(long, value_name = "FILE")]
    ssh_key: Vec<Utf8PathBuf>,
}

/// The value of `--password-hash`. It is checked later, because clap's error would print it, and it
/// may be a password.
type Hash = Result<PasswordHash, HashError>;

impl Args {
    /// How root can log in.
    pub(super) fn root(&self) -> Result<RootLogin, Report> {
        let password_hash = self.password_hash.clone().transpose().map_err(|e| {
            Report::mistake(format!("the value of --password-hash {e}"))
                .hint("to give the password itself, use --root-password-file")
        })?;
        Ok(RootLogin {
            password_file: self.root_password_file.clone(),
            password_hash,
            ssh_keys: self.ssh_key.clone(),
        })
    }
}

fn hash(text: &str) -> Result<Hash, std::convert::Infallible> {
    Ok(text.parse())
}
