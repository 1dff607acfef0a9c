//! What a registry asks for in `WWW-Authenticate`, and the tokens of its token server
//! (distribution, spec/auth/token.md and spec/auth/oauth.md).

use super::secret::Secret;
use http_auth::parse_challenges;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

/// How a registry wants to know who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A user and a password with each request.
    Basic,
    /// A token of a server.
    Bearer {
        /// URL of the server.
        realm: String,
        /// Name of the registry, as the server knows it.
        service: Option<String>,
        /// What the token must allow, if the registry says it.
        scope: Option<String>,
    },
}

/// Longest value that is used, in bytes: longer ones make no sense.
const MAX_VALUE: usize = 4096;

/// The challenge in the values of the header `WWW-Authenticate`. Of several kinds, a token is
/// better. `None` if no kind is known.
pub(super) fn challenge<'a>(values: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let mut found = None;
    for value in values {
        for challenge in parse_challenges(value).unwrap_or_default() {
            let param = |name: &str| {
                let mut all = challenge.params.iter();
                let (_, value) = all.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
                let value = value.to_unescaped();
                (!value.is_empty() && value.len() <= MAX_VALUE).then_some(value)
            };
            if challenge.scheme.eq_ignore_ascii_case("bearer") {
                if let Some(realm) = param("realm") {
                    return Some(Challenge::Bearer {
                        realm,
                        service: param("service"),
                        scope: param("scope"),
                    });
                }
            } else if challenge.scheme.eq_ignore_ascii_case("basic") {
                found = Some(Challenge::Basic);
            }
        }
    }
    found
}

/// Characters that are not encoded in a query (RFC 3986, 2.3: "unreserved").
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Name and value pairs as a query or a form (`a=b&c=d`).
pub(super) fn form(pairs: &[(&str, &str)]) -> String {
    let pair =
        |(name, value): &(&str, &str)| format!("{name}={}", utf8_percent_encode(value, QUERY));
    pairs.iter().map(pair).collect::<Vec<_>>().join("&")
}

/// A token server's answer. It has one of the two names; both mean the same.
#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
}

/// The token in the answer of a token server.
pub(super) fn token(body: &[u8]) -> Option<Secret> {
    let answer: Answer = serde_json::from_slice(body).ok()?;
    let token = answer.token.filter(|token| !token.is_empty());
    let token = token.or(answer.access_token)?;
    (!token.is_empty()).then(|| Secret::new(token))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn challenges_are_read() {
        let of = |values: &[&str]| challenge(values.iter().copied());
        let bearer = |scope: Option<&str>| {
            Some(Challenge::Bearer {
                realm: "https://auth.example/token".into(),
                service: Some("registry.example".into()),
                scope: scope.map(str::to_owned),
            })
        };
        let text = r#"Bearer realm="https://auth.example/token",service="registry.example""#;
        assert_eq!(of(&[text]), bearer(None));
        let scope = r#", scope="repository:a/b:pull,push""#;
        let both = format!("Basic realm=\"x\", {text}{scope}");
        assert_eq!(of(&[&both]), bearer(Some("repository:a/b:pull,push")));
        assert_eq!(of(&["basic realm=x", text]), bearer(None));
        assert_eq!(
            of(&["Basic realm=\"Registry Realm\""]),
            Some(Challenge::Basic)
        );
        for none in [
            "",
            "Digest realm=x",
            "Bearer",
            "Bearer service=x",
            "Bearer realm=\"",
            "\"\\",
        ] {
            assert_eq!(of(&[none]), None, "{none}");
        }
        let long = format!("Bearer realm=\"{}\"", "x".repeat(5000));
        assert_eq!(of(&[&long]), None);
    }

    #[test]
    fn tokens_and_queries() {
        assert_eq!(
            token(br#"{"token": "a", "access_token": "b"}"#)
                .unwrap()
                .reveal(),
            "a"
        );
        assert_eq!(
            token(br#"{"access_token": "b", "expires_in": 60}"#)
                .unwrap()
                .reveal(),
            "b"
        );
        for none in ["{}", r#"{"token": ""}"#, "[]", "<html>"] {
            assert!(token(none.as_bytes()).is_none(), "{none}");
        }
        assert_eq!(
            form(&[("a", "x:y/z"), ("b", "&=%")]),
            "a=x%3Ay%2Fz&b=%26%3D%25"
        );
    }

    proptest::proptest! {
        /// The header comes from a stranger, and the parser has a panic for what cannot be.
        #[test]
        fn no_header_and_no_answer_panics(
            value in "(Bearer|Basic|[a-z]*)( |,|=|\"|\\\\|realm=|[ -~]){0,12}",
            bytes: Vec<u8>,
        ) {
            let _ = challenge([value.as_str()].into_iter());
            let _ = challenge([&*String::from_utf8_lossy(&bytes)].into_iter());
            let _ = token(&bytes);
        }
    }
}
