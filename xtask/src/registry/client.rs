//! HTTP requests to one repository of a registry (OCI distribution specification, spec.md).

use super::auth::{self, Challenge};
use super::credentials::Login;
use super::error::RegistryError;
use super::http::{self, Answer, Ask, Http, Trouble};
use super::login;
use super::token::{self, Wanted};
use super::wait::{self, ATTEMPTS, LONGEST};
use crate::model::Reference;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use ureq::Body;
use ureq::http::{HeaderValue, Response};

/// The host of Docker Hub's API.
const HUB_API: &str = "registry-1.docker.io";

/// A client for one repository.
pub(super) struct Client {
    http: Http,
    /// The registry, as errors and logins call it.
    host: String,
    repository: String,
    /// `https://host` or `http://host`.
    base: String,
    session: Mutex<Session>,
    /// Set when nobody waits for an answer any more.
    stop: AtomicBool,
}

/// What is known about the login.
#[derive(Default)]
struct Session {
    /// Whether the registry was asked what it wants.
    met: bool,
    found: Option<login::Found>,
    /// The header for requests.
    header: Option<HeaderValue>,
}

impl Client {
    /// A client for the repository of a reference.
    pub(super) fn new(reference: &Reference, insecure: &[String]) -> Client {
        let host = reference.host();
        let http = Http::new(insecure);
        let api = if reference.is_hub() { HUB_API } else { host };
        let plain = http.allows_plain(host);
        let scheme = if plain { "http" } else { "https" };
        Client {
            http,
            host: host.to_owned(),
            repository: reference.repository().to_owned(),
            base: format!("{scheme}://{api}"),
            session: Mutex::default(),
            stop: AtomicBool::new(false),
        }
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Ends all waiting.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Waits after a failed attempt, which counts from 1.
    pub(super) fn pause(&self, attempt: u32) {
        wait::sleep(wait::pause(attempt), &self.stop);
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request, with the login, and again after temporary errors. Returns an answer with
    /// status 200 or 206; or 416, if a range was asked for.
    pub(super) fn get(&self, ask: &Ask<'_>) -> Result<Response<Body>, RegistryError> {
        self.meet()?;
        let url = format!("{}/v2/{}/{}", self.base, self.repository, ask.path);
        let mut renewed = false;
        let mut attempt = 1;
        loop {
            let header = self.session().header.clone();
            let sent = self.http.follow(&self.base, &url, ask, header.as_ref());
            let (why, pause) = match sent {
                Ok(Answer { mut response, own }) => match response.status().as_u16() {
                    200 | 206 => return Ok(response),
                    416 if ask.range.is_some() => return Ok(response),
                    401 if own && !renewed => {
                        // The first answer did not ask for it, or the token has expired.
                        renewed = true;
                        self.log_in(&response)?;
                        continue;
                    }
                    401 if own => return Err(self.refused()),
                    status @ (408 | 429 | 500..=599) => {
                        let after = response.headers().get("retry-after");
                        let after = after.and_then(|value| value.to_str().ok());
                        let after = after.and_then(wait::retry_after);
                        (self.status(status, after, attempt, &mut response), after)
                    }
                    status => return Err(self.status(status, None, attempt, &mut response)),
                },
                Err(Trouble::Again(why)) => (why, None),
                Err(Trouble::Final(why)) => return Err(why),
            };
            if attempt == ATTEMPTS || pause.is_some_and(|p| p > LONGEST) || self.is_stopped() {
                return Err(why);
            }
            tracing::debug!("{why}; trying again");
            wait::sleep(pause.unwrap_or_else(|| wait::pause(attempt)), &self.stop);
            attempt += 1;
        }
    }

    /// Asks the registry once what it wants (`GET /v2/`, spec.md, "Determining Support").
    fn meet(&self) -> Result<(), RegistryError> {
        // The others wait: all of them need the login.
        let mut session = self.session();
        if session.met {
            return Ok(());
        }
        let ask = Ask {
            path: String::new(),
            accept: &["*/*"],
            range: None,
        };
        let sent = self
            .http
            .follow(&self.base, &format!("{}/v2/", self.base), &ask, None);
        // A registry that cannot be reached now is rather a wrong name than a temporary error.
        let answer = sent.map_err(Trouble::error)?;
        session.met = true;
        // Other statuses will tell more when an image is asked for.
        if answer.own && answer.response.status() == 401 {
            let header = self.header(&mut session, &answer.response)?;
            session.header = header;
        }
        Ok(())
    }

    /// Gets a header for the login that an answer with status 401 asks for.
    fn log_in(&self, answer: &Response<Body>) -> Result<(), RegistryError> {
        let mut session = self.session();
        let header = self.header(&mut session, answer)?;
        if header.is_none() {
            return Err(self.no_login(&session));
        }
        session.header = header;
        Ok(())
    }

    fn header(
        &self,
        session: &mut Session,
        answer: &Response<Body>,
    ) -> Result<Option<HeaderValue>, RegistryError> {
        let values = answer.headers().get_all("www-authenticate");
        let values = values.iter().filter_map(|value| value.to_str().ok());
        let challenge = auth::challenge(values).ok_or_else(|| {
            http::protocol(
                &self.host,
                "it wants a login, but not with a password or a token",
            )
        })?;
        if session.found.is_none() {
            session.found = Some(login::find(&self.host, &self.repository)?);
        }
        let login = session
            .found
            .as_ref()
            .and_then(|found| found.login.as_ref());
        let unusable = || {
            http::protocol(
                &self.host,
                "its login has characters that no header can contain",
            )
        };
        let header = match (challenge, login) {
            (Challenge::Basic, None) => return Ok(None),
            (_, Some(Login::Registry(token))) => token.bearer(),
            (Challenge::Basic, Some(Login::Basic(user, password))) => password.basic(user),
            (Challenge::Basic, Some(Login::Identity(token))) => token.bearer(),
            (
                Challenge::Bearer {
                    realm,
                    service,
                    scope,
                },
                login,
            ) => {
                let scope = scope.unwrap_or_else(|| format!("repository:{}:pull", self.repository));
                let token = token::get(
                    &self.http,
                    &Wanted {
                        realm: &realm,
                        service: service.as_deref(),
                        scope: &scope,
                    },
                    login,
                    &self.stop,
                );
                match token? {
                    Some(token) => token.bearer(),
                    None => return Err(self.login_refused(session)),
                }
            }
        };
        header.map(Some).ok_or_else(unusable)
    }

    /// The error for a status other than success.
    fn status(
        &self,
        status: u16,
        wait: Option<Duration>,
        attempts: u32,
        answer: &mut Response<Body>,
    ) -> RegistryError {
        let host = self.host.clone();
        let said = http::said(&http::body(answer));
        let anonymous = self.is_anonymous();
        match status {
            403 => RegistryError::Denied { host, said },
            404 => RegistryError::NoImage {
                host,
                said,
                anonymous,
            },
            429 => RegistryError::Limited {
                host,
                wait,
                anonymous,
            },
            _ => RegistryError::Status {
                host,
                status,
                said,
                attempts,
            },
        }
    }

    fn is_anonymous(&self) -> bool {
        let session = self.session();
        session
            .found
            .as_ref()
            .is_none_or(|found| found.login.is_none())
    }

    /// The error for a second answer with status 401.
    fn refused(&self) -> RegistryError {
        let session = self.session();
        match session
            .found
            .as_ref()
            .and_then(|found| found.login.as_ref())
        {
            Some(_) => self.login_refused(&session),
            None => self.no_login(&session),
        }
    }

    fn login_refused(&self, session: &Session) -> RegistryError {
        let found = session.found.as_ref();
        match found.and_then(|found| Some((found, found.login.as_ref()?))) {
            Some((found, login)) => RegistryError::Login {
                host: self.host.clone(),
                user: login.user(),
                from: found.from.clone(),
            },
            None => self.no_login(session),
        }
    }

    fn no_login(&self, session: &Session) -> RegistryError {
        let looked = session.found.as_ref().map(|found| found.looked.clone());
        RegistryError::NoLogin {
            host: self.host.clone(),
            looked: looked.unwrap_or_default(),
        }
    }
}
