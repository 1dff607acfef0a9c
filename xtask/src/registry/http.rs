//! Single HTTP requests: which hosts they may go to, redirects, and what errors mean.

use super::authorities;
use super::error::RegistryError;
use std::collections::HashMap;
use std::io::Read;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use ureq::http::{HeaderValue, Method, Request, Response, Uri};
use ureq::tls::TlsConfig;
use ureq::{Agent, Body};

/// Most redirects of one request.
const MAX_HOPS: usize = 5;

/// Largest answer of a token server, and largest error that is read, in bytes.
const MAX_ANSWER: u64 = 1 << 20;

/// A connection on which nothing arrives for this time is given up.
const SILENCE: Duration = Duration::from_secs(60);

/// Why a request was not answered.
pub(super) enum Trouble {
    /// It may be answered next time.
    Again(RegistryError),
    /// A retry will not help.
    Final(RegistryError),
}

impl Trouble {
    pub(super) fn error(self) -> RegistryError {
        match self {
            Trouble::Again(error) | Trouble::Final(error) => error,
        }
    }
}

/// An answer, and whether the registry itself gave it, not a host to which it redirects.
pub(super) struct Answer {
    pub(super) response: Response<Body>,
    pub(super) own: bool,
}

/// What to ask for.
pub(super) struct Ask<'a> {
    /// Path below the repository, e.g. `manifests/latest`.
    pub(super) path: String,
    /// Accepted media types.
    pub(super) accept: &'a [&'a str],
    /// First and last byte to send.
    pub(super) range: Option<(u64, u64)>,
}

/// Sends requests.
pub(super) struct Http {
    /// One agent for each host, because each may have its own certificate authorities.
    agents: Mutex<HashMap<String, Agent>>,
    /// Hosts to which plain HTTP is allowed.
    insecure: Vec<String>,
}

impl Http {
    /// Plain HTTP is allowed to these hosts only.
    pub(super) fn new(insecure: &[String]) -> Http {
        Http {
            agents: Mutex::default(),
            insecure: insecure.to_vec(),
        }
    }

    /// The agent for a host (with its port), which keeps its connections.
    fn agent(&self, host: &str) -> Result<Agent, RegistryError> {
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(agent) = agents.get(host) {
            return Ok(agent.clone());
        }
        let roots = authorities::of(host, |name| std::env::var(name).ok())?;
        let config = match is_loopback(host) {
            // As Go's programs do, e.g. docker: no proxy could reach this machine for us.
            true => Agent::config_builder().proxy(None),
            false => Agent::config_builder(),
        };
        let agent = config
            // A bad status is a response here; the client decides what it means.
            .http_status_as_error(false)
            // Redirects are followed here, because the login must not go to other hosts.
            .max_redirects(0)
            // Blobs must arrive as they are stored.
            .accept_encoding("identity")
            .user_agent(concat!("docker-to-linux/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(SILENCE))
            .timeout_connect(Some(Duration::from_secs(30)))
            .timeout_per_read(Some(SILENCE))
            .timeout_per_write(Some(SILENCE))
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .build()
            .new_agent();
        agents.insert(host.to_owned(), agent.clone());
        Ok(agent)
    }

    /// Whether plain HTTP is allowed to a host.
    pub(super) fn allows_plain(&self, host: &str) -> bool {
        self.insecure.iter().any(|i| i.eq_ignore_ascii_case(host))
    }

    /// Sends a request and follows redirects. The login goes to the registry `base` only: not to
    /// another scheme, host or port.
    pub(super) fn follow(
        &self,
        base: &str,
        url: &str,
        ask: &Ask<'_>,
        login: Option<&HeaderValue>,
    ) -> Result<Answer, Trouble> {
        let mut url = url.to_owned();
        for _ in 0..=MAX_HOPS {
            let mut builder = Request::builder().method(Method::GET);
            for accept in ask.accept {
                builder = builder.header("accept", *accept);
            }
            if let Some((first, last)) = ask.range {
                // Some registries refuse a range without an end.
                builder = builder.header("range", format!("bytes={first}-{last}"));
            }
            let own = origin(&url) == origin(base);
            if let (Some(login), Some(headers)) = (login, builder.headers_mut())
                && own
            {
                headers.insert("authorization", login.clone());
            }
            let response = self.run(builder, &url, ())?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(Answer { response, own });
            }
            let location = response.headers().get("location");
            let location = location.and_then(|value| value.to_str().ok());
            url = match location {
                Some(path) if path.starts_with('/') && !path.starts_with("//") => {
                    format!("{}{path}", origin(&url).unwrap_or_default())
                }
                Some(absolute) if absolute.contains("://") => absolute.to_owned(),
                _ => {
                    return Err(Trouble::Final(protocol(
                        &host_of(&url),
                        "a redirect to nowhere",
                    )));
                }
            };
        }
        Err(Trouble::Final(protocol(
            &host_of(&url),
            "redirects without end",
        )))
    }

    /// Sends one request.
    pub(super) fn run(
        &self,
        builder: ureq::http::request::Builder,
        url: &str,
        body: impl ureq::AsSendBody,
    ) -> Result<Response<Body>, Trouble> {
        let host = host_of(url);
        let bad = || Trouble::Final(protocol(&host, "an address that is not valid"));
        let uri: Uri = url.parse().map_err(|_| bad())?;
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if self.allows_plain(&host) => {}
            Some("http") => return Err(Trouble::Final(RegistryError::Insecure { host })),
            _ => return Err(bad()),
        }
        let request = builder.uri(uri).body(body).map_err(|_| bad())?;
        let agent = self.agent(&host).map_err(Trouble::Final)?;
        agent.run(request).map_err(|e| trouble(e, &host))
    }
}

/// Scheme, host and port of a URL.
fn origin(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    let scheme = uri.scheme_str()?;
    let port = uri.port_u16().unwrap_or(match scheme {
        "https" => 443,
        _ => 80,
    });
    Some(format!("{scheme}://{}:{port}", uri.host()?.to_lowercase()))
}

/// Whether a host (with an optional port) is this machine.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let plain = name.trim_start_matches('[').trim_end_matches(']');
    let address: Result<std::net::IpAddr, _> = plain.parse();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|a| a.is_loopback())
}

/// Host and port of a URL, for errors: the rest may be secret.
pub(super) fn host_of(url: &str) -> String {
    let uri: Option<Uri> = url.parse().ok();
    let authority = uri.as_ref().and_then(Uri::authority);
    // A user and a password before the host are left out.
    let host = authority.map(|a| a.as_str().rsplit('@').next().unwrap_or_default());
    host.unwrap_or("an address that is not valid").to_owned()
}

/// The error for an answer that no registry should give.
pub(super) fn protocol(host: &str, what: &str) -> RegistryError {
    RegistryError::Protocol {
        host: host.to_owned(),
        what: what.to_owned(),
    }
}

/// What an error of the HTTP library means.
fn trouble(error: ureq::Error, host: &str) -> Trouble {
    let host = host.to_owned();
    let why = error.to_string();
    match error {
        ureq::Error::Rustls(e) => Trouble::Final(tls(e.to_string(), host)),
        // The handshake's errors arrive as errors of the stream.
        ureq::Error::Io(e) if e.kind() == std::io::ErrorKind::InvalidData => {
            Trouble::Final(tls(e.to_string(), host))
        }
        ureq::Error::Io(_)
        | ureq::Error::Timeout(_)
        | ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed => Trouble::Again(RegistryError::Unreachable { host, why }),
        _ => Trouble::Final(RegistryError::Protocol { host, what: why }),
    }
}

fn tls(why: String, host: String) -> RegistryError {
    match why.to_ascii_lowercase().contains("certificate") {
        true => RegistryError::Certificate { host, why },
        false => RegistryError::PlainHttp { host, why },
    }
}

/// The body of an answer, as far as it arrives.
pub(super) fn body(answer: &mut Response<Body>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let reader = answer.body_mut().as_reader();
    match reader.take(MAX_ANSWER).read_to_end(&mut bytes) {
        Ok(_) => bytes,
        Err(_) => Vec::new(),
    }
}

/// The first message in the body of an error (spec.md, "Error Codes").
pub(super) fn said(body: &[u8]) -> String {
    let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let error = &json["errors"][0];
    let said = error["message"].as_str().or(error["code"].as_str());
    said.unwrap_or_default().chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let same = |a: &str, b: &str| origin(a).is_some() && origin(a) == origin(b);
        assert!(same("https://a.example/x", "https://A.example:443/y?z"));
        assert!(same("http://a.example", "http://a.example:80/"));
        assert!(!same("https://a.example", "http://a.example"));
        assert!(!same("https://a.example", "https://a.example:444"));
        assert!(!same("https://a.example", "https://b.example"));
        assert_eq!(
            host_of("https://user:hunter2@a.example:1/x?secret"),
            "a.example:1"
        );
    }

    #[test]
    fn this_machine_is_known() {
        for host in [
            "localhost",
            "Localhost:5000",
            "127.0.0.1",
            "127.1.2.3:1",
            "[::1]:5000",
            "[::1]",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "registry.example",
            "localhost.example:5000",
            "10.0.0.1:127",
            "[::2]:1",
            "",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn an_error_says_what_the_registry_said() {
        let body = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
        assert_eq!(said(body), "manifest unknown");
        assert_eq!(said(br#"{"errors":[{"code":"DENIED"}]}"#), "DENIED");
        assert_eq!(said(b"<html>"), "");
    }
}
