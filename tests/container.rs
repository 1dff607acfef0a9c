//! Machines from application containers: whole images, built with the command line, booted in QEMU
//! and tested over the network.
//!
//! They need minutes and the base images from the recipes' bootstraps, so they run on demand
//! and in `cargo xtask ci`: `cargo xtask image debian alpine`, then
//! `cargo test --release --test integration -- --ignored container::`.

mod refused;

use crate::common::machine::{self, Guest};
use crate::common::{self, Entry, content, file, skipped, temp};
use camino::{Utf8Path, Utf8PathBuf};
use docker_to_linux::engine::{self, Engine};
use docker_to_linux::model::Arch;
use docker_to_linux::tool::Tool;
use docker_to_linux::vm::{Firmware, Forward, Machine, Network, Session};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Emulation on a busy host is slow.
const PATIENCE: Duration = Duration::from_secs(420);

/// Files of an application: name, text, whether it is a program.
type Files<'a> = &'a [(&'a str, &'a str, bool)];

/// Builds an application's container image in `dir`, or `None` (said aloud) where it cannot be.
fn application(dir: &Utf8Path, base: &str, tag: &str, files: Files<'_>) -> Option<()> {
    if let Err(e) = Tool::QemuX86.require() {
        return skipped(&e.to_string());
    }
    let docker = match Tool::Docker.require() {
        Ok(path) => path,
        Err(e) => return skipped(&e.to_string()),
    };
    let has = |image: &str| {
        let inspect = Command::new(&docker)
            .args(["image", "inspect", image])
            .output();
        inspect.is_ok_and(|o| o.status.success())
    };
    if !has(base) {
        return skipped(&format!(
            "there is no image {base}: `cargo xtask image debian alpine` makes it"
        ));
    }
    for (name, text, program) in files {
        use std::os::unix::fs::PermissionsExt;
        let path = dir.join(name);
        fs_err::write(&path, text).unwrap();
        let mode = if *program { 0o755 } else { 0o644 };
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    content(Command::new(&docker).args(["build", "--force-rm", "-t", tag, dir.as_str()]));
    Some(())
}

/// Makes a disk of it, as a user does.
fn machine_of(dir: &Utf8Path, name: &str, arguments: &[&str]) -> Utf8PathBuf {
    let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut command = common::xtask();
    command
        .args(["image", "--force"])
        .args(["--boot", "bios", "--name", name, "--output", dir.as_str()])
        .args(arguments)
        .current_dir(root);
    eprintln!("{}", content(&mut command));
    dir.join(format!("{name}.img"))
}

/// A running machine, whose port 80 is a port of this host.
struct Running {
    session: Session,
    port: u16,
}

/// Boots it until its console says `text`.
fn boot(image: &Utf8Path, text: &str) -> Running {
    boot_with(image, text, Vec::new())
}

/// The same with further arguments for QEMU.
fn boot_with(image: &Utf8Path, text: &str, extra: Vec<String>) -> Running {
    // Free a moment ago, and this host assigns no ports in this range automatically.
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let machine = Machine {
        snapshot: false,
        extra,
        network: Network::User {
            forwards: vec![Forward {
                host: port,
                guest: 80,
            }],
            restricted: false,
        },
        ..Machine::new(Arch::Amd64, Firmware::Bios)
    };
    let (session, _) = machine::up(&machine, image, &[text]);
    Running { session, port }
}

/// Arguments of a second network card, whose cable is pulled as soon as QEMU listens at `socket`.
fn second_card(socket: &Utf8Path) -> Vec<String> {
    let path = socket.to_owned();
    std::thread::spawn(move || {
        // Attempts of a boot that fails make a new socket each.
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
            let Ok(mut qmp) = std::os::unix::net::UnixStream::connect(&path) else {
                continue;
            };
            let pulled = qmp.write_all(
                b"{\"execute\": \"qmp_capabilities\"}\n{\"execute\": \"set_link\", \"arguments\": {\"name\": \"second\", \"up\": false}}\n",
            );
            // Until QEMU ends.
            if pulled.is_ok() {
                let _ = std::io::copy(&mut qmp, &mut std::io::sink());
            }
        }
    });
    [
        "-netdev",
        "hubport,id=net1,hubid=1",
        "-device",
        "virtio-net-pci,netdev=net1,id=second,romfile=",
        "-qmp",
        &format!("unix:{socket},server=on,wait=off"),
    ]
    .map(str::to_owned)
    .into()
}

/// An `/init` that only works as process 1, prints what it sees, and ends at SIGRTMIN+3.
const INIT: &str = r#"#!/bin/sh
echo "init is process $$ of $(uname -n)" >/dev/stdout
[ $$ -eq 1 ] || exit 1
trap 'echo "SIGRTMIN+3 came to process $$"; exit 0' 37
[ ! -d /run/systemd ] || echo "cables: $(cat /sys/class/net/e*/carrier | sort | tr '\n' ' ')"
echo "ready: $(cat /proc/1/comm)"
while :; do sleep 0.2; done
"#;

impl Running {
    #[track_caller]
    fn says(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        self.session
            .expect(&[text], deadline)
            .unwrap_or_else(|e| panic!("{e}"));
    }

    /// What it answers to `GET path`, asked again until it answers.
    #[track_caller]
    fn get(&mut self, path: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match ask(self.port, path) {
                Ok(answer) if answer.starts_with("HTTP/1") => return answer,
                other => assert!(
                    Instant::now() < deadline,
                    "no answer: {other:?}\n{}",
                    self.session.transcript()
                ),
            }
            std::thread::sleep(Duration::from_millis(500));
        }
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

fn ask(port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: app\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// An image of these files, in the engine; removed when dropped.
struct Imported(&'static str);

impl Imported {
    fn new(tag: &'static str, entries: &[Entry]) -> Option<Imported> {
        if let Err(e) = Engine::find(Some(engine::Kind::Docker)) {
            return skipped(&e.to_string());
        }
        let mut tar = Vec::new();
        common::write_tar(entries, &mut tar);
        let docker = Tool::Docker.require().unwrap();
        let out = common::with_input(Command::new(docker).args(["import", "-", tag]), &tar);
        assert!(out.status.success(), "{}", common::said(&out));
        Some(Imported(tag))
    }
}

impl Drop for Imported {
    fn drop(&mut self) {
        if let Ok(docker) = Tool::Docker.require() {
            let _ = Command::new(docker).args(["rmi", "-f", self.0]).output();
        }
    }
}

/// nginx as its official image has it: an entry point that is a script, logs in /dev/stdout.
#[test]
#[ignore = "builds and boots a machine: minutes"]
fn nginx_on_debian_serves_and_hears_of_the_end() {
    let (_guard, dir) = temp();
    const TAG: &str = "docker-to-linux/test-nginx:latest";
    let files: Files<'_> = &[
        (
            "Dockerfile",
            r#"FROM debian:trixie-slim
RUN apt-get update && apt-get install -y --no-install-recommends nginx-light \
 && rm -rf /var/lib/apt/lists/* && ln -sf /dev/stdout /var/log/nginx/access.log
COPY entrypoint /docker-entrypoint.sh
ENV GREETING="it's \$HOME, 100% \"fine\" and Łódź" node.name=x
WORKDIR /srv/www
EXPOSE 80
ENTRYPOINT ["/docker-entrypoint.sh"]
CMD ["nginx", "-g", "daemon off; error_log /dev/stderr notice;"]
"#,
            false,
        ),
        (
            "entrypoint",
            "#!/bin/sh\nset -e\nhere=$(pwd)\n\
             printf '%s %s %s' \"$GREETING\" \"$here\" \"$HOME\" >/var/www/html/index.html\n\
             env >/var/www/html/env\n\
             echo \"entry point runs: $*\" >/dev/stderr\nexec \"$@\"\n",
            true,
        ),
    ];
    let Some(()) = application(&dir, "debian:trixie-slim", TAG, files) else {
        return;
    };
    let kernel = ["--build-arg", "KERNEL=linux-image-cloud-amd64"];
    let image = machine_of(&dir, "app", &[&["--container", TAG], &kernel[..]].concat());
    let mut machine = boot(&image, "entry point runs: nginx");
    let answer = machine.get("/");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let greeting = "it's $HOME, 100% \"fine\" and Łódź /srv/www /root";
    assert!(answer.ends_with(greeting), "{answer}");
    assert!(machine.get("/env").contains("\nHOSTNAME=app\n"));
    machine.says("GET / HTTP/1.0");
    let said = machine.off();
    assert!(
        said.contains("signal 15 (SIGTERM) received from 1"),
        "{said}"
    );
}

/// busybox's httpd on Alpine, from a Dockerfile, as a user that is not root on a port that is
/// root's.
#[test]
#[ignore = "builds and boots a machine: minutes"]
fn httpd_on_alpine_serves_and_hears_of_the_end() {
    let (_guard, dir) = temp();
    let files: Files<'_> = &[
        (
            "Dockerfile",
            // Alpine's own httpd is in a package that is not in its base.
            r#"FROM debian:trixie-slim
RUN apt-get update && apt-get install -y --no-install-recommends busybox-static
FROM alpine:3.23
COPY --from=0 /bin/busybox /usr/local/bin/busybox-httpd
RUN adduser -D -u 1234 -h /srv/www web
COPY serve index.html /srv/www/
WORKDIR /srv/www
USER web
ENV MARK="the service's own"
EXPOSE 80
HEALTHCHECK CMD wget -qO- http://127.0.0.1/ | grep -q hello
CMD ["./serve", "with  two spaces"]
"#,
            false,
        ),
        (
            "serve",
            "#!/bin/sh\n\
             trap 'echo \"SIGTERM came to $MARK\" >/dev/stdout; kill $pid; exit 0' TERM\n\
             echo \"serving '$1' as $(id -u)\" >/dev/stderr\n\
             busybox-httpd httpd -f -p 80 & pid=$!\nwait $pid\n",
            true,
        ),
        ("index.html", "hello from a container\n", false),
    ];
    const TAG: &str = "docker-to-linux/test-httpd:latest";
    let Some(()) = application(&dir, "alpine:3.23", TAG, files) else {
        return;
    };
    let dockerfile = dir.join("Dockerfile");
    let image = machine_of(&dir, "httpd", &["--dockerfile", dockerfile.as_str()]);
    let mut machine = boot(&image, "serving 'with  two spaces' as 1234");
    let answer = machine.get("/");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("hello from a container\n"), "{answer}");
    let said = machine.off();
    assert!(said.contains("SIGTERM came to the service's own"), "{said}");
}

/// An /init like s6-overlay's: process 1 on systemd, stopped with its own signal. The image has
/// everything that breaks a build on it: triggers, a missing shell, a PATH without sbin, a variable
/// named like a build argument. And the machine has a second network card without a cable.
#[test]
#[ignore = "builds and boots a machine: minutes"]
fn an_init_of_its_own_on_debian_is_process_one() {
    let (_guard, dir) = temp();
    const TAG: &str = "docker-to-linux/test-init:latest";
    let files: Files<'_> = &[
        (
            "Dockerfile",
            r#"FROM debian:trixie-slim
COPY init /init
ENV PATH=/usr/local/bin:/usr/bin:/bin KERNEL=nonsense LD_LIBRARY_PATH=/nowhere
ONBUILD RUN exit 7
SHELL ["/bin/powershell", "-Command"]
STOPSIGNAL SIGRTMIN+3
ENTRYPOINT ["/init"]
"#,
            false,
        ),
        ("init", INIT, true),
    ];
    let Some(()) = application(&dir, "debian:trixie-slim", TAG, files) else {
        return;
    };
    let kernel = ["--build-arg", "KERNEL=linux-image-cloud-amd64"];
    let image = machine_of(&dir, "own", &[&["--container", TAG], &kernel[..]].concat());
    let extra = second_card(&dir.join("qmp"));
    let mut machine = boot_with(&image, "init is process 1 of own", extra);
    machine.says("cables: 0 1");
    machine.says("ready: init");
    // With both cards waited for, it fails after two minutes.
    let said = machine.session.transcript();
    let online =
        |line: &str| line.contains("Finished") && line.contains("ait for Network to be Configured");
    assert!(said.lines().any(online), "{said}");
    let said = machine.off();
    assert!(said.contains("SIGRTMIN+3 came to process 1"), "{said}");
}

/// The same on OpenRC, whose supervisor does not know the signal's name. It also starts if a failed
/// start left the reader of its output behind.
#[test]
#[ignore = "builds and boots a machine: minutes"]
fn an_init_of_its_own_on_alpine_is_process_one() {
    let (_guard, dir) = temp();
    const TAG: &str = "docker-to-linux/test-init-alpine:latest";
    let files: Files<'_> = &[
        (
            "Dockerfile",
            "FROM alpine:3.23\nCOPY init /init\nSTOPSIGNAL 37\nENTRYPOINT [\"/init\"]\n",
            false,
        ),
        ("init", INIT, true),
    ];
    let Some(()) = application(&dir, "alpine:3.23", TAG, files) else {
        return;
    };
    let password = machine::root_by_password(&dir).password_file.unwrap();
    let image = machine_of(
        &dir,
        // Not the name of the test above: engines keep one image of a name, and both run at once.
        "own-alpine",
        &[
            "--container",
            TAG,
            "--root-password-file",
            password.as_str(),
        ],
    );
    let mut machine = boot(&image, "ready: init");
    machine.says("login: ");
    let mut guest = Guest::open(&mut machine.session, "root", machine::PASSWORD);
    guest.run("rc-service container stop");
    guest
        .run("grep -q 'SIGRTMIN+3 came to process 1' /var/log/messages && ! pgrep -f '[s]h /init'");
    guest.run("/usr/lib/docker-to-linux/console start 0:0");
    guest.run("rc-service container start && sleep 5 && rc-service container status");
    machine.off();
}
