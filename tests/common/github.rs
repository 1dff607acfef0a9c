//! A fake of GitHub's REST API: releases, assets and issues over HTTP/1.1, with faults on
//! demand. It is as strict as the real one where a client could go wrong: an asset's name is
//! taken once, an upload that is cut off leaves a `starter` behind, a draft is found in the
//! list only, and nothing answers without the token.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// The only token that opens anything.
pub const TOKEN: &str = "ghs_the-only-token";
/// The repository that exists.
pub const REPOSITORY: &str = "owner/box";

/// What goes wrong, once, at the first request that it fits.
#[derive(Debug, Clone)]
pub enum Fault {
    /// An answer of this status, with these headers and this message.
    Status(u16, Vec<(&'static str, String)>, &'static str),
    /// The connection ends after so many bytes of the request's body.
    CutAfter(usize),
    /// What is asked for is done, but the answer never comes.
    LostAnswer,
}

/// Happens before a request of this method, with this in its path, is answered; once.
type Meanwhile = (&'static str, &'static str, fn(&mut State));

#[derive(Debug, Default)]
pub struct State {
    pub url: String,
    next_id: u64,
    pub releases: BTreeMap<u64, Value>,
    /// Release, name, state and content, by ID.
    pub assets: BTreeMap<u64, (u64, String, &'static str, Vec<u8>)>,
    pub issues: BTreeMap<u64, Value>,
    pub comments: Vec<(u64, String)>,
    /// `METHOD /path` of every request, in order.
    pub log: Vec<String>,
    faults: Vec<(&'static str, &'static str, Fault)>,
    meanwhile: Vec<Meanwhile>,
}

impl State {
    pub fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Content of the assets by name; panics on a name that is there twice.
    pub fn by_name(&self) -> BTreeMap<String, Vec<u8>> {
        let mut all = BTreeMap::new();
        for (_, name, state, content) in self.assets.values() {
            assert_eq!(*state, "uploaded", "{name} is half there");
            let before = all.insert(name.clone(), content.clone());
            assert!(before.is_none(), "{name} is there twice");
        }
        all
    }

    /// The only release.
    pub fn release(&self) -> &Value {
        assert_eq!(self.releases.len(), 1, "{:?}", self.releases);
        self.releases.values().next().unwrap()
    }

    /// How many requests begin like this.
    pub fn count(&self, start: &str) -> usize {
        self.log.iter().filter(|l| l.starts_with(start)).count()
    }
}

/// The fake server. It ends with the test's process.
#[derive(Clone)]
pub struct GitHub {
    pub url: String,
    state: Arc<Mutex<State>>,
}

impl GitHub {
    pub fn start() -> GitHub {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let github = GitHub {
            url: url.clone(),
            state: Arc::default(),
        };
        github.state().url = url;
        let server = github.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                std::thread::spawn(move || {
                    let _ = server.serve(stream);
                });
            }
        });
        github
    }

    pub fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The next request of this method whose path contains this gets the fault.
    pub fn fault(&self, method: &'static str, path: &'static str, fault: Fault) {
        self.state().faults.push((method, path, fault));
    }

    /// Something else happens just before the next such request is answered.
    pub fn meanwhile(&self, method: &'static str, path: &'static str, what: fn(&mut State)) {
        self.state().meanwhile.push((method, path, what));
    }

    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut words = line.split_whitespace().map(str::to_owned);
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            match line.trim_end().split_once(':') {
                Some((k, v)) => headers.insert(k.to_ascii_lowercase(), v.trim().to_owned()),
                None => break,
            };
        }
        assert!(!path.contains(TOKEN) && !line.contains(TOKEN));
        let (fault, meanwhile) = {
            let mut state = self.state();
            state.log.push(format!("{method} {path}"));
            let fits = |m: &str, p: &str| m == method && path.contains(p);
            let at = state.meanwhile.iter().position(|(m, p, _)| fits(m, p));
            let meanwhile = at.map(|at| state.meanwhile.remove(at).2);
            let at = state.faults.iter().position(|(m, p, _)| fits(m, p));
            (at.map(|at| state.faults.remove(at).2), meanwhile)
        };
        let len: usize = headers
            .get("content-length")
            .map_or(0, |l| l.parse().unwrap());
        assert!(
            !headers.contains_key("transfer-encoding"),
            "{path} is chunked"
        );
        let read = match fault {
            Some(Fault::CutAfter(n)) => n.min(len),
            _ => len,
        };
        let mut body = vec![0; read];
        reader.read_exact(&mut body)?;
        let mut out = stream;
        if let Some(Fault::CutAfter(_)) = fault {
            let mut state = self.state();
            if path.contains("/assets?name=") {
                let (release, name) = upload(&path);
                let id = state.id();
                state.assets.insert(id, (release, name, "starter", body));
            }
            // A reset, as a router that loses its mind sends it.
            out.shutdown(Shutdown::Both)?;
            return Ok(());
        }
        if let Some(meanwhile) = meanwhile {
            meanwhile(&mut self.state());
        }
        let (status, extra, answer) = match fault.clone() {
            Some(Fault::Status(status, headers, message)) => {
                let body = json!({ "message": message }).to_string().into_bytes();
                (status, headers, body)
            }
            _ => {
                let (status, extra, body) = self.answer(&method, &path, &headers, &body);
                (status, extra, body)
            }
        };
        if let Some(Fault::LostAnswer) = fault {
            out.shutdown(Shutdown::Both)?;
            return Ok(());
        }
        write!(
            out,
            "HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n",
            answer.len()
        )?;
        for (k, v) in extra {
            write!(out, "{k}: {v}\r\n")?;
        }
        out.write_all(b"\r\n")?;
        out.write_all(&answer)?;
        out.flush()
    }

    #[allow(clippy::type_complexity)]
    fn answer(
        &self,
        method: &str,
        path: &str,
        headers: &BTreeMap<String, String>,
        body: &[u8],
    ) -> (u16, Vec<(&'static str, String)>, Vec<u8>) {
        let json_of = |status: u16, value: Value| (status, vec![], value.to_string().into_bytes());
        let missing = || json_of(404, json!({ "message": "Not Found" }));
        if headers.get("authorization") != Some(&format!("Bearer {TOKEN}")) {
            return json_of(401, json!({ "message": "Bad credentials" }));
        }
        assert_eq!(headers["x-github-api-version"], "2022-11-28");
        let Some(rest) = path.strip_prefix("/repos/owner/box/") else {
            return missing();
        };
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let parts: Vec<&str> = place.split('/').collect();
        let number = |n: usize| parts[n].parse::<u64>().unwrap_or(0);
        let ask = || serde_json::from_slice::<Value>(body).unwrap();
        let mut state = self.state();
        let state = &mut *state;
        match (method, parts.as_slice()) {
            ("GET", ["releases", "tags", tag]) => {
                let found = state
                    .releases
                    .values()
                    .find(|r| r["tag_name"] == *tag && r["draft"] == false);
                found.map_or_else(missing, |r| json_of(200, r.clone()))
            }
            // Two on a page, to have pages.
            ("GET", ["releases"]) => {
                let page: usize = query
                    .split('&')
                    .find_map(|p| p.strip_prefix("page="))
                    .map_or(1, |p| p.parse().unwrap());
                let all: Vec<&Value> = state.releases.values().rev().collect();
                let of: Vec<&Value> = all.iter().skip((page - 1) * 2).take(2).copied().collect();
                let mut headers = vec![];
                if all.len() > page * 2 {
                    let next = format!(
                        "<{}/repos/owner/box/releases?page={}>; rel=\"next\"",
                        self.url,
                        page + 1
                    );
                    headers.push(("link", next));
                }
                (200, headers, json!(of).to_string().into_bytes())
            }
            ("POST", ["releases"]) => {
                let id = state.id();
                let mut release = ask();
                release["id"] = id.into();
                release["html_url"] = format!("{}/page/{id}", self.url).into();
                let upload = format!(
                    "{}/repos/owner/box/releases/{id}/assets{{?name,label}}",
                    self.url
                );
                release["upload_url"] = upload.into();
                state.releases.insert(id, release.clone());
                json_of(201, release)
            }
            ("PATCH", ["releases", _]) => {
                let Some(release) = state.releases.get_mut(&number(1)) else {
                    return missing();
                };
                for (k, v) in ask().as_object().unwrap() {
                    release[k] = v.clone();
                }
                json_of(200, release.clone())
            }
            ("DELETE", ["releases", "assets", _]) => match state.assets.remove(&number(2)) {
                Some(_) => (204, vec![], vec![]),
                None => missing(),
            },
            ("DELETE", ["releases", _]) => match state.releases.remove(&number(1)) {
                Some(_) => (204, vec![], vec![]),
                None => missing(),
            },
            ("GET", ["releases", "assets", _]) => match state.assets.get(&number(2)) {
                Some((_, _, _, content)) => {
                    assert_eq!(headers["accept"], "application/octet-stream");
                    (200, vec![], content.clone())
                }
                None => missing(),
            },
            ("GET", ["releases", _, "assets"]) => {
                let of: Vec<Value> = state
                    .assets
                    .iter()
                    .filter(|(_, a)| a.0 == number(1))
                    .map(|(id, a)| {
                        let mut digest = String::from("sha256:");
                        for byte in Sha256::digest(&a.3) {
                            digest += &format!("{byte:02x}");
                        }
                        json!({"id": id, "name": a.1, "state": a.2, "digest": digest})
                    })
                    .collect();
                json_of(200, json!(of))
            }
            ("POST", ["releases", _, "assets"]) => {
                let (release, name) = upload(path);
                if !state.releases.contains_key(&release) {
                    return missing();
                }
                if state.assets.values().any(|a| a.0 == release && a.1 == name) {
                    let errors = json!([{ "resource": "ReleaseAsset", "code": "already_exists", "field": "name" }]);
                    return json_of(
                        422,
                        json!({ "message": "Validation Failed", "errors": errors }),
                    );
                }
                let id = state.id();
                state
                    .assets
                    .insert(id, (release, name, "uploaded", body.to_vec()));
                json_of(201, json!({ "id": id }))
            }
            ("GET", ["issues"]) => {
                assert!(query.contains("state=open"));
                let open: Vec<&Value> = state
                    .issues
                    .values()
                    .filter(|i| i["state"] == "open")
                    .collect();
                json_of(200, json!(open))
            }
            ("POST", ["issues"]) => {
                let number = state.id();
                let mut issue = ask();
                issue["number"] = number.into();
                issue["state"] = "open".into();
                state.issues.insert(number, issue.clone());
                json_of(201, issue)
            }
            ("PATCH", ["issues", _]) => {
                let Some(issue) = state.issues.get_mut(&number(1)) else {
                    return missing();
                };
                for (k, v) in ask().as_object().unwrap() {
                    issue[k] = v.clone();
                }
                json_of(200, issue.clone())
            }
            ("POST", ["issues", _, "comments"]) => {
                let text = ask()["body"].as_str().unwrap().to_owned();
                state.comments.push((number(1), text));
                json_of(201, json!({}))
            }
            other => panic!("the stand-in knows no {other:?}"),
        }
    }
}

/// Release and name of an upload's path.
fn upload(path: &str) -> (u64, String) {
    let (place, name) = path.split_once("?name=").unwrap();
    let id = place.split('/').nth(5).unwrap().parse().unwrap();
    (id, name.replace("%2B", "+"))
}
