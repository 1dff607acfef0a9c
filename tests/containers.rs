//! Container images of many kinds as hosted machines: each boots, answers over TCP, and hears of
//! the end.
//!
//! They need minutes and the base images from the recipes' bootstraps, so they run on demand:
//! `cargo xtask image debian alpine`, `cargo xtask machine build`, then
//! `cargo test --release --test integration -- --ignored containers::`. `IMAGES=redis,tini` runs
//! only these, `KEEP=DIR` keeps their disks.

mod inside;
mod table;

use crate::common::machine::{self, Guest, home};
use crate::common::{self, content, skipped};
use camino::{Utf8Path, Utf8PathBuf};
use docker_to_linux::model::Arch;
use docker_to_linux::tool::Tool;
use docker_to_linux::vm::{Firmware, Forward, Machine, Network, PROMPT, Session};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};
use table::{Ask, From, IMAGES, Image};

/// Emulation on a busy host is slow.
const PATIENCE: Duration = Duration::from_secs(420);

fn docker() -> Option<Command> {
    match Tool::Docker.require() {
        Ok(path) => Some(Command::new(path)),
        Err(e) => skipped(&e.to_string()),
    }
}

/// Whether images can be built and booted here (said aloud if not).
fn possible(machine: &str) -> bool {
    machine::container(machine).is_some() && docker().is_some()
}

/// Builds a container image, and returns its name in the engine.
fn build(image: &Image, dir: &Utf8Path) -> String {
    let sources = home().join("tests/containers");
    let tagged = |tag: &str, context: &Utf8Path| {
        let mut build = docker().unwrap();
        content(build.args(["build", "-q", "--force-rm", "-t", tag, context.as_str()]));
    };
    const SERVE: &str = "docker-to-linux/test-serve";
    tagged(SERVE, &sources.join("serve"));
    let tag = format!("docker-to-linux/test-{}:latest", image.name);
    let context = dir.join(image.name);
    fs_err::create_dir_all(&context).unwrap();
    let text = match image.from {
        From::Folder => {
            fs_err::read_to_string(sources.join(image.name).join("Dockerfile")).unwrap()
        }
        From::Text(text) => format!("FROM {SERVE}\n{text}"),
        From::Layers(text) => {
            let layers: String = (0..120)
                .map(|n| format!("ADD Dockerfile /layers/{n}\n"))
                .collect();
            format!("FROM {SERVE}\n{text}{layers}")
        }
    };
    fs_err::write(context.join("Dockerfile"), text).unwrap();
    if image.name == "rust" {
        let mut rustc = Command::new("rustc");
        rustc.args([
            "--edition=2021",
            "-O",
            "-C",
            "target-feature=+crt-static",
            "-o",
        ]);
        rustc
            .arg(context.join("app"))
            .arg(sources.join("rust/main.rs"));
        content(&mut rustc);
    }
    tagged(&tag, &context);
    tag
}

/// Makes a disk of it, as a user does. Root may log in.
fn disk(name: &str, tag: &str, machine: &str, dir: &Utf8Path, more: &[&str]) -> Utf8PathBuf {
    let name = format!("{name}-{machine}");
    let password = machine::root_by_password(dir).password_file.unwrap();
    let mut command = common::xtask();
    let words = "image --as hosted --boot bios --no-metadata --container";
    command.args(words.split(' ')).arg(tag);
    command.args(["--machine", machine, "--name", &name]);
    command.args(["--root-password-file", password.as_str()]);
    if !more.contains(&"--output") {
        command.args(["--output", dir.as_str()]);
    }
    eprintln!("{}", content(command.args(more).current_dir(home())));
    dir.join(format!("{name}.img"))
}

/// A running machine, and the port of this host that leads to its service.
struct Running {
    session: Session,
    port: u16,
}

fn boot(disk: &Utf8Path, guest: u16, text: &str) -> Running {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let machine = Machine {
        snapshot: false,
        network: Network::User {
            forwards: vec![Forward { host: port, guest }],
            restricted: false,
        },
        ..Machine::new(Arch::Amd64, Firmware::Bios)
    };
    let text = if text.is_empty() { "login: " } else { text };
    let (session, _) = machine::up(&machine, disk, &[text]);
    Running { session, port }
}

impl Running {
    /// Asks until the service answers as expected.
    #[track_caller]
    fn answers(&self, ask: Ask) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (request, wanted): (&[u8], _) = match ask {
                Ask::Http(_) => (b"GET / HTTP/1.0\r\n\r\n", 32),
                Ask::Bytes(request, answer) => (request, answer.len()),
            };
            let said = self.exchange(request, wanted).unwrap_or_default();
            let text = String::from_utf8_lossy(&said);
            let right = match ask {
                Ask::Http(text_) => text.contains(text_),
                Ask::Bytes(_, answer) => said.starts_with(answer),
            };
            if right {
                return;
            }
            let told = self.session.transcript();
            assert!(Instant::now() < deadline, "answers {text:?}\n{told}");
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// Sends something; the answer up to its end, or at least so many bytes of it.
    fn exchange(&self, request: &[u8], least: usize) -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.write_all(request)?;
        let mut answer = vec![0; 1 << 16];
        let mut size = 0;
        loop {
            let got = stream.read(&mut answer[size..])?;
            size += got;
            if got == 0 || least < 32 && size >= least {
                answer.truncate(size);
                return Ok(answer);
            }
        }
    }

    /// Root, logged in on the console.
    #[track_caller]
    fn root(&mut self) -> Guest<'_> {
        let deadline = Instant::now() + PATIENCE;
        // It may be anywhere in what the command says.
        while !self.session.transcript().contains(PROMPT) {
            let said = self.session.transcript();
            assert!(Instant::now() < deadline, "no prompt\n{said}");
            std::thread::sleep(Duration::from_millis(200));
        }
        Guest::open(&mut self.session, "root", machine::PASSWORD)
    }

    /// Presses the power button; everything that the console said until the end.
    #[track_caller]
    fn off(mut self) -> String {
        let off = self.session.power_off(Instant::now() + PATIENCE).unwrap();
        let said = self.session.transcript();
        assert!(off, "the machine did not turn itself off\n{said}");
        said
    }
}

/// Runs a program of the service manager, whichever the machine has.
fn service(verb: &str) -> String {
    format!(
        "if [ -d /run/systemd/system ]; then systemctl {verb} container; \
         else rc-service container {verb}; fi"
    )
}

/// Waits for a result of the health check.
fn is(health: &str) -> String {
    format!(
        "for n in $(seq 120); do grep -qx {health} /run/container/health && break; sleep 1; done; \
         grep -x {health} /run/container/health"
    )
}

/// Looks at the running command: its user and its environment are those of the image, and it is
/// well if the image can tell. `uid` is the user's number. Returns what was checked.
fn look(guest: &mut Guest<'_>, config: &Value) -> Vec<&'static str> {
    let mut checked = vec!["user", "environment"];
    let user = config["User"].as_str().unwrap_or_default();
    let name = user.split(':').next().unwrap();
    let uid = match name {
        "" => "0".to_owned(),
        _ if name.parse::<u32>().is_ok() => name.to_owned(),
        _ => format!(
            "$(awk -F: '$1 == \"{name}\" {{ print $3 }}' /var/lib/container/root/etc/passwd)"
        ),
    };
    guest.run(&format!(
        "grep \"^Uid:.{uid}.\" /proc/$(cat /run/container/main)/status"
    ));
    let all = config["Env"].as_array();
    let all = all.into_iter().flatten().map(|line| line.as_str().unwrap());
    // As numbers, because the console's line editor knows some characters.
    let octal: String = all
        .flat_map(|line| line.bytes().chain([b'\n']))
        .map(|byte| format!("\\{byte:03o}"))
        .collect();
    guest.run(&format!(
        "printf '{octal}' >/tmp/wanted; \
         tr '\\0' '\\n' </proc/$(cat /run/container/main)/environ >/tmp/found; \
         ! grep -vxF -f /tmp/found /tmp/wanted"
    ));
    if config["Healthcheck"].is_object() {
        guest.run(&is("healthy"));
        checked.push("health");
    }
    checked
}

/// What the engine knows about an image.
fn config(tag: &str) -> Value {
    let text =
        content(
            docker()
                .unwrap()
                .args(["image", "inspect", "--format", "{{json .Config}}", tag]),
        );
    serde_json::from_str(&text).unwrap()
}

/// One image, from its Dockerfile to the machine's end. Returns what was checked.
fn whole(image: &Image, machine: &str, dir: &Utf8Path) -> String {
    let tag = build(image, dir);
    let disk = disk(image.name, &tag, machine, dir, image.options);
    let mut running = boot(&disk, image.port, image.says);
    running.answers(image.ask);
    let mut checked = vec!["answers"];
    let begun = running.session.elapsed();
    let config = config(&tag);
    let is_told = matches!(image.ask, Ask::Http("serve: user="));
    if is_told && !config["Healthcheck"].is_object() {
        // It said so itself, in the words that were waited for.
        checked.extend(["user", "environment"]);
    } else {
        let mut guest = running.root();
        checked.extend(look(&mut guest, &config));
        if image.stops.is_empty() {
            // It would be killed after 30 seconds.
            let stop = service("stop");
            guest.run(&format!(
                "b=$(cut -d. -f1 /proc/uptime); {stop}; \
                 test $(($(cut -d. -f1 /proc/uptime) - b)) -lt 25"
            ));
        }
    }
    let looked = running.session.elapsed();
    eprintln!("# answers after {begun:?}, looked at until {looked:?}");
    let said = running.off();
    assert!(
        said.contains(image.stops),
        "{}: no {:?}\n{said}",
        image.name,
        image.stops
    );
    checked.push(match image.stops {
        "" => "ends at its signal",
        _ => "hears its signal",
    });
    if image.name == "writes" {
        let again = boot(&disk, image.port, "starts before=1");
        again.off();
        checked.push("keeps what it wrote");
    }
    if std::env::var_os("KEEP").is_none() {
        fs_err::remove_file(disk).unwrap();
    }
    checked.join(", ")
}

fn some(machine: &str, names: &[&str]) {
    if !possible(machine) {
        return;
    }
    let (_guard, temp) = common::temp();
    let dir = std::env::var("KEEP").map_or(temp, Utf8PathBuf::from);
    let chosen = std::env::var("IMAGES").ok();
    let chosen: Vec<&str> = match &chosen {
        Some(text) => text.split(',').collect(),
        None => names.to_vec(),
    };
    let wanted = |image: &&Image| chosen.is_empty() || chosen.contains(&image.name);
    let (mut failed, mut rows) = (Vec::new(), String::new());
    for image in IMAGES.iter().filter(wanted) {
        let begun = Instant::now();
        let result = std::panic::catch_unwind(|| whole(image, machine, &dir));
        if result.is_err() {
            failed.push(image.name);
        }
        let took = begun.elapsed().as_secs();
        let what = result.unwrap_or_else(|_| "FAILS".to_owned());
        let row = format!("| {} | {machine} | {what} | {took} s |\n", image.name);
        let _ = write!(std::io::stderr(), "{row}");
        rows.push_str(&row);
    }
    let _ = write!(std::io::stderr(), "{rows}");
    assert!(failed.is_empty(), "{failed:?} on {machine}");
}

/// One that has neither a shell nor root, and another C library than the machine.
#[test]
#[ignore = "builds and boots machines: minutes"]
fn few_on_alpine() {
    some("alpine", &["distroless"]);
}

#[test]
#[ignore = "builds and boots machines: minutes"]
fn few_on_debian() {
    some("debian", &["numbers"]);
}

#[test]
#[ignore = "builds and boots machines: an hour"]
fn table_on_alpine() {
    some("alpine", &[]);
}

#[test]
#[ignore = "builds and boots machines: an hour"]
fn table_on_debian() {
    some("debian", &[]);
}
