//! Gets tokens from a token server (distribution, spec/auth/token.md and spec/auth/oauth.md).

use super::auth;
use super::credentials::Login;
use super::error::RegistryError;
use super::http::{self, Http, Trouble};
use super::secret::Secret;
use super::wait::{self, ATTEMPTS};
use std::sync::atomic::{AtomicBool, Ordering};
use ureq::Body;
use ureq::http::{HeaderValue, Method, Request, Response};

/// What a token is wanted for.
pub(super) struct Wanted<'a> {
    /// URL of the server.
    pub(super) realm: &'a str,
    /// Name of the registry, as the server knows it.
    pub(super) service: Option<&'a str>,
    /// What the token must allow.
    pub(super) scope: &'a str,
}

/// Gets a token. `None` if the server refuses the login.
pub(super) fn get(
    http: &Http,
    wanted: &Wanted<'_>,
    login: Option<&Login>,
    stop: &AtomicBool,
) -> Result<Option<Secret>, RegistryError> {
    let mut attempt = 1;
    loop {
        let host = http::host_of(wanted.realm);
        let why = match send(http, wanted, login) {
            Ok(mut answer) => match answer.status().as_u16() {
                200 => {
                    let token = auth::token(&http::body(&mut answer));
                    let missing = || http::protocol(&host, "its token server gave no token");
                    return token.map(Some).ok_or_else(missing);
                }
                400 | 401 | 403 | 404 => return Ok(None),
                // The body of an answer to a login is not shown.
                status => RegistryError::Status {
                    host,
                    status,
                    said: String::new(),
                    attempts: attempt,
                },
            },
            Err(Trouble::Again(why)) => why,
            Err(Trouble::Final(why)) => return Err(why),
        };
        if attempt == ATTEMPTS || stop.load(Ordering::Relaxed) {
            return Err(why);
        }
        wait::sleep(wait::pause(attempt), stop);
        attempt += 1;
    }
}

fn send(
    http: &Http,
    wanted: &Wanted<'_>,
    login: Option<&Login>,
) -> Result<Response<Body>, Trouble> {
    let Wanted { realm, scope, .. } = wanted;
    let mut pairs = vec![("scope", *scope)];
    pairs.extend(wanted.service.map(|service| ("service", service)));
    let header: Option<HeaderValue> = match login {
        Some(Login::Identity(token)) => {
            pairs.push(("grant_type", "refresh_token"));
            pairs.push(("client_id", "docker-to-linux"));
            pairs.push(("refresh_token", token.reveal()));
            let builder = Request::builder()
                .method(Method::POST)
                .header("content-type", "application/x-www-form-urlencoded");
            return http.run(builder, realm, auth::form(&pairs));
        }
        Some(Login::Basic(user, password)) => password.basic(user),
        Some(Login::Registry(_)) | None => None,
    };
    let mut builder = Request::builder().method(Method::GET);
    if let (Some(header), Some(headers)) = (header, builder.headers_mut()) {
        headers.insert("authorization", header);
    }
    let separator = if realm.contains('?') { '&' } else { '?' };
    let url = format!("{realm}{separator}{}", auth::form(&pairs));
    http.run(builder, &url, ())
}
