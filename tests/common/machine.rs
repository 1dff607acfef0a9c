//! Whole machines of the recipes' container images, and what is typed into them.

use super::skipped;
use camino::{Utf8Path, Utf8PathBuf};
use docker_to_linux::bootloader::provide;
use docker_to_linux::build::{self, Files, Request, Source};
use docker_to_linux::engine::{self, Engine};
use docker_to_linux::error::Report;
use docker_to_linux::guest::RootLogin;
use docker_to_linux::model::Arch;
use docker_to_linux::plan::Partition;
use docker_to_linux::progress::{Bytes, Progress, Silent};
use docker_to_linux::recipe::{self, Found, Recipe};
use docker_to_linux::rootfs::oci::Config;
use docker_to_linux::rootfs::{Rootfs, tar};
use docker_to_linux::tool::Tool;
use docker_to_linux::vm::trouble::Failed;
use docker_to_linux::vm::{self, Login, Machine, Session, trouble};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The project's folder.
pub fn home() -> &'static Utf8Path {
    Utf8Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The engine and the container image of a recipe, or `None` (said aloud) where that or QEMU is
/// missing.
pub fn container(recipe: &str) -> Option<(Engine, String)> {
    if let Err(e) = Tool::QemuX86.require() {
        return skipped(&e.to_string());
    }
    let engine = match Engine::find(None) {
        Ok(engine) => engine,
        Err(e) => return skipped(&e.to_string()),
    };
    let tag = engine::tag(recipe, Arch::Amd64);
    if !engine.has_image(&tag) {
        return skipped(&format!(
            "there is no container image {tag}: cargo xtask image {recipe} makes it"
        ));
    }
    Some((engine, tag))
}

/// Root's password. What is typed into a guest never has it in one piece with its answer.
pub const PASSWORD: &str = "correct horse 7";

/// Lets root log in with [`PASSWORD`], from a file in `dir`.
pub fn root_by_password(dir: &Utf8Path) -> RootLogin {
    let file = dir.join("password");
    std::fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    RootLogin {
        password_file: Some(file),
        ..RootLogin::default()
    }
}

/// One of the project's recipes.
pub fn recipe(name: &str) -> Recipe {
    recipe::find(home().join("recipes").join(name).as_str())
        .unwrap()
        .recipe
}

/// A disk that a test made.
pub struct Disk {
    pub image: Utf8PathBuf,
    pub root: Partition,
    pub esp: Option<Partition>,
    pub volumes: Option<Partition>,
}

/// Makes a disk of a container, in `dir`, after `change` was at its files. The recipe's own files,
/// if it has any, are in `dir` as well. There may be no notes about the disk.
pub fn make(
    container: &(Engine, String),
    name: &str,
    recipe: Recipe,
    login: RootLogin,
    dir: &Utf8Path,
    change: impl FnOnce(&mut Rootfs),
) -> Disk {
    let (disk, mut notes) = make_with_notes(container, name, recipe, login, dir, change);
    // There is one for every image that allows a login with a password.
    notes.retain(|note| note != build::HAS_PASSWORDS);
    assert_eq!(notes, [""; 0]);
    disk
}

/// Like [`make`]; also returns the notes.
pub fn make_with_notes(
    container: &(Engine, String),
    name: &str,
    recipe: Recipe,
    login: RootLogin,
    dir: &Utf8Path,
    change: impl FnOnce(&mut Rootfs),
) -> (Disk, Vec<String>) {
    make_with(container, name, recipe, login, dir, With::default(), change)
}

/// What most disks are made without.
#[derive(Default)]
pub struct With {
    /// Configuration of the container image, whose command becomes a service.
    pub config: Option<Config>,
    /// The disk whose volumes are kept.
    pub volumes_of: Option<Utf8PathBuf>,
}

/// Like [`make_with_notes`].
pub fn make_with(
    (engine, container): &(Engine, String),
    name: &str,
    recipe: Recipe,
    login: RootLogin,
    dir: &Utf8Path,
    with: With,
    change: impl FnOnce(&mut Rootfs),
) -> (Disk, Vec<String>) {
    let cache = home().join("target/bootloader");
    provide::loaders(&provide::Wanted {
        boot: recipe.boot,
        arch: Arch::Amd64,
        dir: None,
        cache: &cache,
        engine: Some(engine),
        network: None,
        say: &|text| eprintln!("{text}"),
        show: &|_| (),
    })
    .unwrap();
    let stream = engine::export(engine, container).unwrap();
    let mut rootfs = tar::from_stream(stream, dir).unwrap();
    rootfs.set_epoch(engine.created(container).unwrap());
    change(&mut rootfs);
    let found = Found {
        name: name.into(),
        dir: dir.to_owned(),
        recipe,
    };
    let request = Request {
        source: Source::Rootfs(Box::new(rootfs), with.config),
        keep_volumes: with.volumes_of,
        login,
        bootloader_dir: Some(cache.join(Arch::Amd64.to_string())),
        files: Files {
            metadata: false,
            ..Files::default()
        },
        ..Request::new(found, dir)
    };
    let notes = Notes::default();
    let built = build::image(request, &notes).unwrap();
    let disk = &built.plan.disk;
    let made = Disk {
        image: built.files[0].clone(),
        root: disk.root().clone(),
        esp: disk.esp().cloned(),
        volumes: disk.volumes().cloned(),
    };
    (made, notes.0.into_inner().unwrap())
}

/// Remembers the notes about an image.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Progress for Notes {
    fn stage(&self, _: &str) {}
    fn note(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
    fn detail(&self, _: &str) {}
    fn bytes(&self, _: &str, _: Option<u64>) -> Box<dyn Bytes> {
        Box::new(Silent)
    }
}

/// Starts a machine, waits until one of the patterns appears on its console, and returns which.
pub fn up(machine: &Machine, image: &Utf8Path, patterns: &[&str]) -> (Session, usize) {
    let start = || {
        let tee = std::env::var_os("SHOW_CONSOLE").map(|_| Box::new(std::io::stderr()) as _);
        let mut session = Session::start(machine, image, &Default::default(), trouble::BOOT, tee)?;
        let deadline = soon(&session);
        let which = session.expect(patterns, deadline)?;
        Ok((session, which))
    };
    let by_emulator = |done: &Result<_, Report>| done.as_ref().is_err_and(vm::is_emulators_fault);
    let started = vm::retried(start, by_emulator);
    started.unwrap_or_else(|e| panic!("{}", told(&e))).0
}

/// An error with all that it knows: the console's last lines are its cause.
fn told(report: &Report) -> String {
    match Failed::of(report) {
        Some(failed) => format!("{report}\n{failed}"),
        None => report.to_string(),
    }
}

/// When even a loaded host that emulates should have done it.
pub fn soon(session: &Session) -> Instant {
    Instant::now() + Duration::from_secs(150) * session.accel().slowness()
}

/// Waits until one of the patterns appears on the console, and returns which.
#[track_caller]
pub fn expect(session: &mut Session, patterns: &[&str]) -> usize {
    let deadline = soon(session);
    session
        .expect(patterns, deadline)
        .unwrap_or_else(|e| panic!("{}", told(&e)))
}

/// Powers a machine off with its power button.
#[track_caller]
pub fn off(mut session: Session) {
    let deadline = soon(&session);
    assert!(session.power_off(deadline).unwrap(), "does not turn off");
}

/// A user who is logged in on the serial console.
pub struct Guest<'a>(Login<'a>);

impl Guest<'_> {
    /// Logs in at the prompt.
    #[track_caller]
    pub fn open<'a>(session: &'a mut Session, user: &str, password: &str) -> Guest<'a> {
        let deadline = soon(session);
        let login = Login::open(session, user, Some(password), deadline);
        Guest(login.unwrap_or_else(|e| panic!("{}", told(&e))))
    }

    /// Runs a command that must succeed; returns what it said.
    #[track_caller]
    pub fn run(&mut self, command: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(900);
        let out = self
            .0
            .run(command, deadline)
            .unwrap_or_else(|e| panic!("{command}: {}", told(&e)));
        eprintln!("# {command}\n{}", out.text);
        assert_eq!(out.status, 0, "{command}: {}", out.text);
        out.text
    }
}
