//! The machine as a folder, and the shells that run the program in it.

use super::*;

/// A file of the machine, or a link.
#[derive(Clone)]
pub(super) enum Thing {
    File(Vec<u8>),
    Link(&'static str),
}

/// A file of that many KiB.
pub(super) fn kib(kib: usize, seed: u32) -> Thing {
    File(common::pattern(seed, kib * 1024))
}

/// A machine: the model's data, and the folder that represents it.
pub(super) struct Machine {
    pub(super) model: BTreeMap<String, Thing>,
    pub(super) recipe: Recipe,
    pub(super) root: Utf8PathBuf,
    pub(super) _keep: tempfile::TempDir,
}

pub(super) fn recipe(boot_entry: BootEntryKind) -> Recipe {
    Recipe {
        boot: BootMode::Hybrid,
        boot_entry,
        kernel_arguments: vec!["quiet".into(), "it's=\"a $test\"".into()],
        ..Recipe::default()
    }
}

pub(super) fn outline(recipe: &Recipe) -> Outline {
    Outline::decide(&MachineFacts {
        name: NAME,
        arch: Arch::Amd64,
        recipe,
        digest: [7; 32],
        container: &ContainerFacts::default(),
    })
    .unwrap()
}

impl Machine {
    /// A new machine, with the boot loaders that the tool gives it.
    pub(super) fn new(things: &[(&str, Thing)]) -> Machine {
        Machine::of(BootEntryKind::Type1, things)
    }

    /// As [`Machine::new`], with that kind of entries.
    pub(super) fn of(kind: BootEntryKind, things: &[(&str, Thing)]) -> Machine {
        let (keep, root) = temp();
        let root = root.canonicalize_utf8().unwrap();
        let mut model: BTreeMap<String, Thing> = [
            ("/sbin/init", "elf"),
            ("/usr/sbin/update-initramfs", "sh"),
            ("/etc/os-release", "NAME=x\nPRETTY_NAME=\"Test & 1\"\n"),
        ]
        .into_iter()
        .map(|(path, text)| (path.to_owned(), File(text.into())))
        .collect();
        model.extend(things.iter().map(|(p, t)| ((*p).to_owned(), t.clone())));
        let machine = Machine {
            model,
            recipe: recipe(kind),
            root,
            _keep: keep,
        };
        let mut rootfs = machine.rootfs();
        let settings = guest::Settings {
            boot_update: outline(&machine.recipe).boot_update,
            ..guest::Settings::new(NAME, Arch::Amd64)
        };
        guest::prepare(&mut rootfs, &settings).unwrap();
        machine.unpack(&rootfs);
        for (path, bytes) in machine.wanted() {
            machine.put(&path, &bytes);
        }
        machine.fake("sync", "exit 0");
        // As large as the test says, of which the files take what they are long.
        machine.fake(
            "df",
            "[ \"$1\" = -Pk ] || exit 9\nused=$(( ($(find \"$2\" -type f -exec cat {} + | wc -c) + 1023) / 1024 ))\necho Filesystem\necho \"esp $ESP_KIB $used $((ESP_KIB - used)) 0% $2\"",
        );
        machine
    }

    pub(super) fn rootfs(&self) -> Rootfs {
        let mut tree = Tree::new(Meta::root(0o755, 0));
        // Links first: what lies behind a linked folder is put there.
        for (path, thing) in &self.model {
            if let Link(target) = thing {
                tree.symlink(path, target, 0).unwrap();
            }
        }
        for (path, thing) in &self.model {
            if let File(bytes) = thing {
                tree.write(path, bytes.clone(), 0o644, 0).unwrap();
            }
        }
        Rootfs {
            tree,
            stores: Stores::default(),
            epoch: 0,
            notes: Vec::new(),
        }
    }

    pub(super) fn unpack(&self, rootfs: &Rootfs) {
        let mut walk = rootfs.tree.walk();
        while let Some((path, id)) = walk.step() {
            let at = self.at(&path.to_string());
            match &rootfs.tree.node(id).kind {
                Kind::Dir(_) => fs_err::create_dir_all(at).unwrap(),
                Kind::Symlink(target) => symlink(target.to_string(), at).unwrap(),
                Kind::File(_) => {
                    let bytes = rootfs.read(&format!("/{path}"), 1 << 24).unwrap();
                    fs_err::write(at, bytes.unwrap()).unwrap();
                }
                other => panic!("{path}: {}", other.name()),
            }
        }
    }

    pub(super) fn at(&self, path: &str) -> Utf8PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    pub(super) fn put(&self, path: &str, bytes: &[u8]) {
        let at = self.at(path);
        fs_err::create_dir_all(at.parent().unwrap()).unwrap();
        fs_err::write(at, bytes).unwrap();
    }

    pub(super) fn text(&self, path: &str) -> String {
        fs_err::read_to_string(self.at(path)).unwrap()
    }

    /// A fake program of the machine.
    pub(super) fn fake(&self, name: &str, text: &str) {
        common::script(&self.at(&format!("/fake/{name}")), &format!("{text}\n"));
    }

    pub(super) fn add(&mut self, path: &str, thing: Thing) {
        let at = self.at(path);
        let _ = std::fs::remove_file(&at);
        match &thing {
            File(bytes) => self.put(path, bytes),
            Link(target) => symlink(target, at).unwrap(),
        }
        self.model.insert(path.into(), thing);
    }

    pub(super) fn remove(&mut self, path: &str) {
        fs_err::remove_file(self.at(path)).unwrap();
        self.model.remove(path).unwrap();
    }

    /// What the tool would put on the disk of this machine, but for its EFI programs.
    pub(super) fn wanted(&self) -> BTreeMap<String, Vec<u8>> {
        let rootfs = self.rootfs();
        let found = kernels::find(&rootfs, Arch::Amd64, BootMode::Hybrid)
            .unwrap()
            .kernels;
        let recipe = &self.recipe;
        let outline = outline(recipe);
        let entries = outline.entries("Test & 1", &found);
        let menu = extlinux_conf(&entries, Some((0, 115_200)));
        let links = extlinux_links(&entries);
        let facts = Facts {
            epoch: 0,
            entries,
            kernel_bytes: vec![1],
            systemd_boot_bytes: 1,
            stub_bytes: 0,
            os_release: Some("/etc/os-release".into()),
            need: ext4::Need::of(&rootfs.tree, &[]),
            volumes: None,
        };
        let plan = Plan::decide(&outline, recipe, facts).unwrap();
        let mut all = BTreeMap::from([(MENU.to_owned(), menu.into_bytes())]);
        for (name, target) in links {
            all.insert(format!("/boot/extlinux/{name}"), target.into_bytes());
        }
        for file in plan.esp.unwrap().files {
            let bytes = match &file.content {
                EspContent::Rootfs(path) => rootfs.read(path, 1 << 24).unwrap().unwrap(),
                EspContent::Text(text) => text.clone().into_bytes(),
                EspContent::SystemdBoot => b"EFI".to_vec(),
                EspContent::Uki(what) => unified(&rootfs, what),
            };
            all.insert(format!("/efi/{}", file.path), bytes);
        }
        all
    }

    /// What is there, of what the boot loaders read.
    pub(super) fn there(&self) -> BTreeMap<String, Vec<u8>> {
        let mut all = BTreeMap::new();
        let mut todo = vec![self.at("/efi"), self.at("/boot/extlinux")];
        while let Some(path) = todo.pop() {
            if path.is_dir() {
                let entries = path.read_dir_utf8().unwrap();
                todo.extend(entries.map(|e| e.unwrap().into_path()));
            } else {
                let name = path.as_str().strip_prefix(self.root.as_str()).unwrap();
                let bytes = match fs_err::read_link(&path) {
                    Ok(target) => target.into_os_string().into_encoded_bytes(),
                    Err(_) => fs_err::read(&path).unwrap(),
                };
                all.insert(name.to_owned(), bytes);
            }
        }
        all
    }

    pub(super) fn run_on(&self, shell: &Shell, esp_kib: u64) -> Output {
        Command::new(&shell.program[0])
            .args(&shell.program[1..])
            .arg(self.at(boot::PROGRAM))
            .env("UPDATE_BOOT_ROOT", &self.root)
            .env("ESP_KIB", esp_kib.to_string())
            .env("PATH", format!("{}:{}", self.at("/fake"), shell.path))
            .output()
            .unwrap()
    }

    /// Runs the program; it must be content. Returns what it said.
    #[track_caller]
    pub(super) fn run(&self, shell: &Shell, esp_kib: u64) -> String {
        let out = self.run_on(shell, esp_kib);
        let said = said(&out);
        assert!(
            out.status.success(),
            "{}: {}\n{said}",
            shell.name,
            out.status
        );
        said
    }

    /// The boot loaders are as the tool would make them; and one more run changes nothing.
    #[track_caller]
    pub(super) fn is_in_step(&self, shell: &Shell) {
        self.has_the_same(&self.wanted(), shell);
        assert_eq!(self.run(shell, ROOMY), "", "{}", shell.name);
        self.has_the_same(&self.wanted(), shell);
    }

    #[track_caller]
    pub(super) fn has_the_same(&self, wanted: &BTreeMap<String, Vec<u8>>, shell: &Shell) {
        let there = self.there();
        let names = |all: &BTreeMap<String, Vec<u8>>| all.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&there), names(wanted), "{}", shell.name);
        for (path, bytes) in wanted {
            let (a, b) = (&there[path], bytes);
            if a != b {
                let text = |b: &[u8]| String::from_utf8_lossy(&b[..b.len().min(2000)]).into_owned();
                assert_eq!(text(a), text(b), "{}: {path}", shell.name);
                panic!("{}: {path} differs", shell.name);
            }
        }
    }
}

/// The unified kernel image that the tool would make, with a stub that does nothing.
pub(super) fn unified(rootfs: &Rootfs, what: &plan::Uki) -> Vec<u8> {
    let read = |path: &str| rootfs.read(path, 1 << 24).unwrap().unwrap();
    let (linux, initrd) = (read(&what.linux), read(&what.initrd));
    let sections = uki::Sections {
        os_release: Content::Bytes(read(&what.os_release).into()),
        arguments: what.arguments.clone(),
        version: what.version.clone(),
        linux: Content::Bytes(linux.as_slice().into()),
        initrd: Content::Bytes(initrd.into()),
    };
    let parts = uki::parts(&common::efi_program(b"stub"), &linux, sections).unwrap();
    let mut bytes = Vec::new();
    for part in parts {
        match part {
            Content::Bytes(part) => bytes.extend_from_slice(&part),
            _ => panic!("a part that is not in memory"),
        }
    }
    bytes
}

/// A shell, with its own tools.
pub(super) struct Shell {
    pub(super) name: &'static str,
    pub(super) program: Vec<String>,
    pub(super) path: String,
    pub(super) _keep: Option<tempfile::TempDir>,
}

/// The host's /bin/sh, dash, and busybox with nothing but its own tools.
pub(super) fn shells() -> Vec<Shell> {
    let path = std::env::var("PATH").unwrap();
    let find = |name: &str| {
        let dirs = path.split(':');
        let found = dirs.map(|d| Utf8Path::new(d).join(name));
        found.into_iter().find(|p| p.is_file())
    };
    let shell = |name, program: &str| Shell {
        name,
        program: vec![program.into()],
        path: path.clone(),
        _keep: None,
    };
    let mut shells = vec![shell("sh", "/bin/sh")];
    let real = |path: &Utf8Path| path.canonicalize_utf8().ok();
    match find("dash") {
        Some(dash) if real(&dash) == real("/bin/sh".into()) => {}
        Some(dash) => shells.push(shell("dash", dash.as_str())),
        None => {
            let _: Option<()> = common::skipped("dash is not installed");
        }
    }
    if let Some(mut busybox) = common::checker(Tool::Busybox) {
        let (keep, dir) = temp();
        let installed = busybox.args(["--install", "-s", dir.as_str()]).status();
        assert!(installed.unwrap().success());
        shells.push(Shell {
            name: "busybox",
            program: vec![dir.join("sh").into()],
            path: dir.into(),
            _keep: Some(keep),
        });
    }
    shells
}
