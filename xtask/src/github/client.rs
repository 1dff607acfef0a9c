//! A client for GitHub's REST API that retries temporary errors.

use super::Token;
use crate::error::Report;
use camino::Utf8Path;
use serde_json::Value;
use std::fmt;
use std::io::{Read, Seek, SeekFrom};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use ureq::http::{Method, Request, Response, Uri};
use ureq::{Agent, Body, SendBody};

/// Number of attempts in total.
const ATTEMPTS: u32 = 6;
/// Pause after the first failed attempt; it doubles after each further one.
const PAUSE: Duration = Duration::from_secs(2);
/// The longest pause. If GitHub asks for a longer one, e.g. after a rate limit, this is an error.
const LONGEST: Duration = Duration::from_secs(120);
/// The slowest accepted upload, in bytes per second.
const SLOWEST: u64 = 50_000;
/// The largest response that is read, in bytes.
const ANSWER: u64 = 32 << 20;

/// A client for GitHub's REST API.
pub struct Client {
    agent: Agent,
    api: String,
    token: Token,
    pause: Duration,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("api", &self.api).finish()
    }
}

/// Why a call failed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It may succeed next time, after the pause that GitHub asked for, if any.
    Again(String, Option<Duration>),
    /// A retry will not help.
    Final(Report),
}

/// The body of a request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sent<'a> {
    Nothing,
    Json(&'a Value),
    Text(&'a str),
    /// A range of a file: offset and length in bytes.
    File {
        path: &'a Utf8Path,
        start: u64,
        len: u64,
    },
}

/// A successful response.
#[derive(Debug)]
pub(super) struct Answer {
    /// HTTP status.
    pub(super) status: u16,
    /// The response body.
    pub(super) body: Vec<u8>,
    /// URL of the next page, if there is one.
    pub(super) next: Option<String>,
}

impl Answer {
    /// The body as JSON.
    pub(super) fn json(&self) -> Result<Value, Trouble> {
        serde_json::from_slice(&self.body)
            .map_err(|e| Trouble::Again(format!("the response is not JSON ({e})"), None))
    }

    /// Whether the body says that something with this name already exists.
    pub(super) fn already_exists(&self) -> bool {
        let Ok(json) = self.json() else { return false };
        json["errors"]
            .as_array()
            .is_some_and(|errors| errors.iter().any(|e| e["code"] == "already_exists"))
    }
}

impl Client {
    /// A client for the API at `api`, e.g. the value of `GITHUB_API_URL`.
    ///
    /// The token is sent with every call, so plain HTTP is refused, except to this machine.
    pub fn new(api: &str, token: Token) -> Result<Client, Report> {
        let api = api.trim_end_matches('/');
        let uri: Uri = api.parse().map_err(|e| {
            Report::mistake(format!("{api:?} is not a valid API address"))
                .because(e)
                .hint("set GITHUB_API_URL to an https URL, e.g. https://api.github.com")
        })?;
        if !safe(&uri) {
            return Err(Report::mistake(format!(
                "{api} is not https, so others could read the token"
            ))
            .hint("set GITHUB_API_URL to an https URL, e.g. https://api.github.com"));
        }
        let agent = Agent::config_builder()
            // A bad status is a response here; `judge` checks it.
            .http_status_as_error(false)
            .user_agent(concat!("docker-to-linux/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(Duration::from_secs(30)))
            .timeout_recv_response(Some(Duration::from_secs(180)))
            .timeout_recv_body(Some(Duration::from_secs(180)))
            .build()
            .new_agent();
        Ok(Client {
            agent,
            api: api.to_owned(),
            token,
            pause: PAUSE,
        })
    }

    /// The same client with another pause after the first failed attempt.
    #[must_use]
    pub fn with_pause(mut self, pause: Duration) -> Client {
        self.pause = pause;
        self
    }

    /// The URL of an API path.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.api)
    }

    /// Retries a call until it succeeds, with pauses. `what` is being done, for errors.
    pub(super) fn patiently<T>(
        &self,
        what: &str,
        mut call: impl FnMut(u32) -> Result<T, Trouble>,
    ) -> Result<T, Report> {
        let mut attempt = 1;
        loop {
            let (why, after) = match call(attempt) {
                Ok(done) => return Ok(done),
                Err(Trouble::Final(mut report)) => {
                    report.message = format!("{what}: {}", report.message);
                    return Err(report);
                }
                Err(Trouble::Again(why, after)) => (why, after),
            };
            let pause = after.unwrap_or_else(|| {
                let doubled = self.pause.saturating_mul(1 << (attempt - 1).min(16));
                doubled.min(LONGEST)
            });
            if pause > LONGEST {
                return Err(Report::failure(format!("{what}: {why}")).hint(format!(
                    "GitHub asks for a pause of {} minutes: run it again after that",
                    pause.as_secs().div_ceil(60)
                )));
            }
            if attempt == ATTEMPTS {
                return Err(
                    Report::failure(format!("{what}: {why} ({ATTEMPTS} attempts)"))
                        .hint("check www.githubstatus.com for an outage, then run it again: a second run replaces what this one left"),
                );
            }
            tracing::debug!("{what}: {why}; trying again in {pause:?}");
            std::thread::sleep(pause);
            attempt += 1;
        }
    }

    /// All entries of a paginated list.
    pub(super) fn list(&self, url: &str) -> Result<Vec<Value>, Trouble> {
        let mut all = Vec::new();
        let mut next = Some(url.to_owned());
        while let Some(url) = next {
            let answer = self.call(Method::GET, &url, Sent::Nothing)?;
            if let Value::Array(mut entries) = answer.json()? {
                all.append(&mut entries);
            }
            next = answer.next;
        }
        Ok(all)
    }

    /// Makes one call. Any status other than 200 to 299 is an error.
    pub(super) fn call(
        &self,
        method: Method,
        url: &str,
        sent: Sent<'_>,
    ) -> Result<Answer, Trouble> {
        self.call_for(method, url, sent, "application/vnd.github+json", &[])
    }

    /// Like [`Client::call`], for a type other than JSON, with additional accepted statuses.
    pub(super) fn call_for(
        &self,
        method: Method,
        url: &str,
        sent: Sent<'_>,
        accept: &str,
        also_good: &[u16],
    ) -> Result<Answer, Trouble> {
        let response = self.send(method, url, sent, accept)?;
        judge(response, also_good)
    }

    fn send(
        &self,
        method: Method,
        url: &str,
        sent: Sent<'_>,
        accept: &str,
    ) -> Result<Response<Body>, Trouble> {
        let uri: Uri = url.parse().map_err(|e| {
            Trouble::Final(Report::failure(format!("{url:?} is not a valid URL")).because(e))
        })?;
        // The API returns the URL for assets: do not send the token to an insecure one.
        if !safe(&uri) {
            return Err(Trouble::Final(Report::failure(format!(
                "{url} is not https, so others could read the token"
            ))));
        }
        let builder = Request::builder()
            .method(method)
            .uri(uri)
            .header("accept", accept)
            .header("authorization", self.token.header())
            .header("x-github-api-version", "2022-11-28");
        let wrong =
            |e: ureq::http::Error| Trouble::Final(Report::failure("making a request").because(e));
        let cut = |e: ureq::Error| Trouble::Again(format!("the connection failed ({e})"), None);
        match sent {
            Sent::Nothing => {
                let request = builder.body(()).map_err(wrong)?;
                self.agent.run(request).map_err(cut)
            }
            Sent::Json(value) => {
                let request = builder
                    .header("content-type", "application/json")
                    .body(value.to_string())
                    .map_err(wrong)?;
                self.agent.run(request).map_err(cut)
            }
            Sent::Text(text) => {
                let request = builder
                    .header("content-type", "text/plain")
                    .body(text.to_owned())
                    .map_err(wrong)?;
                self.agent.run(request).map_err(cut)
            }
            Sent::File { path, start, len } => {
                let unreadable = |e: std::io::Error| {
                    Trouble::Final(Report::failure(format!("reading {path}")).because(e))
                };
                let mut file = std::fs::File::open(path).map_err(unreadable)?;
                file.seek(SeekFrom::Start(start)).map_err(unreadable)?;
                let mut part = file.take(len);
                let request = builder
                    .header("content-type", "application/octet-stream")
                    .header("content-length", len)
                    .body(SendBody::from_reader(&mut part))
                    .map_err(wrong)?;
                let request = self
                    .agent
                    .configure_request(request)
                    .timeout_send_body(Some(Duration::from_secs(120 + len / SLOWEST)))
                    .build();
                self.agent.run(request).map_err(cut)
            }
        }
    }
}

/// Whether a token may be sent to this URL.
fn safe(uri: &Uri) -> bool {
    match uri.scheme_str() {
        Some("https") => true,
        Some("http") => matches!(uri.host(), Some("127.0.0.1" | "localhost" | "[::1]")),
        _ => false,
    }
}

/// Checks the status of a response.
fn judge(mut response: Response<Body>, also_good: &[u16]) -> Result<Answer, Trouble> {
    let status = response.status().as_u16();
    let header = |name: &str| {
        let value = response.headers().get(name)?;
        Some(value.to_str().ok()?.to_owned())
    };
    let next = header("link").as_deref().and_then(next_page);
    let wait = wait(
        header("retry-after").as_deref(),
        header("x-ratelimit-remaining").as_deref(),
        header("x-ratelimit-reset").as_deref(),
    );
    let read = response
        .body_mut()
        .with_config()
        .limit(ANSWER)
        .read_to_vec();
    let good = (200..300).contains(&status) || also_good.contains(&status);
    let body = match read {
        Ok(body) => body,
        Err(e) if good => {
            return Err(Trouble::Again(
                format!("the response was incomplete ({e})"),
                None,
            ));
        }
        Err(_) => Vec::new(),
    };
    if good {
        return Ok(Answer { status, body, next });
    }
    let json: Value = serde_json::from_slice(&body).unwrap_or_default();
    let said = json["message"].as_str().unwrap_or("no message");
    let limited = wait.is_some() || said.to_ascii_lowercase().contains("rate limit");
    let why = format!("GitHub returned {status} ({said})");
    Err(match status {
        429 => Trouble::Again(why, wait),
        403 if limited => Trouble::Again(why, wait),
        408 | 500..=599 => Trouble::Again(why, wait),
        401 => Trouble::Final(Report::mistake(why).hint(
            "the token is wrong or has expired: use `token: ${{ github.token }}`, or a token that is still valid",
        )),
        403 => Trouble::Final(Report::mistake(why).hint(
            "the token is not allowed to do this: give the job `permissions: contents: write` (and `issues: write` if it writes issues)",
        )),
        404 => Trouble::Final(Report::mistake(why).hint(
            "it does not exist, or the token cannot access it: check GITHUB_REPOSITORY and the job's `permissions:`",
        )),
        _ => Trouble::Final(Report::failure(format!("{why}{}", details(&json)))),
    })
}

/// Error messages for single fields of a refused request.
fn details(json: &Value) -> String {
    let Some(errors) = json["errors"].as_array() else {
        return String::new();
    };
    let errors: Vec<String> = errors.iter().map(Value::to_string).collect();
    format!(": {}", errors.join(", "))
}

/// How long GitHub asks to wait, if it does ("Rate limits for the REST API").
fn wait(after: Option<&str>, remaining: Option<&str>, reset: Option<&str>) -> Option<Duration> {
    if let Some(seconds) = after.and_then(|a| a.trim().parse().ok()) {
        return Some(Duration::from_secs(seconds));
    }
    if remaining?.trim() != "0" {
        return None;
    }
    let reset: u64 = reset?.trim().parse().ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    Some(Duration::from_secs(reset.saturating_sub(now) + 1))
}

/// The URL with `rel="next"` (RFC 8288).
fn next_page(link: &str) -> Option<String> {
    link.split(',').find_map(|entry| {
        let (url, rest) = entry.trim().strip_prefix('<')?.split_once('>')?;
        rest.contains("rel=\"next\"").then(|| url.to_owned())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_token_travels_safely_or_not_at_all() {
        let new = |api| Client::new(api, Token::new("t").unwrap());
        assert!(new("https://api.github.com").is_ok());
        assert!(new("http://127.0.0.1:8000").is_ok());
        for bad in ["http://api.github.com", "ftp://x", "api.github.com", ""] {
            assert!(new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn pages_and_pauses_are_read() {
        let link = r#"<https://x/?page=1>; rel="prev", <https://x/?page=3>; rel="next""#;
        assert_eq!(next_page(link).unwrap(), "https://x/?page=3");
        assert_eq!(next_page(r#"<https://x/>; rel="last""#), None);
        assert_eq!(wait(Some("7"), None, None), Some(Duration::from_secs(7)));
        assert_eq!(wait(None, Some("5"), Some("99")), None);
        assert_eq!(
            wait(None, Some("0"), Some("1")),
            Some(Duration::from_secs(1))
        );
    }
}
