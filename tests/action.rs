//! The GitHub Action: its outputs and logs with the program alone, and real workflows that `act` runs
//! on this machine (ignored unless `ci` asks for them).

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

/// `act` with its own repository. What the action downloads from GitHub is in local folders, so that
/// the test runs without access to GitHub.
struct Act {
    _temp: tempfile::TempDir,
    dir: Utf8PathBuf,
    program: Utf8PathBuf,
}

/// What a job left.
struct Job {
    passed: bool,
    log: String,
    /// Outputs of the step `image`.
    outputs: BTreeMap<String, String>,
}

impl Act {
    fn new() -> Option<Act> {
        let program = recipe::home().join("target/checkers/bin/act");
        if !program.is_file() {
            return common::skipped("act is not installed: `cargo xtask setup --dev` does that");
        }
        let (temp, dir) = common::temp();
        // Replacements for the two third-party actions that ours uses.
        let action = "name: x\ndescription: x\nruns:\n  using: composite\n  steps:\n    - run: echo stand-in\n      shell: sh\n";
        fs_err::create_dir(dir.join("stand-in")).unwrap();
        fs_err::write(dir.join("stand-in/action.yml"), action).unwrap();
        fs_err::create_dir(dir.join("repository")).unwrap();
        Some(Act {
            _temp: temp,
            dir,
            program,
        })
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.dir.join("repository").join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    /// Copies what belongs to the project, as a checkout has it.
    fn copy_project(&self, to: &Utf8Path) {
        let files = Command::new("git")
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .current_dir(recipe::home())
            .output()
            .unwrap();
        for file in String::from_utf8(files.stdout).unwrap().split('\0') {
            let from = recipe::home().join(file);
            if file.is_empty() || !from.is_file() {
                continue;
            }
            fs_err::create_dir_all(to.join(file).parent().unwrap()).unwrap();
            fs_err::copy(from, to.join(file)).unwrap();
        }
    }

    /// The project as an action that is fetched, with its program in place.
    fn fetched(&self) -> Utf8PathBuf {
        let home = self.dir.join("fetched");
        self.copy_project(&home);
        // act leaves out what a .gitignore names.
        fs_err::remove_file(home.join(".gitignore")).unwrap();
        fs_err::create_dir_all(home.join("target/action")).unwrap();
        let program = env!("CARGO_BIN_EXE_xtask");
        fs_err::copy(program, home.join("target/action/xtask")).unwrap();
        home
    }

    /// Runs a job with a step `image` that uses the action with these inputs (as JSON, which
    /// is YAML).
    fn run(&self, uses: &str, inputs: &Value, env: &[(&str, &str)]) -> Job {
        let outputs = self.dir.join("outputs.json");
        let _ = fs_err::remove_file(&outputs);
        let workflow = serde_json::json!({
            "name": "test",
            "on": "workflow_dispatch",
            "jobs": { "test": { "runs-on": "ubuntu-latest", "steps": [
                { "uses": "actions/checkout@de0fac2e4500dabe0009e67214ff5f5447ce83dd",
                  "with": { "persist-credentials": false } },
                { "id": "image", "uses": uses, "with": inputs },
                { "if": "always()", "env": { "OUTPUTS": "${{ toJSON(steps.image.outputs) }}" },
                  "run": format!("printf '%s' \"$OUTPUTS\" >'{outputs}'") },
            ] } },
        });
        self.write(".github/workflows/test.yml", &workflow.to_string());
        let repository = self.dir.join("repository");
        for arguments in [
            &["init", "--quiet", "--initial-branch=main"][..],
            &["add", "--all"],
            &[
                "-c",
                "user.name=x",
                "-c",
                "user.email=x@example.org",
                "commit",
                "--quiet",
                "--allow-empty",
                "--message=x",
            ],
        ] {
            common::content(Command::new("git").args(arguments).current_dir(&repository));
        }
        let action = fs_err::read_to_string(recipe::home().join("action.yml")).unwrap();
        let mut command = Command::new(&self.program);
        command
            .args(["workflow_dispatch", "-P", "ubuntu-latest=-self-hosted"])
            .current_dir(&repository)
            .env("XDG_CACHE_HOME", self.dir.join("cache"))
            .env("XDG_CONFIG_HOME", self.dir.join("config"))
            .env_remove("SOURCE_DATE_EPOCH");
        let used = action
            .lines()
            .filter_map(|l| l.trim().strip_prefix("uses: "));
        for used in used {
            let name = used.split_whitespace().next().unwrap();
            let folder = self.dir.join("stand-in");
            command.args(["--local-repository", &format!("{name}={folder}")]);
        }
        if !uses.starts_with("./") {
            let folder = self.dir.join("fetched");
            command.args(["--local-repository", &format!("{uses}={folder}")]);
        }
        for (name, value) in env {
            command.args(["--env", &format!("{name}={value}")]);
        }
        let out = command.output().unwrap();
        let text = fs_err::read_to_string(&outputs).unwrap_or_else(|_| "{}".into());
        Job {
            passed: out.status.success(),
            log: common::said(&out),
            outputs: serde_json::from_str(&text).unwrap(),
        }
    }
}

/// The action at a tag, as users name it.
const PUBLIC: &str = "org/docker-to-linux@v1";

#[test]
#[ignore = "minutes: builds the program and Debian, and boots it; `cargo xtask ci` runs it"]
fn act_builds_debian_and_boots_it() {
    let Some(act) = Act::new() else { return };
    act.copy_project(&act.dir.join("repository"));
    // The dependencies that are built already: cargo compares times, so they must be kept.
    let target = act.dir.join("target");
    fs_err::create_dir_all(target.join("release")).unwrap();
    for part in ["deps", "build", ".fingerprint"] {
        let from = recipe::home().join("target/release").join(part);
        common::content(
            Command::new("cp")
                .args(["-a", "--reflink=auto"])
                .arg(from)
                .arg(target.join("release")),
        );
    }
    let out = act.dir.join("out");
    let inputs = serde_json::json!({
        "recipe": "debian",
        "format": "raw,qcow2",
        "boot": "hybrid",
        "output": out,
        // Smaller, and these machines are virtual.
        "args": "--build-arg KERNEL=linux-image-cloud-amd64",
    });
    let job = act.run("./", &inputs, &[("CARGO_TARGET_DIR", target.as_str())]);
    assert!(job.passed, "{}", job.log);
    let image = out.join("debian.img");
    let images: Vec<Utf8PathBuf> = serde_json::from_str(&job.outputs["images"]).unwrap();
    assert_eq!(images, [image.clone(), out.join("debian.qcow2")]);
    assert_eq!(job.outputs["image"], image);
    assert_eq!(job.outputs["sha256"], common::sha256(&image));
    assert_eq!(job.outputs["verdict"], "passed");
    let seconds: f64 = job.outputs["boot-seconds"].parse().unwrap();
    assert!(seconds > 1.0, "{seconds}");
    assert_eq!(job.outputs["release-url"], "");
    assert!(job.log.contains("Summary"), "{}", job.log);
    assert!(job.log.contains("debian with BIOS") && job.log.contains("debian with UEFI"));
}

#[test]
#[ignore = "takes the image of Debian that the test above builds; `cargo xtask ci` runs it"]
fn act_builds_the_only_recipe_of_a_users_repository() {
    let Some(act) = Act::new() else { return };
    act.fetched();
    act.write("README", "nothing of docker-to-linux is here");
    act.write("recipes/mine/recipe.yaml", "hostname: mine\nboot: bios\n");
    act.write(
        "recipes/mine/Dockerfile",
        "FROM docker-to-linux/debian:amd64\nRUN echo mine >/etc/mine\n",
    );
    let out = act.dir.join("out");
    let inputs = serde_json::json!({ "recipe": "mine", "smoke": false, "output": out });
    let job = act.run(PUBLIC, &inputs, &[]);
    assert!(job.passed, "{}", job.log);
    assert_eq!(job.outputs["image"], out.join("mine.img"));
    assert_eq!(job.outputs["verdict"], "skipped");
    assert_eq!(job.outputs["sha256"], common::sha256(&out.join("mine.img")));
}

#[test]
#[ignore = "needs act; `cargo xtask ci` runs it"]
fn act_shows_wrong_inputs_as_annotations() {
    let Some(act) = Act::new() else { return };
    act.fetched();
    act.write("recipes/mine/recipe.yaml", "hostname: mine\nboot: bois\n");
    // (act, unlike GitHub, hides inputs that do not exist from the action; that they are errors
    // is tested above.)
    let wrong = serde_json::json!({ "recipe": "mine", "smoke": "yes", "smoke-timeout": "5m" });
    let job = act.run(PUBLIC, &wrong, &[]);
    assert!(!job.passed, "{}", job.log);
    assert_eq!(job.log.matches("::error title=").count(), 2, "{}", job.log);
    assert!(job.log.contains("did you mean `true`?"), "{}", job.log);
    assert!(
        job.log
            .contains("is \"5m\", which is not a number of seconds"),
        "{}",
        job.log
    );
    assert_eq!(job.outputs["verdict"], "error");

    let job = act.run(PUBLIC, &serde_json::json!({ "recipe": "mine" }), &[]);
    assert!(!job.passed, "{}", job.log);
    let at = "::error file=recipes/mine/recipe.yaml,line=2,col=7";
    assert!(job.log.contains(at), "{}", job.log);

    let job = act.run(PUBLIC, &serde_json::json!({}), &[]);
    assert!(!job.passed, "{}", job.log);
    assert!(job.log.contains("is required"), "{}", job.log);
}

#[test]
#[ignore = "needs act; `cargo xtask ci` runs it"]
fn act_hands_inputs_over_literally() {
    let Some(act) = Act::new() else { return };
    act.fetched();
    let Some(place) = place() else { return };
    let name = "it's a \"machine\"; $(touch pwned) `touch pwned` & $HOME";
    act.write(
        &format!("{name}/recipe.yaml"),
        "name: box\nroot: {free: 16M}\n",
    );
    let out = act.dir.join("out; touch pwned\n$(touch pwned) 'x\"");
    let inputs = serde_json::json!({
        "recipe": format!("./{name}"),
        "smoke": "false",
        "output": out,
        "args": place.words_for_tar(),
    });
    let job = act.run(PUBLIC, &inputs, &[]);
    assert!(job.passed, "{}", job.log);
    assert_eq!(job.outputs["image"], out.join("box.img"));
    assert!(out.join("box.img").is_file());
    // None of it ran, neither in act's folder nor in the repository.
    let pwned = Command::new("find")
        .arg(&act.dir)
        .args(["-name", "pwned*"])
        .output()
        .unwrap();
    assert_eq!(common::said(&pwned), "");
}
