//! The GitHub Action: its outputs and logs with the program alone, and real workflows that `act` runs
//! on this machine (ignored unless `ci` asks for them).

mod act;

use crate::common::github::{GitHub, REPOSITORY, TOKEN};
use crate::common::{self, Place};
use camino::{Utf8Path, Utf8PathBuf};
use docker_to_linux::recipe;
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::{Command, Output};

/// What a run sent to the runner.
struct Told {
    out: Output,
    outputs: BTreeMap<String, String>,
    summary: String,
    /// Everything in the log.
    log: String,
}

/// A repository of a user's.
fn place() -> Option<Place> {
    let place = Place::new()?;
    fs_err::remove_dir_all(place.dir.join("box")).unwrap();
    place.recipe("machine", "root: {free: 16M}\n");
    Some(place)
}

impl Place {
    /// The action with these inputs, as a runner would start it.
    fn action(&self, inputs: &[(&str, &str)], env: &[(&str, &str)]) -> Told {
        let (output, summary) = (self.dir.join(".output"), self.dir.join(".summary"));
        for file in [&output, &summary] {
            fs_err::write(file, "").unwrap();
        }
        let given: BTreeMap<&str, &str> = inputs.iter().copied().collect();
        let mut command = self.xtask(&["action"]);
        command
            .env("GITHUB_OUTPUT", &output)
            .env("GITHUB_STEP_SUMMARY", &summary)
            .env("GITHUB_WORKSPACE", &self.dir)
            .env("INPUTS", serde_json::json!(given).to_string());
        for (name, value) in inputs {
            let name = name.to_uppercase().replace('-', "_");
            command.env(format!("INPUT_{name}"), value);
        }
        command.envs(env.iter().copied());
        let out = command.output().unwrap();
        Told {
            log: common::said(&out),
            outputs: outputs(&fs_err::read_to_string(output).unwrap()),
            summary: fs_err::read_to_string(summary).unwrap(),
            out,
        }
    }

    /// The `args` for building an image without a container engine.
    fn words_for_tar(&self) -> String {
        format!(
            "--from {} --bootloader-dir {}",
            self.dir.join("good.tar"),
            self.dir.join("bootloader")
        )
    }
}

/// Reads a file of outputs as the runner does.
fn outputs(text: &str) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let (name, end) = line.split_once("<<").unwrap();
        let value: Vec<&str> = lines.by_ref().take_while(|l| *l != end).collect();
        all.insert(name.to_owned(), value.join("\n"));
    }
    all
}

#[test]
fn every_output_is_given_and_true() {
    let Some(place) = place() else { return };
    let told = place.action(
        &[
            ("recipe", "./machine"),
            ("format", "raw,qcow2"),
            ("smoke", "false"),
            ("output", "out"),
            ("args", &place.words_for_tar()),
        ],
        &[],
    );
    assert!(told.out.status.success(), "{}", told.log);
    let image = place.dir.join("out/machine.img");
    let images: Vec<String> = serde_json::from_str(&told.outputs["images"]).unwrap();
    assert_eq!(images, ["out/machine.img", "out/machine.qcow2"]);
    assert_eq!(told.outputs["image"], "out/machine.img");
    assert_eq!(told.outputs["sha256"], common::sha256(&image));
    assert_eq!(told.outputs["verdict"], "skipped");
    assert_eq!(told.outputs["boot-seconds"], "");
    assert_eq!(told.outputs["release-url"], "");
    assert!(
        told.summary.contains(&told.outputs["sha256"]),
        "{}",
        told.summary
    );
    // Every output of action.yml is one that was written.
    let action = fs_err::read_to_string(recipe::home().join("action.yml")).unwrap();
    let action: serde_yaml::Value = serde_yaml::from_str(&action).unwrap();
    for (name, about) in action["outputs"].as_mapping().unwrap() {
        let name = name.as_str().unwrap();
        assert!(told.outputs.contains_key(name), "{name}");
        let value = format!("${{{{ steps.run.outputs.{name} }}}}");
        assert_eq!(about["value"], *value);
    }
    // What a build prints between these two cannot be a command.
    let stop = told
        .log
        .lines()
        .find_map(|l| l.strip_prefix("::stop-commands::"));
    let resume = format!("::{}::", stop.unwrap());
    assert!(told.log.lines().any(|l| l == resume), "{}", told.log);
}

#[test]
fn wrong_inputs_are_annotations() {
    let Some(place) = place() else { return };
    let told = place.action(
        &[
            ("recipe", "./machine"),
            ("smoke", "yes"),
            ("comprss", "zstd"),
        ],
        &[],
    );
    assert_eq!(told.out.status.code(), Some(2), "{}", told.log);
    let errors: Vec<&str> = told
        .log
        .lines()
        .filter(|l| l.starts_with("::error "))
        .collect();
    assert_eq!(errors.len(), 2, "{}", told.log);
    assert!(
        errors[0].contains("did you mean `compress`?"),
        "{}",
        errors[0]
    );
    assert!(errors[1].contains("did you mean `true`?"), "{}", errors[1]);
    assert_eq!(told.outputs["verdict"], "error");
    assert!(told.summary.contains("did you mean"), "{}", told.summary);

    place.write("machine/recipe.yaml", "root: {free: 16M}\nsiez: 4G\n");
    let told = place.action(&[("recipe", "./machine"), ("smoke", "false")], &[]);
    assert_eq!(told.out.status.code(), Some(2), "{}", told.log);
    let at = "::error file=machine/recipe.yaml,line=2,col=1,title=";
    assert!(told.log.lines().any(|l| l.starts_with(at)), "{}", told.log);

    let told = place.action(&[("recipe", "./machine"), ("boot", "bois")], &[]);
    assert_eq!(told.out.status.code(), Some(2), "{}", told.log);
    assert!(told.log.contains("'bios'"), "{}", told.log);
}

#[test]
fn inputs_are_taken_literally() {
    let Some(place) = place() else { return };
    let name = "it's a \"machine\"; $(touch pwned) `touch pwned` & $HOME";
    place.write(
        &format!("{name}/recipe.yaml"),
        "name: box\nroot: {free: 16M}\n",
    );
    let output = "out; touch pwned\n$(touch pwned)";
    let told = place.action(
        &[
            ("recipe", &format!("./{name}")),
            ("smoke", "false"),
            ("output", output),
            ("args", &place.words_for_tar()),
        ],
        &[],
    );
    assert!(told.out.status.success(), "{}", told.log);
    assert_eq!(told.outputs["image"], format!("{output}/box.img"));
    assert!(place.dir.join(output).join("box.img").is_file());
    assert!(!place.dir.join("pwned").exists());
}

#[test]
fn an_image_is_published_and_the_token_is_nowhere() {
    let Some(place) = place() else { return };
    let github = GitHub::start();
    let inputs = [
        ("recipe", "./machine"),
        ("smoke", "false"),
        ("release-tag", "v1.0"),
        ("token", TOKEN),
        ("output", "out"),
        ("args", &place.words_for_tar()),
    ];
    let env = [
        ("GITHUB_API_URL", github.url.as_str()),
        ("GITHUB_REPOSITORY", REPOSITORY),
        ("GITHUB_SHA", "0123"),
    ];
    for _ in 0..2 {
        let told = place.action(&inputs, &env);
        assert!(told.out.status.success(), "{}", told.log);
        for text in [&told.log, &told.summary, &format!("{:?}", told.outputs)] {
            assert!(!text.contains(TOKEN), "{text}");
        }
        let state = github.state();
        assert_eq!(told.outputs["release-url"], state.release()["html_url"]);
        let assets = state.by_name();
        let image = fs_err::read(place.dir.join("out/machine.img")).unwrap();
        assert!(assets["machine.img"] == image);
        assert!(assets.contains_key("SHA256SUMS"));
    }
    let mut inputs = inputs;
    inputs[3].1 = "ghs_not-this-one";
    let told = place.action(&inputs, &env);
    assert_eq!(told.out.status.code(), Some(2), "{}", told.log);
    assert!(told.log.contains("401"), "{}", told.log);
    assert!(!told.log.contains("ghs_not-this-one"), "{}", told.log);
}

#[test]
fn a_new_folder_is_in_the_matrix_without_another_edit() {
    let (_temp, dir) = common::temp();
    let list = || {
        let mut list = common::xtask();
        let list = list.args(["list", "--json", "--matrix"]).current_dir(&dir);
        let matrix: Value = serde_json::from_str(&common::content(list)).unwrap();
        let cells = matrix["include"].as_array().unwrap().clone();
        cells
            .into_iter()
            .map(|c| c["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let before = list();
    assert!(
        before.contains(&"debian-hybrid-amd64".to_owned()),
        "{before:?}"
    );
    fs_err::create_dir_all(dir.join("recipes/brand-new")).unwrap();
    fs_err::write(dir.join("recipes/brand-new/recipe.yaml"), "boot: uefi\n").unwrap();
    let new: Vec<String> = list()
        .into_iter()
        .filter(|id| !before.contains(id))
        .collect();
    assert_eq!(new, ["brand-new-uefi-amd64"]);
}

/// Runs `.ci/action find` for an action that a workflow uses at this ref, in a copy of the project's
/// folder. Returns its output and its result.
fn find(home: &Utf8Path, server: &str, action: &str) -> (Output, BTreeMap<String, String>) {
    let output = home.join("output");
    fs_err::write(&output, "").unwrap();
    let out = Command::new(recipe::home().join(".ci/action"))
        .arg("find")
        .env("DOCKER_TO_LINUX_HOME", home)
        .env("GITHUB_OUTPUT", &output)
        .env("GITHUB_SERVER_URL", server)
        .env("ACTION_REPOSITORY", "org/docker-to-linux")
        .env("ACTION_REF", action)
        .output()
        .unwrap();
    let text = fs_err::read_to_string(output).unwrap();
    let pairs = text.lines().filter_map(|l| l.split_once('='));
    let pairs = pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    (out, pairs)
}

#[test]
fn a_prebuilt_program_is_taken_at_a_tag_and_only_with_its_checksum() {
    let (_temp, dir) = common::temp();
    let home = dir.join("home");
    fs_err::create_dir_all(home.join("xtask")).unwrap();
    for file in ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml"] {
        fs_err::copy(recipe::home().join(file), home.join(file)).unwrap();
    }
    let version = env!("CARGO_PKG_VERSION");
    let release = dir.join(format!("org/docker-to-linux/releases/download/v{version}"));
    fs_err::create_dir_all(&release).unwrap();
    let name = match std::env::consts::ARCH {
        "aarch64" => "docker-to-linux-linux-arm64",
        _ => "docker-to-linux-linux-amd64",
    };
    let asset = release.join(name);
    fs_err::write(&asset, "#!/bin/sh\necho prebuilt\n").unwrap();
    let sums = |sum: &str| {
        let text = format!("00  other\n{sum}  {name}\n");
        fs_err::write(release.join("SHA256SUMS"), text).unwrap();
    };
    let server = format!("file://{dir}");
    // On a branch, or as a local action: nothing is downloaded.
    for action in ["main", "", "0123456789abcdef"] {
        let (out, pairs) = find(&home, &server, action);
        assert!(out.status.success(), "{}", common::said(&out));
        assert_eq!(pairs["found"], "false");
        assert!(pairs["key"].starts_with("docker-to-linux-"), "{pairs:?}");
    }
    sums(&"0".repeat(64));
    let (out, _) = find(&home, &server, "v1");
    assert!(!out.status.success());
    assert!(
        common::said(&out).contains("::error "),
        "{}",
        common::said(&out)
    );
    assert!(!home.join("target/action/xtask").exists());
    // A release without it, as one that is still being made.
    let (out, pairs) = find(&home, "file:///nowhere", "v1");
    assert!(out.status.success(), "{}", common::said(&out));
    assert!(common::said(&out).contains("::notice "));
    assert_eq!(pairs["found"], "false");
    sums(&common::sha256(&asset));
    let (out, pairs) = find(&home, &server, "v1");
    assert!(out.status.success(), "{}", common::said(&out));
    assert_eq!(pairs["found"], "true");
    let said = common::content(&mut Command::new(&pairs["program"]));
    assert_eq!(said, "prebuilt\n");
    // The key changes with the lock file, and with the sources.
    let key = pairs["key"].clone();
    fs_err::write(home.join("Cargo.lock"), "").unwrap();
    let other = find(&home, &server, "main").1["key"].clone();
    assert_ne!(key, other);
    fs_err::write(home.join("xtask/new.rs"), "").unwrap();
    assert_ne!(other, find(&home, &server, "main").1["key"]);
}
