//! Machines in use: who can log in, and what the first boot does.
//!
//! The tests that boot need minutes and container images that were already built, so they run on
//! demand: `cargo xtask image debian alpine`, then
//! `cargo test --release --test integration -- --ignored guest::`.

use crate::common::machine::{self, Guest, PASSWORD, expect, off, soon};
use crate::common::{self, Place, checker, content, dir, file, names, said, temp};
use camino::{Utf8Path, Utf8PathBuf};
use docker_to_linux::engine::{self, Build, Engine};
use docker_to_linux::guest::RootLogin;
use docker_to_linux::model::size::Size;
use docker_to_linux::model::{Arch, BootMode};
use docker_to_linux::recipe::{Recipe, User};
use docker_to_linux::tool::Tool;
use docker_to_linux::vm::{Firmware, Forward, Machine, Network, PROMPT, Session};
use std::net::TcpListener;
use std::os::unix::fs::FileExt;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

mod all;
mod telling;
mod unplugged;

/// An image that a test made.
struct Made {
    image: Utf8PathBuf,
    /// Byte at which the root partition starts.
    root: u64,
}

/// The container image of a recipe with an ssh server.
fn with_ssh(recipe: &str) -> Option<(Engine, String)> {
    derived(recipe, "ssh", None)
}

/// The container image of a recipe and what a Dockerfile of `tests/guest` adds.
fn derived(recipe: &str, name: &str, dockerfile: Option<&str>) -> Option<(Engine, String)> {
    let (engine, tag) = machine::container(recipe)?;
    let context = machine::home().join("tests/guest");
    let dockerfile = dockerfile.map(|name| context.join(name));
    let what = Build {
        context: &context,
        dockerfile,
        args: [("BASE".to_owned(), tag)].into(),
        platform: None,
        tag: engine::tag(&format!("test-{name}"), Arch::Amd64),
        network: None,
    };
    let image = engine::build(&engine, &what, &|_| ()).unwrap();
    Some((engine, image.id.clone()))
}

/// An image of the recipe's container with what `change` says.
fn make(
    name: &str,
    container: &(Engine, String),
    dir: &Utf8Path,
    login: &RootLogin,
    change: impl FnOnce(&mut Recipe),
) -> Made {
    let mut recipe = machine::recipe(name);
    change(&mut recipe);
    let disk = machine::make(container, name, recipe, login.clone(), dir, |_| ());
    Made {
        image: disk.image,
        root: disk.root.start,
    }
}

impl Made {
    /// The disk gets larger, as people make it.
    fn extend(&self, gib: u64) {
        let file = std::fs::File::options().write(true).open(&self.image);
        file.unwrap().set_len(gib << 30).unwrap();
    }

    /// Boots it to its prompt; `ssh` is the port of this host that leads to its own.
    fn boot(&self, firmware: Firmware, ssh: Option<u16>) -> Session {
        let forwards = ssh.map(|host| Forward { host, guest: 22 });
        let machine = Machine {
            snapshot: false,
            network: Network::User {
                forwards: forwards.into_iter().collect(),
                restricted: false,
            },
            ..Machine::new(Arch::Amd64, firmware)
        };
        machine::up(&machine, &self.image, &[PROMPT]).0
    }

    /// The header of the GPT: the disk's second sector.
    fn header(&self) -> [u8; 512] {
        let mut header = [0; 512];
        let disk = std::fs::File::open(&self.image).unwrap();
        disk.read_exact_at(&mut header, 512).unwrap();
        assert!(header.starts_with(b"EFI PART"));
        header
    }

    fn put_header_back(&self, header: &[u8; 512]) {
        assert_ne!(*header, self.header());
        let disk = std::fs::File::options().write(true).open(&self.image);
        disk.unwrap().write_all_at(header, 512).unwrap();
    }

    /// The partition table and the file system are right, and it has at least so many GiB.
    fn check(&self, gib: u64) {
        self.check_root(gib);
        if let Some(mut sfdisk) = checker(Tool::Sfdisk) {
            let said = content(sfdisk.arg("--verify").arg(&self.image));
            assert!(said.contains("No errors detected"), "{said}");
        }
    }

    /// e2fsck finds nothing, and the file system has at least so many GiB.
    fn check_root(&self, gib: u64) {
        let Some(mut e2fsck) = checker(Tool::E2fsck) else {
            return;
        };
        content(
            e2fsck
                .arg("-fn")
                .arg(format!("{}?offset={}", self.image, self.root)),
        );
        // s_blocks_count_lo (Linux, Documentation/filesystems/ext4/super.rst), of 4 KiB each.
        let mut count = [0; 4];
        std::fs::File::open(&self.image)
            .unwrap()
            .read_exact_at(&mut count, self.root + 1024 + 4)
            .unwrap();
        let bytes = u64::from(u32::from_le_bytes(count)) * 4096;
        assert!(bytes > (gib << 30) - (512 << 20), "only {bytes} bytes");
    }
}

/// ssh's own programs, and a key of theirs.
struct Ssh {
    dir: Utf8PathBuf,
    port: u16,
}

impl Ssh {
    fn new(dir: &Utf8Path) -> Option<Ssh> {
        common::program("ssh", "openssh-client")?;
        let key = dir.join("key");
        let mut keygen = Command::new("ssh-keygen");
        content(keygen.args([
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-C",
            "test",
            "-f",
            key.as_str(),
        ]));
        // Free now, and nothing else uses it before QEMU does.
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        Some(Ssh {
            dir: dir.to_owned(),
            port,
        })
    }

    fn key(&self) -> Utf8PathBuf {
        self.dir.join("key.pub")
    }

    /// Runs a command as that user.
    fn run(&self, user: &str, command: &str) -> Output {
        let known = format!("UserKnownHostsFile={}", self.dir.join("known"));
        Command::new("ssh")
            .args(["-F", "/dev/null", "-i", self.dir.join("key").as_str()])
            .args(["-p", &self.port.to_string(), "-o", &known])
            .args([
                "-o",
                "StrictHostKeyChecking=accept-new",
                "-o",
                "BatchMode=yes",
            ])
            .args(["-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=60"])
            .arg(format!("{user}@127.0.0.1"))
            .arg(command)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Like [`Ssh::run`], once the server answers: QEMU accepts connections before the guest does.
    fn when_up(&self, session: &Session, user: &str, command: &str) -> Output {
        let deadline = soon(session);
        loop {
            let out = self.run(user, command);
            let why = said(&out);
            let answered = out.status.success() || why.contains("Permission denied");
            if answered || Instant::now() > deadline {
                return out;
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}

/// What a first boot must have done, whatever the distribution.
fn has_grown(guest: &mut Guest<'_>, gib: u64) {
    let mib: u64 = guest
        .run("df -Pm / | awk 'NR == 2 { print $2 }'")
        .parse()
        .unwrap();
    assert!(mib > gib * 1024 * 9 / 10, "{mib} MiB");
    // Nothing of it is left.
    guest.run("! test -e /usr/lib/docker-to-linux/grow-root && ! test -e /var/lib/docker-to-linux");
    let left = guest.run("find /etc -name '*grow-root*'");
    assert_eq!(left, "");
}

/// What every machine must have of the network behind QEMU's router.
fn is_online(guest: &mut Guest<'_>) {
    guest.run("for n in $(seq 120); do grep -q '^nameserver' /etc/resolv.conf && ip -4 addr | grep -q 'inet 10\\.0\\.2\\.' && exit 0; sleep 1; done; ip addr; cat /etc/resolv.conf; ps | grep dhc; ls -lR /run/dhcpcd; logread | tail -n 30; exit 1");
    // A router's advertisement, and the address that the machine made of it.
    guest.run("for n in $(seq 60); do ip -6 addr | grep -q 'inet6 fec0:' && exit 0; sleep 1; done; ip -6 addr; exit 1");
    guest.run("cat /etc/hosts; grep -q \"127.0.1.1.*$(hostname)\" /etc/hosts");
}

fn alpine_grows(firmware: Firmware, boot: BootMode, gib: u64) {
    let (_keep, dir) = temp();
    let login = machine::root_by_password(&dir);
    let Some(container) = machine::container("alpine") else {
        return;
    };
    let made = make("alpine", &container, &dir, &login, |recipe| {
        recipe.boot = boot;
        recipe.swap = Some(Size(64 << 20));
    });
    made.extend(gib);
    let mut session = made.boot(firmware, None);
    {
        let mut guest = Guest::open(&mut session, "root", PASSWORD);
        has_grown(&mut guest, gib);
        is_online(&mut guest);
        assert!(guest.run("cat /proc/swaps").contains("/swapfile"));
        guest.run("mkinitfs");
    }
    off(session);
    made.check(gib);
    let session = made.boot(firmware, None);
    off(session);
    made.check(gib);
}

fn debian_grows(firmware: Firmware, boot: BootMode, gib: u64) {
    let (_keep, dir) = temp();
    let login = machine::root_by_password(&dir);
    let Some(container) = machine::container("debian") else {
        return;
    };
    let made = make("debian", &container, &dir, &login, |recipe| {
        recipe.boot = boot;
    });
    made.extend(gib);
    let mut session = made.boot(firmware, None);
    {
        let mut guest = Guest::open(&mut session, "root", PASSWORD);
        has_grown(&mut guest, gib);
        guest.run("update-initramfs -u 2>&1");
    }
    off(session);
    made.check(gib);
    let session = made.boot(firmware, None);
    off(session);
    made.check(gib);
}

/// A password, its hash and what is in files/ reach the image and nothing else.
#[test]
fn secrets_reach_nothing_but_the_image() {
    let Some(p) = Place::new() else { return };
    let mut entries = common::machine();
    entries.extend([dir("bin"), file("bin/sh", "elf"), dir("root")]);
    p.tar("rootfs", &entries);
    let hash = format!("$6$saltsalt${}", "hHaAsSh".repeat(13).get(..86).unwrap());
    p.recipe(
        "box",
        &format!("root: {{free: 16M}}\nusers: [{{name: anna, password-hash: \"{hash}\"}}]\n"),
    );
    p.write("password", "s3cr3t-passw0rd\n");
    let run = |verb: &str| {
        p.xtask(&[verb, "box", "--from", "rootfs.tar", "-v"])
            .args(["--bootloader-dir", "bootloader", "--output", "out"])
            .args(["--root-password-file", "password"])
            .output()
            .unwrap()
    };
    let (image, plan) = (run("image"), run("plan"));
    assert!(image.status.success(), "{}", said(&image));
    assert!(plan.status.success(), "{}", said(&plan));
    let disk = fs_err::read(p.out.join("box.img")).unwrap();
    let has = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
    assert!(has(&disk, &hash), "the hash is not in the image");
    assert!(has(&disk, "root:$6$rounds=100000$"));
    assert!(!has(&disk, "s3cr3t"), "the password is in the image");
    let mut told = vec![said(&image).into_bytes(), said(&plan).into_bytes()];
    for name in names(&p.out) {
        let path = p.out.join(name);
        if path.extension() != Some("img") {
            told.push(fs_err::read(&path).unwrap());
        }
    }
    for told in told {
        for secret in ["s3cr3t", "hHaAsSh", "$6$", "saltsalt"] {
            assert!(
                !has(&told, secret),
                "{secret} in {}",
                String::from_utf8_lossy(&told)
            );
        }
    }
    // What is wrong with them is said without them.
    let from = ["plan", "box", "--from", "rootfs.tar"];
    let mut wrong = p.xtask(&[&from[..], &["--password-hash", "s3cr3t-passw0rd"]].concat());
    let wrong = wrong.output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(!said(&wrong).contains("s3cr3t"), "{}", said(&wrong));
    p.recipe(
        "box",
        "users:\n- {name: anna, password-hash: s3cr3t-passw0rd}\n",
    );
    let wrong = run("plan");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(!said(&wrong).contains("s3cr3t"), "{}", said(&wrong));
    assert!(said(&wrong).contains("recipe.yaml:2:"), "{}", said(&wrong));
}
