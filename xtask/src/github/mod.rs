//! GitHub: its runners' workflow commands, its releases, its issues.
//!
//! [`commands`] is for messages from a step to its runner. [`Client`] uses the REST API
//! (docs.github.com/rest, version 2022-11-28); [`release`] and [`issue`] are based on it.

mod client;
pub mod commands;
pub mod issue;
pub mod release;

pub use client::Client;

use crate::error::Report;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::fmt;

/// An access token. Its value is never printed; only the client can read it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A token. White space around it, which an editor may have added to the secret, is removed.
    pub fn new(text: &str) -> Result<Token, Report> {
        let text = text.trim();
        if text.is_empty() || !text.chars().all(|c| c.is_ascii_graphic()) {
            return Err(
                Report::mistake("the token is empty, or contains invalid characters").hint(
                    "use `token: ${{ github.token }}`, and give the job `permissions: contents: write`",
                ),
            );
        }
        Ok(Token(text.to_owned()))
    }

    /// The value of the Authorization header.
    fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

/// A repository, as `owner/name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository(String);

impl Repository {
    /// Parses `owner/name`, e.g. the value of `GITHUB_REPOSITORY`.
    pub fn new(text: &str) -> Result<Repository, Report> {
        let is_part = |part: &str| {
            !part.is_empty()
                && !part.chars().all(|c| c == '.')
                && part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        };
        match text.split_once('/') {
            Some((owner, name)) if is_part(owner) && is_part(name) => {
                Ok(Repository(text.to_owned()))
            }
            _ => Err(
                Report::mistake(format!("{text:?} is not a GitHub repository"))
                    .hint("set GITHUB_REPOSITORY to owner/name, as a workflow does"),
            ),
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Characters that are not encoded in a part of a URL's path or query (RFC 3986, 2.3:
/// "unreserved").
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Percent-encodes a part of a URL's path or query.
fn encode(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_token_is_never_shown() {
        let token = Token::new(" ghs_secret\n").unwrap();
        assert!(!format!("{token:?}").contains("secret"));
        assert_eq!(token.header(), "Bearer ghs_secret");
        for bad in ["", " ", "a\nb", "a b"] {
            let e = Token::new(bad).unwrap_err();
            assert!(bad.trim().is_empty() || !e.to_string().contains(bad));
        }
    }

    #[test]
    fn a_repository_is_an_owner_and_a_name() {
        assert!(Repository::new("a-b/c.d_e").is_ok());
        for bad in ["", "a", "a/", "/b", "a/b/c", "a/..", "a/b?x", "a b/c"] {
            assert!(Repository::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn parts_of_urls_are_encoded() {
        assert_eq!(encode("a b&c/ü.img"), "a%20b%26c%2F%C3%BC.img");
    }
}
