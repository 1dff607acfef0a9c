//! Passwords and tokens.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ureq::http::HeaderValue;

/// A password or a token. Its value is never printed.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(String);

impl Secret {
    pub(super) fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The value, to send it.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a header `Authorization: Bearer` (RFC 6750, 2.1). `None` if the token has
    /// characters that no header may contain.
    pub(super) fn bearer(&self) -> Option<HeaderValue> {
        header(&format!("Bearer {}", self.0))
    }

    /// The value of a header `Authorization: Basic` (RFC 7617, 2).
    pub(super) fn basic(&self, user: &str) -> Option<HeaderValue> {
        header(&format!(
            "Basic {}",
            STANDARD.encode(format!("{user}:{}", self.0))
        ))
    }
}

/// A header that the HTTP library does not print either.
fn header(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_secret_is_sent_and_not_printed() {
        let secret = Secret::new("open sesame");
        // The example of RFC 7617, 2.
        assert_eq!(
            secret.basic("Aladdin").unwrap(),
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        );
        assert_eq!(secret.bearer().unwrap(), "Bearer open sesame");
        assert!(Secret::new("a\nb").bearer().is_none());
        let header = secret.basic("Aladdin").unwrap();
        let printed = format!("{secret:?} {header:?}");
        assert!(
            !printed.contains("sesame") && !printed.contains("QWxh"),
            "{printed}"
        );
    }
}
