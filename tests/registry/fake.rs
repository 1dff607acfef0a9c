//! A registry of our own over plain HTTP, with faults on demand. It is as strict as a real one: it
//! answers to nobody without the login, and knows only what is in its layout.

use base64::Engine as _;
use camino::Utf8PathBuf;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

/// What goes wrong, once, at the first request whose path contains the text that it is for.
#[derive(Debug, Clone)]
pub enum Fault {
    /// An answer of this status, with these headers and this body.
    Status(u16, Vec<(&'static str, String)>, String),
    /// The connection ends after so many bytes of the body.
    CutAfter(usize),
    /// The same, and nobody answers ever after.
    DieAfter(usize),
    /// The same, and the connection stays, but nothing more comes.
    StallAfter(usize),
    /// Other bytes of the same length.
    Changed,
    /// Other bytes.
    Bytes(Vec<u8>),
    /// The bytes come without a length, until the connection ends.
    Unsized(Vec<u8>),
}

/// Who may pull.
#[derive(Debug, Clone, Default)]
pub enum Door {
    #[default]
    Open,
    /// Only who sends `Basic` with this user and password.
    Basic(&'static str),
    /// Only who sends this token, which the token server at this address gives.
    Bearer(String, &'static str),
}

#[derive(Debug, Default)]
pub struct State {
    pub door: Door,
    /// User and password for which the token server gives the token; anybody without.
    pub tokens_for: Option<&'static str>,
    /// Whether requests for a range get the whole.
    pub no_ranges: bool,
    /// Where all blobs are, if not here.
    pub moved_to: Option<String>,
    /// Every request: method, path with query, `Authorization` and `Range` or their lack (`-`).
    pub log: Vec<String>,
    faults: Vec<(String, Fault)>,
    dead: bool,
}

/// The fake registry. It ends with the test's process.
#[derive(Clone)]
pub struct Fake {
    pub host: String,
    layout: Utf8PathBuf,
    tags: Arc<BTreeMap<String, String>>,
    state: Arc<Mutex<State>>,
}

impl Fake {
    /// A registry with the blobs of a layout; the tag `v1` is this digest.
    pub fn start(layout: &super::Layout, digest: &str) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let fake = Fake {
            host: listener.local_addr().unwrap().to_string(),
            layout: layout.0.clone(),
            tags: Arc::new([("v1".to_owned(), digest.to_owned())].into()),
            state: Arc::default(),
        };
        let server = fake.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                std::thread::spawn(move || {
                    let _ = server.serve(stream);
                });
            }
        });
        fake
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The next request whose path contains this gets the fault.
    pub fn fault(&self, path: &str, fault: Fault) {
        self.state().faults.push((path.to_owned(), fault));
    }

    /// `docker://` and the name of the image.
    pub fn image(&self) -> String {
        format!("docker://{}/team/box:v1", self.host)
    }

    /// The requests whose line contains this.
    pub fn asked(&self, text: &str) -> Vec<String> {
        let state = self.state();
        state
            .log
            .iter()
            .filter(|l| l.contains(text))
            .cloned()
            .collect()
    }

    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 || self.state().dead {
                return stream.shutdown(Shutdown::Both);
            }
            let mut words = line.split(' ').map(str::to_owned);
            let method = words.next().unwrap_or_default();
            let path = words.next().unwrap_or_default();
            let mut headers = BTreeMap::new();
            loop {
                let mut line = String::new();
                reader.read_line(&mut line)?;
                let Some((name, value)) = line.trim_end().split_once(": ") else {
                    break;
                };
                headers.insert(name.to_lowercase(), value.to_owned());
            }
            let length = headers
                .get("content-length")
                .map_or(0, |l| l.parse().unwrap());
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            let header = |name: &str| headers.get(name).map_or("-", |v| v).to_owned();
            let (login, range) = (header("authorization"), header("range"));
            let fault = {
                let mut state = self.state();
                state.log.push(format!("{method} {path} {login} {range}"));
                let faults = &mut state.faults;
                let at = faults
                    .iter()
                    .position(|(part, _)| path.contains(part.as_str()));
                at.map(|at| faults.remove(at).1)
            };
            let (status, headers, bytes) = match &fault {
                Some(Fault::Status(status, headers, body)) => {
                    (*status, headers.clone(), body.clone().into_bytes())
                }
                _ => self.answer(&path, &login, &range, &body),
            };
            if !self.send(&stream, (status, headers, bytes), fault)? {
                return stream.shutdown(Shutdown::Both);
            }
        }
    }

    /// Whether the connection goes on.
    fn send(
        &self,
        mut stream: &TcpStream,
        (status, headers, mut bytes): (u16, Vec<(&'static str, String)>, Vec<u8>),
        fault: Option<Fault>,
    ) -> std::io::Result<bool> {
        let mut sized = true;
        match &fault {
            Some(Fault::Changed) => *bytes.last_mut().unwrap() ^= 1,
            Some(Fault::Bytes(other)) => bytes = other.clone(),
            Some(Fault::Unsized(other)) => (bytes, sized) = (other.clone(), false),
            _ => {}
        }
        let mut head = format!("HTTP/1.1 {status} X\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &match sized {
            true => format!("content-length: {}\r\n\r\n", bytes.len()),
            false => "connection: close\r\n\r\n".to_owned(),
        };
        stream.write_all(head.as_bytes())?;
        match fault {
            Some(Fault::StallAfter(n)) => {
                stream.write_all(&bytes[..n.min(bytes.len())])?;
                std::thread::sleep(std::time::Duration::from_secs(3600));
            }
            Some(Fault::CutAfter(n)) => stream.write_all(&bytes[..n.min(bytes.len())])?,
            Some(Fault::DieAfter(n)) => {
                self.state().dead = true;
                stream.write_all(&bytes[..n.min(bytes.len())])?;
            }
            _ => {
                stream.write_all(&bytes)?;
                return Ok(sized);
            }
        }
        Ok(false)
    }

    fn answer(
        &self,
        path: &str,
        login: &str,
        range: &str,
        body: &[u8],
    ) -> (u16, Vec<(&'static str, String)>, Vec<u8>) {
        let basic = |user: &str| {
            let text = base64::engine::general_purpose::STANDARD.encode(user);
            format!("Basic {text}")
        };
        let state = self.state();
        if path.starts_with("/token") {
            let Door::Bearer(_, token) = state.door else {
                return (404, Vec::new(), Vec::new());
            };
            let form = String::from_utf8_lossy(body).into_owned();
            return match state.tokens_for {
                Some(user)
                    if login != basic(user)
                        && !form.ends_with(&format!("refresh_token={user}")) =>
                {
                    (401, Vec::new(), b"go away, Basic".to_vec())
                }
                _ => {
                    let json = serde_json::json!({"token": token, "expires_in": 60});
                    (200, Vec::new(), json.to_string().into_bytes())
                }
            };
        }
        let challenge = match &state.door {
            Door::Basic(user) if login != basic(user) => Some("Basic realm=\"fake\"".to_owned()),
            Door::Bearer(server, token) if login != format!("Bearer {token}") => Some(format!(
                "Bearer realm=\"{server}\",service=\"fake\",scope=\"repository:team/box:pull\""
            )),
            _ => None,
        };
        if let Some(challenge) = challenge {
            let said =
                r#"{"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}"#;
            return (401, vec![("www-authenticate", challenge)], said.into());
        }
        if path == "/v2/" {
            return (200, Vec::new(), b"{}".to_vec());
        }
        let wanted = path.strip_prefix("/v2/team/box/").unwrap_or_default();
        let (kind, name) = wanted.split_once('/').unwrap_or_default();
        let digest = self.tags.get(name).map_or(name, |digest| digest);
        let hex = digest.strip_prefix("sha256:").unwrap_or("none");
        if let (Some(to), "blobs") = (&state.moved_to, kind) {
            let location = format!("http://{to}/moved/{digest}?signature=s3cret");
            return (307, vec![("location", location)], Vec::new());
        }
        let hex = match path.strip_prefix("/moved/sha256:") {
            Some(moved) => moved.split('?').next().unwrap(),
            None => hex,
        };
        let Ok(bytes) = fs_err::read(self.layout.join("blobs/sha256").join(hex)) else {
            let said =
                r#"{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}"#;
            return (404, Vec::new(), said.into());
        };
        let mut headers = vec![("docker-content-digest", digest.to_owned())];
        if kind == "manifests" {
            headers.push(("content-type", super::MANIFEST.to_owned()));
        }
        let range = range.strip_prefix("bytes=").filter(|_| !state.no_ranges);
        if let Some((first, last)) = range.and_then(|range| range.split_once('-')) {
            let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
            headers.push((
                "content-range",
                format!("bytes {first}-{last}/{}", bytes.len()),
            ));
            return (206, headers, bytes[first..=last].to_vec());
        }
        (200, headers, bytes)
    }
}
