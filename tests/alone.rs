//! The program without its checkout, as it is downloaded: in an empty folder, with nothing but its
//! own file.

use crate::common::oci::{Layout, Squeeze, tar_of};
use crate::common::{Place, content, dir, file, is_root, names, said, skipped};
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::json;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

/// A user with an empty home and an empty folder.
struct Alone {
    place: Place,
    /// The program under its released name.
    program: Utf8PathBuf,
}

impl Alone {
    fn new() -> Alone {
        let place = Place::bare();
        let program = place.dir.join("docker-to-linux");
        // A child copies it, so that no other test's child has it open for writing.
        let mut copy = Command::new("cp");
        copy.args([env!("CARGO_BIN_EXE_docker-to-linux"), program.as_str()]);
        assert!(copy.status().unwrap().success());
        for folder in ["home", "empty"] {
            fs_err::create_dir(place.dir.join(folder)).unwrap();
        }
        Alone { place, program }
    }

    fn folder(&self) -> Utf8PathBuf {
        self.place.dir.join("empty")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(words)
            .current_dir(self.folder())
            .env_clear()
            .env("HOME", self.place.dir.join("home"))
            // The checkout in which it was compiled exists here, but not where it is downloaded to.
            .env("DOCKER_TO_LINUX_HOME", "/nonexistent")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    fn output(&self, words: &[&str]) -> String {
        let out = self.run(words);
        assert!(out.status.success(), "{words:?}: {}", said(&out));
        String::from_utf8(out.stdout).unwrap()
    }
}

#[test]
fn its_recipes_are_inside() {
    let alone = Alone::new();
    let list = alone.output(&["list"]);
    for recipe in ["alpine", "debian", "ubuntu"] {
        assert!(list.contains(recipe), "{list}");
    }
    assert!(names(&alone.folder()).is_empty());
    let cache = alone.place.dir.join("home/.cache/docker-to-linux");
    assert_eq!(names(&cache), ["recipes"]);
    // One of the user's own wins.
    let own = alone.folder().join("recipes/debian");
    fs_err::create_dir_all(&own).unwrap();
    fs_err::write(own.join("recipe.yaml"), "description: mine alone\n").unwrap();
    assert!(alone.output(&["list"]).contains("mine alone"));
}

#[test]
fn it_is_called_as_the_user_calls_it() {
    let alone = Alone::new();
    let help = alone.output(&["image", "--help"]);
    assert!(help.contains("Usage: docker-to-linux image"), "{help}");
    assert!(!help.contains("cargo xtask"), "{help}");
    assert!(help.contains("[default: .]"), "{help}");
    let out = alone.run(&["image", "./nothing"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(!said(&out).contains("cargo xtask"), "{}", said(&out));
    let version = alone.output(&["--version"]);
    let number = env!("CARGO_PKG_VERSION");
    assert!(
        version.starts_with(&format!("docker-to-linux {number}")),
        "{version}"
    );
}

#[test]
fn nobody_has_no_home() {
    let alone = Alone::new();
    let mut command = alone.command(&["list"]);
    let out = command.env("HOME", "/nonexistent").output().unwrap();
    assert!(out.status.success(), "{}", said(&out));
    assert_eq!(names(&alone.folder()), [".docker-to-linux"]);
}

#[test]
fn a_recipe_to_start_from() {
    let alone = Alone::new();
    for (name, like) in [("web", "debian"), ("small", "alpine")] {
        alone.output(&["recipe", "new", name, "--like", like]);
        let dir = alone.folder().join(name);
        let text = fs_err::read_to_string(dir.join("recipe.yaml")).unwrap();
        assert!(
            text.starts_with("# yaml-language-server: $schema=./recipe.schema.json\n"),
            "{text}"
        );
        let recipe = docker_to_linux::recipe::parse(&text, "recipe.yaml").unwrap();
        let model = fs_err::read_to_string(
            docker_to_linux::recipe::home().join(format!("recipes/{like}/recipe.yaml")),
        );
        let model = docker_to_linux::recipe::parse(&model.unwrap(), "recipe.yaml").unwrap();
        assert_eq!(recipe.base, model.base);
        assert_eq!(recipe.kernel_arguments, model.kernel_arguments);
        assert_eq!(recipe.architectures, model.architectures);
        assert!(recipe.serves.is_empty());
        // What the examples in it say must be right as well.
        let examples = text.replace("\n#", "\n");
        let examples = examples.split_once("Examples:\n").unwrap().1;
        docker_to_linux::recipe::parse(examples, "recipe.yaml").unwrap();
        assert!(dir.join("Dockerfile").is_file());
        assert!(dir.join("recipe.schema.json").is_file());
    }
    assert!(alone.folder().join("small/build/mdev.initd").is_file());
    assert_eq!(names(&alone.folder()), ["small", "web"]);
    let out = alone.run(&["recipe", "new", "web"]);
    assert_eq!(out.status.code(), Some(1), "{}", said(&out));
    assert_eq!(names(&alone.folder()), ["small", "web"]);
    let out = alone.run(&["recipe", "new", "../web"]);
    assert_eq!(out.status.code(), Some(2), "{}", said(&out));
}

#[test]
fn shells_and_man_understand_it() {
    let alone = Alone::new();
    for shell in ["bash", "zsh", "fish"] {
        let text = alone.output(&["completions", shell]);
        assert!(text.contains("docker-to-linux"), "{text}");
        let file = alone.place.dir.join(shell);
        fs_err::write(&file, text).unwrap();
        if shell == "bash" {
            let complete = "source \"$0\" && COMP_WORDS=(docker-to-linux ima) COMP_CWORD=1 \
                            && _docker__to__linux docker-to-linux ima '' \
                            && echo \"${COMPREPLY[@]}\"";
            let mut bash = Command::new("bash");
            let out = bash
                .args(["--norc", "-c", complete, file.as_str()])
                .output()
                .unwrap();
            assert_eq!(
                String::from_utf8_lossy(&out.stdout).trim(),
                "image",
                "{}",
                said(&out)
            );
        }
    }
    alone.output(&["man", "pages"]);
    let pages = names(&alone.folder().join("pages"));
    for page in [
        "docker-to-linux.1",
        "docker-to-linux-image.1",
        "docker-to-linux-boot.1",
    ] {
        assert!(pages.iter().any(|name| name == page), "{pages:?}");
    }
    let page =
        fs_err::read_to_string(alone.folder().join("pages/docker-to-linux-image.1")).unwrap();
    assert!(!page.contains("cargo xtask"), "{page}");
}

/// A program that needs no library, and says with which arguments it was started.
fn static_program(dir: &Utf8Path) -> Vec<u8> {
    let source = dir.join("app.rs");
    let text = "fn main() {
    println!(\"alone: {:?}\", std::env::args().collect::<Vec<_>>());
    loop { std::thread::park(); }
}";
    fs_err::write(&source, text).unwrap();
    let program = dir.join("app");
    content(
        Command::new("rustc")
            .args([
                "-C",
                "target-feature=+crt-static",
                "-C",
                "strip=symbols",
                "-o",
            ])
            .args([&program, &source]),
    );
    fs_err::read(program).unwrap()
}

/// All files below a folder, as one text.
fn all_text(dir: &Utf8Path) -> String {
    let mut text = String::new();
    for entry in dir.read_dir_utf8().into_iter().flatten() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            text += &all_text(entry.path());
        } else {
            text += &String::from_utf8_lossy(&fs_err::read(entry.path()).unwrap());
        }
    }
    text
}

/// From an OCI layout to a booted machine: as `nobody`, without an engine, and with no program but
/// QEMU.
#[test]
#[ignore = "builds a machine with a container engine and boots an image"]
fn boots_from_a_layout() {
    if !is_root() {
        return skipped("running as another user takes root").unwrap_or_default();
    }
    let alone = Alone::new();
    let place = &alone.place;
    // Somebody with an engine makes a machine once, and hands it on.
    let file_of_machine = place.dir.join("alpine.oci.tar.zst");
    for words in [
        &["machine", "build", "alpine"][..],
        &["machine", "export", "alpine", file_of_machine.as_str()],
    ] {
        let mut engine = Command::new(&alone.program);
        engine.args(words).current_dir(&place.tmp);
        engine
            .env_remove("CARGO_MANIFEST_DIR")
            .env("XDG_CACHE_HOME", &place.tmp);
        content(&mut engine);
    }
    let layout = Layout::new(&alone.folder().join("app"));
    let program = static_program(&place.tmp);
    let tree = [dir("srv"), file("srv/app", program).mode(0o755)];
    let config = json!({"Entrypoint": ["/srv/app"], "Cmd": ["one", "two words"], "User": "1234"});
    let mut manifest = layout.image("amd64", &[(tar_of(&tree), Squeeze::No)], &config);
    manifest["annotations"] = json!({"org.opencontainers.image.ref.name": "v1"});
    layout.index(&[manifest]);
    let only_qemu = place.dir.join("path");
    fs_err::create_dir(&only_qemu).unwrap();
    let qemu = "qemu-system-x86_64";
    let real = content(Command::new("sh").args(["-c", &format!("command -v {qemu}")]));
    fs_err::os::unix::fs::symlink(real.trim(), only_qemu.join(qemu)).unwrap();
    content(Command::new("chown").args(["-R", "65534:65534", place.dir.as_str()]));
    let run = |words: &[&str], path: &str| {
        let mut command = alone.command(words);
        command.env("PATH", path).uid(65534).gid(65534);
        let out = command.output().unwrap();
        assert!(out.status.success(), "{words:?}: {}", said(&out));
    };
    let nowhere = place.dir.join("nowhere");
    run(
        &["machine", "import", file_of_machine.as_str()],
        nowhere.as_str(),
    );
    run(&["image", "--container", "oci:app:v1"], nowhere.as_str());
    run(
        &["smoke", "app.img", "--timeout", "300"],
        only_qemu.as_str(),
    );
    let evidence = all_text(&place.dir.join("home/.local/state/docker-to-linux/smoke"));
    assert!(
        evidence.contains(r#"alone: ["/srv/app", "one", "two words"]"#),
        "{evidence}"
    );
}
