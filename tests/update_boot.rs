//! The program that keeps a machine's boot loaders in sync with its kernels, run on a folder that
//! represents the machine. The result must be what the tool itself would write to the disk of such a
//! machine.

use crate::common::{self, said, skipped, temp};
use camino::{Utf8Path, Utf8PathBuf};
use docker_to_linux::bootloader::config::{extlinux_conf, extlinux_links};
use docker_to_linux::bootloader::uki;
use docker_to_linux::fs::ext4;
use docker_to_linux::guest::{self, boot};
use docker_to_linux::model::{Arch, BootEntryKind, BootMode};
use docker_to_linux::plan::{
    self, ContainerFacts, EspContent, Facts, MachineFacts, Outline, Plan, kernels,
};
use docker_to_linux::recipe::Recipe;
use docker_to_linux::rootfs::{Content, Kind, Meta, Rootfs, Stores, Tree};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::process::{Command, Output};

const NAME: &str = "box";
const MENU: &str = "/boot/extlinux/extlinux.conf";
/// Enough for everything that the tests put on an ESP, in KiB.
const ROOMY: u64 = 100_000;

/// A file of the machine, or a link.
#[derive(Clone)]
enum Thing {
    File(Vec<u8>),
    Link(&'static str),
}
use Thing::{File, Link};

/// A file of that many KiB.
fn kib(kib: usize, seed: u32) -> Thing {
    File(common::pattern(seed, kib * 1024))
}

/// A machine: the model's data, and the folder that represents it.
struct Machine {
    model: BTreeMap<String, Thing>,
    recipe: Recipe,
    root: Utf8PathBuf,
    _keep: tempfile::TempDir,
}

fn recipe(boot_entry: BootEntryKind) -> Recipe {
    Recipe {
        boot: BootMode::Hybrid,
        boot_entry,
        kernel_arguments: vec!["quiet".into(), "it's=\"a $test\"".into()],
        ..Recipe::default()
    }
}

fn outline(recipe: &Recipe) -> Outline {
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
    fn new(things: &[(&str, Thing)]) -> Machine {
        Machine::of(BootEntryKind::Type1, things)
    }

    /// As [`Machine::new`], with that kind of entries.
    fn of(kind: BootEntryKind, things: &[(&str, Thing)]) -> Machine {
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

    fn rootfs(&self) -> Rootfs {
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

    fn unpack(&self, rootfs: &Rootfs) {
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

    fn at(&self, path: &str) -> Utf8PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn put(&self, path: &str, bytes: &[u8]) {
        let at = self.at(path);
        fs_err::create_dir_all(at.parent().unwrap()).unwrap();
        fs_err::write(at, bytes).unwrap();
    }

    fn text(&self, path: &str) -> String {
        fs_err::read_to_string(self.at(path)).unwrap()
    }

    /// A fake program of the machine.
    fn fake(&self, name: &str, text: &str) {
        common::script(&self.at(&format!("/fake/{name}")), &format!("{text}\n"));
    }

    fn add(&mut self, path: &str, thing: Thing) {
        let at = self.at(path);
        let _ = std::fs::remove_file(&at);
        match &thing {
            File(bytes) => self.put(path, bytes),
            Link(target) => symlink(target, at).unwrap(),
        }
        self.model.insert(path.into(), thing);
    }

    fn remove(&mut self, path: &str) {
        fs_err::remove_file(self.at(path)).unwrap();
        self.model.remove(path).unwrap();
    }

    /// What the tool would put on the disk of this machine, but for its EFI programs.
    fn wanted(&self) -> BTreeMap<String, Vec<u8>> {
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
    fn there(&self) -> BTreeMap<String, Vec<u8>> {
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

    fn run_on(&self, shell: &Shell, esp_kib: u64) -> Output {
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
    fn run(&self, shell: &Shell, esp_kib: u64) -> String {
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
    fn is_in_step(&self, shell: &Shell) {
        self.has_the_same(&self.wanted(), shell);
        assert_eq!(self.run(shell, ROOMY), "", "{}", shell.name);
        self.has_the_same(&self.wanted(), shell);
    }

    #[track_caller]
    fn has_the_same(&self, wanted: &BTreeMap<String, Vec<u8>>, shell: &Shell) {
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
fn unified(rootfs: &Rootfs, what: &plan::Uki) -> Vec<u8> {
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
struct Shell {
    name: &'static str,
    program: Vec<String>,
    path: String,
    _keep: Option<tempfile::TempDir>,
}

/// The host's /bin/sh, dash, and busybox with nothing but its own tools.
fn shells() -> Vec<Shell> {
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
        None => common::say_skipped("dash is not installed"),
    }
    match find("busybox") {
        Some(busybox) => {
            let (keep, dir) = temp();
            let installed = Command::new(&busybox)
                .args(["--install", "-s", dir.as_str()])
                .status();
            assert!(installed.unwrap().success());
            shells.push(Shell {
                name: "busybox",
                program: vec![dir.join("sh").into()],
                path: dir.into(),
                _keep: Some(keep),
            });
        }
        None => common::say_skipped("busybox is not installed"),
    }
    shells
}

/// A machine of Debian's kind with these kernels, the last of which its links lead to.
fn debian(versions: &'static [&'static str]) -> Machine {
    let mut things = vec![(
        "/etc/kernel/postinst.d/initramfs-tools",
        File(b"sh".to_vec()),
    )];
    let names: Vec<(String, Thing)> = versions
        .iter()
        .zip(1..)
        .flat_map(|(v, n)| {
            [
                (format!("/boot/vmlinuz-{v}"), kib(40, n)),
                (format!("/boot/initrd.img-{v}"), kib(100, n + 100)),
                (format!("/usr/lib/modules/{v}/modules.dep"), kib(1, n)),
            ]
        })
        .collect();
    things.extend(names.iter().map(|(p, t)| (p.as_str(), t.clone())));
    let mut machine = Machine::new(&things);
    if let Some(newest) = versions.last() {
        link(&mut machine, newest);
        // The image is made after the links are.
        for (path, bytes) in machine.wanted() {
            machine.put(&path, &bytes);
        }
    }
    machine
}

/// Lets the links of the machine lead to that kernel.
fn link(machine: &mut Machine, version: &str) {
    let leak = |text: String| -> &'static str { text.leak() };
    machine.add("/vmlinuz", Link(leak(format!("boot/vmlinuz-{version}"))));
    machine.add(
        "/initrd.img",
        Link(leak(format!("boot/initrd.img-{version}"))),
    );
}

fn install(machine: &mut Machine, version: &str, seed: u32) {
    machine.add(&format!("/boot/vmlinuz-{version}"), kib(40, seed));
    machine.add(&format!("/boot/initrd.img-{version}"), kib(100, seed + 100));
    link(machine, version);
}

fn uninstall(machine: &mut Machine, version: &str) {
    machine.remove(&format!("/boot/vmlinuz-{version}"));
    machine.remove(&format!("/boot/initrd.img-{version}"));
}

#[test]
fn nothing_changes_on_a_new_machine() {
    for shell in &shells() {
        debian(&["6.1.0-9-amd64"]).is_in_step(shell);
        debian(&["6.9.1+deb13-amd64", "6.12.10-amd64"]).is_in_step(shell);
        // A flavour as a name, and a second name of the kernel next to its modules.
        Machine::new(&[
            ("/boot/vmlinuz-virt", kib(40, 1)),
            ("/boot/initramfs-virt", kib(100, 2)),
            ("/boot/boot", Link(".")),
            ("/lib/modules/6.18.2-0-virt/modules.dep", kib(1, 3)),
            (
                "/lib/modules/6.18.2-0-virt/vmlinuz",
                Link("../../../boot/vmlinuz-virt"),
            ),
        ])
        .is_in_step(shell);
        // Kernels next to their modules, with /lib a link.
        Machine::new(&[
            (
                "/usr/lib/modules/6.11.4-301.fc41.x86_64/vmlinuz",
                kib(40, 1),
            ),
            (
                "/usr/lib/modules/6.11.4-301.fc41.x86_64/initramfs.img",
                kib(100, 2),
            ),
            ("/lib", Link("usr/lib")),
        ])
        .is_in_step(shell);
        // Without a version, and with another that has no initrd.
        Machine::new(&[
            ("/boot/vmlinuz-linux", kib(40, 1)),
            ("/boot/initramfs-linux.img", kib(100, 2)),
            ("/boot/bzImage", kib(40, 3)),
            ("/boot/vmlinuz.old", kib(40, 4)),
        ])
        .is_in_step(shell);
    }
}

/// What the plan passes over is passed over here, too, and names get the same links.
#[test]
fn files_that_are_no_kernels_and_odd_names() {
    let bytes = |head: &[u8]| File([head, &common::pattern(9, 5000)].concat());
    let mut arm = common::efi_program(b"x");
    arm[68..70].copy_from_slice(&[0x64, 0xaa]);
    for shell in &shells() {
        let mut machine = debian(&["6.1"]);
        for (name, thing) in [
            ("vmlinux-6.1", bytes(b"\x7fELF\x02\x01")),
            ("vmlinuz-6.3", bytes(b"\x1f\x8b\x08")),
            ("vmlinuz-6.4", File(arm.clone())),
            ("vmlinuz-6.5", File(b"Not found\n".to_vec())),
            ("vmlinuz-6.6.old", kib(40, 6)),
            ("vmlinuz-6.7\nLABEL x", kib(40, 7)),
            ("vmlinuz-6.8|x", kib(40, 8)),
            // These are taken.
            ("vmlinuz-6.2 my, own", kib(40, 9)),
            ("vmlinuz-6.9", File(common::efi_program(b"x"))),
        ] {
            machine.add(&format!("/boot/{name}"), thing);
            if let Some(version) = name.strip_prefix("vmlinuz-") {
                machine.add(&format!("/boot/initrd.img-{version}"), kib(100, 1));
                machine.add(
                    &format!("/usr/lib/modules/{version}/modules.dep"),
                    kib(1, 1),
                );
            }
        }
        machine.run(shell, ROOMY);
        machine.is_in_step(shell);
        let menu = machine.text(MENU);
        let labels: Vec<&str> = menu
            .lines()
            .filter_map(|l| l.strip_prefix("LABEL "))
            .collect();
        assert_eq!(labels, ["box-6.9", "box-6.2-my--own", "box-6.1"]);
        assert!(menu.contains("LINUX /boot/extlinux/box-6.2-my--own.linux\n"));
        // Its links go with it.
        machine.remove("/boot/vmlinuz-6.2 my, own");
        machine.run(shell, ROOMY);
        machine.is_in_step(shell);
    }
}

#[test]
fn a_new_initrd_is_copied() {
    for shell in &shells() {
        let mut machine = debian(&["6.1", "6.2"]);
        machine.add("/boot/initrd.img-6.1", kib(101, 50));
        // A run that was cut off left something.
        machine.put("/efi/box/6.1/initrd.new", b"half");
        machine.put("/efi/loader/entries/box-6.1.conf.new", b"half");
        let said = machine.run(shell, ROOMY);
        assert_eq!(said, "update-boot: copied 6.1 to /efi: initrd\n");
        machine.is_in_step(shell);
    }
}

#[test]
fn kernels_come_and_go() {
    for shell in &shells() {
        let mut machine = debian(&["6.9"]);
        install(&mut machine, "6.10", 10);
        machine.run(shell, ROOMY);
        machine.is_in_step(shell);
        assert!(
            machine
                .text("/efi/loader/loader.conf")
                .contains("default box-6.10.conf")
        );
        assert!(machine.text(MENU).contains("DEFAULT box-6.10\n"));
        assert!(
            machine
                .text(MENU)
                .contains("LABEL box-6.10\n  LINUX /vmlinuz\n")
        );
        uninstall(&mut machine, "6.9");
        let said = machine.run(shell, ROOMY);
        assert!(said.contains("removed 6.9 from /efi"), "{said}");
        machine.is_in_step(shell);
        // The newest goes as well: the older one is the default again.
        install(&mut machine, "6.8", 11);
        machine.run(shell, ROOMY);
        machine.is_in_step(shell);
        uninstall(&mut machine, "6.10");
        machine.run(shell, ROOMY);
        machine.is_in_step(shell);
    }
}

/// The kernel of a machine with unified kernel images.
fn efi_kernel(seed: u32) -> Thing {
    File(common::efi_program(&common::pattern(seed, 40_000)))
}

#[test]
fn unified_kernel_images_stay_until_something_is_new() {
    for shell in &shells() {
        let mut machine = Machine::of(
            BootEntryKind::Uki,
            &[
                ("/boot/vmlinuz-6.9", efi_kernel(1)),
                ("/boot/initrd.img-6.9", kib(100, 2)),
                ("/boot/vmlinuz-6.10", efi_kernel(3)),
                ("/boot/initrd.img-6.10", kib(100, 4)),
            ],
        );
        let default = |m: &Machine| m.text("/efi/loader/loader.conf");
        let there = |m: &Machine, path: &str| m.at(path).exists();
        assert!(there(&machine, "/efi/EFI/Linux/box-6.9.efi"));
        assert!(default(&machine).contains("default box-6.10.efi\n"));
        machine.is_in_step(shell);
        // A new initrd: a separate entry replaces the image.
        machine.add("/boot/initrd.img-6.10", kib(100, 5));
        let said = machine.run(shell, ROOMY);
        assert!(
            said.contains("removed /efi/EFI/Linux/box-6.10.efi"),
            "{said}"
        );
        assert!(default(&machine).contains("default box-6.10.conf\n"));
        assert!(there(&machine, "/efi/box/6.10/initrd"));
        assert!(there(&machine, "/efi/EFI/Linux/box-6.9.efi"));
        assert_eq!(machine.run(shell, ROOMY), "", "{}", shell.name);
        // The new one goes: the image of the old one is what starts.
        uninstall(&mut machine, "6.10");
        machine.run(shell, ROOMY);
        assert!(default(&machine).contains("default box-6.9.efi\n"));
        assert!(!there(&machine, "/efi/box/6.10"));
        // A new kernel is there before the old one's image goes.
        machine.add("/boot/vmlinuz-6.11", efi_kernel(6));
        machine.add("/boot/initrd.img-6.11", kib(100, 7));
        uninstall(&mut machine, "6.9");
        let said = machine.run(shell, ROOMY);
        assert!(said.contains("removed 6.9 from /efi"), "{said}");
        assert!(!there(&machine, "/efi/EFI/Linux/box-6.9.efi"));
        assert!(default(&machine).contains("default box-6.11.conf\n"));
        assert_eq!(machine.run(shell, ROOMY), "", "{}", shell.name);
    }
}

#[test]
fn an_old_unified_kernel_image_makes_room() {
    for shell in &shells() {
        let mut machine = Machine::of(
            BootEntryKind::Uki,
            &[
                ("/boot/vmlinuz-6.9", efi_kernel(1)),
                ("/boot/initrd.img-6.9", kib(100, 2)),
            ],
        );
        machine.add("/boot/vmlinuz-6.10", efi_kernel(3));
        machine.add("/boot/initrd.img-6.10", kib(100, 4));
        // Not both fit, and the last one that can be started never goes.
        let said = common::said(&machine.run_on(shell, 400));
        assert!(said.contains("no room on /efi for 6.10"), "{said}");
        assert!(machine.at("/efi/EFI/Linux/box-6.9.efi").exists());
        assert!(
            machine
                .text("/efi/loader/loader.conf")
                .contains("default box-6.9.efi\n")
        );
    }
}

#[test]
fn without_a_kernel_everything_stays() {
    for shell in &shells() {
        let mut machine = debian(&["6.1"]);
        let before = machine.there();
        uninstall(&mut machine, "6.1");
        let said = machine.run(shell, ROOMY);
        assert!(said.contains("no kernel"), "{said}");
        machine.has_the_same(&before, shell);
    }
}

/// What a kernel needs on the ESP, including the program's reserve.
const PAIR: u64 = 140;
const SLACK: u64 = 270;

#[test]
fn an_old_kernel_makes_room_for_a_new_one() {
    for shell in &shells() {
        let mut machine = debian(&["6.1", "6.2"]);
        let before = machine.there();
        install(&mut machine, "6.3", 20);
        let said = machine.run(shell, 2 * PAIR + SLACK);
        assert!(said.contains("removed 6.1"), "{said}");
        assert!(said.contains("no room on /efi for 6.1"), "{said}");
        // All but the oldest is as it should be.
        let mut wanted = machine.wanted();
        wanted.retain(|path, _| !path.contains("6.1"));
        machine.has_the_same(&wanted, shell);
        assert_ne!(before, wanted);
        // And once there is room, the oldest comes back.
        machine.run(shell, ROOMY);
        machine.is_in_step(shell);
    }
}

#[test]
fn the_last_kernel_never_goes() {
    for shell in &shells() {
        let mut machine = debian(&["6.1"]);
        let before = machine.there();
        install(&mut machine, "6.2", 30);
        // Whether the old one is still installed or not.
        for step in 0..2 {
            let out = machine.run_on(shell, PAIR + SLACK);
            let said = said(&out);
            assert_eq!(out.status.code(), Some(1), "{said}");
            assert!(said.contains("no room on /efi for 6.2"), "{said}");
            let mut there = machine.there();
            there.insert(MENU.into(), before[MENU].clone());
            assert_eq!(
                there.keys().collect::<Vec<_>>(),
                before.keys().collect::<Vec<_>>()
            );
            assert!(there == before, "{}: step {step}: {said}", shell.name);
            if step == 0 {
                uninstall(&mut machine, "6.1");
            }
        }
        machine.run(shell, ROOMY);
        machine.is_in_step(shell);
    }
}

#[test]
fn its_own_old_copy_makes_room_while_another_starts() {
    for shell in &shells() {
        let mut machine = debian(&["6.1", "6.2"]);
        machine.add("/boot/initrd.img-6.1", kib(100, 40));
        machine.add("/boot/initrd.img-6.2", kib(100, 41));
        let said = machine.run(shell, 2 * PAIR + SLACK);
        assert!(said.contains("removed 6.1"), "{said}");
        machine.is_in_step(shell);
        // The older of two, which cannot both be there.
        machine.add("/boot/initrd.img-6.1", kib(100, 42));
        machine.run(shell, 2 * PAIR + SLACK);
        machine.is_in_step(shell);
    }
}

#[test]
fn half_an_initrd_is_not_taken() {
    for shell in &shells() {
        let mut machine = debian(&["6.1", "6.2"]);
        let mut packed = Vec::new();
        let mut gz = flate2::GzBuilder::new().write(&mut packed, flate2::Compression::fast());
        std::io::Write::write_all(&mut gz, &common::pattern(5, 50_000)).unwrap();
        gz.finish().unwrap();
        machine.add("/boot/initrd.img-6.2", File(packed.clone()));
        machine.run(shell, ROOMY);
        machine.is_in_step(shell);
        let before = machine.there();
        machine.add("/boot/initrd.img-6.2", File(packed[..30_000].to_vec()));
        let out = machine.run_on(shell, ROOMY);
        assert_eq!(out.status.code(), Some(1));
        assert!(said(&out).contains("/boot/initrd.img-6.2 is damaged"));
        machine.has_the_same(&before, shell);
    }
}

#[test]
fn what_others_wrote_stays() {
    for shell in &shells() {
        let mut machine = debian(&["6.1"]);
        // Another system's, one whose name begins as ours, and a hand-made entry.
        let others = [
            ("/efi/loader/entries/abc-6.1.conf", "linux /abc/6.1/linux\n"),
            ("/efi/abc/6.1/linux", "kernel"),
            (
                "/efi/loader/entries/box-two-6.1.conf",
                "linux /box-two/6.1/linux\n",
            ),
            ("/efi/loader/entries/box-rescue.conf", "efi /rescue.efi\n"),
            (
                "/efi/loader/loader.conf",
                "timeout 9\ndefault @saved\neditor no\n",
            ),
            (MENU, "MENU TITLE mine\n"),
        ];
        for (path, text) in others {
            machine.put(path, text.as_bytes());
        }
        install(&mut machine, "6.2", 60);
        uninstall(&mut machine, "6.1");
        let said = machine.run(shell, ROOMY);
        assert!(said.contains("another default"), "{said}");
        assert!(said.contains("left as it is"), "{said}");
        for (path, text) in others {
            assert_eq!(machine.text(path), text, "{}: {path}", shell.name);
        }
        assert!(machine.at("/efi/box/6.2/initrd").is_file());
        assert!(!machine.at("/efi/box/6.1").exists());
    }
}

#[test]
fn settings_of_the_loaders_stay() {
    for shell in &shells() {
        let mut machine = debian(&["6.1"]);
        machine.put(
            "/efi/loader/loader.conf",
            b"timeout 9\ndefault box-6.1.conf\neditor no\n",
        );
        let menu = machine.text(MENU).replace("TIMEOUT 20", "TIMEOUT 99");
        machine.put(MENU, menu.as_bytes());
        let settings = machine.text(boot::SETTINGS)
            + "title='Rock '\\''n'\\'' roll'\narguments=\"$arguments extra\"\n";
        machine.put(boot::SETTINGS, settings.as_bytes());
        install(&mut machine, "6.2", 60);
        machine.run(shell, ROOMY);
        assert_eq!(
            machine.text("/efi/loader/loader.conf"),
            "timeout 9\ndefault box-6.2.conf\neditor no\n"
        );
        assert!(
            machine
                .text(MENU)
                .contains("TIMEOUT 99\nSAY Booting Rock 'n' roll (6.2);")
        );
        for v in ["6.1", "6.2"] {
            let entry = machine.text(&format!("/efi/loader/entries/box-{v}.conf"));
            assert!(
                entry.contains(&format!("title Rock 'n' roll ({v})\n")),
                "{entry}"
            );
            assert!(entry.contains("it's=\"a $test\""), "{entry}");
            assert!(entry.contains("extra\narchitecture"), "{entry}");
        }
        // A loader.conf that is gone is made.
        fs_err::remove_file(machine.at("/efi/loader/loader.conf")).unwrap();
        machine.run(shell, ROOMY);
        assert!(
            machine
                .text("/efi/loader/loader.conf")
                .contains("default box-6.2.conf")
        );
    }
}

#[test]
fn a_machine_without_its_esp_gets_its_menu() {
    for shell in &shells() {
        let mut machine = debian(&["6.1"]);
        fs_err::remove_dir_all(machine.at("/efi")).unwrap();
        install(&mut machine, "6.2", 60);
        machine.run(shell, ROOMY);
        assert!(!machine.at("/efi").exists());
        assert!(machine.text(MENU).contains("DEFAULT box-6.2\n"));
    }
}

/// Versions as kernels have them, and worse, but without numbers such as 07: no kernel has
/// them, and the plan and the program order them differently.
fn versions() -> impl Strategy<Value = Vec<String>> {
    let one = prop_oneof![
        "[1-9]\\.(0|[1-9][0-9]?)(\\.(0|[1-9][0-9]{0,2}))?(-(0|[1-9][0-9]?))?(-amd64|-cloud-amd64|-virt|-rc[1-9])?",
        "[1-9][0-9]?([.+~^_-](0|[1-9][0-9]{0,2}|[a-z]{1,3}[1-9]?)){0,4}",
    ];
    proptest::collection::vec(one, 1..8).prop_map(|mut all| {
        // Versions that map to the same file name cannot share an ESP.
        let mut names = std::collections::BTreeSet::new();
        all.retain(|v| names.insert(v.replace(['~', '^'], "-")));
        all
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// The order of versions, which initrd belongs to which kernel, names of files: all as the
    /// plan has it.
    #[test]
    fn finds_what_the_plan_finds(names in versions(), links in any::<bool>()) {
        for shell in &shells() {
            let mut machine = debian(&["5.0"]);
            for (v, n) in names.iter().zip(1000..) {
                // Without a folder of modules for some, and one without an initrd.
                machine.add(&format!("/boot/vmlinuz-{v}"), kib(1, n));
                if n % 5 != 4 {
                    machine.add(&format!("/boot/initrd.img-{v}"), kib(1, n + 1));
                }
                if n % 3 != 0 {
                    machine.add(&format!("/usr/lib/modules/{v}/modules.dep"), kib(1, n + 2));
                }
                if links {
                    link(&mut machine, v);
                }
            }
            machine.run(shell, ROOMY);
            machine.is_in_step(shell);
        }
    }
}

#[test]
fn shellcheck_finds_nothing() {
    let Some(mut shellcheck) = optional("shellcheck") else {
        return;
    };
    let dir = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("src/guest/files");
    let files = dir.read_dir_utf8().unwrap().map(|f| f.unwrap().into_path());
    let scripts: Vec<_> = files.filter(|f| f.extension() == Some("sh")).collect();
    assert!(scripts.len() >= 3);
    common::content(shellcheck.args(["--shell=sh"]).args(scripts));
}

/// A program that most hosts do not have, CI among them.
fn optional(name: &str) -> Option<Command> {
    match Command::new(name).arg("--version").output() {
        Ok(_) => Some(Command::new(name)),
        Err(_) if std::env::var_os("CI").is_some() => {
            common::say_skipped(&format!("{name} is not installed"));
            None
        }
        Err(_) => skipped(&format!("{name} is not installed")),
    }
}
