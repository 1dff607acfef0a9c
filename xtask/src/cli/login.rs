//! Options of `image` for who may log in.

use crate::error::Report;
use crate::guest::RootLogin;
use crate::recipe::{HashError, PasswordHash};
use camino::Utf8PathBuf;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Logging in (nobody can unless asked for)")]
pub(super) struct Args {
    /// File with a password for root, in its only line
    #[arg(long, value_name = "FILE", conflicts_with = "password_hash")]
    root_password_file: Option<Utf8PathBuf>,
    /// Password for root as `openssl passwd -6` prints it
    #[arg(long, value_name = "HASH", value_parser = hash)]
    password_hash: Option<Hash>,
    /// File with a public key for root; may be given several times
    #[arg(long, value_name = "FILE")]
    ssh_key: Vec<Utf8PathBuf>,
}

/// What was given for a hash. Whether it is one is asked later: clap's error would print it, and it
/// may be a password.
type Hash = Result<PasswordHash, HashError>;

impl Args {
    /// What they say of root.
    pub(super) fn root(&self) -> Result<RootLogin, Report> {
        let password_hash = self.password_hash.clone().transpose().map_err(|e| {
            Report::mistake(format!("what --password-hash is given {e}"))
                .hint("--root-password-file takes a password itself, in a file")
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
